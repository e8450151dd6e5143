/**
 * Why a softmax of scores that meets values is not taken as attention (recognise.ts), where the form is to blame: it runs over another axis,
 * is written in another way, or something stands in front of it or behind it. One plain sentence each, for `fovea explain`. A reason needs
 * a contraction behind the softmax that is no layer: weights that come from elsewhere and distributions over classes are no attention.
 *
 *   softmax over n of %3 = scores[b h n m], then summed over m:  "the softmax runs over the queries, not the keys"
 *   softmax(%3 + %4):                                            "a bias is added to the scores"
 */
import { opKey } from '../graph/identity.ts';
import type { Prim, Value } from '../graph/types.ts';
import { type Dot, is, lastAxis, made, type Site, siteOf, softmaxOf } from './softmax.ts';

/** A contraction as one that mixes values by weights: which axes of the weights are batches, and which are summed. */
interface Mix {
  readonly weights: Value;
  readonly values: Value;
  readonly batch: readonly number[];
  readonly sums: readonly number[];
  readonly out: Value;
}

const prims = (...names: readonly Prim[]): ReadonlySet<Prim> => new Set(names);
const layout = prims('reshape', 'transpose', 'stopGradient', 'cast');
const pointwise = prims('add', 'sub', 'mul', 'div', 'max', 'min', 'select', 'neg', 'exp', 'log', 'tanh', 'abs', 'pow', 'sqrt', 'erf');

/** One number for each column, on a product without batches: the bias of a linear layer, whose softmax is over classes. */
const isOfLayer = (s: Site, v: Value, dot: Dot): boolean => {
  const spread = made(s, v, 'broadcast');
  return dot.op.batch[0].length === 0 && spread !== undefined && is(spread.op.axes, lastAxis(v));
};
/** The contraction of which v is made, number by number; undefined also where it is that of a linear layer. */
const dotBehind = (s: Site, v: Value, depth = 6): Dot | undefined => {
  const n = s.maker(v);
  if (!n || depth === 0) return undefined;
  if (n.op.prim === 'dot') return n as Dot;
  if (!pointwise.has(n.op.prim) && !layout.has(n.op.prim)) return undefined;
  for (const x of n.inputs) {
    const dot = dotBehind(s, x, depth - 1);
    if (dot) return n.op.prim === 'add' && n.inputs.some((y) => isOfLayer(s, y, dot)) ? undefined : dot;
  }
  return undefined;
};
/** What v repeats, and on the way whether it is held constant. */
const unspread = (s: Site, v: Value): { readonly value: Value; readonly held: boolean } => {
  let [value, held] = [v, false];
  for (let n = s.maker(value); n && (n.op.prim === 'broadcast' || layout.has(n.op.prim)); n = s.maker(value)) {
    held ||= n.op.prim === 'stopGradient';
    value = n.inputs[0] as Value;
  }
  return { value, held };
};
/** Whether a and b are one value, or computed alike: nothing has merged what is written twice yet. */
const same = (s: Site, a: Value, b: Value, depth = 8): boolean => {
  if (a === b) return true;
  const [m, n] = [s.maker(a), s.maker(b)];
  if (!m || !n || depth === 0 || m.op.prim !== n.op.prim || 'body' in m.op || opKey(m.op) !== opKey(n.op)) return false;
  return m.inputs.every((x, i) => same(s, x, n.inputs[i] as Value, depth - 1));
};
interface Reduced {
  readonly axes: readonly number[];
  readonly held: boolean;
  /** Of a second copy of what is reduced. */
  readonly twice: boolean;
}
/** The axes along which v is the sum, or the maximum, of x; whether it is held constant. */
const reduces = (s: Site, v: Value, prim: 'reduceMax' | 'reduceSum', x: Value): Reduced | undefined => {
  const { value, held } = unspread(s, v);
  const n = made(s, value, prim);
  const from = n?.inputs[0];
  return n && from && same(s, from, x) ? { axes: n.op.axes, held, twice: from !== x } : undefined;
};

