/**
 * Random well-typed programs: graphs over all primitives, composites, random keys and transforms, and arguments for them.
 *
 * fast-check draws a recipe: a list of steps, each a list of numbers; `grow` reads it and always makes a legal graph, by
 * choosing among what exists modulo how much there is. So every sub-recipe is legal too, and a failing program shrinks by
 * losing steps and its transform. Float values are kept moderate: operands of log, sqrt, div, ... are moved away from the singularity, and what
 * may exceed 100 goes through tanh, so results are finite, which a law can compare. NaN and infinities have tests by hand.
 *
 *   fc.property(arbitraryProgram(), ({ graph, inputs }) => same(interpret(graph, inputs), interpret(pass(graph), inputs)))
 */
import fc from 'fast-check';
import { builder } from '../compiler/graph/builder.ts';
import { known } from '../compiler/graph/dim.ts';
import { eqType } from '../compiler/graph/infer.ts';
import { countOf, type Tensor64, tensor64 } from '../compiler/graph/tensor64.ts';
import { type DType, type Graph, isFloat, type Prim, type TensorType, type Value } from '../compiler/graph/types.ts';
import { printProgram } from './program-text.ts';
import type { Grow } from './rows/grow.ts';
import { rows } from './rows/index.ts';
import { differentiable, gradGraph, jvpGraph, vmapGraph } from './transforms.ts';

export interface ArbitraryOptions {
  /** Primitives of the steps; const, broadcast, add, mul, tanh, cast and array may occur besides, as helpers. Default: all. */
  readonly prims?: ReadonlySet<Prim>;
  /** Float parameters are f32, there is at least one, and all results are f32. */
  readonly differentiable?: boolean;
  /** Steps of the recipe; a step makes a few nodes at most. Default 12. */
  readonly maxNodes?: number;
  /** Types of parameters and casts. Default: all six, only f32, i32, u32 and bool where differentiable. */
  readonly dtypes?: readonly DType[];
  /** Sizes of axes to choose from. Default: 0 to 5, small ones more often; in every third program also one of 16, 17, 33 and 70. */
  readonly sizes?: readonly number[];
  /** Half of the programs are the jvp, the gradient, the batch or two of these of another. Default: false. */
  readonly transforms?: boolean;
}

/** A graph whose sizes are numbers, and an argument for each parameter. */
export interface Program {
  readonly graph: Graph;
  readonly inputs: readonly Tensor64[];
}

/** All but those that shard alone makes. */
export const allPrims: ReadonlySet<Prim> = new Set(
  (Object.keys(rows) as Prim[]).filter((p) => p !== 'collective' && p !== 'start' && p !== 'wait'),
);
/** Primitives whose float results depend smoothly on float operands: the ones that finite differences can check. */
export const smoothPrims: ReadonlySet<Prim> = new Set(
  [...allPrims].filter(
    (p) =>
      !['abs', 'sign', 'floor', 'max', 'min', 'rem', 'compare', 'reduceMax', 'reduceMin', 'argmax', 'cast', 'stopGradient'].includes(p),
  ),
);

const width = 14;
/** Elements of a value: one axis longer than a vector and a short one. */
const most = 192;

/** Drawn three times as often as others: much of the compiler is about contractions. */
const often: readonly Prim[] = ['dot', 'dot'];

/** Reads numbers of one step; an exhausted step reads zeros. */
const reader = (step: readonly number[]): ((n: number) => number) => {
  let i = 0;
  return (n) => (n <= 1 ? 0 : (step[i++ % width] ?? 0) % n);
};

const common = [2, 3, 1, 2, 4, 3, 2, 5, 1, 2, 3, 0];
/** As long as a vector of 16 lanes, with a lane left over, two and four of them with a rest. */
const long = [16, 17, 33, 70];
/** Sizes of the program whose last number is n: few have long axes, and one length each, so that interpreting them stays cheap. */
const sizesOf = (n: number): readonly number[] => {
  const size = long[Math.floor(n / 3) % long.length] as number;
  return n % 3 === 2 ? common.map((d, i) => (i % 4 === 0 ? size : d)) : common;
};

