/**
 * Result types: one rule a primitive, over sizes that may still be names. The builder calls it for every node it makes
 * and verify calls it again on finished graphs, so a graph that verifies has exactly the types these rules give.
 *
 * A rule that does not hold throws FV0001 (shapes) or FV0002 (dtypes) with both types in the sentence; the builder adds
 * the user's source line and the scope.
 */
import { FoveaError } from '../error.ts';
import { addDim, type Dim, eqDim, eqShape, prodDim, showShape, subDim } from './dim.ts';
import { type DType, type Graph, isFloat, type Op, type OpOf, type Prim, type TensorType, type Transfer } from './types.ts';

type Rule<P extends Prim> = (op: OpOf<P>, ins: readonly TensorType[]) => readonly TensorType[];
type AnyRule = (op: Op, ins: readonly TensorType[]) => readonly TensorType[];

export const showType = (t: TensorType): string => `${t.dtype}${showShape(t.shape)}`;
export const eqType = (a: TensorType, b: TensorType): boolean => a.dtype === b.dtype && eqShape(a.shape, b.shape);

const shapes = (message: string): never => {
  throw new FoveaError('FV0001', message);
};
const dtypesDiffer = (message: string): never => {
  throw new FoveaError('FV0002', message);
};
const kinds = {
  float: isFloat,
  number: (t: DType) => t !== 'bool',
  bits: (t: DType) => t === 'bool' || t === 'u32' || t === 'i32',
  u32: (t: DType) => t === 'u32',
  any: () => true,
} as const;
type Kind = keyof typeof kinds;

const arity = (op: Op, ins: readonly TensorType[], n: number): void => {
  if (ins.length !== n) shapes(`${op.prim}: takes ${n} operands, got ${ins.length}`);
};
const want = (op: Op, t: TensorType, kind: Kind): void => {
  if (!kinds[kind](t.dtype)) dtypesDiffer(`${op.prim}: takes ${kind} operands, got ${showType(t)}`);
};
const unary =
  (kind: Kind): AnyRule =>
  (op, ins) => {
    arity(op, ins, 1);
    want(op, ins[0] as TensorType, kind);
    return [ins[0] as TensorType];
  };
const same = (op: Op, a: TensorType, b: TensorType): void => {
  if (a.dtype !== b.dtype) dtypesDiffer(`${op.prim}: dtypes differ: ${showType(a)} and ${showType(b)}`);
  if (!eqShape(a.shape, b.shape)) shapes(`${op.prim}: shapes differ: ${showType(a)} and ${showType(b)}`);
};
const binary =
  (kind: Kind): AnyRule =>
  (op, ins) => {
    arity(op, ins, 2);
    const [a, b] = ins as [TensorType, TensorType];
    same(op, a, b);
    want(op, a, kind);
    return [a];
  };
const axisOk = (op: Op, t: TensorType, axis: number): void => {
  if (!Number.isInteger(axis) || axis < 0 || axis >= t.shape.length) shapes(`${op.prim}: ${showType(t)} has no axis ${axis}`);
};
const distinct = (op: Op, t: TensorType, axes: readonly number[]): void => {
  for (const a of axes) axisOk(op, t, a);
  if (new Set(axes).size !== axes.length) shapes(`${op.prim}: axis repeated in [${axes}]`);
};
const without = (shape: readonly Dim[], axes: readonly number[]): Dim[] => shape.filter((_, i) => !axes.includes(i));
const reduce =
  (kind: Kind): Rule<'reduceSum' | 'reduceMax' | 'reduceMin'> =>
  (op, ins) => {
    arity(op, ins, 1);
    const x = ins[0] as TensorType;
    want(op, x, kind);
    distinct(op, x, op.axes);
    return [{ dtype: x.dtype, shape: without(x.shape, op.axes) }];
  };
const negative = (d: Dim): boolean => typeof d === 'number' && d < 0;
const region = (op: Op, body: Graph, ins: readonly TensorType[]): readonly TensorType[] => {
  arity(op, ins, body.params.length);
  body.params.forEach((p, i) => {
    if (!eqType(p.type, ins[i] as TensorType))
      shapes(`${op.prim}: parameter ${i} is ${showType(p.type)}, got ${showType(ins[i] as TensorType)}`);
  });
  return body.results.map((r) => r.type);
};
const placed: Rule<'reshard'> = (op, ins) => {
  arity(op, ins, 1);
  return [ins[0] as TensorType];
};

