/**
 * The states of a reduction as code: variables that start at the identity, take one element (or vector of them) after another,
 * and are combined in a fixed tree, first of vectors, then of lanes, then of threads.
 */
import * as e from '../kernel/expr.ts';
import type { Expr } from '../kernel/types.ts';
import type { Affine, Indices } from './affine.ts';
import type { Code } from './code.ts';
import type { Monoid } from './monoid.ts';

export type State = readonly Expr[];

export const identityOf = (m: Monoid, lanes: number): State => m.types.map((t, i) => e.constant(m.identity[i] as number, t, lanes));

/** A state in variables of its own, one a component. */
export const fresh = (c: Code, m: Monoid, lanes: number): State => identityOf(m, lanes).map((x) => c.variable(x));

/** Position as i32, for argmax. */
const ordinal = (ix: Indices, j: Affine): Expr => {
  const view = ix.view(j);
  return view.kind === 'unit' ? e.ramp(e.cast(view.expr, 'i32'), ix.lanes) : e.cast(view.expr, 'i32');
};

/** The state of element x at position j of `lanes` lanes; the identity in lanes without an element. */
export const elementState = (m: Monoid, ix: Indices, x: Expr, j: Affine, lanes: number, mask = ix.mask): State => {
  const state = m.element(x, ordinal(ix, j)).map((y) => e.splat(y, lanes));
  return mask ? state.map((y, i) => e.select(mask, y, m.identity[i] as number)) : state;
};

/** state = combine(state, x), all components at once. */
export const update = (c: Code, m: Monoid, state: State, x: State): void => {
  const next = m.combine(state, x);
  // all new values are computed before any variable changes
  const named = next.length === 1 ? next : c.bind(next).map((y) => c.name(y));
  named.forEach((y, i) => {
    c.set(state[i] as Expr, y);
  });
};

export const tree = (m: Monoid, states: readonly State[]): State => {
  if (states.length === 1) return states[0] as State;
  const half = Math.ceil(states.length / 2);
  return m.combine(tree(m, states.slice(0, half)), tree(m, states.slice(half)));
};

/**
 * Combines the states of the block's threads; every thread gets the result. Threads are paired with their neighbours, then pairs with pairs, in
 * registers as far as a subgroup goes and through shared memory from there on: the tree is the same, and so are the bits.
 */
export const meet = (c: Code, m: Monoid, state: State, threads: number, subgroup: number): State => {
  const near = Math.min(threads, subgroup);
  let own = state;
  // both sides combine the same two states: a combination does not ask which is first
  for (let by = 1; by < near; by *= 2) {
    const others = own.map((x) => c.exchange(x, by));
    own = m.combine(own, others).map((x) => c.name(x));
  }
  const states = threads / near;
  if (states === 1) return own;
  const arrays = m.types.map((t) => c.alloc('shared', t, states));
  const write = (at: Expr, xs: State): void => xs.forEach((x, i) => c.store((arrays[i] as e.Place).name, at, x));
  const read = (at: Expr): State => arrays.map((a) => e.load(a, at));
  if (near === 1) write(e.thread, own);
  else c.when(e.compare('eq', e.rem(e.thread, near), 0), () => write(e.div(e.thread, near), own));
  c.barrier();
  for (let by = 1; by < states; by *= 2) {
    c.when(e.lt(e.thread, states / (2 * by)), () => {
      const at = e.mul(e.thread, 2 * by);
      write(
        at,
        m.combine(read(at), read(e.add(at, by))).map((x) => c.name(x)),
      );
    });
    c.barrier();
  }
  const all = read(e.index(0)).map((x) => c.name(x));
  c.barrier();
  return all;
};

/** Combines the states of threads t, t + apart, t + 2 apart, ..., of which there are `parts`, in this order; each of them gets the result. */
export const meetBy = (c: Code, m: Monoid, state: State, parts: number, apart: number): State => {
  const arrays = m.types.map((t) => c.alloc('shared', t, parts * apart));
  state.forEach((x, i) => {
    c.store((arrays[i] as e.Place).name, e.thread, x);
  });
  c.barrier();
  const own = c.name(e.rem(e.thread, apart));
  const read = (part: Expr): State => arrays.map((a) => e.load(a, e.add(own, e.mul(part, apart))));
  const all = read(e.index(0)).map((x) => c.variable(x));
  c.loop(e.index(1), e.index(parts), 1, (part) => update(c, m, all, read(part)));
  return all.map((x) => c.name(x));
};
