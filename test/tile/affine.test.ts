import fc from 'fast-check';
import { expect, test } from 'vitest';
import * as e from '../../compiler/kernel/expr.ts';
import { interpretKernel } from '../../compiler/kernel/interpret.ts';
import { printExpr } from '../../compiler/kernel/print.ts';
import type { Expr } from '../../compiler/kernel/types.ts';
import { type Affine, add, indices, linear, number, scale, shift, unlinear } from '../../compiler/tile/affine.ts';

/** Evaluates index expressions (and conditions, as 0 or 1) for given loop variables, lane by lane. */
const evaluate = (xs: readonly Expr[], lanes: number, variables: Readonly<Record<string, number>>): number[][] => {
  const names = Object.keys(variables);
  const out = new Int32Array(xs.length * lanes);
  interpretKernel(
    {
      name: 'evaluate',
      buffers: [{ name: 'out', dtype: 'i32', size: out.length, access: 'write' }],
      grid: [1, 1, 1],
      threads: 1,
      body: [
        ...names.map((name) => ({ s: 'let', name, value: e.index(variables[name] as number) }) as const),
        ...xs.map((x, i) => ({ s: 'store', to: 'out', index: e.index(i * lanes), value: e.cast(e.splat(x, lanes), 'i32') }) as const),
      ],
    },
    { out },
  );
  return xs.map((_, i) => [...out.subarray(i * lanes, (i + 1) * lanes)]);
};

type Tree = { readonly f: (s: ReturnType<typeof indices>, at: readonly Affine[]) => Affine; readonly g: (at: readonly number[]) => number };
const leaf = fc.nat({ max: 2 }).map((i): Tree => ({ f: (_, at) => at[i] as Affine, g: (at) => at[i] as number }));
const trees: fc.Arbitrary<Tree> = fc.letrec<{ tree: Tree }>((rec) => ({
  tree: fc.oneof(
    { maxDepth: 6, depthSize: 'large' },
    leaf,
    fc.tuple(rec('tree'), rec('tree')).map(([a, b]): Tree => ({ f: (s, at) => add(a.f(s, at), b.f(s, at)), g: (at) => a.g(at) + b.g(at) })),
    fc
      .tuple(rec('tree'), fc.integer({ min: 1, max: 12 }))
      .map(([a, k]): Tree => ({ f: (s, at) => scale(a.f(s, at), k), g: (at) => a.g(at) * k })),
    fc.tuple(rec('tree'), fc.nat({ max: 20 })).map(([a, k]): Tree => ({ f: (s, at) => shift(a.f(s, at), k), g: (at) => a.g(at) + k })),
    fc
      .tuple(rec('tree'), fc.integer({ min: 1, max: 24 }))
      .map(([a, k]): Tree => ({ f: (s, at) => s.div(a.f(s, at), k), g: (at) => Math.floor(a.g(at) / k) })),
    fc
      .tuple(rec('tree'), fc.integer({ min: 1, max: 24 }))
      .map(([a, k]): Tree => ({ f: (s, at) => s.rem(a.f(s, at), k), g: (at) => a.g(at) % k })),
  ),
})).tree;

test('quotients, remainders, sums and comparisons keep their values, in every lane', () => {
  fc.assert(
    fc.property(
      trees,
      fc.constantFrom(1, 4, 8),
      fc.integer({ min: 1, max: 9 }),
      fc.nat(),
      fc.nat(),
      fc.nat({ max: 120 }),
      (tree, lanes, count, seedI, seedJ, bound) => {
        const s = indices(lanes);
        const [i, j] = [(seedI % count) * lanes, seedJ % 7];
        const a = tree.f(s, [
          add(s.atom(e.ref('i', 'index'), 0, (count - 1) * lanes, lanes), s.lane),
          s.atom(e.ref('j', 'index'), 0, 6),
          number(5),
        ]);
        const want = Array.from({ length: lanes }, (_, l) => tree.g([i + l, j, 5]));
        const [got, below] = evaluate([s.expr(a), e.select(s.below(a, bound), e.index(1), e.index(0))], lanes, { i, j }) as [
          number[],
          number[],
        ];
        expect(got).toEqual(want);
        expect(below).toEqual(want.map((x) => (x < bound ? 1 : 0)));
        for (const x of want) expect(x >= a.lo && x <= a.hi).toBe(true);
        const view = s.view(a);
        const first = evaluate([view.expr], view.expr.lanes, { i, j })[0]?.[0] as number;
        if (view.kind !== 'irregular') expect(want).toEqual(want.map((_, l) => first + (view.kind === 'unit' ? l : 0)));
      },
    ),
    { numRuns: 1500, seed: 3 },
  );
});

test('flattening undoes unflattening, whatever the shapes between', () => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 1, max: 6 }), { maxLength: 5 }),
      fc.array(fc.integer({ min: 1, max: 6 }), { maxLength: 5 }),
      (a, b) => {
        const n = a.reduce((x, y) => x * y, 1) * b.reduce((x, y) => x * y, 1);
        const s = indices(1);
        const p = s.atom(e.ref('p', 'index'), 0, n - 1);
        const shape = [...a, ...b];
        const once = linear(unlinear(s, p, shape), shape);
        expect(once.key).toBe(p.key);
        const back = [...b, ...a];
        expect(linear(unlinear(s, once, back), back).key).toBe(p.key);
      },
    ),
    { numRuns: 300, seed: 4 },
  );
});

test('what an axis of whole vectors leaves of an index', () => {
  const s = indices(16);
  const p = add(s.atom(e.ref('i', 'index'), 0, 3840 - 16, 16), s.lane);
  const [row, col] = unlinear(s, p, [10, 384]) as [Affine, Affine];
  expect([row, col].map((x) => [s.view(x).kind, printExpr(s.view(x).expr)])).toMatchInlineSnapshot(`
    [
      [
        "same",
        "div(i, 384)",
      ],
      [
        "unit",
        "rem(i, 384)",
      ],
    ]
  `);
  const odd = unlinear(s, p, [15, 256]).map((x) => s.view(x).kind);
  expect(odd).toEqual(['same', 'unit']);
  expect(unlinear(s, p, [640, 6]).map((x) => s.view(x).kind)).toEqual(['irregular', 'irregular']);
});
