/**
 * Draws docs/web.png: the example page in the headless Chromium of the tests after some steps, with a picture of its own.
 *
 *   npx tsx test/web/shoot.ts --steps 60 --images 8 --picture photo.jpg
 */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { bundled, launch, serve, status } from './browser.ts';

const { values } = parseArgs({
  options: {
    steps: { type: 'string', default: '60' },
    images: { type: 'string', default: '8' },
    asked: { type: 'string', default: '100' },
    picture: { type: 'string' },
    out: { type: 'string', default: join(import.meta.dirname, '../../docs/web.png') },
  },
});
const folder = bundled();
const { url, stop } = await serve(folder);
const browser = await launch();
try {
  const page = await browser.newPage({ viewport: { width: 800, height: 900 } });
  await page.goto(url);
  await status(page, 'ready', 30_000);
  for (const field of ['steps', 'images', 'asked'] as const) await page.fill(`#${field}`, values[field]);
  await page.click('#train');
  await status(page, 'done', 3_600_000);
  if (values.picture !== undefined) {
    await page.setInputFiles('#file', values.picture);
    await status(page, 'features', 120_000);
  }
  console.log(await page.textContent('#status'), await page.textContent('#before'), await page.textContent('#after'));
  await page.screenshot({ path: values.out, fullPage: true });
} finally {
  await browser.close();
  await stop();
  rmSync(folder, { recursive: true });
}
