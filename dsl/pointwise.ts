/**
 * Pointwise operations on values: the language aligns shapes at the right and stretches a missing axis or a literal 1; the graph
 * broadcasts nothing by itself, so every stretch becomes a node. A symbol never stretches, whatever number it is bound to later.
 *
 *   x: f32[B N 384], v: f32[384]        x.add(v)
 *     %2: f32[B N 384] = broadcast(%1) shape=[B N 384] axes=[2]
 *     %3: f32[B N 384] = add(%0, %2)
 */
import type { Builder } from '../compiler/graph/builder.ts';
import { type Dim, eqDim, eqShape, showShape } from '../compiler/graph/dim.ts';
import { type Compare, type DType, isFloat, type Value } from '../compiler/graph/types.ts';
import { fail, type Handle, isTensor, lift } from './context.ts';

export const bare = (s: readonly Dim[]): string => showShape(s);

/** The common shape of a and b; FV0001 where there is none. */
export const broadcastShape = (op: string, a: readonly Dim[], b: readonly Dim[]): Dim[] => {
  const rank = Math.max(a.length, b.length);
  return Array.from({ length: rank }, (_, i) => {
    const x = a[a.length - rank + i] ?? 1;
    const y = b[b.length - rank + i] ?? 1;
    if (eqDim(x, y)) return x;
    if (x === 1) return y;
    if (y === 1) return x;
    return fail(
      'FV0001',
      `${op}: cannot broadcast ${bare(a)} with ${bare(b)}: ${x} vs ${y}`,
      'Only a literal 1 or a missing axis stretches; see expand and rearrange.',
    );
  });
};

/** x stretched to `shape`, aligned at the right. */
export const stretch = (b: Builder, x: Value, shape: readonly Dim[]): Value => {
  if (eqShape(x.type.shape, shape)) return x;
  const lead = shape.length - x.type.shape.length;
  return b.broadcast(
    x,
    shape,
    x.type.shape.map((_, i) => lead + i),
  );
};

export type Binary = 'add' | 'sub' | 'mul' | 'div' | 'pow' | 'max' | 'min' | 'rem' | 'and' | 'or' | 'xor';

const showTensor = (v: Value): string => `${v.type.dtype}${bare(v.type.shape)}`;
const ranges = { i32: [-(2 ** 31), 2 ** 31 - 1], u32: [-(2 ** 31), 2 ** 32 - 1], bool: [0, 1] } as const;
/** A number written in a program, as a constant of the dtype; FV0002 where the dtype has no such number. In u32, -1 is 2^32 - 1. */
export const literal = (op: string, n: number, dtype: DType): number => {
  if (isFloat(dtype)) return n;
  const [low, high] = ranges[dtype];
  if (!Number.isInteger(n) || n < low || n > high)
    return fail('FV0002', `${op}: ${n} is no ${dtype}${Number.isInteger(n) ? `, whose numbers are ${low} to ${high}` : ''}`);
  return dtype === 'u32' ? n >>> 0 : n + 0; // no -0
};
/** A number as a tensor of the type of `like`. */
const number = (b: Builder, op: string, n: number, like: Value): Value => {
  const t = like.type.dtype;
  if (t === 'bool') return fail('FV0002', `${op}: ${n} with a bool tensor`, 'Use and, or, xor, not, where, or .cast(...).');
  if (!isFloat(t) && !Number.isInteger(n))
    return fail('FV0002', `${op}: ${n} is not a whole number and the tensor is ${showTensor(like)}`, "Use .cast('f32') first.");
  return b.fill(literal(op, n, t), like.type);
};

/** Both operands in their common shape. */
export const align = (b: Builder, op: string, x: Value, y: Handle | number): readonly [Value, Value] => {
  if (typeof y === 'number') return [x, number(b, op, y, x)];
  if (!isTensor(y)) return fail('FV0002', `${op}: the operand is of type ${typeof y}, neither a tensor nor a number`);
  const v = lift(y);
  if (v.type.dtype !== x.type.dtype) return fail('FV0002', `${op}: dtypes differ: ${x.type.dtype} vs ${v.type.dtype} (use .cast())`);
  const shape = broadcastShape(op, x.type.shape, v.type.shape);
  return [stretch(b, x, shape), stretch(b, v, shape)];
};

export const binary = (b: Builder, op: Binary, x: Value, y: Handle | number): Value => b[op](...align(b, op, x, y));
/** Truth values have no order: lt, le, gt and ge of bool are FV0002. */
export const compare = (b: Builder, cmp: Compare, x: Value, y: Handle | number): Value =>
  x.type.dtype === 'bool' && cmp !== 'eq' && cmp !== 'ne'
    ? fail('FV0002', `${cmp}: the tensor is ${showTensor(x)}; truth values have no order`, 'Use and, or, xor, not, eq, ne.')
    : b.compare(cmp, ...align(b, cmp, x, y));

/** where(c, x, y) with numbers allowed for x and y. */
export const select = (b: Builder, c: Value, x: Handle | number, y: Handle | number): Value => {
  const dtype: DType = isTensor(x) ? lift(x).type.dtype : isTensor(y) ? lift(y).type.dtype : 'f32';
  const value = (z: Handle | number): Value => (isTensor(z) ? lift(z) : number(b, 'where', z, { id: -1, type: { dtype, shape: [] } }));
  const [p, q] = [value(x), value(y)];
  if (p.type.dtype !== q.type.dtype) return fail('FV0002', `where: dtypes differ: ${p.type.dtype} vs ${q.type.dtype} (use .cast())`);
  const shape = broadcastShape('where', c.type.shape, broadcastShape('where', p.type.shape, q.type.shape));
  return b.select(stretch(b, c, shape), stretch(b, p, shape), stretch(b, q, shape));
};
