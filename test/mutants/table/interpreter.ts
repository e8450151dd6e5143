/** Faults of the interpreter, against which all else is tested: the kernels and the C of the same program disagree with it. */
import type { Row } from '../mutant.ts';

const structure = 'compiler/graph/interpret-structure.ts';

export const interpreter: readonly Row[] = [
  {
    name: 'slice begins at 0',
    fault: 'dropped term',
    file: structure,
    from: `    own.reduce((acc, s, i) => acc + s * known(op.start[i] ?? 0), 0),
    own,`,
    to: `    0,
    own,`,
  },
  {
    name: 'cumsum leaves out its second step',
    fault: 'off by one',
    file: structure,
    from: 'for (let i = 1; i < n; i++)\n      for (let k = 0; k < inner; k++) {\n        const at',
    to: 'for (let i = 2; i < n; i++)\n      for (let k = 0; k < inner; k++) {\n        const at',
  },
  {
    name: 'scatterAdd replaces',
    fault: 'dropped term',
    file: structure,
    from: 'out[to + k] = (out[to + k] as number) + (updates.data[from + k] as number);',
    to: 'out[to + k] = updates.data[from + k] as number;',
  },
  {
    name: 'a row of dot tiles reads its neighbour',
    fault: 'swapped operand',
    file: 'compiler/graph/interpret-dot.ts',
    from: 's10 += x1 * y0;',
    to: 's10 += x0 * y0;',
  },
  {
    name: 'at most is less than',
    fault: 'off by one',
    file: 'compiler/graph/interpret-pointwise.ts',
    from: 'le: (x, y) => x <= y',
    to: 'le: (x, y) => x < y',
    test: 'test/graph/interpret.test.ts',
  },
  {
    name: 'scans run forward',
    fault: 'wrong order',
    file: 'compiler/graph/interpret.ts',
    from: 'op.reverse ? length - 1 - step : step',
    to: 'step',
  },
  {
    name: 'values go one node early',
    fault: 'stale value',
    file: 'compiler/graph/interpret.ts',
    from: 'const seen = new Set<Value>(g.results);',
    to: 'const seen = new Set<Value>();',
  },
];
