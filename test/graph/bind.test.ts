/** Sizes by name: canonical forms, binding, and what is said when a size is missing or does not divide. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FoveaError } from '../../compiler/error.ts';
import { bindGraph } from '../../compiler/graph/bind.ts';
import { addDim, bindDim, type Dim, divDim, eqDim, mulDim, parseDim, subDim } from '../../compiler/graph/dim.ts';
import { parse } from '../../compiler/graph/parse.ts';
import { print } from '../../compiler/graph/print.ts';
import { verify } from '../../compiler/graph/verify.ts';

const dims: fc.Arbitrary<Dim> = fc.letrec<{ dim: Dim }>((tie) => ({
  dim: fc.oneof(
    { maxDepth: 3 },
    fc.constantFrom('A', 'B', 'C', 'D').map((n) => parseDim(n)),
    fc.nat(5),
    fc.tuple(tie('dim'), tie('dim')).map(([a, b]) => addDim(a, b)),
    fc.tuple(tie('dim'), tie('dim')).map(([a, b]) => subDim(a, b)),
    fc.tuple(tie('dim'), tie('dim')).map(([a, b]) => mulDim(a, b)),
    fc.tuple(tie('dim'), tie('dim')).map(([a, b]) => divDim(a, b) ?? a),
  ),
})).dim;
// each name divides the ones before it, so that many quotients are whole
const env = new Map<string, number>([
  ['A', 48],
  ['B', 24],
  ['C', 6],
  ['D', 2],
]);

describe('sizes', () => {
  it('parse what they print', () => {
    fc.assert(
      fc.property(dims, (d) => {
        expect(eqDim(parseDim(String(d)), d)).toBe(true);
      }),
      { seed: 14, numRuns: 500 },
    );
  });
  it('compute as numbers do', () => {
    const n = (d: Dim): number | undefined => {
      const r = bindDim(d, env);
      return typeof r === 'number' ? r : undefined;
    };
    fc.assert(
      fc.property(dims, dims, (a, b) => {
        const [x, y] = [n(a), n(b)];
        fc.pre(x !== undefined && y !== undefined);
        expect(n(addDim(a, b))).toBe(x! + y!);
        expect(n(mulDim(a, b))).toBe(x! * y! + 0);
        const q = divDim(a, b);
        if (q !== undefined && y !== 0 && n(q) !== undefined) expect(n(q)).toBe(x! / y! + 0);
      }),
      { seed: 15, numRuns: 500 },
    );
  });
  it('multiply quotients back', () => {
    for (const [q, by, whole] of [
      ['D/H', 'H', 'D'],
      ['A*B/C', 'C', 'A*B'],
      ['A/(B*C)', 'B*C', 'A'],
      ['A/(B*C)', 'C*B*D', 'A*D'],
    ] as const)
      expect(String(mulDim(parseDim(q), parseDim(by)))).toBe(whole);
  });
});

const text = `graph (%0 x: f32[B N+1 (D/H)]) {
  %1: f32[] = const() value=B*N dtype=f32
  %2: i32[B N] = iota() shape=[B N] axis=1 dtype=i32
  %3: f32[B N (D/H)] = slice(%0) start=[0 1 0] limit=[B N+1 (D/H)]
  %4: f32[B 2*N (D/H)] = pad(%3) low=[0 N 0] high=[0 0 0] value=0
  %5: f32[2*(D/H)*B*N] = reshape(%4) shape=[2*(D/H)*B*N]
  %6: f32[] = scan(%1, %5) length=2*(D/H)*B*N carries=1 constants=0 reverse=false {
    (%0: f32[], %1: f32[])
    %2: f32[B] = broadcast(%0) shape=[B] axes=[]
    return %0
  }
  return %2, %6
}
`;
const message = (sizes: Record<string, number>): string => {
  try {
    bindGraph(parse(text), new Map(Object.entries(sizes)));
    return 'none';
  } catch (e) {
    if (e instanceof FoveaError) return `${e.code}: ${e.message}`;
    throw e;
  }
};

describe('bindGraph', () => {
  it('replaces names in types, attributes, constants and regions', () => {
    const g = parse(text);
    verify(g);
    const bound = bindGraph(g, new Map(Object.entries({ B: 2, N: 3, D: 8, H: 2 })));
    verify(bound);
    expect(print(bound, { meta: false })).toMatchInlineSnapshot(`
      "graph (%0 x: f32[2 4 4]) {
        %1: f32[] = const() value=6 dtype=f32
        %2: i32[2 3] = iota() shape=[2 3] axis=1 dtype=i32
        %3: f32[2 3 4] = slice(%0) start=[0 1 0] limit=[2 4 4]
        %4: f32[2 6 4] = pad(%3) low=[0 3 0] high=[0 0 0] value=0
        %5: f32[48] = reshape(%4) shape=[48]
        %6: f32[] = scan(%1, %5) length=48 carries=1 constants=0 reverse=false {
          (%0: f32[], %1: f32[])
          %2: f32[2] = broadcast(%0) shape=[2] axes=[]
          return %0
        }
        return %2, %6
      }
      "
    `);
  });
  it('says which names are missing and which size is impossible', () => {
    expect(message({ N: 3 })).toBe('FV0005: no number is given for B, D, H');
    expect(message({ B: 2, N: 3, D: 7, H: 2 })).toBe('FV0005: the size (D/H) is no whole number for D = 7, H = 2');
    expect(message({ B: 2, N: -3, D: 8, H: 2 })).toBe('FV0005: the size N+1 is -2 for N = -3');
    const x = { id: 0, type: { dtype: 'f32', shape: [-1] } } as const;
    expect(() => bindGraph({ params: [x], nodes: [], results: [x] }, new Map())).toThrow('a size is -1');
  });
});
