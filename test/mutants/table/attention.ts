/** Faults of attention: how it is found, its definition, the rules of its calls, its kernels. */
import type { Row } from '../mutant.ts';

const definition = 'compiler/graph/attention.ts';
const recognise = 'compiler/transform/recognise.ts';
const softmax = 'compiler/transform/softmax.ts';
const transposes = 'compiler/transform/transpose-regions.ts';
const forward = 'compiler/tile/stream.ts';
const backward = 'compiler/tile/stream-grad.ts';
const parts = 'compiler/tile/stream-parts.ts';
const found = 'test/transform/attention.test.ts';
const made = 'test/tile/stream.test.ts';

export const attention: readonly Row[] = [
  {
    name: 'attention: dlse is left out of the tangent',
    fault: 'dropped term',
    file: definition,
    from: 'b.mul(p, b.sub(ds, rows(b, dlse, s)))',
    to: 'b.mul(p, ds)',
    test: found,
  },
  {
    name: 'attention: keys and queries change places in the gradient',
    fault: 'swapped operand',
    file: definition,
    from: '[along(b, ds, k, 1), along(b, ds, q, 0)] as const',
    to: '[along(b, ds, k, 1), along(b, ds, k, 0)] as const',
    test: found,
  },
  {
    name: 'attention: delta with the other sign',
    fault: 'sign',
    file: transposes,
    from: 'const delta = ct[1] ? b.sub(sums, ct[1]) : sums;',
    to: 'const delta = ct[1] ? b.add(sums, ct[1]) : b.neg(sums);',
    test: found,
  },
  {
    name: 'attention: a divisor multiplies',
    fault: 'wrong constant',
    file: recognise,
    from: "factors.push({ scalar, divides: n.op.prim === 'div' });",
    to: 'factors.push({ scalar, divides: false });',
    test: found,
  },
  {
    name: 'attention: scores that others read too',
    fault: 'dropped check',
    file: softmax,
    from: "s.uses(x) === 1 ? undefined : 'the scores are read by more than the softmax'",
    to: 'undefined',
    test: found,
  },
  {
    name: 'attention: weights summed over any axis',
    fault: 'dropped check',
    file: recognise,
    from: 'if (!is(sums, ...last)) return otherAxis(s, mix, found.x, last);',
    to: '',
    test: found,
  },
  {
    name: 'attention: batch axes of the values as they come',
    fault: 'wrong axis',
    file: recognise,
    from: 'v: [...places.map((i) => others[i] as number), ...theirs, ...width],',
    to: 'v: [...others, ...theirs, ...width],',
    test: found,
  },
  {
    name: 'attention: the last part is as long as the others',
    fault: 'off by one',
    file: parts,
    from: "e.select(e.compare('eq', count, step), e.index(whole), e.index(lastWhole))",
    to: 'e.index(lastWhole)',
    test: made,
  },
  {
    name: 'attention: rows that fill no tile are forgotten',
    fault: 'dropped term',
    file: parts,
    from: 'if (rest > 0) tile(e.index(whole), rest);',
    to: '',
    test: made,
  },
  {
    name: 'attention: a panel repeats one row too far',
    fault: 'off by one',
    file: parts,
    from: 'e.min(e.add(e.add(first, i), c), r.count - 1)',
    to: 'e.min(e.add(e.add(first, i), c), r.count)',
    test: made,
  },
  {
    name: 'attention: sums are not scaled down for a new maximum',
    fault: 'stale value',
    file: forward,
    from: 'k.set(sum[v] as Expr, e.fma(sum[v] as Expr, less[v] as Expr, added[v] as Expr));',
    to: 'k.set(sum[v] as Expr, e.add(sum[v] as Expr, added[v] as Expr));',
    test: made,
  },
  {
    name: 'attention: mixed values are not scaled down for a new maximum',
    fault: 'stale value',
    file: forward,
    from: 'factor: (r) => e.load(each, r),',
    to: '',
    test: made,
  },
  {
    name: 'attention: the saved logarithm without the maximum',
    fault: 'dropped term',
    file: forward,
    from: "e.add(top[v] as Expr, e.unary('log', sum[v] as Expr))",
    to: "e.unary('log', sum[v] as Expr)",
    test: made,
  },
  {
    name: 'attention: the scale is applied once in the gradient',
    fault: 'dropped term',
    file: backward,
    from: 'e.mul(e.mul(w, e.sub(product, delta)), scale)',
    to: 'e.mul(w, e.sub(product, delta))',
    test: made,
  },
  {
    name: 'attention: delta of the wrong operand',
    fault: 'swapped operand',
    file: backward,
    from: '[4, 5].map((operand)',
    to: '[4, 4].map((operand)',
    test: made,
  },
  {
    name: 'attention: gradients of keys are not cleared for the next panel',
    fault: 'stale value',
    file: backward,
    from: 'zero(k, s, ownK, width * keys.width);',
    to: '',
    test: made,
  },
  {
    name: 'attention: keys past the last one count',
    fault: 'off by one',
    file: backward,
    from: 'mix(k, s, { ...queries, first, count: valid, rows: keys, start: startK });',
    to: 'mix(k, s, { ...queries, first, count: e.index(width), rows: keys, start: startK });',
    test: made,
  },
];
