/** What a statement of K computes with: for analyses that look at every load, whatever statement it stands in. */
import { operands } from './expr.ts';
import type { Expr, Stmt } from './types.ts';

/** The expressions of a statement itself, without those of its body. */
export const exprs = (s: Stmt): readonly Expr[] => {
  switch (s.s) {
    case 'let':
    case 'var':
    case 'set':
    case 'exchange':
      return [s.value];
    case 'store':
      return s.mask ? [s.index, s.value, s.mask] : [s.index, s.value];
    case 'for':
      return [s.from, s.to];
    case 'if':
      return [s.cond];
    case 'prefetch':
    case 'fragment':
      return [s.index];
    case 'mma':
      return [s.x, s.y];
    case 'copy':
      return s.count ? [s.at, s.index, s.count] : [s.at, s.index];
    case 'arrive':
    case 'expect':
      return [s.at.index];
    case 'await':
      return [s.at.index, s.parity];
    case 'fetch':
      return [s.at, ...s.index, s.on.index];
    case 'wgmma':
      return ['k' in s.x ? s.x : s.x.index, s.y.index];
    case 'alloc':
    case 'barrier':
    case 'commit':
    case 'wait':
    case 'tensorMap':
    case 'mbarrier':
    case 'fence':
    case 'registers':
      return [];
  }
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
