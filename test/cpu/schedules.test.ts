/** The file of schedules: measured, used again, and ignored with a notice where it is damaged, old, from elsewhere or not legal. */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { cpu } from '../../backends/cpu/index.ts';
import { scheduleVersion } from '../../compiler/tile/schedules.ts';
import { compile, einsum, type F32, type Plan, spec, type Tune, toHost } from '../../index.ts';

let folder = '';
let file = '';
const said: string[] = [];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'fovea-schedules-'));
  file = join(folder, 'deep', 'schedules.jsonl');
  said.length = 0;
  vi.spyOn(process.stderr, 'write').mockImplementation((text) => said.push(String(text)) > 0);
});
afterEach(() => {
  vi.restoreAllMocks();
  rmSync(folder, { recursive: true, force: true });
});

const [m, n, k] = [33, 40, 37];
const host = (rows: number, columns: number, salt: number) => ({
  ...{ dtype: 'f32' as const, shape: [rows, columns] },
  data: Float32Array.from({ length: rows * columns }, (_, i) => Math.sin(i + salt)),
});
/** Compiles and runs one product; what came out, and the plan that made it. */
const product = async (tune: Tune, backend = cpu({ threads: 1, schedules: file })) => {
  const f = (x: F32<'M K'>, w: F32<'N K'>) => einsum('m k, n k -> m n', x, w);
  const program = await compile(f, [spec('M K'), spec('N K')], { backend, tune, dims: { M: m, N: n, K: k } });
  const { data } = await toHost(await program(host(m, k, 1), host(n, k, 2)));
  program.dispose();
  return { data, plan: program.report.plan as Plan };
};
const lines = (): Record<string, unknown>[] =>
  readFileSync(file, 'utf8')
    .trimEnd()
    .split('\n')
    .map((l) => JSON.parse(l));
const write = (...entries: (object | string)[]): void =>
  writeFileSync(file, entries.map((e) => `${typeof e === 'string' ? e : JSON.stringify(e)}\n`).join(''));
const key = `gemm ${m}x${n}x${k} f32[${k} 1] f32[${k} 1]`;

test('never and cached write nothing; measure writes a record that says what was compared, which is not measured again', {
  timeout: 120_000,
}, async () => {
  const never = await product('never');
  const cached = await product('cached');
  expect(existsSync(file)).toBe(false);
  expect(cached.plan.kernels).toEqual(never.plan.kernels);
  const measured = await product('measure');
  const [record, ...more] = lines();
  expect(more).toEqual([]);
  expect(record).toEqual({
    version: scheduleVersion,
    target: expect.stringMatching(/-bit vectors, \d+ registers, .*caches \d+ and \d+ KiB, 1 thread, \S.*$/),
    key,
    schedule: measured.plan.chosen[0]?.schedule,
    ms: expect.any(Number),
    model: never.plan.chosen[0]?.schedule,
    model_ms: expect.any(Number),
    tried: expect.any(Number),
    when: expect.stringMatching(/^\d{4}-\d\d-\d\dT/),
  });
  expect(measured.data).toEqual(never.data);
  // proof that the file is read: a legal schedule that nobody would choose
  const planted = { ...never.plan.chosen[0]?.schedule, tm: 1, tn: 1, bm: 1, bn: never.plan.chosen[0]?.schedule['lanes'], bk: 5 };
  write({ ...record, schedule: planted });
  for (const tune of ['cached', 'measure'] as const) {
    const used = await product(tune);
    expect(used.plan.chosen).toEqual([{ key, schedule: planted }]);
    expect(used.plan.kernels).not.toEqual(never.plan.kernels);
    expect(used.data).toEqual(never.data);
  }
  expect(lines()).toEqual([{ ...record, schedule: planted }]);
  // a record of another machine, or of more threads, stays beside it
  write({ ...record, target: 'another' }, { ...record, schedule: planted });
  expect((await product('cached')).plan.chosen[0]?.schedule).toEqual(planted);
  expect(said).toEqual([]);

  const model = never.plan.chosen;
  const poisons: readonly (readonly [string, readonly (object | string)[], RegExp])[] = [
    ['an old version', [{ ...record, schedule: planted, version: 0 }], /1 of 1 schedules are not used: 1 of version 0, not \d+\n$/],
    [
      'another target',
      [{ ...record, schedule: planted, target: 'another' }],
      /1 of 1 schedules are not used: 1 for other targets than .*1 thread, .*\n$/,
    ],
    ['a cut line', [JSON.stringify({ ...record, schedule: planted }).slice(0, 90)], /1 of 1 schedules are not used: 1 not JSON\n$/],
    ['no JSON at all', ['these are', 'not the schedules'], /2 of 2 schedules are not used: 2 not JSON\n$/],
    ['no record', [{ ...record, schedule: { tm: 'wide' } }, '[]', 'null', '3'], /4 of 4 schedules are not used: 4 not a record\n$/],
    [
      'an illegal schedule',
      [{ ...record, schedule: { ...planted, lanes: 3 } }],
      /the schedule of gemm .* is not legal here: the target has no vectors of 3 lanes\n$/,
    ],
    [
      'a schedule too large for the stack',
      [{ ...record, schedule: { ...planted, tm: 1, bm: 1, bk: 1e9 } }],
      /is not legal here: a block is larger than the whole\n$/,
    ],
  ];
  for (const [what, entries, why] of poisons) {
    said.length = 0;
    write(...entries);
    const backend = cpu({ threads: 1, schedules: file });
    const first = await product('cached', backend);
    expect(
      first.plan.chosen.map(({ key, schedule }) => ({ key, schedule })),
      what,
    ).toEqual(model);
    expect(first.plan.kernels, what).toEqual(never.plan.kernels);
    expect(said, what).toEqual([expect.stringMatching(why)]);
    expect(said[0], what).toMatch(/^fovea: /);
    // said once, however many programs are compiled
    await product('cached', backend);
    expect(said.length, what).toBe(1);
  }
  // what cannot be used is measured anew; a line that is none goes when the file is written
  write('not JSON', { ...record, target: 'another' });
  await product('measure');
  expect(lines()).toMatchObject([{ target: 'another' }, { key, target: record?.['target'] }]);
});

test('a file that cannot be read or written is a notice, not a failure', { timeout: 120_000 }, async () => {
  const backend = cpu({ threads: 1, schedules: folder });
  const never = await product('never', backend);
  const measured = await product('measure', backend);
  expect(measured.data).toEqual(never.data);
  expect(said).toEqual([expect.stringMatching(/ is not used: /), expect.stringMatching(/cannot write /)]);
});

test('FOVEA_SCHEDULES names the file, else it lies in the kernel cache', { timeout: 120_000 }, async () => {
  vi.stubEnv('FOVEA_SCHEDULES', join(folder, 'own.jsonl'));
  await product('measure', cpu({ threads: 1 }));
  expect(existsSync(join(folder, 'own.jsonl'))).toBe(true);
  vi.stubEnv('FOVEA_SCHEDULES', '');
  vi.stubEnv('FOVEA_CACHE', folder);
  await product('measure', cpu({ threads: 1 }));
  expect(existsSync(join(folder, 'schedules.jsonl'))).toBe(true);
  vi.unstubAllEnvs();
});
