/** Lazy tensors as arguments: when they are loaded, how often, what they leave behind when they fail, and that nothing is copied twice. */
import { describe, expect, test } from 'vitest';
import { cpu } from '../../backends/cpu/index.ts';
import { reference } from '../../backends/reference/index.ts';
import {
  type Backend,
  compile,
  type F32,
  FoveaError,
  type HostData,
  host,
  type LazyTensor,
  type Plan,
  type Progress,
  spec,
  sum,
  type Tensor,
} from '../../index.ts';

interface Pair {
  readonly a: F32<'3'>;
  readonly b: F32<'3'>;
}
const pair = { a: spec('3'), b: spec('3') };
const three = (x: number, y: number, z: number) => host([x, y, z], [3]);

/** A lazy tensor that writes its name into `log` whenever it is loaded. */
const lazy = (log: string[], name: string, data: HostData, dtype: LazyTensor['dtype'] = 'f32', shape = [data.length]): LazyTensor => ({
  shape,
  dtype,
  load: () => {
    log.push(name);
    return data;
  },
});
const failure = async (f: () => unknown): Promise<string> => {
  try {
    await f();
  } catch (e) {
    if (e instanceof FoveaError) return `${e.code}: ${e.message}`;
    throw e;
  }
  return 'nothing was thrown';
};
const numbers = async (t: { read(): Promise<{ readonly data: HostData }> }): Promise<number[]> => Array.from((await t.read()).data);

const backends: readonly Backend[] = [cpu({ threads: 2 }), reference];
describe.each(backends.map((b) => [b.name, b] as const))('%s', (_, backend) => {
  test('is loaded once while it lies in its input, and again after something else lay there', async () => {
    const log: string[] = [];
    const program = await compile((s: Pair, k: F32<''>) => ({ a: s.a.mul(k), b: s.b.add(s.a) }), [pair, spec('')], { backend });
    const [a, b] = [lazy(log, 'a', Float32Array.of(1, 2, 3)), lazy(log, 'b', Float32Array.of(4, 5, 6))];
    expect(await numbers((await program({ a, b }, 2)).a)).toEqual([2, 4, 6]);
    expect(await numbers((await program({ a, b }, 3)).b)).toEqual([5, 7, 9]);
    expect(log).toEqual(['a', 'b']);
    // another object is another tensor, whatever its numbers; the first one is then to be loaded again
    const other = lazy(log, 'other', Float32Array.of(7, 8, 9));
    expect(await numbers((await program({ a: other, b }, 1)).a)).toEqual([7, 8, 9]);
    expect(await numbers((await program({ a, b }, 1)).a)).toEqual([1, 2, 3]);
    expect(await numbers((await program({ a: three(0, 0, 1), b }, 1)).a)).toEqual([0, 0, 1]);
    expect(await numbers((await program({ a, b }, 1)).a)).toEqual([1, 2, 3]);
    expect(log).toEqual(['a', 'b', 'other', 'a', 'a']);
  });

  test('in a donated argument it is loaded at every call: the result lies in its place', async () => {
    const log: string[] = [];
    const program = await compile((s: Pair) => ({ a: s.a.add(1), b: s.b.mul(2) }), [pair], { backend, donate: [0] });
    const [a, b] = [lazy(log, 'a', Float32Array.of(1, 2, 3)), lazy(log, 'b', Float32Array.of(4, 5, 6))];
    const one = await program({ a, b });
    expect(await numbers(one.a)).toEqual([2, 3, 4]);
    const two = await program({ a, b: one.b });
    expect([await numbers(two.a), await numbers(two.b)]).toEqual([
      [2, 3, 4],
      [16, 20, 24],
    ]);
    expect(log).toEqual(['a', 'b', 'a']);
  });

  test('types are compared before anything is loaded', async () => {
    const log: string[] = [];
    const program = await compile((s: Pair) => ({ a: s.a.add(1), b: s.b }), [pair], { backend, donate: [0] });
    const one = await program({ a: three(1, 2, 3), b: three(4, 5, 6) });
    const a = lazy(log, 'a', Float32Array.of(1, 2, 3));
    const short = lazy(log, 'short', Float32Array.of(1, 2));
    expect(await failure(() => program({ a, b: short }))).toBe('FV0305: argument 1, b: expected f32[3], got f32[2]');
    const halves = lazy(log, 'halves', Uint16Array.of(1, 2, 3), 'bf16');
    expect(await failure(() => program({ a, b: halves }))).toBe('FV0305: argument 1, b: expected f32[3], got bf16[3]');
    expect(log).toEqual([]);
    expect(await numbers(one.a)).toEqual([2, 3, 4]);
  });

  test('numbers that do not fit or do not come stop the call; results that it has not written over stay', async () => {
    const log: string[] = [];
    const f = (s: { readonly a: F32<'3'> }, x: F32<'3'>, m: Tensor<'3', 'bool'>) => ({ a: s.a.add(x), total: sum('i ->', x), m: m.not() });
    const program = await compile(f, [{ a: spec('3') }, spec('3'), spec('3', 'bool')], { backend, donate: [0] });
    const m = host(Uint8Array.of(0, 1, 1), [3]);
    const one = await program({ a: three(1, 2, 3) }, three(1, 1, 1), m);
    const a = lazy(log, 'a', Float32Array.of(5, 5, 5));
    const short = lazy(log, 'short', Float32Array.of(1, 2), 'f32', [3]);
    expect(await failure(() => program({ a }, short, m))).toBe('FV0306: argument 2: f32[3] has 3 elements, but its array holds 2');
    const ints = lazy(log, 'ints', Int32Array.of(1, 2, 3), 'f32', [3]);
    expect(await failure(() => program({ a }, ints, m))).toMatch(/^FV0306: argument 2: f32\[3\] takes a Float32Array, got a Int32Array/);
    const bytes = lazy(log, 'bytes', Uint8Array.of(1, 2, 0), 'bool');
    expect(await failure(() => program({ a }, three(1, 1, 1), bytes))).toMatch(/^FV0306: argument 3: a bool is 0 or 1/);
    // an async load, or one without a result, is a mistake that types do not catch everywhere
    const later: LazyTensor = { shape: [3], dtype: 'f32', load: (async () => Float32Array.of(1, 2, 3)) as never };
    expect(await failure(() => program({ a }, later, m))).toBe('FV0306: argument 2: f32[3] takes a Float32Array, got no array');
    expect(await failure(() => program({ a }, { ...later, load: () => undefined as never }, m))).toMatch(/got nothing$/);
    const gone: LazyTensor = {
      shape: [3],
      dtype: 'f32',
      load: () => {
        throw new FoveaError('FV0402', 'the file is gone');
      },
    };
    expect(await failure(() => program({ a }, gone, m))).toBe('FV0402: the file is gone');
    expect(log).toEqual(['short', 'ints', 'bytes']);
    expect([await numbers(one.a), await numbers(one.total)]).toEqual([[2, 3, 4], [3]]);
    // in the place of a result it is the last to be loaded, and takes the results with it
    expect(await failure(() => program({ a: gone }, three(1, 1, 1), m))).toBe('FV0402: the file is gone');
    expect(await failure(() => one.a.read())).toMatch(/^FV0304/);
    // no trace is left
    expect(await numbers((await program({ a }, three(2, 2, 2), m)).a)).toEqual([7, 7, 7]);
  });

  test('the numbers may be a view of read-only memory: they are read and nothing else', async () => {
    const whole = Float32Array.from({ length: 12 }, (_, i) => i);
    const before = whole.slice();
    const program = await compile((s: Pair) => ({ a: s.a.add(1), b: s.b.mul(2) }), [pair], { backend, donate: [0] });
    const log: string[] = [];
    const out = await program({ a: lazy(log, 'a', whole.subarray(3, 6)), b: lazy(log, 'b', whole.subarray(6, 9)) });
    expect([await numbers(out.a), await numbers(out.b)]).toEqual([
      [4, 5, 6],
      [12, 14, 16],
    ]);
    expect(whole).toEqual(before);
  });
});

