/**
 * AdamW (arXiv 1711.05101) over parameter trees, with the rates of DINOv2: every parameter has its own factors on learning rate
 * and weight decay, found from its path; prototypes follow a learning rate of their own.
 *
 * The bias corrections 1 - beta^t are not computed as powers (1 - 0.999 has four digits left in float32): they follow the same
 * recurrence as the moments, for a gradient that is always 1.
 *
 *   const rule = rates(recipe)('backbone.blocks.3.mlp.fc1.bias')      ->  { lr: 0.9 ** (depth - 3), decay: 0, lastLayer: false }
 */
import { type F32, type Scalar, sqrt, sum, type Tree, treeLeaves, treeMap, treeMapWithPath } from '../dsl/index.ts';
import type { Recipe } from './recipes.ts';

/** Factors of one parameter on the learning rate and on weight decay. */
export interface Rate {
  readonly lr: number;
  readonly decay: number;
  readonly lastLayer: boolean;
}

const tokens = /pos_embed|mask_token|cls_token|register_tokens/;
const embeddings = new RegExp(`patch_embed|${tokens.source}`);

/** Factors by path: deeper blocks learn faster, the patch embedding slower; biases, norms and LayerScale do not decay. */
export const rates =
  ({ model: { depth }, optim: { layerDecay, patchEmbedLr, decayTokens = true }, ...r }: Recipe) =>
  (path: string): Rate => {
    const block = /^backbone\.blocks\.(?:\d+\.)*?(\d+)\.[a-z]/.exec(path)?.[1];
    // Layer 0 is the embedding, layer i + 1 block i; the final norm and the heads count as depth + 1.
    const layer = !path.startsWith('backbone.')
      ? depth + 1
      : embeddings.test(path)
        ? 0
        : block === undefined
          ? depth + 1
          : Number(block) + 1;
    const exempt = path.endsWith('.bias') || path.includes('norm') || path.includes('gamma') || (!decayTokens && tokens.test(path));
    const head = path.startsWith('ibot_head.') && r.ibot.head !== 'shared' ? r.ibot.head : r.dino;
    const fixed = head.lengths === 'fixed' && path.endsWith('last_layer.weight_g');
    return {
      lr: fixed ? 0 : layerDecay ** (depth + 1 - layer) * (path.includes('patch_embed') ? patchEmbedLr : 1),
      decay: exempt ? 0 : 1,
      lastLayer: path.includes('last_layer'),
    };
  };

/** Scalars that change from step to step: inputs of the compiled step, never constants. */
export interface Hyper {
  readonly lr: Scalar;
  readonly lastLayerLr: Scalar;
  readonly weightDecay: Scalar;
  /** Of the teacher's moving average. */
  readonly momentum: Scalar;
  readonly teacherTemp: Scalar;
}

/** Moments of the gradients, and the sum of the weights that they have collected (what the bias correction divides by). */
export interface Moments<P> {
  readonly first: P;
  readonly second: P;
  readonly weight: { readonly first: Scalar; readonly second: Scalar };
}

/** Sum of the squares of all elements, whatever the rank. */
const squareSum = (x: F32<string>): Scalar => {
  const axes = x.shape.map((_, i) => `a${i}`).join(' ');
  return sum(`${axes} ->` as string, x.mul(x)) as Scalar;
};

/** Euclidean norm of all leaves together. */
export const globalNorm = <P extends Tree>(tree: P): Scalar => {
  const squares = treeLeaves<F32<string>>(tree).map(squareSum);
  return sqrt(squares.reduce((a, b) => a.add(b)));
};

/** The tree scaled down so that `norm` is at most `limit` (null: as it is). */
export const clipTo = <P extends Tree>(tree: P, norm: Scalar, limit: number | null): P => {
  if (limit === null) return tree;
  const factor = norm.add(1e-6).pow(-1).mul(limit).min(1);
  return treeMap((g) => g.mul(factor), tree);
};

/** One step of AdamW: decay first, then the step along the corrected moments. */
export const adamw =
  ({ beta1, beta2, eps }: Recipe['optim'], rate: (path: string) => Rate) =>
  <P extends Tree>(
    params: P,
    grads: P,
    old: Moments<P>,
    hyper: Pick<Hyper, 'lr' | 'lastLayerLr' | 'weightDecay'>,
  ): { readonly params: P; readonly moments: Moments<P> } => {
    const first = treeMap((m, g) => m.mul(beta1).add(g.mul(1 - beta1)), old.first, grads);
    const second = treeMap((v, g) => v.mul(beta2).add(g.mul(g).mul(1 - beta2)), old.second, grads);
    const weight = { first: old.weight.first.mul(beta1).add(1 - beta1), second: old.weight.second.mul(beta2).add(1 - beta2) };
    const next = treeMapWithPath<unknown, F32<string>>(
      (path, p, m, v) => {
        const { lr: factor, decay, lastLayer } = rate(path);
        const lr = (lastLayer ? hyper.lastLayerLr : hyper.lr).mul(factor);
        const kept = decay === 0 ? p : p.sub(p.mul(lr.mul(hyper.weightDecay).mul(decay)));
        const direction = m.div(sqrt(v.div(weight.second)).add(eps));
        return kept.sub(direction.mul(lr.div(weight.first)));
      },
      params,
      first,
      second,
    ) as P; // leaf for leaf the shapes of params
    return { params: next, moments: { first, second, weight } };
  };

/** Moving average of parameters: momentum * teacher + (1 - momentum) * student. */
export const average = <P extends Tree>(teacher: P, student: P, momentum: Scalar): P => {
  const rest = momentum.neg().add(1);
  return treeMap((t, s) => t.mul(momentum).add(s.mul(rest)), teacher, student);
};
