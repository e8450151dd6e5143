/**
 * Group loss: the terms of DINOv2's objective and the targets they compare with. A case is one of several kinds; its inputs tell which.
 */
import { malformed } from '../catalogue.ts';
import { has, type Runner } from '../context.ts';
import { centering } from './losses/centering.ts';
import { koleo } from './losses/koleo.ts';
import { masked } from './losses/masked.ts';
import { pairs } from './losses/pairs.ts';
import { sinkhornTargets } from './losses/sinkhorn.ts';

export const loss: Runner = (c, context) => {
  if (has(c, 'masks')) return masked(c, context);
  if (has(c, 'student0')) return pairs(c, context);
  if (has(c, 'teacher0')) return centering(c, context);
  if (has(c, 'teacher')) return sinkhornTargets(c, context);
  if (has(c, 'x0')) return koleo(c, context);
  throw malformed(`case ${c.id}`, `no loss has the inputs ${c.inputs.map((i) => i.name).join(', ')}`);
};
