/** Group vit_intermediate: features after chosen blocks, for every entry of `takes`. */
import { z } from 'zod';
import type { F32 } from '../../../index.ts';
import { crop, intermediate, onGrid, type VitParams, vit } from '../../vit.ts';
import { configOf, sizeFrom } from '../catalogue.ts';
import type { Numbers } from '../compare.ts';
import { parameters, type Runner } from '../context.ts';
import { configOfBackbone, type Views, viewNames, viewsOf } from './backbone.ts';

const whole = sizeFrom(0);
const takes = z.array(
  z.object({
    id: z.string(),
    /** The last n blocks, or the blocks of these numbers. */
    n: z.union([whole, z.array(whole)]),
    reshape: z.boolean(),
    return_class_token: z.boolean(),
    norm: z.boolean(),
  }),
);

export const vitIntermediate: Runner = async (c, context) => {
  const config = configOfBackbone(c);
  const list = configOf(c, takes, c.takes, 'takes');
  const out = await context.run(
    (params: VitParams, views: Views) =>
      views.map(({ images }) => {
        const image = crop(config, images, 'N');
        return list.map(({ n, norm, reshape }) =>
          intermediate(config, params, image, { blocks: n, norm }).map(({ cls, patches }) => ({
            cls: cls as F32<string>,
            patch: (reshape ? onGrid(patches, image.grid) : patches) as F32<string>,
          })),
        );
      }),
    [parameters(c, vit(config)), viewsOf(c)],
  );
  const made = new Map<string, Numbers>();
  viewNames(c).forEach((name, v) => {
    list.forEach(({ id, return_class_token: withClass }, t) => {
      out[v]![t]!.forEach(({ cls, patch }, position) => {
        made.set(`${name}.${id}.${position}.patch`, patch);
        if (withClass) made.set(`${name}.${id}.${position}.cls`, cls);
      });
    });
  });
  return made;
};
