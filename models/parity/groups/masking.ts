/** Group masking: the block-wise mask generator, call by call, and the collation of a batch, both driven by a recorded random stream. */
import { z } from 'zod';
import { blockMask, collateMasks, cropMajor, maxPatches } from '../../data/index.ts';
import { type Case, configOf, malformed, sizeFrom } from '../catalogue.ts';
import type { Numbers } from '../compare.ts';
import { numbers, type Runner } from '../context.ts';
import { stream } from '../formula.ts';

const whole = sizeFrom(0);
/** Patches along a side of a grid. */
const side = sizeFrom(1, 4096);
const config = z.object({
  generators: z
    .record(
      z.string(),
      z.object({
        input_size: z.union([side.transform((n): [number, number] => [n, n]), z.tuple([side, side])]),
        max_num_patches: z.number(),
        min_num_patches: z.number().default(4),
        min_aspect: z.number().default(0.3),
        calls: z.array(whole),
      }),
    )
    .default({}),
  collates: z
    .record(
      z.string(),
      z.object({
        global_size: side,
        patch_size: side,
        batch: sizeFrom(1, 4096),
        n_local: sizeFrom(0, 4096),
        mask_ratio_min_max: z.tuple([z.number(), z.number()]),
        mask_probability: z.number(),
      }),
    )
    .default({}),
});

/** Refuses more masks than a case would record, before they are drawn. */
const few = (c: Case, name: string, masks: number, patches: number): void => {
  if (masks * patches > 2 ** 24) throw malformed(`case ${c.id}`, `${name}: ${masks} masks of ${patches} patches`);
};

export const masking: Runner = (c) => {
  const { generators, collates } = configOf(c, config);
  const made = new Map<string, Numbers>();
  const list = (name: string, data: readonly number[]): void => void made.set(name, numbers(data, [data.length]));
  for (const [name, g] of Object.entries(generators)) {
    few(c, name, g.calls.length, g.input_size[0] * g.input_size[1]);
    const s = stream(`${c.formula_prefix}rng/${name}`);
    const shape = { grid: g.input_size, maxPatches: g.max_num_patches, minPatches: g.min_num_patches, minAspect: g.min_aspect };
    const drawn: number[] = [];
    const masks = g.calls.flatMap((target) => {
      const mask = [...blockMask(shape, target, s.random)];
      drawn.push(s.drawn());
      return mask;
    });
    made.set(`${name}.masks`, numbers(masks, [g.calls.length, ...g.input_size]));
    list(`${name}.draws_so_far`, drawn);
  }
  for (const [name, k] of Object.entries(collates)) {
    const s = stream(`${c.formula_prefix}rng/${name}`);
    const grid = Math.floor(k.global_size / k.patch_size);
    few(c, name, 2 * k.batch, grid * grid);
    const m = collateMasks(
      {
        crops: 2 * k.batch,
        grid: [grid, grid],
        probability: k.mask_probability,
        ratio: k.mask_ratio_min_max,
        maxPatches: maxPatches(k.global_size, k.patch_size),
      },
      s.random,
    );
    made.set(`${name}.masks`, numbers(m.masks, [2 * k.batch, grid * grid]));
    list(`${name}.mask_indices`, [...m.indices.subarray(0, m.count)]);
    list(`${name}.masks_weight`, [...m.weights.subarray(0, m.count)]);
    list(`${name}.upperbound_nmasked_draws`, [m.indices.length, m.count, s.drawn()]);
    // crop q of image i is recorded as 10 i + q, and 100 more for a local one
    const order = (crops: number, from: number): number[] => cropMajor(crops, k.batch).map(({ crop, image }) => from + 10 * image + crop);
    list(`${name}.global_order`, order(2, 0));
    list(`${name}.local_order`, order(k.n_local, 100));
  }
  return made;
};
