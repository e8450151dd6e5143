/**
 * Does a tree of recomputed nodes read a group's own values where the group has them? Positions are followed down the tree
 * with symbolic indices. Inside a group an element of full size exists at position p only, and a finished reduction at
 * kept position o only; a transpose between the two makes the answer no.
 *
 *   softmax: sub(x, broadcast(max)) at (o, j) reads max at o: yes       add(y, transpose(y)) at p: no
 */
import type { Node, Value } from '../graph/types.ts';
import * as e from '../kernel/expr.ts';
import { type Affine, indices, linear, unlinear } from '../tile/affine.ts';
import { shapeOf, sizeOf } from '../tile/emit.ts';
import { position, type Space } from '../tile/space.ts';
import { through } from '../tile/strides.ts';
import type { Normal } from './normalise.ts';

/** Elements of full size, or a reduction's space. */
export type Extent = { readonly size: number } | { readonly space: Space };

const moving = new Set(['pad', 'concat', 'gather', 'randomBits']);

/**
 * `n` belongs to the group: is every value of the group (`own`) that its tree reads, read in place? For a reduction the
 * tree starts at its operand. A value that a contraction stores at `moved` places cannot be read back.
 */
export const readsInPlace = (
  n: Node,
  extent: Extent,
  g: Normal,
  leaf: (v: Value) => boolean,
  own: (v: Value) => boolean,
  reduces: boolean,
  moved: (v: Value) => boolean,
): boolean => {
  const s = indices(1);
  const space = 'space' in extent ? extent.space : undefined;
  const o = space ? s.atom(e.ref('o', 'index'), 0, space.kept - 1) : undefined;
  const j = space ? s.atom(e.ref('j', 'index'), 0, space.reduced - 1) : undefined;
  const p = space && o && j ? position(s, space, o, j) : s.atom(e.ref('p', 'index'), 0, ('size' in extent ? extent.size : 1) - 1);
  const seen = new Set<string>();
  const ids = new Map<Value, number>();
  const id = (v: Value): number => {
    const k = ids.get(v) ?? ids.size;
    ids.set(v, k);
    return k;
  };
  const placeOf = (v: Value): Affine => (space && sizeOf(v) === space.kept ? (o as Affine) : p);
  const read = (v: Value, ix: readonly Affine[] | undefined): boolean => {
    if (own(v)) return ix !== undefined && !moved(v) && linear(ix, shapeOf(v)).key === placeOf(v).key;
    const maker = g.maker(v);
    return leaf(v) || !maker || visit(maker, ix);
  };
  const visit = (m: Node, ix: readonly Affine[] | undefined): boolean => {
    const key = `${id(m.outputs[0] as Value)}@${ix ? ix.map((x) => x.key).join(',') : '?'}`;
    if (seen.has(key)) return true;
    seen.add(key);
    const view = ix && m.inputs.length === 1 ? through(m, ix, s) : undefined;
    const inner = moving.has(m.op.prim) ? undefined : (view ?? ix);
    return m.inputs.every((v) => read(v, inner));
  };
  const start = (v: Value): readonly Affine[] => unlinear(s, placeOf(v), shapeOf(v));
  if (reduces) return read(n.inputs[0] as Value, unlinear(s, p, shapeOf(n.inputs[0] as Value)));
  return visit(n, start(n.outputs[0] as Value));
};
