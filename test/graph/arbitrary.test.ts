import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { interpret } from '../../compiler/graph/interpret.ts';
import { type Graph, isFloat, type Prim } from '../../compiler/graph/types.ts';
import { verify } from '../../compiler/graph/verify.ts';
import { allPrims, arbitraryGraph, arbitraryProgram } from '../../testing/program.ts';

const primsOf = (g: Graph, found: Set<Prim>): void => {
  for (const n of g.nodes) {
    found.add(n.op.prim);
    if ('body' in n.op) primsOf(n.op.body, found);
  }
};

describe('random programs', () => {
  it('verify, run and give finite numbers', () => {
    fc.assert(
      fc.property(arbitraryProgram(), ({ graph, inputs }) => {
        verify(graph);
        for (const r of interpret(graph, inputs)) expect(Array.from(r.data).every(Number.isFinite)).toBe(true);
      }),
      { seed: 1, numRuns: 500 },
    );
  });

  it('use every primitive, sizes 0 and 1, and every dtype', () => {
    const found = new Set<Prim>();
    const sizes = new Set<unknown>();
    const dtypes = new Set<string>();
    for (const g of fc.sample(arbitraryGraph({ maxNodes: 20 }), { seed: 2, numRuns: 600 })) {
      primsOf(g, found);
      for (const n of g.nodes)
        for (const o of n.outputs)
          for (const d of [o.type.dtype, ...o.type.shape]) (typeof d === 'string' ? dtypes : sizes).add(d as string);
    }
    expect([...allPrims].filter((p) => !found.has(p))).toEqual([]);
    expect([0, 1, 2].filter((d) => !sizes.has(d))).toEqual([]);
    expect(dtypes.size).toBe(6);
  });

  it('hold to the options', () => {
    const prims: ReadonlySet<Prim> = new Set(['sin', 'reduceSum']);
    const helpers: Prim[] = ['const', 'broadcast', 'add', 'mul', 'tanh', 'cast', 'array'];
    for (const g of fc.sample(arbitraryGraph({ prims, differentiable: true, maxNodes: 5 }), { seed: 3, numRuns: 100 })) {
      const found = new Set<Prim>();
      primsOf(g, found);
      expect([...found].filter((p) => !prims.has(p) && !helpers.includes(p))).toEqual([]);
      expect(g.params.some((p) => isFloat(p.type.dtype))).toBe(true);
      expect(g.results.every((r) => r.type.dtype === 'f32')).toBe(true);
    }
  });
});
