/** What a statement of K computes with, in one table: for analyses that look at every load, and for what puts others in their place. */
import { operands } from './expr.ts';
import type { Expr, KPhase, Stmt } from './types.ts';

/** A statement with its own expressions replaced by `f`, in the order in which it computes them; not those of its body. */
export const mapOwn = (s: Stmt, f: (x: Expr) => Expr): Stmt => {
  const phase = (p: KPhase): KPhase => ({ ...p, index: f(p.index) });
  switch (s.s) {
    case 'let':
    case 'var':
    case 'set':
    case 'exchange':
      return { ...s, value: f(s.value) };
    case 'store': {
      const [index, value] = [f(s.index), f(s.value)];
      return s.mask ? { ...s, index, value, mask: f(s.mask) } : { ...s, index, value };
    }
    case 'for':
      return { ...s, from: f(s.from), to: f(s.to) };
    case 'if':
      return { ...s, cond: f(s.cond) };
    case 'prefetch':
    case 'fragment':
      return { ...s, index: f(s.index) };
    case 'mma':
      return { ...s, x: f(s.x), y: f(s.y) };
    case 'copy': {
      const [at, index] = [f(s.at), f(s.index)];
      return s.count ? { ...s, at, index, count: f(s.count) } : { ...s, at, index };
    }
    case 'arrive':
    case 'expect':
      return { ...s, at: phase(s.at) };
    case 'await':
      return { ...s, at: phase(s.at), parity: f(s.parity) };
    case 'fetch':
      return { ...s, at: f(s.at), index: s.index.map(f), on: phase(s.on) };
    case 'wgmma':
      return { ...s, x: 'k' in s.x ? f(s.x) : { ...s.x, index: f(s.x.index) }, y: { ...s.y, index: f(s.y.index) } };
    case 'alloc':
    case 'barrier':
    case 'commit':
    case 'wait':
    case 'tensorMap':
    case 'mbarrier':
    case 'fence':
    case 'registers':
      return s;
  }
};

/** The expressions of a statement itself, without those of its body. */
export const exprs = (s: Stmt): readonly Expr[] => {
  const found: Expr[] = [];
  mapOwn(s, (x) => {
    found.push(x);
    return x;
  });
  return found;
};

/** Visits every node below `roots` once. */
export const each = (roots: readonly Expr[], visit: (x: Expr) => void): void => {
  const seen = new Set<Expr>();
  const go = (x: Expr): void => {
    if (seen.has(x)) return;
    seen.add(x);
    visit(x);
    operands(x).forEach(go);
  };
  roots.forEach(go);
};
