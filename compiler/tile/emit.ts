/**
 * The emission engine: what is the value of v at this index? Pointwise primitives ask their operands at the same index;
 * structure primitives change the index and ask; a value that lies in memory becomes a load. So every view is free, and
 * a fused kernel is what its outputs ask for. Answers are remembered by (value, index), so shared work stays shared.
 *
 *   y = add(transpose(x), broadcast(c));  at(y, [i, j])  ->  add(load x[j * n + i], load c[0])
 *
 * Answers have as many lanes as the index arithmetic, or 1 where the lanes cannot differ. f16 and bf16 values are held
 * as f32 that has been rounded: each operation rounds its result, so fusing never changes a bit.
 * Behind a guard (pad, concat) an index may be out of range: the load is masked, or made at 0 and thrown away.
 */
import { known } from '../graph/dim.ts';
import type { DType, Node, Op, OpOf, Prim, Value } from '../graph/types.ts';
import * as e from '../kernel/expr.ts';
import type { Expr, KBinary, KUnary } from '../kernel/types.ts';
import { type Affine, type Indices, linear, number, scale, shift, unlinear, within } from './affine.ts';
import { threefryBits } from './threefry.ts';

/** Buffers by the value that they hold. */
export interface Place {
  readonly name: string;
  readonly dtype: DType;
  readonly size: number;
}

export interface EmitOptions {
  readonly indices: Indices;
  /** The node that makes v, if it belongs to the group. */
  readonly maker: (v: Value) => Node | undefined;
  /** Where v lies in memory, if it is an input of the group. */
  readonly place: (v: Value) => Place | undefined;
  /** A value that the template has already computed: a finished reduction, a contraction's sum. */
  readonly given?: (v: Value, ix: readonly Affine[]) => Expr | undefined;
}

export interface Emitter {
  /** The value of v at `ix`, in the dtype that arithmetic is done in. */
  at(v: Value, ix: readonly Affine[], guard?: Expr): Expr;
  /** Vector loads whose lanes are not consecutive, so far. */
  readonly irregular: number;
}

export const shapeOf = (v: Value): readonly number[] => v.type.shape.map(known);
export const sizeOf = (v: Value): number => v.type.shape.reduce<number>((n, d) => n * known(d), 1);

type Held = 'f32' | 'i32' | 'u32' | 'bool';
/** The dtype that a value has between operations. */
export const held = (t: DType): Held => (t === 'f16' || t === 'bf16' ? 'f32' : t);
/** Rounds to a storage dtype, staying in f32. */
export const rounded = (x: Expr, t: DType): Expr => (t === 'f16' || t === 'bf16' ? e.cast(e.cast(x, t), 'f32') : x);
/** What is stored for a held value. */
export const stored = (x: Expr, t: DType): Expr => (x.k === 'cast' && x.x.dtype === t ? x.x : e.cast(x, t));

/** Everything a rule may ask for. `ix` is the index of the node's only output. */
interface Ask {
  readonly node: Node;
  readonly ix: readonly Affine[];
  readonly guard: Expr | undefined;
  readonly indices: Indices;
  /** Operand i at an index. */
  operand(i: number, ix: readonly Affine[], guard?: Expr): Expr;
}
type Rule<P extends Prim> = (op: OpOf<P>, ask: Ask) => Expr;

const out = (a: Ask): Value => a.node.outputs[0] as Value;
const input = (a: Ask, i: number): Value => a.node.inputs[i] as Value;
const same = (a: Ask, i: number): Expr => a.operand(i, a.ix, a.guard);
const unary =
  (op: KUnary): ((o: Op, a: Ask) => Expr) =>
  (_, a) =>
    rounded(e.unary(op, same(a, 0)), out(a).type.dtype);
const binary =
  (op: KBinary): ((o: Op, a: Ask) => Expr) =>
  (_, a) =>
    rounded(e.binary(op, same(a, 0), same(a, 1)), out(a).type.dtype);
/** Division and remainder. Lanes without an element hold 0, which no integer is divided by: there the divisor is 1. */
const divided =
  (op: 'div' | 'rem'): ((o: Op, a: Ask) => Expr) =>
  (_, a) => {
    const [x, y] = [same(a, 0), same(a, 1)];
    const { mask } = a.indices;
    const by = mask && y.dtype !== 'f32' && y.lanes > 1 ? e.select(mask, y, 1) : y;
    return rounded(e.binary(op, x, by), out(a).type.dtype);
  };
const alias = (_: Op, a: Ask): Expr => same(a, 0);
const both = (g: Expr | undefined, c: Expr): Expr => (g ? e.and(...widen(g, c)) : c);
const widen = (x: Expr, y: Expr): readonly [Expr, Expr] => {
  const lanes = Math.max(x.lanes, y.lanes);
  return [e.splat(x, lanes), e.splat(y, lanes)];
};
const isFalse = (x: Expr): boolean => e.isConst(x, 0);
const isTrue = (x: Expr): boolean => e.isConst(x, 1);
const notInside = (prim: Prim) => (): never => {
  throw new Error(`internal: ${prim} was asked for inside a kernel`);
};

