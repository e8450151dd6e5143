/**
 * The four sizes of DINOv2 and the settings of its published backbones. A size fixes width, depth, heads and the kind of
 * feed-forward; patch, image size and registers belong to a run.
 *
 *   published('vit_small', { registers: 4 })  ->  the configuration whose parameters are dinov2_vits14_reg4_pretrain
 */
import type { VitConfig } from '../vit.ts';

type Architecture = Pick<VitConfig, 'width' | 'depth' | 'heads' | 'ffn' | 'registers' | 'interpolation'>;

const classic = { registers: 0, interpolation: { offset: 0.1, antialias: false } } as const;

const vitSmall: Architecture = { ...classic, width: 384, depth: 12, heads: 6, ffn: 'mlp' };
const vitBase: Architecture = { ...classic, width: 768, depth: 12, heads: 12, ffn: 'mlp' };
export const vitLarge: Architecture = { ...classic, width: 1024, depth: 24, heads: 16, ffn: 'mlp' };
export const vitGiant2: Architecture = { ...classic, width: 1536, depth: 40, heads: 24, ffn: 'swiglu' };

export const architectures = { vit_small: vitSmall, vit_base: vitBase, vit_large: vitLarge, vit_giant2: vitGiant2 } as const;

/** Published backbones: patch 14, positions of 518 x 518 images, LayerScale 1; with registers, positions are antialiased. */
export const published = (name: keyof typeof architectures, { registers = 0 }: { readonly registers?: number } = {}): VitConfig => ({
  ...architectures[name],
  patch: 14,
  imageSize: 518,
  layerScale: 1,
  registers,
  interpolation: registers > 0 ? { offset: 0, antialias: true } : { offset: 0.1, antialias: false },
});
