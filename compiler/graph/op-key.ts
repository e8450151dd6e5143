/**
 * An operation as text that is equal exactly when the operations are: what cse and the sharing of lowered groups compare by.
 * Plain JSON would write -0 as 0, NaN and infinities as null, and a size in names as an empty object.
 *
 *   opKey({ prim: 'const', value: -0, dtype: 'f32' })  ->  {"prim":"const","value":"number -0","dtype":"f32"}
 */
import { Poly } from './dim.ts';
import type { Op } from './types.ts';

const exact = (_: string, x: unknown): unknown => {
  if (typeof x === 'number') return Object.is(x, -0) || !Number.isFinite(x) ? `number ${Object.is(x, -0) ? '-0' : x}` : x;
  return x instanceof Poly ? `size ${x}` : x;
};

/** Of operations without regions, and of attention, whose body follows from types: other regions would have to be compared node by node. */
export const opKey = (op: Op): string => JSON.stringify(op, exact);
