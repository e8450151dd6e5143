/** The precision pass: text in, text out, what policies mean, and what reaches memory after fusion. */
import { describe, expect, it } from 'vitest';
import { FoveaError } from '../../compiler/error.ts';
import { fuse } from '../../compiler/fuse/fuse.ts';
import { attention } from '../../compiler/graph/attention.ts';
import { builder } from '../../compiler/graph/builder.ts';
import { showType } from '../../compiler/graph/infer.ts';
import { parse } from '../../compiler/graph/parse.ts';
import { print } from '../../compiler/graph/print.ts';
import type { Graph, Value } from '../../compiler/graph/types.ts';
import { verify } from '../../compiler/graph/verify.ts';
import { dce } from '../../compiler/passes/dce.ts';
import { type Precision, precision } from '../../compiler/passes/precision.ts';
import { simplify } from '../../compiler/passes/simplify.ts';
import { cpu } from '../fuse/run.ts';

const cast = (text: string, p: Precision): Graph => {
  const g = parse(text);
  verify(g);
  const to = dce(simplify(precision(p)(g)));
  verify(to);
  expect([...to.params, ...to.results].map((v) => showType(v.type))).toEqual([...g.params, ...g.results].map((v) => showType(v.type)));
  return to;
};
const lines = (g: Graph): string =>
  print(g, { meta: false })
    .split('\n')
    .slice(1, -2)
    .map((l) => l.trim())
    .join('\n');
const casted = (text: string, p: Precision = 'bf16'): string => lines(cast(text, p));

