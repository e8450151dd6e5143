/**
 * Puts numbers in the place of names of sizes: in types, attributes, constants and regions. After it every pass sees
 * concrete shapes. Regions use the names of the whole program, so one map serves all of them.
 *
 *   bindGraph(%1: f32[B N+1] = exp(%0), { B: 2, N: 3 })   ->   %1: f32[2 4] = exp(%0)
 */
import { FoveaError } from '../error.ts';
import { bindDim, type Dim, dimNames } from './dim.ts';
import type { Graph, Node, Op, TensorType, Value } from './types.ts';

type Bind = (d: Dim) => Dim;

/** The sizes among the attributes; every primitive that has some has a row of its own. */
const bindOp = (op: Op, d: Bind, body: (g: Graph) => Graph): Op => {
  switch (op.prim) {
    case 'const':
      return { ...op, value: d(op.value) };
    case 'iota':
    case 'broadcast':
    case 'reshape':
    case 'randomBits':
      return { ...op, shape: op.shape.map(d) };
    case 'slice':
      return { ...op, start: op.start.map(d), limit: op.limit.map(d) };
    case 'pad':
      return { ...op, low: op.low.map(d), high: op.high.map(d) };
    case 'scan':
      return { ...op, length: d(op.length), body: body(op.body) };
    case 'call':
    case 'perShard':
      return { ...op, body: body(op.body) };
    default: {
      // the rest has no sizes; this line does not compile if a primitive with a shape is added and forgotten above
      const rest: Op & { readonly shape?: readonly number[]; readonly body?: never } = op;
      return rest;
    }
  }
};

/** The graph with every named size replaced. Throws FV0005 listing names that `env` lacks, or a size that is no count. */
export const bindGraph = (g: Graph, env: ReadonlyMap<string, number>): Graph => {
  const missing = new Set<string>();
  const bound = new Map<Graph, Graph>();
  const dim: Bind = (d) => {
    if (typeof d === 'number') return d;
    const names = dimNames(d).filter((n) => !env.has(n));
    for (const n of names) missing.add(n);
    const r = bindDim(d, env);
    // all names are known and it is still no number: a quotient such as D/H that does not divide
    if (typeof r !== 'number' && names.length === 0) throw new FoveaError('FV0005', `the size ${d} is no whole number for ${show(d, env)}`);
    return r;
  };
  const type = (t: TensorType): TensorType => {
    const shape = t.shape.map(dim);
    const bad = shape.findIndex((s) => typeof s === 'number' && s < 0);
    if (bad >= 0) {
      const d = t.shape[bad] as Dim;
      // a size that was a number from the start has no names to blame
      throw new FoveaError('FV0005', typeof d === 'number' ? `a size is ${d}` : `the size ${d} is ${shape[bad]} for ${show(d, env)}`);
    }
    return { dtype: t.dtype, shape };
  };
  const whole = (from: Graph): Graph => {
    const done = bound.get(from);
    if (done) return done;
    const values = new Map<Value, Value>();
    const value = (v: Value): Value => {
      const to: Value = { ...v, type: type(v.type) };
      values.set(v, to);
      return to;
    };
    const get = (v: Value): Value => values.get(v) as Value;
    const params = from.params.map(value);
    const nodes = from.nodes.map(
      (n): Node => ({ op: bindOp(n.op, dim, whole), inputs: n.inputs.map(get), outputs: n.outputs.map(value), meta: n.meta }),
    );
    const to = { params, nodes, results: from.results.map(get) };
    bound.set(from, to);
    return to;
  };
  const result = whole(g);
  if (missing.size > 0)
    throw new FoveaError('FV0005', `no number is given for ${[...missing].sort().join(', ')}`, {
      hint: 'Pass a size for each name, as in { B: 8 }.',
    });
  return result;
};

const show = (d: Dim, env: ReadonlyMap<string, number>): string =>
  dimNames(d)
    .map((n) => `${n} = ${env.get(n)}`)
    .join(', ');
