/**
 * What an index is surely a multiple of, as far as its text tells: a vector of elements is read at once only where its address is a multiple
 * of its length.
 *
 *   add(mul(block.0, 256), mul(thread, 4))   ->   4
 */
import type { Expr, Stmt } from './types.ts';

/** Of 0, which is a multiple of everything. */
const most = 2 ** 20;
const gcd = (a: number, b: number): number => (b === 0 ? a : gcd(b, a % b));
/** A large number counts by its powers of two alone, so that products stay exact. */
const capped = (n: number): number => (n === 0 ? most : Math.abs(n) <= most ? Math.abs(n) : gcd(Math.abs(n), most));

/** `known` are the divisors of names. */
export const divisor = (e: Expr, known: ReadonlyMap<string, number>): number => {
  switch (e.k) {
    case 'const':
      return capped(e.value);
    case 'ref':
      return known.get(e.name) ?? 1;
    case 'select':
      return gcd(divisor(e.x, known), divisor(e.y, known));
    case 'binary': {
      const [x, y] = [divisor(e.x, known), divisor(e.y, known)];
      if (e.op === 'mul') return capped(x * y);
      if (e.op === 'add' || e.op === 'sub' || e.op === 'min' || e.op === 'max' || e.op === 'rem') return gcd(x, y);
      if (e.op === 'div' && e.y.k === 'const' && x % e.y.value === 0) return x / e.y.value;
      return 1;
    }
    default:
      return 1;
  }
};

/** Divisors of the names that a body binds, as far as they are addresses. */
export const learn = (s: Stmt, known: Map<string, number>): void => {
  if (s.s === 'let' && s.value.lanes === 1 && s.value.dtype === 'index') known.set(s.name, divisor(s.value, known));
  if (s.s === 'for') known.set(s.name, gcd(divisor(s.from, known), s.step));
};
