/**
 * Evaluation of a graph in float64, watched: which way every decision went, what stopGradient held, and how far rounding can move
 * the results.
 *
 * Rounding is measured, not guessed, by Monte Carlo arithmetic (Parker, 1997): the graph runs again with every result of every node
 * moved at random by as much as its own roundings can move it, and what arrives at the end has gone through all amplification and
 * cancellation on the way. The moves are `amplified` so that they stand out from the roundings of these runs themselves, and the
 * spread of four runs, an estimate of a standard deviation, is taken sixteenfold: the real roundings, at most half of a move and
 * independent, then lie many deviations inside.
 */
import { builder } from '../compiler/graph/builder.ts';
import { apply, type Tensor64, tensor64 } from '../compiler/graph/interpret.ts';
import { countOf, sizesOf } from '../compiler/graph/tensor64.ts';
import { type Graph, isFloat, type Node, type Prim, type Value } from '../compiler/graph/types.ts';
import { numbers } from './numbers.ts';

export const eps = 2 ** -52;

/** Runs the graph; `visit` sees every node with its operands and results, and may put other results in their place. */
export const watch = (
  g: Graph,
  xs: readonly Tensor64[],
  visit: (n: Node, ins: readonly Tensor64[], outs: readonly Tensor64[]) => readonly Tensor64[],
): Tensor64[] => {
  const env = new Map<Value, Tensor64>(g.params.map((p, i) => [p, xs[i] as Tensor64]));
  for (const n of g.nodes) {
    const ins = n.inputs.map((v) => env.get(v) as Tensor64);
    const types = n.outputs.map((o) => o.type);
    const outs = visit(n, ins, apply(n.op, ins, types));
    n.outputs.forEach((o, i) => {
      env.set(o, outs[i] as Tensor64);
    });
  }
  return g.results.map((r) => env.get(r) as Tensor64);
};

// ---- decisions
type Numbers = ArrayLike<number>;
const pairwise = (x: Numbers, y: Numbers, f: (x: number, y: number) => number): Numbers => Array.from(x, (e, i) => f(e, y[i] as number));

/** What a node decided by comparing floats; undefined where it decides nothing. */
const decision = ({ op }: Node, [x, y]: readonly Tensor64[], [z]: readonly Tensor64[]): Numbers | undefined => {
  if (!x || !z || !isFloat(x.type.dtype)) return undefined;
  switch (op.prim) {
    case 'compare':
    case 'argmax':
    case 'floor':
      return z.data;
    case 'cast':
      return isFloat(op.dtype) ? undefined : z.data;
    case 'abs':
    case 'sign':
      return Array.from(x.data, Math.sign);
    case 'max':
    case 'min':
      return pairwise(x.data, (y as Tensor64).data, (a, b) => Math.sign(a - b));
    case 'rem':
      return Array.from(x.data, (a, i) => Math.round((a - (z.data[i] as number)) / ((y as Tensor64).data[i] as number)));
    case 'reduceMax':
    case 'reduceMin': {
      const kept = x.type.shape.map((_, i) => i).filter((i) => !op.axes.includes(i));
      const [wide] = apply({ prim: 'broadcast', shape: x.type.shape, axes: kept }, [z], [x.type]) as [Tensor64];
      return pairwise(x.data, wide.data, (a, b) => Number(a === b));
    }
    default:
      return undefined;
  }
};
const agree = (a: Numbers, b: Numbers): boolean => {
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i] && !(Number.isNaN(a[i]) && Number.isNaN(b[i]))) return false;
  return true;
};

export type Held = ReadonlyMap<Node, Tensor64>;
export interface Track {
  readonly results: readonly Tensor64[];
  readonly decisions: ReadonlyMap<Node, Numbers>;
  /** What stopGradient gave: constants of the derivative, and so of the differences too. */
  readonly held: Held;
}

/** One run of a flat graph (passes/inline.ts), its stopGradients giving the values of `held` if that is given. */
export const track = (flat: Graph, xs: readonly Tensor64[], held?: Held): Track => {
  const decisions = new Map<Node, Numbers>();
  const stops = new Map<Node, Tensor64>();
  const results = watch(flat, xs, (n, ins, outs) => {
    if (n.op.prim === 'stopGradient') {
      const value = held?.get(n) ?? (outs[0] as Tensor64);
      stops.set(n, value);
      return [value];
    }
    const d = decision(n, ins, outs);
    if (d) decisions.set(n, d);
    return outs;
  });
  return { results, decisions, held: stops };
};

export const hasStops = (flat: Graph): boolean => flat.nodes.some((n) => n.op.prim === 'stopGradient');
/** A flat graph with what its stopGradients give at xs as constants. */
export const frozen = (flat: Graph, xs: readonly Tensor64[]): Graph => {
  const { held } = track(flat, xs);
  const b = builder();
  const env = new Map<Value, Value>(flat.params.map((p) => [p, b.param(p.type, p.name)]));
  for (const n of flat.nodes) {
    const stop = held.get(n);
    const outs = stop
      ? b.emit({ prim: 'array', data: Array.from(stop.data), shape: sizesOf(stop.type), dtype: stop.type.dtype }, [], n.meta)
      : b.emit(
          n.op,
          n.inputs.map((v) => env.get(v) as Value),
          n.meta,
        );
    n.outputs.forEach((o, i) => {
      env.set(o, outs[i] as Value);
    });
  }
  return b.build(flat.results.map((r) => env.get(r) as Value));
};

