/**
 * When does the optimizer run? A step of it that gives back at least as much memory as it takes runs as soon as all that it needs of the
 * backward phase is there, and what it needs of its own phase just before it: the gradients of a head die before those of the backbone are made.
 *
 *   dW2 = ..   dW1 = ..   n2 = |dW2|   n1 = |dW1|   w2 = w2 - dW2 / n2   w1 = w1 - dW1 / n1
 *   dW2 = ..   n2 = |dW2|   w2 = w2 - dW2 / n2   dW1 = ..   n1 = |dW1|   w1 = w1 - dW1 / n1
 *
 * Only the order changes, and only of the phase `opt`, without its transfers: each step still comes after all that it reads from, and one that writes over
 * a donated input after all that read that input.
 */
import type { Value } from '../graph/types.ts';
import type { Kernel } from '../kernel/types.ts';
import { readBy, type Step, typeBytes, writtenBy } from './join.ts';

/** Bytes for which a step moves: smaller ones stay together, to be few launches (join.ts). */
const least = 1 << 16;

/** The steps, those of the optimizer moved up. `replaced` has the values that are to lie where an input lies, and that input. */
export const orderSteps = (steps: readonly Step[], kernels: readonly Kernel[], replaced: ReadonlyMap<Value, Value>): readonly Step[] => {
  const reads = steps.map((s) => [...new Set(readBy(s, kernels))]);
  const writes = steps.map((s) => writtenBy(s, kernels));
  const producer = new Map<Value, number>();
  const readers = new Map<Value, number[]>();
  steps.forEach((_, i) => {
    for (const v of writes[i] as readonly Value[]) producer.set(v, i);
    for (const v of reads[i] as Value[]) {
      const list = readers.get(v);
      if (list) list.push(i);
      else readers.set(v, [i]);
    }
  });
  const readersOf = (v: Value | undefined): readonly number[] => (v && readers.get(v)) ?? [];
  const isOpt = (i: number): boolean => steps[i]?.phase === 'opt' && !steps[i]?.transfer;
  const before = steps.map((_, i) => [
    ...(reads[i] as Value[]).map((v) => producer.get(v)).filter((k) => k !== undefined),
    ...(writes[i] as Value[]).flatMap((v) => readersOf(replaced.get(v)).filter((r) => r !== i)),
  ]);
  /** Of a step of the optimizer, the last step of another phase that must come before it. */
  const ready: number[] = [];
  steps.forEach((_, i) => {
    ready.push(isOpt(i) ? Math.max(-1, ...(before[i] as number[]).map((k) => (k < i ? (ready[k] as number) : i))) : i);
  });
  const shrinks = (i: number): boolean => {
    const dies = (v: Value): boolean => producer.has(v) && readersOf(v).every((r) => (ready[r] as number) <= (ready[i] as number));
    const takes = (writes[i] as Value[]).reduce((n, v) => n + (replaced.has(v) ? 0 : typeBytes(v.type)), 0);
    const gives = (reads[i] as Value[]).reduce((n, v) => n + (dies(v) ? typeBytes(v.type) : 0), 0);
    return gives >= least && takes <= gives;
  };
  // the step after which each step of the optimizer runs: its own, or that of one that needs it
  const slot = steps.map((_, i) => (isOpt(i) && shrinks(i) ? (ready[i] as number) : i));
  for (let i = steps.length - 1; i >= 0; i--)
    if ((slot[i] as number) < i)
      for (const k of before[i] as number[]) if (isOpt(k)) slot[k] = Math.min(slot[k] as number, slot[i] as number);
  const order = steps.map((_, i) => i);
  // at one slot the step that stands there itself comes first
  order.sort((a, b) => (slot[a] as number) - (slot[b] as number) || a - b);
  return order.map((i) => steps[i] as Step);
};
