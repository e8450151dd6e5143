/** Mixed precision on DINOv2's training step: what is cast, what is kept, and that it trains as float32 does. */
import { describe, expect, test } from 'vitest';
import { cpu, cpuTarget } from '../../backends/cpu/index.ts';
import { passesFor } from '../../compiler/compile.ts';
import { bindGraph } from '../../compiler/graph/bind.ts';
import type { Graph, Node } from '../../compiler/graph/types.ts';
import { buildPlan } from '../../compiler/plan/build.ts';
import { compile, type F32, FoveaError, flatten, type HostTensor, spec, trace } from '../../index.ts';
import { batchSpec, hyperSpec, stateSpec, trainStep } from '../../models/dinov2.ts';
import { stepPrecision } from '../../models/precision.ts';
import { geometry } from '../../models/recipes/geometry.ts';
import { compileTiny, tiny, train } from './tiny.ts';

const graphOf = (precision: Parameters<typeof passesFor>[0]): Graph => {
  const { graph } = trace(trainStep(tiny), [stateSpec(tiny), batchSpec(tiny), hyperSpec()], { dims: geometry(tiny).sizes });
  return passesFor(precision).reduce((g, [, pass]) => pass(g), bindGraph(graph, new Map()));
};
const dots = (g: Graph): readonly Node[] => g.nodes.filter((n) => n.op.prim === 'dot');
const halves = (g: Graph): readonly Node[] => dots(g).filter((n) => n.inputs[0]?.type.dtype === 'bf16');

describe('the step', () => {
  const [plain, mixed] = [graphOf('f32'), graphOf(stepPrecision('bf16'))];
  test('casts the contractions of backbones and heads, in both phases, and no others', () => {
    // attention itself is a call, which stays in float32
    const scopes = (phase: string): Set<string> =>
      new Set(halves(mixed).flatMap((n) => (n.meta.phase === phase ? [n.meta.scope.replace(/^.*\//, '')] : [])));
    expect([...scopes('fwd')].sort()).toEqual(['0', '2', '4', 'fc1', 'fc2', 'last_layer', 'patch_embed', 'proj', 'qkv']);
    expect([...scopes('bwd')].sort()).toEqual([...scopes('fwd')].sort());
    const kept = dots(mixed).filter((n) => n.inputs[0]?.type.dtype === 'f32');
    expect(new Set(kept.map((n) => n.meta.scope))).toEqual(new Set(['loss', 'student/backbone']));
  });
  test('casts each weight once', () => {
    const cast = mixed.nodes.filter((n) => n.op.prim === 'cast' && mixed.params.includes(n.inputs[0] as never)).map((n) => n.inputs[0]);
    expect(new Set(cast).size).toBe(cast.length);
    const weights = mixed.params.filter((p) => /(student|teacher)\.backbone\.blocks.*(qkv|proj|fc1|fc2)\.weight$/.test(p.name ?? ''));
    expect(weights).toHaveLength(2 * tiny.model.depth * 4);
    for (const w of weights) expect(cast).toContain(w);
  });
  test('needs a smaller arena', () => {
    const arena = (g: Graph): number =>
      buildPlan(g, cpuTarget(2), { donated: g.results.map(() => -1), maxBytes: Number.POSITIVE_INFINITY }).arenaBytes;
    expect(arena(mixed)).toBeLessThan(arena(plain));
  });
});

/**
 * bf16 keeps 8 bits: an operand is off by 2^-9 of itself at most, at random. A loss is a mean of logarithms of softmaxes of logits of size 1
 * over a temperature of 0.1; the logits go through some ten contractions in a row, so they are off by 10^0.5 2^-9 or so, and the loss, which
 * averages over views and images, by less than that times 1 / 0.1 = 0.06. Measured: 0.0072 at most.
 */
test('trains as in float32', { timeout: 120_000 }, async () => {
  const [plain, mixed] = [await compileTiny(cpu()), await compileTiny(cpu(), stepPrecision('bf16'))];
  try {
    const losses = async (p: typeof plain): Promise<number[]> =>
      (await train(p, 3)).flatMap(({ metrics }) => flatten(metrics.loss).map(({ leaf }) => (leaf as HostTensor).data[0] as number));
    const [want, got] = [await losses(plain), await losses(mixed)];
    got.forEach((l, i) => {
      expect(l).not.toBe(want[i]);
      expect(Math.abs(l - (want[i] as number))).toBeLessThan(0.06);
    });
  } finally {
    plain.dispose();
    mixed.dispose();
  }
});

test('compile refuses a precision that is none', async () => {
  const f = (x: F32<'2'>) => x.neg();
  await expect(compile(f, [spec('2')], { backend: cpu(), precision: 'half' as never })).rejects.toThrow(FoveaError);
});
