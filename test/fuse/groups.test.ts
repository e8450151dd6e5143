import { expect, test } from 'vitest';
import { fuse } from '../../compiler/fuse/fuse.ts';
import { type Builder, builder } from '../../compiler/graph/builder.ts';
import type { Graph, Value } from '../../compiler/graph/types.ts';
import { printKernel } from '../../compiler/kernel/print.ts';
import type { Kernel } from '../../compiler/kernel/types.ts';
import type { Target } from '../../compiler/target.ts';
import { lowerAll } from '../../compiler/tile/lower.ts';
import { cpu, deviation, sample } from './run.ts';

/** One line a group: template, what it computes, buffers, why it ends. */
const explain = (g: Graph, target: Target = cpu): string[] => {
  const f = fuse(g, target);
  const lowered = lowerAll(f.groups, target);
  return f.groups.map((group, i) => `${lowered[i]?.label} | ${group.inputs.length} -> ${group.outputs.length} | ${group.reason}`);
};
const agrees = (g: Graph, target: Target = cpu): void =>
  expect(
    deviation(
      g,
      target,
      g.params.map((p, i) => sample(p.type, i + 1)),
    ),
  ).toBeUndefined();
const f32 = (...shape: number[]) => ({ dtype: 'f32', shape }) as const;
const rows = (b: Builder, v: Value, shape: number[]): Value => b.broadcast(v, shape, [...shape.keys()].slice(0, v.type.shape.length));
const layerNorm = (b: Builder, x: Value): Value => {
  const shape = x.type.shape as number[];
  const axis = shape.length - 1;
  const mean = (v: Value): Value => b.mul(b.sum(v, [axis]), b.fill(1 / (shape[axis] as number), f32(...shape.slice(0, -1))));
  const d = b.sub(x, rows(b, mean(x), shape));
  const variance = mean(b.mul(d, d));
  return b.mul(d, rows(b, b.rsqrt(b.add(variance, b.fill(1e-2, variance.type))), shape));
};
const gelu = (b: Builder, x: Value): Value =>
  b.mul(b.mul(x, b.fill(0.5, x.type)), b.add(b.fill(1, x.type), b.erf(b.mul(x, b.fill(Math.SQRT1_2, x.type)))));
const linear = (b: Builder, x: Value, out: number): Value => {
  const axis = x.type.shape.length - 1;
  const w = b.param(f32(out, x.type.shape[axis] as number));
  const y = b.one({ prim: 'dot', batch: [[], []], contract: [[axis], [1]], dtype: 'f32' }, [x, w]);
  return b.add(y, b.broadcast(b.param(f32(out)), y.type.shape, [axis]));
};

test('an MLP block: norm, two contractions with their epilogues', () => {
  const b = builder();
  const x = b.param(f32(2, 5, 24));
  const g = b.build([b.add(x, linear(b, gelu(b, linear(b, layerNorm(b, x), 48)), 24))]);
  expect(explain(g)).toMatchInlineSnapshot(`
    [
      "reduce: reduceSum mul sub mul reduceSum mul add rsqrt mul | 1 -> 1 | read by a contraction",
      "gemm: dot add mul mul erf add mul | 3 -> 1 | read by a contraction",
      "gemm: dot add add | 4 -> 1 | output of the step",
    ]
  `);
  agrees(g);
});

test('attention: heads are read and written by strides, softmax is one kernel', () => {
  const b = builder();
  const qkv = b.param(f32(2, 9, 3, 4, 8));
  const part = (i: number): Value => b.transpose(b.reshape(b.slice(qkv, [0, 0, i, 0, 0], [2, 9, i + 1, 4, 8]), [2, 9, 4, 8]), [0, 2, 1, 3]);
  const s = b.one(
    {
      prim: 'dot',
      batch: [
        [0, 1],
        [0, 1],
      ],
      contract: [[3], [3]],
      dtype: 'f32',
    },
    [part(0), part(1)],
  );
  const max = b.one({ prim: 'reduceMax', axes: [3] }, [s]);
  const ex = b.exp(b.sub(s, rows(b, max, [2, 4, 9, 9])));
  const a = b.div(ex, rows(b, b.sum(ex, [3]), [2, 4, 9, 9]));
  const o = b.one(
    {
      prim: 'dot',
      batch: [
        [0, 1],
        [0, 1],
      ],
      contract: [[3], [2]],
      dtype: 'f32',
    },
    [a, part(2)],
  );
  const g = b.build([b.reshape(b.transpose(o, [0, 2, 1, 3]), [2, 9, 32])]);
  expect(explain(g)).toMatchInlineSnapshot(`
    [
      "gemm: dot | 1 -> 1 | read by a reduction",
      "reduce: reduceMax sub exp reduceSum div | 1 -> 1 | read by a contraction",
      "gemm: dot | 2 -> 1 | output of the step",
    ]
  `);
  agrees(g);
});

