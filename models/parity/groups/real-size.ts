/**
 * Group real_size: published sizes with formula weights. Of the patch features only summaries are recorded: the first rows, means and
 * standard deviations (population) over the patches, principal components; and the class token after every block.
 */
import { pca } from '../../eval/pca.ts';
import { crop, intermediate, type VitParams, vit } from '../../vit.ts';
import type { Numbers } from '../compare.ts';
import { numbers, parameters, type Runner } from '../context.ts';
import { configOfBackbone, forward, type Views, viewNames, viewsOf } from './backbone.ts';

/** Mean and population standard deviation of the numbers at start, start + step, ... */
const moments = (x: ArrayLike<number>, start: number, step: number): readonly [mean: number, std: number] => {
  const n = Math.ceil((x.length - start) / step);
  let [sum, squares] = [0, 0];
  for (let i = start; i < x.length; i += step) sum += x[i]!;
  const mean = sum / n;
  for (let i = start; i < x.length; i += step) squares += (x[i]! - mean) ** 2;
  return [mean, Math.sqrt(squares / n)];
};

const rows = 8;

export const realSize: Runner = async (c, context) => {
  const config = configOfBackbone(c);
  const names = viewNames(c);
  const views = viewsOf(c);
  const passes = views.map((_, i) => ({ views: [i], keep: [] }));
  const out = await context.run(
    (params: VitParams, given: Views) => ({
      features: forward(config, passes)(params, given, []),
      after: given.map(({ images }) =>
        intermediate(config, params, crop(config, images, 'N'), { blocks: config.depth, norm: false }).map((l) => l.cls),
      ),
    }),
    [parameters(c, vit(config)), views],
  );
  const { width, depth } = config;
  const made = new Map<string, Numbers>();
  names.forEach((name, i) => {
    const f = out.features[i]!;
    const put = (what: string, data: ArrayLike<number>, shape: readonly number[]): void =>
      void made.set(`${name}.${what}`, numbers(data, shape));
    made.set(`${name}.x_norm_clstoken`, f.x_norm_clstoken);
    made.set(`${name}.x_norm_regtokens`, f.x_norm_regtokens);
    const patches = f.x_norm_patchtokens.data;
    const channels = Array.from({ length: width }, (_, k) => moments(patches, k, width));
    put('patch_first8', patches.slice(0, rows * width), [Math.min(rows, patches.length / width), width]);
    put(
      'patch_channel_mean',
      channels.map(([mean]) => mean),
      [width],
    );
    put(
      'patch_channel_std',
      channels.map(([, std]) => std),
      [width],
    );
    put('patch_mean_std', moments(patches, 0, 1), [2]);
    put(
      'cls_after_block',
      out.after[i]!.flatMap((x) => Array.from(x.data)),
      [depth, width],
    );
    const wanted = (what: string) => c.outputs.find((o) => o.name === `${name}.${what}`);
    const [components, values] = [wanted('pca_components'), wanted('pca_singular_values')];
    if (components && values) {
      const count = components.shape[0]!;
      const p = pca(Float32Array.from(patches), width, count);
      put('pca_components', p.components, [count, width]);
      put('pca_projections', p.projections, [patches.length / width, count]);
      put('pca_singular_values', pca(Float32Array.from(patches), width, values.shape[0]!).singularValues, values.shape);
    }
  });
  return made;
};