/** Truncation that stops at the ends of the range and takes NaN to 0; the conversion of a machine does as it likes there. */
const toInteger = (x: Expr, to: 'i32' | 'u32'): Expr => {
  const [lo, end] = to === 'i32' ? [-(2 ** 31), 2 ** 31] : [0, 2 ** 32];
  // the largest f32 below `end`
  const inside = e.cast(e.min(e.max(x, lo), end * (1 - 2 ** -24)), to);
  return e.select(e.compare('eq', x, x), e.select(e.compare('ge', x, end), end - 1, inside), 0);
};
const convert = (x: Expr, from: DType, to: DType): Expr => {
  if (to === 'bool') return from === 'bool' ? x : e.compare('ne', x, 0);
  if (x.dtype === 'f32' && (to === 'i32' || to === 'u32')) return toInteger(x, to);
  return rounded(e.cast(x, held(to)), to);
};
/** An index as a number of type t. */
const indexValue = (i: Expr, t: DType): Expr => (t === 'u32' ? e.cast(i, 'u32') : rounded(e.cast(e.cast(i, 'i32'), held(t)), t));

const rules: { readonly [P in Prim]: Rule<P> } = {
  const: (op) => e.cast(e.constant(known(op.value), op.dtype), held(op.dtype)),
  array: notInside('array'),
  iota: (op, a) => indexValue(a.indices.expr(a.ix[op.axis] as Affine), op.dtype),
  neg: unary('neg'),
  exp: unary('exp'),
  log: unary('log'),
  sin: unary('sin'),
  cos: unary('cos'),
  tanh: unary('tanh'),
  sqrt: unary('sqrt'),
  rsqrt: unary('rsqrt'),
  erf: unary('erf'),
  abs: unary('abs'),
  sign: unary('sign'),
  floor: unary('floor'),
  not: unary('not'),
  cast: (op, a) => convert(same(a, 0), input(a, 0).type.dtype, op.dtype),
  stopGradient: alias,
  add: binary('add'),
  sub: binary('sub'),
  mul: binary('mul'),
  div: divided('div'),
  pow: binary('pow'),
  max: binary('max'),
  min: binary('min'),
  rem: divided('rem'),
  and: binary('and'),
  or: binary('or'),
  xor: binary('xor'),
  shiftLeft: binary('shiftLeft'),
  shiftRight: binary('shiftRight'),
  compare: (op, a) => e.compare(op.cmp, ...widen(same(a, 0), same(a, 1))),
  select: (_, a) => e.select(same(a, 0), ...widen(same(a, 1), same(a, 2))),
  broadcast: (op, a) => {
    const shape = shapeOf(input(a, 0));
    return a.operand(
      0,
      op.axes.map((to, i) => (shape[i] === 1 ? number(0) : (a.ix[to] as Affine))),
      a.guard,
    );
  },
  reshape: (_, a) => a.operand(0, unlinear(a.indices, linear(a.ix, shapeOf(out(a))), shapeOf(input(a, 0))), a.guard),
  transpose: (op, a) => {
    const ix: Affine[] = [];
    op.perm.forEach((from, i) => {
      ix[from] = a.ix[i] as Affine;
    });
    return a.operand(0, ix, a.guard);
  },
  slice: (op, a) =>
    a.operand(
      0,
      a.ix.map((x, i) => shift(x, known(op.start[i] as number))),
      a.guard,
    ),
  pad: (op, a) => {
    const shape = shapeOf(input(a, 0));
    let inside: Expr = e.bool(true);
    const ix = a.ix.map((x, i) => {
      const [low, n] = [known(op.low[i] as number), shape[i] as number];
      inside = both(inside, both(e.not(a.indices.below(x, low)), a.indices.below(x, low + n)));
      return within(shift(x, -low), 0, n - 1);
    });
    const filler = e.cast(e.constant(op.value, out(a).type.dtype), held(out(a).type.dtype));
    if (isFalse(inside) || shape.includes(0)) return filler;
    if (isTrue(inside)) return a.operand(0, ix, a.guard);
    return e.select(inside, a.operand(0, ix, both(a.guard, inside)), filler);
  },
  concat: (op, a) => {
    const x = a.ix[op.axis] as Affine;
    let end = known(out(a).type.shape[op.axis] as number);
    let result: Expr | undefined;
    // from the last operand to the first: whatever lies below an operand's start belongs to one further left
    for (let i = a.node.inputs.length - 1; i >= 0; i--) {
      const n = known(input(a, i).type.shape[op.axis] as number);
      const start = end - n;
      const inside = both(e.not(a.indices.below(x, start)), a.indices.below(x, end));
      end = start;
      if (n === 0 || isFalse(inside)) continue;
      const ix = a.ix.map((y, j) => (j === op.axis ? within(shift(y, -start), 0, n - 1) : y));
      if (isTrue(inside)) return a.operand(i, ix, a.guard);
      const part = a.operand(i, ix, both(a.guard, inside));
      result = result ? e.select(inside, ...widen(part, result)) : part;
    }
    // no operand: branches taken on two forms of one index contradict each other, and this code never runs
    return result ?? e.constant(0, held(out(a).type.dtype));
  },
  reverse: (op, a) => {
    const shape = shapeOf(out(a));
    return a.operand(
      0,
      a.ix.map((x, i) => (op.axes.includes(i) ? shift(scale(x, -1), (shape[i] as number) - 1) : x)),
      a.guard,
    );
  },
  gather: (op, a) => {
    const [x, list] = [input(a, 0), input(a, 1)];
    const rank = list.type.shape.length;
    const n = known(x.type.shape[op.axis] as number);
    const i = a.operand(1, a.ix.slice(op.axis, op.axis + rank), a.guard);
    const zero = e.constant(0, held(x.type.dtype));
    if (n === 0) return zero;
    const inside = e.and(e.compare('ge', i, 0), e.compare('lt', i, n));
    const where = a.indices.atom(e.cast(e.select(inside, i, 0), 'index'), 0, n - 1, 1, true);
    return e.select(inside, a.operand(0, [...a.ix.slice(0, op.axis), where, ...a.ix.slice(op.axis + rank)], a.guard), zero);
  },
  randomBits: (op, a) => {
    const counter = e.cast(a.indices.expr(linear(a.ix, op.shape.map(known))), 'u32');
    return threefryBits(a.operand(0, [number(0)]), a.operand(0, [number(1)]), counter);
  },
  scatterAdd: notInside('scatterAdd'),
  dot: notInside('dot'),
  reduceSum: notInside('reduceSum'),
  reduceMax: notInside('reduceMax'),
  reduceMin: notInside('reduceMin'),
  argmax: notInside('argmax'),
  cumsum: notInside('cumsum'),
  call: notInside('call'),
  scan: notInside('scan'),
  reshard: notInside('reshard'),
  axisIndex: notInside('axisIndex'),
  perShard: notInside('perShard'),
  collective: notInside('collective'),
  start: notInside('start'),
  wait: notInside('wait'),
};

