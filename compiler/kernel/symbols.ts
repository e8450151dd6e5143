/** How operators of K are written in C, CUDA C++ and WGSL alike. */
import type { Compare } from '../graph/types.ts';
import type { Expr } from './types.ts';

export const operators: { readonly [C in Compare]: string } = { eq: '==', ne: '!=', lt: '<', le: '<=', gt: '>', ge: '>=' };

/** Of those binary operations that stand between their operands. */
export const infix: { readonly [op: string]: string } = {
  add: '+',
  sub: '-',
  mul: '*',
  div: '/',
  rem: '%',
  and: '&',
  or: '|',
  xor: '^',
  shiftLeft: '<<',
  shiftRight: '>>',
};

/** The number that all lanes of e are, if its text says so. */
export const uniformValue = (e: Expr): number | undefined => (e.k === 'const' ? e.value : e.k === 'splat' ? uniformValue(e.x) : undefined);
