/**
 * What rows are to each primitive: which operands have them where the result has them, and the same node for fewer rows. The rows of a value
 * are its first axes; after narrowing they are one axis.
 *
 *   dot(x, w)        x: [8 257 384], w: [384 1536], rows [8 257]     ->  x has rows, w has none; for 100 rows x: [100 384]
 */
import { type Builder, builder } from '../graph/builder.ts';
import type { Dim } from '../graph/dim.ts';
import { pointwise } from '../graph/interpret-pointwise.ts';
import type { Graph, Node, Value } from '../graph/types.ts';

export type Shape = readonly number[];
export const sizes = (v: Value): Shape | undefined =>
  v.type.shape.every((d) => typeof d === 'number') ? (v.type.shape as Shape) : undefined;
export const product = (ns: readonly number[]): number => ns.reduce((a, b) => a * b, 1);
const starts = (shape: readonly Dim[], rows: Shape): boolean => rows.every((d, i) => shape[i] === d);
const upTo = (n: number): readonly number[] => Array.from({ length: n }, (_, i) => i);

/** Which operands of a node have rows where its result has them, along the first axes; undefined where rows mix. */
export const rowOperands = (n: Node, rows: Shape): readonly boolean[] | undefined => {
  const k = rows.length;
  const { op, inputs } = n;
  const [x] = inputs as readonly [Value];
  const out = (n.outputs[0] as Value).type.shape;
  if (n.outputs.length !== 1 || !starts(out, rows)) return undefined;
  if (pointwise.has(op.prim) || op.prim === 'stopGradient') return inputs.map(() => true);
  switch (op.prim) {
    case 'broadcast': {
      if (op.axes.every((a) => a >= k)) return [false];
      return starts(x.type.shape, rows) && upTo(k).every((i) => op.axes[i] === i) ? [true] : undefined;
    }
    case 'reshape':
      return starts(x.type.shape, rows) ? [true] : undefined;
    case 'transpose':
      return upTo(k).every((i) => op.perm[i] === i) ? [true] : undefined;
    case 'reduceSum':
    case 'reduceMax':
    case 'reduceMin':
      return op.axes.every((a) => a >= k) && starts(x.type.shape, rows) ? [true] : undefined;
    case 'dot': {
      if (op.batch[0].length > 0 || op.contract[0].some((a) => a < k) || !starts(x.type.shape, rows)) return undefined;
      return [true, false];
    }
    case 'call':
      return op.tag === 'checkpoint' || op.tag.startsWith('fovea.') ? undefined : bodyOperands(op.body, inputs, rows);
    default:
      return undefined;
  }
};

/** The same for a region of one result. */
const bodyOperands = (body: Graph, inputs: readonly Value[], rows: Shape): readonly boolean[] | undefined => {
  if (body.results.length !== 1) return undefined;
  const makers = new Map(body.nodes.flatMap((n) => n.outputs.map((o) => [o, n] as const)));
  const found = new Map<Value, boolean>();
  const visit = (v: Value, row: boolean): boolean => {
    const known = found.get(v);
    if (known !== undefined) return known === row;
    found.set(v, row);
    const n = makers.get(v);
    if (!row) return n ? n.inputs.every((u) => visit(u, false)) : true;
    if (!n) return starts(v.type.shape, rows);
    const which = rowOperands(n, rows);
    return which?.every((r, i) => visit(n.inputs[i] as Value, r)) ?? false;
  };
  return visit(body.results[0] as Value, true) ? inputs.map((_, i) => found.get(body.params[i] as Value) === true) : undefined;
};

/** n, whose result has rows, for `count` rows along one axis. */
export const narrowed = (b: Builder, n: Node, ins: readonly Value[], rows: Shape, count: number): Value => {
  const { op } = n;
  const off = 1 - rows.length;
  const rest = (n.outputs[0] as Value).type.shape.slice(rows.length);
  switch (op.prim) {
    case 'broadcast': {
      const [x] = ins as readonly [Value];
      const axes = op.axes.filter((a) => a >= rows.length).map((a) => a + off);
      return b.broadcast(x, [count, ...rest], op.axes.every((a) => a >= rows.length) ? axes : [0, ...axes]);
    }
    case 'reshape':
      return b.reshape(ins[0] as Value, [count, ...rest]);
    case 'transpose':
      return b.transpose(ins[0] as Value, [0, ...op.perm.slice(rows.length).map((a) => a + off)]);
    case 'reduceSum':
    case 'reduceMax':
    case 'reduceMin':
      return b.one({ prim: op.prim, axes: op.axes.map((a) => a + off) }, ins);
    case 'dot':
      return b.one({ ...op, contract: [op.contract[0].map((a) => a + off), op.contract[1]] }, ins);
    case 'call':
      return b.one({ ...op, body: narrowedBody(op.body, n.inputs, rows, count) }, ins);
    default:
      return b.one(op, ins);
  }
};

const narrowedBody = (body: Graph, inputs: readonly Value[], rows: Shape, count: number): Graph => {
  const which = bodyOperands(body, inputs, rows) as readonly boolean[];
  const b = builder();
  const env = new Map<Value, Value>();
  const rowValues = new Set<Value>();
  body.params.forEach((p, i) => {
    const { dtype, shape } = p.type;
    if (which[i]) rowValues.add(p);
    env.set(p, b.param(which[i] ? { dtype, shape: [count, ...shape.slice(rows.length)] } : p.type, p.name));
  });
  // from the result back: which values have rows
  const makers = new Map(body.nodes.flatMap((n) => n.outputs.map((o) => [o, n] as const)));
  const mark = (v: Value): void => {
    if (rowValues.has(v)) return;
    rowValues.add(v);
    const n = makers.get(v) as Node;
    rowOperands(n, rows)?.forEach((r, i) => {
      if (r) mark(n.inputs[i] as Value);
    });
  };
  mark(body.results[0] as Value);
  for (const n of body.nodes) {
    const ins = n.inputs.map((v) => env.get(v) as Value);
    const outs = b.at(n.meta, () => (rowValues.has(n.outputs[0] as Value) ? [narrowed(b, n, ins, rows, count)] : b.again(n, ins)));
    n.outputs.forEach((o, i) => env.set(o, outs[i] as Value));
  }
  return b.build(body.results.map((r) => env.get(r) as Value));
};
