/**
 * The statements of K about what runs beside the threads (async.ts, wgmma.ts), for the interpreter.
 *
 *   expect full[s] 32768;  fetch left[at] = a[kp, row] on full[s]        the data come when someone awaits full[s]
 *   fence;  wgmma.bf16 s0 s1 = left[i], right[j];  commit.products       s0 and s1 have values after wait.products 0
 */
import type { Async } from './async.ts';
import { fragmentRows, warp } from './matrix.ts';
import type { Fail, Memory, Place, Who } from './memory.ts';
import { bitsOf, numberOf } from './scalar.ts';
import type { Meeting, Stop } from './threads.ts';
import type { Expr, KLines, KPhase, Stmt } from './types.ts';
import { addedProducts, atomSize, elementOf, groupRows, swizzled, warpGroup } from './wgmma.ts';

export type Value = number | readonly number[];
export interface AsyncThread<T extends Who> extends Who {
  readonly values: Map<string, Value>;
  readonly places: Map<string, Place>;
  readonly async: Async<T>;
}
export type AsyncStmt = Extract<
  Stmt,
  { readonly s: 'tensorMap' | 'mbarrier' | 'arrive' | 'expect' | 'await' | 'fetch' | 'wgmma' | 'fence' | 'registers' }
>;
type Run<T> = (t: T) => Generator<Stop, void, void>;

const width = 16;
const nothing = (all: readonly unknown[]): readonly (readonly number[])[] => all.map(() => []);
const groupOf = (thread: number): number => Math.floor(thread / warpGroup);

/** The threads of a warp, or of a warp group, meet; one of them does what they do together. */
export const meeting = (at: Stmt, width: number, together: () => void, take: () => void = () => {}): Meeting => ({
  at,
  width,
  given: [],
  together: (all) => {
    together();
    return nothing(all);
  },
  take,
});

