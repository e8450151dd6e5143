/** The interpreter against definitions written element by element, and the edges that other backends must follow. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Builder, builder } from '../../compiler/graph/builder.ts';
import { erf } from '../../compiler/graph/erf.ts';
import { interpret, type Tensor64, tensor64 } from '../../compiler/graph/interpret.ts';
import { castNumber } from '../../compiler/graph/tensor64.ts';
import { threefry2x32 } from '../../compiler/graph/threefry.ts';
import type { DType, Value } from '../../compiler/graph/types.ts';

const tensor = (dtype: DType, shape: number[], data: number[]): Tensor64 => tensor64({ dtype, shape }, data);
const run = (args: Tensor64[], f: (b: Builder, ...xs: Value[]) => Value): number[] => {
  const b = builder();
  const g = b.build([f(b, ...args.map((a) => b.param(a.type)))]);
  return Array.from(interpret(g, args)[0]!.data);
};
const pointwise = (dtype: DType, args: number[][], f: (b: Builder, ...xs: Value[]) => Value): number[] =>
  run(
    args.map((a) => tensor(dtype, [a.length], a)),
    f,
  );
const { NaN: nan, POSITIVE_INFINITY: inf } = Number;

/** All index vectors of a shape in row-major order, and the element at one. */
const indices = (shape: readonly number[]): number[][] =>
  shape.reduce<number[][]>((acc, n) => acc.flatMap((i) => Array.from({ length: n }, (_, k) => [...i, k])), [[]]);
const at = (x: Tensor64, index: readonly number[]): number =>
  x.data[index.reduce((acc, i, axis) => acc * (x.type.shape[axis] as number) + i, 0)] as number;
const shapes = fc.array(fc.constantFrom(1, 2, 3, 4, 0), { minLength: 0, maxLength: 4 });
/** Every element differs, so that an element in the wrong place is seen. */
const numbered = (shape: readonly number[]): Tensor64 =>
  tensor(
    'f32',
    [...shape],
    indices(shape).map((_, i) => i + 1),
  );
const flip = (n: number): fc.Arbitrary<boolean[]> => fc.array(fc.boolean(), { minLength: n, maxLength: n });

describe('erf', () => {
  // computed with the C library's erf
  it.each([
    [1e-300, 1.1283791670955126e-300],
    [1e-8, 1.1283791670955126e-8],
    [0.1, 0.1124629160182849],
    [0.5, 0.5204998778130465],
    [0.9, 0.7969082124228322],
    [1.0, 0.8427007929497149],
    [1.5, 0.9661051464753108],
    [1.9999, 0.9953201979070294],
    [2.0, 0.9953222650189527],
    [2.0001, 0.9953243313041966],
    [2.5, 0.999593047982555],
    [3.0, 0.9999779095030014],
    [4.0, 0.9999999845827421],
    [5.0, 0.9999999999984626],
    [5.9, 0.9999999999999999],
  ])('erf(%d)', (x, y) => {
    // exp(-x * x) carries the rounding of x * x, at most 4 * 2^-53, and a few more roundings follow: under 8 units in the last place
    expect(Math.abs(erf(x) - y)).toBeLessThanOrEqual(8 * 2 ** -53 * y);
    expect(erf(-x)).toBe(-erf(x));
  });
  it('is exact at the ends and steps smoothly from series to fraction', () => {
    expect([erf(0), erf(-0), erf(6), erf(-inf), erf(nan)]).toEqual([0, -0, 1, -1, nan]);
    expect(erf(2) - erf(2 - 2 ** -51)).toBeLessThan(2 ** -50);
  });
});