test('AdamW with a teacher: one kernel a parameter, equal shapes share it', () => {
  const b = builder();
  const clip = b.param(f32());
  const outs: Value[] = [];
  for (const shape of [[8, 24], [24], [8, 24]]) {
    const t = f32(...shape);
    const [p, m, v, grad, teacher] = [b.param(t), b.param(t), b.param(t), b.param(t), b.param(t)] as const;
    const of = (x: number): Value => b.fill(x, t);
    const gr = b.mul(grad, b.broadcast(clip, shape, []));
    const m1 = b.add(b.mul(m, of(0.9)), b.mul(gr, of(0.1)));
    const v1 = b.add(b.mul(v, of(0.99)), b.mul(b.mul(gr, gr), of(0.01)));
    const p1 = b.sub(b.mul(p, of(0.999)), b.div(b.mul(m1, of(0.01)), b.add(b.sqrt(b.abs(v1)), of(0.125))));
    outs.push(m1, v1, p1, b.add(b.mul(teacher, of(0.99)), b.mul(p1, of(0.01))));
  }
  const g = b.build(outs);
  expect(explain(g)).toMatchInlineSnapshot(`
    [
      "map: mul mul mul add mul mul mul add mul mul abs sqrt and 6 more | 6 -> 4 | output of the step",
      "map: mul mul mul add mul mul mul add mul mul abs sqrt and 6 more | 6 -> 4 | output of the step",
      "map: mul mul mul add mul mul mul add mul mul abs sqrt and 6 more | 6 -> 4 | output of the step",
    ]
  `);
  const kernels = lowerAll(fuse(g, cpu).groups, cpu).map((l) => l.kernel);
  expect(new Set(kernels).size).toBe(2);
  agrees(g);
});

test('the backward pass of a norm: two column sums in one kernel of two steps', () => {
  const b = builder();
  const [x, dy] = [b.param(f32(640, 24)), b.param(f32(640, 24))];
  const [mean, rstd] = [b.param(f32(640)), b.param(f32(640))];
  const xhat = b.mul(b.sub(x, rows(b, mean, [640, 24])), rows(b, rstd, [640, 24]));
  const g = b.build([b.sum(b.mul(dy, xhat), [0]), b.sum(dy, [0])]);
  expect(explain(g)).toMatchInlineSnapshot(`
    [
      "reduce: sub mul mul reduceSum reduceSum | 4 -> 2 | read by a reduction over other axes",
      "reduce: reduceSum | 1 -> 1 | output of the step",
      "reduce: reduceSum | 1 -> 1 | output of the step",
    ]
  `);
  agrees(g);
});

test('a sum over everything is split into rows that many workers can add', () => {
  const b = builder();
  const x = b.param(f32(33, 1024));
  const g = b.build([
    b.sum(b.mul(x, x), [0, 1]),
    b.one({ prim: 'reduceMax', axes: [0, 1] }, [b.reshape(b.slice(x, [0, 0], [33, 1021]), [33693, 1])]),
  ]);
  expect(explain(g)).toMatchInlineSnapshot(`
    [
      "reduce: mul reduceSum | 1 -> 1 | read by a reduction over other axes",
      "reduce: reduceSum | 1 -> 1 | output of the step",
      "reduce: reduceMax | 1 -> 1 | read by a reduction over other axes",
      "reduce: reduceMax | 1 -> 1 | output of the step",
    ]
  `);
  agrees(g);
});

