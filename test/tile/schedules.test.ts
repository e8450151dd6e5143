/**
 * Schedules as records: rankings hold only what is legal, their heads are what lowering takes, every schedule gives the bits of every
 * other (in the checking interpreter, so that arrays that are too small fail as well), and a record that is not legal is left aside.
 */
import fc from 'fast-check';
import { describe, expect, it, test } from 'vitest';
import { passesFor } from '../../compiler/compile.ts';
import { fuse } from '../../compiler/fuse/fuse.ts';
import type { Graph } from '../../compiler/graph/types.ts';
import { printKernel } from '../../compiler/kernel/print.ts';
import type { Schedule, Target } from '../../compiler/target.ts';
import { chooseGemm, rankGemm, readGemm } from '../../compiler/tile/gemm-schedule.ts';
import type { GemmOperand, GemmSpec } from '../../compiler/tile/gemm-spec.ts';
import { lower } from '../../compiler/tile/lower.ts';
import { einsum, type F32, gelu, grad, softmax, spec, sum, trace } from '../../dsl/index.ts';
import { runKernels } from '../../testing/kernels.ts';
import { cpu, sample } from '../fuse/run.ts';

const small: Target = { ...cpu, cacheBytes: { l1: 1024, l2: 8192 } };
const targets: readonly Target[] = [cpu, small, { ...small, bf16Dot: false, vectorBytes: 64, registers: 32 }];
const target = fc.constantFrom(...targets);

const operand = (buffer: string, outer: number, k: number, along: boolean, dtype: 'f32' | 'bf16'): GemmOperand => ({
  ...{ buffer, dtype, size: outer * k, base: 0, batch: [] },
  ...(along ? { outer: k, inner: 1 } : { outer: 1, inner: outer }),
});
const specs = fc
  .record({
    m: fc.integer({ min: 1, max: 3000 }),
    n: fc.integer({ min: 1, max: 3000 }),
    k: fc.integer({ min: 0, max: 3000 }),
    dtype: fc.constantFrom('f32', 'bf16'),
    a: fc.boolean(),
    b: fc.boolean(),
  })
  .map(({ m, n, k, dtype, a, b }): GemmSpec => {
    const [x, y] = [operand('a', m, k, a, dtype), operand('b', n, k, b, dtype)];
    return { batch: [], m, n, k, acc: 'f32', a: x, b: y, epilogue: () => [] };
  });

/** Products in every layout, of what few tiles hold, with work behind them. */
const product = (m: number, n: number, k: number, layout: 'NT' | 'NN' | 'TN'): Graph => {
  const [x, w] = [layout === 'TN' ? 'k m' : 'm k', layout === 'NT' ? 'n k' : 'k n'];
  const shape = (p: string): string => p.replace('m', `${m}`).replace('n', `${n}`).replace('k', `${k}`);
  const f = (a: F32<string>, b: F32<string>): F32<string> => gelu(einsum(`${x}, ${w} -> m n` as string, a, b) as F32<string>);
  return trace(f as never, [spec(shape(x)), spec(shape(w))] as never).graph;
};
const look = (q: F32<'B N D'>, k: F32<'B M D'>, v: F32<'B M E'>): F32<'B N E'> =>
  einsum('b n m, b m e -> b n e', softmax(einsum('b n d, b m d -> b n m', q.mul(0.7), k)), v) as F32<'B N E'>;
const attention = (backward: boolean): Graph => {
  const f = backward
    ? (q: F32<'B N D'>, k: F32<'B M D'>, v: F32<'B M E'>) =>
        grad((p: { q: F32<'B N D'>; k: F32<'B M D'>; v: F32<'B M E'> }) => {
          const o = look(p.q, p.k, p.v);
          return sum('b n e ->', o.mul(o));
        })({ q, k, v })
    : look;
  const dims = { B: 2, N: 21, M: 37, D: 5, E: 6 };
  return trace(f as never, [spec('B N D'), spec('B M D'), spec('B M E')] as never, { dims }).graph;
};
const staged = (g: Graph, precision: 'f32' | 'bf16'): Graph => passesFor(precision).reduce((x, [, pass]) => pass(x), g);
const choices = (g: Graph, t: Target) =>
  fuse(g, t).groups.flatMap((group) => {
    const { choice, kernel } = lower(group, t);
    return choice ? [{ group, choice, kernel }] : [];
  });

describe('the ranking of a contraction', () => {
  it('holds only legal schedules, and its head is what is chosen', () => {
    fc.assert(
      fc.property(specs, target, (s, t) => {
        const ranking = rankGemm(s, t);
        expect(ranking[0]).toEqual(chooseGemm(s, t));
        for (const x of ranking) expect(readGemm(s, t, { ...x })).toEqual(x);
      }),
      { seed: 5, numRuns: 40 },
    );
  });

  it('has schedules of many kinds', () => {
    const s = { batch: [], m: 2056, n: 384, k: 1536, acc: 'f32', epilogue: () => [] } as const;
    const ranking = rankGemm({ ...s, a: operand('a', 2056, 1536, true, 'f32'), b: operand('b', 384, 1536, true, 'f32') }, cpu);
    for (const name of ['bm', 'bn', 'bk', 'tm', 'tn'] as const) expect(new Set(ranking.map((x) => x[name])).size, name).toBeGreaterThan(1);
  });
});

