/**
 * Everything that a training run is, as one typed record: the model, the crops, the masks, the losses, the optimizer. Plain data
 * (it survives JSON), so a variant of a run is a spread: `{ ...demo, dropPath: { rate: 0.2, uniform: true } }`.
 *
 * `demo` is small enough for a laptop: Fashion-MNIST images of 28 x 28 as 49 patches. `vitLarge16`, `vitLarge14` and
 * `vitGiant14` are the published recipes of DINOv2 (configs of the paper, arXiv 2304.07193, and its released code).
 *
 *   demo.model.width -> 96        geometry(demo) -> { globalGrid: 7, localGrid: 4, maskRows: 464, ... }
 */
import type { HeadConfig } from './heads.ts';
import type { DropForm } from './vit/drop-path.ts';
import { vitGiant2, vitLarge } from './vit/presets.ts';
import type { VitConfig } from './vit.ts';

export interface Recipe {
  readonly name: string;
  /** What it was tuned for; a run may be given other images. */
  readonly dataset: string;
  /** Images a step; each gives 2 global and `crops.locals` local crops. */
  readonly batch: number;
  /**
   * Shards of a batch, 1 unless given: what DINOv2 computes on each rank for its own images is computed for each shard, however many ranks there
   * are. Neighbours of KoLeo, lists of masked patches and of images that stochastic depth keeps, and means of patches with softmax centering.
   */
  readonly shards?: number;
  readonly model: VitConfig;
  readonly crops: {
    /** Sides in pixels, multiples of the patch. */
    readonly globalSize: number;
    readonly localSize: number;
    readonly locals: number;
    /** Area of a crop as a fraction of the image. */
    readonly globalScale: readonly [number, number];
    readonly localScale: readonly [number, number];
    /** 'dinov2': the original chain of augmentations; 'small': for small gray pictures, whose content strong blur would erase. */
    readonly augment: 'dinov2' | 'small';
  };
  /** Standard deviations of the first values of linear layers and positions; DINOv2's 0.02 leaves a narrow network nearly constant. */
  readonly start: { readonly linear: number; readonly positions: number };
  readonly masking: {
    /** Fraction of the global crops that are masked at all. */
    readonly probability: number;
    /** Fraction of the patches of such a crop that are masked. */
    readonly ratio: readonly [number, number];
  };
  /**
   * Stochastic depth of the student: one rate for all blocks, or rising linearly from 0. DINOv2 thins the batch (`form: 'subset'`) and
   * scales by batch / kept (`scale: 'kept'`) at any rate; 'mask' and 'rate' give the textbook form, factors 0 or 1 / (1 - rate).
   */
  readonly dropPath: { readonly rate: number; readonly uniform: boolean; readonly form?: DropForm; readonly scale?: 'kept' | 'rate' };
  /** `view: 'whole'` compares class tokens of unmasked global crops, at the price of one more pass; DINOv2 takes the masked ones. */
  readonly dino: HeadConfig & { readonly weight: number; readonly view?: 'masked' | 'whole' };
  /** `head: 'shared'` sends patch tokens through the DINO head. */
  readonly ibot: { readonly weight: number; readonly head: HeadConfig | 'shared' };
  /** Of both global crops, as in DINOv2's code, or of the first alone, as in its paper. */
  readonly koleo: { readonly weight: number; readonly crops?: 'both' | 'first' };
  readonly centering: 'sinkhorn' | 'softmax';
  /** The running mean that softmax centering subtracts: of the batches before (DINOv2), or with this batch in it. */
  readonly center?: 'lagged' | 'current';
  readonly studentTemp: number;
  readonly teacher: {
    readonly momentum: number;
    readonly finalMomentum: number;
    readonly warmupTemp: number;
    readonly temp: number;
    readonly tempWarmupEpochs: number;
  };
  readonly optim: {
    readonly epochs: number;
    /** Iterations that count as an epoch, whatever the size of the data set. */
    readonly epochLength: number;
    readonly baseLr: number;
    /** How baseLr follows the images of a step on all devices: 'sqrt_wrt_1024' is baseLr * sqrt(images / 1024). */
    readonly scalingRule: 'sqrt_wrt_1024';
    readonly minLr: number;
    readonly warmupEpochs: number;
    readonly weightDecay: number;
    readonly finalWeightDecay: number;
    /** Largest gradient norm; null: no bound. */
    readonly clip: number | null;
    /** Whose norm is bounded: that of each of backbone, dino_head and ibot_head (DINOv2), or of all gradients together. */
    readonly clipBy?: 'network' | 'all';
    /** Whether class, mask and register tokens and positions decay, as in DINOv2 (yes unless given). */
    readonly decayTokens?: boolean;
    /**
     * What a step does whose loss or gradient is not finite: DINOv2 updates all the same and then stops at a NaN; 'finite' leaves
     * the state as it was.
     */
    readonly update?: 'always' | 'finite';
    /**
     * 'dynamic' multiplies the loss by a scale that follows the gradients, for contractions of f16 (scaling.ts); a step whose gradient is
     * not finite is then skipped. DINOv2's GradScaler. None unless given.
     */
    readonly lossScale?: 'dynamic';
    readonly freezeLastLayerEpochs: number;
    readonly patchEmbedLr: number;
    /** Factor on the learning rate for every block further from the output. */
    readonly layerDecay: number;
    readonly beta1: number;
    readonly beta2: number;
    readonly eps: number;
  };
  /** Iterations between two exports of the teacher for evaluation; 0 or less: none. */
  readonly evaluationPeriod: number;
}

