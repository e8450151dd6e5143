/** `fovea bench`: the lines that it prints, the agreement with float64 that they report, and what it refuses. Times are never judged. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { z } from 'zod';
import { type Asked, casesOf } from '../../cli/bench/options.ts';
import { benchCommand } from '../../cli/bench.ts';
import { fovea } from './command.ts';

const positive = z.number().positive();
/** Every field that docs/benchmarks.md lists, and no other. */
const line = z.strictObject({
  bench: z.enum(['forward', 'step', 'gemm', 'attention', 'map', 'reduce']),
  case: z.string(),
  shape: z.string(),
  dtype: z.enum(['f32', 'bf16', 'f16']),
  backend: z.string(),
  machine: z.string(),
  threads: positive.optional(),
  runs: positive,
  median_ms: positive,
  min_ms: positive,
  cpu_ms: z.number().nonnegative(),
  gflop: positive.optional(),
  gflops: positive.optional(),
  peak_gflops: positive.optional(),
  gbyte: positive.optional(),
  gbytes: positive.optional(),
  peak_gbytes: positive.optional(),
  of_peak: positive.optional(),
  of_peak_cpu: positive.optional(),
  error: z.number().nonnegative().nullable(),
  error_against: z.string(),
  peak_memory_mib: positive,
  arena_mib: z.number().nonnegative().optional(),
  compile_ms: positive,
  kernels: positive.optional(),
  kernels_compiled: z.number().nonnegative().optional(),
});

const linesWith = async (env: Record<string, string>, ...args: string[]): Promise<readonly z.infer<typeof line>[]> => {
  const { status, stdout, stderr } = await fovea(['bench', ...args, '--runs', '2', '--threads', '1', '--json'], { env });
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
  const found = stdout
    .trimEnd()
    .split('\n')
    .map((text) => line.parse(JSON.parse(text)));
  for (const l of found) expect(l.median_ms).toBeGreaterThanOrEqual(l.min_ms);
  return found;
};

const lines = (...args: string[]) => linesWith({}, ...args);

/**
 * Errors are over the largest value. A sum of n products in float32, in any order, is within n eps of the sum of the absolute values of
 * its products (eps = 2^-24), and that is here at most a few times the largest sum: 64 n eps leaves room. Of bf16 operands each product
 * is off by 2 x 2^-9 of itself (two roundings to 8 bits), on average much less.
 */
const f32 = (n: number): number => (64 * n) / 2 ** 24;
const bf16 = 4 / 2 ** 9;

test('contractions: lines with their fields, close to float64', { timeout: 300_000 }, async () => {
  const [plain] = await lines('gemm', '--shape', '20x12x40');
  expect(plain).toMatchObject({ bench: 'gemm', case: 'NT', shape: '20x12x40', dtype: 'f32', threads: 1, runs: 2, gflop: 1.92e-5 });
  expect(plain?.error).toBeLessThan(f32(40));
  const [low] = await lines('gemm', '--shape', '20x12x40', '--layout', 'TN', '--dtype', 'bf16');
  expect(low).toMatchObject({ case: 'TN', dtype: 'bf16' });
  // bf16 was in fact used, and only so far off as it may be
  expect(low?.error).toBeGreaterThan(f32(40));
  expect(low?.error).toBeLessThan(bf16);
  const [attention] = await lines('attention', '--shape', '1x2x9x8', '--backward');
  expect(attention).toMatchObject({ case: 'attention backward' });
  expect(attention?.error).toBeLessThan(f32(9 * 8));
});

test('on a device: its name, and nothing of the processor that waits for it', { timeout: 300_000 }, async () => {
  const [onDevice] = await lines('gemm', '--shape', '20x12x40', '--backend', 'webgpu', '--no-check');
  expect(onDevice).toMatchObject({ backend: 'webgpu', shape: '20x12x40' });
  expect(onDevice?.machine).not.toBe(cpus()[0]?.model.trim());
  expect(Object.keys(onDevice ?? {})).toEqual(expect.not.arrayContaining(['threads', 'of_peak_cpu']));
});