describe('precision', () => {
  it('casts the operands of a contraction, in front of their views, and keeps its result', () => {
    expect(
      casted(`graph (%0: f32[4 8], %1: f32[3 8]) {
        %2: f32[8 3] = transpose(%1) perm=[1 0]
        %3: f32[4 3] = dot(%0, %2) batch=[][] contract=[1][0] dtype=f32
        return %3
      }`),
    ).toMatchInlineSnapshot(`
      "%2: bf16[3 8] = cast(%1) dtype=bf16
      %3: bf16[8 3] = transpose(%2) perm=[1 0]
      %4: bf16[4 8] = cast(%0) dtype=bf16
      %5: f32[4 3] = dot(%4, %3) batch=[][] contract=[1][0] dtype=f32
      return %5"
    `);
  });
  it('casts the rows of attention, and neither its scale nor its statistics; its definition rounds the weights', () => {
    const b = builder();
    const param = (...shape: readonly number[]): Value => b.param({ dtype: 'f32', shape });
    const [scale, q, k, v] = [param(), param(2, 5, 4), param(2, 7, 4), param(2, 7, 3)] as const;
    const [lse, delta, grad] = [param(2, 5), param(2, 5), param(2, 5, 3)] as const;
    const forward = attention(b, 'fovea.attention', [scale, q, k, v]);
    const backward = attention(b, 'fovea.attention.grad', [scale, q, k, v, lse, delta, grad]);
    const g = b.build([...forward, ...backward]);
    const to = cast(print(g), 'bf16');
    const calls = to.nodes.filter((n) => n.op.prim === 'call');
    expect(calls.map((n) => n.inputs.map((x) => x.type.dtype))).toEqual([
      ['f32', 'bf16', 'bf16', 'bf16'],
      ['f32', 'bf16', 'bf16', 'bf16', 'f32', 'f32', 'bf16'],
    ]);
    // four rows, each once, though two calls read three of them; then weights for one contraction, and weights and slopes for three
    expect(to.nodes.filter((n) => n.op.prim === 'cast')).toHaveLength(4);
    expect(calls.map((n) => (n.op.prim === 'call' ? n.op.body.nodes.filter((x) => x.op.prim === 'cast').length : 0))).toEqual([1, 3]);
  });
  it('leaves attention of one query alone: it reads each key once', () => {
    const b = builder();
    const rows = [[], [2, 1, 4], [2, 7, 4], [2, 7, 3]].map((shape) => b.param({ dtype: 'f32', shape }));
    const g = b.build(attention(b, 'fovea.attention', rows));
    expect(precision('bf16')(g)).toBe(g);
  });
  it('casts a value once for all contractions, and leaves it to its other readers', () => {
    expect(
      casted(`graph (%0: f32[4 8], %1: f32[8 8]) {
        %2: f32[4 8] = exp(%0)
        %3: f32[4 8] = dot(%2, %1) batch=[][] contract=[1][0] dtype=f32
        %4: f32[8 8] = transpose(%1) perm=[1 0]
        %5: f32[4 8] = dot(%2, %4) batch=[][] contract=[1][0] dtype=f32
        %6: f32[4 8] = add(%3, %5)
        %7: f32[4 8] = add(%6, %2)
        return %7
      }`),
    ).toMatchInlineSnapshot(`
      "%2: f32[4 8] = exp(%0)
      %3: bf16[4 8] = cast(%2) dtype=bf16
      %4: bf16[8 8] = cast(%1) dtype=bf16
      %5: f32[4 8] = dot(%3, %4) batch=[][] contract=[1][0] dtype=f32
      %6: bf16[8 8] = transpose(%4) perm=[1 0]
      %7: f32[4 8] = dot(%3, %6) batch=[][] contract=[1][0] dtype=f32
      %8: f32[4 8] = add(%5, %7)
      %9: f32[4 8] = add(%8, %2)
      return %9"
    `);
  });
  it('casts a whole where contractions read all its parts, and a part where others read the whole', () => {
    const parts = (result: string): string => `graph (%0: f32[4 8], %1: f32[8 8]) {
        %2: f32[4 8] = exp(%0)
        %3: f32[4 4] = slice(%2) start=[0 0] limit=[4 4]
        %4: f32[4 4] = slice(%2) start=[0 4] limit=[4 8]
        %5: f32[4 4] = dot(%3, %4) batch=[][] contract=[1][1] dtype=f32
        return ${result}
      }`;
    expect(casted(parts('%5'))).toContain('bf16[4 8] = cast');
    expect(casted(parts('%5, %2')).match(/bf16\[4 4\] = cast/g)).toHaveLength(2);
  });
  it('leaves what is no product of matrices, and what has another type', () => {
    const text = `graph (%0: f32[4 8], %1: f32[4 8], %2: f32[8], %3: i32[4 8], %4: f16[4 8]) {
        %5: f32[4] = dot(%0, %1) batch=[0][0] contract=[1][1] dtype=f32
        %6: f32[4] = dot(%0, %2) batch=[][] contract=[1][0] dtype=f32
        %7: f32[4 8 8] = dot(%0, %1) batch=[0][0] contract=[][] dtype=f32
        %8: i32[4 4] = dot(%3, %3) batch=[][] contract=[1][1] dtype=i32
        %9: f32[4 4] = dot(%4, %4) batch=[][] contract=[1][1] dtype=f32
        return %5, %6, %7, %8, %9
      }`;
    expect(precision('bf16')(parse(text))).toEqual(parse(text));
  });
  it('casts in the phase and the checkpoint region that makes the value; a parameter in none', () => {
    const g = cast(
      `graph (%0: f32[4 8], %1: f32[8 8]) {
        %2: f32[4 8] = exp(%0) ; scope="a" phase=fwd remat=1
        %3: f32[4 8] = dot(%2, %1) batch=[][] contract=[1][0] dtype=f32 ; scope="a" phase=fwd remat=1
        %4: f32[8 8] = dot(%2, %3) batch=[][] contract=[0][0] dtype=f32 ; scope="a" phase=bwd
        return %3, %4
      }`,
      'bf16',
    );
    const casts = g.nodes
      .filter((n) => n.op.prim === 'cast')
      .map((n) => [showType((n.inputs[0] as Value).type), n.meta.phase, n.meta.remat]);
    expect(casts).toEqual([
      ['f32[4 8]', 'fwd', 1],
      ['f32[8 8]', 'fwd', undefined],
      ['f32[4 8]', 'fwd', 1],
    ]);
  });
  const head = `graph (%0: f32[4 8], %1: f32[8 6]) {
    %2: f32[4 6] = dot(%0, %1) batch=[][] contract=[1][0] dtype=f32 ; scope="head/last" phase=fwd
    %3: f32[4] = reduceMax(%2) axes=[1] ; scope="loss" phase=fwd
    %4: f32[4 6] = neg(%2) ; scope="loss" phase=bwd
    %5: f32[8 6] = dot(%0, %4) batch=[][] contract=[0][0] dtype=f32 ; scope="head/last" phase=bwd
    return %3, %5
  }`;
  const results: Precision = { default: 'bf16', results: { 'head/*': 'bf16' } };
  it('rounds what contractions of a scope give, forward, before anything reads it', () => {
    expect(casted(head, results)).toMatchInlineSnapshot(`
      "%2: bf16[4 8] = cast(%0) dtype=bf16
      %3: bf16[8 6] = cast(%1) dtype=bf16
      %4: f32[4 6] = dot(%2, %3) batch=[][] contract=[1][0] dtype=f32
      %5: bf16[4 6] = cast(%4) dtype=bf16
      %6: f32[4 6] = cast(%5) dtype=f32
      %7: f32[4] = reduceMax(%6) axes=[1]
      %8: f32[4 6] = neg(%6)
      %9: bf16[4 6] = cast(%8) dtype=bf16
      %10: f32[8 6] = dot(%2, %9) batch=[][] contract=[0][0] dtype=f32
      return %7, %10"
    `);
    expect(casted(head, { ...results, results: { 'head/*': 'f32' } })).toBe(casted(head));
    expect(() => casted(head, { ...results, results: { head: 'f64' as 'f32' } })).toThrow(FoveaError);
  });
  it('refuses a policy with a word that is none, or of another kind', () => {
    for (const odd of [{ scope: {} }, { scopes: 'f32' }, { kept: 'yes' }, { results: ['bf16'] }])
      expect(() => casted(head, { default: 'bf16', ...odd } as never)).toThrow(new RegExp(`precision: '${Object.keys(odd)[0]}'`));
  });
  it('a rounded result is what lies in memory, for both phases', () => {
    const { groups } = fuse(cast(head, results), cpu);
    const dtypes = (vs: readonly Value[]): string => vs.map((v) => v.type.dtype).join();
    expect(groups.map((x) => `${x.phase} ${x.template}: ${dtypes(x.inputs)} -> ${dtypes(x.outputs)}`)).toMatchInlineSnapshot(`
      [
        "fwd map: f32 -> bf16",
        "fwd map: f32 -> bf16",
        "fwd gemm: bf16,bf16 -> bf16",
        "fwd reduce: bf16 -> f32",
        "bwd map: bf16 -> bf16",
        "bwd gemm: bf16,bf16 -> f32",
      ]
    `);
  });
  it('undoes a widening cast instead of rounding again', () => {
    expect(
      casted(`graph (%0: bf16[4 8], %1: f32[3 8]) {
        %2: f32[4 8] = cast(%0) dtype=f32
        %3: f32[4 3] = dot(%2, %1) batch=[][] contract=[1][1] dtype=f32
        return %3
      }`),
    ).toMatchInlineSnapshot(`
      "%2: bf16[3 8] = cast(%1) dtype=bf16
      %3: f32[4 3] = dot(%0, %2) batch=[][] contract=[1][1] dtype=f32
      return %3"
    `);
  });
});

