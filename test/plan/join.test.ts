/**
 * Launches of several parts: which steps are joined and which must not be, that a plan of them is sound, and that its blocks, dealt out
 * to any number of threads, give the bits of launches of one part each.
 */
import { describe, expect, test } from 'vitest';
import { cpu as cpuBackend } from '../../backends/cpu/index.ts';
import { passes } from '../../compiler/compile.ts';
import type { Graph, HostData, Phase, Value } from '../../compiler/graph/types.ts';
import type { Kernel } from '../../compiler/kernel/types.ts';
import { buildPlan } from '../../compiler/plan/build.ts';
import { joinSteps, type Step } from '../../compiler/plan/join.ts';
import type { Launch, Part, Plan } from '../../compiler/plan/types.ts';
import { type F32, spec, trace } from '../../index.ts';
import { faults } from '../../testing/faults.ts';
import { cpu } from '../fuse/run.ts';

const value = (id: number, n = 16): Value => ({ id, type: { dtype: 'f32', shape: [n] } });
/** Kernel k reads one buffer and writes another. */
const kernel = (name: string): Kernel => ({
  name,
  buffers: [
    { name: 'b0', dtype: 'f32', size: 1 << 20, access: 'read' },
    { name: 'b1', dtype: 'f32', size: 1 << 20, access: 'write' },
  ],
  grid: [1, 1, 1],
  threads: 1,
  body: [],
});
const kernels = [kernel('k0'), kernel('k1')];
const step = (k: number, from: Value, to: Value, phase: Phase = 'fwd'): Step => {
  const sizes = [from, to].map((v) => v.type.shape[0] as number);
  const bytes = 4 * sizes.reduce((a, b) => a + b);
  return {
    kernel: k,
    parts: [{ buffers: [from, to], sizes, blocks: 1 }],
    scope: `s/${to.id}`,
    phase,
    label: '',
    reason: '',
    flops: 0,
    bytes,
  };
};
/** The numbers of what each launch writes. */
const joined = (steps: readonly Step[], replaced: readonly (readonly [Value, Value])[] = []): number[][] =>
  joinSteps(steps, kernels, new Map(replaced)).map((s) => s.parts.map((p) => p.buffers[1]?.id as number));

describe('which steps are joined', () => {
  const [a, b, c, d] = [value(1), value(2), value(3), value(4)] as const;
  const large = (id: number): Value => value(id, 1 << 20);

  test('small ones of one kernel that wait for nobody', () => {
    expect(joined([step(0, a, value(11)), step(1, b, value(12)), step(0, c, value(13)), step(1, d, value(14))])).toEqual([
      [11, 13],
      [12, 14],
    ]);
  });

  test('those of several stages, stage by stage', () => {
    const [x, y] = [value(11), value(12)];
    expect(joined([step(0, large(1), x), step(1, x, value(21)), step(0, large(2), y), step(1, y, value(22))])).toEqual([
      [11, 12],
      [21, 22],
    ]);
  });

  test('none that reads what the other writes', () => {
    const x = value(11);
    expect(joined([step(0, a, x), step(0, x, value(12))])).toEqual([[11], [12]]);
  });

  test('none of another phase', () => {
    expect(joined([step(0, a, value(11)), step(0, b, value(12), 'bwd')])).toEqual([[11], [12]]);
  });

  test('large values are not made earlier than they must, unless they lie where an input lay', () => {
    const steps = [step(0, large(1), large(11)), step(1, large(2), large(12)), step(0, large(3), large(13))];
    expect(joined(steps)).toEqual([[11], [12], [13]]);
    const last = steps[2]?.parts[0]?.buffers[1] as Value;
    expect(joined(steps, [[last, large(3)]])).toEqual([[11, 13], [12]]);
  });

  test('a value that takes the place of an input stays behind those who read the input before', () => {
    const [p, q] = [large(1), large(2)];
    const next = large(12);
    // launch 1 reads q: the step that overwrites q may not join launch 0
    expect(joined([step(0, p, large(11)), step(1, q, large(21)), step(0, large(3), next)], [[next, q]])).toEqual([[11], [21], [12]]);
    // nor go ahead of a small step that reads q and waits
    const [s, t] = [value(5), value(15)];
    expect(joined([step(1, s, value(31)), step(0, large(4), t)], [[t, s]])).toEqual([[31], [15]]);
  });

  test('scopes meet in what they have in common, counts are added', () => {
    const [one] = joinSteps([step(0, a, value(11)), step(0, b, value(12))], kernels, new Map());
    expect(one).toMatchObject({ scope: 's', bytes: 256 });
  });
});

/** y = 3 x + factor x^2 of tensors of several sizes: one kernel with tables. */
const program = (sizes: readonly number[]): Graph => {
  const f = (...xs: F32<string>[]) => xs.map((x, i) => x.mul(3).add(x.mul(x).mul(0.9 ** (i + 1))));
  const { graph } = trace(f as never, sizes.map((n) => spec(`${n}` as never)) as never);
  return passes.reduce((g, [, pass]) => pass(g), graph);
};
const input = (n: number): Float32Array => Float32Array.from({ length: n }, (_, i) => ((i * 37) % 101) / 50 - 1);

test('one launch of the parts of all sizes gives the bits of a launch each, for any number of threads', { timeout: 60_000 }, async () => {
  const sizes = [16000, 98688, 20016, 8192, 40000];
  const graph = program(sizes);
  const plan = (donated: readonly number[]): Plan => buildPlan(graph, cpu, { donated, maxBytes: Number.POSITIVE_INFINITY });
  const [many, one] = [plan(sizes.map(() => -1)), plan(sizes.map((_, i) => i))];
  expect(many.launches.length).toBe(5);
  expect(one.launches.length).toBe(1);
  expect(one.launches[0]?.parts.map((p) => p.blocks).sort((x, y) => x - y)).toEqual([1, 2, 3, 5, 13]);
  expect([...faults(many), ...faults(one)]).toEqual([]);
  const results = async (p: Plan, threads: number): Promise<HostData[]> => {
    const exe = await cpuBackend({ threads }).prepare(p);
    sizes.forEach((n, i) => {
      exe.write(i, input(n));
    });
    await exe.run();
    const out = sizes.map((_, o) => exe.read(o));
    exe.dispose();
    return out;
  };
  const want = await results(many, 1);
  expect(want[1]?.[7]).toBeCloseTo(3 * (input(8)[7] as number) + 0.81 * (input(8)[7] as number) ** 2, 5);
  for (const threads of [1, 2, 3]) expect(await results(one, threads)).toEqual(want);
});

test('a part that reads what another part writes is a fault', () => {
  const sizes = [8192, 8192];
  const plan = buildPlan(program(sizes), cpu, { donated: [0, 1], maxBytes: Number.POSITIVE_INFINITY });
  expect(plan.launches.map((l) => l.parts.length)).toEqual([2]);
  const launch = plan.launches[0] as Launch;
  const [p, q] = launch.parts as readonly [Part, Part];
  const crossed = { ...q, offsets: [p.offsets[0] as number, ...q.offsets.slice(1)] };
  expect(faults({ ...plan, launches: [{ ...launch, parts: [p, crossed] }] }).join()).toContain('while it writes');
});