/** What is done at once, and what a thread may have to wait at; `tensors` are the tensor maps of the kernel. */
export const asyncStatement = <T extends AsyncThread<T>>(
  s: AsyncStmt,
  expr: (x: Expr) => (t: T) => Value,
  tensors: Map<string, AsyncStmt & { readonly s: 'tensorMap' }>,
  mem: Memory,
  fail: Fail<T>,
): { readonly kind: 'plain'; readonly run: (t: T) => void } | { readonly kind: 'stops'; readonly run: Run<T> } => {
  const number = (x: Expr): ((t: T) => number) => expr(x) as (t: T) => number;
  const phase = ({ name, index }: KPhase): ((t: T) => readonly [string, number]) => {
    const i = number(index);
    return (t) => [name, i(t)];
  };
  switch (s.s) {
    case 'tensorMap':
      tensors.set(s.name, s);
      return { kind: 'plain', run: () => {} };
    case 'registers':
      return { kind: 'plain', run: () => {} };
    case 'mbarrier':
      return { kind: 'plain', run: (t) => t.async.mbarrier(s.name, s.size, s.arrivals) };
    case 'arrive': {
      const at = phase(s.at);
      return {
        kind: 'stops',
        run: function* (t) {
          const [name, i] = at(t);
          yield {
            ...{ at: s, width: warp, given: [[i], Array.from(t.seen)] },
            together: (all) => {
              if (all.some(([other]) => (other as readonly number[])[0] !== i)) fail('threads of a warp arrive at different mbarriers', t);
              t.async.arriveWarp(
                name,
                i,
                all.map(([, seen]) => Int32Array.from(seen as readonly number[])),
                t,
              );
              return nothing(all);
            },
            take: () => t.seen.fill(mem.tick(), Math.floor(t.thread / warp), Math.floor(t.thread / warp) + 1),
          };
        },
      };
    }
    case 'expect': {
      const at = phase(s.at);
      return { kind: 'plain', run: (t) => t.async.expect(...at(t), s.bytes, t) };
    }
    case 'await': {
      const [at, parity] = [phase(s.at), number(s.parity)];
      return {
        kind: 'stops',
        run: function* (t) {
          const [[name, i], p] = [at(t), parity(t)];
          if (!t.async.over(name, i, p, t))
            yield {
              over: () => t.async.over(name, i, p, t),
              what: () => `the phase of parity ${p} of ${name}[${i}], which lacks ${t.async.lacks(name, i)}`,
            };
          t.async.learn(name, i, t);
        },
      };
    }
    case 'fetch': {
      const [at, on, corner] = [number(s.at), phase(s.on), s.index.map(number)];
      const map = tensors.get(s.from) as AsyncStmt & { readonly s: 'tensorMap' };
      const count = map.box.reduce((n, b) => n * b, 1);
      return {
        kind: 'plain',
        run: (t) => {
          const [first, [name, i], begin] = [at(t), on(t), corner.map((c) => c(t))];
          if (first % atomSize !== 0) fail(`fetches to ${s.to}[${first}], which is no start of an atom of ${atomSize} elements`, t);
          const from = t.places.get(map.from) as Place;
          const elements = Array.from({ length: count }, (_, n): readonly [number, number] => {
            let [rest, place, inside] = [n, map.base, true];
            map.box.forEach((b, axis) => {
              const x = (begin[axis] as number) + (rest % b);
              rest = Math.floor(rest / b);
              inside &&= x >= 0 && x < (map.sizes[axis] as number);
              place += x * (map.strides[axis] as number);
            });
            return [swizzled(first + n), inside ? mem.load(from, place, t, fail) : 0];
          });
          t.async.fetch({ to: t.places.get(s.to) as Place, elements, on: name, index: i, bytes: 2 * count }, t);
        },
      };
    }
    case 'fence':
      return {
        kind: 'stops',
        run: function* (t) {
          yield meeting(s, warpGroup, () => t.async.fence(groupOf(t.thread)));
        },
      };
    case 'wgmma': {
      const own = 'k' in s.x ? (expr(s.x) as (t: T) => readonly number[]) : undefined;
      const [x, y] = ['k' in s.x ? () => 0 : number(s.x.index), number(s.y.index)];
      return {
        kind: 'stops',
        run: function* (t) {
          const group = groupOf(t.thread);
          const sums = s.names.map((name) => {
            const [v, held] = [t.values.get(name), t.async.held(group, name)];
            if (v !== undefined && held) fail(`${name} was set while products are added to it`, t);
            return (v ?? held?.[t.thread % warpGroup] ?? fail(`${name} has no value`, t)) as readonly number[];
          });
          const [from, to] = [x(t), y(t)];
          yield {
            ...{ at: s, width: warpGroup, given: [[from, to], Array.from(t.seen), own?.(t) ?? [], ...sums] },
            together: (all) => {
              if (all.some(([where]) => where?.[0] !== from || where[1] !== to)) fail('threads of a warp group name different matrices', t);
              // what every thread of the group knows
              const seen = Int32Array.from(t.seen, (_, i) => Math.min(...all.map((g) => g[1]?.[i] as number)));
              const who = { ...t, thread: -1, seen };
              const reads = new Map<Place, Set<number>>();
              const matrix = (lines: KLines, index: number, rows: number): readonly Float64Array[] => {
                const place = t.places.get(lines.from) as Place;
                const atoms = reads.get(place) ?? new Set<number>();
                reads.set(place, atoms);
                return Array.from({ length: rows }, (_, r) =>
                  Float64Array.from({ length: width }, (_, p) => {
                    const i = elementOf({ ...lines, index }, r, p);
                    atoms.add(Math.floor(i / atomSize));
                    return numberOf(
                      bitsOf(
                        mem.look(place, i, who, (message) => fail(message, t)),
                        s.of,
                      ),
                      s.of,
                    );
                  }),
                );
              };
              const words = all.map((given) => given[2] as readonly number[]);
              const rows =
                'k' in s.x
                  ? [0, 1, 2, 3].flatMap((w) => fragmentRows(words.slice(w * warp, (w + 1) * warp), s.of, true))
                  : matrix(s.x, from, groupRows);
              const columns = matrix(s.y, to, width * s.names.length);
              const made = addedProducts(
                rows,
                columns,
                all.map((given) => given.slice(3)),
              );
              t.async.multiply(
                group,
                s.names.map((name, j) => [name, made.map((own) => own[j] as readonly number[])]),
                [...reads].flatMap(([place, atoms]) => [...atoms].map((a): [Place, number] => [place, a])),
                t,
              );
              return nothing(all);
            },
            take: () => {
              for (const name of s.names) t.values.delete(name);
            },
          };
        },
      };
    }
  }
};

/** commit and wait of products. */
export const productsStatement = <T extends AsyncThread<T>>(s: Stmt & { readonly s: 'commit' | 'wait' }, fail: Fail<T>): Run<T> =>
  function* (t) {
    const group = groupOf(t.thread);
    if (s.s === 'commit') yield meeting(s, warpGroup, () => t.async.commit(group));
    else {
      yield {
        ...meeting(s, warpGroup, () => t.async.settle(group, s.pending)),
        take: () => {
          for (const [name, values] of t.async.settled(group)) {
            if (t.values.has(name)) fail(`${name} was set while products were added to it`, t);
            t.values.set(name, values[t.thread % warpGroup] as readonly number[]);
          }
        },
      };
    }
  };
