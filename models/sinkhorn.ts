/**
 * The teacher's logits become targets. A plain softmax would collapse (all images to one prototype); two remedies:
 *
 * Sinkhorn-Knopp (arXiv 2006.09882) alternately balances prototypes and images: three rounds of dividing by the sum of each
 * prototype, then by the sum of each image. Softmax centering (arXiv 2104.14294) subtracts a running mean of the logits; the mean
 * of a batch is used from the next step on.
 *
 * Rows of padding (valid = 0) take no part: they add nothing to the sums of prototypes and come out as zeros.
 *
 *   sinkhorn(temp)(logits, valid)      logits: Tensor<'M K'>, valid: Tensor<'M'> of 0 and 1  ->  Tensor<'M K'>, rows sum to 1
 */
import { exp, type F32, fn, max, mean, perShard, rearrange, type Scalar, softmax, stopGradient, sum, where } from '../dsl/index.ts';

/** The smallest normal float32: no sum above 0 is changed by it. */
const tiny = 2 ** -126;
/** Below every logit. */
const lowest = -(2 ** 126);

/** The rounds by themselves, with their derivative: logits [M K], valid [M] of 0 and 1 -> [M K], rows sum to 1, rows of padding are 0. */
export const balanced = (temp: Scalar | number, iterations = 3) =>
  fn(['M K', 'M'], (logits, valid) => {
    const used = rearrange('m -> m 1', valid).gt(0);
    // One constant for all rows cancels in the first division; a constant for each row would not. It is that of the valid rows: below a
    // larger one of a row of padding they could all vanish.
    const shifted = logits.sub(max('m k ->', where(used, logits, lowest)));
    // 0 for a row of padding before exp too: where it is infinite, and left out afterwards only, the derivative is NaN
    let q = where(used, exp(where(used, shifted, 0).div(temp)), 0);
    for (let i = 0; i < iterations; i++) {
      // A sum is 0 for a row of padding, and for a prototype that every row is too far from, or without any valid row: 0 / tiny is 0.
      q = q.div(sum('m k -> 1 k', q).max(tiny));
      q = q.div(sum('m k -> m 1', q).max(tiny));
    }
    return q;
  });

/** Targets of a teacher temperature: what `balanced` gives, without a derivative. */
export const sinkhorn = (temp: Scalar, iterations = 3) =>
  fn(['M K', 'M'], (logits, valid) => stopGradient(balanced(temp, iterations)(logits, valid)));

/** A running mean of logits, and the mean of the last batch, which enters it at the next step. */
export interface Center<S extends string = '1 K'> {
  readonly value: F32<S>;
  readonly pending: F32<S>;
}

/** The center that this step subtracts: mostly the old one, and a part of the mean of the last batch. */
export const settle = (momentum = 0.9) => fn(['1 K', '1 K'], (value, pending) => value.mul(momentum).add(pending.mul(1 - momentum)));

export const centeredSoftmax = (temp: Scalar) =>
  fn(['M K', '1 K'], (logits, center) => stopGradient(softmax(logits.sub(center).div(temp))));

/** Mean of the valid rows; 0 if there are none. */
export const batchMean = fn(['M K', 'M'], (logits, valid) => {
  const total = sum('m k -> 1 k', logits.mul(rearrange('m -> m 1', valid)));
  return stopGradient(total.div(sum('m ->', valid).max(1)));
});

/** The mean over shards of the mean of each: a shard weighs the same however many of its rows are valid. */
const meanOfShards =
  (shards: number) =>
  (logits: F32<'M K'>, valid: F32<'M'>): F32<'1 K'> => {
    if (shards === 1) return batchMean(logits, valid);
    const rows = rearrange('(w m) k -> w m k' as string, logits, { w: shards });
    const used = rearrange('(w m) -> w m' as string, valid, { w: shards });
    const means = perShard((x: F32<'M K'>, v: F32<'M'>) => batchMean(x, v))(rows as never, used as never) as F32<string>;
    return mean('w 1 k -> 1 k' as string, means) as F32<'1 K'>;
  };

/**
 * One step of softmax centering: the mean of the last batch enters the center, then targets are made with it, and the mean of this batch
 * is kept for the next step. With 'current' the targets see this batch's mean too.
 */
export const centering = (temp: Scalar, use: 'lagged' | 'current' = 'lagged', shards = 1) =>
  fn(['M K', 'M', '1 K', '1 K'], (logits, valid, old, last) => {
    const value = settle()(old, last);
    const pending = meanOfShards(shards)(logits, valid);
    const center = use === 'current' ? settle()(value, pending) : value;
    return { targets: centeredSoftmax(temp)(logits, center), center: { value, pending } };
  });
