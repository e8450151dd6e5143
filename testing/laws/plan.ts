/** The arena of a plan: every byte that is read was written, and two values that live at the same time share none. */
import { faults } from '../faults.ts';
import { planOf } from '../stages.ts';
import type { Law } from './law.ts';

export const planLaws: readonly Law[] = [
  {
    name: 'plan',
    says: 'no launch reads a byte that nobody wrote, no two live values overlap, and all are aligned as the target wants',
    check: ({ graph }, { target }) => {
      const plan = planOf(graph, target);
      const odd = plan.lifetimes.find((l) => l.slot.offset % target.alignment !== 0);
      return faults(plan)[0] ?? (odd && `${odd.scope} lies at ${odd.slot.offset}, no multiple of ${target.alignment}`);
    },
  },
];
