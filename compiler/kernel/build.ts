/**
 * Writes kernel bodies as code: each call appends a statement, names are made unique by a counter, and nested bodies
 * are functions. Every method returns the reference that later expressions use.
 *
 *   const k = body();
 *   k.for('i', 0, 256, 16, (i) => {
 *     const at = k.let('at', e.add(e.mul(e.block(0), 256), i));
 *     k.store(c, at, e.add(e.load(a, at, 16), e.load(b, at, 16)));
 *   });
 *   const kernel: Kernel = { name: 'add', buffers: [a, b, c], grid: [4, 1, 1], threads: 1, body: k.done() };
 */
import { FoveaError } from '../error.ts';
import { accessMask, address, constant, index, type Operand, type Place, ref } from './expr.ts';
import type { Expr, KAsync, KLines, KMatrix, KPhase, KTogether, KType, Stmt } from './types.ts';
import { reserved } from './verify.ts';

export interface Body {
  /** Binds a value; constants, references and grid numbers are returned as they are. */
  let(name: string, value: Expr): Expr;
  /** A mutable variable; its current value is the returned reference. */
  var(name: string, value: Expr): Expr;
  set(variable: Expr, value: Operand): void;
  alloc(name: string, space: 'register' | 'shared', dtype: KType, size: number): Place;
  store(to: Place, at: Operand, value: Expr, mask?: Expr): void;
  for(name: string, from: Operand, to: Operand, step: number, inner: (i: Expr) => void, kind?: 'serial' | 'unroll'): void;
  if(cond: Expr, then: () => void, otherwise?: () => void): void;
  prefetch(from: Place, at: Expr): void;
  /** Of the block, unless the warp alone is to meet. */
  barrier(of?: KTogether): void;
  /** A fragment of a shared array, as u32.4; `turned`: its lines run the other way. */
  fragment(name: string, from: Place, at: Expr, turned: boolean): Expr;
  /** The value that thread (thread xor by) has. */
  exchange(name: string, value: Expr, by: number): Expr;
  /** Adds the products of two fragments to a variable. */
  mma(sum: Expr, of: KMatrix, x: Expr, y: Expr): void;
  copy(to: Place, at: Expr, from: Place, index: Expr, lanes: number, count?: Expr): void;
  commit(of?: KAsync): void;
  wait(pending: number, of?: KAsync): void;
  tensorMap(name: string, from: Place, base: number, axes: readonly TensorAxis[]): Place;
  mbarrier(name: string, size: number, arrivals: number): string;
  arrive(at: KPhase): void;
  expect(at: KPhase, bytes: number): void;
  await(at: KPhase, parity: Expr): void;
  fetch(to: Place, at: Expr, from: Place, index: readonly Expr[], on: KPhase): void;
  wgmma(sums: readonly Expr[], of: KMatrix, x: KLines | Expr, y: KLines): void;
  fence(): void;
  registers(count: number): void;
  /** Appends finished statements. */
  push(...statements: readonly Stmt[]): void;
  /** A name that no other call gave. */
  fresh(name: string): string;
  done(): readonly Stmt[];
}

/** An axis of a tensor of which boxes are fetched, in elements. */
export interface TensorAxis {
  readonly size: number;
  readonly stride: number;
  readonly box: number;
}

const variable = (x: Expr, what: string): string => {
  if (x.k !== 'ref') throw new FoveaError('FV0201', `${what}: takes a variable, got ${x.k}`);
  return x.name;
};

