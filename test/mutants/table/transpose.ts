/** Faults of reverse mode: the rules of transposition, and what grad.ts puts round them. */
import type { Row } from '../mutant.ts';

const structure = 'compiler/transform/transpose-structure.ts';
const regions = 'compiler/transform/transpose-regions.ts';

export const transpose: readonly Row[] = [
  {
    name: 'the gradient begins at -1',
    fault: 'sign',
    file: 'compiler/transform/grad.ts',
    from: 's.fill(1, result.type)',
    to: 's.fill(-1, result.type)',
  },
  {
    name: 'mul by the linear operand',
    fault: 'swapped operand',
    file: structure,
    from: '[b.mul(ct, y as Value), null]',
    to: '[b.mul(ct, ct), null]',
  },
  {
    name: 'select pulls back to the wrong side',
    fault: 'swapped operand',
    file: structure,
    from: 'linear[2] ? b.select(cond, none, ct) : null',
    to: 'linear[2] ? b.select(cond, ct, none) : null',
  },
  {
    name: 'slice padded at the wrong end',
    fault: 'swapped operand',
    file: structure,
    from: `      op.start,
      x.type.shape.map((d, i) => subDim(d, op.limit[i] as Dim)),`,
    to: `      x.type.shape.map((d, i) => subDim(d, op.limit[i] as Dim)),
      op.start,`,
  },
  {
    name: 'the last use of a value wins',
    fault: 'dropped term',
    file: 'compiler/transform/transpose.ts',
    from: 'before ? b.add(before, ct) : ct',
    to: 'ct',
  },
  {
    name: 'concat pulls back its first part always',
    fault: 'dropped term',
    file: structure,
    from: 'from = addDim(from, v.type.shape[op.axis] as Dim);',
    to: '',
  },
  {
    name: 'constants of scan get the last step only',
    fault: 'dropped term',
    file: regions,
    from: 'return c ? inner.add(sum, c) : sum;',
    to: 'return c ?? sum;',
  },
  {
    name: 'scan ignores cotangents of carries',
    fault: 'dropped term',
    file: regions,
    from: 'materialise(b, ct[i] ?? null, x[i] as Value)',
    to: 'materialise(b, null, x[i] as Value)',
  },
  {
    name: 'scan is not turned round',
    fault: 'wrong order',
    file: regions,
    from: 'reverse: !op.reverse',
    to: 'reverse: op.reverse',
  },
  {
    name: 'cumsum from the wrong end',
    fault: 'wrong order',
    file: structure,
    from: 'return flip(b.one(op, [flip(ct)]));',
    to: 'return b.one(op, [ct]);',
  },
  {
    name: 'transpose by its own permutation',
    fault: 'wrong axis',
    file: structure,
    from: 'op.perm.map((_, i) => op.perm.indexOf(i))',
    to: 'op.perm',
  },
  {
    name: 'broadcast keeps stretched axes',
    fault: 'wrong axis',
    file: structure,
    from: 'op.axes.filter((_, i) => same(i))',
    to: 'op.axes',
  },
  {
    name: 'dot by the wrong permutation',
    fault: 'wrong axis',
    file: structure,
    from: 'permuted(b, y, inverse(ctFirst))',
    to: 'permuted(b, y, ctFirst)',
  },
  {
    name: 'dot finds free axes one side off',
    fault: 'wrong axis',
    file: structure,
    from: 'side === 0 ? n + mine.length : n;',
    to: 'side === 0 ? n : n + mine.length;',
  },
  {
    name: 'dot of two dtypes',
    fault: 'missing cast',
    file: structure,
    from: '[b.cast(ct, wide), b.cast(other, wide)]',
    to: '[ct, other]',
  },
  {
    name: 'cast pulls back without one',
    fault: 'missing cast',
    file: structure,
    from: 'b.cast(ct, x.type.dtype)',
    to: '(x ? ct : b)',
  },
  {
    name: 'gather scatters into ones',
    fault: 'wrong constant',
    file: structure,
    from: 'b.scatterAdd(b.fill(0, (x as Value).type)',
    to: 'b.scatterAdd(b.fill(1, (x as Value).type)',
  },
];
