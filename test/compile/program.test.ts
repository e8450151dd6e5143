/** compile() as a user meets it: results of every kind, donation, calls that are refused and name what is wrong. */
import { describe, expect, test } from 'vitest';
import { cpu } from '../../backends/cpu/index.ts';
import { reference } from '../../backends/reference/index.ts';
import {
  type Backend,
  compile,
  constant,
  type DeviceTensor,
  type F32,
  FoveaError,
  type HostTensor,
  host,
  random,
  rearrange,
  scalar,
  slice,
  spec,
  sum,
  type Tensor,
  toHost,
} from '../../index.ts';

const f32 = (...x: number[]): HostTensor => host(Float32Array.from(x), [x.length]);
const numbers = (t: unknown): number[] => Array.from((t as HostTensor).data);
const read = async (t: DeviceTensor): Promise<number[]> => numbers(await t.read());
/** `FV0305: message | hint`; calls of programs are typed, so wrong ones come through `never`. */
const failure = async (f: () => unknown): Promise<string> => {
  try {
    await f();
  } catch (e) {
    if (e instanceof FoveaError) return `${e.code}: ${e.message}${e.hint ? ` | ${e.hint}` : ''}`;
    throw e;
  }
  return 'nothing was thrown';
};
const wrongly = (program: unknown, ...args: readonly unknown[]): Promise<string> =>
  failure(() => (program as (...a: readonly unknown[]) => unknown)(...args));

interface Pair {
  readonly a: F32<'3'>;
  readonly b: F32<'3'>;
}
const pair = { a: spec('3'), b: spec('3') };
const start = { a: f32(1, 2, 3), b: f32(4, 5, 6) };

