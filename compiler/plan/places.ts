/**
 * Which values lie in the place of another one? A result takes that of its donated input, and a value between takes that of one which the
 * step that makes it is the last to read: then a step needs no room for what it makes.
 *
 *   h = exp(x); y = h + 1; return sum(y), x donated to nobody     ->   y lies where h lay; h has a place of its own
 *
 * Both only where the step may write in place (kernel/inplace.ts). A result that may not is copied at the end of the step.
 */
import type { Value } from '../graph/types.ts';
import { mayAlias } from '../kernel/inplace.ts';
import type { Kernel } from '../kernel/types.ts';
import { readBy, type Step, type StepPart, typeBytes, writtenBy } from './join.ts';

/** The number of the step that makes a value, and of the last that has it among its buffers. */
export interface Uses {
  readonly producer: ReadonlyMap<Value, number>;
  readonly last: ReadonlyMap<Value, number>;
}

export const usesOf = (steps: readonly Step[], kernels: readonly Kernel[]): Uses => {
  const producer = new Map<Value, number>();
  const last = new Map<Value, number>();
  steps.forEach((s, i) => {
    for (const v of writtenBy(s, kernels)) producer.set(v, i);
    for (const v of [...readBy(s, kernels), ...writtenBy(s, kernels)]) last.set(v, i);
  });
  return { producer, last };
};

/** Whether a step may write `out` over `input`. One value may stand behind several buffers of a kernel; what one part writes no other may read. */
const inPlace = (step: Step, kernels: readonly Kernel[], out: Value, input: Value): boolean => {
  const kernel = kernels[step.kernel] as Kernel;
  const names = (v: Value, p: StepPart): readonly string[] => kernel.buffers.filter((_, i) => p.buffers[i] === v).map((b) => b.name);
  return step.parts.every((p) =>
    p.buffers.includes(out) ? names(input, p).every((r) => names(out, p).every((w) => mayAlias(kernel, r, w))) : !p.buffers.includes(input),
  );
};

export interface Places {
  /** The value in whose place another one lies, which may itself lie in the place of a third. */
  readonly shares: ReadonlyMap<Value, Value>;
  /** Results that lie elsewhere while the input is read, and that input. */
  readonly copies: readonly (readonly [from: Value, to: Value])[];
}

/** Places of the results that `replaced` gives an input's, and of what lies between. `results` keep places of their own. */
export const placesOf = (
  steps: readonly Step[],
  kernels: readonly Kernel[],
  { producer, last }: Uses,
  replaced: ReadonlyMap<Value, Value>,
  results: readonly Value[],
): Places => {
  const shares = new Map<Value, Value>();
  const copies: [Value, Value][] = [];
  for (const [out, input] of replaced) {
    const at = producer.get(out) as number;
    const read = last.get(input) ?? -1;
    if (read < at || (read === at && inPlace(steps[at] as Step, kernels, out, input))) shares.set(out, input);
    else copies.push([out, input]);
  }
  const kept = new Set(results);
  const between = (v: Value): boolean => producer.has(v) && !kept.has(v);
  steps.forEach((s, i) => {
    if (s.transfer) return;
    const dying = new Set(s.parts.flatMap((p) => p.buffers).filter((v) => between(v) && last.get(v) === i && producer.get(v) !== i));
    for (const v of writtenBy(s, kernels)) {
      if (!between(v)) continue;
      const fits = (u: Value): boolean => u.type.dtype === v.type.dtype && typeBytes(u.type) === typeBytes(v.type);
      const from = [...dying].find((u) => fits(u) && inPlace(s, kernels, v, u));
      if (!from) continue;
      dying.delete(from);
      shares.set(v, from);
    }
  });
  return { shares, copies };
};
