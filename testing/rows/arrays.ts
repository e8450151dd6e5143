/** Rows of views, of what moves elements, and of reductions. */
import { known } from '../../compiler/graph/dim.ts';
import { isFloat, type Prim, type Value } from '../../compiler/graph/types.ts';
import { all, count, type Grow, number, type Row, rank, size, tensor } from './grow.ts';

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

/** Axes of more than one element. */
const proper = (v: Value): number[] => v.type.shape.flatMap((d, i) => (known(d) > 1 ? [i] : []));

/** A product of matrices: each side has an axis of its own, and what is summed is longer than 1. */
const product: Row = (g) => {
  const halves = g.pick(4) === 3;
  const matrix = (v: Value): boolean => (halves ? isFloat(v.type.dtype) : v.type.dtype === 'f32') && proper(v).length > 1;
  const made = (): Value =>
    g.b.one({ prim: 'array', data: Array.from({ length: 6 }, () => g.number('f32')), shape: [3, 2], dtype: 'f32' }, []);
  const x = g.where(matrix, made);
  const axis = proper(x)[g.pick(proper(x).length)] as number;
  const shared = (v: Value): number[] => proper(v).filter((i) => size(v, i) === size(x, axis));
  const y = g.where(
    (v) => matrix(v) && v.type.dtype === x.type.dtype && shared(v).length > 0,
    () => x,
  );
  const other = shared(y)[g.pick(shared(y).length)] as number;
  if (!g.fits([...x.type.shape.filter((_, i) => i !== axis), ...y.type.shape.filter((_, i) => i !== other)])) return [];
  const dtype = g.pick(2) === 1 ? 'f32' : x.type.dtype;
  const dot = g.b.one({ prim: 'dot', batch: [[], []], contract: [[axis], [other]], dtype }, [x, y]);
  return [[dot, g.boundOf(x) * g.boundOf(y) * size(x, axis)]];
};

export const arrays = {
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
    const products = g.pick(2) === 1 ? product(g) : [];
    if (products.length > 0) return products;
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
} satisfies { readonly [P in Prim]?: Row };
