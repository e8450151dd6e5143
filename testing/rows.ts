/**
 * How a step of a random program applies each primitive: one row a primitive, so that a new primitive without a row does not
 * compile. A row gives the new values with a bound on their size; an empty list means that nothing fits and the step is void.
 */
import type { Builder } from '../compiler/graph/builder.ts';
import { known } from '../compiler/graph/dim.ts';
import {
  type Compare,
  type DType,
  isFloat,
  type Op,
  type Placement,
  type Prim,
  type TensorType,
  type Value,
} from '../compiler/graph/types.ts';
import { composites, randoms } from './words.ts';

export interface Grow {
  readonly b: Builder;
  readonly pool: Value[];
  /** The next number of the recipe, below n. */
  pick(n: number): number;
  readonly dtypes: readonly DType[];
  readonly depth: number;
  /** Largest magnitude that v can have. */
  boundOf(v: Value): number;
  /** Notes the bound of v; gives tanh(v) where it is too large. */
  settle(v: Value, bound: number): Value;
  number(dtype: DType): number;
  /** A value whose dtype is of a kind. */
  any(kind: (d: DType) => boolean): Value;
  where(ok: (v: Value) => boolean, make: () => Value): Value;
  /** A value of type t. */
  like(t: TensorType): Value;
  /** Whether shapes are small enough to go on with. */
  fits(...shapes: TensorType['shape'][]): boolean;
  shape(): TensorType['shape'];
  sub(params: readonly { type: TensorType; bound: number }[]): Grow;
  param(type: TensorType, bound: number): Value;
  step(prims: readonly Prim[]): void;
}

type Row = (g: Grow) => readonly (readonly [Value, number])[];

const number = (d: DType): boolean => d !== 'bool';
const bits = (d: DType): boolean => d === 'bool' || d === 'u32' || d === 'i32';
const all = (): boolean => true;
const rank = (v: Value): number => v.type.shape.length;
const size = (v: Value, axis: number): number => known(v.type.shape[axis] ?? 1);
const count = (v: Value): number => v.type.shape.reduce<number>((n, d) => n * known(d), 1);

/** x * x + 1/2 with |x| <= 2: away from 0 and from overflow. */
const positive = (g: Grow, x: Value): Value => {
  const small = g.boundOf(x) <= 2 ? x : g.b.tanh(x);
  return g.b.add(g.b.mul(small, small), g.b.fill(0.5, x.type));
};
const small = (g: Grow, x: Value): Value => (g.boundOf(x) <= 3 ? x : g.b.tanh(x));

const unary =
  (f: (g: Grow, x: Value) => Value, kind: (d: DType) => boolean, bound: (b: number) => number): Row =>
  (g) => {
    const x = g.any(kind);
    return [[f(g, x), bound(g.boundOf(x))]];
  };
const binary =
  (f: (g: Grow, x: Value, y: Value) => Value, kind: (d: DType) => boolean, bound: (x: number, y: number) => number): Row =>
  (g) => {
    const old = g.any(kind);
    const other = g.like(old.type);
    // a constant stands on either side
    const [x, y] = g.pick(2) === 0 ? [old, other] : [other, old];
    return [[f(g, x, y), bound(g.boundOf(x), g.boundOf(y))]];
  };
/** A view of a value, every second time a view of a view. */
const view =
  (f: (g: Grow, x: Value) => Value | undefined): Row =>
  (g) => {
    const x = g.any(all);
    const once = f(g, x);
    const twice = once && g.pick(2) === 1 ? f(g, once) : undefined;
    const made = twice ?? once;
    return made ? [[made, g.boundOf(x)]] : [];
  };
/** A value with an axis; `make` one where there is none. */
const tensor = (g: Grow, ok: (v: Value) => boolean = () => true): Value =>
  g.where(
    (v) => rank(v) > 0 && ok(v),
    () => g.b.fill(1, { dtype: 'f32', shape: [3] }),
  );