describe('pointwise edges', () => {
  it('max, min and comparisons with NaN', () => {
    expect(
      pointwise(
        'f32',
        [
          [nan, 1, -0],
          [1, nan, 0],
        ],
        (b, x, y) => b.max(x!, y!),
      ),
    ).toEqual([nan, nan, 0]);
    expect(
      pointwise(
        'f32',
        [
          [nan, 1, 0],
          [1, nan, -0],
        ],
        (b, x, y) => b.min(x!, y!),
      ),
    ).toEqual([nan, nan, -0]);
    const with_ = (cmp: 'eq' | 'ne' | 'lt' | 'ge') =>
      pointwise(
        'f32',
        [
          [nan, 1, 1],
          [nan, nan, 2],
        ],
        (b, x, y) => b.compare(cmp, x!, y!),
      );
    expect([with_('eq'), with_('ne'), with_('lt'), with_('ge')]).toEqual([
      [0, 0, 0],
      [1, 1, 1],
      [0, 0, 1],
      [0, 0, 0],
    ]);
  });
  it('comparisons of less, equal and more', () => {
    const table = (['eq', 'ne', 'lt', 'le', 'gt', 'ge'] as const).map((cmp) =>
      pointwise(
        'i32',
        [
          [1, 2, 3],
          [2, 2, 2],
        ],
        (b, x, y) => b.compare(cmp, x!, y!),
      ),
    );
    expect(table).toEqual([
      [0, 1, 0],
      [1, 0, 1],
      [1, 0, 0],
      [1, 1, 0],
      [0, 0, 1],
      [0, 1, 1],
    ]);
  });
  it('pow follows IEEE 754', () => {
    expect(
      pointwise(
        'f32',
        [
          [1, -1, -8, 0, nan, 2],
          [nan, inf, 1 / 3, -1, 0, 10],
        ],
        (b, x, y) => b.pow(x!, y!),
      ),
    ).toEqual([1, 1, nan, inf, 1, 1024]);
  });
  it('sign, rem and floor', () => {
    expect(pointwise('f32', [[-3, -0, 0, nan]], (b, x) => b.sign(x!))).toEqual([-1, -0, 0, nan]);
    expect(
      pointwise(
        'f32',
        [
          [-7, 7, 1],
          [2, -2, 0],
        ],
        (b, x, y) => b.rem(x!, y!),
      ),
    ).toEqual([-1, 1, nan]);
    expect(pointwise('f32', [[-0.5, 1.5]], (b, x) => b.floor(x!))).toEqual([-1, 1]);
  });
  it('integers wrap, divide towards zero, and give 0 for a division by 0', () => {
    const big = 0x7fffffff;
    expect(
      pointwise(
        'i32',
        [
          [big, -2],
          [1, big],
        ],
        (b, x, y) => b.add(x!, y!),
      ),
    ).toEqual([-0x80000000, big - 2]);
    expect(
      pointwise(
        'i32',
        [
          [65537, big],
          [65537, big],
        ],
        (b, x, y) => b.mul(x!, y!),
      ),
    ).toEqual([131073, 1]);
    expect(
      pointwise(
        'u32',
        [
          [0, 0xffffffff],
          [1, 0xffffffff],
        ],
        (b, x, y) => b.mul(b.sub(x!, y!), y!),
      ),
    ).toEqual([0xffffffff, 0]);
    expect(
      pointwise(
        'i32',
        [
          [-7, 7, 5, -0x80000000],
          [2, -2, 0, -1],
        ],
        (b, x, y) => b.div(x!, y!),
      ),
    ).toEqual([-3, -3, 0, -0x80000000]);
    expect(
      pointwise(
        'i32',
        [
          [-7, 7, 5],
          [2, -2, 0],
        ],
        (b, x, y) => b.rem(x!, y!),
      ),
    ).toEqual([-1, 1, 0]);
    expect(pointwise('u32', [[0xffffffff], [2]], (b, x, y) => b.div(x!, y!))).toEqual([0x7fffffff]);
    expect(pointwise('i32', [[-0x80000000, 5]], (b, x) => b.neg(x!))).toEqual([-0x80000000, -5]);
  });
  it('bits', () => {
    expect(
      pointwise(
        'u32',
        [
          [1, 1, 0x80000000],
          [31, 32, 1],
        ],
        (b, x, y) => b.shiftLeft(x!, y!),
      ),
    ).toEqual([0x80000000, 0, 0]);
    expect(
      pointwise(
        'u32',
        [
          [0x80000000, 1, 7],
          [31, 32, 0xffffffff],
        ],
        (b, x, y) => b.shiftRight(x!, y!),
      ),
    ).toEqual([1, 0, 0]);
    expect(pointwise('u32', [[0]], (b, x) => b.not(x!))).toEqual([0xffffffff]);
    expect(pointwise('bool', [[0, 1]], (b, x) => b.not(x!))).toEqual([1, 0]);
    expect(
      pointwise(
        'bool',
        [
          [0, 1, 1],
          [1, 1, 0],
        ],
        (b, x, y) => b.xor(x!, y!),
      ),
    ).toEqual([1, 0, 1]);
  });
  it('casts truncate and saturate; floats never round', () => {
    expect([2.9, -2.9, 1e10, -1e10, nan].map((x) => castNumber(x, 'f32', 'i32'))).toEqual([2, -2, 0x7fffffff, -0x80000000, 0]);
    expect([2.9, -1, inf].map((x) => castNumber(x, 'f32', 'u32'))).toEqual([2, 0, 0xffffffff]);
    expect([castNumber(-1, 'i32', 'u32'), castNumber(0xffffffff, 'u32', 'i32')]).toEqual([0xffffffff, -1]);
    expect([0.1, -0, nan].map((x) => castNumber(x, 'f32', 'bool'))).toEqual([1, 0, 1]);
    expect(pointwise('f32', [[0.1]], (b, x) => b.cast(b.cast(x!, 'bf16'), 'f32'))).toEqual([0.1]);
    expect(pointwise('bool', [[0, 1]], (b, x) => b.cast(x!, 'f32'))).toEqual([0, 1]);
  });
});