const typeFrom = (pick: (n: number) => number, dtypes: readonly DType[], sizes: readonly number[]): TensorType => {
  const dtype = dtypes[pick(dtypes.length)] as DType;
  const shape: number[] = [];
  const rank = [1, 2, 3, 0][pick(4)] as number;
  for (let n = 1; shape.length < rank; n *= shape.at(-1) as number) {
    const d = sizes[pick(sizes.length)] as number;
    shape.push(n * d <= most ? d : 1 + (d % 2));
  }
  return { dtype, shape };
};

/** A state of growth over `params`; call, scan and perShard grow a region with one of their own. */
const state = (
  params: readonly { type: TensorType; bound: number }[],
  pickOf: () => (n: number) => number,
  dtypes: readonly DType[],
  sizes: readonly number[],
  depth: number,
): Grow => {
  const b = builder();
  const pool: Value[] = [];
  const bounds = new Map<Value, number>();
  const pick = (n: number): number => pickOf()(n);
  const boundOf = (v: Value): number => bounds.get(v) ?? 2 ** 32;
  const settle = (v: Value, bound: number): Value => {
    const float = isFloat(v.type.dtype);
    const [out, limit] = float && !(bound <= 100) ? [b.tanh(v), 1] : [v, float ? bound : v.type.dtype === 'bool' ? 1 : 2 ** 32];
    bounds.set(out, limit);
    return out;
  };
  const any = (ok: (v: Value) => boolean, make: () => Value): Value => {
    const found = pool.filter(ok);
    // the newest first, so that programs are deep and shrinking to 0 keeps them connected
    return found.length > 0 ? (found[found.length - 1 - pick(found.length)] as Value) : make();
  };
  const number = (dtype: DType): number => {
    const k = pick(9);
    return dtype === 'bool' ? k % 2 : dtype === 'u32' ? k : isFloat(dtype) ? (k - 4) / 4 : k - 4;
  };
  const fill = (t: TensorType): Value => settle(b.fill(number(t.dtype), t), 1);
  const g: Grow = {
    b,
    pool,
    pick,
    boundOf,
    settle,
    number,
    dtypes,
    depth,
    any: (kind) =>
      any(
        (v) => kind(v.type.dtype),
        () => fill({ dtype: (dtypes.find(kind) ?? (['f32', 'i32', 'u32', 'bool'] as const).find(kind)) as DType, shape: [2] }),
      ),
    where: (ok, make) => any(ok, make),
    like: (t) =>
      pick(4) === 3
        ? fill(t)
        : any(
            (v) => eqType(v.type, t),
            () => fill(t),
          ),
    fits: (...shapes) => shapes.every((s) => s.reduce<number>((n, d) => n * known(d), 1) <= most && s.length <= 4),
    shape: () => typeFrom(pick, dtypes, sizes).shape,
    sub: (inner) => state(inner, pickOf, dtypes, sizes, depth + 1),
    param: (type, bound) => {
      const v = b.param(type, depth === 0 ? `x${pool.length}` : undefined);
      bounds.set(v, bound);
      pool.push(v);
      return v;
    },
    step: (prims) => {
      const [prim, out] = [prims[pick(prims.length)] as Prim, [] as Value[]];
      for (const [v, bound] of rows[prim](g)) out.push(settle(v, bound));
      pool.push(...out);
    },
  };
  for (const p of params) g.param(p.type, p.bound);
  return g;
};

