/**
 * What goes into a training step of DINOv2 and what comes out, as types. `network` declares the parameters; everything else is
 * a record of tensors over the names of geometry(recipe).sizes:
 *
 *   B images a step, 2 global crops of S x S and L local crops of Z x Z pixels each; N and M patches in such crops;
 *   U rows for masked patches; D features; K and J prototypes of the DINO and iBOT heads (the same head where it is shared)
 */
import { type F32, module, type Params, type Scalar, size, type Tensor } from '../../dsl/index.ts';
import { dinoHead, type HeadConfig } from '../heads.ts';
import type { Moments } from '../optimizer.ts';
import type { Recipe } from '../recipes.ts';
import type { LossScale } from '../scaling.ts';
import type { Center } from '../sinkhorn.ts';
import { type Keep, vit } from '../vit.ts';

/** The iBOT head's configuration, if it has one of its own and its loss counts. */
export const ibotHead = ({ ibot: { weight, head } }: Recipe): HeadConfig | undefined =>
  head === 'shared' || weight === 0 ? undefined : head;

/** Backbone and heads of the student, or of the teacher. Applied to images it gives their scores for the prototypes. */
export const network = (r: Recipe) => {
  const ibot = ibotHead(r);
  return module(
    {
      D: size('D', r.model.width),
      K: size('K', r.dino.prototypes),
      J: size('J', (ibot ?? r.dino).prototypes),
    },
    ({ D, K, J }) => ({
      backbone: vit(r.model),
      dino_head: dinoHead(D, K, r.dino),
      ...(ibot ? { ibot_head: dinoHead(D, J, ibot) } : {}),
    }),
    ['B 3 S W'],
    (p, images) => p.dino_head(p.backbone(images).cls),
  );
};
export type Network = Params<ReturnType<typeof network>>;

export interface State {
  readonly student: Network;
  readonly teacher: Network;
  readonly moments: Moments<Network>;
  /** Steps taken. */
  readonly step: Tensor<'', 'i32'>;
  /** Running means of the teacher's logits, with `centering: 'softmax'` only. */
  readonly centers?: Centers;
  /** With `optim.lossScale` only. */
  readonly scaling?: LossScale;
}

export interface Centers {
  readonly dino: Center<'1 K'>;
  readonly ibot: Center<'1 J'>;
}

/** Crops are crop-major: crop 0 of every image first, then crop 1 of every image. */
export interface Batch {
  readonly global: F32<'2*B 3 S S'>;
  /** Without local crops (L = 0) a tensor without elements. */
  readonly local: F32<'L*B 3 Z Z'>;
  /** Patches of the global crops that the student does not see. */
  readonly masks: Tensor<'2*B N', 'bool'>;
  /** Numbers of the masked patches in the flattened [2*B N], padded with 0 to U rows. */
  readonly maskIndices: Tensor<'U', 'i32'>;
  /** 1 / (masked patches of the crop) for every row, 0 for padding. */
  readonly maskWeights: F32<'U'>;
  /** How many of the U rows are no padding. */
  readonly maskCount: Scalar;
  /** With stochastic depth only: for every block, the images that its branches run on. */
  readonly keep?: readonly Keep[];
}

/** Names as in DINOv2's logs; there koleo and ibot count half. A term whose weight is 0 is not computed and reads 0. */
export interface Losses {
  /** What is minimised. */
  readonly loss: Scalar;
  readonly dino_local_crops_loss: Scalar;
  readonly dino_global_crops_loss: Scalar;
  readonly koleo_loss: Scalar;
  readonly ibot_loss: Scalar;
  /** What DINOv2 logs as the total: the sum of the four above, which is not what is minimised. */
  readonly total_loss: Scalar;
}

/** `grad_norm`: of each sub-network, before clipping. */
export interface Metrics extends Losses {
  readonly grad_norm: { readonly backbone: Scalar; readonly dino_head: Scalar; readonly ibot_head?: Scalar };
}
