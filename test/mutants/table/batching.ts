/** Faults of vmap. */
import type { Row } from '../mutant.ts';

const structure = 'compiler/transform/vmap-structure.ts';
const regions = 'compiler/transform/vmap-regions.ts';

export const batching: readonly Row[] = [
  {
    name: 'gather along the axis before',
    fault: 'off by one',
    file: structure,
    from: 'b.gather(from, index, op.axis + 1)',
    to: 'b.gather(from, index, op.axis)',
  },
  {
    name: 'row 0 of an example is outside',
    fault: 'off by one',
    file: structure,
    from: "b.compare('ge', index, like(0))",
    to: "b.compare('gt', index, like(0))",
  },
  {
    name: 'one row too many is inside',
    fault: 'off by one',
    file: structure,
    from: "b.compare('lt', index, like(rows))",
    to: "b.compare('le', index, like(rows))",
  },
  {
    name: 'examples share rows',
    fault: 'dropped term',
    file: structure,
    from: 'b.add(index, b.mul(own, like(rows)))',
    to: 'b.add(index, own)',
  },
  {
    name: 'outside is row 0',
    fault: 'wrong constant',
    file: structure,
    from: 'like(-1)',
    to: 'like(0)',
  },
  {
    name: 'reductions along the axis before',
    fault: 'wrong axis',
    file: structure,
    from: 'axes: up(op.axes) } as Op',
    to: 'axes: op.axes } as Op',
  },
  {
    name: 'argmax along the axis before',
    fault: 'wrong axis',
    file: structure,
    from: 'argmax: ({ b, op, x }) => all(b.emit({ ...op, axis: op.axis + 1 }, x))',
    to: 'argmax: ({ b, op, x }) => all(b.emit(op, x))',
  },
  {
    name: 'cumsum along the axis before',
    fault: 'wrong axis',
    file: structure,
    from: 'cumsum: ({ b, op, x }) => all(b.emit({ ...op, axis: op.axis + 1 }, x))',
    to: 'cumsum: ({ b, op, x }) => all(b.emit(op, x))',
  },
  {
    name: 'concat along the axis before',
    fault: 'wrong axis',
    file: structure,
    from: 's.op.axis + 1,',
    to: 's.op.axis,',
  },
  {
    name: 'dot leaves the batch where it was',
    fault: 'wrong axis',
    file: structure,
    from: 'left ? 0 : x.type.shape.length - bx.length - contract[0].length',
    to: '0',
  },
  {
    name: 'gather puts indices one axis off',
    fault: 'wrong axis',
    file: structure,
    from: 'moved(s, y, 1 + places + i, 1 + i)',
    to: 'moved(s, y, 1 + places, 1 + i)',
    test: 'test/transform/vmap.test.ts',
  },
  {
    name: 'scatterAdd takes updates one axis off',
    fault: 'wrong axis',
    file: structure,
    from: 'moved(s, u, 1 + op.axis + i, 1 + i)',
    to: 'moved(s, u, 1 + op.axis, 1 + i)',
    test: 'test/transform/vmap.test.ts',
  },
  {
    name: 'scan forgets carries that become batched',
    fault: 'dropped term',
    file: regions,
    from: 'is || (i < op.carries && (out[i] as boolean))',
    to: 'is',
  },
  {
    name: 'stacks of scan keep the batch second',
    fault: 'wrong axis',
    file: regions,
    from: 'i >= op.carries && batched[i] ? swapped(b, v) : v',
    to: 'v',
  },
  {
    name: 'slices of scan are not turned',
    fault: 'wrong axis',
    file: regions,
    from: 'given ? swapped(b, v) : v',
    to: 'v',
  },
];
