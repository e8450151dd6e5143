/** Faults of the text of graphs, kernels and plans, printed and read, and of the names of plans. */
import type { Row } from '../mutant.ts';

const print = 'compiler/graph/print.ts';
const parse = 'compiler/graph/parse.ts';
const kernel = 'compiler/kernel/print.ts';
const read = 'compiler/kernel/parse.ts';
const identity = 'compiler/graph/identity.ts';
const plan = 'compiler/plan/serialise.ts';
const pipeline = 'compiler/compile.ts';
const kept = 'test/compile/kept.test.ts';

export const text: readonly Row[] = [
  {
    name: 'minus zero is printed as 0',
    fault: 'sign',
    file: print,
    from: "(Object.is(x, -0) ? '-0' : String(x))",
    to: 'String(x)',
    test: 'test/graph/text.test.ts',
  },
  {
    name: 'pad prints one end twice',
    fault: 'swapped operand',
    file: print,
    from: "['high', list(op.high)]",
    to: "['high', list(op.low)]",
  },
  {
    name: 'scans are printed forward',
    fault: 'wrong order',
    file: print,
    from: '`${op.reverse}`',
    to: "'false'",
  },
  {
    name: 'regions of remat are not printed',
    fault: 'dropped term',
    file: print,
    from: 'm.remat !== undefined && `remat=${m.remat}`',
    to: 'false',
    test: 'test/testing/laws.test.ts',
  },
  {
    name: 'names with quotes are printed plain',
    fault: 'dropped check',
    file: print,
    from: 'plain.test(name) ? name : JSON.stringify(name)',
    to: 'plain.test(name) ? name : `"${name}"`',
  },
  {
    name: 'batch axes printed as contracted',
    fault: 'swapped operand',
    file: print,
    from: "['batch', op.batch.map(list).join('')]",
    to: "['batch', op.contract.map(list).join('')]",
  },
  {
    name: 'pairs of axes read the other way round',
    fault: 'swapped operand',
    file: parse,
    from: '[ints(c.key(key)), ints(c)];',
    to: '[ints(c.key(key)), ints(c)].reverse() as [number[], number[]];',
  },
  {
    name: 'line and column change places',
    fault: 'swapped operand',
    file: parse,
    from: 'loc = { file, line, col: c.int() };',
    to: 'loc = { file, line: c.int(), col: line };',
  },
  {
    name: 'a split of placements is read as the axis 0',
    fault: 'wrong axis',
    file: parse,
    from: 'const split = c.int();',
    to: 'const split = c.int() * 0;',
  },
  {
    name: 'comparisons of kernels printed the other way round',
    fault: 'swapped operand',
    file: kernel,
    from: '`${x.cmp}(${print(x.x)}, ${print(x.y)})`',
    to: '`${x.cmp}(${print(x.y)}, ${print(x.x)})`',
  },
  {
    name: 'the smallest number of kernels is the largest',
    fault: 'sign',
    file: kernel,
    from: "v === -Infinity ? '-inf'",
    to: "v === -Infinity ? 'inf'",
  },
  {
    name: 'masks of kernels are not printed',
    fault: 'dropped term',
    file: kernel,
    from: "${a.mask ? ` if ${print(a.mask)}` : ''}]`",
    to: ']`',
    test: 'test/kernel/laws.test.ts',
  },
  {
    name: 'shared parts of long kernels get one name',
    fault: 'off by one',
    file: kernel,
    from: 'const name = `%${names.size}`;',
    to: "const name = '%0';",
    test: 'test/kernel/laws.test.ts',
  },
  {
    name: 'numbers of kernels have five digits',
    fault: 'missing cast',
    file: kernel,
    from: ': String(v);',
    to: ': String(Number(v.toPrecision(5)));',
  },
  {
    name: 'select of kernels read the other way round',
    fault: 'swapped operand',
    file: read,
    from: 'c: x, x: y, y: z, dtype: y.dtype',
    to: 'c: x, x: z, y, dtype: y.dtype',
  },
  {
    name: 'the reason of a group is not printed',
    fault: 'dropped term',
    file: 'compiler/tile/text.ts',
    from: 'reason=${JSON.stringify(reason)}',
    to: 'reason=""',
  },
  {
    name: 'a plan writes minus zero as 0',
    fault: 'sign',
    file: plan,
    from: "(Number.isFinite(x) && !Object.is(x, -0) ? x : Object.is(x, -0) ? '-0' : String(x))",
    to: '(Number.isFinite(x) ? x : String(x))',
    test: 'test/plan/serialise.test.ts',
  },
  {
    name: 'a damaged plan is read',
    fault: 'dropped check',
    file: plan,
    from: ' || checksum(body) !== sum',
    to: '',
    test: 'test/plan/serialise.test.ts',
  },
  {
    name: 'constants 0 and minus zero have one key',
    fault: 'sign',
    file: identity,
    from: "Object.is(x, -0) ? '-0' : String(x)",
    to: 'String(x)',
    test: 'test/graph/identity.test.ts',
  },
  {
    name: 'the identity of a graph has no phases',
    fault: 'dropped term',
    file: identity,
    from: ' || meta.phase !== last.phase',
    to: '',
    test: 'test/graph/identity.test.ts',
  },
  {
    name: 'a plan is named without its donations',
    fault: 'dropped term',
    file: 'compiler/plan/key.ts',
    from: 'JSON.stringify({ sizes, donated, precision, target, ranks })',
    to: 'JSON.stringify({ sizes, precision, target, ranks })',
    test: kept,
  },
  {
    name: "another program's plan is taken",
    fault: 'dropped check',
    file: pipeline,
    from: 'saved.key === key ? saved : undefined',
    to: 'saved',
    test: kept,
  },
  {
    name: 'a kept plan may be of any size',
    fault: 'dropped check',
    file: pipeline,
    from: 'if (kept) fits(kept.plan, maxBytes);',
    to: '',
    test: kept,
  },
];
