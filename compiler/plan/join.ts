/**
 * Few launches instead of many: steps of one kernel that do not need each other become one launch of several parts. The optimizer does
 * the same to every parameter, so its steps are a handful of launches, and so are the sums of squares of a gradient norm.
 *
 *   square sum of a, sum of its parts, of b, of its parts    ->    square sums of a and b, sums of their parts
 *   AdamW of a, of b, of c (one kernel, tables)               ->    AdamW of a, b and c
 *
 * A step waits while that costs no memory to speak of: a small one until something reads its result, and then all that wait for its
 * kernel go together. A step that is not small may move up to the last launch of its kernel, if all that it reads is written before
 * and what it writes is small or lies where an input lay; otherwise what it makes would live longer than it must.
 *
 * The order that results is as good as the given one: each value is written before it is read, and the value that takes an input's place
 * is written after every step that came before it and reads that input.
 */
import { prodDim } from '../graph/dim.ts';
import { bytesOf, type Node, type TensorType, type Value } from '../graph/types.ts';
import type { Kernel } from '../kernel/types.ts';
import type { Launch, Part } from './types.ts';

/** A launch whose buffers are still values. */
export type Step = Omit<Launch, 'parts'> & {
  readonly parts: readonly StepPart[];
  /** A start or a wait instead of a kernel: it has no parts. */
  readonly transfer?: Transfer | undefined;
};
/** The values that a start sends, in memory until the wait, and those that come. */
export interface Transfer {
  readonly node: Node;
  readonly reads: readonly Value[];
  readonly writes: readonly Value[];
}
export type StepPart = Omit<Part, 'offsets'> & {
  readonly buffers: readonly Value[];
  /** The group that it computes, by number; absent where it is the plan's own work. */
  readonly group?: number;
};

/** Bytes of a tensor whose sizes are numbers. */
export const typeBytes = (t: TensorType): number => (prodDim(t.shape) as number) * bytesOf[t.dtype];

export const readBy = (s: Step, kernels: readonly Kernel[]): readonly Value[] =>
  s.transfer?.reads ?? s.parts.flatMap((p) => p.buffers.filter((_, i) => kernels[s.kernel]?.buffers[i]?.access === 'read'));
export const writtenBy = (s: Step, kernels: readonly Kernel[]): readonly Value[] =>
  s.transfer?.writes ?? s.parts.flatMap((p) => p.buffers.filter((_, i) => kernels[s.kernel]?.buffers[i]?.access !== 'read'));

/** Bytes that may live longer than they must for the sake of a launch. */
const little = 1 << 14;

/** a/b/c and a/b/d: a/b */
const commonScope = (a: string, b: string): string => {
  if (a === b) return a;
  const [xs, ys] = [a.split('/'), b.split('/')];
  const end = xs.findIndex((x, i) => x !== ys[i]);
  return xs.slice(0, end < 0 ? xs.length : end).join('/');
};

const together = (a: Step, b: Step): Step => ({
  ...a,
  parts: [...a.parts, ...b.parts],
  scope: commonScope(a.scope, b.scope),
  flops: a.flops + b.flops,
  bytes: a.bytes + b.bytes,
});

/** The steps in an order of few launches. `replaced` has the values that are to lie where an input lies, and that input. */
export const joinSteps = (steps: readonly Step[], kernels: readonly Kernel[], replaced: ReadonlyMap<Value, Value>): readonly Step[] => {
  const made: Step[] = [];
  /** Launches, by number, that write a value, that read it last, and the last of a kernel. */
  const writer = new Map<Value, number>();
  const reader = new Map<Value, number>();
  const latest = new Map<number, number>();
  const waiting = new Map<number, Step[]>();
  /** The kernels of the waiting steps that write a value, or read it. */
  const writes = new Map<Value, number>();
  const reads = new Map<Value, Set<number>>();

  const place = (s: Step): void => {
    const [from, to] = [readBy(s, kernels), writtenBy(s, kernels)];
    const before = [...from.map((v) => writer.get(v)), ...to.map((v) => reader.get(replaced.get(v) ?? v))];
    const after = Math.max(-1, ...before.map((i) => i ?? -1));
    const own = to.reduce((n, v) => n + (replaced.has(v) ? 0 : typeBytes(v.type)), 0);
    const last = latest.get(s.kernel);
    const joins = !s.transfer && last !== undefined && last > after && own <= little && made[last]?.phase === s.phase;
    const at = joins ? last : made.length;
    made[at] = joins ? together(made[last] as Step, s) : s;
    if (!s.transfer) latest.set(s.kernel, at);
    for (const v of to) writer.set(v, at);
    for (const v of from) reader.set(v, Math.max(at, reader.get(v) ?? -1));
  };
  const go = (kernel: number): void => {
    const all = waiting.get(kernel) ?? [];
    waiting.delete(kernel);
    for (const s of all) {
      place(s);
      for (const v of writtenBy(s, kernels)) writes.delete(v);
      for (const v of readBy(s, kernels)) reads.get(v)?.delete(kernel);
    }
  };
  for (const s of steps) {
    const [from, to] = [readBy(s, kernels), writtenBy(s, kernels)];
    for (const v of from) if (writes.has(v)) go(writes.get(v) as number);
    for (const v of to) for (const k of [...(reads.get(replaced.get(v) ?? v) ?? [])]) go(k);
    if (s.transfer || s.bytes > little) {
      place(s);
      continue;
    }
    const others = waiting.get(s.kernel);
    if (others) others.push(s);
    else waiting.set(s.kernel, [s]);
    for (const v of to) writes.set(v, s.kernel);
    for (const v of from) reads.set(v, (reads.get(v) ?? new Set()).add(s.kernel));
  }
  for (const kernel of [...waiting.keys()]) go(kernel);
  return made;
};