test('--tune measure writes the schedules that --tune cached uses', { timeout: 300_000 }, async () => {
  const folder = mkdtempSync(join(tmpdir(), 'fovea-bench-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const file = join(folder, 'schedules.jsonl');
  const env = { FOVEA_SCHEDULES: file };
  const [measured] = await linesWith(env, 'gemm', '--shape', '20x12x40', '--tune', 'measure');
  expect(measured?.error).toBeLessThan(f32(40));
  const written = readFileSync(file, 'utf8');
  expect(JSON.parse(written)).toMatchObject({ key: 'gemm 20x12x40 f32[40 1] f32[40 1]' });
  const [cached] = await linesWith(env, 'gemm', '--shape', '20x12x40', '--tune', 'cached');
  expect(cached?.kernels_compiled).toBe(0);
  expect(readFileSync(file, 'utf8')).toBe(written);
  const other = await fovea(['bench', 'gemm', '--tune', 'always']);
  expect(other).toMatchObject({ status: 1, stdout: '', stderr: expect.stringContaining('FV0503') });
});

test('rows and whole programs', { timeout: 300_000 }, async () => {
  const rows = await lines('reduce', '--shape', '6x10');
  expect(rows.map((l) => l.case)).toEqual(['LayerNorm', 'LayerNorm backward', 'softmax', 'cross-entropy', 'cross-entropy gradient']);
  // the optimizer divides by the root of a moment: a few more roundings than elements
  for (const l of [...rows, ...(await lines('map', '--shape', '6x10'))]) {
    expect(l.error).toBeLessThan(f32(10));
    expect(l.gbyte).toBeGreaterThan(0);
  }
  const forward = ['forward', '--model', 'vits14', '--batch', '1', '--size', '14'];
  const [checked] = await lines(...forward);
  // twelve blocks, the longest sum of 1,536 products
  expect(checked?.error).toBeLessThan(f32(1536));
  const [unchecked] = await lines(...forward, '--no-check', '--backend', 'reference');
  expect(unchecked).toMatchObject({ error: null, error_against: 'not asked for', backend: 'reference' });
  expect(unchecked?.peak_gflops).toBeUndefined();
});

test('the profile of a program, as a table and as lines', { timeout: 300_000 }, async () => {
  const asked = ['bench', 'gemm', '--shape', '8x8x8', '--runs', '1', '--threads', '1', '--profile'];
  const table = await fovea(asked);
  expect(table).toMatchObject({ status: 0, stderr: '' });
  expect(table.stdout).toMatch(/^NT 8x8x8: 1 launches of 1 kernels, /);
  expect(table.stdout).toContain('gemm: dot');
  const json = await fovea([...asked, '--json']);
  expect(JSON.parse(json.stdout)).toMatchObject({ bench: 'gemm', shape: '8x8x8', template: 'gemm', launches: 1, share: 1 });
});

test('--serve answers each number of runs by their times, and refuses what is none', { timeout: 300_000 }, async () => {
  const served = z.strictObject({ seconds: z.array(positive), cpu: z.array(z.number().nonnegative()), peak_mib: positive });
  const shape = ['bench', 'gemm', '--shape', '24x16x8', '--layout', 'NT', '--serve'];
  const r = await fovea(shape, { input: '2\n1\n' });
  expect(r.status).toBe(0);
  const answers = r.stdout
    .trim()
    .split('\n')
    .map((l) => served.parse(JSON.parse(l)));
  expect(answers.map((a) => [a.seconds.length, a.cpu.length])).toEqual([
    [2, 2],
    [1, 1],
  ]);
  const none = await fovea(shape, { input: 'many\n' });
  expect(none).toMatchObject({ status: 1, stdout: '' });
  expect(none.stderr).toMatch(/FV0503: --serve: 'many' on standard input: expected a number of runs/);
});

test('the default cases of every benchmark', () => {
  const names = (asked: Omit<Asked, 'dtype'>) => casesOf({ dtype: 'f32', ...asked }).map((c) => `${c.name} ${c.shape}`);
  expect(names({ bench: 'forward' })).toEqual(['vits14 8x3x224x224']);
  expect(names({ bench: 'step' })).toEqual(['vits14 4x(2x224+8x98)']);
  expect(names({ bench: 'step', model: 'demo' })).toEqual(['demo 32x(2x28+2x16)']);
  expect(names({ bench: 'gemm', layout: 'NT' }).slice(0, 2)).toEqual(['qkv NT 2056x1152x384', 'proj NT 2056x384x384']);
  expect(names({ bench: 'attention', shape: '1x2x3x4', backward: true })).toEqual(['attention backward 1x2x3x4']);
  expect(names({ bench: 'reduce', batch: 1 })[2]).toBe('softmax 1542x257');
});

test('what cannot be meant is refused before anything is compiled', async () => {
  for (const [args, message] of [
    [['gemm', '--shape', '12x8'], '--shape 12x8: expected 3 whole numbers MxNxK'],
    [['gemm', '--shape', '12x8x0'], '--shape 12x8x0: expected 3 whole numbers MxNxK'],
    [['attention', '--shape', ''], "--shape '': expected 4 whole numbers"],
    [['reduce', '--shape', '4xx2'], '--shape 4xx2: expected 2 whole numbers ROWSxWIDTH'],
    [['gemm', '--layout', 'TT'], '--layout TT: expected one of NT, NN, TN'],
    [['gemm', '--shape', '2x2x2', '--model', 'vits14'], '--shape and --model exclude each other'],
    [['forward', '--model', 'vits15'], "unknown model 'vits15'"],
    [['forward', '--size', '225'], '--size 225: expected multiples of the patch of 14 pixels'],
    [['forward', '--shape', '1x2'], '--shape has no meaning for bench forward'],
    [['step', '--size', '224'], '--size 224: expected GLOBAL+LOCAL'],
    [['step', '--model', 'demo', '--size', '28+16'], '--size: the demo has crops of 28 and 16 pixels'],
    [['forward', '--runs', '0'], '--runs 0: expected a whole number from 1'],
    [['forward', '--threads', '0'], '--threads 0: expected a whole number from 1'],
    [['forward', '--dtype', 'int8'], '--dtype int8: expected f32, bf16 or f16'],
    [['gemm', '--serve'], '--serve: one program, and gemm has 15 here'],
    [['reduce', '--dtype', 'bf16'], '--dtype bf16 has no meaning for bench reduce'],
  ] as const)
    await expect(
      benchCommand()
        .exitOverride()
        .parseAsync([...args], { from: 'user' }),
      args.join(' '),
    ).rejects.toMatchObject({
      code: 'FV0503',
      message: expect.stringContaining(message),
    });
  await expect(benchCommand().exitOverride().parseAsync(['gemm', '--backend', 'abacus'], { from: 'user' })).rejects.toMatchObject({
    code: 'FV0303',
  });
  const other = await fovea(['bench', 'everything']);
  expect(other).toMatchObject({ status: 1, stdout: '', stderr: expect.stringContaining('FV0503') });
});