const subset = (g: Grow, n: number): number[] => Array.from({ length: n }, (_, i) => i).filter(() => g.pick(2) === 0);
const reduction =
  (prim: 'reduceSum' | 'reduceMax' | 'reduceMin'): Row =>
  (g) => {
    const old = g.any(number);
    // a repeated axis makes elements equal
    const wide = [2, ...old.type.shape];
    const repeated = g.pick(4) === 3 && g.fits(wide);
    const x = repeated
      ? g.b.broadcast(
          old,
          wide,
          old.type.shape.map((_, i) => i + 1),
        )
      : old;
    const axes = repeated ? [0, ...subset(g, rank(old)).map((a) => a + 1)] : subset(g, rank(x));
    const n = axes.reduce((acc, a) => acc * size(x, a), 1);
    // the largest of no floats is -inf
    if (n === 0 && prim !== 'reduceSum' && isFloat(x.type.dtype)) return [];
    return [[g.b.one({ prim, axes }, [x]), g.boundOf(old) * (prim === 'reduceSum' ? n : 1)]];
  };
const indices = (g: Grow, n: number): Value => {
  const m = (g.pick(5) + 1) % 5;
  const made = (): Value =>
    g.b.one({ prim: 'array', data: Array.from({ length: m }, () => g.pick(n + 3) - 1), shape: [m], dtype: 'i32' }, []);
  const few = (v: Value): boolean => rank(v) <= 2 && count(v) <= 12;
  switch (g.pick(4)) {
    case 0:
    case 1:
      return made();
    case 2:
      return g.where((v) => v.type.dtype === 'i32' && few(v), made);
    // what depends on arguments is batched with them
    default:
      return g.b.cast(
        g.where((v) => isFloat(v.type.dtype) && few(v), made),
        'i32',
      );
  }
};
const inner: readonly Prim[] = [
  'add',
  'mul',
  'sin',
  'tanh',
  'sub',
  'neg',
  'max',
  'select',
  'compare',
  'reshape',
  'transpose',
  'reduceSum',
  'broadcast',
  'call',
  'cast',
  'exp',
  'dot',
];
type Argument = { readonly type: TensorType; readonly bound: number };
const of = (g: Grow, v: Value): Argument => ({ type: v.type, bound: g.boundOf(v) });
const grown = (g: Grow, args: readonly Argument[], steps: number): Grow => {
  const s = g.sub(args);
  for (let i = 0; i < steps; i++) s.step(s.depth < 3 ? inner : inner.filter((p) => p !== 'call'));
  return s;
};
const region =
  (op: (body: ReturnType<Builder['build']>, g: Grow) => Op): Row =>
  (g) => {
    if (g.depth >= 3) return [];
    const args = g.pick(2) === 0 ? [g.any(all)] : [g.any(all), g.any(all)];
    const s = grown(
      g,
      args.map((v) => of(g, v)),
      1 + g.pick(3),
    );
    const results = s.pool.slice(-1 - g.pick(2));
    const outs = g.b.emit(op(s.b.build(results), g), args);
    return outs.map((o, i) => [o, s.boundOf(results[i] as Value)]);
  };
const placements: readonly Placement[] = ['R', 'P', { split: 0 }, { split: 1 }];
const compares: readonly Compare[] = ['lt', 'eq', 'ne', 'le', 'gt', 'ge'];
/** Truth values have no order. */
const equalities: readonly Compare[] = ['eq', 'ne', 'eq', 'ne', 'eq', 'ne'];
const tags = ['softmax', 'checkpoint', 'odd "tag"', 'gelu'];

const ownCall = region((body, g) => ({ prim: 'call', tag: tags[g.pick(4)] as string, body }));

