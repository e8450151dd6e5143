/**
 * Equal expressions, equal numbers: hash-consing without changing the expressions. Every distinct object is visited once,
 * so the time is linear even where expressions share parts and, as trees, would be exponential.
 *
 *   const key = keys();  key(add(i, 1)) === key(add(i, 1)), though the two are different objects
 */
import { operands } from './expr.ts';
import type { Expr } from './types.ts';

/** What a node is, beside its type and operands. */
export const own = (x: Expr): string => {
  switch (x.k) {
    case 'const':
      return Object.is(x.value, -0) ? '-0' : String(x.value);
    case 'ref':
      return x.name;
    case 'block':
      return String(x.axis);
    case 'place':
      return x.axis;
    case 'lane':
      return String(x.i);
    case 'load':
      return x.from;
    case 'unary':
    case 'binary':
    case 'across':
      return x.op;
    case 'compare':
      return x.cmp;
    case 'zip':
      return x.half;
    case 'thread':
    case 'select':
    case 'fma':
    case 'dot2':
    case 'cast':
    case 'bitcast':
    case 'splat':
    case 'ramp':
      return '';
  }
};

/** A numbering of its own: numbers of two numberings cannot be compared. A name that `value` knows is what it stands for. */
export const keys = (value: (name: string) => Expr | undefined = () => undefined): ((x: Expr) => number) => {
  const byObject = new Map<Expr, number>();
  const byText = new Map<string, number>();
  const key = (x: Expr): number => {
    const old = byObject.get(x);
    if (old !== undefined) return old;
    const named = x.k === 'ref' ? value(x.name) : undefined;
    if (named) return key(named);
    const text = `${x.k} ${own(x)} ${x.dtype} ${x.lanes} ${operands(x).map(key).join(' ')}`;
    const n = byText.get(text) ?? byText.size;
    byText.set(text, n);
    byObject.set(x, n);
    return n;
  };
  return key;
};
