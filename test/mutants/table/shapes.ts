/** Faults of the type rules (infer.ts) and of verify.ts, which holds graphs against them. */
import type { Row } from '../mutant.ts';

const infer = 'compiler/graph/infer.ts';
const verify = 'compiler/graph/verify.ts';

export const shapes: readonly Row[] = [
  {
    name: 'concat has the size of its first part',
    fault: 'dropped term',
    file: infer,
    from: 'ins.map((t) => t.shape[i] as Dim).reduce(addDim)',
    to: '(a.shape[i] as Dim)',
  },
  {
    name: 'slice begins at 0',
    fault: 'dropped term',
    file: infer,
    from: 'shape: op.limit.map((l, i) => subDim(l, op.start[i] as Dim))',
    to: 'shape: op.limit',
  },
  {
    name: 'pad in front only',
    fault: 'dropped term',
    file: infer,
    from: 'addDim(addDim(d, op.low[i] as Dim), op.high[i] as Dim)',
    to: 'addDim(d, op.low[i] as Dim)',
  },
  {
    name: 'transpose by the inverse permutation',
    fault: 'wrong axis',
    file: infer,
    from: 'op.perm.map((p) => x.shape[p] as Dim)',
    to: 'op.perm.map((_, i) => x.shape[op.perm.indexOf(i)] as Dim)',
  },
  {
    name: 'dot has the axes of its second operand first',
    fault: 'swapped operand',
    file: infer,
    from: '...without(a.shape, pairs(0)), ...without(b.shape, pairs(1))',
    to: '...without(b.shape, pairs(1)), ...without(a.shape, pairs(0))',
  },
  {
    name: 'gather keeps the gathered axis',
    fault: 'off by one',
    file: infer,
    from: '[...x.shape.slice(0, op.axis), ...i.shape, ...x.shape.slice(op.axis + 1)] }];',
    to: '[...x.shape.slice(0, op.axis), ...i.shape, ...x.shape.slice(op.axis)] }];',
  },
  {
    name: 'an axis one too far',
    fault: 'off by one',
    file: infer,
    from: 'axis < 0 || axis >= t.shape.length',
    to: 'axis < 0 || axis > t.shape.length',
  },
  {
    name: 'argmax has the dtype of its operand',
    fault: 'missing cast',
    file: infer,
    from: "dtype: 'i32', shape: without(x.shape, [op.axis])",
    to: 'dtype: x.dtype, shape: without(x.shape, [op.axis])',
  },
  {
    name: 'binary operations take any two shapes',
    fault: 'dropped check',
    file: infer,
    from: 'if (!eqShape(a.shape, b.shape)) shapes(`${op.prim}: shapes differ',
    to: 'if (a.shape.length !== b.shape.length) shapes(`${op.prim}: shapes differ',
  },
  {
    name: 'carries may change their type',
    fault: 'dropped check',
    file: infer,
    from: `      if (!eqType(t, ins[i] as TensorType))
        shapes(\`scan: carry`,
    to: `      if (!t)
        shapes(\`scan: carry`,
  },
  {
    name: 'regions take operands of any type',
    fault: 'dropped check',
    file: infer,
    from: 'if (!eqType(p.type, ins[i] as TensorType))',
    to: 'if (!p)',
  },
  {
    name: 'broadcast to axes in any order',
    fault: 'dropped check',
    file: infer,
    from: 'a > (op.axes[i - 1] ?? -1) && ',
    to: '',
  },
  {
    name: 'verify takes operands from below',
    fault: 'dropped check',
    file: verify,
    from: 'for (const v of n.inputs) if (!defined.has(v)) fail',
    to: 'for (const v of n.inputs) if (!v) fail',
  },
  {
    name: 'verify takes the stated types',
    fault: 'dropped check',
    file: verify,
    from: 'if (t && !eqType(o.type, t))',
    to: 'if (!t)',
  },
  {
    name: 'verify does not look into regions',
    fault: 'dropped check',
    file: verify,
    from: "if ('body' in n.op) check(n.op.body, depth + 1);",
    to: '',
  },
  {
    name: 'verify takes results of nobody',
    fault: 'dropped check',
    file: verify,
    from: 'if (!defined.has(r)) fail',
    to: 'if (!r) fail',
  },
];
