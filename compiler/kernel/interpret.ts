/**
 * Runs a kernel on typed arrays, slowly and with suspicion: the meaning of K, against which printers and passes are
 * tested. All blocks and threads run; between barriers the threads of a block run one after another, in an order that a
 * correct kernel cannot notice. Reported as FV0201: accesses out of bounds, elements of register and shared arrays read
 * before they are written, elements of a `write` buffer written twice, barriers that not all threads reach, division by zero, races (an element written by one
 * block or thread and touched by another, with no barrier between them), and elements that are touched while a copy to them is under way: it comes when
 * its thread waits for it, and no sooner.
 *
 *   interpretKernel(kernel, { a: new Float32Array(1024), b, c }, { order: 'reverse' })
 *
 * Expressions and statements are compiled to closures over the bindings of one thread; a statement that contains a
 * barrier, or something that a warp does together, becomes a generator, which stops there (threads.ts).
 */

import { FoveaError } from '../error.ts';
import type { HostData } from '../graph/types.ts';
import { type Async, asyncOf } from './async.ts';
import { operands } from './expr.ts';
import { type AsyncStmt, asyncStatement, meeting, productsStatement, type Value } from './interpret-async.ts';
import { fragments, multiplied, placeOfSum, warp } from './matrix.ts';
import { type Memory, memory, nothingSeen, type Place, type Seen } from './memory.ts';
import { printExpr } from './print.ts';
import { bitsOf, foldBinary, foldBitcast, foldCast, foldCompare, foldDot2, foldFma, foldUnary, numberOf } from './scalar.ts';
import { type Copies, copies, type Meeting, runThreads, type Stop } from './threads.ts';
import type { Expr, Kernel, KMatrix, KReduce, KType, Stmt } from './types.ts';

export interface InterpretOptions {
  /** Order of the blocks, and of the threads between barriers; `{ seed }` shuffles. */
  readonly order?: 'forward' | 'reverse' | { readonly seed: number };
  /** The first blocks alone, axis 0 first: what a part of a launch runs. Default: all of the grid. */
  readonly blocks?: number;
}

/** What one thread sees. */
interface Thread {
  readonly values: Map<string, Value>;
  readonly places: Map<string, Place>;
  readonly shared: Map<string, Place>;
  readonly block: readonly [number, number, number];
  readonly thread: number;
  readonly copies: Copies<Thread>;
  readonly seen: Seen;
  /** Of its block. */
  readonly async: Async<Thread>;
}
type Eval = (t: Thread) => Value;
type Exec = (t: Thread) => void;
type Steps = (t: Thread) => Generator<Stop, void, void>;
type Step = { readonly kind: 'plain'; readonly run: Exec } | { readonly kind: 'stops'; readonly run: Steps };

const each = (lanes: number, f: (i: number) => number): Value => (lanes === 1 ? f(0) : Array.from({ length: lanes }, (_, i) => f(i)));
const at = (v: Value, i: number): number => (typeof v === 'number' ? v : (v[i] as number));

/** The pairwise tree of `across`: lane i with lane i + half, until one is left. */
const reduce = (op: KReduce, x: readonly number[], dtype: Expr['dtype']): number => {
  let v = x;
  while (v.length > 1) {
    const half = v.length / 2;
    v = v.slice(0, half).map((a, i) => foldBinary(op, a, v[i + half] as number, dtype) as number);
  }
  return v[0] as number;
};

/** Statements at which a thread may have to wait for others. */
const waits: ReadonlySet<Stmt['s']> = new Set<Stmt['s']>([
  ...(['barrier', 'exchange', 'fragment', 'mma'] as const),
  ...(['arrive', 'await', 'fence', 'wgmma'] as const),
]);
const stopsAlone = (s: Stmt): boolean => waits.has(s.s) || ((s.s === 'commit' || s.s === 'wait') && s.of === 'products');

