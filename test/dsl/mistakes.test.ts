/** The fifteen typical mistakes: what tsc says for each, word for word, and that each is said once. And what all this costs. */
import { expect, test } from 'vitest';
import { check, lineOf, sentence } from './typecheck.ts';

const head = `import { apply, concat, einsum, fn, matmul, rearrange, softmax, sum, type F32, type Params, type Tensor } from '../../dsl/index.ts';
import { attention, dinoLoss, linear, vit } from './models.ts';
declare const t: <const S extends string>(s: S) => F32<S>;
declare const half: Tensor<'B N 1', 'bf16'>;
declare const x: F32<'B N 384'>, w: F32<'768 1536'>, q: F32<'B 6 N 64'>, k: F32<'B 6 M 64'>;
const att = attention(384, 6), lin = linear(384, 1536), model = vit(384, 6, 12);
declare const ap: Params<typeof att>, lp: Params<typeof lin>;
`;
const mistakes: readonly (readonly [what: string, source: string, message: string])[] = [
  ['wrong matmul dim', 'matmul(x, w)', 'matmul: inner dims differ: [B N 384] @ [768 1536]: 384 vs 768'],
  ['wrong width into a module', "apply(lin, lp)(t('B N 768'))", 'argument 1: expected [... I], got [B N 768]: I = 384 here, got 768'],
  ['missing axis', "apply(att, ap)(t('B 384'))", 'argument 1: expected [B N D], got [B 384]: too few axes: none for D'],
  ['forgotten transpose', 'softmax(matmul(q, k))', 'matmul: inner dims differ: [B 6 N 64] @ [B 6 M 64]: 64 vs M'],
  ['heads do not divide', "rearrange('b n (h d) -> b h n d', x, { h: 5 })", 'rearrange: 384 is not divisible by h=5'],
  [
    'einsum sizes clash',
    "einsum('b n d, e d -> b n e', x, w)",
    'einsum: axis d is 384 in an earlier operand but 1536 in operand 2 [768 1536]',
  ],
  ['einsum typo', "einsum('b n d, d e -> b n f', x, t('384 10'))", 'einsum: output axis f does not occur in any operand'],
  ['too many axes in a pattern', "sum('b n d e -> b', x)", 'sum: the tensor [B N 384] has fewer axes than its pattern'],
  ['bad broadcast', "x.add(t('P 384'))", 'add: cannot broadcast [B N 384] with [P 384]: N vs P'],
  ['concat', "concat('b * d', t('B 1 768'), x)", 'concat: [B 1 768] with [B N 384]: axis d is 768 vs 384'],
  ['dtype', 'x.mul(half)', 'mul: dtypes differ: f32 vs bf16 (use .cast())'],
  [
    'prototype count',
    "dinoLoss(0.1)(t('8 B 65536'), t('2 B 131072'))",
    'argument 2: expected [T B K], got [2 B 131072]: K = 65536 here, got 131072',
  ],
  [
    'wrong declared result',
    "export const f: F32<'B N 384'> = matmul(x, t('384 1536'))",
    `Type 'Tensor<"B N 1536", "f32">' is not assignable to type 'F32<"B N 384">'.`,
  ],
  [
    'wrong parameter tree',
    'apply(model, lp)',
    'Argument of type \'{ readonly weight: Tensor<"1536 384", "f32">; readonly bias: Tensor<"1536", "f32">; }\' is not assignable to parameter of type \'{ readonly embed: { readonly weight: Tensor<"384 12", "f32">; readonly bias: Tensor<"384", "f32">; }; readonly cls_token: Tensor<"1 1 384", "f32">; readonly blocks: readonly { ...; }[]; readonly norm: { ...; }; }\'.',
  ],
  [
    'inside a body',
    "fn(['B N D', 'D F'], (a, b) => matmul(a, rearrange('d f -> f d', b)))",
    'matmul: inner dims differ: [B N D] @ [F D]: D vs F',
  ],
];

test('the fifteen typical mistakes, word for word', () => {
  const c = check('mistakes.in-memory.ts', head + mistakes.map(([, source]) => `${source};`).join('\n'));
  const first = head.split('\n').length - 1;
  const said = mistakes.map(([what], i) => [what, ...c.diagnostics.filter((d) => lineOf(c, d) === first + i).map(sentence)]);
  expect(said).toEqual(mistakes.map(([what, , message]) => [what, message]));
  expect(c.diagnostics).toHaveLength(mistakes.length);
}, 60_000);

test('a ViT and its losses stay within the budget of type instantiations', () => {
  const { program, diagnostics } = check('models.ts');
  expect(diagnostics.map(sentence)).toEqual([]);
  const count = program.getInstantiationCount();
  console.log(`type instantiations, ViT and losses: ${count}`);
  // about a tenth above the count at the time of writing; raise it only for a feature that is worth it
  expect(count).toBeLessThan(35_000);
}, 60_000);