const grow = (recipe: { readonly inputs: number[][]; readonly steps: number[][]; readonly tail: number[] }, o: ArbitraryOptions): Graph => {
  const dtypes: readonly DType[] =
    o.dtypes ?? (o.differentiable ? ['f32', 'i32', 'u32', 'bool'] : ['f32', 'i32', 'f32', 'u32', 'f32', 'bool', 'bf16', 'f16']);
  const { sizes = sizesOf(recipe.tail[width - 1] as number) } = o;
  const wanted = o.prims ?? allPrims;
  const prims = [...allPrims, ...often].filter((p) => wanted.has(p));
  let pick = reader([]);
  const g = state([], () => pick, dtypes, sizes, 0);
  recipe.inputs.forEach((numbers, i) => {
    pick = reader(numbers);
    const t = typeFrom(pick, dtypes, sizes);
    // every second u32 argument is a random key
    if (t.dtype === 'u32' && (i > 0 || !o.differentiable) && ((numbers[width - 1] as number) & 1) === 1)
      g.param({ dtype: 'u32', shape: [2] }, 2);
    else g.param(o.differentiable && i === 0 ? { ...t, dtype: 'f32' } : t, 2);
  });
  for (const numbers of recipe.steps) {
    pick = reader(numbers);
    g.step(prims);
  }
  pick = reader(recipe.tail);
  const fit = o.differentiable ? g.pool.filter((v) => v.type.dtype === 'f32') : g.pool;
  const results = [fit[fit.length - 1] as Value, ...Array.from({ length: pick(3) }, () => fit[pick(fit.length)] as Value)];
  return g.b.build(results);
};

/** Well-typed graphs that verify; they differ in types, shapes (sizes 0 and 1 among them), primitives and regions. */
export const arbitraryGraph = (opts: ArbitraryOptions = {}): fc.Arbitrary<Graph> => {
  const step = fc.array(fc.nat(0xffff), { minLength: width, maxLength: width });
  return fc
    .record({
      inputs: fc.array(step, { minLength: 1, maxLength: 3 }),
      steps: fc.array(step, { minLength: 1, maxLength: opts.maxNodes ?? 12, size: 'max' }),
      tail: step,
    })
    .map((recipe) => grow(recipe, opts));
};

/** Arguments for g: floats within 2 of 0, small signed integers (also as indices out of range), any 32-bit word, bools. */
export const arbitraryInputs = (g: Graph): fc.Arbitrary<Tensor64[]> => {
  const element = (d: DType): fc.Arbitrary<number> => {
    if (isFloat(d)) return fc.integer({ min: -2_000_000, max: 2_000_000 }).map((k) => k / 1e6);
    return d === 'i32' ? fc.integer({ min: -3, max: 5 }) : d === 'u32' ? fc.integer({ min: 0, max: 0xffffffff }) : fc.nat(1);
  };
  const tensor = (t: TensorType): fc.Arbitrary<Tensor64> => {
    const n = countOf(t);
    return fc.array(element(t.dtype), { minLength: n, maxLength: n }).map((xs) => tensor64(t, xs));
  };
  return fc.tuple(...g.params.map((p) => tensor(p.type)));
};

/** What may be done to a graph before it is a program; where there is nothing to differentiate, gradients leave it as it is. */
const smooth =
  (f: (g: Graph) => Graph) =>
  (g: Graph): Graph =>
    differentiable(g) ? f(g) : g;
const batch = (g: Graph): Graph =>
  vmapGraph(
    g,
    g.params.map((_, i) => i % 2 === 0),
    2,
  ).graph;
const grad = smooth(gradGraph);
const same = (g: Graph): Graph => g;
/** Names and order: what shrinks goes towards the first. */
export const transforms: readonly (readonly [name: string, apply: (g: Graph) => Graph])[] = [
  ['none', same],
  ['none', same],
  ['none', same],
  ['none', same],
  ['none', same],
  ['grad', grad],
  ['jvp', smooth(jvpGraph)],
  ['vmap', batch],
  ['vmap of grad', (g) => batch(grad(g))],
  ['grad of grad', (g) => grad(grad(g))],
];

/** The program as fast-check is to print it in the report of a property that does not hold. */
const readable = (p: Program): Program => Object.defineProperty({ ...p }, fc.toStringMethod, { value: () => `\n${printProgram(p)}` });

/** A graph together with arguments for it; in a report of fast-check it stands as IR that `parseProgram` reads. */
export const arbitraryProgram = (opts: ArbitraryOptions = {}): fc.Arbitrary<Program> => {
  const { transforms: wanted = false } = opts;
  const graphs = arbitraryGraph(opts);
  const chosen = wanted
    ? fc.tuple(graphs, fc.nat(transforms.length - 1)).map(([g, t]) => (transforms[t] as (typeof transforms)[number])[1](g))
    : graphs;
  return chosen.chain((graph) => arbitraryInputs(graph).map((inputs) => readable({ graph, inputs })));
};
