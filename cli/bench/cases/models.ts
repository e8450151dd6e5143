/**
 * Whole programs: the forward pass of a backbone and the training step of DINOv2. Weights follow from a formula and are made while they
 * are loaded, so that memory is that of the program and not of a second copy.
 *
 *   fovea bench forward --model vits14 --batch 8 --size 224
 *   fovea bench step --model vits14 --batch 4          2 crops of 224 and 8 of 98, heads of 65,536 prototypes
 */
import { apply, type F32, type LazyTensor, type Leaf, leaves, paramSpecs, pathTree, spec, treeMapWithPath } from '../../../index.ts';
import { maskRecipe } from '../../../models/data/batch.ts';
import { collateMasks } from '../../../models/data/masks.ts';
import { stream } from '../../../models/data/random.ts';
import { batchSpec, hyperAt, hyperSpec, network, stateSpec, trainStep } from '../../../models/dinov2.ts';
import { stepPrecision } from '../../../models/precision.ts';
import { recipeFromConfig } from '../../../models/recipes/config.ts';
import { geometry } from '../../../models/recipes/geometry.ts';
import { batchRecipe, keepLists } from '../../../models/recipes/inputs.ts';
import type { Recipe } from '../../../models/recipes.ts';
import { initLossScale } from '../../../models/scaling.ts';
import { type VitConfig, type VitParams, vit } from '../../../models/vit.ts';
import { onInterpreter, unchecked } from '../check.ts';
import { formula, prepare } from '../prepared.ts';
import type { Case, Check } from '../types.ts';

/** Arithmetic that the interpreter does in about half a minute. */
const affordable = 15e9;

/** First values of a leaf with the spread that its declaration says, uniform. LayerScale is 1, so that every block counts. */
const first = ({ path, shape, init }: Leaf): LazyTensor => {
  const sizes = shape.map(Number);
  if (path.endsWith('.gamma')) return formula(path, sizes, 0.1, 1);
  switch (init.kind) {
    case 'constant':
      // not exactly constant: a bias of 0 would hide that it was forgotten
      return formula(path, sizes, 0.02, init.value);
    case 'normal':
    case 'truncNormal':
      return formula(path, sizes, Math.sqrt(3) * init.std);
    case 'uniform':
      return formula(path, sizes, init.bound);
    case 'custom':
      return { shape: sizes, dtype: 'f32', load: () => init.values(sizes) };
  }
};

/** Parameters of a module as lazy tensors. */
const params = (m: Parameters<typeof leaves>[0], of: (l: Leaf) => LazyTensor = first): unknown => {
  const byPath = new Map(leaves(m).map((l) => [l.path, l]));
  return treeMapWithPath((path) => of(byPath.get(path) as Leaf), pathTree(m));
};

/** Multiply-adds of the backbone on images of `tokens` tokens, each counted as two. */
const backboneFlops = ({ width, depth, mlpRatio = 4 }: VitConfig, images: number, tokens: number): number =>
  images * depth * (2 * (4 + 2 * mlpRatio) * tokens * width ** 2 + 4 * tokens ** 2 * width);

export type Size = readonly [height: number, width: number];

/** Class token, registers and patches of an image. */
export const tokensOf = ({ patch, registers }: VitConfig, [height, width]: Size): number =>
  1 + registers + (height / patch) * (width / patch);

export const forwardCase = (label: string, config: VitConfig, batch: number, size: Size): Case => {
  const model = vit(config);
  const features = (p: VitParams, x: F32<'B 3 S W'>) => {
    const { cls, patches } = apply(model, p)(x);
    return { cls, patches };
  };
  const weights = params(model);
  const of = (images: number) =>
    prepare(features, [paramSpecs(model), spec('B 3 S W')], [weights, formula('image', [images, 3, ...size], 1.5)], {
      dims: { B: images, S: size[0], W: size[1] },
    });
  const one = backboneFlops(config, 1, tokensOf(config, size));
  return {
    name: label,
    shape: `${batch}x3x${size.join('x')}`,
    timed: 'call',
    bound: 'arithmetic',
    prepare: of(batch),
    check:
      one <= affordable
        ? onInterpreter(of(1), batch === 1 ? 'float64 interpreter' : 'float64 interpreter, first image')
        : unchecked(`an image takes ${(one / 1e9).toFixed(0)} GFLOP, too many for the float64 interpreter`),
  };
};

