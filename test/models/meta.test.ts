/** Every node of the traced training step says where it comes from: scope, phase, source line. Reports, profiles and precision read them. */
import { describe, expect, it } from 'vitest';
import { isAttention } from '../../compiler/graph/attention.ts';
import type { Graph, Meta, Node, Value } from '../../compiler/graph/types.ts';
import { trace } from '../../dsl/index.ts';
import { batchSpec, hyperSpec, stateSpec, trainStep } from '../../models/dinov2.ts';
import { geometry } from '../../models/recipes/geometry.ts';
import { demo, type Recipe } from '../../models/recipes.ts';

const recipe: Recipe = {
  ...demo,
  batch: 4,
  model: { ...demo.model, depth: 2 },
  dropPath: { rate: 0.3, uniform: true },
  ibot: { weight: 1, head: { prototypes: 12, hidden: 16, bottleneck: 8, layers: 2 } },
  centering: 'softmax',
};
const { graph, outputs } = trace(trainStep(recipe), [stateSpec(recipe), batchSpec(recipe), hyperSpec()], { dims: geometry(recipe).sizes });
/** All nodes, those of regions too; but for the definitions of attention, which nobody wrote: their calls say where they come from. */
const all = (g: Graph): Node[] => g.nodes.flatMap((n) => ('body' in n.op && !isAttention(n) ? [n, ...all(n.op.body)] : [n]));
const metas: readonly Meta[] = all(graph).map((n) => n.meta);
const root = (m: Meta): string => m.scope.split('/')[0] as string;

describe('a traced training step', () => {
  it('has a scope on every node, by the path of the module that made it', () => {
    expect(metas.filter((m) => m.scope === '')).toEqual([]);
    const scopes = new Set(metas.map((m) => m.scope));
    for (const s of [
      'student/backbone/blocks.1/attn/qkv',
      'teacher/backbone/blocks.0/mlp/fc1',
      'student/ibot_head/last_layer',
      'teacher/centering',
    ])
      expect(
        [...scopes].some((have) => have === s || have.startsWith(`${s}/`)),
        s,
      ).toBe(true);
  });

  it('has a source line on every node, none of them in the language or the compiler', () => {
    const outside = metas.filter((m) => !m.loc || m.loc.line < 1 || m.loc.col < 1 || !/\/models\/[a-z0-9/-]+\.ts$/.test(m.loc.file));
    expect(outside).toEqual([]);
  });

  it('has the teacher in the forward phase, the student and the losses in both, the optimizer in its own', () => {
    const phases = Object.fromEntries(
      [...new Set(metas.map(root))].map((name) => [name, [...new Set(metas.filter((m) => root(m) === name).map((m) => m.phase))].sort()]),
    );
    expect(phases).toEqual({
      teacher: ['fwd'],
      student: ['bwd', 'fwd'],
      loss: ['bwd', 'fwd'],
      clip: ['opt'],
      adamw: ['opt'],
      average: ['opt'],
      count: ['opt'],
    });
  });

  it('has the phases in order: no forward node needs a backward one, no backward node one of the optimizer', () => {
    const order = { fwd: 0, bwd: 1, opt: 2 } as const;
    const made = new Map<Value, Meta>(graph.nodes.flatMap((n) => n.outputs.map((o) => [o, n.meta] as const)));
    const against = graph.nodes.filter((n) => n.inputs.some((v) => order[made.get(v)?.phase ?? 'fwd'] > order[n.meta.phase]));
    expect(against.map((n) => [n.op.prim, n.meta])).toEqual([]);
    // the losses are ready before the backward phase starts, the new parameters come from the optimizer
    const phase = (path: RegExp): unknown[] => [
      ...new Set(outputs.flatMap((o, i) => (path.test(o.path) ? [made.get(graph.results[i] as Value)?.phase] : []))),
    ];
    expect([phase(/^metrics\..*loss$/), phase(/grad_norm/), phase(/^state\.(student|teacher|moments|step)/), phase(/centers/)]).toEqual([
      ['fwd'],
      ['opt'],
      ['opt'],
      ['fwd'],
    ]);
  });
});
