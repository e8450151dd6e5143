/**
 * Group dino_head: the projection head's MLP, its output, and, where a case has a cotangent, the gradients of the product of both with
 * respect to the input and to every parameter.
 */
import { z } from 'zod';
import { apply, einsum, type F32, flatten, type HostTensor, type Params, size, valueAndGrad } from '../../../index.ts';
import { dinoHead as head, headMlp } from '../../heads.ts';
import { type Case, configOf, sizeFrom } from '../catalogue.ts';
import type { Numbers } from '../compare.ts';
import { filled, has, parameters, type Runner } from '../context.ts';

const whole = sizeFrom(1);
const config = z.object({
  in_dim: whole,
  out_dim: whole,
  nlayers: sizeFrom(0, 100),
  use_bn: z.literal(false).optional(),
  hidden_dim: whole.default(2048),
  bottleneck_dim: whole.default(256),
  mlp_bias: z.boolean().default(true),
});

/** The input x, with the rows that a note sets to zero after filling. */
const inputs = (c: Case): HostTensor => {
  const x = filled(c, 'x');
  const width = x.shape.at(-1) ?? 1;
  for (const note of c.notes)
    for (const [, row] of note.matchAll(/\brow (\d+) of x is set to all zeros/g))
      x.data.fill(0, Number(row) * width, (Number(row) + 1) * width);
  return x;
};

export const dinoHead: Runner = async (c, context) => {
  const k = configOf(c, config);
  const settings = { prototypes: k.out_dim, hidden: k.hidden_dim, bottleneck: k.bottleneck_dim, layers: k.nlayers, bias: k.mlp_bias };
  const [D, K, H, O] = [size('D', k.in_dim), size('K', k.out_dim), size('H', k.hidden_dim), size('O', k.bottleneck_dim)];
  const model = head(D, K, settings);
  type Head = Params<typeof model>;
  const forward = (p: Head, x: F32<'B D'>) => ({
    mlp_out: apply(headMlp(D, H, O, settings), p.mlp)(x),
    out: apply(model, p)(x),
  });
  const [params, x] = [parameters(c, model), inputs(c)];
  if (!has(c, 'cot/out')) {
    const { mlp_out, out } = await context.run(forward, [params, x]);
    return new Map<string, Numbers>([
      ['mlp_out', mlp_out],
      ['out', out],
    ]);
  }
  const [loss, { mlp_out, out }, grads] = await context.run(
    (p: Head, x: F32<'B D'>, cotangent: F32<'B K'>) =>
      valueAndGrad(
        (t: { readonly p: Head; readonly x: F32<'B D'> }) => {
          const y = forward(t.p, t.x);
          return [einsum('b k, b k ->', y.out, cotangent), y] as const;
        },
        { hasAux: true },
      )({ p, x }),
    [params, x, filled(c, 'cot/out')],
  );
  return new Map<string, Numbers>([
    ['mlp_out', mlp_out],
    ['out', out],
    ['loss', loss],
    ['grad_input/x', grads.x],
    ...flatten(grads.p).map(({ path, leaf }): [string, Numbers] => [`grad/${path}`, leaf as HostTensor]),
  ]);
};
