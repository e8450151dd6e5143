/**
 * Group vit_grad: features of every view, and the gradients of loss = sum over the recorded features T of sum(T * cot(T)) with respect
 * to images and parameters. A cotangent is the input `cot/<name of T>`.
 */
import { type F32, flatten, type HostTensor, type Scalar, sum, valueAndGrad } from '../../../index.ts';
import { type Keep, type VitParams, vit } from '../../vit.ts';
import { malformed } from '../catalogue.ts';
import type { Numbers } from '../compare.ts';
import { filled, has, parameters, type Runner } from '../context.ts';
import { configOfBackbone, forward, passesOf, type Recorded, type Views, viewNames, viewsOf } from './backbone.ts';

/** Sum of all elements, whatever the rank. */
const total = (x: F32<string>): Scalar => sum(`${x.shape.map((_, i) => `a${i}`).join(' ')} ->` as string, x) as Scalar;

export const vitGrad: Runner = async (c, context) => {
  const config = configOfBackbone(c);
  const names = viewNames(c);
  const views = viewsOf(c);
  const passes = passesOf(c, config, views);
  /** The recorded features that have a cotangent: view and part. */
  const weighed = names.flatMap((name, view) =>
    c.outputs
      .filter((o) => o.name.startsWith(`${name}.`) && has(c, `cot/${o.name}`))
      .map((o) => ({ view, part: o.name.slice(name.length + 1) as keyof Recorded, cotangent: filled(c, `cot/${o.name}`) })),
  );
  if (weighed.length === 0) throw malformed(`case ${c.id}`, 'no recorded feature has a cotangent');
  const run = forward(config, passes);
  const [loss, features, grads] = await context.run(
    (params: VitParams, given: Views, keeps: readonly (readonly Keep[])[], cotangents: readonly F32<string>[]) =>
      valueAndGrad(
        (t: { readonly params: VitParams; readonly images: readonly F32<'B Ch S W'>[] }) => {
          const out = run(
            t.params,
            given.map((v, i) => ({ ...v, images: t.images[i]! })),
            keeps,
          );
          const terms = weighed.map(({ view, part }, i) => total(out[view]![part].mul(cotangents[i]!) as F32<string>));
          return [terms.reduce((a, b) => a.add(b)), out] as const;
        },
        { hasAux: true },
      )({ params, images: given.map((v) => v.images) }),
    [parameters(c, vit(config)), views, passes.map((p) => p.keep), weighed.map((w) => w.cotangent)],
  );
  const made = new Map<string, Numbers>([['loss', loss]]);
  names.forEach((name, i) => {
    for (const [part, x] of Object.entries(features[i]!)) made.set(`${name}.${part}`, x);
    const { masks } = views[i]!;
    if (masks) made.set(`${name}.masks`, masks);
    made.set(`grad_input/${name}`, grads.images[i]!);
  });
  for (const { path, leaf } of flatten(grads.params)) made.set(`grad/${path}`, leaf as HostTensor);
  return made;
};
