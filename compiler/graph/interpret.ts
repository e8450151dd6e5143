/**
 * The interpreter of G: the ground truth that every transformation, pass and backend is tested against. One table row a
 * primitive, no cleverness. Every float dtype computes in float64 without rounding (a cast among floats is the identity,
 * so f16 and bf16 graphs run as if infinitely wide); integers are exact 32-bit words; bool is 0 or 1. The decisions about
 * NaN, overflow and indices out of range stand at the head of interpret-pointwise.ts and interpret-structure.ts.
 *
 *   graph (%0 x: f32[2]) { %1: f32[2] = exp(%0)  return %1 }   on [0, 1]   ->   [1, 2.718281828459045]
 *
 * Sizes must be numbers (bind.ts). There is one rank: reshard is the identity, axisIndex 0, a collective a view of its operand. Results may
 * share storage with arguments; nobody writes into either.
 */
import { type Dim, known } from './dim.ts';
import { dot } from './interpret-dot.ts';
import { binary, compare, select, unary } from './interpret-pointwise.ts';
import {
  argmax,
  broadcast,
  concat,
  cumsum,
  gather,
  iota,
  pad,
  reduce,
  reverse,
  scatterAdd,
  slice,
  transpose,
} from './interpret-structure.ts';
import { alloc, castNumber, countOf, type Data64, type Tensor64, tensor64 } from './tensor64.ts';
import { threefry2x32 } from './threefry.ts';
import { type Graph, isFloat, type Node, type Op, type OpOf, type Prim, type TensorType, type Value } from './types.ts';

export { type Data64, type Tensor64, tensor64 } from './tensor64.ts';

type Row<P extends Prim> = (op: OpOf<P>, ins: readonly Tensor64[], outs: readonly TensorType[]) => readonly Data64[];
type AnyRow = (op: Op, ins: readonly Tensor64[], outs: readonly TensorType[]) => readonly Data64[];

const x = (ins: readonly Tensor64[], i = 0): Tensor64 => ins[i] as Tensor64;
const fresh = (t: TensorType): Data64 => alloc(t.dtype, countOf(t));
const keep: AnyRow = (_, ins) => [x(ins).data];
const un: Row<Parameters<typeof unary>[0]> = (op, ins, [t]) => [unary(op.prim, x(ins).type.dtype, x(ins).data, fresh(t as TensorType))];
const bin: Row<Parameters<typeof binary>[0]> = (op, ins, [t]) => [
  binary(op.prim, x(ins).type.dtype, x(ins).data, x(ins, 1).data, fresh(t as TensorType)),
];
const red: Row<'reduceSum' | 'reduceMax' | 'reduceMin'> = (op, ins, [t]) => [reduce(op, x(ins), t as TensorType)];

const cast: Row<'cast'> = (op, ins, [t]) => {
  const { type, data } = x(ins);
  if (isFloat(type.dtype) && isFloat(op.dtype)) return [data];
  const out = fresh(t as TensorType);
  for (let i = 0; i < out.length; i++) out[i] = castNumber(data[i] as number, type.dtype, op.dtype);
  return [out];
};

const randomBits: Row<'randomBits'> = (_, ins, [t]) => {
  const key = x(ins).data;
  const out = fresh(t as TensorType);
  for (let i = 0; i < out.length; i++) {
    const [a, b] = threefry2x32([key[0] as number, key[1] as number], [0, i]);
    out[i] = a ^ b;
  }
  return [out];
};

const scan: Row<'scan'> = (op, ins, outs) => {
  const fixed = op.carries + op.constants;
  const length = known(op.length);
  const ys = outs.map(fresh);
  let carries = ins.slice(0, op.carries);
  for (let step = 0; step < length; step++) {
    const at = op.reverse ? length - 1 - step : step;
    const slices = op.body.params.slice(fixed).map((p, i): Tensor64 => {
      const n = countOf(p.type);
      return { type: p.type, data: x(ins, fixed + i).data.subarray(at * n, (at + 1) * n) };
    });
    const results = interpret(op.body, [...carries, ...ins.slice(op.carries, fixed), ...slices]);
    carries = results.slice(0, op.carries);
    results.slice(op.carries).forEach((y, i) => (ys[op.carries + i] as Data64).set(y.data, at * y.data.length));
  }
  return ys.map((y, i) => (i < op.carries ? x(carries, i).data : y));
};

const call: Row<'call'> = (op, ins) => interpret(op.body, ins).map((r) => r.data);

