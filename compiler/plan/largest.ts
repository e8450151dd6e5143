/** What to say of a plan that does not fit: its largest buffers by scope, and what makes it smaller. */
import type { Plan } from './types.ts';

const mib = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(1)} MiB`;

export const largestOf = ({ lifetimes }: Pick<Plan, 'lifetimes'>): string => {
  const largest = [...lifetimes].sort((a, b) => b.slot.bytes - a.slot.bytes).slice(0, 5);
  return `Largest buffers: ${largest.map((l) => `${l.scope || 'unnamed'} ${mib(l.slot.bytes)}`).join(', ')}. Use a smaller batch, or checkpoint() the largest modules.`;
};
