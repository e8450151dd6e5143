/**
 * What is wrong with a plan's use of its arena, found by keeping book of its bytes: a launch reads what nobody wrote, two values that
 * live at the same time share bytes, a launch writes outside of what lives. The other way to show the first is to fill the arena with
 * NaN before a run.
 */
import { bytesOf } from '../compiler/graph/types.ts';
import type { Lifetime, Plan } from '../compiler/plan/types.ts';

type Range = readonly [from: number, to: number];

/**
 * The ranges of the arena that each launch reads and writes, as whole buffers. A buffer that a kernel writes and reads again counts as
 * written: that it reads only what it wrote itself is for the poison to show.
 */
const traffic = (plan: Plan): { readonly reads: readonly Range[]; readonly writes: readonly Range[] }[] =>
  plan.launches.map(({ kernel, offsets, part }) => {
    const buffers = plan.kernels[kernel]?.buffers ?? [];
    const ranges = (mode: 'read' | 'write'): Range[] =>
      buffers.flatMap((b, i) =>
        (b.access === 'read') === (mode === 'read')
          ? [[offsets[i] as number, (offsets[i] as number) + (part?.sizes[i] ?? b.size) * bytesOf[b.dtype]] as const]
          : [],
      );
    return { reads: ranges('read'), writes: ranges('write') };
  });

const meet = (a: Range, b: Range): boolean => a[0] < b[1] && b[0] < a[1];
const rangeOf = ({ slot }: Pick<Lifetime, 'slot'>): Range => [slot.offset, slot.offset + slot.bytes];

/** The faults of a plan, as sentences; none where it is sound. */
export const faults = (plan: Plan): string[] => {
  const out: string[] = [];
  const written = new Uint8Array(plan.arenaBytes);
  const fill = ([a, b]: Range): unknown => written.fill(1, a, b);
  for (const s of [...plan.inputs, ...plan.constants.map((c) => c.slot)]) fill(rangeOf({ slot: s }));
  traffic(plan).forEach(({ reads, writes }, i) => {
    for (const r of reads)
      if (written.subarray(r[0], r[1]).includes(0)) out.push(`launch ${i} reads [${r.join(', ')}), which nobody wrote`);
    writes.forEach((w, k) => {
      for (const other of writes.slice(k + 1)) if (meet(w, other)) out.push(`launch ${i} writes [${w.join(', ')}) twice`);
      // what it writes is one live value, whole or in part, and no part of another
      const live = plan.lifetimes.filter((l) => l.first <= i && i <= l.last && meet(w, rangeOf(l)));
      if (live.length !== 1 || w[1] > rangeOf(live[0] as Lifetime)[1])
        out.push(`launch ${i} writes [${w.join(', ')}), where ${live.length} values live`);
      // and it reads its own output only at the same place, where the kernel may work in place
      for (const r of reads)
        if (meet(r, w) && r[0] !== w[0]) out.push(`launch ${i} reads [${r.join(', ')}) while it writes [${w.join(', ')})`);
      if (w[1] > plan.arenaBytes) out.push(`launch ${i} writes beyond the arena`);
    });
    for (const w of writes) fill(w);
  });
  for (const o of plan.outputs)
    if (written.subarray(o.offset, o.offset + o.bytes).includes(0)) out.push(`an output at ${o.offset} was never written`);
  plan.lifetimes.forEach((a, i) => {
    for (const b of plan.lifetimes.slice(i + 1))
      if (a.first <= b.last && b.first <= a.last && meet(rangeOf(a), rangeOf(b)))
        out.push(`${a.scope} and ${b.scope} live at the same time in the same bytes`);
  });
  return out;
};
