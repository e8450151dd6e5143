/** Group vit_forward: tokens before the first block and features after the last, of every view of a case. */
import { vit } from '../../vit.ts';
import type { Numbers } from '../compare.ts';
import { parameters, type Runner } from '../context.ts';
import { configOfBackbone, forward, passesOf, viewNames, viewsOf } from './backbone.ts';

export const vitForward: Runner = async (c, context) => {
  const config = configOfBackbone(c);
  const views = viewsOf(c);
  const passes = passesOf(c, config, views);
  const out = await context.run(forward(config, passes), [parameters(c, vit(config)), views, passes.map((p) => p.keep)]);
  const made = new Map<string, Numbers>();
  viewNames(c).forEach((name, i) => {
    for (const [part, x] of Object.entries(out[i]!)) made.set(`${name}.${part}`, x);
    const { masks } = views[i]!;
    if (masks) made.set(`${name}.masks`, masks);
  });
  return made;
};