const masking = { probability: 0.5, ratio: [0.1, 0.5] } as const;
const adam = { scalingRule: 'sqrt_wrt_1024', beta1: 0.9, beta2: 0.999, eps: 1e-8 } as const;
const scales = { globalScale: [0.32, 1], localScale: [0.05, 0.32], augment: 'dinov2' } as const;
const start = { linear: 0.02, positions: 0.02 } as const;
const head = (prototypes: number, bottleneck: number): HeadConfig => ({ prototypes, hidden: 2048, bottleneck, layers: 3 });

/**
 * Fashion-MNIST (28 x 28, gray replicated to three channels) on one machine: 800 steps, 16 GFLOP each. Found by a search with the
 * PyTorch port in bench/peers; wide first values mattered most (docs/benchmarks.md).
 */
export const demo: Recipe = {
  name: 'demo',
  dataset: 'Fashion-MNIST',
  batch: 32,
  model: {
    width: 96,
    depth: 4,
    heads: 3,
    patch: 4,
    imageSize: 28,
    ffn: 'mlp',
    registers: 0,
    layerScale: 1,
    interpolation: { offset: 0.1, antialias: false },
  },
  crops: { globalSize: 28, localSize: 16, locals: 2, globalScale: [0.5, 1], localScale: [0.2, 0.5], augment: 'small' },
  start: { linear: 0.088, positions: 0.264 },
  masking,
  dropPath: { rate: 0, uniform: true },
  dino: { weight: 1, prototypes: 512, hidden: 256, bottleneck: 64, layers: 3 },
  ibot: { weight: 1, head: 'shared' },
  koleo: { weight: 0.1 },
  centering: 'sinkhorn',
  studentTemp: 0.1,
  teacher: { momentum: 0.98, finalMomentum: 1, warmupTemp: 0.04, temp: 0.07, tempWarmupEpochs: 3 },
  optim: {
    ...adam,
    epochs: 10,
    epochLength: 80,
    baseLr: 5.657e-3,
    minLr: 1e-5,
    warmupEpochs: 1,
    weightDecay: 0.04,
    finalWeightDecay: 0.2,
    clip: 3,
    freezeLastLayerEpochs: 0,
    patchEmbedLr: 1,
    layerDecay: 1,
  },
  evaluationPeriod: 0,
};

/** ViT-L/16, 100 epochs of ImageNet-1k. */
export const vitLarge16: Recipe = {
  name: 'vitl16',
  dataset: 'ImageNet:split=TRAIN',
  batch: 64,
  model: { ...vitLarge, patch: 16, imageSize: 224, layerScale: 1e-5, chunks: 4 },
  crops: { ...scales, globalSize: 224, localSize: 96, locals: 8 },
  start,
  masking,
  dropPath: { rate: 0.3, uniform: true },
  dino: { weight: 1, ...head(65536, 256) },
  ibot: { weight: 1, head: 'shared' },
  koleo: { weight: 0.1 },
  centering: 'softmax',
  studentTemp: 0.1,
  teacher: { momentum: 0.992, finalMomentum: 1, warmupTemp: 0.04, temp: 0.07, tempWarmupEpochs: 30 },
  optim: {
    ...adam,
    epochs: 100,
    epochLength: 1250,
    baseLr: 4e-3,
    minLr: 1e-6,
    warmupEpochs: 10,
    weightDecay: 0.04,
    finalWeightDecay: 0.4,
    clip: 3,
    freezeLastLayerEpochs: 1,
    patchEmbedLr: 0.2,
    layerDecay: 0.9,
  },
  evaluationPeriod: 12500,
};

/** ViT-g/14, 500 epochs of ImageNet-22k. */
export const vitGiant14: Recipe = {
  ...vitLarge16,
  name: 'vitg14',
  dataset: 'ImageNet22k',
  batch: 12,
  model: { ...vitGiant2, patch: 14, imageSize: 224, layerScale: 1e-5, chunks: 4 },
  crops: { ...scales, globalSize: 224, localSize: 98, locals: 8 },
  dropPath: { rate: 0.4, uniform: true },
  dino: { weight: 1, ...head(131072, 384) },
  ibot: { weight: 1, head: head(131072, 256) },
  centering: 'sinkhorn',
  teacher: { ...vitLarge16.teacher, momentum: 0.994 },
  optim: { ...vitLarge16.optim, epochs: 500, baseLr: 2e-4, warmupEpochs: 80, finalWeightDecay: 0.2, layerDecay: 1 },
};

/** ViT-L/14, 500 epochs of ImageNet-22k. */
export const vitLarge14: Recipe = {
  ...vitGiant14,
  name: 'vitl14',
  batch: 32,
  model: { ...vitLarge, ffn: 'swiglu', patch: 14, imageSize: 224, layerScale: 1e-5, chunks: 4 },
};

export const recipes = { demo, vitl16: vitLarge16, vitl14: vitLarge14, vitg14: vitGiant14 } as const;
