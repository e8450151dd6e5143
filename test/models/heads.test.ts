import { describe, expect, it } from 'vitest';
import { apply, einsum, type F32, leaves, type Params, size, valueAndGrad } from '../../dsl/index.ts';
import { dinoHead } from '../../models/heads.ts';
import { evaluate, filled, mapNumbers, type Numbers, parameters } from './evaluate.ts';
import { type Case, check, golden } from './goldens.ts';

const input = (c: Case, name: string): Numbers => filled(c.inputs.find((i) => i.name === name) as Case['inputs'][number]);

const headOf = (c: Case) => {
  const k = c.config as Record<string, number | boolean | undefined>;
  const config = {
    prototypes: k.out_dim as number,
    hidden: (k.hidden_dim ?? 2048) as number,
    bottleneck: k.bottleneck_dim as number,
    layers: k.nlayers as number,
    bias: (k.mlp_bias ?? true) as boolean,
  };
  return dinoHead(size('D', k.in_dim as number), size('K', config.prototypes), config);
};
type Head = Params<ReturnType<typeof headOf>>;

describe('projection head', () => {
  it.each(['head_1layer', 'head_2layer', 'head_3layer'])('%s: names, output and gradients as recorded', (id) => {
    const c = golden(id);
    const head = headOf(c);
    expect(leaves(head).map((l) => [l.path, l.shape])).toEqual(c.params.map((p) => [p.name, p.shape]));
    const f = (p: Head, x: F32<'B D'>, cotangent: F32<'B K'>) =>
      valueAndGrad(
        (t: { readonly p: Head; readonly x: F32<'B D'> }) => {
          const out = apply(head, t.p)(t.x);
          return [einsum('b k, b k ->', out, cotangent), { out }] as const;
        },
        { hasAux: true },
      )({ p, x });
    const [value, { out }, grads] = evaluate(f, [parameters(c.params), input(c, 'x'), input(c, 'cot/out')]) as [
      Numbers,
      { out: Numbers },
      { p: unknown; x: Numbers },
    ];
    check(c, 'loss', value.data);
    check(c, 'out', out.data);
    check(c, 'grad_input/x', grads.x.data);
    mapNumbers((g, path) => check(c, `grad/${path}`, g.data), grads.p);
  });

  it('maps a row of zeros to zeros', () => {
    const c = golden('head_zero_row');
    const x = input(c, 'x');
    const zeroed = { ...x, data: Array.from(x.data, (v, i) => (i < 16 ? 0 : v)) };
    check(c, 'out', (evaluate((p: Head, y: F32<'B D'>) => apply(headOf(c), p)(y), [parameters(c.params), zeroed]) as Numbers).data);
  });
});
