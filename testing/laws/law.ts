/**
 * A law is a function of a program that says nothing where it holds and otherwise one sentence of what is wrong. Laws throw nothing on
 * purpose: what the compiler throws at a legal program is a failure too, and the runner reports it as one.
 */
import type { Tensor64 } from '../../compiler/graph/tensor64.ts';
import type { Target } from '../../compiler/target.ts';
import type { Observation } from '../observe.ts';
import type { Program } from '../program.ts';

export interface Context {
  /** For directions, mutations and keys that a law draws. */
  readonly seed: number;
  /** What plans and kernels are made for. */
  readonly target: Target;
  /** The program as run on the backend. */
  readonly seen: Observation;
  /** Counts what a law could check, such as elements with a finite bound. */
  note?(what: string, n: number): void;
}

export interface Law {
  readonly name: string;
  /** What holds, as a sentence. */
  readonly says: string;
  /** Whether it looks at `seen`; the others need no backend. */
  readonly runs?: boolean;
  /**
   * Whether it is about kernels, as every law that runs is. Passes remove most of a random program, so of half of the seeds such a law
   * gets the program with all values as results.
   */
  readonly kernels?: boolean;
  /** Whether it draws what it looks at from the seed, and nothing from the program. */
  readonly seedOnly?: boolean;
  /** Of a dear law: it is held to programs whose seed is a multiple of this. Default 1. */
  readonly every?: number;
  check(p: Program, c: Context): string | undefined;
}

/** Equal in every bit: types, -0, and NaN of any payload. */
export const sameBits = (a: readonly Tensor64[], b: readonly Tensor64[]): string | undefined => {
  if (a.length !== b.length) return `${b.length} results, not ${a.length}`;
  for (const [r, x] of a.entries()) {
    const y = b[r] as Tensor64;
    if (x.data.length !== y.data.length || x.type.dtype !== y.type.dtype) return `result ${r} has another type`;
    const i = x.data.findIndex((v, k) => !Object.is(v, y.data[k]));
    if (i >= 0) return `result ${r}, element ${i}: ${y.data[i]} is not ${x.data[i]}`;
  }
  return undefined;
};
