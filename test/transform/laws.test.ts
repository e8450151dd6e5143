/** Laws of differentiation on random programs: duality, order 2, forward = reverse, and recomputation changes no bit. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { builder } from '../../compiler/graph/builder.ts';
import { interpret } from '../../compiler/graph/interpret.ts';
import type { Graph, Value } from '../../compiler/graph/types.ts';
import { valueAndGrad, vjp } from '../../compiler/transform/grad.ts';
import { remat } from '../../compiler/transform/remat.ts';
import { drawLike, numbers } from '../../testing/numbers.ts';
import { floats, jvpGraph, weightedGrad } from '../../testing/transforms.ts';
import { graphOf, type Program, program } from './programs.ts';
import { type Arg, arg, checkAll, checkDuality, checkForward, draw, trace } from './support.ts';

const runs = (seed: number, numRuns: number) => ({ seed, numRuns });
const inputs = (p: Program, g: Graph, seed: number) => {
  const next = numbers(seed);
  return {
    next,
    xs: p.args.map((a) => draw(a, next)),
    vs: floats(g).map((i) => drawLike((g.params[i] as Value).type, next)),
    us: g.results.map((r) => drawLike(r.type, next)),
  };
};

test("<u, J v> = <J' u, v>, of programs and of their gradients", () => {
  fc.assert(
    fc.property(program, fc.nat(), (p, seed) => {
      const g = graphOf(p, { kinks: true });
      const { next, xs, vs, us } = inputs(p, g, seed);
      checkDuality(g, xs, vs, us);
      checkDuality(weightedGrad(g, next), xs, vs, vs);
    }),
    runs(11, 150),
  );
});

test('gradients and their jvp agree with central differences', () => {
  fc.assert(
    fc.property(program, fc.nat(), (p, seed) => {
      const g = graphOf(p, { kinks: false });
      const { next, xs, vs } = inputs(p, g, seed);
      checkForward(g, xs, vs);
      checkForward(weightedGrad(g, next), xs, vs);
    }),
    runs(12, 100),
  );
});

test('grad of jvp, jvp of jvp: derivatives commute', () => {
  fc.assert(
    fc.property(program, fc.nat(), (p, seed) => {
      const g = jvpGraph(graphOf(p, { kinks: false }));
      const next = numbers(seed);
      const xs = g.params.map((q) => drawLike(q.type, next));
      const vs = floats(g).map((i) => drawLike((g.params[i] as Value).type, next));
      checkForward(g, xs, vs);
      checkDuality(
        g,
        xs,
        vs,
        g.results.map((r) => drawLike(r.type, next)),
      );
    }),
    runs(13, 60),
  );
});

/** The program as the body of a scan that carries x0 and slices x2, in either direction. */
const scanned = (p: Program, reverse: boolean): { args: readonly Arg[]; g: Graph } => {
  const inner = graphOf(p, { kinks: false });
  const body = trace([arg([3]), arg([3, 3]), arg([2], 0, 1, 'i32'), arg([3])], (b, c, w, i, x) => {
    const [y] = b.inline(inner, [c, w, x, i] as Value[]) as [Value];
    return [b.tanh(y), b.mul(y, x as Value)];
  });
  const [x0, w, , i] = p.args as [Arg, Arg, Arg, Arg];
  const args = [x0, w, i, arg([3, 3], -1, 1)];
  return { args, g: trace(args, (b, ...xs) => b.emit({ prim: 'scan', length: 3, carries: 1, constants: 2, reverse, body }, xs)) };
};

test('programs as bodies of scan and of perShard', () => {
  fc.assert(
    fc.property(program, fc.boolean(), fc.nat(), (p, reverse, seed) => {
      const { args, g } = scanned(p, reverse);
      checkAll(g, args, seed);
      const shards = args.map((a) => ({ ...a, shape: [2, ...a.shape] }));
      const whole = trace(shards, (b, ...xs) => b.emit({ prim: 'perShard', axis: 'data', body: g }, xs));
      checkAll(whole, shards, seed);
    }),
    runs(18, 25),
  );
});

test('the order in which gradients are made is fixed', () => {
  fc.assert(
    fc.property(program, (p) => {
      const g = graphOf(p, { kinks: true });
      const list = () => weightedGrad(g, numbers(1)).nodes.map((n) => [n.op.prim, n.inputs.map((v) => v.id)]);
      expect(list()).toEqual(list());
    }),
    runs(14, 30),
  );
});

/** Value and gradients of the sum of the program, the steps in regions of tag checkpoint. */
const step = (p: Program, tag: string, order: 1 | 2): Graph => {
  const loss = (g: Graph): Graph => {
    const b = builder();
    const out = b.inline(
      g,
      g.params.map((q) => b.param(q.type)),
    );
    return b.build([
      out
        .map((v) =>
          b.sum(
            b.mul(v, v),
            v.type.shape.map((_, i) => i),
          ),
        )
        .reduce((s, v) => b.add(s, v)),
    ]);
  };
  const grad = (g: Graph): Graph => {
    const b = builder();
    const { results, grads } = valueAndGrad(
      b,
      g,
      g.params.map((q) => b.param(q.type)),
      floats(g),
    );
    return b.build([...results, ...grads]);
  };
  const first = grad(loss(graphOf(p, { kinks: true, inRegion: tag })));
  return order === 1 ? first : grad(loss(first));
};

test('remat = no remat = no checkpoint, in every bit; twice is once', () => {
  let recomputed = 0;
  fc.assert(
    fc.property(program, fc.nat(), fc.constantFrom(1 as const, 2 as const), (p, seed, order) => {
      const g = step(p, 'checkpoint', order);
      const { xs } = inputs(p, g, seed);
      const r = remat(g);
      recomputed += r.nodes.length - g.nodes.length;
      const expected = interpret(g, xs);
      expect(interpret(r, xs)).toEqual(expected);
      expect(interpret(step(p, 'plain', order), xs)).toEqual(expected);
      expect(remat(r).nodes.length).toBe(r.nodes.length);
    }),
    runs(15, 60),
  );
  expect(recomputed).toBeGreaterThan(100);
});

test('after remat, no backward node reads a value inside a region', () => {
  fc.assert(
    fc.property(program, (p) => {
      const r = remat(step(p, 'checkpoint', 1));
      const maker = new Map(r.nodes.flatMap((n) => n.outputs.map((o) => [o, n] as const)));
      const leaves = new Set<Value>(r.results);
      for (const n of r.nodes)
        for (const v of n.inputs) if (n.meta.phase !== 'bwd' && maker.get(v)?.meta.remat !== n.meta.remat) leaves.add(v);
      for (const n of r.nodes) {
        if (n.meta.phase !== 'bwd') continue;
        for (const v of n.inputs) {
          const from = maker.get(v)?.meta;
          expect(from?.phase === 'fwd' && from.remat !== undefined && !leaves.has(v)).toBe(false);
        }
      }
    }),
    runs(16, 60),
  );
});

test('a cotangent of zero is no cotangent', () => {
  fc.assert(
    fc.property(program, (p) => {
      const g = graphOf(p, { kinks: true });
      const b = builder();
      const { grads } = vjp(
        b,
        g,
        g.params.map((q) => b.param(q.type)),
        [null],
      );
      expect(grads.every((v) => v === null)).toBe(true);
    }),
    runs(17, 20),
  );
});