export const emitter = (o: EmitOptions): Emitter => {
  const { indices } = o;
  const memo = new Map<Value, Map<string, Expr>>();
  const guards = new Map<Expr, number>();
  let irregular = 0;
  const guardKey = (g: Expr | undefined): string => {
    if (!g) return '';
    const n = guards.get(g) ?? guards.size;
    guards.set(g, n);
    return `?${n}`;
  };
  const load = (v: Value, p: Place, ix: readonly Affine[], guard: Expr | undefined): Expr => {
    const view = indices.view(linear(ix, shapeOf(v)));
    const lanes = view.kind === 'same' ? 1 : indices.lanes;
    if (view.kind === 'irregular') irregular++;
    const read = (): Expr => {
      const some = view.kind === 'same' ? undefined : indices.mask;
      if (some) return e.load(p, view.expr, lanes, guard ? e.and(e.splat(guard, lanes), some) : some);
      if (!guard) return e.load(p, view.expr, lanes);
      // a condition that is the same in all lanes: read something that exists, the result is thrown away
      if (guard.lanes === 1 && view.expr.lanes === 1 && p.size >= lanes) return e.load(p, e.select(guard, view.expr, 0), lanes);
      if (lanes === 1) return e.load(p, e.select(guard, e.splat(view.expr, guard.lanes), 0), guard.lanes);
      return e.load(p, view.expr, lanes, e.splat(guard, lanes));
    };
    const x = read();
    return e.cast(x, held(p.dtype));
  };
  const at: Emitter['at'] = (v, ix, guard) => {
    const key = ix.map((x) => x.key).join(',') + guardKey(guard);
    let answers = memo.get(v);
    if (!answers) {
      answers = new Map();
      memo.set(v, answers);
    }
    const old = answers.get(key);
    if (old) return old;
    const node = o.maker(v);
    const place = o.place(v);
    const answer =
      o.given?.(v, ix) ??
      (place
        ? load(v, place, ix, guard)
        : node
          ? (rules[node.op.prim] as (op: Op, a: Ask) => Expr)(node.op, {
              node,
              ix,
              guard,
              indices,
              operand: (i, to, g) => at(node.inputs[i] as Value, to, g),
            })
          : notMade(v));
    answers.set(key, answer);
    return answer;
  };
  return {
    at,
    get irregular() {
      return irregular;
    },
  };
};

const notMade = (v: Value): never => {
  throw new Error(`internal: %${v.id} is neither an input of its group nor made in it`);
};

/** Index vector of v at row-major position p. */
export const indexOf = (s: Indices, v: Value, p: Affine): readonly Affine[] => unlinear(s, p, shapeOf(v));
