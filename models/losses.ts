/**
 * What DINOv2 minimises: the student's answer to one view of an image should be the teacher's answer to another view (DINO),
 * for masked patches too (iBOT), and the features of a batch should spread out (KoLeo).
 *
 * Targets are probabilities (a softmax or Sinkhorn-Knopp of the teacher's logits, see sinkhorn.ts); no gradient enters them.
 *
 *   dinoLoss(0.1)(student, target)      student: Tensor<'S B K'>, target: Tensor<'T B K'>  ->  Scalar
 */
import { argmax, einsum, fn, gather, iota, log, logSoftmax, mean, rearrange, sqrt, stopGradient, sum, where } from '../dsl/index.ts';

/** Rows of length 1. The floor keeps rows of zeros (and their gradient) at zero. */
export const unit = (eps: number) => fn(['... D'], (x) => x.div(sqrt(sum('... d -> ... 1', x.mul(x)).max(eps * eps))));

/** Cross-entropy of rows with target probabilities, mean over rows. */
export const crossEntropy = (temp: number) =>
  fn(['B K', 'B K'], (student, target) => {
    const agreement = einsum('b k, b k -> b', logSoftmax(student.div(temp)), stopGradient(target));
    return mean('b ->', agreement).neg();
  });

/** Cross-entropy of every student view s against every teacher view t of the same image: sum over pairs, mean over images. */
export const dinoLoss = (temp: number) =>
  fn(['S B K', 'T B K'], (student, target) => {
    // The sum over pairs factors: sum_s sum_t <t, log p_s> = sum_s <sum_t t, log p_s>.
    const wanted = sum('t b k -> b k', stopGradient(target));
    const agreement = einsum('s b k, b k -> s b', logSoftmax(student.div(temp)), wanted);
    return sum('s ->', mean('s b -> s', agreement)).neg();
  });

/** Cross-entropy of U masked patches, weighted. The weight is 1 / (masked patches of the crop), or 0 for a row of padding. */
export const ibotLoss = (temp: number) =>
  fn(['U K', 'U K', 'U'], (student, target, weight) => {
    const agreement = einsum('u k, u k -> u', logSoftmax(student.div(temp)), stopGradient(target));
    return sum('u ->', agreement.mul(weight)).neg();
  });

/** 1 / (masked patches of the crop) at a masked patch, 0 at the others: every masked crop weighs 1. */
export const maskWeights = fn(['B N:bool'], (masks) => {
  const masked = masks.cast('f32');
  return masked.div(sum('b n -> b 1', masked).max(1));
});

/** As ibotLoss of the masked patches with these weights, divided by the number of crops, where all patches of all crops are at hand. */
export const ibotLossUnpacked = (temp: number) =>
  fn(['B N K', 'B N K', 'B N:bool'], (student, target, masks) => {
    const agreement = einsum('b n k, b n k -> b n', logSoftmax(student.div(temp)), stopGradient(target));
    return mean('b ->', sum('b n -> b', agreement.mul(maskWeights(masks)))).neg();
  });

/** Row number of the nearest other row, for rows of length 1: the largest product off the diagonal. */
export const nearestOther = fn(['B D'], (x) => {
  const row = iota('B');
  const self = rearrange('i -> i 1', row).eq(row);
  return argmax('i j -> i', where(self, -1, einsum('i d, j d -> i j', x, x)));
});

/**
 * KoLeo: minus the mean log distance to the nearest neighbour (Sablayrolles et al., arXiv 1806.03198). The choice of the
 * neighbour has no gradient; the distance pulls on both ends.
 */
export const koleoLoss = fn(['B D'], (features) => {
  const x = unit(1e-8)(features);
  const difference = x.sub(gather(x, nearestOther(stopGradient(x)))).add(1e-8);
  const distance = sqrt(sum('b d -> b', difference.mul(difference)));
  return mean('b ->', log(distance.add(1e-8))).neg();
});
