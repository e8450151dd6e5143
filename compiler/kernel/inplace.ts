/**
 * May a kernel write buffer `w` over buffer `r`? Yes when each element of r is read only where, and before, the same
 * element of w is written: same index, same innermost loop body, the load in front of the store. Since no element is
 * written twice, no other iteration, block, thread or statement can have written it before. Indices are compared as text, so it says no to some
 * kernels that would be fine and never yes to one that is not; names of values are read as what they stand for. That no element of a buffer
 * with access `write` is written twice is what the kernel interpreter checks.
 *
 *   let x = load a[at]; store b[at] = x + 1            b may be a
 *   let x = load a[at + 1]; store b[at] = x            b may not be a
 */
import { each, exprs } from './exprs.ts';
import { keys } from './key.ts';
import type { Expr, Kernel, Stmt } from './types.ts';

interface Access {
  /** Loop and branch path of the statement, e.g. `0.2.` */
  readonly body: string;
  readonly order: number;
  /** Of index and lanes; the mask of its own. */
  readonly where: string;
  readonly mask: number;
  /** The index is made of constants and names that are bound once: it means the same in the whole body. */
  readonly steady: boolean;
}

/** Whether `w` may occupy the memory of `r` (names of two buffers of the kernel, equal sizes and dtypes). */
export const mayAlias = (kernel: Kernel, r: string, w: string): boolean => {
  if (kernel.buffers.find((b) => b.name === w)?.access !== 'write') return false;
  const reads: Access[] = [];
  const writes: Access[] = [];
  const mutable = new Set<string>();
  const maps = new Set<string>();
  const named = new Map<string, Expr>();
  const key = keys((name) => named.get(name));
  let order = 0;
  const access = (body: string, at: number, lanes: number, index: Expr, mask: Expr | undefined): Access => {
    let steady = true;
    const look = (root: Expr): void =>
      each([root], (x) => {
        if (x.k === 'load' || (x.k === 'ref' && mutable.has(x.name))) steady = false;
        const value = x.k === 'ref' ? named.get(x.name) : undefined;
        if (value) look(value);
      });
    look(index);
    return { body, order: at, where: `${key(index)}.${lanes}`, mask: mask ? key(mask) : -1, steady };
  };
  const walk = (body: readonly Stmt[], path: string): void => {
    body.forEach((s, i) => {
      const at = order++;
      if (s.s === 'var') mutable.add(s.name);
      if (s.s === 'let') named.set(s.name, s.value);
      each(exprs(s), (x) => {
        if (x.k === 'load' && x.from === r) reads.push(access(path, at, x.lanes, x.index, x.mask));
      });
      // what a copy reads, and when, is its own affair
      if (s.s === 'copy' && s.from === r) reads.push({ ...access(path, at, s.lanes, s.index, undefined), steady: false });
      if (s.s === 'tensorMap' && s.from === r) maps.add(s.name);
      if (s.s === 'fetch' && maps.has(s.from)) reads.push({ ...access(path, at, 1, s.at, undefined), steady: false });
      if (s.s === 'store' && s.to === w) writes.push(access(path, at, s.value.lanes, s.index, s.mask));
      if (s.s === 'for') walk(s.body, `${path}${i}.`);
      if (s.s === 'if') {
        walk(s.body, `${path}${i}t.`);
        walk(s.otherwise, `${path}${i}e.`);
      }
    });
  };
  walk(kernel.body, '');
  return reads.every(
    (a) =>
      a.steady &&
      // a lane that is read and not written here would be left to another iteration
      writes.some((b) => b.body === a.body && b.where === a.where && b.order >= a.order && (b.mask === -1 || b.mask === a.mask)),
  );
};
