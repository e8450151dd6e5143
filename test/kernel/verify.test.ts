/** What verify and the constructors refuse, and that a damaged kernel does not pass. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FoveaError } from '../../compiler/error.ts';
import * as e from '../../compiler/kernel/expr.ts';
import { parseKernel } from '../../compiler/kernel/parse.ts';
import { printKernel } from '../../compiler/kernel/print.ts';
import type { Kernel, Stmt } from '../../compiler/kernel/types.ts';
import { verifyKernel } from '../../compiler/kernel/verify.ts';
import { kernels } from './kernels.ts';

const kernel = (body: string, threads = 1): Kernel =>
  parseKernel(
    `kernel t(x: f32[8] read, h: bf16[8] read, y: f32[8] write, z: f32[8] readwrite) grid=[1 1 1] threads=${threads} {\n${body}\n}`,
  );

describe('verify', () => {
  it.each([
    ['set i = 3', 'for i = 0 to 4 step 1 {\nset i = 3\n}', /i is not a variable/],
    ['a let assigned', 'let a: f32 = load x[0]\nset a = 1:f32', /a is not a variable/],
    ['a variable of another type', 'var a: f32 = 0:f32\nset a = 1:i32', /a is f32, not i32/],
    ['a shadowed name', 'let a: f32 = 0:f32\nfor i = 0 to 4 step 1 {\nlet a: f32 = 1:f32\n}', /a is already bound/],
    ['a name of a buffer', 'let x: f32 = 0:f32', /x is already bound/],
    ['a reserved name', 'let to: f32 = 0:f32', /to cannot be a name/],
    ['different dtypes', 'store y[0] = add(load x[0], 1:i32)', /ill-typed/],
    ['different lanes', 'store y[0] = add(load.4 x[0], 1:f32)', /ill-typed/],
    ['arithmetic on bf16', 'store y[0] = cast.f32(add(load h[0], load h[1]))', /is bf16: only casts, stores and dot2 take it/],
    ['a bf16 variable', 'var a: bf16 = load h[0]', /only casts, stores and dot2 take it/],
    ['dot2 of f32', 'store y[0] = dot2(load.2 x[0], load.2 x[2], load x[0])', /ill-typed/],
    ['dot2 of lanes that do not pair', 'store y[0] = dot2(load.2 h[0], load.4 h[0], 0:f32)', /ill-typed/],
    ['exp of an integer', 'store y[0] = cast.f32(exp(1:i32))', /ill-typed/],
    ['a read of a written buffer', 'store z[0] = load y[0]', /y is written only/],
    ['a write to a read buffer', 'store x[0] = 0:f32', /x is read only/],
    ['a store of another dtype', 'store y[0] = 0:i32', /y holds f32, not i32/],
    ['an address of dtype f32', 'store y[0:f32] = 0:f32', /not an address/],
    ['a mask of other lanes', 'store y[0 if lt(0, 1)] = 0:f32.4', /the mask is not bool.4/],
    ['three lanes', 'store y[0] = load.3 x[0]', /3 lanes/],
    ['a loop over f32', 'for i = 0:f32 to 4:f32 step 1 {\n}', /not index/],
    ['a step of 0', 'for i = 0 to 4 step 0 {\n}', /step 0/],
    ['a condition of dtype index', 'if 1 {\n}', /not bool/],
    ['a lane that is not there', 'store y[0] = lane.4(load.4 x[0])', /ill-typed/],
    ['an empty array', 'alloc a: f32[0] register', /size 0/],
  ])('refuses %s', (_name, body, message) => {
    expect(() => verifyKernel(kernel(body))).toThrow(message);
  });

  const barrier = 'barrier';
  it.each([
    ['a branch on the thread', `if lt(thread, 3) {\n${barrier}\n}`],
    ['a loop to the thread', `for i = 0 to thread step 1 {\n${barrier}\n}`],
    ['a branch on memory that threads write', `if lt(load z[0], 1:f32) {\n${barrier}\n}`],
    ['a variable that differs later', `var v: index = 0\nfor i = 0 to 4 step 1 {\nif lt(v, 3) {\n${barrier}\n}\nset v = add(v, thread)\n}`],
    ['a variable set under a branch on the thread', `var v: index = 0\nif lt(thread, 1) {\nset v = 1\n}\nif lt(v, 1) {\n${barrier}\n}`],
  ])('refuses a barrier in %s', (_name, body) => {
    expect(() => verifyKernel(kernel(body, 4))).toThrow(/a barrier in control flow that depends on the thread/);
    expect(() => verifyKernel(kernel(body.replaceAll('thread', 'block.0').replace('load z[0]', 'load x[0]'), 4))).not.toThrow();
  });

  it.each([
    [
      'under a branch on the thread',
      'if lt(thread, 3) {\nexchange a: f32 = load x[0] by 1\n}',
      /a warp parts before what it does together/,
    ],
    ['by more than there are', 'exchange a: f32 = load x[0] by 4', /an exchange by 4 among 4 threads/],
    ['by no power of two', 'exchange a: f32 = load x[0] by 3', /an exchange by 3/],
    ['of a vector', 'exchange a: f32.4 = load.4 x[0] by 1', /is f32.4: f32, i32 and u32 are exchanged/],
    ['of an address', 'exchange a: index = thread by 1', /is index/],
    [
      'whose result decides about a barrier',
      'exchange a: f32 = load x[0] by 1\nif lt(a, 0:f32) {\nbarrier\n}',
      /a barrier in control flow/,
    ],
  ])('refuses an exchange %s', (_name, body, message) => {
    expect(() => verifyKernel(kernel(body, 4))).toThrow(message);
  });

  it('refuses random kernels after one binding, buffer or store is damaged', () => {
    const damage = (body: readonly Stmt[], which: number): readonly Stmt[] =>
      body.map(
        (s, i): Stmt =>
          i !== which
            ? s
            : s.s === 'store'
              ? { ...s, to: 'x' }
              : s.s === 'let' || s.s === 'var' || s.s === 'alloc'
                ? { ...s, name: 'y' }
                : s.s === 'for'
                  ? { ...s, step: 0 }
                  : s.s === 'if'
                    ? { ...s, cond: e.index(1) }
                    : { s: 'set', name: 'nobody', value: e.index(0) },
      );
    fc.assert(
      fc.property(kernels, fc.nat(), (k, n) => {
        fc.pre(k.body.length > 0);
        expect(() => verifyKernel({ ...k, body: damage(k.body, n % k.body.length) })).toThrow(FoveaError);
      }),
      { seed: 5, numRuns: 150 },
    );
  });
});

describe('constructors', () => {
  const x = e.ref('x', 'f32', 4);
  const i = e.ref('i', 'index');
  it('infer, widen and fold', () => {
    expect(e.add(x, 1)).toEqual({ k: 'binary', op: 'add', x, y: e.f32(1, 4), dtype: 'f32', lanes: 4 });
    expect(e.mul(x, 1)).toBe(x);
    expect(e.add(e.add(i, 3), 4)).toEqual(e.add(i, 7));
    expect(e.add(e.ramp(i, 8), 16)).toEqual(e.ramp(e.add(i, 16), 8));
    expect(e.load({ name: 'b', dtype: 'f32' }, e.ramp(i, 8))).toMatchObject({ index: i, lanes: 8 });
    expect(e.f32(0.1)).toMatchObject({ value: Math.fround(0.1) });
    expect(e.u32(-1)).toMatchObject({ value: 4294967295 });
  });
  it('keep what is not exact: -0 + 0 is 0', () => {
    expect(e.add(x, 0)).not.toBe(x);
    expect(e.mul(x, 0)).not.toMatchObject({ k: 'const' });
  });
  it('refuse what is ill-typed', () => {
    const refuse = (f: () => unknown): void => expect(f).toThrow(expect.objectContaining({ code: 'FV0201' }));
    refuse(() => e.add(x, i));
    refuse(() => e.add(e.ref('a', 'f32', 8), x));
    refuse(() => e.unary('exp', i));
    refuse(() => e.add(e.ref('h', 'bf16'), e.ref('h', 'bf16')));
    refuse(() => e.dot2(e.ref('h', 'bf16', 4), e.ref('g', 'bf16', 16), e.f32(0, 8)));
    refuse(() => e.dot2(e.ref('h', 'bf16', 2), e.ref('x', 'f32', 16), e.f32(0, 8)));
    refuse(() => e.select(i, x, x));
    refuse(() => e.bitcast(i, 'f32'));
    refuse(() => e.splat(x, 8));
    refuse(() => e.lane(x, 4));
    refuse(() => e.load({ name: 'b', dtype: 'f32' }, e.i32(0)));
  });
});

describe('text', () => {
  it('prints what the header of the printer shows', () => {
    const text = `kernel scale(x: f32[100] read, y: f32[100] write) grid=[1 1 1] threads=1 {
  for i = 0 to 100 step 16 {
    let m: bool.16 = lt(ramp.16(i), 100:index.16)
    store y[i if m] = mul(load.16 x[i if m], 0.5:f32.16)
  }
}
`;
    expect(printKernel(verifyKernel(parseKernel(text)))).toBe(text);
  });
  it.each([
    ['kernel t(', /expected a name/],
    ['kernel t() grid=[1 1] threads=1 {\n}', /line 1: expected a count/],
    ['kernel t() grid=[1 1 1] threads=1 {\n  jump\n}', /line 2: expected a statement, got 'jump'/],
    ['kernel t() grid=[1 1 1] threads=1 {\n  let a: f32 = b\n}', /line 2: expected a name in scope, got 'b'/],
    ['kernel t() grid=[1 1 1] threads=1 {\n  let a: f33 = 0\n}', /expected a dtype/],
    ['kernel t() grid=[1 1 1] threads=1 {\n  let a: f32 = 0:i32\n}', /expected a value of the type of a/],
    ['kernel t() grid=[1 1 1] threads=1 {\n', /got 'the end'/],
    ['kernel t() grid=[1 1 1] threads=1 {\n}\n}', /expected the end/],
  ])('refuses %j', (text, message) => {
    expect(() => parseKernel(text)).toThrow(message);
  });
});
