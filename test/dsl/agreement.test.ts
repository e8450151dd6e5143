/**
 * The types and the tracer are two implementations of one table of rules. Random programs, about half of them wrong: tsc and the tracer must
 * give the same shape, or both refuse. One class is decided by the tracer alone: a name divided by a number (N/6), which the types allow.
 */

import type ts from 'typescript';
import { expect, test } from 'vitest';
import { FoveaError } from '../../compiler/error.ts';
import { bindDim, type Dim, parseDim } from '../../compiler/graph/dim.ts';
import * as d from '../../dsl/index.ts';
import { check, lineOf } from './typecheck.ts';

const words = ['B', 'N', 'M', 'D', '1', '3', '6', '7', '12', '64', '384', 'N+1', '2*B'];
const env = new Map<string, Dim>(Object.entries({ B: 5, N: 11, M: 13, D: 17 }));

/** A linear congruential generator: the programs are the same in every run. */
const generator = (seed: number) => {
  let s = seed;
  const below = (n: number): number => {
    s = (Math.imul(s, 1103515245) + 12345) >>> 0;
    return Math.floor((s / 2 ** 32) * n);
  };
  const pick = <X>(xs: readonly X[]): X => xs[below(xs.length)] as X;
  const shuffle = <X>(xs: readonly X[]): X[] => {
    const out = [...xs];
    for (let i = out.length - 1; i > 0; i--) {
      const j = below(i + 1);
      [out[i], out[j]] = [out[j] as X, out[i] as X];
    }
    return out;
  };
  return { below, pick, shuffle };
};

const programs = (count: number, seed: number): string[] => {
  const { below, pick, shuffle } = generator(seed);
  const shape = (n = 1 + below(4)): string[] => Array.from({ length: n }, () => pick(words));
  const one = (): string => {
    const s = shape();
    const ls = [...'abcdefgh'].slice(0, s.length);
    const t = `t('${s.join(' ')}')`;
    const k = below(s.length);
    const changed = s.map((w, j) => (j === k ? pick(words) : w));
    const mark = (m: (l: string) => string): string => ls.map((l, j) => (j === k ? m(l) : l)).join(' ');
    const kinds: (() => string)[] = [
      () => `${t}.add(t('${(below(2) ? s.slice(below(s.length)).map((w) => (below(4) ? w : '1')) : shape()).join(' ')}'))`,
      () => `rearrange('${ls.join(' ')} -> ${shuffle(ls).join(' ')}', ${t})`,
      () => {
        const g = shuffle(ls);
        return `rearrange('${ls.join(' ')} -> (${g.slice(0, k + 1).join(' ')}) ${g.slice(k + 1).join(' ')}', ${t})`;
      },
      () => `rearrange('${mark((l) => `(x ${l})`)} -> x ${ls.join(' ')}', ${t}, { x: ${pick([2, 3, 4, 6])} })`,
      () =>
        `${pick(['sum', 'mean', 'max'])}('${ls.join(' ')} -> ${shuffle(ls)
          .slice(below(ls.length + 1))
          .join(' ')}', ${t})`,
      () => `concat('${mark(() => '*')}', ${t}, t('${(below(3) ? changed : shape()).join(' ')}'))`,
      () => {
        const c = below(6) ? ls[k] : pick(ls);
        return `einsum('${ls.join(' ')}, ${c} z -> ${ls.filter((_, j) => j !== k).join(' ')} z', ${t}, t('${s[k]} ${pick(words)}'))`;
      },
      () => {
        const [a, b] = [shape(2 + below(2)), [pick(words), pick(words)]];
        return `matmul(t('${a.join(' ')}'), t('${[below(4) ? a.at(-1) : b[0], b[1]].join(' ')}'))`;
      },
      () => `slice('${mark((l) => pick(['0', '1:', ':3', '2:5', '7', l]))}', ${t})`,
      () => `pad('${mark((l) => `1:${l}:2`)}', ${t})`,
      () =>
        `fn(['... P', 'P Q'], (x, w) => einsum('... p, p q -> ... q', x, w))(${t}, t('${below(3) ? s.at(-1) : pick(words)} ${pick(words)}'))`,
      () => `fn(['P', 'P+1'], (x, y) => concat('*', x, y))(t('${s[0]}'), t('${pick([`${s[0]}`, 'N+1', '7', '4', '65'])}'))`,
    ];
    return pick(kinds)();
  };
  return Array.from({ length: count }, one);
};

/** A typed shape as numbers; `N/6` has none, as the tracer finds too. */
const numbers = (shape: string): string =>
  shape
    .split(' ')
    .filter(Boolean)
    .map((w) => (/[A-Z]\w*\/\d/.test(w) ? w : String(parseDim(w, env))))
    .join(' ');

test('types and tracer agree on random programs', () => {
  const sources = programs(240, 11);
  const head = `import { concat, einsum, fn, matmul, max, mean, pad, rearrange, slice, sum, type F32 } from '../../dsl/index.ts'; declare const t: <const S extends string>(s: S) => F32<S>;\n`;
  const c = check('agreement.in-memory.ts', head + sources.map((s, i) => `export const x${i} = ${s};`).join('\n'));
  const checker = c.program.getTypeChecker();
  const refused = new Set(c.diagnostics.map((x) => lineOf(c, x) - 1));
  const exported = new Map(checker.getExportsOfModule(checker.getSymbolAtLocation(c.file) as ts.Symbol).map((s) => [s.name, s]));
  const typed = (i: number): string => {
    if (refused.has(i)) return 'refused';
    const type = checker.getTypeOfSymbol(exported.get(`x${i}`) as ts.Symbol);
    const arg = checker.getTypeArguments(type as ts.TypeReference)[0];
    return arg?.isStringLiteral() ? numbers(arg.value) : 'unknown';
  };
  const body = (source: string) => new Function('t', ...Object.keys(d), `return ${source}`) as (...xs: unknown[]) => d.Tensor;
  let undecided = 0;
  const disagree: string[] = [];
  sources.forEach((source, i) => {
    const types = typed(i);
    let traced: string;
    try {
      const { outputs } = d.trace(() => body(source)((s: string) => d.full(0, s), ...Object.values(d)), []);
      traced = (outputs[0] as d.IoLeaf).shape.map((w) => String(bindDim(w, env))).join(' ');
    } catch (e) {
      if (!(e instanceof FoveaError)) throw e;
      traced = /rearrange: .*[A-Z].* is not divisible by/.test(e.message) && types !== 'refused' ? 'undecided' : 'refused';
    }
    if (traced === 'undecided') undecided++;
    else if (traced !== types) disagree.push(`${source}: types ${types}, tracer ${traced}`);
  });
  expect(disagree).toEqual([]);
  // both outcomes are exercised, and the undecided class stays small
  expect(refused.size).toBeGreaterThan(40);
  expect(sources.length - refused.size).toBeGreaterThan(100);
  expect(undecided).toBeLessThan(30);
}, 60_000);
