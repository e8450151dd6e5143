/** Faults of fusion: normal forms, anchors, groups and their order. */
import type { Row } from '../mutant.ts';

const normalise = 'compiler/fuse/normalise.ts';
const group = 'compiler/fuse/group.ts';
const fuse = 'compiler/fuse/fuse.ts';
const long = 'test/fuse/long.test.ts';

export const fusion: readonly Row[] = [
  {
    name: 'every transpose is the same memory',
    fault: 'wrong axis',
    file: normalise,
    from: 'p > (moved[i - 1] as number)',
    to: 'p >= 0',
  },
  {
    name: 'contracted axes in two orders',
    fault: 'wrong axis',
    file: normalise,
    from: '[pick(op.contract[0]), pick(op.contract[1])]',
    to: '[pick(op.contract[0]), op.contract[1]]',
    test: 'test/fuse/contract.test.ts',
  },
  {
    name: 'a copied operand keeps its axes',
    fault: 'wrong axis',
    file: normalise,
    from: 'shape.length - contract[side].length + j',
    to: 'j',
    test: 'test/fuse/contract.test.ts',
  },
  {
    name: 'scatters of halves add in halves',
    fault: 'missing cast',
    file: normalise,
    from: "op.prim === 'scatterAdd' && half(",
    to: "op.prim === 'scatterAdd' && !half(",
  },
  {
    name: 'long rows padded with ones',
    fault: 'wrong constant',
    file: normalise,
    from: 'const value = identityOf(n.op.prim as Reduction, x.type.dtype);',
    to: 'const value = 1;',
    test: long,
  },
  {
    name: 'long sums of halves rounded in between',
    fault: 'missing cast',
    file: normalise,
    from: "half(t) ? cast(plan(cast(x, 'f32', n.meta)), t, n.meta) : plan(x)",
    to: 'plan(x)',
    test: long,
  },
  {
    name: 'levels stay at one',
    fault: 'off by one',
    file: group,
    from: 'level: level + 1,',
    to: 'level: 1,',
  },
  {
    name: 'reductions over any axes share a kernel',
    fault: 'wrong axis',
    file: group,
    from: "if (d.space?.key !== space.key) return 'read by a reduction over other axes';",
    to: "if (d.space?.reduced !== space.reduced) return 'read by a reduction over other axes';",
  },
  {
    name: 'groups in any order',
    fault: 'wrong order',
    file: fuse,
    from: 'stack.push(...before);',
    to: '',
  },
  {
    name: 'results that a group reads itself are not stored',
    fault: 'dropped term',
    file: fuse,
    from: 'made.filter((v) => read.has(v) || results.has(v))',
    to: 'made.filter((v, i) => read.has(v) || (results.has(v) && i === made.length - 1))',
  },
  {
    name: 'constants are not in memory',
    fault: 'dropped term',
    file: fuse,
    from: "m.op.prim === 'array' && read.has(m.outputs[0] as Value) ?",
    to: "m.op.prim === 'array' && read.has(m.outputs[0] as Value) && m.op.data.length > 2 ?",
  },
  {
    name: 'groups that go with the first of them are merged',
    fault: 'dropped check',
    file: 'compiler/fuse/group.ts',
    from: 'top.slice(0, k).every((other) => mergeable(other, d))',
    to: 'k === 0 || mergeable(first, d)',
    test: 'test/testing/found.test.ts',
  },
];
