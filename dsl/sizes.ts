/**
 * Named sizes. A dim argument of a module is a number or a `Size`: a word for the types and a number, or a symbol, for the trace.
 *
 *   const D = size('D', config.dim);        // Size<'D'>: 'D' in every type, config.dim in every trace
 *   linear(D, times(3, D));                 // weight: Tensor<'3*D D'>
 *   over(D, 6), plus(D, 1)                  // Size<'D/6'>, Size<'D+1'>
 */
import { addDim, type Dim, divDim, mulDim, subDim, sym } from '../compiler/graph/dim.ts';
import { bound, fail } from './context.ts';
import type { WordOf } from './types/rearrange.ts';
import type { AddW, DivW, MulW, SubW } from './types/words.ts';

export interface Size<out S extends string = string> {
  readonly word: S;
  readonly size: Dim;
}
export type DimArg = number | Size;

const isSize = (z: unknown): z is Size => typeof z === 'object' && z !== null && 'word' in z && 'size' in z;
/** FV0005 for what is no size; `of` says whose it is. */
export const dimValue = (z: DimArg, of = ''): Dim => {
  // untyped callers and the command line may give anything
  if (typeof z !== 'number' && !isSize(z))
    return fail(
      'FV0005',
      `${of}${typeof z === 'string' ? `'${z}'` : String(z)} is not a size`,
      typeof z === 'string' ? `A size with a name is size('${z}').` : 'Sizes are numbers or size(...).',
    );
  const d = typeof z === 'number' ? z : bound(z.size);
  return typeof d === 'number' && !(Number.isInteger(d) && d >= 0)
    ? fail('FV0005', `${of}${d} is not a size`, 'Sizes are whole numbers, 0 or more.')
    : d;
};
const word = (z: DimArg): string => (typeof z === 'number' ? String(z) : z.word);
const made = (text: string, size: Dim): Size<never> => ({
  word: (typeof size === 'number' && /^\d+$/.test(text) ? String(size) : text) as never,
  size,
});

/** A name for the types; the number for the trace, or a symbol that is bound when the program is compiled. */
export const size = <const N extends string>(name: N, n?: number): Size<N> => ({
  word: name,
  size: n === undefined ? sym(name) : dimValue(n),
});
export const times = <const A extends DimArg, const B extends DimArg>(a: A, b: B): Size<MulW<WordOf<A>, WordOf<B>>> =>
  made(`${word(a)}*${word(b)}`, mulDim(dimValue(a), dimValue(b)));
export const plus = <const A extends DimArg, const B extends DimArg>(a: A, b: B): Size<AddW<WordOf<A>, WordOf<B>>> =>
  made(`${word(a)}+${word(b)}`, addDim(dimValue(a), dimValue(b)));
export const minus = <const A extends DimArg, const B extends DimArg>(a: A, b: B): Size<SubW<WordOf<A>, WordOf<B>>> =>
  made(`${word(a)}-${word(b)}`, subDim(dimValue(a), dimValue(b)));
/** The quotient must be exact; of names it is a name, `D/H`, that multiplies back to D. */
export const over = <const A extends DimArg, const B extends DimArg>(a: A, b: B): Size<DivW<WordOf<A>, WordOf<B>>> =>
  made(
    `${word(a)}/${word(b)}`,
    divDim(dimValue(a), dimValue(b)) ??
      fail(
        'FV0001',
        `over: ${word(a)} = ${dimValue(a)} is not divisible by ${word(b)} = ${dimValue(b)}`,
        'Sizes that are names divide by names; bind them to numbers otherwise.',
      ),
  );