const failing =
  (kernel: Kernel) =>
  (message: string, t: Thread): never => {
    throw new FoveaError('FV0201', `kernel ${kernel.name}, block ${t.block.join(' ')}, thread ${t.thread}: ${message}`);
  };

const compiler = (kernel: Kernel, mem: Memory) => {
  const fail = failing(kernel);
  /** Types of arrays by name. */
  const dtypes = new Map<string, KType>();
  const tensors = new Map<string, AsyncStmt & { readonly s: 'tensorMap' }>();
  const known = new Map<Expr, Eval>();
  /** Counts statements as they run: within one, an expression that is used twice is computed once. */
  let now = 0;
  const expr = (x: Expr): Eval => {
    const old = known.get(x);
    if (old) return old;
    const made = operands(x).length > 0 ? once(compile(x)) : compile(x);
    known.set(x, made);
    return made;
  };
  const once = (f: Eval): Eval => {
    let [then, value]: [number, Value] = [-1, 0];
    return (t) => {
      if (then === now) return value;
      value = f(t);
      then = now;
      return value;
    };
  };
  const one = (x: Expr, f: (v: number) => number): Eval => {
    const a = expr(x);
    return x.lanes === 1 ? (t) => f(a(t) as number) : (t) => (a(t) as readonly number[]).map(f);
  };
  const two = (x: Expr, y: Expr, f: (a: number, b: number, t: Thread) => number): Eval => {
    const [a, b] = [expr(x), expr(y)];
    if (x.lanes === 1) return (t) => f(a(t) as number, b(t) as number, t);
    return (t) => {
      const v = b(t) as readonly number[];
      return (a(t) as readonly number[]).map((u, i) => f(u, v[i] as number, t));
    };
  };
  const compile = (x: Expr): Eval => {
    switch (x.k) {
      case 'const': {
        const v = each(x.lanes, () => x.value);
        return () => v;
      }
      case 'ref':
        return (t) => t.values.get(x.name) ?? fail(`${x.name} has no value`, t);
      case 'block':
        return (t) => t.block[x.axis];
      case 'thread':
        return (t) => t.thread;
      case 'place': {
        const axis = x.axis === 'row' ? 0 : 1;
        return (t) => each(x.lanes, (i) => placeOfSum(t.thread % warp, i)[axis]);
      }
      case 'unary':
        return one(x.x, (v) => foldUnary(x.op, v, x.dtype));
      case 'binary':
        return two(x.x, x.y, (a, b, t) => foldBinary(x.op, a, b, x.dtype) ?? fail(`${printExpr(x)}: ${x.op}(${a}, ${b}) is undefined`, t));
      case 'compare':
        return two(x.x, x.y, (a, b) => foldCompare(x.cmp, a, b));
      case 'select': {
        const [c, a, b] = [expr(x.c), expr(x.x), expr(x.y)];
        return (t) => {
          const [m, u, v] = [c(t), a(t), b(t)];
          return each(x.lanes, (i) => (at(m, i) ? at(u, i) : at(v, i)));
        };
      }
      case 'fma': {
        const [a, b, c] = [expr(x.x), expr(x.y), expr(x.z)];
        return (t) => {
          const [u, v, w] = [a(t), b(t), c(t)];
          return each(x.lanes, (i) => foldFma(at(u, i), at(v, i), at(w, i)));
        };
      }
      case 'dot2': {
        const [a, b, c] = [expr(x.x), expr(x.y), expr(x.z)];
        const step = x.x.lanes === 2 ? 0 : 2;
        return (t) => {
          const [u, v, w] = [a(t), b(t), c(t)];
          return each(x.lanes, (i) => foldDot2(at(u, i * step), at(u, i * step + 1), at(v, 2 * i), at(v, 2 * i + 1), at(w, i)));
        };
      }
      case 'cast':
        return one(x.x, (v) => foldCast(v, x.x.dtype, x.dtype));
      case 'bitcast':
        if (x.x.dtype === 'bf16' || x.x.dtype === 'f16') {
          const [a, of] = [expr(x.x), x.x.dtype];
          const bits = (v: Value, i: number): number => bitsOf(at(v, i), of);
          return (t) => {
            const v = a(t);
            return each(x.lanes, (i) => (bits(v, 2 * i) | (bits(v, 2 * i + 1) << 16)) >>> 0);
          };
        }
        if (x.dtype === 'bf16' || x.dtype === 'f16') {
          const [a, of] = [expr(x.x), x.dtype];
          return (t) => {
            const v = a(t);
            return each(x.lanes, (i) => numberOf((at(v, i >> 1) >>> (16 * (i % 2))) & 0xffff, of));
          };
        }
        return one(x.x, (v) => foldBitcast(v, x.x.dtype, x.dtype));
      case 'splat': {
        const a = expr(x.x);
        return (t) => {
          const v = a(t) as number;
          return each(x.lanes, () => v);
        };
      }
      case 'ramp': {
        const a = expr(x.base);
        return (t) => {
          const v = a(t) as number;
          return each(x.lanes, (i) => v + i);
        };
      }
      case 'lane': {
        const a = expr(x.x);
        return (t) => at(a(t), x.i);
      }
      case 'zip': {
        const [a, b] = [expr(x.x), expr(x.y)];
        const first = x.half === 'low' ? 0 : x.lanes / 2;
        return (t) => {
          const [u, v] = [a(t), b(t)];
          return each(x.lanes, (l) => at(l % 2 === 0 ? u : v, first + (l >> 1)));
        };
      }
      case 'across': {
        const a = expr(x.x);
        return (t) => reduce(x.op, a(t) as readonly number[], x.dtype);
      }
      case 'load': {
        const [i, m] = [expr(x.index), x.mask && expr(x.mask)];
        return (t) => {
          const [where, mask] = [i(t), m?.(t)];
          const place = t.places.get(x.from) as Place;
          const address = (l: number): number => (typeof where === 'number' ? where + l : (where[l] as number));
          return each(x.lanes, (l) => (mask !== undefined && !at(mask, l) ? 0 : mem.load(place, address(l), t, fail)));
        };
      }
    }
  };

  const stops = (s: Stmt): boolean =>
    stopsAlone(s) || (s.s === 'for' && s.body.some(stops)) || (s.s === 'if' && (s.body.some(stops) || s.otherwise.some(stops)));
  const sequence = (body: readonly Stmt[]): Step => {
    const steps = body.map(stmt);
    if (!body.some(stops)) {
      const runs = steps.map((s) => s.run as Exec);
      return { kind: 'plain', run: (t) => runs.forEach((r) => r(t)) };
    }
    return {
      kind: 'stops',
      run: function* (t) {
        for (const s of steps) {
          if (s.kind === 'plain') s.run(t);
          else yield* s.run(t);
        }
      },
    };
  };
  const stmt = (s: Stmt): Step => {
    const step = statement(s);
    // a statement evaluates its own expressions before anything else runs
    if (step.kind === 'plain')
      return {
        kind: 'plain',
        run: (t) => {
          now++;
          step.run(t);
        },
      };
    return {
      kind: 'stops',
      run: function* (t) {
        now++;
        yield* step.run(t);
      },
    };
  };
  const statement = (s: Stmt): Step => {
    switch (s.s) {
      case 'let':
      case 'var':
      case 'set': {
        const v = expr(s.value);
        return { kind: 'plain', run: (t) => void t.values.set(s.name, v(t)) };
      }
      case 'alloc':
        dtypes.set(s.name, s.dtype);
        return {
          kind: 'plain',
          run: (t) => {
            const old = s.space === 'shared' ? t.shared.get(s.name) : undefined;
            const place = old ?? mem.local(s.name, s.size, s.space);
            if (s.space === 'shared') t.shared.set(s.name, place);
            t.places.set(s.name, place);
          },
        };
      case 'store': {
        const [i, v, m] = [expr(s.index), expr(s.value), s.mask && expr(s.mask)];
        return {
          kind: 'plain',
          run: (t) => {
            const [where, value, mask] = [i(t), v(t), m?.(t)];
            const place = t.places.get(s.to) as Place;
            for (let l = 0; l < s.value.lanes; l++) {
              if (mask !== undefined && !at(mask, l)) continue;
              const a = typeof where === 'number' ? where + l : (where[l] as number);
              mem.store(place, a, at(value, l), t, fail);
            }
          },
        };
      }
      case 'for': {
        const [from, to, inner] = [expr(s.from), expr(s.to), sequence(s.body)];
        if (inner.kind === 'plain')
          return {
            kind: 'plain',
            run: (t) => {
              const end = to(t) as number;
              for (let i = from(t) as number; i < end; i += s.step) {
                t.values.set(s.name, i);
                inner.run(t);
              }
            },
          };
        return {
          kind: 'stops',
          run: function* (t) {
            const end = to(t) as number;
            for (let i = from(t) as number; i < end; i += s.step) {
              t.values.set(s.name, i);
              yield* inner.run(t);
            }
          },
        };
      }
      case 'if': {
        const [cond, then, otherwise] = [expr(s.cond), sequence(s.body), sequence(s.otherwise)];
        if (then.kind === 'plain' && otherwise.kind === 'plain')
          return { kind: 'plain', run: (t) => (cond(t) ? then.run(t) : otherwise.run(t)) };
        return {
          kind: 'stops',
          run: function* (t) {
            const taken = cond(t) ? then : otherwise;
            if (taken.kind === 'plain') taken.run(t);
            else yield* taken.run(t);
          },
        };
      }
      case 'prefetch':
        return { kind: 'plain', run: () => {} };
      case 'barrier':
        return {
          kind: 'stops',
          run: function* (t) {
            const own = Math.floor(t.thread / warp);
            // what happened so far in the warp is over for all its threads
            yield s.of === 'block' ? 'barrier' : meeting(s, warp, mem.tick, () => t.seen.fill(mem.tick(), own, own + 1));
          },
        };
      case 'fragment': {
        const at = expr(s.index);
        const of = dtypes.get(s.from) as KMatrix;
        const together: Meeting['together'] = (all) =>
          fragments(
            all.map(([line]) => line as readonly number[]),
            s.turned,
          );
        return {
          kind: 'stops',
          run: function* (t) {
            const [from, first] = [t.places.get(s.from) as Place, at(t) as number];
            if (first % 8 !== 0) fail(`${s.from}[${first}] is no start of eight elements`, t);
            const line = Array.from({ length: 8 }, (_, n) => bitsOf(mem.load(from, first + n, t, fail), of));
            yield { at: s, width: warp, given: [line], together, take: (words) => void t.values.set(s.name, words) };
          },
        };
      }
      case 'mma': {
        const [x, y] = [expr(s.x), expr(s.y)];
        const together: Meeting['together'] = (all) => {
          const [xs, ys, sums] = [0, 1, 2].map((i) => all.map((given) => given[i] as readonly number[])) as [
            number[][],
            number[][],
            number[][],
          ];
          return multiplied(s.of, xs, ys, sums);
        };
        return {
          kind: 'stops',
          run: function* (t) {
            const given = [x(t), y(t), t.values.get(s.name)] as readonly (readonly number[])[];
            yield { at: s, width: warp, given, together, take: (sums) => void t.values.set(s.name, sums) };
          },
        };
      }
      case 'copy': {
        const [at, index, count] = [expr(s.at), expr(s.index), s.count && expr(s.count)];
        return {
          kind: 'plain',
          run: (t) => {
            const [goal, first, few] = [at(t) as number, index(t) as number, (count?.(t) ?? s.lanes) as number];
            if (goal % s.lanes !== 0) fail(`copies ${s.lanes} elements to ${s.to}[${goal}]`, t);
            if (few > 0 && first % s.lanes !== 0) fail(`copies ${s.lanes} elements from ${s.from}[${first}]`, t);
            if (!(few >= 0 && few <= s.lanes)) fail(`copies ${few} of ${s.lanes} elements`, t);
            const from = t.places.get(s.from) as Place;
            const values = Array.from({ length: s.lanes }, (_, l) => (l < few ? mem.load(from, first + l, t, fail) : 0));
            t.copies.begin(t.places.get(s.to) as Place, goal, values, t);
          },
        };
      }
      case 'commit':
      case 'wait':
        if (s.of === 'products') return { kind: 'stops', run: productsStatement(s, fail) };
        return { kind: 'plain', run: (t) => (s.s === 'commit' ? t.copies.commit() : t.copies.wait(s.pending, t)) };
      case 'tensorMap':
      case 'mbarrier':
      case 'arrive':
      case 'expect':
      case 'await':
      case 'fetch':
      case 'wgmma':
      case 'fence':
      case 'registers':
        return asyncStatement(s, expr, tensors, mem, fail);
      case 'exchange': {
        const v = expr(s.value);
        const together: Meeting['together'] = (all) => all.map((_, t) => (all[t ^ s.by] as Meeting['given'])[0] as readonly number[]);
        return {
          kind: 'stops',
          run: function* (t) {
            yield { at: s, width: warp, given: [[v(t) as number]], together, take: ([x]) => void t.values.set(s.name, x as number) };
          },
        };
      }
    }
  };
  return sequence(kernel.body);
};

