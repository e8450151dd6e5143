import { describe, expect, it } from 'vitest';
import { apply, type F32, leaves, type Tensor } from '../../dsl/index.ts';
import { vitConfigOf } from '../../models/recipes/config.ts';
import { published } from '../../models/vit/presets.ts';
import { type Crop, crop, encode, type Keep, type VitConfig, type VitParams, vit } from '../../models/vit.ts';
import { evaluate, filled, type Numbers, numbers, parameters } from './evaluate.ts';
import { type Case, check, golden, readJson, recorded, stream } from './goldens.ts';

interface Outputs {
  readonly cls: Numbers;
  readonly registers: Numbers;
  readonly patches: Numbers;
  readonly prenorm: Numbers;
}
const parts = { x_norm_clstoken: 'cls', x_norm_regtokens: 'registers', x_norm_patchtokens: 'patches', x_prenorm: 'prenorm' } as const;

/** Checks every recorded output of one input of a case. */
const compare = (c: Case, name: string, out: Outputs): void => {
  const checked = Object.entries(parts).filter(([theirs, ours]) => {
    const id = `${name}.${theirs}`;
    if (!c.outputs.some((o) => o.name === id)) return false;
    check(c, id, out[ours].data);
    return true;
  });
  expect(checked.length).toBeGreaterThanOrEqual(3);
};

const images = (c: Case): Case['inputs'] => c.inputs.filter((i) => i.kind !== 'bool');
const masks = (c: Case, name: string): Numbers | undefined => {
  const i = c.inputs.find((m) => m.name === `masks_${name}`);
  if (!i) return undefined;
  const threshold = Number(/u < ([\d.]+)/.exec(i.rule ?? '')?.[1]);
  return numbers(
    Array.from(stream(i.formula_name, (i.shape[0] as number) * (i.shape[1] as number)), (u) => Number(u < threshold)),
    i.shape,
    'bool',
  );
};

describe('forward of a whole image', () => {
  it.each(['vit_plain_p14', 'vit_swiglu', 'vit_layerscale', 'vit_lneps', 'vit_nobias', 'vit_reg4', 'vit_nonsquare', 'vit_interp_aa'])(
    '%s equals the recorded features',
    (id) => {
      const c = golden(id);
      const model = vit(vitConfigOf(c.config));
      expect(leaves(model).map((l) => [l.path, l.shape])).toEqual(c.params.map((p) => [p.name, p.shape]));
      for (const i of images(c)) {
        const out = evaluate((p: VitParams, x: F32<'B 3 S W'>) => apply(model, p)(x), [parameters(c.params), filled(i)]);
        compare(c, i.name, out as Outputs);
      }
    },
  );
});

describe('forward of several crops', () => {
  const run = (c: Case, keep?: unknown): readonly Outputs[] => {
    const config: VitConfig = vitConfigOf(c.config);
    const crops = images(c).map((i) => ({ images: filled(i), masks: masks(c, i.name) }));
    const args = [parameters(c.params), crops.map(({ images: x, masks: m }) => (m ? { x, m } : { x })), ...(keep ? [keep] : [])];
    type Views = readonly { readonly x: F32<'B 3 S W'>; readonly m?: Tensor<'B N', 'bool'> }[];
    const f = (p: VitParams, views: Views, kept?: readonly Keep[]) =>
      encode(
        config,
        p,
        views.map(({ x, m }): Crop => crop(config, x, 'N', m)),
        { keep: kept },
      );
    return evaluate(f as (...xs: never[]) => unknown, args) as readonly Outputs[];
  };

  it.each(['vit_masks', 'vit_nested'])('%s equals the recorded features', (id) => {
    const c = golden(id);
    run(c).forEach((out, i) => compare(c, images(c)[i]?.name as string, out));
  });

  it('drops branches of images as recorded, with the recorded permutations', () => {
    const c = golden('vit_droppath_nested');
    const draws = [...(c.permutations?.list ?? [])];
    // Rates 0, 0.2, 0.4; for every block with a rate: attention then feed-forward, each for x then y.
    const keep = [0, 0.2, 0.4].map((rate) => {
      const branch = () =>
        rate === 0
          ? []
          : [0, 1].map(() => {
              const [, n, order] = draws.shift() as (typeof draws)[number];
              const m = Math.max(Math.trunc(n * (1 - Math.fround(rate))), 1);
              return numbers(order.slice(0, m), [m], 'i32');
            });
      return { attn: branch(), ffn: branch() };
    });
    expect(draws.length).toBe(0);
    run(c, keep).forEach((out, i) => compare(c, images(c)[i]?.name as string, out));
  });
});

describe('published backbones', () => {
  const known = readJson('state_dicts.json') as Record<string, { readonly state_dict: readonly (readonly [string, readonly number[]])[] }>;
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

it('has as many recorded tensors as outputs in every case', () => {
  for (const id of ['vit_plain_p14', 'vit_masks']) expect(recorded(golden(id).file).size).toBe(golden(id).outputs.length);
});
