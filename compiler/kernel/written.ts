/**
 * What the printers of C, CUDA C++ and WGSL share: lines, names for what a statement uses twice (expressions of K are a DAG, and printed as a tree
 * they could grow exponentially), bodies, branches, and operations that stand between their operands or are calls, as the language has it.
 *
 *   statement(c, [s.value], ([v]) => line(c, `${c.name(s.name)} = ${v};`))   ->   const f32 t0 = (a + b);   x = (t0 * t0);
 */
import { repeated } from './expr.ts';
import { infix, uniformValue } from './symbols.ts';
import type { Expr, Kernel, Stmt } from './types.ts';

/** A text that grows. */
export interface Written {
  readonly name: (name: string) => string;
  readonly lines: string[];
  /** Text of the nodes that have a local, valid within one statement. */
  locals: Map<Expr, string>;
  indent: number;
  count: number;
  /** Text of an expression that has no local. */
  text(e: Expr): string;
  /** What stands in front of the name of a local. */
  declare(e: Expr): string;
  statement(s: Stmt): void;
}

export const line = (c: Written, s: string): void => {
  c.lines.push('  '.repeat(c.indent) + s);
};

/** The text of a node, or of the local that holds it. */
export const print = (e: Expr, c: Written): string => c.locals.get(e) ?? c.text(e);

/** A name in front of the statement for a text. */
export const named = (value: string, declaration: string, c: Written): string => {
  const id = `t${c.count++}`;
  line(c, `${declaration} ${id} = ${value};`);
  return id;
};

/** The name of a node, which gets a local in front of the statement unless it has one. */
export const local = (e: Expr, c: Written): string => {
  const known = c.locals.get(e) ?? (e.k === 'ref' ? c.name(e.name) : undefined);
  if (known !== undefined) return known;
  const id = named(c.text(e), c.declare(e), c);
  c.locals.set(e, id);
  return id;
};

/** Locals for the nodes that the roots reach by more than one path, then `use`. */
export const withLocals = (c: Written, roots: readonly Expr[], use: () => void): void => {
  c.locals = new Map();
  for (const e of repeated(roots)) local(e, c);
  use();
  c.locals = new Map();
};

/** The same, with the roots' texts. */
export const statement = (c: Written, roots: readonly Expr[], use: (texts: readonly string[]) => void): void =>
  withLocals(c, roots, () => use(roots.map((e) => print(e, c))));

export const block = (c: Written, body: readonly Stmt[]): void => {
  c.indent++;
  for (const s of body) c.statement(s);
  c.indent--;
};

export const branch = (c: Written, s: Stmt & { readonly s: 'if' }): void =>
  statement(c, [s.cond], ([cond]) => {
    line(c, `if (${cond}) {`);
    block(c, s.body);
    if (s.otherwise.length > 0) {
      line(c, '} else {');
      block(c, s.otherwise);
    }
    line(c, '}');
  });

/** A binary operation on operands that are texts; `held` names the type in functions, of which `call` gives one applied to both. */
export const binary = (e: Expr & { readonly k: 'binary' }, x: string, y: string, held: string, call: (name: string) => string): string => {
  const known = uniformValue(e.y);
  const plain = `(${x} ${infix[e.op]} ${y})`;
  switch (e.op) {
    case 'div':
    case 'rem':
      if (e.dtype === 'f32') return e.op === 'div' ? plain : call('rem_f32');
      // a zero divisor must not stop the process, nor the one quotient that overflows
      return known !== undefined && known > 0 ? plain : call(`${e.op}_${held}`);
    case 'shiftLeft':
    case 'shiftRight':
      return known !== undefined && known < 32 ? plain : call(e.op);
    case 'pow':
      return call('pow');
    case 'max':
    case 'min':
      return call(`${e.op}_${held}`);
    default:
      return plain;
  }
};

/** Numbers of block `b` of a grid, x fastest, on the three axes; `suffix` of numbers. */
export const blockOf = ({ grid: [x, y, z] }: Kernel, b: string, suffix = ''): readonly [string, string, string] => [
  y * z === 1 ? b : `${b} % ${x}${suffix}`,
  y === 1 ? '0' : z === 1 ? `${b} / ${x}${suffix}` : `${b} / ${x}${suffix} % ${y}${suffix}`,
  z === 1 ? '0' : `${b} / ${x * y}${suffix}`,
];
