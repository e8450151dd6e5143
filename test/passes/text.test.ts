/** Passes on printed graphs: text in, text out. */
import { describe, expect, it } from 'vitest';
import { interpret, tensor64 } from '../../compiler/graph/interpret.ts';
import { parse } from '../../compiler/graph/parse.ts';
import { print } from '../../compiler/graph/print.ts';
import type { Graph } from '../../compiler/graph/types.ts';
import { verify } from '../../compiler/graph/verify.ts';
import { cse } from '../../compiler/passes/cse.ts';
import { dce } from '../../compiler/passes/dce.ts';
import { empty } from '../../compiler/passes/empty.ts';
import { inline } from '../../compiler/passes/inline.ts';
import { simplify } from '../../compiler/passes/simplify.ts';

/** The nodes after a pass, one a line; a body without parameters gets `%0: f32[2 3]`. */
const afterPass = (pass: (g: Graph) => Graph, text: string, meta = false): string => {
  const g = parse(text.startsWith('graph') ? text : `graph (%0: f32[2 3]) { ${text} }`);
  verify(g);
  const to = pass(g);
  verify(to);
  return print(to, { meta })
    .split('\n')
    .slice(1, -2)
    .map((l) => l.slice(2))
    .join('\n');
};
const tidy = (g: Graph): Graph => dce(simplify(g));