test.each(backends.map((b) => [b.name, b] as const))('%s: tensors may share the buffer that they are loaded into', async (_, backend) => {
  const buffer = new Float32Array(3);
  const filled = (x: number): LazyTensor => ({ shape: [3], dtype: 'f32', load: () => buffer.fill(x) });
  const program = await compile((s: Pair, x: F32<'3'>) => s.a.sub(s.b).mul(x), [pair, spec('3')], { backend });
  expect(await numbers(await program({ a: filled(7), b: filled(2) }, filled(3)))).toEqual([15, 15, 15]);
});

test('one tensor at a time: each is written before the next is loaded, without a copy in between', async () => {
  const log: string[] = [];
  const inner = cpu({ threads: 1 });
  const given: HostData[] = [];
  const watched: Backend = {
    ...inner,
    prepare: async (plan: Plan, progress?: Progress) => {
      const e = await inner.prepare(plan, progress);
      const write = (i: number, data: HostData): void => {
        log.push(`write ${i}`);
        given.push(data);
        e.write(i, data);
      };
      return { ...e, write };
    },
  };
  const program = await compile((s: Pair, x: F32<'3'>) => s.a.add(s.b).add(x), [pair, spec('3')], { backend: watched });
  const [a, b] = [Float32Array.of(1, 2, 3), Float32Array.of(4, 5, 6)];
  const x = three(10, 10, 10);
  const out = await program({ a: lazy(log, 'load a', a), b: lazy(log, 'load b', b) }, x);
  expect(await numbers(out)).toEqual([15, 17, 19]);
  expect(log).toEqual(['load a', 'write 0', 'load b', 'write 1', 'write 2']);
  expect(given[0]).toBe(a);
  expect(given[1]).toBe(b);
  expect(given[2]).toBe(x.data);
});
