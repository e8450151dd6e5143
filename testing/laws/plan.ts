/** The arena of a plan: every byte that is read was written, and two values that live at the same time share none. */
import type { HostData } from '../../compiler/graph/types.ts';
import { mayAlias } from '../../compiler/kernel/inplace.ts';
import { interpretKernel } from '../../compiler/kernel/interpret.ts';
import { faults } from '../faults.ts';
import { runKernels, type Watch } from '../kernels.ts';
import { compiled, planOf } from '../stages.ts';
import type { Law } from './law.ts';

/** A kernel that gives other bits where it writes `w` over `r`, though it may, as a sentence. */
const overwrites: (found: (fault: string) => void, note: (pairs: number) => void) => Watch = (found, note) => (kernel, named) => {
  for (const r of kernel.buffers)
    for (const w of kernel.buffers) {
      if (r.access !== 'read' || r.dtype !== w.dtype || r.size !== w.size || !mayAlias(kernel, r.name, w.name)) continue;
      note(1);
      const run = (alias: boolean): HostData => {
        const copy: Record<string, HostData> = Object.fromEntries(Object.entries(named).map(([name, data]) => [name, data.slice()]));
        if (alias) copy[w.name] = copy[r.name] as HostData;
        interpretKernel(kernel, copy);
        return copy[w.name] as HostData;
      };
      const [apart, over] = [run(false), run(true)];
      const at = apart.findIndex((x, i) => !Object.is(x, over[i]));
      if (at >= 0) found(`${kernel.name} writes ${w.name} over ${r.name} and gives ${over[at]} at ${at}, not ${apart[at]}`);
    }
};

export const planLaws: readonly Law[] = [
  {
    name: 'in place',
    kernels: true,
    every: 2,
    says: 'a kernel that may write over what it reads gives the same bits when it does',
    check: ({ graph, inputs }, { target, note }) => {
      let fault: string | undefined;
      const watch = overwrites(
        (f) => {
          fault ??= f;
        },
        (n) => note?.('buffers written over', n),
      );
      runKernels(compiled(graph), target, inputs, { watch });
      return fault;
    },
  },
  {
    name: 'plan',
    kernels: true,
    says: 'no launch reads a byte that nobody wrote, no two live values overlap, and all are aligned as the target wants',
    check: ({ graph }, { target }) => {
      const plan = planOf(graph, target);
      const odd = plan.lifetimes.find((l) => l.slot.offset % target.alignment !== 0);
      return faults(plan)[0] ?? (odd && `${odd.scope} lies at ${odd.slot.offset}, no multiple of ${target.alignment}`);
    },
  },
];
