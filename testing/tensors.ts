/**
 * Tensors and sizes for properties: fast-check arbitraries of host tensors, and of sizes that satisfy signatures.
 *
 *   fc.property(arbitraryShape('B N D').chain(({ shape }) => arbitraryTensor(shape, { min: -1, max: 1 })), (x) => ...)
 *   fc.property(arbitraryShapes(['B N', 'N D']), ({ shapes: [a, b] }) => ...)          b[0] is a[1]
 *
 * Sizes are 0 to 4 unless given, so that properties meet the empty axis and the axis of one element early: that is where
 * broadcasting, reductions and division by a count break. Values shrink to 0, sizes to the smallest.
 */
import fc from 'fast-check';
import { FoveaError } from '../compiler/error.ts';
import { bindDim, type Dim, dimNames, known, parseDim } from '../compiler/graph/dim.ts';
import { type DType, type HostTensor, host, type TensorSpec } from '../dsl/index.ts';
import { numbers } from './numbers.ts';

export type Sizes = Readonly<Record<string, number>>;

const wordsOf = (signature: string): string[] => (signature.split(':')[0] as string).split(/\s+/).filter(Boolean);
const dimOf = (word: string): Dim => {
  try {
    return parseDim(word);
  } catch {
    throw new FoveaError('FV0003', `'${word}' is not a size`, {
      hint: "A size is a number, a name, or an expression such as 'N+1', '3*D', 'D/H'.",
    });
  }
};
/** The sizes of one word; `...` stands for axes with sizes of their own, `_axis0`, `_axis1`. */
const dimsOf = (word: string, dots: number): Dim[] =>
  word === '...' ? Array.from({ length: dots }, (_, i) => dimOf(`_axis${i}`)) : [dimOf(word)];

/** Names of the sizes of signatures, in the order in which they occur. `N+1` has the name N, `D/H` both. FV0003 for what is no size. */
const sizeNames = (signatures: readonly string[], dots: number): string[] => [
  ...new Set(
    signatures.flatMap((s) =>
      wordsOf(s)
        .flatMap((w) => dimsOf(w, dots))
        .flatMap(dimNames),
    ),
  ),
];

/** The shape of a signature for these sizes; undefined where one of its sizes is no whole number from 0 on (`D/H`, `N-1`). */
const shapeFor = (signature: string, sizes: Sizes, dots: number): number[] | undefined => {
  const env = new Map(Object.entries(sizes));
  const shape = wordsOf(signature)
    .flatMap((w) => dimsOf(w, dots))
    .map((d) => bindDim(d, env));
  return shape.every((d) => Number.isInteger(d) && (d as number) >= 0) ? shape.map(known) : undefined;
};

export interface ShapeOptions {
  /** Sizes that are fixed, or the smallest and largest of a name; 0 to 4 for all others. */
  readonly sizes?: Readonly<Record<string, number | readonly [min: number, max: number]>>;
  /** Axes that `...` may stand for, the same everywhere: at most 2. */
  readonly dots?: number;
}
export interface Shapes {
  readonly dims: Sizes;
  /** For each signature. */
  readonly shapes: readonly (readonly number[])[];
}

/** Draws of sizes after which it is held that none fit. */
const patience = 10_000;
/** FV0005 where no sizes fit, which fast-check would look for without end. */
const fitting = (signatures: readonly string[], range: (name: string) => readonly [number, number], rank: number): void => {
  const next = numbers(0);
  const between = ([min, max]: readonly [number, number]): number => min + Math.floor((max - min + 1) * next());
  const names = sizeNames(signatures, rank);
  for (let i = 0; i < patience; i++) {
    const dims = Object.fromEntries(names.map((n) => [n, between(range(n))]));
    if (signatures.every((s) => shapeFor(s, dims, rank))) return;
  }
  const sizes = names.map((n) => `${n} from ${range(n).join(' to ')}`).join(', ');
  throw new FoveaError('FV0005', `no sizes fit [${signatures.join('], [')}]${sizes && ` with ${sizes}`}`, {
    hint: `Give other sizes, as in { sizes: { ${names[0] ?? 'N'}: [1, 8] } }.`,
  });
};

