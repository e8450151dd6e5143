/**
 * What the groups of the backbone share: the views of a case (images, and masks where an input `masks_<view>` gives them), how they go
 * through the network (each alone or all as one packed list, in evaluation or in training with stochastic depth), and the recorded
 * names of what comes out.
 */
import { type F32, type HostTensor, host, type Tensor } from '../../../index.ts';
import { dropPathOf, vitConfigOf } from '../../recipes/config.ts';
import { blockRates } from '../../recipes/geometry.ts';
import { dropForm, kept } from '../../vit/drop-path.ts';
import { type Crop, crop, encode, type Features, type Keep, tokensOf, type VitConfig, type VitParams } from '../../vit.ts';
import { type Case, malformed } from '../catalogue.ts';
import { filled, has } from '../context.ts';
import { permutation } from '../formula.ts';

/** The images of a case by name, as the tree that programs take. */
export interface View<X, M> {
  readonly images: X;
  readonly masks?: M;
}
export type Views = readonly View<F32<'B Ch S W'>, Tensor<'B N', 'bool'>>[];
export type HostViews = readonly View<HostTensor, HostTensor>[];

/** Inputs that are images: all but masks and cotangents. */
export const viewNames = (c: Case): readonly string[] =>
  c.inputs.filter((i) => i.rule.kind === 'float' && !i.name.startsWith('cot/')).map((i) => i.name);

export const viewsOf = (c: Case): HostViews =>
  viewNames(c).map((name) => ({ images: filled(c, name), ...(has(c, `masks_${name}`) ? { masks: filled(c, `masks_${name}`) } : {}) }));

/** `call` says in words whether the inputs went through as one list, and whether the model was in training mode. */
const modeOf = (c: Case): { readonly list: boolean; readonly training: boolean } => ({
  list: /\blist forward\b/.test(c.call),
  training: /\btraining mode\b/.test(c.call),
});

/** The k-th random permutation of a case, checked against the list in the index. */
export const permutations = (c: Case): ((n: number) => Int32Array) => {
  let k = 0;
  return (n) => {
    const p = permutation(`${c.formula_prefix}perm/${k}`, n);
    const listed = c.permutations?.list[k];
    if (listed && (listed[0] !== k || listed[1] !== n || listed[2].some((x, i) => x !== p[i])))
      throw malformed(`case ${c.id}`, `permutation ${k} of ${n} is listed as ${listed.join(' ')}`);
    k++;
    return p;
  };
};

export type HostKeeps = readonly { readonly attn: readonly HostTensor[]; readonly ffn: readonly HostTensor[] }[];

/** Index lists of one forward pass, drawn in the original's order: block by block, attention then feed-forward, entry by entry. */
export const keepOf = (rates: readonly number[], batches: readonly number[], draw: (n: number) => Int32Array): HostKeeps =>
  rates.map((rate) => {
    const branch = (): HostTensor[] =>
      rate > 0
        ? batches.map((b) => {
            const m = kept(b, rate);
            return host(draw(b).slice(0, m), [m]);
          })
        : [];
    return { attn: branch(), ffn: branch() };
  });

/** The passes of a case: which views go through together, and with which index lists. */
export interface Pass {
  readonly views: readonly number[];
  readonly keep: HostKeeps;
}

export const passesOf = (c: Case, config: VitConfig, views: HostViews): readonly Pass[] => {
  const { list, training } = modeOf(c);
  const all = views.map((_, i) => i);
  const groups = list ? [all] : all.map((i) => [i]);
  if (!training) return groups.map((g) => ({ views: g, keep: [] }));
  const rates = blockRates(config.depth, dropPathOf(c.config));
  if (rates.some((r) => r > 0 && dropForm(r, list ? 'list' : 'tensor') === 'mask'))
    throw malformed(`case ${c.id}`, 'a single tensor at a rate up to 0.1 drops by random factors, which no case records');
  const draw = permutations(c);
  return groups.map((g) => ({
    views: g,
    keep: keepOf(
      rates,
      g.map((i) => views[i]!.images.shape[0]!),
      draw,
    ),
  }));
};

/** Recorded names of the parts of a view. */
export interface Recorded {
  readonly tokens: F32<string>;
  readonly x_norm_clstoken: F32<string>;
  readonly x_norm_regtokens: F32<string>;
  readonly x_norm_patchtokens: F32<string>;
  readonly x_prenorm: F32<string>;
}

export const configOfBackbone = (c: Case): VitConfig => vitConfigOf(c.config);

/** Every view's features, under their recorded names. */
export const forward =
  (c: VitConfig, passes: readonly Pass[]) =>
  (params: VitParams, views: Views, keeps: readonly (readonly Keep[])[]): readonly Recorded[] => {
    const out: Recorded[] = [];
    passes.forEach((pass, p) => {
      const crops = pass.views.map((i): Crop => {
        const { images, masks } = views[i]!;
        return crop(c, images, 'N', masks) as unknown as Crop;
      });
      const features = encode(c, params, crops, { keep: keeps[p] }) as readonly Features<string, string>[];
      pass.views.forEach((i, at) => {
        const f = features[at]!;
        out[i] = {
          tokens: tokensOf(c, params, crops[at]!),
          x_norm_clstoken: f.cls,
          x_norm_regtokens: f.registers,
          x_norm_patchtokens: f.patches,
          x_prenorm: f.prenorm,
        };
      });
    });
    return out;
  };