describe('simplify', () => {
  it.each([
    [
      'x + 0',
      '%1: f32[] = const() value=0 dtype=f32 %2: f32[2 3] = broadcast(%1) shape=[2 3] axes=[] %3: f32[2 3] = add(%0, %2) return %3',
    ],
    [
      '0 + x',
      '%1: f32[] = const() value=0 dtype=f32 %2: f32[2 3] = broadcast(%1) shape=[2 3] axes=[] %3: f32[2 3] = add(%2, %0) return %3',
    ],
    [
      'x - 0',
      '%1: f32[] = const() value=0 dtype=f32 %2: f32[2 3] = broadcast(%1) shape=[2 3] axes=[] %3: f32[2 3] = sub(%0, %2) return %3',
    ],
    [
      'x * 1',
      '%1: f32[] = const() value=1 dtype=f32 %2: f32[2 3] = broadcast(%1) shape=[2 3] axes=[] %3: f32[2 3] = mul(%0, %2) return %3',
    ],
    [
      'x / 1',
      '%1: f32[] = const() value=1 dtype=f32 %2: f32[2 3] = broadcast(%1) shape=[2 3] axes=[] %3: f32[2 3] = div(%0, %2) return %3',
    ],
    [
      'x ** 1',
      '%1: f32[] = const() value=1 dtype=f32 %2: f32[2 3] = broadcast(%1) shape=[2 3] axes=[] %3: f32[2 3] = pow(%0, %2) return %3',
    ],
    ['-(-x)', '%1: f32[2 3] = neg(%0) %2: f32[2 3] = neg(%1) return %2'],
    ['reshape there and back', '%1: f32[6] = reshape(%0) shape=[6] %2: f32[2 3] = reshape(%1) shape=[2 3] return %2'],
    ['transpose there and back', '%1: f32[3 2] = transpose(%0) perm=[1 0] %2: f32[2 3] = transpose(%1) perm=[1 0] return %2'],
    ['whole slice', '%1: f32[2 3] = slice(%0) start=[0 0] limit=[2 3] return %1'],
    ['empty pad', '%1: f32[2 3] = pad(%0) low=[0 0] high=[0 0] value=7 return %1'],
    ['broadcast to itself', '%1: f32[2 3] = broadcast(%0) shape=[2 3] axes=[0 1] return %1'],
    ['cast to itself', '%1: f32[2 3] = cast(%0) dtype=f32 return %1'],
    ['concat of one', '%1: f32[2 3] = concat(%0) axis=1 return %1'],
    ['reduction over nothing', '%1: f32[2 3] = reduceMax(%0) axes=[] return %1'],
    ['reversal of nothing', '%1: f32[2 3] = reverse(%0) axes=[] return %1'],
    [
      'select true',
      '%1: bool[] = const() value=1 dtype=bool %2: bool[2 3] = broadcast(%1) shape=[2 3] axes=[] %3: f32[2 3] = exp(%0) %4: f32[2 3] = select(%2, %0, %3) return %4',
    ],
    ['select between equals', 'graph (%0: f32[2], %1: bool[2]) { %2: f32[2] = select(%1, %0, %0) return %2 }'],
  ])('%s is x', (_, text) => {
    expect(afterPass(tidy, text)).toBe('return %0');
  });

  it.each([
    [
      'x * 0',
      '%1: f32[] = const() value=0 dtype=f32 %2: f32[2 3] = broadcast(%1) shape=[2 3] axes=[] %3: f32[2 3] = mul(%0, %2) return %3',
    ],
    [
      '0 - x',
      '%1: f32[] = const() value=0 dtype=f32 %2: f32[2 3] = broadcast(%1) shape=[2 3] axes=[] %3: f32[2 3] = sub(%2, %0) return %3',
    ],
    [
      '1 / x',
      '%1: f32[] = const() value=1 dtype=f32 %2: f32[2 3] = broadcast(%1) shape=[2 3] axes=[] %3: f32[2 3] = div(%2, %0) return %3',
    ],
    ['f32 -> bf16 -> f32, which rounds', '%1: bf16[2 3] = cast(%0) dtype=bf16 %2: f32[2 3] = cast(%1) dtype=f32 return %2'],
    ['a constant that f32 cannot hold', '%1: f32[] = const() value=100 dtype=f32 %2: f32[] = exp(%1) return %2'],
    ['a constant that is not finite', '%1: f32[] = const() value=0 dtype=f32 %2: f32[] = log(%1) return %2'],
  ])('%s stays', (_, text) => {
    const kept = afterPass((g) => g, text);
    expect(afterPass(tidy, text)).toBe(kept);
  });

  it('composes views', () => {
    expect(
      afterPass(
        tidy,
        'graph (%0: f32[2 3 4]) { %1: f32[4 2 3] = transpose(%0) perm=[2 0 1] %2: f32[2 4 3] = transpose(%1) perm=[1 0 2] return %2 }',
      ),
    ).toBe('%1: f32[2 4 3] = transpose(%0) perm=[0 2 1]\nreturn %1');
    expect(
      afterPass(
        tidy,
        'graph (%0: f32[3]) { %1: f32[2 3] = broadcast(%0) shape=[2 3] axes=[1] %2: f32[2 4 3] = broadcast(%1) shape=[2 4 3] axes=[0 2] return %2 }',
      ),
    ).toBe('%1: f32[2 4 3] = broadcast(%0) shape=[2 4 3] axes=[2]\nreturn %1');
    expect(
      afterPass(
        tidy,
        'graph (%0: f32[9]) { %1: f32[7] = slice(%0) start=[1] limit=[8] %2: f32[3] = slice(%1) start=[2] limit=[5] return %2 }',
      ),
    ).toBe('%1: f32[3] = slice(%0) start=[3] limit=[6]\nreturn %1');
    expect(afterPass(tidy, '%1: f32[6] = reshape(%0) shape=[6] %2: f32[3 2] = reshape(%1) shape=[3 2] return %2')).toBe(
      '%1: f32[3 2] = reshape(%0) shape=[3 2]\nreturn %1',
    );
  });

  it('folds constants, integers with wrapping', () => {
    const text = `graph () {
      %0: u32[] = const() value=4294967295 dtype=u32
      %1: u32[] = add(%0, %0)
      %2: f32[] = const() value=0.25 dtype=f32
      %3: f32[] = sqrt(%2)
      %4: f32[3] = broadcast(%3) shape=[3] axes=[]
      %5: f32[3] = mul(%4, %4)
      %6: bool[3] = compare(%5, %4) cmp=lt
      return %1, %5, %6
    }`;
    expect(afterPass(tidy, text)).toMatchInlineSnapshot(`
      "%0: u32[] = const() value=4294967294 dtype=u32
      %1: f32[] = const() value=0.25 dtype=f32
      %2: f32[3] = broadcast(%1) shape=[3] axes=[]
      %3: bool[] = const() value=1 dtype=bool
      %4: bool[3] = broadcast(%3) shape=[3] axes=[]
      return %0, %2, %4"
    `);
  });

  it('puts side by side what is added with zeros around it: the gradient of a split', () => {
    const pad = (to: number, x: number, n: number, low: number, high: number): string =>
      `%${to}: f32[${low + n + high} 2] = pad(%${x}) low=[${low} 0] high=[${high} 0] value=0`;
    const params = 'graph (%0: f32[1 2], %1: f32[2 2], %2: f32[3 2])';
    // in any order of neighbours, and with zeros left at the ends
    const split = `${pad(3, 2, 3, 3, 1)} ${pad(4, 1, 2, 1, 4)} %5: f32[7 2] = add(%3, %4) ${pad(6, 0, 1, 0, 6)} %7: f32[7 2] = add(%5, %6)`;
    expect(afterPass(tidy, `${params} { ${split} return %7 }`)).toMatchInlineSnapshot(`
      "%3: f32[6 2] = concat(%0, %1, %2) axis=0
      %4: f32[7 2] = pad(%3) low=[0 0] high=[1 0] value=0
      return %4"
    `);
    const whole = `${pad(3, 0, 1, 0, 2)} ${pad(4, 1, 2, 1, 0)} %5: f32[3 2] = add(%3, %4)`;
    expect(afterPass(tidy, `${params} { ${whole} return %5 }`)).toBe('%3: f32[3 2] = concat(%0, %1) axis=0\nreturn %3');
  });

  it('adds what overlaps, what leaves a gap, what is padded with something else', () => {
    const sum = (low: number, value = 0, axis = 0): string => {
      const [l, h] = axis === 0 ? [`${low} 0`, `${4 - low} 0`] : [`0 ${low}`, `0 ${4 - low}`];
      const shape = axis === 0 ? '6 3' : '2 7';
      return `%1: f32[${shape}] = pad(%0) low=[0 0] high=[${axis === 0 ? '4 0' : '0 4'}] value=0 %2: f32[${shape}] = pad(%0) low=[${l}] high=[${h}] value=${value} %3: f32[${shape}] = add(%1, %2) return %3`;
    };
    for (const text of [sum(1), sum(3), sum(2, 1), sum(2, 0, 1)]) expect(afterPass(tidy, text)).toContain('add(');
    expect(afterPass(tidy, sum(2))).not.toContain('add(');
  });

  it('writes small powers as products: the same value to one rounding', () => {
    for (const [exponent, expected] of [
      [2, (x: number) => x * x],
      [-1, (x: number) => 1 / x],
    ] as const) {
      const text = `graph (%0: f32[4]) { %1: f32[] = const() value=${exponent} dtype=f32 %2: f32[4] = broadcast(%1) shape=[4] axes=[] %3: f32[4] = pow(%0, %2) return %3 }`;
      const x = [-1.7, 0.3, 0, Number.POSITIVE_INFINITY];
      const g = simplify(parse(text));
      expect(g.nodes.some((n) => n.op.prim === 'pow')).toBe(false);
      expect(Array.from(interpret(g, [tensor64({ dtype: 'f32', shape: [4] }, x)])[0]!.data)).toEqual(x.map(expected));
    }
  });

  it('leaves x * 0 NaN where x is', () => {
    const text =
      '%1: f32[] = const() value=0 dtype=f32 %2: f32[2 3] = broadcast(%1) shape=[2 3] axes=[] %3: f32[2 3] = mul(%0, %2) return %3';
    const x = tensor64({ dtype: 'f32', shape: [2, 3] }, [Number.NaN, Number.POSITIVE_INFINITY, 1, 2, 3, 4]);
    expect(Array.from(interpret(simplify(parse(`graph (%0: f32[2 3]) { ${text} }`)), [x])[0]!.data)).toEqual([
      Number.NaN,
      Number.NaN,
      0,
      0,
      0,
      0,
    ]);
  });
});