/** A linear map of the values themselves, as in a soft assignment to clusters and the gradient of a classifier: no keys, but classes. */
const classes = (dot: Dot, { values }: Mix): boolean => dot.op.batch[0].length === 0 && dot.inputs.includes(values);

/** Why a softmax of x along these axes of the weights is not one over the keys, which are what is summed. */
export const otherAxis = (s: Site, mix: Mix, x: Value, axes: readonly number[]): string | undefined => {
  const dot = dotBehind(s, x);
  // classes are the last axis, as a linear layer writes them
  if (!dot || (is(axes, lastAxis(mix.weights)) && classes(dot, mix))) return undefined;
  const over = (those: readonly number[]): boolean => axes.some((a) => those.includes(a));
  if (over(mix.sums))
    return mix.sums.every((a) => axes.includes(a))
      ? 'the softmax runs over more axes than that of the keys'
      : 'the weights are not summed over the axis of their softmax';
  return over(mix.batch)
    ? 'the softmax runs over an axis that weights and values share, as the heads, not over the keys'
    : 'the softmax runs over the queries, not the keys';
};

/** How a softmax is written: its scores, its axes, and what is unlike the form that is taken. */
interface Form {
  readonly x: Value;
  readonly axes: readonly number[];
  readonly why: string;
}
/** v as exponentials over their sum, by a division or a product with its reciprocal. */
const quotient = (s: Site, v: Value) => {
  const div = made(s, v, 'div');
  if (div) return { pairs: [[div.inputs[0], div.inputs[1]]] as const, reciprocal: false };
  const mul = made(s, v, 'mul');
  if (!mul) return undefined;
  const [x, y] = mul.inputs as readonly [Value, Value];
  const under = (r: Value): Value | undefined => {
    const { value } = unspread(s, r);
    const n = s.maker(value);
    if (n?.op.prim === 'pow') {
      const c = made(s, unspread(s, n.inputs[1] as Value).value, 'const');
      return c?.op.value === -1 ? n.inputs[0] : undefined;
    }
    const one = n?.op.prim === 'div' ? made(s, unspread(s, n.inputs[0] as Value).value, 'const') : undefined;
    return one?.op.value === 1 ? n?.inputs[1] : undefined;
  };
  return {
    pairs: [
      [x, under(y)],
      [y, under(x)],
    ] as const,
    reciprocal: true,
  };
};
/** The scores whose exponentials e are, less their maximum where one is subtracted. */
const exponentials = (s: Site, e: Value | undefined) => {
  const exp = made(s, e, 'exp');
  if (!e || !exp) return undefined;
  const shifted = made(s, exp.inputs[0], 'sub');
  const max = shifted && reduces(s, shifted.inputs[1] as Value, 'reduceMax', shifted.inputs[0] as Value);
  return max ? { e, x: shifted.inputs[0] as Value, max } : { e, x: exp.inputs[0] as Value, max: undefined };
};
const unlike = (max: Reduced | undefined, sum: Reduced, reciprocal: boolean, last: number): string => {
  if (!max) return 'the exponentials of the scores are taken without subtracting their maximum, so that they can overflow';
  if (!is(max.axes, ...sum.axes)) return 'the maximum and the sum of the softmax run over different axes';
  if (sum.held) return 'the sum of the softmax is held constant, so that its derivative is another';
  if (reciprocal) return 'the exponentials are multiplied by the reciprocal of their sum, not divided by the sum';
  if (sum.axes.length > 1) return 'the softmax runs over several axes of keys';
  if (!is(sum.axes, last)) return 'the softmax runs over the keys, but they are not the last axis of the scores';
  if (max.twice || sum.twice) return 'the exponentials of the scores, or the scores, are computed twice';
  return 'the softmax is not exp(x - max(x)) over its sum along the last axis';
};
const formOf = (s: Site, v: Value): Form | undefined => {
  const call = made(s, v, 'call');
  if (call) {
    const { body } = call.op;
    const inner = call.inputs.length === 1 && body.results.length === 1 ? formOf(siteOf(body), body.results[0] as Value) : undefined;
    return inner && inner.x === body.params[0] ? { ...inner, x: call.inputs[0] as Value } : undefined;
  }
  const q = quotient(s, v);
  for (const [top, under] of q?.pairs ?? []) {
    const of = exponentials(s, top);
    const sum = of && under && reduces(s, under, 'reduceSum', of.e);
    if (!q || !of || !sum) continue;
    const { x, max } = of;
    return { x, axes: sum.axes, why: unlike(max, sum, q.reciprocal, lastAxis(x)) };
  }
  return undefined;
};

