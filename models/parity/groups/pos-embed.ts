/** Group pos_embed: learned position tables of several models, resampled to the patch grids of images of several sizes. */
import { z } from 'zod';
import { concat, type F32, rearrange, slice } from '../../../index.ts';
import { positions } from '../../vit/embedding.ts';
import { configOf, malformed } from '../catalogue.ts';
import { numbers, type Runner, tensorOf } from '../context.ts';

const model = z.object({
  img_size: z.number().int().positive(),
  patch_size: z.number().int().positive(),
  interpolate_antialias: z.boolean(),
  interpolate_offset: z.number(),
});

export const posEmbed: Runner = async (c, context) => {
  const models = configOf(c, z.record(z.string(), model), c.models, 'models');
  const tables = c.params.map((p) => tensorOf(c, p));
  // an output is called <model>.<height>x<width>
  const wanted = c.outputs.map(({ name }) => {
    const [, of = '', height, width] = /^(.+)\.(\d+)x(\d+)$/.exec(name) ?? [];
    const m = models[of];
    const table = c.params.findIndex((p) => p.name === `${of}/pos_embed`);
    if (!m || table < 0) throw malformed(`case ${c.id}`, `output ${name} names no model of the case`);
    const config = {
      imageSize: m.img_size,
      patch: m.patch_size,
      interpolation: { offset: m.interpolate_offset, antialias: m.interpolate_antialias },
    };
    return { name, table, config, grid: [height, width].map((s) => Math.floor(Number(s) / m.patch_size)) as [number, number] };
  });
  const out = await context.run(
    (all: readonly F32<string>[]) =>
      wanted.map(({ table, config, grid }) => {
        const learned = all[table] as F32<'1 G+1 D'>;
        const placed = positions(config, grid, slice('a 1: d', learned));
        return concat('a * d', slice('a 0:1 d', learned) as F32<string>, rearrange('n d -> 1 n d', placed) as F32<string>);
      }),
    [tables],
  );
  return new Map(wanted.map(({ name }, i) => [name, numbers(out[i]!.data, out[i]!.shape)]));
};
