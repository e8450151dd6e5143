/** The arena of a plan: every byte that is read was written, and two values that live at the same time share none. */
import { faults } from '../faults.ts';
import { planOf } from '../stages.ts';
import type { Law } from './law.ts';

export const planLaws: readonly Law[] = [
  {
    name: 'plan',
    says: 'no launch reads a byte that nobody wrote, and no two live values overlap',
    check: ({ graph }, { target }) => faults(planOf(graph, target))[0],
  },
];
