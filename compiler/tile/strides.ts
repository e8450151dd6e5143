/**
 * Is a value a plain strided view of something in memory? Views are followed with symbolic indices, one variable an axis;
 * where the position in memory is affine in them and the free and contracted axes each collapse to one stride, a
 * contraction can read its operand in place.
 *
 *   transpose([2 0 1]) of slice of qkv[8 257 3 6 64]   ->  base 384, batch strides 296064 and 64, outer 1152, inner 1
 */
import { known } from '../graph/dim.ts';
import type { Node, Value } from '../graph/types.ts';
import * as e from '../kernel/expr.ts';
import { type Affine, indices, linear, number, scale, shift, unlinear } from './affine.ts';
import { shapeOf } from './emit.ts';

export interface Strides {
  /** The value in memory. */
  readonly root: Value;
  readonly base: number;
  readonly batch: readonly number[];
  readonly outer: number;
  readonly inner: number;
}

/** Where a pure view reads its operand; undefined when the node is none. */
export const through = (node: Node, ix: readonly Affine[], s: ReturnType<typeof indices>): readonly Affine[] | undefined => {
  const from = shapeOf(node.inputs[0] ?? (node.outputs[0] as Value));
  const op = node.op;
  switch (op.prim) {
    case 'stopGradient':
      return ix;
    case 'reshape':
      return unlinear(s, linear(ix, shapeOf(node.outputs[0] as Value)), from);
    case 'transpose': {
      const back: Affine[] = [];
      op.perm.forEach((p, i) => {
        back[p] = ix[i] as Affine;
      });
      return back;
    }
    case 'slice':
      return ix.map((x, i) => shift(x, known(op.start[i] as number)));
    case 'broadcast':
      return op.axes.map((to, i) => (from[i] === 1 ? number(0) : (ix[to] as Affine)));
    case 'reverse':
      return ix.map((x, i) => (op.axes.includes(i) ? shift(scale(x, -1), (from[i] as number) - 1) : x));
    default:
      return undefined;
  }
};

/** Strides of operand v of a contraction, or undefined where there are none: then v must be copied first. */
export const operandStrides = (
  v: Value,
  batch: readonly number[],
  contract: readonly number[],
  maker: (v: Value) => Node | undefined,
): Strides | undefined => {
  const shape = shapeOf(v);
  const s = indices(1);
  const axes = shape.map((n, i) => s.atom(e.ref(`x${i}`, 'index'), 0, n - 1));
  let at = v;
  let ix: readonly Affine[] = axes;
  for (let n = maker(at); n; n = maker(at)) {
    const next = through(n, ix, s);
    if (!next) break;
    ix = next;
    at = n.inputs[0] as Value;
  }
  const p = linear(ix, shapeOf(at));
  const variables = axes.flatMap((a) => a.terms.map((t) => t.atom));
  if (!p.terms.every((t) => variables.includes(t.atom))) return undefined;
  const stride = (axis: number): number => p.terms.find((t) => t.atom === axes[axis]?.terms[0]?.atom)?.k ?? 0;
  /** One stride for several axes in row-major order; axes of size 1 do not count. */
  const collapse = (list: readonly number[]): number | undefined => {
    const real = list.filter((a) => shape[a] !== 1);
    const ok = real.every(
      (a, i) => i + 1 === real.length || stride(a) === stride(real[i + 1] as number) * (shape[real[i + 1] as number] as number),
    );
    return ok ? (real.length === 0 ? 0 : stride(real[real.length - 1] as number)) : undefined;
  };
  const outer = collapse(shape.map((_, i) => i).filter((i) => !batch.includes(i) && !contract.includes(i)));
  const inner = collapse(contract);
  // a mirrored axis would need a negative stride
  if (outer === undefined || inner === undefined || p.terms.some((t) => t.k < 0)) return undefined;
  return { root: at, base: p.c, batch: batch.map(stride), outer, inner };
};