/** Why a softmax that is not written as the one that is taken is not; the axis, which is more than a way to write it, first. */
export const otherForm = (s: Site, mix: Mix): string | undefined => {
  const form = formOf(s, mix.weights);
  if (form) {
    const dot = dotBehind(s, form.x);
    if (
      !is(
        mix.sums.toSorted((a, b) => a - b),
        ...form.axes,
      )
    )
      return otherAxis(s, mix, form.x, form.axes);
    return dot ? form.why : undefined;
  }
  const of = exponentials(s, mix.weights);
  if (!of || !dotBehind(s, of.x)) return undefined;
  const after = s.readers(mix.out).some((n) => {
    const q = quotient(s, n.outputs[0] as Value);
    return q?.pairs.some(([top, under]) => top === mix.out && under && reduces(s, under, 'reduceSum', of.e));
  });
  return after ? 'the values are mixed first and divided by the sums of the exponentials after that' : undefined;
};

const changes = prims('add', 'sub', 'mul', 'div', 'select', 'max', 'min', 'cast', 'transpose', 'reshape');
/** The scores of a softmax of which v is made, number by number: masked, dropped, scaled. */
const softmaxBehind = (s: Site, v: Value, depth = 3): Value | undefined => {
  const n = s.maker(v);
  if (!n || depth === 0 || !changes.has(n.op.prim)) return undefined;
  for (const input of n.inputs) {
    const x = softmaxOf(s, input)?.x ?? softmaxBehind(s, input, depth - 1);
    if (x) return x;
  }
  return undefined;
};
/** Why weights that are made of a softmax are none. */
export const changed = (s: Site, mix: Mix): string | undefined => {
  const x = softmaxBehind(s, mix.weights);
  const dot = x && dotBehind(s, x);
  return dot && !classes(dot, mix) ? 'the weights are changed between their softmax and the contraction' : undefined;
};

/** A condition, as numbers or as what chooses them. */
const isMask = (s: Site, v: Value, depth = 4): boolean => {
  const { value } = unspread(s, v);
  if (value.type.dtype === 'bool') return true;
  const n = s.maker(value);
  return n !== undefined && depth > 0 && pointwise.has(n.op.prim) && n.inputs.some((x) => isMask(s, x, depth - 1));
};
const isScalar = (s: Site, v: Value): boolean => made(s, v, 'broadcast')?.inputs[0]?.type.shape.length === 0;

/** Why scores that are no contraction are none; undefined where none is behind them. */
export const otherScores = (s: Site, v: Value): string | undefined => {
  const n = s.maker(v);
  if (!n || !dotBehind(s, v)) return undefined;
  const { prim } = n.op;
  const own = n.inputs.find((x) => dotBehind(s, x));
  const other = n.inputs.find((x) => x !== own);
  if (prim === 'dot') return 'the scores are read before they are scaled';
  if (prim === 'select') return 'the scores are masked';
  if (own && other && (prim === 'add' || (prim === 'sub' && own === n.inputs[0])))
    return `a ${isMask(s, other) ? 'mask' : 'bias'} is ${prim === 'add' ? 'added to' : 'subtracted from'} the scores`;
  if (own && other && (prim === 'mul' || prim === 'div'))
    return isScalar(s, other) ? otherScores(s, own) : 'the scores are scaled by a tensor, not by one number';
  if (layout.has(prim)) return 'the scores are turned, reshaped or cast in front of their softmax';
  return `the softmax is not of a contraction: ${prim} stands between them`;
};
