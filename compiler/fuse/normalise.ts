/**
 * Rewrites a graph into the forms that templates take, as plain G, so that the rewriting is visible and testable. Nothing
 * here depends on how many threads a machine has; the splits are part of the program and so of its bits.
 *
 *   long rows, few of them:    sum [1 1048576]   ->  sum over 8192 of [1 128 8192], then sum over 128
 *   tall columns:              sum over axis 0 of [2056 384]  ->  sum over 257 of [8 257 384], then sum over 8
 *   no matrix product:         dot(x, y) of two vectors  ->  sum of mul(x, y)   (product.ts)
 *   operand without strides:   dot(x, w)  ->  dot(copy(transpose(x)), w), and so the rows that attention reads
 *   result that is an input:   return x   ->  return copy(x), and so one that arrives from other ranks
 *   view that is sent:         start(pad(x))   ->  start(copy(pad(x)))
 *
 * A copy is a reshape or transpose whose output stands in `copies`: it is computed into memory, not looked through.
 */
import { type StreamOp, streams, tiled } from '../graph/attention.ts';
import { known } from '../graph/dim.ts';
import { infer } from '../graph/infer.ts';
import { identityOf, type Reduction } from '../graph/interpret-structure.ts';
import type { DType, Graph, Meta, Node, Op, OpOf, Value } from '../graph/types.ts';
import type { Target } from '../target.ts';
import { shapeOf, sizeOf } from '../tile/emit.ts';
import { isReduction, reductionSpace, type Space } from '../tile/space.ts';
import { operandStrides } from '../tile/strides.ts';
import { asProduct } from './product.ts';

export interface Normal {
  readonly nodes: readonly Node[];
  readonly results: readonly Value[];
  readonly copies: ReadonlySet<Value>;
  /** Contraction operands: the value in memory that each is read from. */
  readonly roots: ReadonlySet<Value>;
  readonly maker: (v: Value) => Node | undefined;
}

/** Elements that one state reduces at most, along rows and down columns, and how many parts are enough for any machine. */
const split = { row: 8192, column: 256, parts: 64 } as const;

/** A divisor of n close to `near` (between half and four times), or undefined. */
const divisor = (n: number, near: number): number | undefined => {
  for (let d = 0; d < near * 3; d++) {
    if (n % (near + d) === 0) return near + d;
    if (d <= near / 2 && n % (near - d) === 0) return near - d;
  }
  return undefined;
};
const half = (t: DType): boolean => t === 'bf16' || t === 'f16';

/** A reshape, transpose, ... that leaves every element at its row-major place: the same memory under another type. */
export const isAlias = (n: Node): boolean => {
  const [x, y] = [n.inputs[0], n.outputs[0]];
  if (!x || !y || x.type.dtype !== y.type.dtype) return false;
  switch (n.op.prim) {
    case 'reshape':
    case 'stopGradient':
      return true;
    case 'broadcast':
    case 'slice':
    case 'pad':
      return sizeOf(x) === sizeOf(y);
    case 'transpose': {
      const shape = shapeOf(x);
      const moved = n.op.perm.filter((p) => shape[p] !== 1);
      return moved.every((p, i) => i === 0 || p > (moved[i - 1] as number));
    }
    case 'concat':
      return n.inputs.length === 1;
    default:
      return false;
  }
};

