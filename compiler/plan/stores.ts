/**
 * Which results are written past the caches (`nontemporal` in K): those of as many bytes as the last cache holds, which would push everything
 * else out of it, and be gone themselves before they are read. Not what is written over an operand: its lines were just read, and to go past them
 * costs half as much again as to write into them.
 *
 *   y = x * 2         [65536, 384]               k0(b0 read, b1 write nontemporal)
 *   w = w - lr * g    w donated, in its place    k1(b0 read, b1 read, b2 write)
 *
 * So a kernel may become two. Decided when it is known where values lie.
 */
import { bytesOf, type Value } from '../graph/types.ts';
import type { Kernel } from '../kernel/types.ts';
import type { Step } from './join.ts';

/** The steps and the kernels they use, renumbered. `place` is the value whose bytes a value lies in, `least` the bytes from which stores go past the caches. */
export const pastCaches = (
  steps: readonly Step[],
  kernels: readonly Kernel[],
  place: (v: Value) => Value,
  least: number | undefined,
): { readonly steps: readonly Step[]; readonly kernels: readonly Kernel[] } => {
  if (least === undefined) return { steps, kernels };
  const past = ({ parts }: Step, { buffers }: Kernel): readonly boolean[] =>
    buffers.map(
      (b, i) =>
        b.access === 'write' &&
        parts.reduce((n, p) => n + (p.sizes[i] as number) * bytesOf[b.dtype], 0) >= least &&
        parts.every((p) => p.buffers.every((v, k) => buffers[k]?.access !== 'read' || place(v) !== place(p.buffers[i] as Value))),
    );
  const made: Kernel[] = [];
  const numbers = new Map<string, number>();
  const numbered = (s: Step): number => {
    const kernel = kernels[s.kernel] as Kernel;
    const marks = past(s, kernel);
    const key = `${s.kernel} ${marks.join()}`;
    const old = numbers.get(key);
    if (old !== undefined) return old;
    const buffers = kernel.buffers.map((b, i) => (marks[i] ? { ...b, nontemporal: true as const } : b));
    numbers.set(key, made.length);
    return made.push({ ...kernel, name: kernel.name.replace(/^k\d+/, `k${made.length}`), buffers }) - 1;
  };
  return { steps: steps.map((s) => (s.transfer ? s : { ...s, kernel: numbered(s) })), kernels: made };
};