/**
 * Shapes that satisfy several signatures at once: a name has one size in all of them. FV0003 for what is no size, FV0005 where no sizes
 * fit or one is given that no signature has.
 */
export const arbitraryShapes = (signatures: readonly string[], { sizes = {}, dots = 2 }: ShapeOptions = {}): fc.Arbitrary<Shapes> => {
  const range = (name: string): readonly [number, number] => {
    const given = sizes[name] ?? [0, 4];
    return typeof given === 'number' ? [given, given] : given;
  };
  const size = (name: string): fc.Arbitrary<number> => fc.integer({ min: range(name)[0], max: range(name)[1] });
  // what cannot be is refused now, not when values are drawn
  const names = sizeNames(signatures, dots);
  const extra = Object.keys(sizes).find((n) => !names.includes(n));
  if (extra !== undefined)
    throw new FoveaError('FV0005', `[${signatures.join('], [')}] has no size ${extra}`, {
      hint: names.length > 0 ? `Its sizes are ${names.join(', ')}.` : 'All sizes are fixed.',
    });
  fitting(signatures, range, dots);
  const ranks = signatures.some((s) => wordsOf(s).includes('...')) ? fc.integer({ min: 0, max: dots }) : fc.constant(0);
  return ranks.chain((rank) =>
    fc
      .record(Object.fromEntries(sizeNames(signatures, rank).map((n) => [n, size(n)])))
      .map((dims) => ({ dims, shapes: signatures.map((s) => shapeFor(s, dims, rank)) }))
      .filter((c): c is { dims: Record<string, number>; shapes: number[][] } => c.shapes.every((s) => s !== undefined)),
  );
};

/** A shape, with the sizes of its names, that satisfies a signature such as 'B N D', '3*D D', 'B N+1' or '... D'. */
export const arbitraryShape = (
  signature: string,
  options: ShapeOptions = {},
): fc.Arbitrary<{ readonly dims: Sizes; readonly shape: readonly number[] }> =>
  arbitraryShapes([signature], options).map(({ dims, shapes }) => ({ dims, shape: shapes[0] as readonly number[] }));

export interface TensorOptions {
  /** Range of the values; -2 to 2 unless given, for whole numbers 0 to 3, for words (u32) all. */
  readonly min?: number;
  readonly max?: number;
  /** Of a shape, f32 unless given; a spec has its own. */
  readonly dtype?: 'f32' | 'i32' | 'u32' | 'bool';
  /** Sizes of the names of a spec. */
  readonly dims?: Sizes;
}

const numbersOf = (dtype: DType, { min, max }: TensorOptions): fc.Arbitrary<number> => {
  if (dtype === 'bool') return fc.nat(1);
  if (dtype === 'i32') return fc.integer({ min: min ?? 0, max: max ?? 3 });
  if (dtype === 'u32') return fc.integer({ min: min ?? 0, max: max ?? 2 ** 32 - 1 });
  return fc.float({ min: Math.fround(min ?? -2), max: Math.fround(max ?? 2), noNaN: true, noDefaultInfinity: true });
};

/** A host tensor of a shape, or of a spec with `dims` for its names. FV0005 for a size without a number, FV0002 for 16-bit floats. */
export const arbitraryTensor = (of: readonly number[] | TensorSpec, options: TensorOptions = {}): fc.Arbitrary<HostTensor> => {
  const isSpec = 'kind' in of;
  const dtype = isSpec ? of.dtype : (options.dtype ?? 'f32');
  if (dtype === 'f16' || dtype === 'bf16')
    throw new FoveaError('FV0002', `arbitraryTensor: ${dtype} tensors are given by their bits`, {
      hint: 'Draw f32 and cast in the function.',
    });
  const env = new Map(Object.entries(options.dims ?? {}));
  const shape = (isSpec ? of.dims : of).map((d) => {
    const n = bindDim(d, env);
    if (typeof n === 'number') return n;
    throw new FoveaError('FV0005', `arbitraryTensor: the size ${n} is not known`, { hint: `Give it: { dims: { ${dimNames(n)[0]}: 2 } }.` });
  });
  const count = shape.reduce((a, b) => a * b, 1);
  return fc.array(numbersOf(dtype, options), { minLength: count, maxLength: count }).map((xs) => host(xs, shape, dtype));
};
