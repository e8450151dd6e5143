/**
 * Where threads may meet: barriers stand in control flow that all threads of the block take alike, what a warp or a warp group does together in one that
 * it takes alike. How far a value differs is told from its text: the thread number differs everywhere, divided by 32 it is the same in a warp, by 128 in a warp group.
 * WGSL proves less: no part of the thread number is the same in a warp there, and whatever was loaded may differ, for the backend binds all buffers as
 * memory that somebody may write. `strict` holds a kernel to that.
 *
 *   if eq(div(thread, 128), 0) { .. } else { wgmma .. }        two roles, by warp groups
 *   for i = 0 to cast.index(load n[0]) step 1 { barrier }      n is read only: taken, but not if it is strict
 */
import { operands } from './expr.ts';
import { warp } from './matrix.ts';
import type { Expr, Kernel, Stmt } from './types.ts';
import { warpGroup } from './wgmma.ts';

/** A value is the same in the block, in a warp group, in a warp, or in no more than a thread. */
type Level = 0 | 1 | 2 | 3;
const wider = (a: Level, b: Level): Level => (a > b ? a : b);

/** How far control flow may differ at most. */
const most = (s: Stmt): Level => {
  switch (s.s) {
    case 'barrier':
      return s.of === 'warp' ? 2 : 0;
    case 'fragment':
    case 'mma':
    case 'mbarrier':
      return 0;
    case 'exchange':
    case 'arrive':
      return 2;
    case 'wgmma':
    case 'fence':
    case 'registers':
      return 1;
    case 'commit':
    case 'wait':
      return s.of === 'products' ? 1 : 3;
    default:
      return 3;
  }
};

const said = (s: Stmt): string => {
  if (s.s === 'barrier' && s.of === 'block') return 'a barrier in control flow that depends on the thread';
  return `a warp${most(s) === 1 ? ' group' : ''} parts before what it does together`;
};

/** Names that differ between threads from here on. */
const bound = (s: Stmt): readonly string[] => {
  if (s.s === 'fragment' || s.s === 'mma' || s.s === 'exchange') return [s.name];
  return s.s === 'wgmma' ? s.names : [];
};

export const meetings = (kernel: Kernel, strict: boolean, fail: (message: string) => never): void => {
  const steady = new Set(strict ? [] : kernel.buffers.filter((b) => b.access === 'read').map((b) => b.name));
  const levels = new Map<string, Level>();
  const raise = (name: string, to: Level): void => void levels.set(name, wider(levels.get(name) ?? 0, to));
  // what was found before a name's level rose is found again in the next walk
  let known = new Map<Expr, Level>();
  const level = (x: Expr): Level => {
    const old = known.get(x);
    if (old !== undefined) return old;
    const r = own(x);
    known.set(x, r);
    return r;
  };
  const own = (x: Expr): Level => {
    if (x.k === 'thread' || x.k === 'place' || (x.k === 'load' && !steady.has(x.from))) return 3;
    if (x.k === 'ref') return levels.get(x.name) ?? 0;
    if (!strict && x.k === 'binary' && x.op === 'div' && x.x.k === 'thread' && x.y.k === 'const') {
      if (x.y.value % warpGroup === 0) return 1;
      if (x.y.value % warp === 0) return 2;
    }
    return operands(x).map(level).reduce(wider, 0);
  };
  // a name may come to differ by a later set in a loop, so walk until nothing changes; then look at the meetings
  const walk = (body: readonly Stmt[], apart: Level, report: boolean): void => {
    for (const s of body) {
      if (report && apart > most(s)) fail(said(s));
      for (const name of bound(s)) raise(name, 3);
      if (s.s === 'let' || s.s === 'var') raise(s.name, level(s.value));
      else if (s.s === 'set') raise(s.name, wider(level(s.value), apart));
      else if (s.s === 'for') {
        const inner = wider(apart, wider(level(s.from), level(s.to)));
        raise(s.name, inner);
        walk(s.body, inner, report);
      } else if (s.s === 'if') {
        const inner = wider(apart, level(s.cond));
        walk(s.body, inner, report);
        walk(s.otherwise, inner, report);
      }
    }
  };
  const sum = (): number => [...levels.values()].reduce<number>((a, b) => a + b, 0);
  for (let before = -1; before !== sum(); ) {
    before = sum();
    known = new Map();
    walk(kernel.body, 0, false);
  }
  walk(kernel.body, 0, true);
};
