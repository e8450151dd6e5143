/**
 * Softmax centering over several steps: the center that a step subtracts holds the batches before it, and after the last step the
 * pending batch is applied. With `rows` in the configuration the case is the patch version, whose center has one more axis.
 */
import { z } from 'zod';
import { type F32, ones, type Scalar, zeros } from '../../../../index.ts';
import { batchMean, centeredSoftmax, settle } from '../../../sinkhorn.ts';
import { configOf } from '../../catalogue.ts';
import type { Numbers } from '../../compare.ts';
import { filled, type Runner, reshaped } from '../../context.ts';

const config = z.object({
  K: z.number().int().positive(),
  center_momentum: z.number().default(0.9),
  teacher_temps: z.array(z.number()),
  rows: z.array(z.number()).optional(),
});

export const centering: Runner = async (c, context) => {
  const { K, center_momentum, teacher_temps, rows } = configOf(c, config);
  const batches = teacher_temps.map((_, t) => filled(c, `teacher${t}`));
  const { steps, final } = await context.run(
    (logits: readonly F32<'M K'>[], temps: readonly Scalar[]) => {
      let value = zeros('1 K');
      let pending: F32<'1 K'> | undefined;
      const next = (): F32<'1 K'> => (pending ? settle(center_momentum)(value, pending) : value);
      const each = logits.map((x, t) => {
        value = next();
        pending = batchMean(x, ones(`${batches[t]!.shape[0]}` as 'M'));
        return { probs: centeredSoftmax(temps[t] as Scalar)(x, value), center: value };
      });
      return { steps: each, final: next() };
    },
    [batches, teacher_temps],
    { K },
  );
  const shape = rows ? [1, 1, K] : [1, K];
  const made = new Map<string, Numbers>([['center_final', reshaped(final, shape)]]);
  steps.forEach(({ probs, center }, t) => made.set(`probs${t}`, probs).set(`center_used${t}`, reshaped(center, shape)));
  return made;
};
