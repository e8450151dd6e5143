/**
 * What a well-formed graph is: ids are unique, every operand is a parameter or an output of an earlier node of the same
 * region, the types are those that infer.ts gives, results are defined, sizes are not negative. Regions obey the same rules
 * and see nothing from outside. Run between passes in tests, and by the pipeline before and after them.
 *
 *   FV0101: %3: f32[2] = add(%1, %2): %2 is not defined before it is used
 */
import { FoveaError } from '../error.ts';
import { eqType, infer, showType } from './infer.ts';
import { printNode } from './print.ts';
import { type DType, type Graph, isFloat, type Node, type TensorType, type Value } from './types.ts';

/** Regions nested deeper than this are refused: passes recurse into them. */
const deepest = 100;

const fail = (n: Node | undefined, why: string): never => {
  throw new FoveaError('FV0101', n ? `${printNode(n)}: ${why}` : why, n ? { loc: n.meta.loc, scope: n.meta.scope } : {});
};

/** Whether x is a number that `dtype` can store without wrapping. */
const holds = (dtype: DType, x: number): boolean => {
  if (isFloat(dtype)) return true;
  const [lo, hi] = dtype === 'i32' ? [-0x80000000, 0x7fffffff] : [0, dtype === 'u32' ? 0xffffffff : 1];
  return Number.isInteger(x) && x >= lo && x <= hi;
};

/** Attributes that no type rule looks at. */
const attributes = (n: Node): void => {
  const { op } = n;
  const count = (x: number): boolean => Number.isSafeInteger(x) && x >= 0;
  if (op.prim === 'scan') {
    if (!count(op.carries) || !count(op.constants) || op.carries + op.constants > n.inputs.length)
      fail(n, 'more carries and constants than operands');
    if (op.carries > op.body.results.length) fail(n, 'the region returns fewer values than there are carries');
  }
  if ((op.prim === 'const' || op.prim === 'array' || op.prim === 'axisIndex') && n.inputs.length > 0) fail(n, 'takes no operands');
  if (op.prim === 'const' || op.prim === 'array')
    for (const x of op.prim === 'const' ? [op.value] : op.data)
      if (typeof x === 'number' && !holds(op.dtype, x)) fail(n, `${x} is no ${op.dtype}`);
  const padded = n.inputs[0]?.type.dtype;
  if (op.prim === 'pad' && padded && !holds(padded, op.value)) fail(n, `${op.value} is no ${padded}`);
};

const inferred = (n: Node): readonly TensorType[] => {
  try {
    return infer(
      n.op,
      n.inputs.map((v) => v.type),
    );
  } catch (e) {
    if (e instanceof FoveaError) fail(n, e.message);
    throw e;
  }
};

const check = (g: Graph, depth: number): void => {
  if (depth > deepest) fail(undefined, `regions are nested deeper than ${deepest}`);
  const ids = new Set<number>();
  const defined = new Set<Value>();
  const define = (v: Value, n?: Node): void => {
    if (ids.has(v.id)) fail(n, `%${v.id} is defined twice`);
    if (v.type.shape.some((d) => typeof d === 'number' && !(Number.isSafeInteger(d) && d >= 0)))
      fail(n, `%${v.id}: ${showType(v.type)} has a size that is no count`);
    ids.add(v.id);
    defined.add(v);
  };
  for (const p of g.params) define(p);
  for (const n of g.nodes) {
    for (const v of n.inputs) if (!defined.has(v)) fail(n, `%${v.id} is not defined before it is used`);
    attributes(n);
    if ('body' in n.op) check(n.op.body, depth + 1);
    const types = inferred(n);
    if (types.length !== n.outputs.length) fail(n, `has ${n.outputs.length} outputs, should have ${types.length}`);
    n.outputs.forEach((o, i) => {
      const t = types[i];
      if (t && !eqType(o.type, t)) fail(n, `%${o.id} should be ${showType(t)}`);
      define(o, n);
    });
  }
  for (const r of g.results) if (!defined.has(r)) fail(undefined, `the result %${r.id} is not defined`);
};

/** Throws FV0101 naming the first node that is wrong. */
export const verify = (g: Graph): void => check(g, 0);
