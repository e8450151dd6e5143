/**
 * Builds graphs node by node. `emit` infers the result types; the named methods below it are the same thing spelled out,
 * so that rules of differentiation and composites read like formulas. `at(meta, f)` sets where the nodes made by f come from.
 *
 *   const b = builder();
 *   const x = b.param({ dtype: 'f32', shape: [4] }, 'x');
 *   b.build([b.mul(x, b.exp(x))])
 */
import { FoveaError } from '../error.ts';
import type { Dim } from './dim.ts';
import { infer } from './infer.ts';
import type { Compare, DType, Graph, Meta, Node, Op, TensorType, Value } from './types.ts';

export interface Builder {
  param(type: TensorType, name?: string): Value;
  /** Applies a primitive; the node gets the current meta, with `meta` laid over it. */
  emit(op: Op, inputs: readonly Value[], meta?: Partial<Meta>): readonly Value[];
  /** A node of another graph on operands of this one; where their types are those that it had, so is the type of its results. */
  again(n: Node, inputs: readonly Value[]): readonly Value[];
  /** As emit, for primitives with one result. */
  one(op: Op, inputs: readonly Value[], meta?: Partial<Meta>): Value;
  /** Runs f with `meta` laid over the current meta. */
  at<T>(meta: Partial<Meta>, f: () => T): T;
  readonly meta: Meta;
  /** Appends all nodes of `g`, its parameters replaced by `args`; returns its results. */
  inline(g: Graph, args: readonly Value[], meta?: (m: Meta) => Partial<Meta>): readonly Value[];
  build(results: readonly Value[]): Graph;
  /** The node of this builder that made `v`; undefined for parameters. */
  maker(v: Value): Node | undefined;

  constant(value: Dim, dtype?: DType): Value;
  /** A constant of the type of `like`. */
  fill(value: Dim, like: TensorType): Value;
  neg(x: Value): Value;
  exp(x: Value): Value;
  log(x: Value): Value;
  sin(x: Value): Value;
  cos(x: Value): Value;
  tanh(x: Value): Value;
  sqrt(x: Value): Value;
  rsqrt(x: Value): Value;
  erf(x: Value): Value;
  abs(x: Value): Value;
  sign(x: Value): Value;
  floor(x: Value): Value;
  not(x: Value): Value;
  stopGradient(x: Value): Value;
  cast(x: Value, dtype: DType): Value;
  add(x: Value, y: Value): Value;
  sub(x: Value, y: Value): Value;
  mul(x: Value, y: Value): Value;
  div(x: Value, y: Value): Value;
  pow(x: Value, y: Value): Value;
  max(x: Value, y: Value): Value;
  min(x: Value, y: Value): Value;
  rem(x: Value, y: Value): Value;
  and(x: Value, y: Value): Value;
  or(x: Value, y: Value): Value;
  xor(x: Value, y: Value): Value;
  shiftLeft(x: Value, y: Value): Value;
  shiftRight(x: Value, y: Value): Value;
  compare(cmp: Compare, x: Value, y: Value): Value;
  select(c: Value, x: Value, y: Value): Value;
  broadcast(x: Value, shape: readonly Dim[], axes: readonly number[]): Value;
  reshape(x: Value, shape: readonly Dim[]): Value;
  transpose(x: Value, perm: readonly number[]): Value;
  slice(x: Value, start: readonly Dim[], limit: readonly Dim[]): Value;
  pad(x: Value, low: readonly Dim[], high: readonly Dim[], value?: number): Value;
  concat(xs: readonly Value[], axis: number): Value;
  gather(x: Value, indices: Value, axis: number): Value;
  scatterAdd(x: Value, indices: Value, updates: Value, axis: number): Value;
  sum(x: Value, axes: readonly number[]): Value;
}

const origin: Meta = { scope: '', phase: 'fwd' };
/** A node that is emitted again brings all of its own: then nothing is copied. */
const over = (below: Meta, own: Partial<Meta>): Meta =>
  'remat' in own && 'loc' in own && own.scope !== undefined && own.phase !== undefined ? (own as Meta) : { ...below, ...own };

/** Types of the results; what does not fit is said with its place. */
const typesOf = (op: Op, inputs: readonly Value[], { loc, scope }: Meta): readonly TensorType[] => {
  try {
    return infer(
      op,
      inputs.map((v) => v.type),
    );
  } catch (e) {
    if (e instanceof FoveaError && !e.loc) throw new FoveaError(e.code, e.message, { loc, scope, hint: e.hint });
    throw e;
  }
};

