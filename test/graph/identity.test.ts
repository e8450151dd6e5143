/** The identity of a graph: equal for equal graphs wherever they were written, different for all that a pass could tell apart. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { builder } from '../../compiler/graph/builder.ts';
import { identity } from '../../compiler/graph/identity.ts';
import { parse } from '../../compiler/graph/parse.ts';
import { print } from '../../compiler/graph/print.ts';
import type { Graph } from '../../compiler/graph/types.ts';
import { arbitraryProgram } from '../../testing/program.ts';

/** The text without source locations, which identity leaves out. */
const plain = (g: Graph): string => print(g).replaceAll(/ loc="[^"]*":\d+:\d+/g, '');

const text = `graph (%0 x: f32[2 3], %1: f32[2 3], %2 i: i32[2]) {
  %3: f32[2 3] = add(%0, %1) ; scope="a/b" phase=fwd
  %4: f32[2 3] = mul(%3, %3) ; scope="a/b" phase=bwd
  %5: f32[3 2] = transpose(%4) perm=[1 0] ; phase=bwd remat=1
  %6: f32[] = const() value=0 dtype=f32 ; phase=fwd
  %7: f32[3 2] = broadcast(%6) shape=[3 2] axes=[] ; phase=fwd
  %8: f32[3 2] = call(%5, %7) tag="pair" {
    (%9: f32[3 2], %10: f32[3 2])
    %11: f32[3 2] = sub(%9, %10) ; phase=fwd
    return %11
  } ; phase=fwd
  %12: bool[3 2] = compare(%8, %5) cmp=lt ; phase=fwd
  return %8, %12
}
`;

test('each change of the text that is more than a location is a change of identity', () => {
  const whole = identity(parse(text));
  const changes: readonly (readonly [from: string, to: string])[] = [
    ['%0 x:', '%0 y:'],
    ['%0 x:', '%0:'],
    ['add(%0, %1)', 'add(%1, %0)'],
    ['add(%0, %1)', 'sub(%0, %1)'],
    ['mul(%3, %3)', 'mul(%3, %0)'],
    ['scope="a/b" phase=fwd', 'scope="a" phase=fwd'],
    ['scope="a/b" phase=bwd', 'scope="a/b" phase=opt'],
    ['remat=1', 'remat=2'],
    [' remat=1', ''],
    ['value=0', 'value=-0'],
    ['value=0', 'value=NaN'],
    ['sub(%9, %10)', 'sub(%10, %9)'],
    ['tag="pair"', 'tag="Pair"'],
    ['cmp=lt', 'cmp=le'],
    ['return %8, %12', 'return %12, %8'],
    ['return %8, %12', 'return %8'],
    ['call(%5, %7)', 'call(%7, %5)'],
  ];
  const seen = new Set([whole]);
  for (const [from, to] of changes) {
    expect(text).toContain(from);
    seen.add(identity(parse(text.replace(from, to))));
  }
  expect(seen.size).toBe(changes.length + 1);
  expect(identity(parse(text.replace('phase=bwd remat', 'phase=bwd loc="a.ts":1:2 remat')))).toBe(whole);
});

test('a region that occurs twice is told apart from two', () => {
  const body = parse('graph (%0: f32[4]) {\n  %1: f32[4] = exp(%0)\n  return %1\n}\n');
  const twice = (second: Graph): string => {
    const b = builder();
    const [x] = b.emit({ prim: 'call', tag: 'f', body }, [b.param({ dtype: 'f32', shape: [4] })]);
    return identity(b.build(b.emit({ prim: 'call', tag: 'f', body: second }, [x as never])));
  };
  expect(twice(body)).not.toBe(twice(parse(print(body).replace('exp', 'log'))));
});

test('generated programs: equal text, equal identity, and the reverse', () => {
  const programs = fc.sample(arbitraryProgram({ transforms: true, maxNodes: 12 }), { seed: 5, numRuns: 300 }).map((p) => p.graph);
  const byText = new Map<string, string>();
  const byIdentity = new Map<string, string>();
  for (const g of programs) {
    const [t, id] = [plain(parse(print(g))), identity(parse(print(g)))];
    expect(byText.get(t) ?? id).toBe(id);
    expect(byIdentity.get(id) ?? t).toBe(t);
    byText.set(t, id);
    byIdentity.set(id, t);
  }
  expect(byIdentity.size).toBeGreaterThan(250);
});
