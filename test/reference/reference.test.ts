import { describe, expect, it } from 'vitest';
import { reference } from '../../backends/reference/index.ts';
import { FoveaError } from '../../compiler/error.ts';
import { parse } from '../../compiler/graph/parse.ts';
import type { Executable } from '../../compiler/target.ts';

const prepare = (text: string, aliases: readonly number[]): Promise<Executable> =>
  reference.kind === 'graph' ? reference.prepare(parse(text), aliases) : Promise.reject(new Error('the reference takes graphs'));
const counter = 'graph (%0 state: f32[2], %1 by: f32[2]) { %2: f32[2] = add(%0, %1) %3: f32[2] = mul(%2, %2) return %2, %3 }';
const codeOf = async (f: () => unknown): Promise<string> => {
  try {
    await f();
    return 'none';
  } catch (e) {
    if (e instanceof FoveaError) return `${e.code}: ${e.message}`;
    throw e;
  }
};

describe('the reference backend', () => {
  it('feeds an aliased output back into its input', async () => {
    const x = await prepare(counter, [0, -1]);
    x.write(0, Float32Array.of(1, 2));
    x.write(1, Float64Array.of(0.1, 10));
    for (let i = 0; i < 3; i++) await x.run();
    expect(x.read(0)).toEqual(Float64Array.of(1 + 0.1 + 0.1 + 0.1, 32));
    x.write(0, Float32Array.of(5, 5));
    await x.run();
    expect(x.read(1)).toEqual(Float64Array.of(5.1 ** 2, 225));
  });

  it('copies what it is given and what it gives', async () => {
    const x = await prepare('graph (%0: f32[2]) { return %0 }', [-1]);
    const data = Float32Array.of(1, 2);
    x.write(0, data);
    data[0] = 9;
    await x.run();
    (await x.read(0))[1] = 9;
    expect(await x.read(0)).toEqual(Float64Array.of(1, 2));
  });

  it('reads half floats from their bits', async () => {
    const x = await prepare(
      'graph (%0: bf16[3], %1: f16[4]) { %2: f32[3] = cast(%0) dtype=f32 %3: f32[4] = cast(%1) dtype=f32 return %2, %3 }',
      [-1, -1],
    );
    x.write(0, Uint16Array.of(0x3f80, 0xc040, 0x7f80));
    x.write(1, Uint16Array.of(0x3c00, 0xc200, 0x0001, 0x7c00));
    await x.run();
    expect(x.read(0)).toEqual(Float64Array.of(1, -3, Number.POSITIVE_INFINITY));
    expect(x.read(1)).toEqual(Float64Array.of(1, -3, 2 ** -24, Number.POSITIVE_INFINITY));
  });

  it('gives integers and bools in their own arrays', async () => {
    const x = await prepare('graph (%0: i32[2], %1: u32[2], %2: bool[2]) { return %0, %1, %2 }', [-1, -1, -1]);
    const all = [Int32Array.of(-1, 2), Uint32Array.of(0xffffffff, 2), Uint8Array.of(1, 0)];
    for (const [i, data] of all.entries()) x.write(i, data);
    await x.run();
    for (const [i, data] of all.entries()) expect(x.read(i)).toEqual(data);
  });

  it('refuses wrong input, and use out of order', async () => {
    const x = await prepare(counter, [-1, -1]);
    expect(await codeOf(() => x.write(0, Float32Array.of(1)))).toBe('FV0305: input 1: expected f32[2], got 1 elements of Float32Array');
    expect(await codeOf(() => x.write(1, Int32Array.of(1, 2)))).toBe('FV0305: input 2: expected f32[2], got 2 elements of Int32Array');
    expect(await codeOf(() => x.run())).toBe('FV0305: input 1, f32[2], was never written');
    expect(await codeOf(() => x.read(0))).toBe('FV0304: the program has not run yet');
    expect(await codeOf(() => x.write(2, Float32Array.of(1, 2)))).toBe('FV0305: there is no input 3, only 2');
    x.dispose();
    for (const f of [() => x.write(0, Float32Array.of(1, 2)), () => x.run(), () => x.read(0)])
      expect(await codeOf(f)).toBe('FV0304: the program was disposed');
  });
});
