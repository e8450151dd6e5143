/**
 * May a kernel write buffer `w` over buffer `r`? Yes when each element of r is read only where, and before, the same
 * element of w is written: same index text, same innermost loop body, every load in front of the store. Then no other
 * iteration, block or later statement can see the overwritten value. The test looks at the text only, so it says no to
 * some kernels that would be fine and never yes to one that is not. It relies on what the kernel interpreter checks:
 * no element of an output is written twice.
 *
 *   let x = load a[at]; store b[at] = x + 1            b may be a
 *   let x = load a[at + 1]; store b[at] = x            b may not be a
 */
import type { Expr, Kernel, Stmt } from './types.ts';

interface Access {
  /** Loop and branch path of the statement, e.g. `0.2.` */
  readonly body: string;
  readonly order: number;
  readonly index: string;
}

const text = (e: Expr): string => JSON.stringify(e);

/** Indices at which `e` reads buffer `of`. Expressions share parts, so each part is visited once. */
const loads = (e: Expr, of: string, found: Set<string>, seen: Set<Expr>): void => {
  if (seen.has(e)) return;
  seen.add(e);
  if (e.k === 'load' && e.from === of) found.add(text(e.index) + e.lanes);
  for (const child of Object.values(e))
    if (typeof child === 'object' && child !== null && 'k' in child) loads(child as Expr, of, found, seen);
};

const exprs = (s: Stmt): readonly Expr[] => {
  switch (s.s) {
    case 'let':
    case 'var':
    case 'set':
      return [s.value];
    case 'store':
      return s.mask ? [s.index, s.value, s.mask] : [s.index, s.value];
    case 'for':
      return [s.from, s.to];
    case 'if':
      return [s.cond];
    case 'alloc':
    case 'barrier':
      return [];
  }
};

/** Whether `w` may occupy the memory of `r` (names of two buffers of the kernel, equal sizes and dtypes). */
export const mayAlias = (kernel: Kernel, r: string, w: string): boolean => {
  const reads: Access[] = [];
  const writes: Access[] = [];
  let order = 0;
  const walk = (body: readonly Stmt[], path: string): void => {
    body.forEach((s, i) => {
      const at = order++;
      for (const e of exprs(s)) {
        const found = new Set<string>();
        loads(e, r, found, new Set());
        for (const index of found) reads.push({ body: path, order: at, index });
      }
      if (s.s === 'store' && s.to === w) writes.push({ body: path, order: at, index: text(s.index) + s.value.lanes });
      if (s.s === 'for') walk(s.body, `${path}${i}.`);
      if (s.s === 'if') {
        walk(s.then, `${path}${i}t.`);
        walk(s.else, `${path}${i}e.`);
      }
    });
  };
  walk(kernel.body, '');
  if (kernel.threads !== 1) return false;
  return reads.every(
    (a) =>
      writes.some((b) => b.body === a.body && b.index === a.index && b.order >= a.order) &&
      !writes.some((b) => b.body === a.body && b.order < a.order),
  );
};
