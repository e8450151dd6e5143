/** When an output may take the place of an input: each refusal is a kernel that would read what it has already overwritten. */
import { describe, expect, it } from 'vitest';
import { mayAlias } from '../../compiler/kernel/inplace.ts';
import { parseKernel } from '../../compiler/kernel/parse.ts';
import { verifyKernel } from '../../compiler/kernel/verify.ts';

const may = (body: string, header = ''): boolean =>
  mayAlias(
    verifyKernel(
      parseKernel(
        `kernel t(a: f32[64] read, b: f32[64] ${/\brw\b/.test(header) ? 'readwrite' : 'write'}, n: i32[64] read) grid=[4 1 1] threads=${/\bthreads\b/.test(header) ? 2 : 1} {\n${body}\n}`,
      ),
    ),
    'a',
    'b',
  );
const loop = (body: string): string => `for i = 0 to 16 step 1 {\nlet at: index = add(mul(block.0, 16), i)\n${body}\n}`;

describe('in place', () => {
  it('where each element is read just before it is written', () => {
    expect(may(loop('store b[at] = mul(load a[at], 2:f32)'))).toBe(true);
    expect(may(loop('let x: f32 = load a[at]\nlet y: f32 = load a[at]\nstore b[at] = add(x, y)'))).toBe(true);
    expect(may('let at: index = mul(block.0, 16)\nstore b[at] = load.16 a[at]')).toBe(true);
    expect(
      may('let at: index = mul(block.0, 16)\nlet m: bool.16 = lt(ramp.16(at), 60:index.16)\nstore b[at if m] = load.16 a[at if m]'),
    ).toBe(true);
  });
  it('also where it is not read at all', () => expect(may(loop('store b[at] = 1:f32'))).toBe(true));
  it('not where another element is read', () => {
    expect(may(loop('store b[at] = load a[sub(63, at)]'))).toBe(false);
    expect(may(loop('store b[at] = load a[rem(add(at, 1), 64)]'))).toBe(false);
    expect(may(loop('store b[at] = load a[cast.index(load n[at])]'))).toBe(false);
    expect(may(loop('store b[at] = add(load a[at], load a[0])'))).toBe(false);
    expect(may('let at: index = mul(block.0, 16)\nfor i = 0 to 16 step 1 {\nstore b[add(at, i)] = lane.3(load.16 a[at])\n}')).toBe(false);
  });
  it('not where it is read again, in another loop or by a later statement', () => {
    expect(may(loop('store b[at] = load a[at]\nvar x: f32 = load a[at]'))).toBe(false);
    expect(
      may(`var s: f32 = 0:f32\nfor j = 0 to 64 step 1 {\nset s = add(s, load a[j])\n}\n${loop('store b[at] = add(s, load a[at])')}`),
    ).toBe(false);
    expect(may(loop('if lt(load a[at], 0:f32) {\nstore b[at] = 0:f32\n} else {\nstore b[at] = 1:f32\n}'))).toBe(false);
  });
  it('not where the same words mean another place', () => {
    expect(may('var at: index = 0\nfor i = 0 to 16 step 1 {\nlet x: f32 = load a[at]\nset at = add(at, 1)\nstore b[at] = x\n}')).toBe(
      false,
    );
    expect(may(loop('store b[cast.index(load n[at])] = load a[cast.index(load n[at])]'))).toBe(false);
  });
  it('not where lanes that are read are left for others to write', () => {
    expect(may('let at: index = mul(block.0, 16)\nlet m: bool.16 = lt(ramp.16(at), 60:index.16)\nstore b[at if m] = load.16 a[at]')).toBe(
      false,
    );
  });
  it('not where the output is read back, nor among several threads, unless each has elements of its own', () => {
    expect(may(loop('store b[at] = load a[at]'), 'rw')).toBe(false);
    expect(may(loop('store b[at] = load a[sub(63, at)]'), 'threads')).toBe(false);
    const own = 'let at: index = add(mul(block.0, 16), mul(thread, 8))';
    expect(may(`${own}\nstore b[at] = load.8 a[at]`, 'threads')).toBe(true);
    expect(may(`${own}\nvar x: f32.8 = load.8 a[at]\nbarrier\nstore b[at] = load.8 a[sub(56, at)]`, 'threads')).toBe(false);
  });
});