/** Nodes that results depend on; `held`: other than through stopGradient, behind which nothing changes a derivative (softmax's maximum). */
export const live = (flat: Graph, held: boolean): ReadonlySet<Node> => {
  const wanted = new Set<Value>(flat.results);
  const found = new Set<Node>();
  for (const n of flat.nodes.toReversed()) {
    if (!n.outputs.some((o) => wanted.has(o))) continue;
    found.add(n);
    if (!(held && n.op.prim === 'stopGradient')) for (const v of n.inputs) wanted.add(v);
  }
  return found;
};

/** The first of these nodes, in the order of execution, that decided otherwise in one of the runs. */
export const changed = (nodes: Iterable<Node>, base: Track, others: readonly Track[]): Node | undefined => {
  for (const n of nodes) {
    const d = base.decisions.get(n);
    if (d !== undefined && others.some((o) => !agree(d, o.decisions.get(n) as Numbers))) return n;
  }
  return undefined;
};

// ---- rounding
/** Roundings of one element of a result: of functions of the library in units in the last place; of sums, as many as there are terms. */
const roundings: { readonly [P in Prim]: number | 'terms' } = {
  const: 0,
  array: 0,
  iota: 0,
  neg: 0,
  exp: 4,
  log: 4,
  sin: 4,
  cos: 4,
  tanh: 4,
  sqrt: 1,
  rsqrt: 2,
  erf: 16, // a series of up to some ten terms
  abs: 0,
  sign: 0,
  floor: 0,
  not: 0,
  cast: 0,
  stopGradient: 0,
  add: 1,
  sub: 1,
  mul: 1,
  div: 1,
  pow: 4,
  max: 0,
  min: 0,
  rem: 0,
  and: 0,
  or: 0,
  xor: 0,
  shiftLeft: 0,
  shiftRight: 0,
  compare: 0,
  select: 0,
  broadcast: 0,
  reshape: 0,
  transpose: 0,
  slice: 0,
  pad: 0,
  concat: 0,
  reverse: 0,
  gather: 0,
  scatterAdd: 'terms',
  dot: 'terms',
  reduceSum: 'terms',
  reduceMax: 0,
  reduceMin: 0,
  argmax: 0,
  cumsum: 'terms',
  randomBits: 0,
  call: 0, // a flat graph has no regions
  scan: 0,
  reshard: 0,
  axisIndex: 0,
  perShard: 0,
  collective: 0,
  start: 0,
  wait: 0,
};

const termsOf = ({ op }: Node, ins: readonly Tensor64[], [z]: readonly Tensor64[]): number => {
  const x = ins[0] as Tensor64;
  if (op.prim === 'dot') return op.contract[0].reduce((n, a) => n * (x.type.shape[a] as number), 1);
  if (op.prim === 'scatterAdd') return countOf((ins[1] as Tensor64).type) + 1;
  return op.prim === 'cumsum' ? (x.type.shape[op.axis] as number) : x.data.length / Math.max(1, (z as Tensor64).data.length);
};

const amplified = 2 ** 12;
const runs = 4;
const deviations = 16;

const absolute = (t: Tensor64): Tensor64 => (isFloat(t.type.dtype) ? tensor64(t.type, Array.from(t.data, Math.abs)) : t);
const moved = (t: Tensor64, by: (i: number) => number): Tensor64 =>
  tensor64(
    t.type,
    Array.from(t.data, (e, i) => e + amplified * eps * by(i)),
  );

const perturb = (n: Node, ins: readonly Tensor64[], outs: readonly Tensor64[], next: () => number): readonly Tensor64[] => {
  const count = roundings[n.op.prim];
  const z = outs[0];
  if (count === 0 || !z || !isFloat(z.type.dtype)) return outs;
  const one = (): number => 2 * next() - 1;
  // sums, differences and products of whole numbers are exact, and may be exponents, where a move would make NaN of a negative base
  const whole = n.op.prim === 'add' || n.op.prim === 'sub' || n.op.prim === 'mul';
  const exact = (i: number): boolean => whole && ins.every((x) => Number.isInteger(x.data[i]));
  if (count !== 'terms') return [moved(z, (i) => (exact(i) ? 0 : count * one() * (z.data[i] as number)))];
  const terms = termsOf(n, ins, outs);
  const [sizes] = apply(n.op, ins.map(absolute), [z.type]) as [Tensor64];
  return [moved(z, (i) => terms * one() * (sizes.data[i] as number))];
};

/** How far rounding can move what `measure` reads off the results of a flat graph at xs (whose own numbers count as rounded once). */
export const noise = (
  flat: Graph,
  xs: readonly Tensor64[],
  measure: (results: readonly Tensor64[]) => readonly number[],
  held?: Held,
): number[] => {
  const next = numbers(0x5eed);
  const exact = measure(track(flat, xs, held).results);
  const sums = exact.map(() => 0);
  for (let r = 0; r < runs; r++) {
    const near = xs.map((x) => (isFloat(x.type.dtype) ? moved(x, (i) => (2 * next() - 1) * (x.data[i] as number)) : x));
    const results = watch(flat, near, (n, ins, outs) => {
      const stop = n.op.prim === 'stopGradient' ? held?.get(n) : undefined;
      return stop ? [stop] : perturb(n, ins, outs, next);
    });
    measure(results).forEach((m, i) => {
      sums[i] = (sums[i] as number) + ((m - (exact[i] as number)) / amplified) ** 2;
    });
  }
  return sums.map((s) => deviations * Math.sqrt(s / runs));
};