const perShard: Row<'perShard'> = (op, ins, outs) => {
  const ys = outs.map(fresh);
  const shards = known(x(ins).type.shape[0] as Dim);
  for (let s = 0; s < shards; s++) {
    const own = op.body.params.map((p, i): Tensor64 => {
      const n = countOf(p.type);
      return { type: p.type, data: x(ins, i).data.subarray(s * n, (s + 1) * n) };
    });
    interpret(op.body, own).forEach((y, i) => (ys[i] as Data64).set(y.data, s * y.data.length));
  }
  return ys;
};
/** Of one rank, whatever the transfer says: others are interpreted together (shard/ranks.ts). */
const alone: Row<'collective' | 'start'> = (op, ins) => {
  if (op.ranks !== 1) throw new Error(`internal: a collective of ${op.ranks} ranks is interpreted for one`);
  return ins.map((t) => t.data);
};

const rows: { readonly [P in Prim]: Row<P> } = {
  const: (op) => [tensor64({ dtype: op.dtype, shape: [] }, [known(op.value)]).data],
  array: (op, _, [t]) => [tensor64(t as TensorType, op.data).data],
  iota: (op, _, [t]) => [iota(op, t as TensorType)],
  neg: un,
  exp: un,
  log: un,
  sin: un,
  cos: un,
  tanh: un,
  sqrt: un,
  rsqrt: un,
  erf: un,
  abs: un,
  sign: un,
  floor: un,
  not: un,
  cast,
  stopGradient: keep,
  add: bin,
  sub: bin,
  mul: bin,
  div: bin,
  pow: bin,
  max: bin,
  min: bin,
  rem: bin,
  and: bin,
  or: bin,
  xor: bin,
  shiftLeft: bin,
  shiftRight: bin,
  compare: (op, ins, [t]) => [compare(op.cmp, x(ins).data, x(ins, 1).data, fresh(t as TensorType))],
  select: (_, ins, [t]) => [select(x(ins).data, x(ins, 1).data, x(ins, 2).data, fresh(t as TensorType))],
  broadcast: (op, ins, [t]) => [broadcast(op, x(ins), t as TensorType)],
  reshape: keep,
  transpose: (op, ins, [t]) => [transpose(op, x(ins), t as TensorType)],
  slice: (op, ins, [t]) => [slice(op, x(ins), t as TensorType)],
  pad: (op, ins, [t]) => [pad(op, x(ins), t as TensorType)],
  concat: (op, ins, [t]) => [concat(op, ins, t as TensorType)],
  reverse: (op, ins, [t]) => [reverse(op, x(ins), t as TensorType)],
  gather: (op, ins, [t]) => [gather(op, x(ins), x(ins, 1), t as TensorType)],
  scatterAdd: (op, ins) => [scatterAdd(op, x(ins), x(ins, 1), x(ins, 2))],
  dot: (op, ins, [t]) => [dot(op, x(ins), x(ins, 1), t as TensorType)],
  reduceSum: red,
  reduceMax: red,
  reduceMin: red,
  argmax: (op, ins, [t]) => [argmax(op, x(ins), t as TensorType)],
  cumsum: (op, ins) => [cumsum(op, x(ins))],
  randomBits,
  call,
  scan,
  reshard: keep,
  axisIndex: (_, __, [t]) => [fresh(t as TensorType)],
  perShard,
  collective: alone,
  start: alone,
  wait: (_, ins) => ins.slice(0, ins.length / 2).map((t) => t.data),
};

/** Applies one primitive to values. */
export const apply = (op: Op, ins: readonly Tensor64[], outs: readonly TensorType[]): Tensor64[] =>
  (rows[op.prim] as AnyRow)(op, ins, outs).map((data, i) => ({ type: outs[i] as TensorType, data }));

/** For each node, the values that no later node reads and that are no results: their storage can go. */
const lastReads = (g: Graph): readonly Value[][] => {
  const seen = new Set<Value>(g.results);
  const dead: Value[][] = [];
  for (let i = g.nodes.length - 1; i >= 0; i--) {
    const n = g.nodes[i] as Node;
    const here: Value[] = n.outputs.filter((o) => !seen.has(o));
    for (const v of n.inputs)
      if (!seen.has(v)) {
        seen.add(v);
        here.push(v);
      }
    dead[i] = here;
  }
  return dead;
};

/** Runs a bound graph. Arguments must have the types of the parameters, which only the reference backend checks for users. */
export const interpret = (graph: Graph, args: readonly Tensor64[]): Tensor64[] => {
  if (args.length !== graph.params.length) throw new Error(`internal: ${args.length} arguments for ${graph.params.length} parameters`);
  const env = new Map<Value, Tensor64>(graph.params.map((p, i) => [p, { type: p.type, data: x(args, i).data }]));
  const get = (v: Value): Tensor64 => {
    const t = env.get(v);
    if (!t) throw new Error(`internal: %${v.id} is read before it is computed`);
    return t;
  };
  const dead = lastReads(graph);
  graph.nodes.forEach((n, i) => {
    const outs = apply(
      n.op,
      n.inputs.map(get),
      n.outputs.map((o) => o.type),
    );
    n.outputs.forEach((o, k) => env.set(o, x(outs, k)));
    for (const v of dead[i] as Value[]) env.delete(v);
  });
  return graph.results.map(get);
};