export interface StepSizes {
  readonly batch: number;
  readonly global: number;
  readonly local: number;
}

/**
 * DINOv2's default configuration with another backbone and batch and crops of the given sides, and as its large runs have it: Sinkhorn-Knopp
 * and a head of its own for iBOT. Without stochastic depth, so that every block runs on every image.
 */
export const stepRecipe = (label: string, config: VitConfig, { batch, global, local }: StepSizes): Recipe => {
  const r = recipeFromConfig(
    {
      student: { patch_size: config.patch, drop_path_rate: 0 },
      ibot: { separate_head: true },
      crops: { global_crops_size: global, local_crops_size: local },
      train: { batch_size_per_gpu: batch, centering: 'sinkhorn_knopp' },
    },
    label,
  );
  return { ...r, model: { ...config, imageSize: global, layerScale: 1e-5 } };
};

/** Of a whole step: the student's passes count three times. */
const stepFlops = (r: Recipe): number => {
  const { globalTokens, localTokens, maskRows } = geometry(r);
  const { batch, model, dino } = r;
  const globals = backboneFlops(model, 2 * batch, globalTokens + 1);
  const locals = backboneFlops(model, r.crops.locals * batch, localTokens + 1);
  const head = (rows: number): number => 2 * rows * dino.bottleneck * dino.prototypes;
  const teacher = globals + head(2 * batch + maskRows);
  return teacher + 3 * (globals + locals + head((2 + r.crops.locals) * batch + maskRows));
};

const batchOf = (r: Recipe) => {
  const { globalSize, localSize, locals } = r.crops;
  const masking = maskRecipe(batchRecipe(r));
  const m = collateMasks(masking, stream(0, 3, 0));
  return {
    global: formula('global', [2 * r.batch, 3, globalSize, globalSize], 1.5),
    local: formula('local', [locals * r.batch, 3, localSize, localSize], 1.5),
    masks: { shape: [2 * r.batch, geometry(r).globalTokens], dtype: 'bool' as const, data: m.masks },
    maskIndices: { shape: [m.indices.length], dtype: 'i32' as const, data: m.indices },
    maskWeights: { shape: [m.weights.length], dtype: 'f32' as const, data: m.weights },
    maskCount: m.count,
    ...(r.dropPath.rate > 0 ? { keep: keepLists(r, 0)(0) } : {}),
  };
};

export const stepCase = (r: Recipe): Case => {
  const net = network(r);
  const zeros = ({ shape }: Leaf): LazyTensor => {
    const sizes = shape.map(Number);
    return { shape: sizes, dtype: 'f32', load: () => new Float32Array(sizes.reduce((a, b) => a * b, 1)) };
  };
  const { K, J } = geometry(r).sizes;
  const center = (k: number) => ({ value: formula('center', [1, k], 0), pending: formula('center', [1, k], 0) });
  const state = {
    student: params(net),
    teacher: params(net),
    moments: { first: params(net, zeros), second: params(net, zeros), weight: { first: 0, second: 0 } },
    step: 0,
    ...(r.centering === 'softmax' ? { centers: { dino: center(K), ibot: center(J) } } : {}),
    ...(r.optim.lossScale ? { scaling: initLossScale() } : {}),
  };
  // past the first epochs, where nothing is frozen and every rate counts
  const hyper = hyperAt(r)(r.optim.epochLength * Math.max(2, r.optim.freezeLastLayerEpochs + 1));
  const made = prepare(trainStep(r), [stateSpec(r), batchSpec(r), hyperSpec()], [state, batchOf(r), hyper], {
    dims: geometry(r).sizes,
    donate: [0],
    policy: stepPrecision,
    next: (result, [, ...rest]) => [(result as { readonly state: unknown }).state, ...rest],
  });
  const flops = stepFlops(r);
  const check: Check =
    flops <= affordable
      ? onInterpreter(made, 'float64 interpreter, losses and gradient norms', (path) => path.startsWith('metrics.'))
      : unchecked(`a step takes ${(flops / 1e9).toFixed(0)} GFLOP, too many for the float64 interpreter`);
  const { globalSize, localSize, locals } = r.crops;
  return {
    name: r.name,
    shape: `${r.batch}x(2x${globalSize}+${locals}x${localSize})`,
    timed: 'call',
    bound: 'arithmetic',
    prepare: made,
    check,
  };
};
