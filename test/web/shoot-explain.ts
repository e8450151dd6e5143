/**
 * Draws docs/explain.png and docs/explain-dark.png: the page of `fovea explain` in the headless Chromium of the tests.
 *
 *   npx fovea explain examples/dinov2.ts#step --measure --html step.html && npx tsx test/web/shoot-explain.ts step.html
 */
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { launch } from './browser.ts';

const docs = join(import.meta.dirname, '../../docs');
const browser = await launch({ webgpu: false });
try {
  for (const colorScheme of ['light', 'dark'] as const) {
    const page = await browser.newPage({ viewport: { width: 1440, height: 1000 }, colorScheme });
    await page.goto(pathToFileURL(resolve(process.argv[2] as string)).href);
    const heaviest = page.locator('.row').nth(9);
    await heaviest.click();
    await page.evaluate('scrollTo(0, 0)');
    await page.screenshot({ path: join(docs, colorScheme === 'light' ? 'explain.png' : 'explain-dark.png') });
  }
} finally {
  await browser.close();
}
