/** A tree of parameters that does not fit is told by the paths that differ, from the outermost literal on, and never as a type that fills a screen. */
import { expect, test } from 'vitest';
import { checker } from '../../compiler/frontend/check.ts';
import { inOrder } from '../../compiler/frontend/findings.ts';
import { projectOf } from './project.ts';

const head = `import { apply, einsum, type F32, fn, module, type Params, param } from 'fovea';
const linear = module({ I: 4, O: 8 }, () => ({ weight: param('O I'), bias: param('O') }), ['B I'], (p, x) => einsum('b i, o i -> b o', x, p.weight).add(p.bias));
const net = module({}, () => ({ first: linear, deep: { inner: linear } }), ['B 4'], (p, x) => p.first(x).add(p.deep.inner(x)));
type Net = Params<typeof net>;
declare const w: F32<'8 4'>, b: F32<'8'>, b9: F32<'9'>;
declare const short: { first: { weight: F32<'8 4'>; bias: F32<'8'> }; deep: { inner: { weight: F32<'8 4'> } } };
const take = (p: Net, n: number) => p.first.weight.mul(n);
const list = (p: readonly Net['first'][]) => p.length;
`;
const cases: readonly (readonly [line: string, code: string, message: string])[] = [
  [
    'export const missing: Net = { first: { weight: w }, deep: { inner: { weight: w, bias: b } } };',
    'FV0006',
    'first.bias: [8] is missing',
  ],
  [
    'take({ first: { weight: w, bias: b, extra: b }, deep: { inner: { weight: w, bias: b } } }, 1);',
    'FV0006',
    'first.extra: [8] is not expected',
  ],
  [
    "take({ 'first': { weight: w, bias: b }, deep: { inner: { weight: w, bias: b9 } } }, 1);",
    'FV0001',
    'deep.inner.bias: this has the shape [9], expected [8]',
  ],
  ['list([{ weight: w, bias: b }, { weight: w, bias: b9 }]);', 'FV0001', '1.bias: this has the shape [9], expected [8]'],
  ["export const called = fn(['B 4'], (x) => apply(net, short)(x));", 'FV0006', 'deep.inner.bias: [8] is missing'],
  [
    'export const back = (p: Net): Net => { const n = { ...p, deep: { inner: { weight: w, biass: b } } }; return n; };',
    'FV0006',
    'deep.inner.bias: [8] is missing\n    deep.inner.biass: [8] is not expected',
  ],
  [
    'take(2, 1);',
    'FV0006',
    'expected a tree of 4 leaves (first.weight: [8 4], first.bias: [8], deep.inner.weight: [8 4], deep.inner.bias: [8]), got 2',
  ],
  ["export const word = fn(['N'], (x) => x.mul('a'));", 'FV0006', 'mul: expected a tensor that fits or a number, got "a"'],
  [
    "export const either = fn(['N', 'M'], (x, y) => x.add(x.shape.length > 1 ? y : 1));",
    'FV0001',
    'add: cannot broadcast [N] with [M]: N vs M',
  ],
  [
    "export const three = fn(['N', 'M', 'K'], (x, y, z) => x.add(x.shape.length > 1 ? y : x.shape.length > 2 ? z : 1));",
    'FV0006',
    'add: expected a tensor that fits, got 1 | Tensor<"M", "f32"> | Tensor<"K", "f32">',
  ],
  [
    "export const half = (n: { p: Net; n: number }) => n;\nhalf({ p: short as Net, n: 'x' });",
    'TS2322',
    "Type 'string' is not assignable to type 'number'.",
  ],
];

test('by path', { timeout: 60_000 }, () => {
  const at = projectOf(Object.fromEntries(cases.map(([line], i) => [`case${i}.ts`, `${head}${line}\n`])));
  const found = inOrder(
    checker(cases.map((_, i) => at(`case${i}.ts`)))
      .round()
      .findings(),
  );
  cases.forEach(([line, code, message], i) => {
    const own = found.filter((f) => f.file === at(`case${i}.ts`) && !['FV0907', 'FV0905'].includes(f.code));
    expect(own.map((f) => [line, f.code, f.message.replace(/^the trees differ in \d+ places?\n {4}/, '')])).toEqual([
      [line, code, message],
    ]);
    for (const f of own) for (const r of f.related) expect(r.message).not.toContain('Tensor<');
  });
});