const backends: readonly Backend[] = [cpu({ threads: 2 }), reference];
describe.each(backends.map((b) => [b.name, b] as const))('%s', (_, backend) => {
  test('results that are inputs, views, constants and each other', async () => {
    const program = await compile(
      (x: F32<'2 3'>, n: Tensor<'', 'i32'>) => {
        const y = x.add(1);
        const flat = rearrange('a b -> (a b)', x);
        return {
          same: x,
          flat,
          turned: rearrange('a b -> b a', x),
          row: slice('1:2 b', x),
          again: [y, y],
          inner: { flat: rearrange('a b -> (a b)', y) },
          list: constant([7, 8, 9], '3'),
          one: scalar(2.5),
          n,
        };
      },
      [spec('2 3'), spec('', 'i32')],
      { backend },
    );
    const out = await toHost(await program(host(Float32Array.of(1, 2, 3, 4, 5, 6), [2, 3]), -4));
    expect(out.same.shape).toEqual([2, 3]);
    expect(numbers(out.same)).toEqual([1, 2, 3, 4, 5, 6]);
    expect(numbers(out.flat)).toEqual([1, 2, 3, 4, 5, 6]);
    expect(out.turned.shape).toEqual([3, 2]);
    expect(numbers(out.turned)).toEqual([1, 4, 2, 5, 3, 6]);
    expect(numbers(out.row)).toEqual([4, 5, 6]);
    expect(out.again.map(numbers)).toEqual([
      [2, 3, 4, 5, 6, 7],
      [2, 3, 4, 5, 6, 7],
    ]);
    expect(numbers(out.inner.flat)).toEqual([2, 3, 4, 5, 6, 7]);
    expect(numbers(out.list)).toEqual([7, 8, 9]);
    expect(numbers(out.one)).toEqual([2.5]);
    expect([out.n.dtype, ...numbers(out.n)]).toEqual(['i32', -4]);
    program.dispose();
  });

  test('every dtype goes in and comes out', async () => {
    const program = await compile(
      (i: Tensor<'3', 'i32'>, u: Tensor<'3', 'u32'>, b: Tensor<'3', 'bool'>, h: Tensor<'3', 'f16'>, g: Tensor<'3', 'bf16'>) => ({
        i: i.add(1),
        u: u.add(1),
        b: b.not(),
        h: h.cast('f32'),
        g: g.cast('f32'),
      }),
      [spec('3', 'i32'), spec('3', 'u32'), spec('3', 'bool'), spec('3', 'f16'), spec('3', 'bf16')],
      { backend },
    );
    const out = await toHost(
      await program(
        host(Int32Array.of(-(2 ** 31), -1, 2 ** 31 - 2), [3]),
        host(Uint32Array.of(0, 2 ** 31, 2 ** 32 - 2), [3]),
        host(Uint8Array.of(0, 1, 1), [3]),
        // 1, -2, and the smallest number above 0
        host(Uint16Array.of(0x3c00, 0xc000, 1), [3], 'f16'),
        host(Uint16Array.of(0x3f80, 0xc000, 0x7f80), [3], 'bf16'),
      ),
    );
    expect(numbers(out.i)).toEqual([-(2 ** 31) + 1, 0, 2 ** 31 - 1]);
    expect(numbers(out.u)).toEqual([1, 2 ** 31 + 1, 2 ** 32 - 1]);
    expect(numbers(out.b)).toEqual([1, 0, 0]);
    expect(numbers(out.h)).toEqual([1, -2, 2 ** -24]);
    expect(numbers(out.g)).toEqual([1, -2, Number.POSITIVE_INFINITY]);
    program.dispose();
  });

  test('random numbers are a function of the key', async () => {
    const program = await compile(
      (key: Tensor<'2', 'u32'>) => ({ u: random.uniform(key, '500'), bits: random.bits(key, '4') }),
      [spec('2', 'u32')],
      { backend },
    );
    const at = async (a: number, b: number) => toHost(await program(host(Uint32Array.of(a, b), [2])));
    const [one, same, other] = [await at(1, 2), await at(1, 2), await at(1, 3)];
    expect(numbers(one.u)).toEqual(numbers(same.u));
    expect(numbers(one.u)).not.toEqual(numbers(other.u));
    expect(Math.min(...numbers(one.u))).toBeGreaterThanOrEqual(0);
    expect(Math.max(...numbers(one.u))).toBeLessThan(1);
    const elsewhere = await compile((key: Tensor<'2', 'u32'>) => ({ bits: random.bits(key, '4') }), [spec('2', 'u32')], {
      backend: backends.find((b) => b !== backend) as Backend,
    });
    expect(numbers((await toHost(await elsewhere(host(Uint32Array.of(1, 2), [2])))).bits)).toEqual(numbers(one.bits));
  });

  test('a donated tree is updated in its place', async () => {
    const program = await compile(
      (s: Pair, k: F32<''>) => ({ state: { a: s.a.add(k), b: s.b.mul(2) }, total: sum('i ->', s.a.mul(s.b)) }),
      [pair, spec('')],
      { backend, donate: [0] },
    );
    if (program.report.plan)
      expect(program.report.plan.outputs.slice(0, 2).map((o) => o.offset)).toEqual(
        program.report.plan.inputs.slice(0, 2).map((i) => i.offset),
      );
    let out = await program(start, 1);
    expect(await read(out.total)).toEqual([32]);
    for (let i = 0; i < 3; i++) out = await program(out.state, 10);
    expect(await read(out.state.a)).toEqual([32, 33, 34]);
    expect(await read(out.state.b)).toEqual([64, 80, 96]);
    // what the caller passed in is the caller's
    expect(numbers(start.a)).toEqual([1, 2, 3]);
  });

  test('a donated value that is still read when its successor is written is copied at the end', async () => {
    // every element of the new a depends on all of the old
    const program = await compile((s: Pair) => ({ a: s.b.add(sum('i ->', s.a)), b: s.a.add(sum('i ->', s.b)) }), [pair], {
      backend,
      donate: [0],
    });
    const once = await program(start);
    expect([await read(once.a), await read(once.b)]).toEqual([
      [10, 11, 12],
      [16, 17, 18],
    ]);
    const twice = await program(once);
    expect([await read(twice.a), await read(twice.b)]).toEqual([
      [49, 50, 51],
      [61, 62, 63],
    ]);
  });

  test('donated leaves change places: in the function, and between calls', async () => {
    const inside = await compile((s: Pair) => ({ a: s.b, b: s.a }), [pair], { backend, donate: [0] });
    let out = await inside(start);
    expect([await read(out.a), await read(out.b)]).toEqual([numbers(start.b), numbers(start.a)]);
    out = await inside(out);
    expect([await read(out.a), await read(out.b)]).toEqual([numbers(start.a), numbers(start.b)]);
    const between = await compile((s: Pair) => ({ a: s.a.add(1), b: s.b.add(1) }), [pair], { backend, donate: [0] });
    const first = await between(start);
    const second = await between({ a: first.b, b: first.a });
    expect([await read(second.a), await read(second.b)]).toEqual([
      [6, 7, 8],
      [3, 4, 5],
    ]);
  });

  test('donated leaves that come back unchanged, twice, or as a constant; a donated value among the results', async () => {
    const program = await compile(
      (s: Pair) => ({ state: { a: s.a, b: s.a.add(s.b) }, copy: s.a.add(s.b), old: s.b, flat: rearrange('(i j) -> i j', s.b, { i: 1 }) }),
      [pair],
      { backend, donate: [0] },
    );
    const one = await program(start);
    expect(await read(one.old)).toEqual([4, 5, 6]);
    expect(await read(one.flat)).toEqual([4, 5, 6]);
    expect(await read(one.copy)).toEqual([5, 7, 9]);
    const two = await program(one.state);
    expect([await read(two.state.a), await read(two.state.b), await read(two.old)]).toEqual([
      [1, 2, 3],
      [6, 9, 12],
      [5, 7, 9],
    ]);
    const reset = await compile((s: Pair) => ({ a: constant([7, 8, 9], '3'), b: s.a }), [pair], { backend, donate: [0] });
    const r = await reset(await reset(start));
    expect([await read(r.a), await read(r.b)]).toEqual([
      [7, 8, 9],
      [7, 8, 9],
    ]);
  });

  test('results pass between programs; results of the last run but one are stale', async () => {
    const make = () => compile((s: Pair) => ({ a: s.a.add(1), b: s.b.mul(2) }), [pair], { backend, donate: [0] });
    const [p, q] = [await make(), await make()];
    const one = await p(start);
    const two = await q(one);
    expect(await read(two.a)).toEqual([3, 4, 5]);
    const kept = await one.a.read();
    await p(start);
    expect(await failure(() => one.a.read())).toBe(
      'FV0304: result a was overwritten: its program has run again | Read a result before the next call, or keep the copy that read() gives.',
    );
    expect(await wrongly(p, one)).toMatch(/^FV0304: argument 1, a: result a was overwritten/);
    expect(await wrongly(q, { a: two.a, b: one.b })).toMatch(/^FV0304: argument 1, b: /);
    // a refused call is no run: the results before it are what they were
    expect(await read(two.a)).toEqual([3, 4, 5]);
    expect(await read(two.b)).toEqual([16, 20, 24]);
    expect(numbers(kept)).toEqual([2, 3, 4]);
  });

  test('arguments that do not fit', async () => {
    const program = await compile(
      (s: Pair, n: Tensor<'', 'i32'>, m: Tensor<'2', 'bool'>) => ({ a: s.a.add(n.cast('f32')), b: s.b, m: m.not() }),
      [pair, spec('', 'i32'), spec('2', 'bool')],
      { backend },
    );
    const m = host(Uint8Array.of(0, 1), [2]);
    expect(await wrongly(program, start, 1)).toBe('FV0305: the program takes 3 arguments, got 2');
    expect(await wrongly(program, start, 1, m, 5)).toBe('FV0305: the program takes 3 arguments, got 4');
    expect(await wrongly(program, { a: start.a }, 1, m)).toBe('FV0305: argument 1, b: expected a tensor, got nothing');
    expect(await wrongly(program, { ...start, c: f32(1) }, 1, m)).toBe(
      'FV0305: argument 1, c: the program has no such input | Give the tree that the specs describe and nothing else.',
    );
    expect(await wrongly(program, undefined, 1, m)).toBe('FV0305: argument 1: expected a tree with a, got nothing');
    expect(await wrongly(program, start.a, 1, m)).toBe('FV0305: argument 1: expected a tree with a, got a tensor');
    expect(await wrongly(program, { a: { x: start.a }, b: start.b }, 1, m)).toMatch(
      /^FV0305: argument 1, a\.x: the program has no such input/,
    );
    expect(await wrongly(program, start, { x: 1 }, m)).toMatch(/^FV0305: argument 2, x: expected one tensor, got a tree/);
    expect(await wrongly(program, { ...start, a: f32(1, 2) }, 1, m)).toBe('FV0305: argument 1, a: expected f32[3], got f32[2]');
    expect(await wrongly(program, { ...start, b: host(Int32Array.of(1, 2, 3), [3]) }, 1, m)).toBe(
      'FV0305: argument 1, b: expected f32[3], got i32[3]',
    );
    expect(await wrongly(program, { ...start, b: { shape: [3], dtype: 'f32', data: Float32Array.of(1) } }, 1, m)).toBe(
      'FV0305: argument 1, b: f32[3] has 3 elements, but its array holds 1',
    );
    expect(await wrongly(program, { ...start, b: { shape: [3], dtype: 'f32', data: Int32Array.of(1, 2, 3) } }, 1, m)).toBe(
      'FV0305: argument 1, b: f32[3] takes a Float32Array, got a Int32Array',
    );
    expect(await wrongly(program, { ...start, b: Float32Array.of(1, 2, 3) }, 1, m)).toMatch(
      /^FV0305: argument 1, b: expected a tensor f32\[3\], got/,
    );
    expect(await wrongly(program, { ...start, b: 1 }, 1, m)).toBe('FV0305: argument 1, b: expected a tensor f32[3], got a number');
    for (const [n, what] of [
      [1.5, '1.5'],
      [2 ** 31, '2147483648'],
      [Number.NaN, 'NaN'],
    ] as const)
      expect(await wrongly(program, start, n, m)).toBe(`FV0305: argument 2: ${what} is no i32`);
    expect(await wrongly(program, start, 1n, m)).toBe('FV0305: argument 2: expected a tensor i32[], got a bigint');
    expect(await wrongly(program, start, 'one', m)).toBe('FV0305: argument 2: expected a tensor i32[], got a string');
    expect(await wrongly(program, start, null, m)).toBe('FV0305: argument 2: expected a tensor i32[], got null');
    expect(await wrongly(program, start, 1, host(Uint8Array.of(0, 255), [2]))).toBe(
      'FV0305: argument 3: a bool is 0 or 1, and other bytes were given',
    );
    // none of them has left a trace; a Buffer is a Uint8Array
    const out = await toHost(await program(start, 1, { shape: [2], dtype: 'bool', data: Buffer.from([0, 1]) }));
    expect([numbers(out.a), numbers(out.b), numbers(out.m)]).toEqual([
      [2, 3, 4],
      [4, 5, 6],
      [1, 0],
    ]);
  });

  test('values that are no tensors are part of the program', async () => {
    const program = await compile((s: { x: F32<'2'>; times: number }) => s.x.mul(s.times), [{ x: spec('2'), times: 3 }], { backend });
    expect(await read(await program({ x: f32(1, 2), times: 3 }))).toEqual([3, 6]);
    expect(await wrongly(program, { x: f32(1, 2), times: 4 })).toMatch(
      /^FV0305: argument 1, times: was fixed at 3 when the program was compiled/,
    );
  });

  test('one call at a time; nothing after dispose', async () => {
    const program = await compile((s: Pair) => ({ a: s.a.add(1), b: s.b }), [pair], { backend, donate: [0] });
    const first = program(start);
    expect(await wrongly(program, start)).toBe('FV0305: the program is still running | Await one call before the next.');
    const out = await first;
    expect(await read(out.a)).toEqual([2, 3, 4]);
    expect(await read((await program(out)).a)).toEqual([3, 4, 5]);
    program.dispose();
    program.dispose();
    expect(await wrongly(program, start)).toMatch(/^FV0304: .*disposed/);
    expect(await failure(() => out.b.read())).toMatch(/^FV0304/);
  });

  test('sizes: bound by name, missing, no count', async () => {
    const program = await compile((x: F32<'B D'>) => sum('b d -> b', x), [spec('B D')], { backend, dims: { B: 2, D: 3 } });
    expect(await read(await program(host(Float32Array.of(1, 2, 3, 4, 5, 6), [2, 3])))).toEqual([6, 15]);
    expect(await failure(() => compile((x: F32<'B D'>) => x.add(1), [spec('B D')], { backend, dims: { B: 2 } }))).toMatch(
      /^FV0005: no number is given for D \| /,
    );
    expect(await failure(() => compile((x: F32<'B'>) => x.add(1), [spec('B')], { backend, dims: { B: -1 } }))).toMatch(
      /^FV0005: the size B = -1/,
    );
    expect(await failure(() => compile((x: F32<'B'>) => x.add(1), [spec('B')], { backend, dims: { B: 1.5 } }))).toMatch(
      /^FV0005: the size B = 1.5/,
    );
  });

  test('donation that cannot be', async () => {
    const f = (s: Pair) => ({ a: s.a.add(1), c: s.b });
    expect(await failure(() => compile(f, [pair], { backend, donate: [0] }))).toBe(
      'FV0305: argument 1 is donated, but no result takes the place of b: f32[3] | Return the updated tree under the same names, or do not donate the argument.',
    );
    expect(await failure(() => compile(f, [pair], { backend, donate: [1] }))).toMatch(
      /^FV0305: donate: there is no argument at position 1/,
    );
    expect(await failure(() => compile((s: Pair) => ({ a: sum('i ->', s.a), b: s.b }), [pair], { backend, donate: [0] }))).toMatch(
      /no result takes the place of a: f32\[3\]/,
    );
  });

  test('two leaves under one path', async () => {
    const f = (s: { 'a.b': F32<'1'>; a: { b: F32<'1'> } }) => s['a.b'].sub(s.a.b);
    expect(await failure(() => compile(f, [{ 'a.b': spec('1'), a: { b: spec('1') } }], { backend }))).toMatch(
      /^FV0006: argument 1, a\.b: two leaves have this path/,
    );
  });
});

