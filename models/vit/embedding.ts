/**
 * From patches to tokens: a linear map of the pixels, the mask token in place of hidden patches, positions, a class token and
 * registers. The order is [class, registers, patches]; registers have no position; a hidden patch keeps its position.
 *
 *   patches: Tensor<'B N C'>  ->  tokens: Tensor<'B N+R+1 D'>      C = I * patch * patch pixels of I channels, R registers
 */
import {
  concat,
  constant,
  einsum,
  expand,
  type F32,
  initializers,
  module,
  type Param,
  param,
  rearrange,
  size,
  slice,
  where,
} from '../../dsl/index.ts';
import type { VitConfig } from '../vit.ts';
import { patchProjection } from './patches.ts';
import { resampleMatrix } from './positions.ts';

const { normal, truncNormal, zeros } = initializers;

/** Patches along a side of the learned grid. */
const side = (c: Pick<VitConfig, 'imageSize' | 'patch'>): number => Math.floor(c.imageSize / c.patch);

export const embeddingSizes = (c: VitConfig) => ({
  D: size('D', c.width),
  P: size('P', c.patch),
  I: size('I', c.channels ?? 3),
  C: size('C', (c.channels ?? 3) * c.patch * c.patch),
  R: size('R', c.registers),
  G: size('G', side(c) ** 2),
});

/** Names and initial values as in DINOv2. */
export const embeddingParts = (c: VitConfig) => {
  const registers: { readonly register_tokens?: Param<'1 R D'> } = c.registers > 0 ? { register_tokens: param('1 R D', normal(1e-6)) } : {};
  return {
    cls_token: param('1 1 D', normal(1e-6)),
    pos_embed: param('1 G+1 D', truncNormal(0.02)),
    ...registers,
    mask_token: param('1 D', zeros),
    patch_embed: patchProjection(c),
  };
};
/** What the bodies below see of them. */
interface Parts {
  readonly cls_token: F32<'1 1 D'>;
  readonly pos_embed: F32<'1 G+1 D'>;
  readonly register_tokens?: F32<'1 R D'>;
  readonly mask_token: F32<'1 D'>;
  readonly patch_embed: (pixels: F32<'B N C'>) => F32<'B N D'>;
}

/**
 * The learned table [1 G D] on a grid of rows x columns patches, [N D]: as it is on the grid it was learned for, else resampled along
 * both axes.
 */
export const positions = (
  c: Pick<VitConfig, 'imageSize' | 'patch' | 'interpolation'>,
  [rows, columns]: readonly [number, number],
  table: F32<'1 G D'>,
): F32<string> => {
  const from = side(c);
  if (rows === from && columns === from) return rearrange('1 n d -> n d', table);
  const matrix = (to: number): F32<string> => constant(resampleMatrix(from, to, c.interpolation), `${to} ${from}` as string);
  const grid = rearrange('1 (y x) d -> y x d', table, { y: from });
  return rearrange('h w d -> (h w) d', einsum('w x, h x d -> h w d', matrix(columns), einsum('h y, y x d -> h x d', matrix(rows), grid)));
};

const tokens = (c: VitConfig, grid: readonly [number, number], p: Parts, content: F32<'B N D'>): F32<'B N+R+1 D'> => {
  const cls = p.cls_token.add(slice('a 0:1 d', p.pos_embed));
  const placed = content.add(positions(c, grid, slice('a 1: d', p.pos_embed)).as('N D'));
  const first = expand(cls, 'B 1 D');
  return p.register_tokens
    ? concat('b * d', first, expand(p.register_tokens, 'B R D'), placed).as('B N+R+1 D')
    : concat('b * d', first, placed).as('B N+R+1 D');
};

/** Tokens of images seen whole. */
export const embedding = (c: VitConfig, grid: readonly [number, number]) =>
  module(
    embeddingSizes(c),
    () => embeddingParts(c),
    ['B N C'],
    (p: Parts, patches) => tokens(c, grid, p, p.patch_embed(patches)),
  );

/** Tokens of images some of whose patches are hidden. */
export const maskedEmbedding = (c: VitConfig, grid: readonly [number, number]) =>
  module(
    embeddingSizes(c),
    () => embeddingParts(c),
    ['B N C', 'B N:bool'],
    (p: Parts, patches, masked) => tokens(c, grid, p, where(rearrange('b n -> b n 1', masked), p.mask_token, p.patch_embed(patches))),
  );