export const rows: { readonly [P in Prim]: Row } = {
  const: (g) => {
    const dtype = g.dtypes[g.pick(g.dtypes.length)] as DType;
    return [[g.b.constant(g.number(dtype), dtype), 4]];
  },
  array: (g) => {
    const dtype = g.dtypes[g.pick(g.dtypes.length)] as DType;
    const n = g.pick(4);
    return [[g.b.one({ prim: 'array', data: Array.from({ length: n }, () => g.number(dtype)), shape: [n], dtype }, []), 1]];
  },
  iota: (g) => {
    const shape = [...g.shape(), 3];
    const dtype = g.dtypes.filter(number)[g.pick(3)] ?? 'f32';
    return g.fits(shape) ? [[g.b.one({ prim: 'iota', shape, axis: g.pick(shape.length), dtype }, []), 5]] : [];
  },
  neg: unary(
    (g, x) => g.b.neg(x),
    number,
    (b) => b,
  ),
  exp: unary(
    (g, x) => g.b.exp(small(g, x)),
    isFloat,
    () => Math.exp(3),
  ),
  log: unary(
    (g, x) => g.b.log(positive(g, x)),
    isFloat,
    () => 2,
  ),
  sin: unary(
    (g, x) => g.b.sin(x),
    isFloat,
    () => 1,
  ),
  cos: unary(
    (g, x) => g.b.cos(x),
    isFloat,
    () => 1,
  ),
  tanh: unary(
    (g, x) => g.b.tanh(x),
    isFloat,
    () => 1,
  ),
  sqrt: unary(
    (g, x) => g.b.sqrt(positive(g, x)),
    isFloat,
    () => 3,
  ),
  rsqrt: unary(
    (g, x) => g.b.rsqrt(positive(g, x)),
    isFloat,
    () => 2,
  ),
  erf: unary(
    (g, x) => g.b.erf(x),
    isFloat,
    () => 1,
  ),
  abs: unary(
    (g, x) => g.b.abs(x),
    number,
    (b) => b,
  ),
  sign: unary(
    (g, x) => g.b.sign(x),
    number,
    () => 1,
  ),
  floor: unary(
    (g, x) => g.b.floor(x),
    isFloat,
    (b) => b + 1,
  ),
  not: unary(
    (g, x) => g.b.not(x),
    bits,
    () => 1,
  ),
  cast: (g) => {
    const x = g.any(all);
    const dtype = g.dtypes[g.pick(g.dtypes.length)] as DType;
    return [[g.b.one({ prim: 'cast', dtype }, [x]), g.boundOf(x)]];
  },
  stopGradient: unary(
    (g, x) => g.b.stopGradient(x),
    all,
    (b) => b,
  ),
  add: binary(
    (g, x, y) => g.b.add(x, y),
    number,
    (a, b) => a + b,
  ),
  sub: binary(
    (g, x, y) => g.b.sub(x, y),
    number,
    (a, b) => a + b,
  ),
  mul: binary(
    (g, x, y) => g.b.mul(x, y),
    number,
    (a, b) => a * b,
  ),
  div: binary(
    (g, x, y) => g.b.div(x, isFloat(y.type.dtype) ? positive(g, y) : g.b.or(y, g.b.fill(1, y.type))),
    number,
    (a) => 2 * a,
  ),
  pow: binary(
    (g, x, y) => g.b.pow(positive(g, x), g.pick(2) === 1 ? g.b.fill([2, -1, 1][g.pick(3)] as number, y.type) : small(g, y)),
    isFloat,
    () => 4.5 ** 3,
  ),
  max: binary((g, x, y) => g.b.max(x, y), number, Math.max),
  min: binary((g, x, y) => g.b.min(x, y), number, Math.max),
  rem: binary(
    (g, x, y) => g.b.rem(x, isFloat(y.type.dtype) ? positive(g, y) : g.b.or(y, g.b.fill(1, y.type))),
    number,
    (a) => a,
  ),
  and: binary(
    (g, x, y) => g.b.and(x, y),
    bits,
    () => 1,
  ),
  or: binary(
    (g, x, y) => g.b.or(x, y),
    bits,
    () => 1,
  ),
  xor: binary(
    (g, x, y) => g.b.xor(x, y),
    bits,
    () => 1,
  ),
  shiftLeft: binary(
    (g, x, y) => g.b.shiftLeft(x, y),
    (d) => d === 'u32',
    () => 1,
  ),
  shiftRight: binary(
    (g, x, y) => g.b.shiftRight(x, y),
    (d) => d === 'u32',
    () => 1,
  ),
  compare: binary(
    (g, x, y) => g.b.compare((x.type.dtype === 'bool' ? equalities : compares)[g.pick(6)] as Compare, x, y),
    all,
    () => 1,
  ),
  select: (g) => {
    const x = g.any(all);
    const y = g.like(x.type);
    return [[g.b.select(g.like({ dtype: 'bool', shape: x.type.shape }), x, y), Math.max(g.boundOf(x), g.boundOf(y))]];
  },
  broadcast: view((g, x) => {
    const at = g.pick(rank(x) + 1);
    const shape = x.type.shape.map((d) => (d === 1 ? 1 + g.pick(3) : d));
    const to = [...shape.slice(0, at), 1 + g.pick(3), ...shape.slice(at)];
    const axes = shape.map((_, i) => (i < at ? i : i + 1));
    return g.fits(to) ? g.b.broadcast(x, to, axes) : undefined;
  }),
  reshape: view((g, x) => {
    const s = x.type.shape.map(known);
    const shapes = [
      [count(x)],
      [1, ...s],
      [...s, 1],
      [...s].reverse(),
      s.length > 1 ? [(s[0] as number) * (s[1] as number), ...s.slice(2)] : s,
    ];
    const to = shapes[g.pick(shapes.length)] as number[];
    return g.fits(to) ? g.b.reshape(x, to) : undefined;
  }),
  transpose: view((g, x) => {
    const left = x.type.shape.map((_, i) => i);
    const perm = x.type.shape.map(() => left.splice(g.pick(left.length), 1)[0] as number);
    return g.b.transpose(x, perm);
  }),
  slice: view((g, x) => {
    const start = x.type.shape.map((d) => g.pick(known(d)));
    // seldom empty
    const limit = x.type.shape.map((d, i) => {
      const from = start[i] as number;
      return d === 0 || g.pick(12) === 11 ? from : from + 1 + g.pick(known(d) - from);
    });
    return g.b.slice(x, start, limit);
  }),
  pad: (g) => {
    const x = g.any(all);
    const [low, high] = [x.type.shape.map(() => g.pick(3)), x.type.shape.map(() => g.pick(2))];
    const to = x.type.shape.map((d, i) => known(d) + (low[i] as number) + (high[i] as number));
    return g.fits(to) ? [[g.b.pad(x, low, high, g.number(x.type.dtype)), Math.max(1, g.boundOf(x))]] : [];
  },
  concat: (g) => {
    const x = tensor(g);
    const xs = [x, ...Array.from({ length: g.pick(3) }, () => g.like(x.type))];
    const axis = g.pick(rank(x));
    if (!g.fits([count(x) * xs.length])) return [];
    return [[g.b.concat(xs, axis), Math.max(...xs.map(g.boundOf))]];
  },
  reverse: (g) => {
    const x = g.any(all);
    return [[g.b.one({ prim: 'reverse', axes: subset(g, rank(x)) }, [x]), g.boundOf(x)]];
  },
  gather: (g) => {
    const x = tensor(g);
    const axis = g.pick(rank(x));
    const i = indices(g, size(x, axis));
    if (!g.fits([...x.type.shape.slice(0, axis), ...i.type.shape, ...x.type.shape.slice(axis + 1)])) return [];
    return [[g.b.gather(x, i, axis), g.boundOf(x)]];
  },
  scatterAdd: (g) => {
    const x = tensor(g, (v) => number(v.type.dtype));
    const axis = g.pick(rank(x));
    const i = indices(g, size(x, axis));
    const shape = [...x.type.shape.slice(0, axis), ...i.type.shape, ...x.type.shape.slice(axis + 1)];
    if (!g.fits(shape)) return [];
    // rows of x are of the type of updates
    const u = g.pick(2) === 0 ? g.like({ dtype: x.type.dtype, shape }) : g.settle(g.b.gather(x, i, axis), g.boundOf(x));
    return [[g.b.scatterAdd(x, i, u, axis), g.boundOf(x) + g.boundOf(u) * count(i)]];
  },
  dot: (g) => {
    const x = g.any(number);
    const other = g.where(
      (v) => v.type.dtype === x.type.dtype,
      () => x,
    );
    // with x turned by one axis all axes have a partner, somewhere else
    const turned = x.type.shape.map((_, i) => (i + 1) % rank(x));
    const y = g.pick(4) === 3 ? g.b.transpose(x, turned) : other;
    const sides = { batch: [[], []] as [number[], number[]], contract: [[], []] as [number[], number[]] };
    const free = y.type.shape.map((_, i) => i);
    x.type.shape.forEach((d, i) => {
      const j = free.find((k) => y.type.shape[k] === d);
      const how = g.pick(4);
      if (j === undefined || how === 3) return;
      free.splice(free.indexOf(j), 1);
      const side = how === 2 ? sides.batch : sides.contract;
      side[0].push(i);
      side[1].push(j);
    });
    const left = x.type.shape.filter((_, i) => !sides.contract[0].includes(i));
    const depth = sides.contract[0].reduce((n, a) => n * size(x, a), 1);
    if (!g.fits([...left, ...free.map((k) => y.type.shape[k] as number)])) return [];
    // halves may add up to a float of full width
    const dtype = isFloat(x.type.dtype) && g.pick(2) === 1 ? 'f32' : x.type.dtype;
    return [[g.b.one({ prim: 'dot', ...sides, dtype }, [x, y]), g.boundOf(x) * g.boundOf(y) * depth]];
  },
  reduceSum: reduction('reduceSum'),
  reduceMax: reduction('reduceMax'),
  reduceMin: reduction('reduceMin'),
  argmax: (g) => {
    const x = tensor(g, (v) => number(v.type.dtype));
    const axis = g.pick(rank(x));
    return size(x, axis) === 0 ? [] : [[g.b.one({ prim: 'argmax', axis }, [x]), 128]];
  },
  cumsum: (g) => {
    const x = tensor(g, (v) => number(v.type.dtype));
    const axis = g.pick(rank(x));
    return [[g.b.one({ prim: 'cumsum', axis }, [x]), g.boundOf(x) * size(x, axis)]];
  },
  randomBits: (g) => {
    if (g.depth === 0 && g.pick(2) === 1) return (randoms[g.pick(randoms.length)] as Row)(g);
    const key = g.where(
      (v) => v.type.dtype === 'u32' && rank(v) === 1 && size(v, 0) === 2,
      () => g.b.one({ prim: 'array', data: [g.pick(9), g.pick(9)], shape: [2], dtype: 'u32' }, []),
    );
    const shape = g.shape();
    return g.fits(shape) ? [[g.b.one({ prim: 'randomBits', shape }, [key]), 1]] : [];
  },
  // at the top level, every second call is one of the language's own composites
  call: (g) => (g.depth === 0 && g.pick(2) === 1 ? (composites[g.pick(composites.length)] as Row)(g) : ownCall(g)),
  scan: (g) => {
    if (g.depth >= 2) return [];
    // mostly a tensor as it is, so that its slices differ and their order matters
    const made = (): Value => g.settle(g.b.one({ prim: 'array', data: [1, -0.5, 0.25], shape: [3], dtype: 'f32' }, []), 1);
    const x = g.where((v) => rank(v) > 0 && size(v, 0) <= 3, made);
    const length = size(x, 0);
    const [carry, constant] = [g.any(all), g.any(all)];
    const slice = { type: { dtype: x.type.dtype, shape: x.type.shape.slice(1) }, bound: g.boundOf(x) };
    const s = grown(g, [of(g, carry), of(g, constant), slice], 1 + g.pick(3));
    const y = s.pool[s.pool.length - 1] as Value;
    const next = s.where(
      (v) => v.type.dtype === carry.type.dtype && `${v.type.shape}` === `${carry.type.shape}`,
      () => s.pool[0] as Value,
    );
    const b = s.b;
    const inner = s.pool[2] as Value;
    /** Half of the old carry and a number from the slice: the order of steps matters. */
    const mixed = (): Value => {
      const wide = b.cast(inner, 'f32');
      const total = b.sum(
        wide,
        wide.type.shape.map((_, i) => i),
      );
      const term = b.cast(total, next.type.dtype);
      const { shape } = next.type;
      return b.add(b.mul(next, b.fill(0.5, next.type)), shape.length === 0 ? term : b.broadcast(term, shape, []));
    };
    const float = isFloat(next.type.dtype);
    const mixes = float && g.pick(2) === 1;
    // the bound of a carry must hold for every step
    const bounded =
      !mixes && s.boundOf(next) <= g.boundOf(carry)
        ? next
        : float
          ? b.mul(b.tanh(mixes ? mixed() : next), b.fill(Math.min(1, g.boundOf(carry)), next.type))
          : next;
    if (!g.fits([length, ...y.type.shape])) return [];
    const op: Op = { prim: 'scan', length, carries: 1, constants: 1, reverse: g.pick(2) === 1, body: b.build([bounded, y]) };
    const outs = g.b.emit(op, [carry, constant, x]);
    return [
      [outs[0] as Value, Math.max(1, g.boundOf(carry))],
      [outs[1] as Value, s.boundOf(y)],
    ];
  },
  reshard: (g) => {
    const x = g.any(all);
    const [from, to] = [placements[g.pick(4)] as Placement, placements[g.pick(4)] as Placement];
    return [[g.b.one({ prim: 'reshard', axis: 'data', from, to }, [x]), g.boundOf(x)]];
  },
  axisIndex: (g) => [[g.b.one({ prim: 'axisIndex', axis: 'data' }, []), 1]],
  perShard: region((body) => ({ prim: 'perShard', axis: 'data', body })),
};
