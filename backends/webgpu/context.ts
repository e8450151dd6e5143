/**
 * What printing a kernel as WGSL carries along: names, the lines so far, and text of the expressions of the statement at hand. An expression
 * that is wanted more than once within a statement gets a name in front of it (`local`).
 */
import type { Expr, KType } from '../../compiler/kernel/types.ts';
import type { Dialect } from './dialect.ts';
import type { Memory } from './memory.ts';
import { type Prelude, type Register, registerOf, vectorOf } from './prelude.ts';

export interface Context {
  readonly dialect: Dialect;
  readonly name: (name: string) => string;
  readonly fns: Prelude;
  /** Buffers and shared arrays. */
  readonly memory: Map<string, Memory>;
  /** What names are multiples of. */
  readonly divisors: Map<string, number>;
  readonly lines: string[];
  /** Text of the nodes that have a local, valid within one statement. */
  locals: Map<Expr, string>;
  indent: number;
  count: number;
  /** Text of an expression that has no name. */
  readonly text: (e: Expr, c: Context) => string;
}

export const line = (c: Context, s: string): void => {
  c.lines.push('  '.repeat(c.indent) + s);
};

/** A name in front of the statement for a text. */
export const named = (value: string, c: Context): string => {
  const id = `t${c.count++}`;
  line(c, `let ${id} = ${value};`);
  return id;
};

/** A name for a node whose lanes are taken apart. */
export const local = (e: Expr, c: Context): string => {
  const known = c.locals.get(e) ?? (e.k === 'ref' ? c.name(e.name) : undefined);
  if (known !== undefined) return known;
  const id = named(c.text(e, c), c);
  c.locals.set(e, id);
  return id;
};
export const print = (e: Expr, c: Context): string => c.locals.get(e) ?? c.text(e, c);

export const register = (dtype: KType, c: Context): Register => registerOf(dtype, c.dialect);
/** Type of a value. */
export const typeOf = (dtype: KType, lanes: number, c: Context): string => vectorOf(register(dtype, c), lanes);
export const vector = (dtype: KType, parts: readonly string[], c: Context): string =>
  `${typeOf(dtype, parts.length, c)}(${parts.join(', ')})`;
