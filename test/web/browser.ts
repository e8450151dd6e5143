/** A headless Chromium with WebGPU in software, from npm; and the example page, bundled and served. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import chromium from '@sparticuz/chromium';
import * as esbuild from 'esbuild';
import { type Browser, chromium as driver, type Page } from 'playwright-core';

const root = join(import.meta.dirname, '../..');

/** A folder of files on a port of this machine, as `npm run web` serves it; `stop` ends that. */
export const serve = async (folder: string): Promise<{ readonly url: string; readonly stop: () => Promise<void> }> => {
  const context = await esbuild.context({});
  const { port } = await context.serve({ servedir: folder, host: '127.0.0.1', port: 0 });
  return { url: `http://localhost:${port}/`, stop: () => context.dispose() };
};

/** Waits until what the page says of itself starts so. What runs in a page is text: it has types of its own. */
export const status = (page: Page, start: string, timeout: number): Promise<unknown> =>
  page.waitForFunction(`document.getElementById('status').textContent.startsWith(${JSON.stringify(start)})`, undefined, { timeout });

/** The example page as `npm run web -- --out` writes it. */
export const bundled = (): string => {
  const folder = mkdtempSync(join(tmpdir(), 'fovea-web-'));
  execFileSync(process.execPath, [join(root, 'examples/web/serve.mjs'), '--out', folder], { stdio: 'pipe' });
  return folder;
};

/**
 * `webgpu: false` gives a browser without it; with `processes` it is several, of which one owns the device, as for a user. The package's Chromium is for
 * Linux on x64.
 */
export const launch = async ({ webgpu = true, processes = false } = {}): Promise<Browser> =>
  driver.launch({
    executablePath: await chromium.executablePath(),
    args: [
      ...chromium.args.filter((a) => !a.includes('gl=') && !(processes && /single-process|in-process-gpu|no-zygote/.test(a))),
      ...(webgpu
        ? ['--enable-unsafe-webgpu', '--use-webgpu-adapter=swiftshader', '--enable-dawn-features=disable_workgroup_init']
        : ['--disable-features=WebGPU,WebGPUService']),
    ],
  });

/** A page that nobody sees. */
export interface Hidden {
  /** What a text of JavaScript gives in the page. */
  evaluate<T>(text: string): Promise<T>;
  /** Frozen as a browser does with tabs in the background; active again, but still hidden. */
  become(state: 'frozen' | 'active'): Promise<void>;
}
interface Answer {
  readonly id: number;
  readonly result?: { readonly result?: { readonly value?: unknown }; readonly exceptionDetails?: unknown };
  readonly error?: unknown;
}

/**
 * The driver keeps its own pages in front. One that only the protocol knows is hidden once it was frozen: no frames are drawn then, and while it is
 * frozen neither it nor its workers run.
 */
export const hidden = async (browser: Browser, url: string): Promise<Hidden> => {
  const session = await browser.newBrowserCDPSession();
  // of the protocol as it is, which the driver knows in part
  const send = session.send.bind(session) as unknown as (method: string, params: object) => Promise<Record<string, string>>;
  const { targetId } = await send('Target.createTarget', { url, hidden: true });
  const { sessionId } = await send('Target.attachToTarget', { targetId, flatten: false });
  const waiting = new Map<number, (answer: Answer) => void>();
  session.on('Target.receivedMessageFromTarget', ({ message }) => {
    const answer = JSON.parse(message) as Answer;
    waiting.get(answer.id)?.(answer);
  });
  const ask = (method: string, params: object): Promise<Answer> =>
    new Promise((resolve) => {
      const id = waiting.size + 1;
      waiting.set(id, resolve);
      void send('Target.sendMessageToTarget', { sessionId, message: JSON.stringify({ id, method, params }) });
    });
  return {
    evaluate: async <T>(expression: string): Promise<T> => {
      const { result, error } = await ask('Runtime.evaluate', { expression, awaitPromise: true, returnByValue: true });
      if (error || result?.exceptionDetails) throw new Error(JSON.stringify(error ?? result?.exceptionDetails));
      return result?.result?.value as T;
    },
    become: async (state) => void (await ask('Page.setWebLifecycleState', { state })),
  };
};