const transfer = (op: OpOf<'collective'> | OpOf<'start'>, ins: readonly TensorType[]): readonly TensorType[] => {
  const [first] = ins;
  if (!first) shapes(`${op.prim}: no operands`);
  return ins.map((t) => {
    if (t.dtype !== first?.dtype) dtypesDiffer(`${op.prim}: dtypes differ: ${showType(first as TensorType)} and ${showType(t)}`);
    return { dtype: t.dtype, shape: moved(op, t) };
  });
};
const moved = (op: { readonly prim: string } & Transfer, t: TensorType): readonly Dim[] => {
  if (op.kind === 'all-gather') return [op.ranks, ...t.shape];
  if (op.kind === 'all-reduce') return t.shape;
  if (t.shape[0] !== op.ranks) shapes(`${op.prim}: ${showType(t)} has no piece for each of ${op.ranks} ranks`);
  return t.shape.slice(1);
};

const rules: { readonly [P in Prim]: Rule<P> } = {
  const: (op) => [{ dtype: op.dtype, shape: [] }],
  array: (op) => {
    if (op.data.length !== prodDim(op.shape)) shapes(`array: ${op.data.length} numbers for shape ${showShape(op.shape)}`);
    return [{ dtype: op.dtype, shape: op.shape }];
  },
  iota: (op, ins) => {
    arity(op, ins, 0);
    const t = { dtype: op.dtype, shape: op.shape };
    want(op, t, 'number');
    axisOk(op, t, op.axis);
    return [t];
  },
  neg: unary('number'),
  exp: unary('float'),
  log: unary('float'),
  sin: unary('float'),
  cos: unary('float'),
  tanh: unary('float'),
  sqrt: unary('float'),
  rsqrt: unary('float'),
  erf: unary('float'),
  abs: unary('number'),
  sign: unary('number'),
  floor: unary('float'),
  not: unary('bits'),
  cast: (op, ins) => {
    arity(op, ins, 1);
    return [{ dtype: op.dtype, shape: (ins[0] as TensorType).shape }];
  },
  stopGradient: unary('any'),
  add: binary('number'),
  sub: binary('number'),
  mul: binary('number'),
  div: binary('number'),
  pow: binary('float'),
  max: binary('number'),
  min: binary('number'),
  rem: binary('number'),
  and: binary('bits'),
  or: binary('bits'),
  xor: binary('bits'),
  shiftLeft: binary('u32'),
  shiftRight: binary('u32'),
  compare: (op, ins) => {
    arity(op, ins, 2);
    const [a, b] = ins as [TensorType, TensorType];
    same(op, a, b);
    if (a.dtype === 'bool' && op.cmp !== 'eq' && op.cmp !== 'ne')
      dtypesDiffer(`compare: truth values have no order, so ${op.cmp} does not take ${showType(a)} and ${showType(b)}`);
    return [{ dtype: 'bool', shape: a.shape }];
  },
  select: (op, ins) => {
    arity(op, ins, 3);
    const [c, a, b] = ins as [TensorType, TensorType, TensorType];
    if (c.dtype !== 'bool') dtypesDiffer(`select: the condition is ${showType(c)}, not bool`);
    same(op, a, b);
    if (!eqShape(c.shape, a.shape)) shapes(`select: shapes differ: ${showType(c)} and ${showType(a)}`);
    return [a];
  },
  broadcast: (op, ins) => {
    arity(op, ins, 1);
    const x = ins[0] as TensorType;
    const ok =
      op.axes.length === x.shape.length &&
      op.axes.every((a, i) => {
        const d = x.shape[i] as Dim;
        const to = op.shape[a];
        return to !== undefined && a > (op.axes[i - 1] ?? -1) && (d === 1 || eqDim(d, to));
      });
    if (!ok) shapes(`broadcast: ${showType(x)} does not stretch to ${showShape(op.shape)} along axes [${op.axes}]`);
    return [{ dtype: x.dtype, shape: op.shape }];
  },
  reshape: (op, ins) => {
    arity(op, ins, 1);
    const x = ins[0] as TensorType;
    if (!eqDim(prodDim(x.shape), prodDim(op.shape)))
      shapes(`reshape: ${showType(x)} has ${prodDim(x.shape)} elements, ${showShape(op.shape)} has ${prodDim(op.shape)}`);
    return [{ dtype: x.dtype, shape: op.shape }];
  },
  transpose: (op, ins) => {
    arity(op, ins, 1);
    const x = ins[0] as TensorType;
    distinct(op, x, op.perm);
    if (op.perm.length !== x.shape.length) shapes(`transpose: [${op.perm}] is no permutation of the axes of ${showType(x)}`);
    return [{ dtype: x.dtype, shape: op.perm.map((p) => x.shape[p] as Dim) }];
  },
  slice: (op, ins) => {
    arity(op, ins, 1);
    const x = ins[0] as TensorType;
    const ok =
      op.start.length === x.shape.length &&
      op.limit.length === x.shape.length &&
      x.shape.every((d, i) => {
        const [s, l] = [op.start[i] as Dim, op.limit[i] as Dim];
        return !negative(s) && !negative(subDim(l, s)) && !negative(subDim(d, l));
      });
    if (!ok) shapes(`slice: ${showType(x)} has no part from ${showShape(op.start)} to ${showShape(op.limit)}`);
    return [{ dtype: x.dtype, shape: op.limit.map((l, i) => subDim(l, op.start[i] as Dim)) }];
  },
  pad: (op, ins) => {
    arity(op, ins, 1);
    const x = ins[0] as TensorType;
    const ok = op.low.length === x.shape.length && op.high.length === x.shape.length && ![...op.low, ...op.high].some(negative);
    if (!ok) shapes(`pad: ${showType(x)} cannot be padded by ${showShape(op.low)} and ${showShape(op.high)}`);
    return [{ dtype: x.dtype, shape: x.shape.map((d, i) => addDim(addDim(d, op.low[i] as Dim), op.high[i] as Dim)) }];
  },
  concat: (op, ins) => {
    const a = ins[0] ?? shapes('concat: no operands');
    axisOk(op, a, op.axis);
    for (const t of ins) {
      if (t.dtype !== a.dtype) dtypesDiffer(`concat: dtypes differ: ${showType(a)} and ${showType(t)}`);
      if (t.shape.length !== a.shape.length || !t.shape.every((d, i) => i === op.axis || eqDim(d, a.shape[i] as Dim)))
        shapes(`concat: ${showType(a)} and ${showType(t)} differ outside axis ${op.axis}`);
    }
    return [{ dtype: a.dtype, shape: a.shape.map((d, i) => (i === op.axis ? ins.map((t) => t.shape[i] as Dim).reduce(addDim) : d)) }];
  },
  reverse: (op, ins) => {
    arity(op, ins, 1);
    distinct(op, ins[0] as TensorType, op.axes);
    return [ins[0] as TensorType];
  },
  gather: (op, ins) => {
    arity(op, ins, 2);
    const [x, i] = ins as [TensorType, TensorType];
    axisOk(op, x, op.axis);
    if (i.dtype !== 'i32') dtypesDiffer(`gather: indices are ${showType(i)}, not i32`);
    return [{ dtype: x.dtype, shape: [...x.shape.slice(0, op.axis), ...i.shape, ...x.shape.slice(op.axis + 1)] }];
  },
  scatterAdd: (op, ins) => {
    arity(op, ins, 3);
    const [x, i, u] = ins as [TensorType, TensorType, TensorType];
    axisOk(op, x, op.axis);
    want(op, x, 'number');
    if (i.dtype !== 'i32') dtypesDiffer(`scatterAdd: indices are ${showType(i)}, not i32`);
    const expected = { dtype: x.dtype, shape: [...x.shape.slice(0, op.axis), ...i.shape, ...x.shape.slice(op.axis + 1)] };
    if (!eqType(u, expected)) shapes(`scatterAdd: updates are ${showType(u)}, expected ${showType(expected)}`);
    return [x];
  },
  dot: (op, ins) => {
    arity(op, ins, 2);
    const [a, b] = ins as [TensorType, TensorType];
    if (a.dtype !== b.dtype) dtypesDiffer(`dot: dtypes differ: ${showType(a)} and ${showType(b)}`);
    if (a.dtype === 'bool' || op.dtype === 'bool')
      dtypesDiffer(`dot: takes numbers and gives numbers, got ${showType(a)} and ${showType(b)} for a result of ${op.dtype}`);
    const pairs = (side: 0 | 1): readonly number[] => [...op.batch[side], ...op.contract[side]];
    distinct(op, a, pairs(0));
    distinct(op, b, pairs(1));
    const fit = op.batch[0].length === op.batch[1].length && pairs(0).length === pairs(1).length;
    if (!fit || !pairs(0).every((p, i) => eqDim(a.shape[p] as Dim, b.shape[pairs(1)[i] as number] as Dim)))
      shapes(
        `dot: ${showType(a)} and ${showType(b)} do not agree on batch [${op.batch[0]}][${op.batch[1]}], contract [${op.contract[0]}][${op.contract[1]}]`,
      );
    return [
      {
        dtype: op.dtype,
        shape: [...op.batch[0].map((i) => a.shape[i] as Dim), ...without(a.shape, pairs(0)), ...without(b.shape, pairs(1))],
      },
    ];
  },
  reduceSum: reduce('number'),
  reduceMax: reduce('number'),
  reduceMin: reduce('number'),
  argmax: (op, ins) => {
    arity(op, ins, 1);
    const x = ins[0] as TensorType;
    want(op, x, 'number');
    axisOk(op, x, op.axis);
    return [{ dtype: 'i32', shape: without(x.shape, [op.axis]) }];
  },
  cumsum: (op, ins) => {
    arity(op, ins, 1);
    const x = ins[0] as TensorType;
    want(op, x, 'number');
    axisOk(op, x, op.axis);
    return [x];
  },
  randomBits: (op, ins) => {
    arity(op, ins, 1);
    if (!eqType(ins[0] as TensorType, { dtype: 'u32', shape: [2] }))
      dtypesDiffer(`randomBits: the key is ${showType(ins[0] as TensorType)}, not u32[2]`);
    return [{ dtype: 'u32', shape: op.shape }];
  },
  call: (op, ins) => region(op, op.body, ins),
  scan: (op, ins) => {
    const fixed = op.carries + op.constants;
    const inner = ins.map((t, i) => {
      if (i < fixed) return t;
      if (t.shape.length === 0 || !eqDim(t.shape[0] as Dim, op.length))
        shapes(`scan: operand ${i} is ${showType(t)}, its first axis should be ${op.length}`);
      return { dtype: t.dtype, shape: t.shape.slice(1) };
    });
    const outs = region(op, op.body, inner);
    outs.slice(0, op.carries).forEach((t, i) => {
      if (!eqType(t, ins[i] as TensorType))
        shapes(`scan: carry ${i} enters as ${showType(ins[i] as TensorType)} and leaves as ${showType(t)}`);
    });
    return outs.map((t, i) => (i < op.carries ? t : { dtype: t.dtype, shape: [op.length, ...t.shape] }));
  },
  reshard: placed,
  axisIndex: () => [{ dtype: 'i32', shape: [] }],
  perShard: (op, ins) => {
    const shards = ins[0]?.shape[0] ?? shapes('perShard: the first operand has no axis of shards');
    const inner = ins.map((t, i) => {
      if (t.shape.length === 0 || !eqDim(t.shape[0] as Dim, shards))
        shapes(`perShard: operand ${i} is ${showType(t)}, its first axis should be the ${shards} shards`);
      return { dtype: t.dtype, shape: t.shape.slice(1) };
    });
    return region(op, op.body, inner).map((t) => ({ dtype: t.dtype, shape: [shards, ...t.shape] }));
  },
  collective: transfer,
  start: transfer,
  wait: (op, ins) => {
    if (ins.length === 0 || ins.length % 2 !== 0) shapes(`${op.prim}: takes the results of a start and its operands`);
    return ins.slice(0, ins.length / 2);
  },
};

/** Types of the results of `op` on operands of types `ins`. Throws FV0001 or FV0002. */
export const infer = (op: Op, ins: readonly TensorType[]): readonly TensorType[] => (rules[op.prim] as AnyRule)(op, ins);