test('results: inputs are copied, equal values twice, views of results are the results', () => {
  const b = builder();
  const x = b.param(f32(4, 6));
  const y = b.neg(x);
  const g = b.build([x, y, b.reshape(y, [24]), b.reshape(x, [24]), b.one({ prim: 'array', dtype: 'f32', shape: [2], data: [1, 2] }, [])]);
  const f = fuse(g, cpu);
  expect(new Set(f.results).size).toBe(5);
  expect(explain(g)).toMatchInlineSnapshot(`
    [
      "map: neg | 1 -> 4 | output of the step",
      "map: copy | 1 -> 1 | output of the step",
    ]
  `);
  agrees(g);
});

test('kernels never exceed the buffers of the target', () => {
  const b = builder();
  const xs = Array.from({ length: 12 }, () => b.param(f32(7)));
  const g = b.build([xs.reduce((p, q) => b.add(p, b.exp(q))), b.concat(xs, 0)]);
  const few = { ...cpu, maxBuffers: 5 };
  for (const group of fuse(g, few).groups) expect(group.inputs.length + group.outputs.length).toBeLessThanOrEqual(5);
  agrees(g, few);
});

test('an operand without plain strides is copied first', () => {
  const b = builder();
  const [x, w] = [b.param(f32(3, 4, 5, 2)), b.param(f32(6, 10))];
  // contracting axes 0 and 2 would need two strides, and so would axes 1 and 3 as rows
  const v = b.transpose(b.slice(x, [0, 0, 0, 0], [3, 4, 3, 2]), [2, 0, 1, 3]);
  const y = b.one(
    {
      prim: 'dot',
      batch: [[], []],
      contract: [
        [0, 1],
        [0, 1],
      ],
      dtype: 'f32',
    },
    [v, b.reshape(b.slice(w, [0, 0], [6, 9]), [3, 3, 6])],
  );
  const g = b.build([y]);
  expect(explain(g)).toMatchInlineSnapshot(`
    [
      "map: copy | 1 -> 1 | read by a contraction",
      "map: copy | 1 -> 1 | read by a contraction",
      "gemm: dot | 2 -> 1 | output of the step",
    ]
  `);
  agrees(g);
});

test('a transpose between two reads of a value keeps groups apart', () => {
  const b = builder();
  const x = b.param(f32(9, 9));
  const y = b.exp(b.mul(x, b.fill(0.5, x.type)));
  const r = b.sum(y, [1]);
  // the sums are read along the other axis: not at the row that made them
  const g = b.build([b.mul(y, b.broadcast(r, [9, 9], [1])), b.add(y, b.transpose(y, [1, 0]))]);
  expect(explain(g)).toMatchInlineSnapshot(`
    [
      "reduce: mul exp reduceSum | 1 -> 2 | read at other places",
      "map: mul add | 2 -> 2 | output of the step",
    ]
  `);
  agrees(g);
});

test('more rows than a grid axis has blocks: the grid folds, and what is left over does nothing', () => {
  const b = builder();
  const g = b.build([b.one({ prim: 'cumsum', axis: 1 }, [b.param(f32(65537, 2))])]);
  const [lowered] = lowerAll(fuse(g, cpu).groups, cpu);
  expect(lowered?.kernel.grid).toEqual([1, 32769, 2]);
  agrees(g);
});

test('parts of a concatenation have loops of their own, with no selection inside', () => {
  const b = builder();
  const g = b.build([b.concat([b.param(f32(2, 1, 16)), b.param(f32(2, 5, 16))], 1)]);
  const [lowered] = lowerAll(fuse(g, cpu).groups, cpu);
  expect(printKernel(lowered?.kernel as Kernel)).toMatchInlineSnapshot(`
    "kernel map(b0: f32[32] read, b1: f32[160] read, b2: f32[192] write) grid=[1 1 1] threads=1 {
      for i0 = 0 to 12 step 1 {
        if lt(rem(i0, 6), 1) {
          for i1 = 0 to 16 step 8 {
            store b2[add(mul(i0, 16), i1)] = load.8 b0[add(add(i1, mul(rem(i0, 6), 16)), mul(div(i0, 6), 16))]
          }
        } else {
          for i2 = 0 to 16 step 8 {
            store b2[add(mul(i0, 16), i2)] = load.8 b1[sub(add(add(i2, mul(rem(i0, 6), 16)), mul(div(i0, 6), 80)), 16)]
          }
        }
      }
    }
    "
  `);
  agrees(g);
});
