/** Every pass keeps the meaning of every program: the interpreter gives the same bits before and after. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { builder } from '../../compiler/graph/builder.ts';
import { interpret, type Tensor64 } from '../../compiler/graph/interpret.ts';
import { print } from '../../compiler/graph/print.ts';
import { isEmpty } from '../../compiler/graph/tensor64.ts';
import type { Graph, Prim } from '../../compiler/graph/types.ts';
import { verify } from '../../compiler/graph/verify.ts';
import { cse } from '../../compiler/passes/cse.ts';
import { dce } from '../../compiler/passes/dce.ts';
import { empty } from '../../compiler/passes/empty.ts';
import { inline } from '../../compiler/passes/inline.ts';
import { simplify } from '../../compiler/passes/simplify.ts';
import { allPrims, arbitraryProgram } from '../../testing/program.ts';

/** Equal bits but for the sign of zero, which x + 0 -> x may change; adding 0 to both makes every zero positive. */
const bits = (ts: readonly Tensor64[]) => ts.map((t) => ({ type: t.type, data: Array.from(t.data, (x) => x + 0) }));
// pow(x, 2) -> x * x and pow(x, -1) -> 1 / x round differently from Math.pow: tested by themselves in simplify.test.ts
const prims: ReadonlySet<Prim> = new Set([...allPrims].filter((p) => p !== 'pow'));
const all = (g: Graph): Graph => dce(cse(simplify(cse(simplify(dce(empty(inline(g))))))));
const passes: readonly (readonly [string, (g: Graph) => Graph])[] = [
  ['inline', inline],
  ['inline and empty', (g) => empty(inline(g))],
  ['dce', dce],
  ['simplify', simplify],
  ['cse', cse],
  ['all of them in order', all],
];

describe('passes', () => {
  it.each(passes)('%s keeps the results', (_, pass) => {
    fc.assert(
      fc.property(arbitraryProgram({ prims, maxNodes: 20 }), ({ graph, inputs }) => {
        const text = print(graph);
        const after = pass(graph);
        verify(after);
        expect(after.params.map((p) => [p.name, p.type])).toEqual(graph.params.map((p) => [p.name, p.type]));
        expect(bits(interpret(after, inputs))).toEqual(bits(interpret(graph, inputs)));
        expect(print(graph)).toBe(text);
      }),
      { seed: 6, numRuns: 300 },
    );
  });

  it('simplify keeps the results of programs of views, constants and what it has rules for', () => {
    const views: Prim[] = ['transpose', 'reshape', 'broadcast', 'slice', 'pad', 'reverse', 'concat'];
    const rules: Prim[] = [
      'const',
      'neg',
      'not',
      'select',
      'compare',
      'cast',
      'add',
      'sub',
      'mul',
      'div',
      'sqrt',
      'and',
      'shiftLeft',
      'reduceMax',
    ];
    fc.assert(
      fc.property(arbitraryProgram({ prims: new Set([...views, ...rules]), maxNodes: 20 }), ({ graph, inputs }) => {
        const twice = simplify(simplify(graph));
        verify(twice);
        expect(bits(interpret(twice, inputs))).toEqual(bits(interpret(graph, inputs)));
      }),
      { seed: 16, numRuns: 500 },
    );
  });

  it('inline leaves no regions, shards or stopGradient', () => {
    fc.assert(
      fc.property(arbitraryProgram({ maxNodes: 20 }), ({ graph }) => {
        const gone: readonly Prim[] = ['call', 'scan', 'perShard', 'reshard', 'axisIndex', 'stopGradient'];
        expect(inline(graph).nodes.filter((n) => gone.includes(n.op.prim))).toEqual([]);
      }),
      { seed: 7, numRuns: 100 },
    );
  });

  it('empty leaves no node that reads a value without elements, and the passes after it bring none back', () => {
    const small = { prims: allPrims, maxNodes: 20, sizes: [0, 1, 2, 3] };
    let removed = 0;
    fc.assert(
      fc.property(arbitraryProgram(small), ({ graph, inputs }) => {
        const plain = inline(graph);
        for (const after of [empty(plain), all(graph)]) {
          verify(after);
          const hollow = after.nodes.filter((n) => [...n.inputs, ...n.outputs].some((v) => isEmpty(v.type)));
          expect(hollow.filter((n) => n.op.prim !== 'array' || n.inputs.length > 0)).toEqual([]);
        }
        removed += plain.nodes.filter((n) => n.inputs.some((v) => isEmpty(v.type))).length;
        expect(bits(interpret(empty(plain), inputs))).toEqual(bits(interpret(graph, inputs)));
      }),
      { seed: 9, numRuns: 300 },
    );
    expect(removed).toBeGreaterThan(500);
  });

  it('cse and dce are idempotent', () => {
    fc.assert(
      fc.property(arbitraryProgram({ prims, maxNodes: 20 }), ({ graph }) => {
        const g = inline(graph);
        for (const pass of [cse, dce]) expect(print(pass(pass(g)))).toBe(print(pass(g)));
      }),
      { seed: 8, numRuns: 100 },
    );
  });

  it('run on 100 000 nodes in a chain', () => {
    const b = builder();
    let x = b.param({ dtype: 'f32', shape: [2] });
    for (let i = 0; i < 50_000; i++) x = b.sin(b.add(x, b.fill(0, x.type)));
    expect(all(b.build([x])).nodes.length).toBe(50_000);
  }, 60_000);
});
