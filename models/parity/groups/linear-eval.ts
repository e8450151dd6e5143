/** Group linear_eval: what a linear classifier reads of the last blocks, its logits, and centre padding of an image. */
import { z } from 'zod';
import { apply, type F32, type Params, size } from '../../../index.ts';
import { type BlockTokens, centrePadding, probeInput } from '../../eval/probe.ts';
import { linear } from '../../layers.ts';
import { configOf, sizeFrom } from '../catalogue.ts';
import type { Numbers } from '../compare.ts';
import { filled, has, numbered, parameters, type Runner } from '../context.ts';

const classifierOf = (inputs: number, classes: number) => linear(size('I', inputs), size('O', classes));
type Classifier = Params<ReturnType<typeof classifierOf>>;

const whole = sizeFrom(1);
const config = z.object({ dim: whole, classes: whole, use_n_blocks: z.array(whole), pad_multiple: whole.default(14) });

export const linearEval: Runner = async (c, context) => {
  const { dim, classes, use_n_blocks, pad_multiple } = configOf(c, config);
  const patches = numbered(c, 'patch');
  const cls = numbered(c, 'cls');
  const variants = use_n_blocks
    .flatMap((n) =>
      [false, true].map((average) => ({ n, average, suffix: `n${n}_avg${Number(average)}`, width: (n + Number(average)) * dim })),
    )
    .filter(({ suffix }) => c.outputs.some((o) => o.name === `feat_${suffix}` || o.name === `logits_${suffix}`))
    .map((v) => {
      const classifier = classifierOf(v.width, classes);
      return { ...v, classifier, params: parameters(c, classifier, `clf_${v.suffix}/linear.`) };
    });
  const image = has(c, 'pad_image') ? { x: filled(c, 'pad_image') } : {};
  const [height = 0, width = 0] = image.x?.shape.slice(-2) ?? [];
  const out = await context.run(
    (blocks: readonly BlockTokens[], classifiers: readonly Classifier[], { x }: { readonly x?: F32<string> }) => ({
      each: variants.map(({ n, average, classifier }, i) => {
        const feature = probeInput(blocks, n, average);
        return { feature, logits: apply(classifier, classifiers[i] as Classifier)(feature as F32<'B I'>) };
      }),
      ...(x ? { padded: centrePadding(pad_multiple)(x, [height, width]) } : {}),
    }),
    [patches.map((p, i) => ({ patches: p, cls: cls[i]! })), variants.map((v) => v.params), image],
  );
  const made = new Map<string, Numbers>();
  variants.forEach(({ suffix }, i) => made.set(`feat_${suffix}`, out.each[i]!.feature).set(`logits_${suffix}`, out.each[i]!.logits));
  if (out.padded) made.set('center_padded', out.padded);
  return made;
};