test('a record that is no legal schedule is told apart by its fault', () => {
  const s: GemmSpec = {
    ...{ batch: [], m: 100, n: 100, k: 100, acc: 'f32', epilogue: () => [] },
    ...{ a: operand('a', 100, 100, true, 'f32'), b: operand('b', 100, 100, true, 'f32') },
  };
  const good = { bm: 4, bn: 16, bk: 100, tm: 4, tn: 2, lanes: 8 };
  expect(readGemm(s, cpu, good)).toEqual(good);
  const faults: readonly (readonly [Schedule, RegExp])[] = [
    [{ ...good, bm: 0 }, /bm is 0/],
    [{ ...good, bm: 4.5 }, /bm is 4.5/],
    [{ ...good, stages: 2 }, /there is no stages/],
    [{ bm: 4, bn: 16, bk: 100, tm: 4, tn: 2 }, /lanes is undefined/],
    [{ ...good, lanes: 16, bn: 32 }, /no vectors of 16 lanes/],
    [{ ...good, lanes: 6, bn: 12 }, /no vectors of 6 lanes/],
    [{ ...good, tm: 8, bm: 8 }, /do not fit 16 registers/],
    [{ ...good, bm: 6 }, /no whole number of tiles/],
    [{ ...good, bm: 104 }, /larger than the whole/],
    [{ ...good, bk: 101 }, /larger than the whole/],
  ];
  for (const [record, why] of faults) expect(readGemm(s, cpu, record)).toMatch(why);
  // what one target takes, the caches of another do not
  expect(readGemm(s, small, { ...good, bm: 100, bn: 112 })).toMatch(/do not fit the cache/);
});

describe('equal bits', () => {
  const programs: readonly (readonly [string, Graph])[] = [
    ['NT', product(11, 37, 45, 'NT')],
    ['NN', product(19, 35, 33, 'NN')],
    ['TN', product(23, 20, 50, 'TN')],
    ['attention', attention(false)],
    ['its gradients', attention(true)],
  ];
  it.each(programs.flatMap(([name, g]) => (['f32', 'bf16'] as const).map((p) => [name, p, g] as const)))(
    'from every schedule: %s, %s',
    (_name, precision, graph) => {
      const g = staged(graph, precision);
      const args = g.params.map((p, i) => sample(p.type, i + 1));
      for (const t of targets) {
        const expected = runKernels(g, t, args);
        for (const { choice } of choices(g, t)) {
          const ranking = choice.ranking();
          expect(ranking[0]).toEqual({ ...choice.schedule });
          // some of each part of the ranking
          const tried = ranking.filter((_, i) => i % Math.ceil(ranking.length / 6) === 1);
          for (const s of tried)
            expect(runKernels(g, t, args, { schedules: new Map([[choice.key, s]]) }), JSON.stringify(s)).toEqual(expected);
        }
      }
    },
  );
});

test('a legal record is lowered, an illegal one is left aside with its fault, one of another key is not looked at', () => {
  const g = staged(product(40, 40, 40, 'NT'), 'f32');
  const [one] = choices(g, cpu);
  if (!one) throw new Error('no choice');
  const { group, choice, kernel } = one;
  expect(choice.key).toMatch(/^gemm 40x40x40 f32\[40 1\] f32\[40 1\] then .*erf/);
  const other = choice.ranking().at(-1) as Schedule;
  const planted = lower(group, cpu, new Map([[choice.key, other]]));
  expect(planted.choice?.schedule).toEqual(other);
  expect(printKernel(planted.kernel)).not.toBe(printKernel(kernel));
  const refused = lower(group, cpu, new Map([[choice.key, { ...other, tm: 99 }]]));
  expect(refused.choice?.ignored).toMatch(/do not fit 16 registers/);
  expect(printKernel(refused.kernel)).toBe(printKernel(kernel));
  const elsewhere = lower(group, cpu, new Map([[`${choice.key} `, other]]));
  expect(printKernel(elsewhere.kernel)).toBe(printKernel(kernel));
  expect(elsewhere.choice?.ignored).toBeUndefined();
});

test('the parts of attention are no choice: they decide in which order weights are added', () => {
  const [one] = choices(staged(attention(false), 'f32'), cpu);
  if (!one) throw new Error('no choice');
  const head = one.choice.ranking()[0] as Schedule;
  const refused = lower(one.group, cpu, new Map([[one.choice.key, { ...head, rows: 2 * (head['rows'] as number) }]]));
  expect(refused.choice?.ignored).toMatch(/^rows is \d+, and the target's is \d+$/);
});
