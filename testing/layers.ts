/**
 * Networks of a few layers, drawn from a seed: contractions between which stand pointwise operations, views, residual streams and statistics. What
 * random programs seldom have: values that contractions make and that the backward phase reads again, and values that look like it and are measured.
 *
 *   x @ w0 -> tanh(h) * h -> @ w1 + x -> (h - max h) -> @ w2 -> sum of z^3          scopes 'layer 3', 'layer 2', 'layer 1', 'loss'
 */
import { builder } from '../compiler/graph/builder.ts';
import type { Value } from '../compiler/graph/types.ts';
import { drawLike, numbers } from './numbers.ts';
import type { Program } from './program.ts';

/** `pick(n)` is below n. */
export const layersOf = (seed: number, pick: (n: number) => number): Program => {
  const b = builder();
  const param = (...shape: readonly number[]): Value => b.param({ dtype: 'f32', shape });
  const rows = 2 + pick(30);
  const like = (v: Value, x: number): Value => b.fill(x, v.type);
  const spread = (row: Value, v: Value): Value => b.broadcast(row, v.type.shape, [0]);
  const pointwise: readonly ((h: Value) => Value)[] = [
    (h) => b.mul(b.tanh(h), h),
    (h) => b.mul(h, b.add(b.erf(h), like(h, 1))),
    (h) => b.max(h, like(h, 0)),
    (h) => b.exp(b.neg(b.mul(h, h))),
    (h) => b.transpose(b.sin(b.transpose(h, [1, 0])), [1, 0]),
    // measured: what it is made of has to fit its largest element, or its mean
    (h) => b.exp(b.sub(h, spread(b.one({ prim: 'reduceMax', axes: [1] }, [h]), h))),
    (h) => b.sub(h, spread(b.div(b.sum(h, [1]), b.fill(h.type.shape[1] as number, { dtype: 'f32', shape: [rows] })), h)),
    (h) => h,
  ];
  const layer = (x: Value, width: number): Value => {
    const w = param(x.type.shape[1] as number, width);
    const y = b.one({ prim: 'dot', batch: [[], []], contract: [[1], [0]], dtype: 'f32' }, [x, w]);
    const h = pick(2) === 0 ? y : b.add(y, b.broadcast(param(width), [rows, width], [1]));
    const shaped = pick(3) === 0 ? b.reshape(b.tanh(b.reshape(h, [rows * width])), [rows, width]) : h;
    const out = (pointwise[pick(pointwise.length)] as (h: Value) => Value)(shaped);
    return pick(3) === 0 && width === x.type.shape[1] ? b.add(out, x) : out;
  };
  let x = param(rows, 2 + pick(20));
  for (let k = 2 + pick(3); k > 0; k--)
    x = b.at({ scope: `layer ${k}` }, () => layer(x, pick(3) === 0 ? (x.type.shape[1] as number) : 2 + pick(40)));
  const graph = b.build([b.at({ scope: 'loss' }, () => b.sum(b.mul(x, b.mul(x, x)), [0, 1]))]);
  const next = numbers(seed);
  return { graph, inputs: graph.params.map((p) => drawLike(p.type, next)) };
};
