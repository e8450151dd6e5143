import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { leaves } from '../../dsl/index.ts';
import { published } from '../../models/vit/presets.ts';
import { vit } from '../../models/vit.ts';

describe('published backbones', () => {
  const known = JSON.parse(readFileSync(join(import.meta.dirname, '../goldens/state_dicts.json'), 'utf8')) as Record<
    string,
    { readonly state_dict: readonly (readonly [string, readonly number[]])[] }
  >;
  it.each([
    ['dinov2_vits14', published('vit_small')],
    ['dinov2_vitb14', published('vit_base')],
    ['dinov2_vitl14', published('vit_large')],
    ['dinov2_vitg14', published('vit_giant2')],
    ['dinov2_vits14_reg', published('vit_small', { registers: 4 })],
    ['dinov2_vitb14_reg', published('vit_base', { registers: 4 })],
    ['dinov2_vitl14_reg', published('vit_large', { registers: 4 })],
    ['dinov2_vitg14_reg', published('vit_giant2', { registers: 4 })],
  ])('%s has exactly these parameters, in this order', (name, c) => {
    expect(leaves(vit(c)).map((l) => [l.path, l.shape])).toEqual(known[name]?.state_dict);
  });
});