test('results in float64 go into a program in float32', async () => {
  const f = (x: F32<'2'>) => x.div(3);
  const [exact, native] = [await compile(f, [spec('2')], { backend: reference }), await compile(f, [spec('2')], { backend: cpu() })];
  const third = await exact(f32(1, 2));
  expect(await read(await native(third))).toEqual([1, 2].map((x) => Math.fround(Math.fround(x / 3) / 3)));
});

test('a plan that does not fit names its largest buffers', async () => {
  const f = (p: { weight: F32<'1000 300'> }, x: F32<'1000 300'>) => sum('a b -> a', p.weight.mul(x));
  const specs = [{ weight: spec('1000 300') }, spec('1000 300')] as const;
  const message = await failure(() => compile(f, specs, { backend: cpu(), maxBytes: 2 ** 20 }));
  expect(message).toMatch(
    /^FV0202: the plan needs 2\.3 MiB and 1\.0 MiB are allowed \| Largest buffers: 0\.weight 1\.1 MiB, 1 1\.1 MiB, .*\. Use a smaller batch, or checkpoint\(\)/,
  );
  const program = await compile(f, specs, { backend: cpu(), maxBytes: 3 * 2 ** 20 });
  expect(program.report.plan?.arenaBytes).toBeLessThan(3 * 2 ** 20);
});

