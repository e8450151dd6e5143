/** What printing a kernel as WGSL carries along, and the types of values. An expression whose lanes are taken apart gets a name (`local`). */
import type { KType } from '../../compiler/kernel/types.ts';
import type { Written } from '../../compiler/kernel/written.ts';
import type { Dialect } from './dialect.ts';
import type { Memory } from './memory.ts';
import { type Prelude, type Register, registerOf, vectorOf } from './prelude.ts';

export interface Context extends Written {
  readonly dialect: Dialect;
  readonly fns: Prelude;
  /** Buffers and shared arrays. */
  readonly memory: Map<string, Memory>;
  /** What names are multiples of. */
  readonly divisors: Map<string, number>;
}

export const register = (dtype: KType, c: Context): Register => registerOf(dtype, c.dialect);
/** Type of a value. */
export const typeOf = (dtype: KType, lanes: number, c: Context): string => vectorOf(register(dtype, c), lanes);
export const vector = (dtype: KType, parts: readonly string[], c: Context): string =>
  `${typeOf(dtype, parts.length, c)}(${parts.join(', ')})`;
