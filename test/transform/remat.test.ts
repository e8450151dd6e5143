/** Checkpoint regions: what grad records, what remat makes of it. The law that no bit changes is in laws.test.ts. */
import { describe, expect, test } from 'vitest';
import { builder } from '../../compiler/graph/builder.ts';
import { interpret, tensor64 } from '../../compiler/graph/interpret.ts';
import type { Graph, Node, Value } from '../../compiler/graph/types.ts';
import { valueAndGrad } from '../../compiler/transform/grad.ts';
import { remat } from '../../compiler/transform/remat.ts';
import { arg, gradOf, trace, vector } from './support.ts';

describe('checkpoint', () => {
  const block = trace([arg([4]), arg([4])], (b, x, w) => [b.add(x, b.exp(b.sin(b.mul(x, w))))]);
  const model = (tag: string): Graph =>
    trace([arg([4]), arg([4])], (b, x, w) => {
      const y = b.one({ prim: 'call', tag, body: block }, [x, w]);
      return [b.sum(b.one({ prim: 'call', tag, body: block }, [y, w]), [0])];
    });
  const regionsOf = (g: Graph): number[] => [...new Set(g.nodes.flatMap((n) => n.meta.remat ?? []))];
  const step = (): Graph => gradOf(model('checkpoint'), [0, 1]);

  test('each region has a number; the backward phase has none', () => {
    expect(regionsOf(step())).toHaveLength(2);
    expect(
      step()
        .nodes.filter((n) => n.meta.phase === 'bwd')
        .every((n) => n.meta.remat === undefined),
    ).toBe(true);
    expect(regionsOf(gradOf(model('plain'), [0, 1]))).toEqual([]);
  });
  test('two gradients in one builder do not share numbers', () => {
    const b = builder();
    const xs = model('checkpoint').params.map((p) => b.param(p.type));
    const losses = [1, 2].map(() => valueAndGrad(b, model('checkpoint'), xs, [0]).results[0] as Value);
    expect(regionsOf(b.build(losses))).toHaveLength(4);
  });
  test('a region in a region belongs to the outer one', () => {
    const outer = trace([arg([4]), arg([4])], (b, x, w) => b.emit({ prim: 'call', tag: 'checkpoint', body: block }, [x, w]));
    const g = trace([arg([4]), arg([4])], (b, x, w) => [b.sum(b.one({ prim: 'call', tag: 'checkpoint', body: outer }, [x, w]), [0])]);
    expect(regionsOf(gradOf(g, [0]))).toHaveLength(1);
  });
  test('what lives from the forward to the backward phase is what enters the regions', () => {
    const crossing = (g: Graph): string[] => {
      const forward = new Map(g.nodes.filter((n) => n.meta.phase === 'fwd').flatMap((n) => n.outputs.map((o) => [o, n] as const)));
      const read = g.nodes.filter((n) => n.meta.phase === 'bwd').flatMap((n) => n.inputs.map((v) => forward.get(v)));
      return [...new Set(read.filter((n): n is Node => n !== undefined))].map((n) => n.op.prim);
    };
    expect(crossing(step())).toEqual(expect.arrayContaining(['mul', 'exp']));
    // the first block's output, which the second starts from
    expect(crossing(remat(step()))).toEqual(['add']);
  });
  test('a scan does not stack what a region in its body recomputes', () => {
    const scanned = (tag: string): Graph => {
      const body = trace([arg([4]), arg([4]), arg([4])], (b, c, w, x) => b.emit({ prim: 'call', tag, body: block }, [b.add(c, x), w]));
      return trace([arg([4]), arg([4]), arg([3, 4])], (b, c, w, x) => {
        const [last] = b.emit({ prim: 'scan', length: 3, carries: 1, constants: 1, reverse: false, body }, [c, w, x]);
        return [b.sum(last as Value, [0])];
      });
    };
    const stacks = (g: Graph): number => (g.nodes.find((n) => n.op.prim === 'scan')?.outputs.length as number) - 1;
    const [saved, recomputed] = ['plain', 'checkpoint'].map((tag) => gradOf(scanned(tag), [0, 1, 2])) as [Graph, Graph];
    expect([stacks(saved), stacks(recomputed)]).toEqual([3, 1]);
    const xs = [
      vector(0.1, -0.2, 0.3, 0.4),
      vector(1, 0.5, -1, 0.25),
      tensor64(
        { dtype: 'f32', shape: [3, 4] },
        Array.from({ length: 12 }, (_, i) => Math.sin(i)),
      ),
    ];
    expect(interpret(recomputed, xs)).toEqual(interpret(saved, xs));
  });
  test('a clone stands behind the forward phase, has phase bwd and keeps its region', () => {
    const g = remat(step());
    const clones = g.nodes.filter((n) => n.meta.phase === 'bwd' && n.meta.remat !== undefined);
    expect(clones.map((n) => n.op.prim)).toEqual(['mul', 'sin', 'exp', 'mul', 'sin', 'exp']);
    expect(new Set(clones.map((n) => n.meta.remat))).toEqual(new Set(regionsOf(step())));
    const lastForward = g.nodes.findLastIndex((n) => n.meta.phase === 'fwd');
    expect(clones.every((n) => g.nodes.indexOf(n) > lastForward)).toBe(true);
  });
});