export const normalise = (g: Graph, target: Target): Normal => {
  const nodes: Node[] = [];
  const makers = new Map<Value, Node>();
  const copies = new Set<Value>();
  const roots = new Set<Value>();
  let next = 0;
  for (const v of g.params) next = Math.max(next, v.id + 1);
  for (const n of g.nodes) for (const v of n.outputs) next = Math.max(next, v.id + 1);
  const maker = (v: Value): Node | undefined => makers.get(v);

  const root = (v: Value): Value => {
    const n = makers.get(v);
    return n && !copies.has(v) && isAlias(n) ? root(n.inputs[0] as Value) : v;
  };
  const push = (n: Node): void => {
    nodes.push(n);
    for (const o of n.outputs) makers.set(o, n);
  };
  /** Appends a node; `as` gives its output an identity that the graph already uses. */
  const emit = (op: Op, inputs: readonly Value[], meta: Meta, as?: Value): Value => {
    const out = as ?? {
      id: next++,
      type: infer(
        op,
        inputs.map((v) => v.type),
      )[0] as Value['type'],
    };
    push({ op, inputs, outputs: [out], meta });
    return out;
  };
  const cast = (x: Value, dtype: DType, meta: Meta, as?: Value): Value => emit({ prim: 'cast', dtype }, [x], meta, as);
  const reshape = (x: Value, shape: readonly number[], meta: Meta, as?: Value): Value => emit({ prim: 'reshape', shape }, [x], meta, as);

  const reduced = (n: Node, x: Value, axes: readonly number[], as?: Value): Value => emit({ ...n.op, axes } as Op, [x], n.meta, as);
  /** Reduces `length` elements behind `before` and in front of `after` in two steps. */
  const twoSteps = (n: Node, x: Value, before: number, length: number, after: number, near: number): Value => {
    const exact = divisor(length, near);
    const chunk = exact ?? near;
    const parts = Math.ceil(length / chunk);
    const flat = reshape(x, [before, length, after], n.meta);
    const value = identityOf(n.op.prim as Reduction, x.type.dtype);
    const padded = exact ? flat : emit({ prim: 'pad', low: [0, 0, 0], high: [0, parts * chunk - length, 0], value }, [flat], n.meta);
    const some = reduced(n, reshape(padded, [before, parts, chunk, after], n.meta), [2]);
    return reduced(n, some, [1]);
  };
  /** The last reduced run of a space with several, on its own: what is left is one reduction down columns. */
  const lastRunFirst = (n: Node, x: Value, space: Space): Value => {
    const sizes = space.runs.map((r) => r.size);
    const inner = reduced(n, reshape(x, sizes, n.meta), [sizes.length - 1]);
    return reduced(
      n,
      inner,
      space.runs.flatMap((r, i) => (r.kept || i === sizes.length - 1 ? [] : [i])),
    );
  };

  const reduction = (n: Node): void => {
    const [x, y] = [n.inputs[0] as Value, n.outputs[0] as Value];
    const space = reductionSpace(n);
    if (n.op.prim === 'argmax' || space.kept === 0 || space.reduced === 0) {
      push(n);
      return;
    }
    if (space.reduced === 1) {
      reshape(x, shapeOf(y), n.meta, y);
      return;
    }
    const runs = space.runs.filter((r) => !r.kept);
    const inner = space.runs[space.runs.length - 1]?.size ?? 1;
    const plan = ((): ((v: Value) => Value) | undefined => {
      if (space.rowwise && !space.contiguous) return space.reduced > split.column * 2 ? (v) => lastRunFirst(n, v, space) : undefined;
      if (space.rowwise)
        return space.reduced > split.row * 2 && space.kept < split.parts
          ? (v) => twoSteps(n, v, space.kept, space.reduced, 1, split.row)
          : undefined;
      if (runs.length > 1 || space.reduced <= split.column * 2 || space.kept / 64 > 4 * split.parts) return undefined;
      return (v) => twoSteps(n, v, space.kept / inner, space.reduced, inner, split.column);
    })();
    if (!plan) {
      push(n);
      return;
    }
    // partial results keep the accumulator's precision
    const t = x.type.dtype;
    const start = nodes.length;
    const made = half(t) ? cast(plan(cast(x, 'f32', n.meta)), t, n.meta) : plan(x);
    reshape(made, shapeOf(y), n.meta, y);
    // what was made may be too long again (a reduction down columns after one along rows)
    const again = nodes.splice(start);
    for (const m of again) {
      if (isReduction(m) && reductionSpace(m).key !== space.key) reduction(m);
      else push(m);
    }
  };

  /** As emit, but a reduction is taken apart as those of the graph are. */
  const parts = (op: Op, inputs: readonly Value[], meta: Meta, as?: Value): Value => {
    const out = emit(op, inputs, meta, as);
    const n = nodes[nodes.length - 1] as Node;
    if (isReduction(n)) {
      nodes.pop();
      reduction(n);
    }
    return out;
  };

  const copied = new Map<Value, Value>();
  const contraction = (n: Node, op: OpOf<'dot'>): void => {
    const order = op.contract[0].map((_, i) => i).sort((i, j) => (op.contract[0][i] as number) - (op.contract[0][j] as number));
    const pick = (list: readonly number[]): number[] => order.map((i) => list[i] as number);
    const contract: [readonly number[], readonly number[]] = [pick(op.contract[0]), pick(op.contract[1])];
    const batch: [readonly number[], readonly number[]] = [op.batch[0], op.batch[1]];
    const inputs = n.inputs.map((v, i) => {
      const side = i as 0 | 1;
      const inMemory = operandStrides(v, batch[side], contract[side], (x) => (copies.has(x) ? undefined : makers.get(x)));
      if (inMemory) {
        roots.add(inMemory.root);
        return v;
      }
      // its own row-major order, if that will do: then every contraction that reads v can share the copy
      if (operandStrides(v, batch[side], contract[side], () => undefined)) {
        const copy = copied.get(v) ?? reshape(v, shapeOf(v), n.meta);
        copied.set(v, copy);
        copies.add(copy);
        roots.add(copy);
        return copy;
      }
      const shape = shapeOf(v);
      const free = shape.map((_, a) => a).filter((a) => !batch[side].includes(a) && !contract[side].includes(a));
      const copy = emit({ prim: 'transpose', perm: [...batch[side], ...free, ...contract[side]] }, [v], n.meta);
      copies.add(copy);
      roots.add(copy);
      batch[side] = batch[side].map((_, j) => j);
      contract[side] = contract[side].map((_, j) => shape.length - contract[side].length + j);
      return copy;
    });
    push({ ...n, op: { ...op, batch, contract }, inputs });
  };

  /** Rows of queries, keys, values: read in place where they have a stride and their elements another. */
  const stream = (n: Node, op: StreamOp): void => {
    const inputs = n.inputs.map((v, i) => {
      if (!tiled[op.tag].includes(i)) return v;
      const rank = v.type.shape.length;
      const batch = Array.from({ length: rank - 2 }, (_, axis) => axis);
      const inMemory = operandStrides(v, batch, [rank - 1], (x) => (copies.has(x) ? undefined : makers.get(x)));
      if (inMemory) roots.add(inMemory.root);
      if (inMemory) return v;
      const copy = copied.get(v) ?? reshape(v, shapeOf(v), n.meta);
      copied.set(v, copy);
      copies.add(copy);
      roots.add(copy);
      return copy;
    });
    push({ ...n, inputs });
  };

  const sentAs = new Map<Value, Value>();
  /** What is sent lies in memory, in row-major order. */
  const sent = (v: Value, meta: Meta): Value => {
    const at = root(v);
    if (makers.get(at)?.op.prim !== 'array') {
      roots.add(at);
      return v;
    }
    const copy = sentAs.get(v) ?? reshape(v, shapeOf(v), meta);
    sentAs.set(v, copy);
    copies.add(copy);
    roots.add(copy);
    return copy;
  };

  /** Concatenations of at most `width` operands: each is read through a buffer of its own. */
  const concat = (n: Node, op: OpOf<'concat'>, width: number): void => {
    let parts = [...n.inputs];
    while (parts.length > width) {
      const joined: Value[] = [];
      for (let i = 0; i < parts.length; i += width) {
        const some = parts.slice(i, i + width);
        joined.push(some.length === 1 ? (some[0] as Value) : emit(op, some, n.meta));
      }
      parts = joined;
    }
    emit(op, parts, n.meta, n.outputs[0] as Value);
  };

  for (const n of g.nodes) {
    const op = n.op;
    if (isReduction(n)) reduction(n);
    else if (op.prim === 'dot') {
      if (!asProduct(n, op, (o, inputs, as) => parts(o, inputs, n.meta, as))) contraction(n, op);
    } else if (op.prim === 'call' && streams(op)) stream(n, op);
    else if (op.prim === 'start') push({ ...n, inputs: n.inputs.map((v) => sent(v, n.meta)) });
    else if (op.prim === 'wait') push({ ...n, inputs: n.inputs.map((v) => sentAs.get(v) ?? v) });
    else if (op.prim === 'concat' && n.inputs.length > Math.max(2, target.maxBuffers - 3))
      concat(n, op, Math.max(2, target.maxBuffers - 3));
    else if (op.prim === 'scatterAdd' && half((n.inputs[0] as Value).type.dtype)) {
      const [x, list, u] = n.inputs as [Value, Value, Value];
      cast(emit(op, [cast(x, 'f32', n.meta), list, cast(u, 'f32', n.meta)], n.meta), x.type.dtype, n.meta, n.outputs[0] as Value);
    } else push(n);
  }

  const taken = new Set<Value>();
  const results = g.results.map((r) => {
    const v = root(r);
    const made = makers.get(v);
    if (made && made.op.prim !== 'array' && made.op.prim !== 'wait' && !taken.has(v)) {
      taken.add(v);
      return v;
    }
    const copy = reshape(v, v.type.shape.map(known), made?.meta ?? { scope: '', phase: 'fwd' });
    copies.add(copy);
    return copy;
  });
  return { nodes, results, copies, roots, maker };
};
