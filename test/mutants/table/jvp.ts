/** Faults of forward mode: the rules of jvp-pointwise, jvp-structure and jvp-regions. */
import type { Row } from '../mutant.ts';

const pointwise = 'compiler/transform/jvp-pointwise.ts';
const structure = 'compiler/transform/jvp-structure.ts';
const regions = 'compiler/transform/jvp-regions.ts';

export const jvp: readonly Row[] = [
  {
    name: 'cos without its sign',
    fault: 'sign',
    file: pointwise,
    from: 'b.mul(t, b.neg(b.sin(x)))',
    to: 'b.mul(t, b.sin(x))',
  },
  {
    name: 'sub adds the second tangent',
    fault: 'sign',
    file: pointwise,
    from: '({ b, t }) => b.neg(t),',
    to: '({ t }) => t,',
  },
  {
    name: 'rsqrt grows',
    fault: 'sign',
    file: pointwise,
    from: '-0.5)',
    to: '0.5)',
  },
  {
    name: 'rem counts the other way',
    fault: 'sign',
    file: pointwise,
    from: 'b.div(b.sub(z, x), y)',
    to: 'b.div(b.sub(x, z), y)',
  },
  {
    name: 'div by the wrong operand',
    fault: 'swapped operand',
    file: pointwise,
    from: 'b.neg(b.div(z, y))',
    to: 'b.neg(b.div(y, z))',
  },
  {
    name: 'mul by its own operand',
    fault: 'swapped operand',
    file: pointwise,
    from: '({ b, t, x }) => b.mul(t, x),',
    to: '({ b, t, y }) => b.mul(t, y),',
  },
  {
    name: 'max takes the loser',
    fault: 'swapped operand',
    file: pointwise,
    from: "max: binary(share('gt', 'x'), share('gt', 'y'))",
    to: "max: binary(share('gt', 'y'), share('gt', 'x'))",
  },
  {
    name: 'select of the other tangent',
    fault: 'swapped operand',
    file: pointwise,
    from: 'b.select(cond, s ?? b.fill(0, p.type), t ?? b.fill(0, q.type))',
    to: 'b.select(cond, t ?? b.fill(0, q.type), s ?? b.fill(0, p.type))',
  },
  {
    name: 'tanh as a straight line',
    fault: 'dropped term',
    file: pointwise,
    from: 'b.mul(t, b.sub(b.fill(1, y.type), b.mul(y, y)))',
    to: 'b.mul(t, b.fill(1, y.type))',
  },
  {
    name: 'pow without the logarithm',
    fault: 'dropped term',
    file: pointwise,
    from: 'b.mul(z, b.log(b.select(none, b.fill(1, x.type), x)))',
    to: 'z',
  },
  {
    name: 'pow with its own exponent',
    fault: 'off by one',
    file: pointwise,
    from: 'b.select(none, one, b.sub(y, one))',
    to: 'b.select(none, one, y)',
  },
  {
    name: 'sqrt twice as steep',
    fault: 'wrong constant',
    file: pointwise,
    from: 'b.div(t, scale(b, y, 2))',
    to: 'b.div(t, y)',
  },
  {
    name: 'erf scaled by 2 / pi',
    fault: 'wrong constant',
    file: pointwise,
    from: '2 / Math.sqrt(Math.PI)',
    to: '2 / Math.PI',
  },
  {
    name: 'dot with the first tangent only',
    fault: 'dropped term',
    file: structure,
    from: 'addTangents(b, left, right)',
    to: 'left',
  },
  {
    name: 'scatterAdd without the updates',
    fault: 'dropped term',
    file: structure,
    from: 't ? b.scatterAdd(materialise(b, s ?? null, into), at, t, op.axis) : (s ?? null)',
    to: 's ?? null',
  },
  {
    name: 'reduceMax adds tied tangents',
    fault: 'dropped term',
    file: structure,
    from: 'b.div(b.sum(b.mul(tangent, mask), op.axes), b.sum(mask, op.axes))',
    to: 'b.sum(b.mul(tangent, mask), op.axes)',
  },
  {
    name: 'pad with its value in the tangent',
    fault: 'wrong constant',
    file: structure,
    from: 'b.pad(t[0] as Value, op.low, op.high)',
    to: 'b.pad(t[0] as Value, op.low, op.high, op.value)',
  },
  {
    name: 'scan forgets carries that begin to move',
    fault: 'dropped term',
    file: regions,
    from: 'const next = moves.map((m, i) => m || (i < op.carries && (tangents[i] ?? null) !== null));',
    to: 'const next = moves;',
  },
  {
    name: 'tangents of scan run forward only',
    fault: 'wrong order',
    file: regions,
    from: 'const moved = b.emit({ ...op, carries: tc.length,',
    to: 'const moved = b.emit({ ...op, reverse: false, carries: tc.length,',
  },
];
