/** The page of `fovea explain` in a real browser: it needs no network, links both ways, and opens what a launch is. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { cpu } from '../../backends/cpu/index.ts';
import { type Facts, factsOf } from '../../cli/explain/facts.ts';
import { page } from '../../cli/explain/page.ts';
import { traceOf } from '../../cli/profile.ts';
import { userProgram } from '../../cli/program.ts';
import { launch } from './browser.ts';

const here = process.platform === 'linux' && process.arch === 'x64';
if (!here) console.warn('test/web/explain skipped: the Chromium from npm is for Linux on x64');

const root = join(import.meta.dirname, '../..');
const folder = mkdtempSync(join(tmpdir(), 'fovea-explain-'));
let [facts, browser, opened]: [Facts | undefined, Browser | undefined, Page | undefined] = [undefined, undefined, undefined];
const asked: string[] = [];
const wrong: string[] = [];
beforeAll(async () => {
  const backend = cpu({ threads: 2 });
  facts = await factsOf(await userProgram(join(root, 'test/export/fixtures/step.ts#step')), backend, { measure: backend });
  if (!here) return;
  const file = join(folder, 'step.html');
  writeFileSync(file, page(facts));
  browser = await launch({ webgpu: false });
  opened = await browser.newPage({ viewport: { width: 1400, height: 1000 } });
  opened.on('request', (r) => asked.push(r.url()));
  opened.on('pageerror', (e) => wrong.push(String(e)));
  await opened.goto(pathToFileURL(file).href);
}, 60_000);
afterAll(async () => {
  await browser?.close();
  rmSync(folder, { recursive: true, force: true });
});

test.skipIf(!here)('one file, no network, no error, a row for every launch', async () => {
  const p = opened as Page;
  expect(asked).toHaveLength(1);
  expect(await p.locator('.row').count()).toBe(facts?.launches.length);
  expect(await p.locator('.strip [data-l]').count()).toBe(facts?.launches.length);
  expect(await p.locator('.roof circle').count()).toBeGreaterThan(0);
  expect(await p.locator('.memory rect.v').count()).toBe(facts?.explanation.plan.lifetimes.filter((l) => l.slot.bytes > 0).length);
  expect(wrong).toEqual([]);
});

test.skipIf(!here)('a line marks its launches and a launch its line; a click opens nodes, kernel and source', async () => {
  const p = opened as Page;
  const line = p.locator('.src.has').filter({ hasText: 'layerNorm(gelu(' }).first();
  const numbers = await Promise.all(['data-ls', 'data-besides'].map((key) => line.getAttribute(key)));
  const own = numbers.flatMap((text) => (text ?? '').split(' ').filter(Boolean));
  expect(own.length).toBeGreaterThan(1);
  await line.hover();
  for (const l of own) expect(await p.locator(`.row[data-l="${l}"]`).getAttribute('class')).toContain('hot');
  const marked = async (): Promise<number> => p.locator('.row.hot').count();
  expect(await marked()).toBe(own.length);
  await p.locator(`.row[data-l="${own[0]}"]`).hover();
  expect(await line.getAttribute('class')).toContain('hot');
  expect(await marked()).toBe(1);
  expect(await p.textContent('.status')).toContain('ends because: ');
  await p.locator(`.row[data-l="${own[0]}"]`).click();
  expect(await p.locator('.detail details').count()).toBe(3);
  expect(await p.textContent('.detail')).toMatch(/ends because [\s\S]*group [\s\S]*kernel k[\s\S]*FV_KERNEL/);
  // arcs end where the rows are
  const arcs = await p.evaluate(`[...document.querySelectorAll('.arc')].every((a) => /^M84 [\\d.]+C/.test(a.getAttribute('d')))`);
  expect(arcs).toBe(true);
  expect(wrong).toEqual([]);
});

test('a trace has every launch once, in order, with its place, and the memory beside it', () => {
  const trace = JSON.parse(JSON.stringify(traceOf(facts as Facts))) as {
    traceEvents: {
      ph: string;
      cat: string;
      pid: number;
      tid: number;
      ts: number;
      dur: number;
      args: { from: string; launch: number; held: number };
    }[];
  };
  const bars = trace.traceEvents.filter((e) => e.ph === 'X' && e.pid === 1);
  expect(bars.map((b) => b.args.launch)).toEqual(facts?.launches.map((l) => l.number));
  bars.forEach((b, i) => {
    if (b.cat !== 'copy') expect(b.args.from).toMatch(/step\.ts:\d+/);
    if (i > 0) expect(b.ts).toBeCloseTo((bars[i - 1]?.ts ?? 0) + (bars[i - 1]?.dur ?? 0), 6);
  });
  expect(trace.traceEvents.filter((e) => e.ph === 'C').every((e) => e.args.held > 0)).toBe(true);
  // what threads did lies within the launch that they did it of, and the first has a part in every one
  const work = trace.traceEvents.filter((e) => e.ph === 'X' && e.pid === 2);
  expect(work.filter((e) => e.tid === 0).map((e) => e.args.launch)).toEqual(bars.map((b) => b.args.launch));
  for (const w of work) {
    const bar = bars.find((b) => b.args.launch === w.args.launch) as (typeof bars)[number];
    expect(w.ts).toBeGreaterThanOrEqual(bar.ts - 1e-3);
    expect(w.ts + w.dur).toBeLessThanOrEqual(bar.ts + bar.dur + 1e-3);
  }
  expect(new Set(work.map((e) => e.tid)).size).toBeLessThanOrEqual(2);
});

test('text of a user cannot leave its place in the page', () => {
  const f = facts as Facts;
  const bad = '</script><img src=x onerror=alert(1)>';
  const text = page({ ...f, program: { ...f.program, name: bad }, launches: f.launches.map((l) => ({ ...l, scope: bad, label: bad })) });
  expect(text).not.toContain('<img');
  expect(text.match(/<\/script>/g)).toHaveLength(2);
  expect(readFileSync(join(root, 'cli/explain/page/script.ts'), 'utf8')).not.toMatch(/https?:/);
});