test('what goes wrong in a call is told with the place of the call', async () => {
  const lineHere = (): number => Number(/program\.test\.ts:(\d+)/.exec(new Error().stack?.split('\n')[2] ?? '')?.[1]);
  const program = await compile((x: F32<'3'>) => x.mul(2), [spec('3')], { backend: reference });
  const refusal = (e: unknown): FoveaError => e as FoveaError;
  const first = await program(f32(1, 2, 3));
  const wrong = await program(f32(1, 2)).catch(refusal);
  const line = lineHere() - 1;
  // the call stands on the line before, whoever waits for its result
  const asked = program(f32(1, 2)).catch(refusal);
  const later = await asked;
  await program(f32(1, 2, 3));
  const stale = await first.read().catch(refusal);
  for (const [e, at] of [
    [wrong, line],
    [later, line + 3],
    [stale, line + 6],
  ] as const) {
    expect(e).toBeInstanceOf(FoveaError);
    expect((e as FoveaError).loc).toMatchObject({ file: import.meta.filename, line: at });
  }
  expect((wrong as FoveaError).report()).toMatch(
    /^FV0305: argument 1: expected f32\[3\], got f32\[2\]\n {2}at \S*program\.test\.ts:\d+:\d+$/m,
  );
  program.dispose();
});
