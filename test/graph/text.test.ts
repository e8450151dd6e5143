/** print, parse and verify: the round trip as a law, and the messages that people see. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FoveaError } from '../../compiler/error.ts';
import { builder } from '../../compiler/graph/builder.ts';
import { type Dim, parseDim } from '../../compiler/graph/dim.ts';
import { parse } from '../../compiler/graph/parse.ts';
import { print } from '../../compiler/graph/print.ts';
import type { Graph, Meta, OpOf } from '../../compiler/graph/types.ts';
import { verify } from '../../compiler/graph/verify.ts';
import { arbitraryGraph } from '../../testing/program.ts';

const metas: fc.Arbitrary<Meta> = fc.record(
  {
    scope: fc.oneof(fc.string(), fc.constantFrom('student/blocks.3/attn', '"', '\\', '; phase=bwd', '\n}')),
    phase: fc.constantFrom('fwd', 'bwd', 'opt'),
    loc: fc.record({ file: fc.string({ unit: 'binary' }), line: fc.nat(), col: fc.nat() }),
    remat: fc.nat(9),
  },
  { requiredKeys: ['scope', 'phase'] },
);
const decorated = fc
  .tuple(arbitraryGraph(), fc.array(metas, { minLength: 1, maxLength: 8 }), fc.string({ unit: 'binary' }))
  .map(([g, ms, name]): Graph => {
    const params = g.params.map((p, i) => ({ ...p, ...(i === 0 && { name }) }));
    const env = new Map(g.params.map((p, i) => [p, params[i]!]));
    const get = <T>(v: T): T => (env.get(v as never) ?? v) as T;
    const nodes = g.nodes.map((n, i) => ({ ...n, inputs: n.inputs.map(get), meta: ms[i % ms.length]! }));
    return { params, nodes, results: g.results.map(get) };
  });
const codeOf = (f: () => void): string | undefined => {
  try {
    f();
    return undefined;
  } catch (e) {
    if (e instanceof FoveaError) return `${e.code}: ${e.message}`;
    throw e;
  }
};

describe('text form', () => {
  it('parse(print(g)) = g, with and without meta', () => {
    fc.assert(
      fc.property(decorated, (g) => {
        expect(parse(print(g))).toEqual(g);
        const short = print(g, { meta: false });
        expect(print(parse(short), { meta: false })).toBe(short);
        expect(short).not.toContain('phase=');
      }),
      { seed: 4, numRuns: 200 },
    );
  });

  it('keeps every number: NaN, infinities, -0, denormals', () => {
    const b = builder();
    const data = [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, -0, 5e-324, 1.7976931348623157e308, 0.1, -1e21];
    const x = b.one({ prim: 'array', data, shape: [data.length], dtype: 'f32' }, []);
    const cs = data.map((v) => b.constant(v));
    const g = b.build([x, ...cs, b.pad(x, [1], [0], -0), b.pad(x, [0], [1], Number.NaN)]);
    const back = parse(print(g));
    expect(back).toStrictEqual(g);
    expect(Object.is((back.nodes[0]!.op as OpOf<'array'>).data[3], -0)).toBe(true);
  });

  it('keeps named sizes', () => {
    const b = builder();
    const d: Dim[] = ['B', 'N+1', '3*D', 'D/H', '2*B*N-4', 'A*B/C', 'A/(B*C)', 'N*(D/H)'].map((t) => parseDim(t));
    const x = b.param({ dtype: 'f32', shape: d }, 'x');
    const g = b.build([b.exp(x), b.constant(d[3]!), b.constant(d[1]!)]);
    expect(print(g, { meta: false })).toMatchInlineSnapshot(`
      "graph (%0 x: f32[B N+1 3*D (D/H) 2*B*N-4 (A*B/C) (A/(B*C)) (D/H)*N]) {
        %1: f32[B N+1 3*D (D/H) 2*B*N-4 (A*B/C) (A/(B*C)) (D/H)*N] = exp(%0)
        %2: f32[] = const() value=(D/H) dtype=f32
        %3: f32[] = const() value=N+1 dtype=f32
        return %1, %2, %3
      }
      "
    `);
    expect(parse(print(g))).toEqual(g);
  });

  it('prints regions indented, with their meta after the brace', () => {
    const inner = builder();
    const a = inner.param({ dtype: 'f32', shape: [2] });
    const body = inner.build([inner.at({ scope: 'f' }, () => inner.neg(a))]);
    const b = builder();
    const x = b.param({ dtype: 'f32', shape: [2] }, 'odd name');
    const y = b.at({ scope: 's', phase: 'bwd', loc: { file: 'a b.ts', line: 3, col: 9 }, remat: 1 }, () =>
      b.one({ prim: 'call', tag: 'gelu', body }, [x]),
    );
    const g = b.build([y]);
    expect(print(g)).toMatchInlineSnapshot(`
      "graph (%0 "odd name": f32[2]) {
        %1: f32[2] = call(%0) tag=gelu {
          (%0: f32[2])
          %1: f32[2] = neg(%0) ; scope="f" phase=fwd
          return %1
        } ; scope="s" phase=bwd loc="a b.ts":3:9 remat=1
        return %1
      }
      "
    `);
    expect(parse(print(g))).toEqual(g);
  });

  it.each([
    ['', "FV0102: line 1: expected 'graph', found the end"],
    ['graph (%0: f32[2]) {\n return %7 }', "FV0102: line 2: expected a value defined above, not %7, before this, found '}'"],
    ['graph (%0: f99[2]) {', "FV0102: line 1: expected a dtype, found 'f99[2]) {'"],
    ['graph (%0: f32[2], %0: f32[2]) {', "FV0102: line 1: expected a value other than %0, which exists, found ': f32[2]) {'"],
    ['graph () {\n %0: f32[] = frob()', "FV0102: line 2: expected a primitive, found 'frob()'"],
    ['graph () {\n %0: f32[] = toString()', "FV0102: line 2: expected a primitive, found 'toString()'"],
    ['graph () {\n\n %0: f32[] = const() value=1', "FV0102: line 3: expected 'dtype=', found the end"],
    ['graph () { return } x', "FV0102: line 1: expected the end, found 'x'"],
    ['graph (%0: f32[(N+1)*(N+1)]) { return }', "FV0102: line 1: expected a size, found '(N+1)*(N+1)]) { return }'"],
    [
      'graph (%0: f32[99999999999999999999]) { return }',
      "FV0102: line 1: expected a size of at most 1000 characters, below 2^53, found '99999999999999999999]) { retur'",
    ],
  ])('refuses %j', (text, message) => {
    expect(codeOf(() => parse(text))).toBe(message);
  });

  it('neither crashes nor hangs on damaged text', () => {
    const edits = fc.array(fc.tuple(fc.nat(), fc.nat(12), fc.string({ maxLength: 4 })), { minLength: 1, maxLength: 3 });
    fc.assert(
      fc.property(arbitraryGraph({ maxNodes: 6 }), edits, (g, cuts) => {
        const text = cuts.reduce((t, [at, n, put]) => t.slice(0, at % t.length) + put + t.slice((at % t.length) + n), `${print(g)} `);
        codeOf(() => verify(parse(text))); // anything but FoveaError passes through and fails the test
      }),
      { seed: 5, numRuns: 400 },
    );
    const deep = `graph () { ${'= call() tag=a { () '.repeat(20000)}`;
    expect(codeOf(() => parse(deep))).toContain('at most 100 nested regions');
    expect(codeOf(() => parse(`graph (%0: f32[${'('.repeat(100000)}`))).toContain('expected a size');
    expect(codeOf(() => parse(`graph (%0: f32[${'A*'.repeat(100000)}`))).toContain('expected a size');
    expect(codeOf(() => parse(`graph (%0: f32[${'A+'.repeat(5000)}A])`))).toContain('expected a size');
  });
});

describe('verify', () => {
  it.each([
    ['%1: f32[2] = exp(%0) %1: f32[2] = exp(%0) return %1', undefined],
    ['%1: f32[3] = exp(%0) return %1', 'FV0101: %1: f32[3] = exp(%0): %1 should be f32[2]'],
    ['%1: f32[2] = add(%0) return %1', 'FV0101: %1: f32[2] = add(%0): add: takes 2 operands, got 1'],
    ['%1: i32[2] = exp(%0) return %1', 'FV0101: %1: i32[2] = exp(%0): %1 should be f32[2]'],
    ['%1: f32[2], %2: f32[2] = exp(%0) return %1', 'FV0101: %1: f32[2], %2: f32[2] = exp(%0): has 2 outputs, should have 1'],
    ['%1: f32[] = const(%0) value=1 dtype=f32 return %1', 'FV0101: %1: f32[] = const(%0) value=1 dtype=f32: takes no operands'],
    ['%1: i32[] = const() value=0.5 dtype=i32 return %1', 'FV0101: %1: i32[] = const() value=0.5 dtype=i32: 0.5 is no i32'],
    [
      '%1: i32[2] = cast(%0) dtype=i32 %2: i32[3] = pad(%1) low=[1] high=[0] value=0.5 return %2',
      'FV0101: %2: i32[3] = pad(%1) low=[1] high=[0] value=0.5: 0.5 is no i32',
    ],
    ['%1: f32[-2] = const() value=1 dtype=f32 return %1', 'FV0101: %1: f32[-2] = const() value=1 dtype=f32: %1 should be f32[]'],
    [
      '%1: f32[2] = scan(%0) length=0 carries=2 constants=0 reverse=false { (%0: f32[2]) return %0 } return %1',
      'FV0101: %1: f32[2] = scan(%0) length=0 carries=2 constants=0 reverse=false { ... }: more carries and constants than operands',
    ],
    [
      '%1: f32[2] = call(%0) tag=a { (%0: f32[2]) %1: f32[3] = exp(%0) return %0 } return %1',
      'FV0101: %1: f32[3] = exp(%0): %1 should be f32[2]',
    ],
    [
      '%1: bool[2] = compare(%0, %0) cmp=lt %2: bool[2] = compare(%1, %1) cmp=le return %2',
      'FV0101: %2: bool[2] = compare(%1, %1) cmp=le: compare: truth values have no order, so le does not take bool[2] and bool[2]',
    ],
    [
      '%1: bool[2] = compare(%0, %0) cmp=lt %2: i32[] = dot(%1, %1) batch=[][] contract=[0][0] dtype=i32 return %2',
      'FV0101: %2: i32[] = dot(%1, %1) batch=[][] contract=[0][0] dtype=i32: dot: takes numbers and gives numbers, got bool[2] and bool[2] for a result of i32',
    ],
    [
      '%1: bool[] = dot(%0, %0) batch=[][] contract=[0][0] dtype=bool return %1',
      'FV0101: %1: bool[] = dot(%0, %0) batch=[][] contract=[0][0] dtype=bool: dot: takes numbers and gives numbers, got f32[2] and f32[2] for a result of bool',
    ],
  ])('%s', (body, message) => {
    const text = `graph (%0: f32[2]) { ${body} }`;
    if (message === undefined) expect(codeOf(() => parse(text))).toContain('a value other than %1');
    else expect(codeOf(() => verify(parse(text)))).toBe(message);
  });

  it('finds values out of order, twice defined and from another region', () => {
    const b = builder();
    const x = b.param({ dtype: 'f32', shape: [2] });
    const y = b.exp(x);
    const z = b.neg(y);
    const g = b.build([z]);
    const [first, second] = g.nodes;
    expect(codeOf(() => verify({ ...g, nodes: [second!, first!] }))).toBe(
      'FV0101: %2: f32[2] = neg(%1): %1 is not defined before it is used',
    );
    expect(codeOf(() => verify({ ...g, nodes: [first!, first!, second!] }))).toBe('FV0101: %1: f32[2] = exp(%0): %1 is defined twice');
    expect(codeOf(() => verify({ ...g, nodes: [first!], results: [z] }))).toBe('FV0101: the result %2 is not defined');
    const leak: Graph = { params: [], nodes: [], results: [x] };
    const call = { ...first!, op: { prim: 'call', tag: 'leak', body: leak } as const, inputs: [] };
    expect(codeOf(() => verify({ ...g, nodes: [call, second!] }))).toBe('FV0101: the result %0 is not defined');
  });
});
