/**
 * The projection head: an MLP to a narrow bottleneck, its output scaled to length 1, then products with K prototypes. A row of
 * the last layer is g v / |v| (weight normalisation, arXiv 1602.07868), so direction and length learn apart. Unlike in DINO's
 * first version, g is trained.
 *
 *   apply(dinoHead(384, recipe.dino), params)(cls)      cls: Tensor<'B 384'>  ->  logits: Tensor<'B K'>
 */
import {
  type DimArg,
  einsum,
  type F32,
  gelu,
  initializers,
  module,
  param,
  type Size,
  size,
  sqrt,
  stopGradient,
  sum,
} from '../dsl/index.ts';
import { linear } from './layers.ts';
import { unit } from './losses.ts';

const { ones, uniform } = initializers;

export interface HeadConfig {
  /** K, the rows of the last layer. */
  readonly prototypes: number;
  readonly hidden: number;
  readonly bottleneck: number;
  readonly layers: number;
  readonly bias?: boolean;
  /** The lengths g of the prototypes: trained and decayed like any weight (DINOv2), or fixed (DINO's first version). */
  readonly lengths?: 'trained' | 'fixed';
}

/** Products of unit rows with the normalised prototypes. */
export const prototypes = <I extends DimArg, K extends DimArg>(
  inputs: I,
  count: K,
  bound: number,
  lengths: HeadConfig['lengths'] = 'trained',
) =>
  module(
    { I: inputs, K: count },
    () => ({ weight_g: param('K 1', ones), weight_v: param('K I', uniform(bound)) }),
    ['... I'],
    ({ weight_g, weight_v }, x) => {
      const length = sqrt(sum('k i -> k 1', weight_v.mul(weight_v)));
      const g = lengths === 'fixed' ? stopGradient(weight_g) : weight_g;
      return einsum('... i, k i -> ... k', x, weight_v.mul(g.div(length)));
    },
  );

/** The MLP: `layers` linear layers with GELU between them, named by their place among layers and activations: 0, 2, 4. */
const projector = <I extends DimArg, H extends DimArg, O extends DimArg>(inputs: I, hidden: H, outputs: O, layers: number, bias: boolean) =>
  module(
    { I: inputs, H: hidden, O: outputs },
    ({ I, H, O }) =>
      Object.fromEntries(
        Array.from({ length: layers }, (_, i) => [`${2 * i}`, linear<Size, Size>(i === 0 ? I : H, i === layers - 1 ? O : H, bias)]),
      ),
    ['... I'],
    (p, x) => {
      let y: F32<string> = x;
      for (let i = 0; i < layers; i++) {
        const layer = p[`${2 * i}`] as (z: F32<string>) => F32<string>;
        y = layer(i === 0 ? y : gelu(y));
      }
      return y as F32<'... O'>;
    },
  );

/** What stands before the normalisation: `layers` linear layers to the bottleneck. */
export const headMlp = <D extends DimArg, H extends DimArg, O extends DimArg>(dim: D, hidden: H, bottleneck: O, c: HeadConfig) =>
  c.layers > 1
    ? projector(dim, hidden, bottleneck, c.layers, c.bias ?? true)
    : // A single layer is not numbered; apart from the names of its parameters it is like the others.
      (linear(dim, bottleneck, c.bias) as unknown as ReturnType<typeof projector<D, H, O>>);

export const dinoHead = <D extends DimArg, K extends DimArg>(dim: D, count: K, c: HeadConfig) =>
  module(
    { D: dim, K: count, H: size('H', c.hidden), O: size('O', c.bottleneck) },
    ({ D, K, H, O }) => ({
      mlp: headMlp(D, H, O, c),
      last_layer: prototypes(O, K, 1 / Math.sqrt(c.bottleneck), c.lengths),
    }),
    ['... D'],
    ({ mlp, last_layer }, x) => last_layer(unit(1e-12)(mlp(x))),
  );
