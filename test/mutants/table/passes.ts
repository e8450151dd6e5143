/** Faults of the passes: simplify, cse, dce, inline, empty, and remat. */
import type { Row } from '../mutant.ts';

const simplify = 'compiler/passes/simplify.ts';
const cse = 'compiler/passes/cse.ts';
const inline = 'compiler/passes/inline.ts';
const empty = 'compiler/passes/empty.ts';
const remat = 'compiler/transform/remat.ts';

export const passes: readonly Row[] = [
  {
    name: '0 - x is x',
    fault: 'sign',
    file: simplify,
    from: 'sub: ({ constant }, _, [x, y]) => zero(x as Value, constant(y as Value)),',
    to: 'sub: ({ constant }, _, [x, y]) => zero(x as Value, constant(y as Value)) ?? zero(y as Value, constant(x as Value)),',
  },
  {
    name: 'minus x is x',
    fault: 'sign',
    file: simplify,
    from: 'if (c === -1) return b.neg(v as Value);',
    to: 'if (c === -1) return v;',
  },
  {
    name: '1 / x is x',
    fault: 'swapped operand',
    file: simplify,
    from: '(constant(y as Value) === 1 ? x : undefined)',
    to: '(constant(x as Value) === 1 ? y : undefined)',
  },
  {
    name: 'transposes composed the other way',
    fault: 'swapped operand',
    file: simplify,
    from: 'op.perm.map((p) => inner.op.perm[p] as number)',
    to: 'inner.op.perm.map((p) => op.perm[p] as number)',
  },
  {
    name: 'a known condition takes the other side',
    fault: 'swapped operand',
    file: simplify,
    from: 'x === y || (v !== undefined && v !== 0) ? x : v === 0 ? y : undefined',
    to: 'x === y || v === 0 ? x : v !== undefined ? y : undefined',
  },
  {
    name: 'a slice of a slice begins at its own start',
    fault: 'dropped term',
    file: simplify,
    from: 'op.start.map(from), op.limit.map(from)',
    to: 'op.start, op.limit',
  },
  {
    name: 'x to the 2 is x + x',
    fault: 'wrong constant',
    file: simplify,
    from: 'c === 2 ? b.mul(v, v)',
    to: 'c === 2 ? b.add(v, v)',
  },
  {
    name: 'a broadcast of a broadcast keeps the inner axes',
    fault: 'wrong axis',
    file: simplify,
    from: 'inner.op.axes.map((a) => op.axes[a] as number)',
    to: 'inner.op.axes',
  },
  {
    name: 'casts between floats go',
    fault: 'missing cast',
    file: simplify,
    from: 'if (v.type.dtype === op.dtype) return v;',
    to: "if (v.type.dtype === op.dtype || `${v.type.dtype} ${op.dtype}` === 'f32 f16') return v;",
  },
  {
    name: 'pad of a constant number',
    fault: 'dropped check',
    file: simplify,
    from: 'op.low.every(isZero) && op.high.every(isZero) ? x : undefined',
    to: 'op.low.every(isZero) ? x : undefined',
  },
  {
    name: 'x - y and y - x are one',
    fault: 'swapped operand',
    file: cse,
    from: "ins.map((v) => v.id).join(' ')",
    to: "ins.map((v) => v.id).sort().join(' ')",
  },
  {
    name: 'attributes do not matter',
    fault: 'dropped term',
    file: cse,
    from: '|${opKey(op)}`',
    to: '|${opKey(op).slice(0, 16)} ${ins.length === 0 ? opKey(op) : 0}`',
  },
  {
    name: 'scans unrolled forward only',
    fault: 'wrong order',
    file: inline,
    from: 'op.reverse ? length - 1 - step : step',
    to: 'step',
  },
  {
    name: 'results of scans stacked in order of steps',
    fault: 'wrong order',
    file: inline,
    from: '(ys[k] as Value[])[i] =',
    to: '(ys[k] as Value[])[step] =',
  },
  {
    name: 'carries never change',
    fault: 'stale value',
    file: inline,
    from: 'carries = outs.slice(0, op.carries);',
    to: '',
  },
  {
    name: 'a padded nothing is 0',
    fault: 'wrong constant',
    file: empty,
    from: 'b.fill(op.value, t)',
    to: 'b.fill(0, t)',
  },
  {
    name: 'nothing added is nothing',
    fault: 'wrong constant',
    file: empty,
    from: 'return ins[0] as Value;',
    to: 'return b.fill(0, t);',
  },
  {
    name: 'the largest of nothing is 0',
    fault: 'wrong constant',
    file: empty,
    from: 'b.fill(identityOf(op.prim, t.dtype), t)',
    to: 'b.fill(0, t)',
    test: 'test/testing/laws.test.ts',
  },
  {
    name: 'what a region recomputes is read before',
    fault: 'wrong order',
    file: remat,
    from: 'if (missing) stack.push(maker.get(missing) as Node);',
    to: 'if (missing && stack.length > 1) stack.push(maker.get(missing) as Node);',
  },
  {
    name: 'a scale stays out where it is needed',
    fault: 'dropped check',
    file: 'compiler/passes/scales.ts',
    from: 'const base = (n: Node, v: Value): Value => outOf(n, v)?.x ?? v;',
    to: 'const base = (_: Node, v: Value): Value => chosen.get(v)?.x ?? v;',
    test: 'test/passes/scales.test.ts',
  },
  {
    name: 'the scale of a result along the axis of the operand',
    fault: 'wrong axis',
    file: 'compiler/passes/scales.ts',
    from: 'before + free.indexOf(a)',
    to: 'free.indexOf(a)',
    test: 'test/passes/scales.test.ts',
  },
  {
    name: 'the gradient of a scale without its bias',
    fault: 'dropped term',
    file: 'compiler/passes/scales.ts',
    from: 'if (!add) return out;',
    to: 'if (!add || bias) return out;',
    test: 'test/passes/scales.test.ts',
  },
];