describe('index maps, element by element', () => {
  it('transpose', () => {
    const cases = shapes.chain((s) =>
      fc.tuple(
        fc.constant(s),
        fc.shuffledSubarray(
          s.map((_, i) => i),
          { minLength: s.length },
        ),
      ),
    );
    fc.assert(
      fc.property(cases, ([s, perm]) => {
        const x = numbered(s);
        const to = perm.map((p) => s[p]!);
        expect(run([x], (b, v) => b.transpose(v!, perm))).toEqual(
          indices(to).map((i) =>
            at(
              x,
              s.map((_, axis) => i[perm.indexOf(axis)]!),
            ),
          ),
        );
      }),
      { seed: 9 },
    );
  });
  it('broadcast', () => {
    const cases = shapes.chain((s) =>
      fc.tuple(fc.constant(s), flip(s.length), fc.subarray([0, 1, 2, 3, 4, 5], { minLength: s.length, maxLength: s.length })),
    );
    fc.assert(
      fc.property(cases, ([s, ones, axes]) => {
        const from = s.map((d, i) => (ones[i] ? 1 : d));
        const to = Array.from({ length: 6 }, (_, k) => (axes.includes(k) ? s[axes.indexOf(k)]! : 2 - (k % 2)));
        const x = numbered(from);
        const expected = indices(to).map((i) =>
          at(
            x,
            from.map((d, a) => (d === 1 ? 0 : i[axes[a]!]!)),
          ),
        );
        expect(run([x], (b, v) => b.broadcast(v!, to, axes))).toEqual(expected);
      }),
      { seed: 10 },
    );
  });
  it('slice, pad and reverse', () => {
    const cases = shapes.chain((s) =>
      fc.tuple(fc.constant(s), fc.array(fc.tuple(fc.nat(2), fc.nat(2)), { minLength: 4, maxLength: 4 }), flip(s.length)),
    );
    fc.assert(
      fc.property(cases, ([s, ends, flips]) => {
        const x = numbered(s);
        const [low, high] = [s.map((_, i) => ends[i]![0]), s.map((_, i) => ends[i]![1])];
        const padded = s.map((d, i) => d + low[i]! + high[i]!);
        const inside = (i: number[]): boolean => i.every((k, a) => k >= low[a]! && k < low[a]! + s[a]!);
        const expected = indices(padded).map((i) =>
          inside(i)
            ? at(
                x,
                i.map((k, a) => k - low[a]!),
              )
            : -9,
        );
        expect(run([x], (b, v) => b.pad(v!, low, high, -9))).toEqual(expected);
        const y = numbered(padded);
        expect(
          run([y], (b, v) =>
            b.slice(
              v!,
              low,
              low.map((l, i) => l + s[i]!),
            ),
          ),
        ).toEqual(
          indices(s).map((i) =>
            at(
              y,
              i.map((k, a) => k + low[a]!),
            ),
          ),
        );
        const axes = s.map((_, i) => i).filter((i) => flips[i]);
        const reversed = indices(s).map((i) =>
          at(
            x,
            i.map((k, a) => (flips[a] ? s[a]! - 1 - k : k)),
          ),
        );
        expect(run([x], (b, v) => b.one({ prim: 'reverse', axes }, [v!]))).toEqual(reversed);
      }),
      { seed: 11 },
    );
  });
  it('concat and iota', () => {
    const [x, y] = [numbered([2, 1, 2]), numbered([2, 2, 2])];
    expect(run([x, y], (b, u, v) => b.concat([u!, v!], 1))).toEqual([1, 2, 1, 2, 3, 4, 3, 4, 5, 6, 7, 8]);
    expect(run([], (b) => b.one({ prim: 'iota', shape: [2, 3], axis: 0, dtype: 'i32' }, []))).toEqual([0, 0, 0, 1, 1, 1]);
    expect(run([], (b) => b.one({ prim: 'iota', shape: [2, 3], axis: 1, dtype: 'f32' }, []))).toEqual([0, 1, 2, 0, 1, 2]);
  });
  it('gather reads 0 out of range, scatterAdd drops', () => {
    const x = numbered([2, 3]);
    const i = tensor('i32', [2, 2], [2, -1, 3, 0]);
    expect(run([x, i], (b, v, k) => b.gather(v!, k!, 1))).toEqual([3, 0, 0, 1, 6, 0, 0, 4]);
    const u = numbered([4, 3]);
    expect(run([x, tensor('i32', [4], [1, 1, -1, 2]), u], (b, v, k, w) => b.scatterAdd(v!, k!, w!, 0))).toEqual([
      1,
      2,
      3,
      4 + 1 + 4,
      5 + 2 + 5,
      6 + 3 + 6,
    ]);
  });
});