describe('policies', () => {
  const text = (scope: string): string => `graph (%0: f32[4 8], %1: f32[3 8]) {
      %2: f32[4 3] = dot(%0, %1) batch=[][] contract=[1][1] dtype=f32 ; scope="${scope}" phase=fwd
      return %2
    }`;
  const chosen = (p: Precision, scope: string): string => /(b?f16)\[/.exec(casted(text(scope), p))?.[1] ?? 'f32';
  it.each<[Precision, string, string]>([
    ['f32', 'a', 'f32'],
    ['f16', 'a/b', 'f16'],
    [{ default: 'bf16' }, 'a', 'bf16'],
    [{ default: 'bf16', scopes: { 'loss/**': 'f32' } }, 'loss', 'f32'],
    [{ default: 'bf16', scopes: { 'loss/**': 'f32' } }, 'loss/koleo', 'f32'],
    [{ default: 'bf16', scopes: { 'loss/**': 'f32' } }, 'student/loss', 'bf16'],
    [{ default: 'bf16', scopes: { '**/loss': 'f32' } }, 'student/loss', 'f32'],
    [{ default: 'bf16', scopes: { '*/loss': 'f32' } }, 'a/b/loss', 'bf16'],
    [{ default: 'bf16', scopes: { '**/*_head/**': 'f32' } }, 'student/dino_head/mlp/0', 'f32'],
    [{ default: 'bf16', scopes: { '**/blocks.*/mlp/**': 'f32' } }, 'student/blocks.11/mlp/fc1', 'f32'],
    // a dot stands for itself
    [{ default: 'bf16', scopes: { 'blocks.1': 'f32' } }, 'blocks/1', 'bf16'],
    // the last that matches
    [{ default: 'f32', scopes: { 'a/**': 'bf16', 'a/b': 'f16' } }, 'a/b', 'f16'],
    [{ default: 'f32', scopes: { 'a/b': 'f16', 'a/**': 'bf16' } }, 'a/b', 'bf16'],
  ])('%j of %s is %s', (p, scope, t) => expect(chosen(p, scope)).toBe(t));
  it.each([
    ['fp16', 'precision: "fp16" is no precision'],
    [undefined, 'precision: undefined is no precision'],
    [{ scopes: {} }, 'precision, default: undefined is no precision'],
    [{ default: 'bf16', scopes: { 'loss/**': 32 } }, "precision, 'loss/**': 32 is no precision"],
  ])('%j is refused', (p, message) => {
    expect(() => precision(p as Precision)).toThrow(expect.objectContaining({ code: 'FV0615', message }) as FoveaError);
    expect(() => precision(p as Precision)).toThrow(FoveaError);
  });
});

describe('what is kept in memory', () => {
  /** What each group writes. */
  const writes = (text: string, p: Precision): readonly string[] =>
    fuse(cast(text, p), cpu).groups.map((g) => `${g.template} ${g.phase}: ${g.outputs.map((v) => showType(v.type)).join(', ')}`);
  it('backward reads the bf16 that forward made, and the float32 is never written', () => {
    // y = LayerNorm-like statistics of x; h = y w; dw = y' dh
    const text = `graph (%0: f32[64 32], %1: f32[32 32], %2: f32[64 32]) {
        %3: f32[64] = reduceSum(%0) axes=[1]
        %4: f32[64 32] = broadcast(%3) shape=[64 32] axes=[0]
        %5: f32[64 32] = sub(%0, %4)
        %6: f32[64 32] = exp(%5)
        %7: f32[64 32] = dot(%6, %1) batch=[][] contract=[1][0] dtype=f32
        %8: f32[64 32] = exp(%7)
        %9: f32[32 32] = dot(%6, %2) batch=[][] contract=[0][0] dtype=f32 ; phase=bwd
        return %8, %9
      }`;
    expect(writes(text, 'f32')).toMatchInlineSnapshot(`
      [
        "reduce fwd: f32[64 32]",
        "gemm fwd: f32[64 32]",
        "gemm bwd: f32[32 32]",
      ]
    `);
    expect(writes(text, 'bf16')).toMatchInlineSnapshot(`
      [
        "reduce fwd: bf16[64 32]",
        "map fwd: bf16[32 32]",
        "gemm fwd: f32[64 32]",
        "map bwd: bf16[64 32]",
        "gemm bwd: f32[32 32]",
      ]
    `);
  });
});