/** A new, empty builder. Errors of inference leave it unchanged and carry the current scope and source line. */
export const builder = (start: Meta = origin): Builder => {
  const params: Value[] = [];
  const nodes: Node[] = [];
  const makers = new Map<Value, Node>();
  let [next, listed] = [0, 0];
  let current = start;
  const value = (type: TensorType, name?: string): Value => (name === undefined ? { id: next++, type } : { id: next++, type, name });
  const add = (op: Op, inputs: readonly Value[], types: readonly TensorType[], meta: Meta): readonly Value[] => {
    const outputs = types.map((t) => value(t));
    const node = { op, inputs, outputs, meta };
    nodes.push(node);
    return outputs;
  };
  /** Most passes never ask: the nodes since the last question are looked at when one does. */
  const maker = (v: Value): Node | undefined => {
    for (; listed < nodes.length; listed++) for (const o of (nodes[listed] as Node).outputs) makers.set(o, nodes[listed] as Node);
    return makers.get(v);
  };
  const emit: Builder['emit'] = (op, inputs, extra) => {
    const meta = extra ? over(current, extra) : current;
    return add(op, inputs, typesOf(op, inputs, meta), meta);
  };
  const again: Builder['again'] = (n, inputs) => {
    const known = n.inputs.every((v, i) => v.type === inputs[i]?.type);
    const types = known ? n.outputs.map((o) => o.type) : typesOf(n.op, inputs, n.meta);
    return add(n.op, inputs, types, over(current, n.meta));
  };
  const one: Builder['one'] = (op, inputs, meta) => emit(op, inputs, meta)[0] as Value;
  const at: Builder['at'] = (meta, f) => {
    const saved = current;
    current = over(current, meta);
    try {
      return f();
    } finally {
      current = saved;
    }
  };
  const inline: Builder['inline'] = (g, args, meta) => {
    const env = new Map<Value, Value>(g.params.map((p, i) => [p, args[i] as Value]));
    for (const n of g.nodes) {
      const ins = n.inputs.map((v) => env.get(v) as Value);
      const outs = meta ? emit(n.op, ins, meta(n.meta)) : again(n, ins);
      n.outputs.forEach((o, i) => env.set(o, outs[i] as Value));
    }
    return g.results.map((r) => env.get(r) as Value);
  };
  type Unary =
    | 'neg'
    | 'exp'
    | 'log'
    | 'sin'
    | 'cos'
    | 'tanh'
    | 'sqrt'
    | 'rsqrt'
    | 'erf'
    | 'abs'
    | 'sign'
    | 'floor'
    | 'not'
    | 'stopGradient';
  type Binary = 'add' | 'sub' | 'mul' | 'div' | 'pow' | 'max' | 'min' | 'rem' | 'and' | 'or' | 'xor' | 'shiftLeft' | 'shiftRight';
  const u = (prim: Unary) => (x: Value) => one({ prim } as Op, [x]);
  const d = (prim: Binary) => (x: Value, y: Value) => one({ prim } as Op, [x, y]);
  const constant: Builder['constant'] = (v, dtype = 'f32') => one({ prim: 'const', value: v, dtype }, []);
  const broadcast: Builder['broadcast'] = (x, shape, axes) => one({ prim: 'broadcast', shape, axes }, [x]);
  return {
    param: (type, name) => {
      const v = value(type, name);
      params.push(v);
      return v;
    },
    emit,
    again,
    one,
    at,
    get meta() {
      return current;
    },
    inline,
    maker,
    build: (results) => ({ params: [...params], nodes: [...nodes], results: [...results] }),
    constant,
    fill: (v, like) => (like.shape.length === 0 ? constant(v, like.dtype) : broadcast(constant(v, like.dtype), like.shape, [])),
    neg: u('neg'),
    exp: u('exp'),
    log: u('log'),
    sin: u('sin'),
    cos: u('cos'),
    tanh: u('tanh'),
    sqrt: u('sqrt'),
    rsqrt: u('rsqrt'),
    erf: u('erf'),
    abs: u('abs'),
    sign: u('sign'),
    floor: u('floor'),
    not: u('not'),
    stopGradient: u('stopGradient'),
    cast: (x, dtype) => (x.type.dtype === dtype ? x : one({ prim: 'cast', dtype }, [x])),
    add: d('add'),
    sub: d('sub'),
    mul: d('mul'),
    div: d('div'),
    pow: d('pow'),
    max: d('max'),
    min: d('min'),
    rem: d('rem'),
    and: d('and'),
    or: d('or'),
    xor: d('xor'),
    shiftLeft: d('shiftLeft'),
    shiftRight: d('shiftRight'),
    compare: (cmp, x, y) => one({ prim: 'compare', cmp }, [x, y]),
    select: (c, x, y) => one({ prim: 'select' } as Op, [c, x, y]),
    broadcast,
    reshape: (x, shape) => one({ prim: 'reshape', shape }, [x]),
    transpose: (x, perm) => one({ prim: 'transpose', perm }, [x]),
    slice: (x, start, limit) => one({ prim: 'slice', start, limit }, [x]),
    pad: (x, low, high, v = 0) => one({ prim: 'pad', low, high, value: v }, [x]),
    concat: (xs, axis) => one({ prim: 'concat', axis }, xs),
    gather: (x, i, axis) => one({ prim: 'gather', axis }, [x, i]),
    scatterAdd: (x, i, upd, axis) => one({ prim: 'scatterAdd', axis }, [x, i, upd]),
    sum: (x, axes) => (axes.length === 0 ? x : one({ prim: 'reduceSum', axes }, [x])),
  };
};