/** 0 .. n-1 in the asked order. */
const permutation = (n: number, order: NonNullable<InterpretOptions['order']>): readonly number[] => {
  const p = Array.from({ length: n }, (_, i) => (order === 'reverse' ? n - 1 - i : i));
  if (typeof order === 'string') return p;
  let state = (order.seed >>> 0) + 1;
  for (let i = n - 1; i > 0; i--) {
    // a linear congruential step is random enough to change an order
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    const j = state % (i + 1);
    [p[i], p[j]] = [p[j] as number, p[i] as number];
  }
  return p;
};

/** Runs a verified kernel in place on the arrays of its buffers (f16 and bf16 as their bits, bool as 0 and 1). */
export const interpretKernel = (kernel: Kernel, buffers: Readonly<Record<string, HostData>>, options: InterpretOptions = {}): void => {
  const mem = memory();
  const globals = kernel.buffers.map((b) => {
    const data = buffers[b.name];
    if (!data || data.length < b.size)
      throw new FoveaError('FV0201', `kernel ${kernel.name}: ${b.name} takes ${b.size} elements, got ${data?.length ?? 'nothing'}`);
    return mem.buffer(b, data);
  });
  const program = compiler(kernel, mem);
  const order = options.order ?? 'forward';
  const [gx, gy, gz] = kernel.grid;
  for (const n of permutation(options.blocks ?? gx * gy * gz, order)) {
    const block = [n % gx, Math.floor(n / gx) % gy, Math.floor(n / (gx * gy))] as const;
    const shared = new Map<string, Place>();
    mem.enterBlock(n);
    const beside = asyncOf(mem, failing(kernel));
    const threads = permutation(kernel.threads, order).map(
      (thread): Thread => ({
        values: new Map(),
        places: new Map(globals.map((p) => [p.name, p])),
        shared,
        block,
        thread,
        copies: copies(mem, failing(kernel)),
        seen: nothingSeen(),
        async: beside,
      }),
    );
    if (program.kind === 'plain') for (const t of threads) program.run(t);
    else
      runThreads(
        threads.map((t) => [t.thread, program.run(t)]),
        mem.barrier,
        beside.land,
        `kernel ${kernel.name}, block ${block.join(' ')}`,
      );
    for (const t of threads) {
      t.copies.end(t);
      beside.end(t);
    }
  }
};