describe('contractions and reductions', () => {
  it('dot, by its definition, for every choice of batch and contraction axes', () => {
    const roles = fc.array(fc.tuple(fc.constantFrom('batch', 'contract', 'left', 'right'), fc.constantFrom(1, 2, 3, 5, 0)), {
      maxLength: 5,
    });
    const order = fc.array(fc.nat(), { minLength: 10, maxLength: 10 });
    fc.assert(
      fc.property(roles, order, fc.constantFrom<DType>('f32', 'i32'), (rs, keys, dtype) => {
        const axes = rs.map(([role, size], k) => ({ role, size, k }));
        const side = (skip: string, from: number) =>
          axes.filter((a) => a.role !== skip).sort((p, q) => keys[from + p.k]! - keys[from + q.k]! || p.k - q.k);
        const [l, r] = [side('right', 0), side('left', 5)];
        const all = (role: string) => axes.filter((a) => a.role === role);
        const pick = (s: typeof l, role: string) => all(role).map((a) => s.indexOf(a));
        const numbersOf = (s: typeof l, k: number) => indices(s.map((a) => a.size)).map((_, i) => ((i * k) % 11) - 5);
        const [x, y] = [
          tensor(
            dtype,
            l.map((a) => a.size),
            numbersOf(l, 7),
          ),
          tensor(
            dtype,
            r.map((a) => a.size),
            numbersOf(r, 3),
          ),
        ];
        const out = [...all('batch'), ...l.filter((a) => a.role === 'left'), ...r.filter((a) => a.role === 'right')];
        const expected = indices(out.map((a) => a.size)).map((i) => {
          let sum = 0;
          for (const c of indices(all('contract').map((a) => a.size))) {
            const where = (a: (typeof l)[number]) => (a.role === 'contract' ? c[all('contract').indexOf(a)]! : i[out.indexOf(a)]!);
            sum += at(x, l.map(where)) * at(y, r.map(where));
          }
          return sum;
        });
        const got = run([x, y], (b, u, v) =>
          b.one({ prim: 'dot', batch: [pick(l, 'batch'), pick(r, 'batch')], contract: [pick(l, 'contract'), pick(r, 'contract')], dtype }, [
            u!,
            v!,
          ]),
        );
        // small integers: float64 sums are exact; + 0 because a sum of -0 is 0 in one order and -0 in another
        expect(got.map((v) => v + 0)).toEqual(expected.map((v) => v + 0));
      }),
      { seed: 12, numRuns: 300 },
    );
  });
  it('dot of integers wraps', () => {
    const x = tensor('i32', [2], [0x7fffffff, 0x7fffffff]);
    expect(run([x, x], (b, u, v) => b.one({ prim: 'dot', batch: [[], []], contract: [[0], [0]], dtype: 'i32' }, [u!, v!]))).toEqual([2]);
  });
  it('reductions over any axes', () => {
    const cases = shapes.chain((s) => fc.tuple(fc.constant(s), fc.shuffledSubarray(s.map((_, i) => i))));
    fc.assert(
      fc.property(cases, ([s, axes]) => {
        const x = numbered(s);
        const kept = s.map((_, i) => i).filter((i) => !axes.includes(i));
        const rows = indices(kept.map((k) => s[k]!)).map((o) =>
          indices(s)
            .filter((i) => kept.every((k, j) => i[k] === o[j]))
            .map((i) => at(x, i)),
        );
        expect(run([x], (b, v) => b.one({ prim: 'reduceSum', axes }, [v!]))).toEqual(rows.map((r) => r.reduce((a, b) => a + b, 0)));
        expect(run([x], (b, v) => b.one({ prim: 'reduceMax', axes }, [v!]))).toEqual(rows.map((r) => Math.max(...r)));
        expect(run([x], (b, v) => b.one({ prim: 'reduceMin', axes }, [v!]))).toEqual(rows.map((r) => Math.min(...r)));
      }),
      { seed: 13 },
    );
  });
  it('argmax gives the first maximum, or the first NaN', () => {
    expect(run([tensor('f32', [2, 3], [1, 3, 3, 5, nan, nan])], (b, x) => b.one({ prim: 'argmax', axis: 1 }, [x!]))).toEqual([1, 1]);
    expect(run([tensor('f32', [3, 2], [1, 3, 9, -1, 9, 4])], (b, x) => b.one({ prim: 'argmax', axis: 0 }, [x!]))).toEqual([1, 2]);
  });
  it('cumsum is inclusive along its axis; integer sums wrap', () => {
    expect(run([numbered([2, 2])], (b, x) => b.one({ prim: 'cumsum', axis: 0 }, [x!]))).toEqual([1, 2, 4, 6]);
    expect(run([numbered([2, 2])], (b, x) => b.one({ prim: 'cumsum', axis: 1 }, [x!]))).toEqual([1, 3, 3, 7]);
    expect(run([tensor('i32', [2], [0x7fffffff, 1])], (b, x) => b.sum(x!, [0]))).toEqual([-0x80000000]);
    expect(run([tensor('f32', [0], [])], (b, x) => b.one({ prim: 'reduceMax', axes: [0] }, [x!]))).toEqual([-inf]);
  });
  it('randomBits are Threefry of the row-major index', () => {
    const key = tensor('u32', [2], [3, 0xfffffff0]);
    const word = (i: number): number => threefry2x32([3, 0xfffffff0], [0, i]).reduce((a, b) => (a ^ b) >>> 0);
    expect(run([key], (b, k) => b.one({ prim: 'randomBits', shape: [2, 3] }, [k!]))).toEqual([0, 1, 2, 3, 4, 5].map(word));
  });
});

describe('control', () => {
  it('scan carries, stacks and runs backwards', () => {
    const inner = builder();
    const [c, k, x] = [
      inner.param({ dtype: 'f32', shape: [] }),
      inner.param({ dtype: 'f32', shape: [] }),
      inner.param({ dtype: 'f32', shape: [] }),
    ];
    const next = inner.add(inner.mul(c, k), x);
    const body = inner.build([next, c]);
    const both = (reverse: boolean): number[][] => {
      const b = builder();
      const args = [tensor('f32', [], [1]), tensor('f32', [], [10]), tensor('f32', [3], [2, 3, 4])];
      const g = b.build(
        b.emit(
          { prim: 'scan', length: 3, carries: 1, constants: 1, reverse, body },
          args.map((a) => b.param(a.type)),
        ),
      );
      return interpret(g, args).map((t) => Array.from(t.data));
    };
    expect(both(false)).toEqual([[1234], [1, 12, 123]]);
    expect(both(true)).toEqual([[1432], [143, 14, 1]]);
  });
});
