/**
 * DINOv2's linear classifiers: one linear layer on the class tokens of the last 1 or 4 blocks, each through the final norm, and the mean
 * patch token of the last. A released head (`dinov2_vits14_linear4_head.pth`) is the tree of parameters as it stands.
 *
 *   const head = classifierHead(c, 4);                                           // weight [1000, 5 * D], bias [1000]
 *   classify(c, { backbone, head: params }, images, 4)                           // [B 1000]
 */
import { apply, type F32, type Params, size } from '../../dsl/index.ts';
import { linear } from '../layers.ts';
import { crop, intermediate, type VitConfig, type VitParams } from '../vit.ts';
import { type BlockTokens, probeInput } from './probe.ts';

/** Last blocks whose class tokens a released head reads. */
export type ClassifierLayers = 1 | 4;

const linearHead = (inputs: number, classes: number) => linear(size('I', inputs), size('O', classes));
export type ClassifierHead = Params<ReturnType<typeof linearHead>>;

/** The layer of a classifier: weight [classes, (layers + 1) * D] and bias. */
export const classifierHead = ({ width }: Pick<VitConfig, 'width'>, layers: ClassifierLayers, classes = 1000) =>
  linearHead((layers + 1) * width, classes);

/** Scores of images [B 3 H W] for every class: [B classes]. FV0408 where the patch does not divide a side. */
export const classify = (
  c: VitConfig,
  { backbone, head }: { readonly backbone: VitParams; readonly head: ClassifierHead },
  images: F32<'B Ch S W'>,
  layers: ClassifierLayers,
): F32<string> => {
  const blocks = intermediate(c, backbone, crop(c, images, 'N'), { blocks: layers });
  const features = probeInput(blocks as readonly unknown[] as readonly BlockTokens[], layers, true);
  const classes = head.weight.shape[0] as number;
  return apply(classifierHead(c, layers, classes), head)(features as F32<'B I'>) as F32<string>;
};
