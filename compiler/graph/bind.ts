/**
 * Names become numbers: every dim of a traced graph (types, attributes, sizes used as values, regions) is replaced by its
 * size. Later passes see concrete shapes only.
 *
 *   bindGraph(g, { B: 8 })      %2: f32[2*B N+1] -> %2: f32[16 N+1], refused because N has no size
 */
import { FoveaError } from '../error.ts';
import { builder } from './builder.ts';
import { bindDim, type Dim, dimNames } from './dim.ts';
import type { Graph, Op, TensorType, Value } from './types.ts';

/** FV0005 if a name has no size, or if a quotient of sizes is no whole number. */
export const bindGraph = (g: Graph, sizes: ReadonlyMap<string, number>): Graph => {
  const missing = new Set<string>();
  const broken = new Set<string>();
  const dim = (d: Dim): Dim => {
    const to = bindDim(d, sizes);
    if (typeof to === 'number') return to;
    const names = dimNames(to).filter((n) => !sizes.has(n));
    for (const n of names) missing.add(n);
    if (names.length === 0) broken.add(String(d));
    return to;
  };
  const type = (t: TensorType): TensorType => ({ dtype: t.dtype, shape: t.shape.map(dim) });
  const bindOp = (op: Op): Op => {
    switch (op.prim) {
      case 'const':
        return { ...op, value: dim(op.value) };
      case 'iota':
      case 'broadcast':
      case 'reshape':
      case 'randomBits':
        return { ...op, shape: op.shape.map(dim) };
      case 'slice':
        return { ...op, start: op.start.map(dim), limit: op.limit.map(dim) };
      case 'pad':
        return { ...op, low: op.low.map(dim), high: op.high.map(dim) };
      case 'scan':
        return { ...op, length: dim(op.length), body: bind(op.body) };
      case 'call':
      case 'perShard':
        return { ...op, body: bind(op.body) };
      default:
        return op;
    }
  };
  const bind = (h: Graph): Graph => {
    const b = builder();
    const env = new Map<Value, Value>();
    for (const p of h.params) env.set(p, b.param(type(p.type), p.name));
    for (const n of h.nodes) {
      const op = bindOp(n.op);
      if (missing.size + broken.size > 0) refuse(missing, broken);
      const outs = b.emit(
        op,
        n.inputs.map((v) => env.get(v) as Value),
        n.meta,
      );
      n.outputs.forEach((o, i) => env.set(o, outs[i] as Value));
    }
    return b.build(h.results.map((r) => env.get(r) as Value));
  };
  const bound = bind(g);
  if (missing.size + broken.size > 0) refuse(missing, broken);
  return bound;
};

const refuse = (missing: ReadonlySet<string>, broken: ReadonlySet<string>): never => {
  const names = [...missing].sort().join(', ');
  if (missing.size > 0) throw new FoveaError('FV0005', `no size is given for ${names}`, { hint: `Pass dims: { ${names.split(', ')[0]}: ... }.` });
  throw new FoveaError('FV0005', `not a whole number with the sizes given: ${[...broken].join(', ')}`);
};
