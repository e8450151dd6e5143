/**
 * NCCL without a GPU: its bindings and communicators against a double in C, on the emulated GPU, a process for each rank. What it proves is this side: which
 * calls are made with what, in which order, and what becomes of their errors. NCCL itself has not run here.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { loadNccl } from '../../backends/cuda/libraries.ts';
import { FoveaError } from '../../compiler/error.ts';
import { launchers, noMpi, script, underMpi } from './launch.ts';
import { buildDouble, missing, onRanks } from './nccl/ranks.ts';

interface Trained {
  readonly rank: number;
  readonly losses: readonly number[];
  /** Weights by name, of what the rank holds. */
  readonly pieces: readonly (readonly [string, readonly number[]])[];
  readonly collectives: readonly string[];
}
const trained = (stdout: string): readonly Trained[] =>
  stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Trained)
    .sort((a, b) => a.rank - b.rank);

const mpi = launchers.find((l) => l.name === 'Open MPI');

/** Sums of float32 in another order, over 64 rows and 20 steps: the last bits of losses and weights. */
const agree = (ranks: readonly Trained[], alone: Trained): void => {
  expect(ranks.length).toBe(2);
  expect(ranks[1]?.losses).toEqual(ranks[0]?.losses);
  alone.losses.forEach((x, i) => expect(Math.abs((ranks[0]?.losses[i] as number) / x - 1)).toBeLessThan(3e-6));
  expect(alone.losses.at(-1)).toBeLessThan(0.7 * (alone.losses[0] as number));
  alone.pieces.forEach(([name, want], n) => {
    const held = ranks.map((r) => r.pieces[n]?.[1] as readonly number[]);
    // what has an element for each rank lies in pieces, in their order; the rest is whole
    const got = want.length < 2 ? (held[0] as readonly number[]) : held.flat();
    expect(got.length, name).toBe(want.length);
    want.forEach((x, i) => expect(Math.abs((got[i] as number) - x), name).toBeLessThan(3e-6));
  });
};

if (missing) console.warn(`collectives over NCCL: ${missing}`);

describe.skipIf(missing !== undefined)('over a double of NCCL', () => {
  const folder = mkdtempSync(join(tmpdir(), 'fovea-nccl-'));
  let library = '';
  beforeAll(async () => {
    library = await buildDouble(folder);
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  const run = (size: number, args: readonly string[], env: Readonly<Record<string, string>> = {}) =>
    onRanks(size, 'calls.ts', args, { FOVEA_NCCL: library, ...env });

  test('every kind, type and group, on 3 ranks', async () => {
    const size = 3;
    const ranks = await run(size, ['laws']);
    expect(ranks.map(({ status, stderr }) => ({ status, stderr }))).toEqual(ranks.map(() => ({ status: 0, stderr: '' })));
    expect(ranks[0]?.stdout).toBe(
      [
        `409 transfers of ${size} ranks; ${ranks.map((_, r) => `rank ${r}`).join(', ')}`,
        "FV0802: all-reduce of laws: NCCL needs the program's memory on a GPU\n",
      ].join('\n'),
    );
  });

  test('a model trained on two emulated GPUs, in pieces, has the losses and the weights of one', async () => {
    const env = { FOVEA_NCCL: library };
    const [alone] = (await onRanks(1, 'train.ts', [], env)).map((r) => trained(r.stdout)[0] as Trained) as [Trained];
    const ends = await onRanks(2, 'train.ts', ['FULL_SHARD'], env);
    expect(ends.map(({ status, stderr }) => ({ status, stderr }))).toEqual(ends.map(() => ({ status: 0, stderr: '' })));
    const ranks = ends.map((r) => trained(r.stdout)[0] as Trained);
    expect(alone.collectives).toEqual([]);
    expect([...new Set(ranks[0]?.collectives)].sort()).toEqual(['all-gather', 'all-reduce', 'reduce-scatter']);
    agree(ranks, alone);
    if (!mpi) return console.warn(`ranks that know each other by MPI: ${noMpi}`);
    const { status, stdout, stderr } = await underMpi(mpi, 2, script('nccl/train.ts', '', '', '', 'SHARD_GRAD_OP'), { env });
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    agree(trained(stdout), alone);
  });

  test.each([
    ['killed', {}, /^rank 0 heard: FV0802: rank 1 \(process \d+ on .+\) ended without a word$/m],
    ['abort', {}, /^rank 0 heard: FV0802: rank 1 \(process \d+ on .+\) gave up: the disk is full$/m],
    ['absent', {}, /^rank 0 heard: FV0802: waited 1 s for all-reduce 0 of laws, which not all ranks have come to$/m],
    ['differ', {}, /^rank 0 heard: FV0802: (rank 1 .+ gave up: )?NCCL: invalid usage/m],
    ['none', { FOVEA_NCCL_FAULT: 'async' }, /^rank 0 heard: FV0802: (rank 1 .+ gave up: )?NCCL: a peer is gone$/m],
    ['none', { FOVEA_NCCL_FAULT: 'init' }, /^rank 0 heard: FV0802: ncclCommInitRank: a system call failed: no network$/m],
    ['none', { FOVEA_NCCL_FAULT: 'all-reduce' }, /^rank 0 heard: FV0802: ncclAllReduce: invalid usage: not today$/m],
    ['none', { FOVEA_NCCL_FAULT: 'old' }, /^rank 0 heard: FV0310: NCCL 2\.17\.3 is too old: 2\.18\.0 or newer is needed$/m],
  ])('a rank in trouble (%s, %o) ends the job, and the others say why', async (kind, env, said) => {
    const [first] = await run(2, [kind], env as Readonly<Record<string, string>>);
    expect(first).toMatchObject({ status: 1, stdout: expect.stringMatching(said) });
    // a promise, not a figure: from the trouble on
    expect(Number(first?.stdout.match(/^(\d+) ms$/m)?.[1])).toBeLessThan(10_000);
  });

  test.each([
    ['init', 'NCCL to connect 2 ranks'],
    ['split', 'NCCL to split 2 ranks'],
    ['connecting', 'all-reduce 0 of laws'],
  ])('a rank that dies in the middle of NCCL (%s), where the others hold their thread: they say so and end', async (where, what) => {
    const kind = where === 'split' ? 'split' : 'none';
    const [first, second] = await run(2, [kind], { FOVEA_NCCL_FAULT: `dies in ${where}` });
    expect(second).toMatchObject({ signal: 'SIGKILL' });
    expect(first).toMatchObject({
      signal: 'SIGKILL',
      stderr: expect.stringContaining(`fovea: FV0802: waited 3 s for ${what}, which not all ranks`),
    });
  });
});

test('no NCCL: what was looked for, where, and what to install', () => {
  try {
    vi.stubEnv('FOVEA_NCCL', '/nowhere/libnccl.so.2');
    expect(loadNccl).toThrow('FOVEA_NCCL is /nowhere/libnccl.so.2, which does not load');
    vi.stubEnv('FOVEA_NCCL', '');
    const found = ((): unknown => {
      try {
        return loadNccl();
      } catch (e) {
        return e;
      }
    })();
    // a machine that has NCCL finds it
    if (!(found instanceof FoveaError)) return;
    expect(found.code).toBe('FV0310');
    expect(found.message).toContain("NCCL is not found: install the package libnccl2, or Python's package nvidia-nccl-cu12");
    expect(found.hint).toMatch(/libnccl\.so\.2.*\/usr\/local\/cuda\/lib64.*FOVEA_NCCL names another file/);
  } finally {
    vi.unstubAllEnvs();
  }
});
