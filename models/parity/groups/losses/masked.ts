/**
 * Cross-entropy of masked patches: in a padded list of them, in a list as long as there are masked patches, and with all patches of all
 * crops at hand; the Sinkhorn targets of the list; masks, positions and weights.
 */
import { z } from 'zod';
import { type F32, gather, host, ones, rearrange, type Scalar, softmax, type Tensor, valueAndGrad } from '../../../../index.ts';
import { maskedPatches } from '../../../data/index.ts';
import { ibotLoss, ibotLossUnpacked, maskWeights } from '../../../losses.ts';
import { sinkhorn } from '../../../sinkhorn.ts';
import { configOf, sizeFrom } from '../../catalogue.ts';
import type { Numbers } from '../../compare.ts';
import { filled, numbers, type Runner } from '../../context.ts';

const whole = sizeFrom(0);
const config = z.object({
  n_crops: whole,
  N: whole,
  K: whole,
  n_masked: whole,
  padded_rows: whole,
  student_temp: z.number(),
  teacher_temp: z.number(),
});

/** The first `n` rows of `x`, and rows of zeros up to `total`. */
const rows = (x: { readonly shape: readonly number[]; readonly data: ArrayLike<number> }, n: number, total: number) => {
  const width = x.shape.at(-1) ?? 1;
  const data = new Float32Array(total * width);
  data.set(Array.from({ length: n * width }, (_, i) => x.data[i]!));
  return host(data, [total, width]);
};

export const masked: Runner = async (c, context) => {
  const { n_crops, N, n_masked, padded_rows, student_temp, teacher_temp } = configOf(c, config);
  const masks = filled(c, 'masks');
  const list = maskedPatches(masks.data as Uint8Array, N, padded_rows);
  const student = filled(c, 'student_masked');
  const args = {
    masks,
    indices: host(list.indices.subarray(0, n_masked), [n_masked]),
    teacher: filled(c, 'teacher_masked'),
    temp: teacher_temp,
    padded: { student, target: rows(filled(c, 'teacher_masked'), n_masked, padded_rows), weights: host(list.weights, [padded_rows]) },
    exact: rows(student, n_masked, n_masked),
    full: { student: filled(c, 'student_full'), teacher: filled(c, 'teacher_full_logits') },
  };
  const ce = ibotLoss(student_temp);
  const out = await context.run(
    (x: {
      readonly masks: Tensor<'B N', 'bool'>;
      readonly indices: Tensor<'M', 'i32'>;
      readonly teacher: F32<'M K'>;
      readonly temp: Scalar;
      readonly padded: { readonly student: F32<'U K'>; readonly target: F32<'U K'>; readonly weights: F32<'U'> };
      readonly exact: F32<'M K'>;
      readonly full: { readonly student: F32<'B N K'>; readonly teacher: F32<'B N K'> };
    }) => {
      const q = sinkhorn(x.temp)(x.teacher, ones(`${n_masked}` as 'M'));
      // rows of padding have targets too, and weight 0
      const valid = x.padded.weights.gt(0).cast('f32');
      const paddedQ = sinkhorn(x.temp)(x.padded.target, valid);
      const derived = gather(rearrange('b n -> (b n)', maskWeights(x.masks)), x.indices) as F32<'M'>;
      const everywhere = softmax(x.full.teacher.div(x.temp));
      return {
        q,
        padded: valueAndGrad((s: F32<'U K'>) => ce(s, paddedQ, x.padded.weights).div(n_crops))(x.padded.student),
        derived: valueAndGrad((s: F32<'M K'>) => ce(s, q, derived).div(n_crops))(x.exact),
        full: valueAndGrad((s: F32<'B N K'>) => ibotLossUnpacked(student_temp)(s, everywhere, x.masks))(x.full.student),
      };
    },
    [args],
  );
  return new Map<string, Numbers>([
    ['masks', masks],
    ['mask_indices', numbers(list.indices.subarray(0, n_masked), [list.count])],
    ['masks_weight', numbers(list.weights.subarray(0, n_masked), [list.count])],
    ['teacher_q', out.q],
    ['loss_padded', out.padded[0]],
    ['grad/student_padded', out.padded[1]],
    ['loss_default_weights', out.derived[0]],
    ['grad/student_default_weights', out.derived[1]],
    ['loss_plain_forward', out.full[0]],
    ['grad/student_full', out.full[1]],
  ]);
};
