/** Faults of kernels for CUDA: how they are printed, what warps do together, and the templates for matrix units. The PTX itself runs on a GPU alone. */
import type { Row } from '../mutant.ts';

const print = 'backends/cuda/print.ts';
const matrix = 'compiler/kernel/matrix.ts';
const tile = 'compiler/tile/matrix-tile.ts';
const gemm = 'compiler/tile/gemm-matrix.ts';
const stream = 'compiler/tile/stream-softmax.ts';
const parts = 'compiler/tile/stream-matrix-parts.ts';
const grad = 'compiler/tile/stream-grad-matrix.ts';
const lines = 'compiler/kernel/wgmma.ts';
const beside = 'compiler/kernel/async.ts';
const together = 'compiler/kernel/meetings.ts';
const groups = 'compiler/tile/gemm-wgmma.ts';
const panels = 'compiler/tile/group-panel.ts';
const runs = 'test/cuda/run.test.ts';
const units = 'test/cuda/matrix.test.ts';
const gemmTest = 'test/tile/gemm-matrix.test.ts';
const groupTest = 'test/tile/gemm-wgmma.test.ts';
const besideTest = 'test/kernel/wgmma.test.ts';
const streamTest = 'test/tile/stream.test.ts';

export const cuda: readonly Row[] = [
  {
    name: 'the next 64 columns of turned lines are half as far away',
    fault: 'wrong constant',
    file: 'backends/cuda/wgmma.ts',
    from: '(apart * 2 & 0x3ffff)',
    to: '(apart & 0x3ffff)',
    test: runs,
  },
  {
    name: 'atoms follow one another at half their distance',
    fault: 'wrong constant',
    file: 'backends/cuda/wgmma.ts',
    from: '(u64)64 << 32',
    to: '(u64)32 << 32',
    test: runs,
  },
  {
    name: 'vectors are read at once wherever they lie',
    fault: 'dropped check',
    file: print,
    from: 'divisor(index, c.divisors) % lanes === 0',
    to: 'divisor(index, c.divisors) > 0',
    test: runs,
  },
  {
    name: 'arrays in shared memory lie over each other',
    fault: 'dropped term',
    file: print,
    from: 'c.sharedBytes += Math.ceil((size',
    to: 'c.sharedBytes += 0 * Math.ceil((size',
    test: runs,
  },
  {
    name: 'blocks of later parts count from the first one',
    fault: 'off by one',
    file: print,
    from: 'if (fv_p > 0) b_all',
    to: 'if (fv_p > 1) b_all',
    test: runs,
  },
  {
    name: 'a thread waits for all copies but one more',
    fault: 'off by one',
    file: print,
    from: "'waitProducts' : 'wait')}<${s.pending}>",
    to: "'waitProducts' : 'wait')}<${s.pending + 1}>",
    test: units,
  },
  {
    name: 'the squares of a left fragment as those of a right one',
    fault: 'swapped operand',
    file: matrix,
    from: 'down ? [j & 1, j >> 1] : [j >> 1, j & 1]',
    to: '[j >> 1, j & 1]',
    test: 'test/kernel/matrix.test.ts',
  },
  {
    name: 'right fragments named as left ones',
    fault: 'swapped operand',
    file: tile,
    from: "(as === 'x') === p.deep",
    to: 'p.deep',
    test: gemmTest,
  },
  {
    name: 'chunks are read where the next line has them',
    fault: 'off by one',
    file: tile,
    from: "k.let('turn', turn(p, line))",
    to: "k.let('turn', turn(p, e.add(line, 1)))",
    test: gemmTest,
  },
  {
    name: 'long copies of lines that start anywhere',
    fault: 'dropped check',
    file: tile,
    from: '[base, between, ...batch].every(',
    to: '[base].every(',
    test: gemmTest,
  },
  {
    name: 'the last copy of a line is whole',
    fault: 'dropped check',
    file: tile,
    from: 'e.min(e.sub(e.index(along.size), a), piece)',
    to: 'e.index(piece)',
    test: gemmTest,
  },
  {
    name: 'a panel is used before it has come',
    fault: 'off by one',
    file: gemm,
    from: 'k.wait(ahead - 1);',
    to: 'k.wait(ahead);',
    test: gemmTest,
  },
  {
    name: 'no barrier before the next panel',
    fault: 'dropped term',
    file: gemm,
    from: 'k.wait(ahead - 1);\n    k.barrier();',
    to: 'k.wait(ahead - 1);',
    test: gemmTest,
  },
  {
    name: 'keys past the last one have weights',
    fault: 'dropped check',
    file: stream,
    from: "masks[j] ? k.let('weight', e.select(masks[j], weight, 0)) : weight",
    to: 'weight',
    test: streamTest,
  },
  {
    name: 'earlier results keep their size',
    fault: 'dropped term',
    file: stream,
    from: 'for (const x of results) k.set(x, e.mul(x, shrink));',
    to: '',
    test: streamTest,
  },
  {
    name: 'a row has the maximum of two of its four threads',
    fault: 'wrong constant',
    file: stream,
    from: 'among(k, 4, highest[w], e.max)',
    to: 'among(k, 2, highest[w], e.max)',
    test: streamTest,
  },
  {
    name: 'both rows of a thread get the numbers of the first',
    fault: 'swapped operand',
    file: parts,
    from: 'e.splat(low, 8), e.splat(high, 8)',
    to: 'e.splat(low, 8), e.splat(low, 8)',
    test: streamTest,
  },
  {
    name: 'slopes without delta',
    fault: 'dropped term',
    file: grad,
    from: 'e.sub(x, numbersOf(delta, j, slot))',
    to: 'x',
    test: streamTest,
  },
  {
    name: 'lines that are fetched do not take turns',
    fault: 'wrong constant',
    file: lines,
    from: '(Math.floor(i / lineLength) % chunk) * chunk',
    to: '0',
    test: besideTest,
  },
  {
    name: 'turned lines as if they were not',
    fault: 'swapped operand',
    file: lines,
    from: 'x.turned ?',
    to: '!x.turned ?',
    test: besideTest,
  },
  {
    name: 'a phase ends without the bytes that were announced',
    fault: 'dropped check',
    file: beside,
    from: 'if (p.missing > 0 || p.bytes > 0) return;',
    to: 'if (p.missing > 0) return;',
    test: besideTest,
  },
  {
    name: 'products need no fence',
    fault: 'dropped check',
    file: beside,
    from: "if (!g.fenced) fail('products",
    to: "if (false) fail('products",
    test: besideTest,
  },
  {
    name: 'products of warps that are not a group',
    fault: 'wrong constant',
    file: together,
    from: "case 'registers':\n      return 1;",
    to: "case 'registers':\n      return 2;",
    test: besideTest,
  },
  {
    name: 'tensors of the first part for all parts',
    fault: 'dropped term',
    file: 'backends/cuda/launches.ts',
    from: 'tensorBytes * (r * tensors.length + i)',
    to: 'tensorBytes * i',
    test: 'test/cuda/wgmma.test.ts',
  },
  {
    name: 'the other tensor',
    fault: 'swapped operand',
    file: print,
    from: ': `${tensors.indexOf(s)}`',
    to: ': `${tensors.length - 1 - tensors.indexOf(s)}`',
    test: runs,
  },
  {
    name: 'panels are fetched to before they are free',
    fault: 'swapped operand',
    file: groups,
    from: 'e.sub(e.index(1), round)',
    to: 'round',
    test: groupTest,
  },
  {
    name: 'panels are given back while products read them',
    fault: 'off by one',
    file: groups,
    from: "k.wait(1, 'products');",
    to: "k.wait(2, 'products');",
    test: groupTest,
  },
  {
    name: 'the second warp group multiplies the rows of the first',
    fault: 'dropped term',
    file: groups,
    from: 'e.mul(role, groupRows)',
    to: 'e.index(0)',
    test: groupTest,
  },
  {
    name: 'sums pass through shared memory without a meeting',
    fault: 'dropped term',
    file: groups,
    from: "k.barrier('warp');\n      k.for('made'",
    to: "k.for('made'",
    test: groupTest,
  },
  {
    name: 'a batch that an operand does not have',
    fault: 'dropped check',
    file: panels,
    from: 'd > 1 && o.batch[i] !== 0 ? [i] : []',
    to: '[i]',
    test: groupTest,
  },
];