/** An empty body. `taken` are names it must not use (buffers). */
export const body = (taken: readonly string[] = []): Body => {
  const used = new Set([...reserved, ...taken]);
  const counts = new Map<string, number>();
  const mutable = new Set<string>();
  let out: Stmt[] = [];
  const fresh = (name: string): string => {
    let n = name;
    while (used.has(n)) {
      const i = (counts.get(name) ?? 0) + 1;
      counts.set(name, i);
      n = `${name}_${i}`;
    }
    used.add(n);
    return n;
  };
  const nested = (f: () => void): readonly Stmt[] => {
    const saved = out;
    out = [];
    try {
      f();
      return out;
    } finally {
      out = saved;
    }
  };
  const at = (x: Operand): Expr => (typeof x === 'number' ? index(x) : x);
  return {
    fresh,
    let: (name, value) => {
      if (value.k === 'const' || value.k === 'block' || value.k === 'thread' || (value.k === 'ref' && !mutable.has(value.name)))
        return value;
      const n = fresh(name);
      out.push({ s: 'let', name: n, value });
      return ref(n, value.dtype, value.lanes);
    },
    var: (name, value) => {
      const n = fresh(name);
      mutable.add(n);
      out.push({ s: 'var', name: n, value });
      return ref(n, value.dtype, value.lanes);
    },
    set: (to, value) => {
      out.push({
        s: 'set',
        name: variable(to, 'set'),
        value: typeof value === 'number' ? constant(value, to.dtype, to.lanes) : value,
      });
    },
    alloc: (name, space, dtype, size) => {
      const n = fresh(name);
      out.push({ s: 'alloc', name: n, space, dtype, size });
      return { name: n, dtype };
    },
    store: (to, where, value, mask) => {
      const m = accessMask(value.lanes, mask);
      const s = { s: 'store', to: to.name, index: address(at(where), value.lanes), value } as const;
      out.push(m ? { ...s, mask: m } : s);
    },
    for: (name, from, to, step, inner, kind = 'serial') => {
      const n = fresh(name);
      const [a, b] = [at(from), at(to)];
      out.push({ s: 'for', name: n, from: a, to: b, step, kind, body: nested(() => inner(ref(n, a.dtype))) });
    },
    if: (cond, then, otherwise) => {
      out.push({ s: 'if', cond, body: nested(then), otherwise: otherwise ? nested(otherwise) : [] });
    },
    prefetch: (from, index) => {
      out.push({ s: 'prefetch', from: from.name, index });
    },
    barrier: (of = 'block') => {
      out.push({ s: 'barrier', of });
    },
    fragment: (name, from, at, turned) => {
      const n = fresh(name);
      out.push({ s: 'fragment', name: n, from: from.name, index: at, turned });
      return ref(n, 'u32', 4);
    },
    exchange: (name, value, by) => {
      const n = fresh(name);
      out.push({ s: 'exchange', name: n, value, by });
      return ref(n, value.dtype);
    },
    mma: (sum, of, x, y) => {
      out.push({ s: 'mma', name: variable(sum, 'mma'), of, x, y });
    },
    copy: (to, at, from, index, lanes, count) => {
      const s = { s: 'copy', to: to.name, at, from: from.name, index, lanes } as const;
      out.push(count ? { ...s, count } : s);
    },
    commit: (of = 'copies') => {
      out.push({ s: 'commit', of });
    },
    wait: (pending, of = 'copies') => {
      out.push({ s: 'wait', of, pending });
    },
    tensorMap: (name, from, base, axes) => {
      const n = fresh(name);
      const [sizes, strides, box] = [axes.map((a) => a.size), axes.map((a) => a.stride), axes.map((a) => a.box)];
      out.push({ s: 'tensorMap', name: n, from: from.name, base, sizes, strides, box });
      return { name: n, dtype: from.dtype };
    },
    mbarrier: (name, size, arrivals) => {
      const n = fresh(name);
      out.push({ s: 'mbarrier', name: n, size, arrivals });
      return n;
    },
    arrive: (at) => {
      out.push({ s: 'arrive', at });
    },
    expect: (at, bytes) => {
      out.push({ s: 'expect', at, bytes });
    },
    await: (at, parity) => {
      out.push({ s: 'await', at, parity });
    },
    fetch: (to, at, from, index, on) => {
      out.push({ s: 'fetch', to: to.name, at, from: from.name, index, on });
    },
    wgmma: (sums, of, x, y) => {
      const names = sums.map((v) => variable(v, 'wgmma'));
      out.push({ s: 'wgmma', names, of, x, y });
    },
    fence: () => {
      out.push({ s: 'fence' });
    },
    registers: (count) => {
      out.push({ s: 'registers', count });
    },
    push: (...statements) => {
      out.push(...statements);
    },
    done: () => out,
  };
};
