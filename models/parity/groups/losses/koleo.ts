/** KoLeo of several feature matrices: value, gradient, nearest neighbours; with two equal rows; and of two crops together. */
import { z } from 'zod';
import { type F32, type HostTensor, rearrange, unbind, valueAndGrad } from '../../../../index.ts';
import { koleoLoss, nearestOther, unit } from '../../../losses.ts';
import { type Case, configOf } from '../../catalogue.ts';
import type { Numbers } from '../../compare.ts';
import { filled, has, type Runner } from '../../context.ts';

const config = z.object({ shapes: z.array(z.array(z.number())) });

/** Input `dup` with one row written over another, as the case says in `call`. */
const duplicated = (c: Case): HostTensor => {
  const x = filled(c, 'dup');
  const width = x.shape.at(-1) ?? 1;
  const [, to = '1', from = '0'] = /'dup' with row (\d+) overwritten by row (\d+)/.exec(c.call) ?? [];
  x.data.copyWithin(Number(to) * width, Number(from) * width, (Number(from) + 1) * width);
  return x;
};

type Rows = F32<'B D'>;

export const koleo: Runner = async (c, context) => {
  const { shapes } = configOf(c, config);
  const weight = Number(/([\d.]+) \* \(koleo/.exec(c.call)?.[1] ?? 1);
  const more = {
    ...(has(c, 'dup') ? { dup: duplicated(c) } : {}),
    ...(has(c, 'pair') ? { pair: filled(c, 'pair') } : {}),
  };
  const { each, dup, pair } = await context.run(
    (xs: readonly Rows[], { dup, pair }: { readonly dup?: Rows; readonly pair?: F32<'2*C D'> }) => ({
      each: xs.map((x) => ({ of: valueAndGrad((y: Rows) => koleoLoss(y))(x), nearest: nearestOther(unit(1e-8)(x)) })),
      ...(dup ? { dup: koleoLoss(dup) } : {}),
      ...(pair
        ? {
            pair: valueAndGrad((y: F32<'2*C D'>) => {
              const [first, second] = unbind(rearrange('(v b) d -> v b d', y, { v: 2 }));
              return koleoLoss(first).add(koleoLoss(second)).mul(weight);
            })(pair),
          }
        : {}),
    }),
    [shapes.map((_, i) => filled(c, `x${i}`)), more],
  );
  const made = new Map<string, Numbers>();
  each.forEach(({ of: [loss, grad], nearest }, i) => made.set(`loss${i}`, loss).set(`grad/x${i}`, grad).set(`nn${i}`, nearest));
  if (dup) made.set('loss_dup', dup);
  if (pair) made.set('loss_two_chunks', pair[0]).set('grad/pair', pair[1]);
  return made;
};