describe('empty', () => {
  const none = '%1: f32[0 3] = slice(%0) start=[2 0] limit=[2 3]';
  const removed = (text: string): string => afterPass((g) => dce(empty(g)), text);
  it.each([
    ['a concatenation drops it', `${none} %2: f32[2 3] = concat(%1, %0, %1) axis=0 return %2`, 'return %0'],
    [
      'and keeps the others',
      `${none} %2: f32[4 3] = concat(%0, %1, %0) axis=0 return %2`,
      '%1: f32[4 3] = concat(%0, %0) axis=0\nreturn %1',
    ],
    ['a sum over it is 0', `${none} %2: f32[3] = reduceSum(%1) axes=[0] return %2`, 'value=0 dtype=f32'],
    ['a maximum is the smallest number', `${none} %2: f32[3] = reduceMax(%1) axes=[0] return %2`, 'value=-Infinity dtype=f32'],
    ['a minimum the largest', `${none} %2: f32[3] = reduceMin(%1) axes=[0] return %2`, 'value=Infinity dtype=f32'],
    ['the first of no maxima is 0', `${none} %2: i32[3] = argmax(%1) axis=0 return %2`, 'value=0 dtype=i32'],
    ['padding stays', `${none} %2: f32[5 3] = pad(%1) low=[2 0] high=[3 0] value=7 return %2`, 'value=7 dtype=f32'],
    ['a sum of no products is 0', `${none} %2: f32[3 3] = dot(%1, %1) batch=[][] contract=[0][0] dtype=f32 return %2`, 'value=0 dtype=f32'],
    ['every index is out of range', `graph (%0: bool[0 3], %1: i32[2]) { %2: bool[2 3] = gather(%0, %1) axis=0 return %2 }`, 'dtype=bool'],
    [
      'no update is added',
      `graph (%0: f32[2 3], %1: i32[0], %2: f32[0 3]) { %3: f32[2 3] = scatterAdd(%0, %1, %2) axis=0 return %3 }`,
      'return %0',
    ],
    ['a result stays, as a constant', `${none} %2: f32[0 3] = exp(%1) return %2`, '%1: f32[0 3] = array() data=[] shape=[0 3] dtype=f32'],
  ])('%s', (_, text, expected) => {
    expect(removed(text)).toContain(expected);
    expect(removed(text)).not.toMatch(/slice|exp|reduce|argmax|dot|gather|scatter|pad\(/);
  });
});

describe('cse', () => {
  const twice = (a: string, b: string): string =>
    `%1: f32[2 3] = exp(%0)${a} %2: f32[2 3] = exp(%0)${b} %3: f32[2 3] = add(%1, %2) return %3`;
  it('merges equal nodes and nodes equal by merging', () => {
    expect(
      afterPass(
        cse,
        '%1: f32[2 3] = exp(%0) %2: f32[2 3] = exp(%0) %3: f32[2 3] = neg(%1) %4: f32[2 3] = neg(%2) %5: f32[2 3] = add(%3, %4) return %5',
      ),
    ).toBe('%1: f32[2 3] = exp(%0)\n%2: f32[2 3] = neg(%1)\n%3: f32[2 3] = add(%2, %2)\nreturn %3');
  });
  it('looks at attributes: sizes, -0 and 0, NaN', () => {
    const consts = ['0', '-0', 'NaN', 'NaN', 'B', 'B', 'B+1'].map((v, i) => `%${i}: f32[] = const() value=${v} dtype=f32`).join(' ');
    expect(afterPass(cse, `graph () { ${consts} return %0, %1, %2, %3, %4, %5, %6 }`)).toContain('return %0, %1, %2, %2, %3, %3, %4');
  });
  it('merges backward with forward', () => {
    expect(afterPass(cse, twice(' ; phase=fwd', ' ; phase=bwd'))).toContain('add(%1, %1)');
  });
  it('never merges what is recomputed with what it recomputes', () => {
    expect(afterPass(cse, twice(' ; phase=fwd remat=1', ' ; phase=bwd remat=1'))).toContain('add(%1, %2)');
    expect(afterPass(cse, twice(' ; phase=fwd', ' ; phase=bwd remat=1'))).toContain('add(%1, %2)');
    expect(afterPass(cse, twice(' ; phase=bwd remat=2', ' ; phase=bwd remat=1'))).toContain('add(%1, %2)');
    expect(afterPass(cse, twice(' ; phase=bwd remat=1', ' ; phase=bwd remat=1'))).toContain('add(%1, %1)');
  });
});

describe('dce', () => {
  it('drops what no result needs and keeps all parameters', () => {
    const text = 'graph (%0 a: f32[2], %1 b: f32[2]) { %2: f32[2] = exp(%0) %3: f32[2] = neg(%2) %4: f32[2] = sin(%1) return %4, %4 }';
    expect(print(dce(parse(text)), { meta: false })).toBe(
      'graph (%0 a: f32[2], %1 b: f32[2]) {\n  %2: f32[2] = sin(%1)\n  return %2, %2\n}\n',
    );
  });
});

describe('inline', () => {
  it('replaces calls by their bodies; missing places come from the call', () => {
    const text = `graph (%0: f32[2]) {
      %1: f32[2] = call(%0) tag=checkpoint {
        (%0: f32[2])
        %1: f32[2] = sin(%0) ; scope="inner" phase=fwd loc="a.ts":1:2
        %2: f32[2] = neg(%1) ; phase=fwd
        return %2
      } ; scope="outer" phase=bwd loc="b.ts":3:4 remat=5
      return %1
    }`;
    expect(afterPass(inline, text, true)).toMatchInlineSnapshot(`
      "%1: f32[2] = sin(%0) ; scope="inner" phase=bwd loc="a.ts":1:2 remat=5
      %2: f32[2] = neg(%1) ; scope="outer" phase=bwd loc="b.ts":3:4 remat=5
      return %2"
    `);
  });
  it('unrolls scans, backwards too', () => {
    const text = `graph (%0: f32[], %1: f32[2]) {
      %2: f32[], %3: f32[2] = scan(%0, %1) length=2 carries=1 constants=0 reverse=true {
        (%0: f32[], %1: f32[])
        %2: f32[] = add(%0, %1)
        return %2, %0
      }
      return %2, %3
    }`;
    expect(afterPass(inline, text)).toMatchInlineSnapshot(`
      "%2: f32[1] = slice(%1) start=[1] limit=[2]
      %3: f32[] = reshape(%2) shape=[]
      %4: f32[] = add(%0, %3)
      %5: f32[1] = reshape(%0) shape=[1]
      %6: f32[1] = slice(%1) start=[0] limit=[1]
      %7: f32[] = reshape(%6) shape=[]
      %8: f32[] = add(%4, %7)
      %9: f32[1] = reshape(%4) shape=[1]
      %10: f32[2] = concat(%9, %5) axis=0
      return %8, %10"
    `);
  });
});
