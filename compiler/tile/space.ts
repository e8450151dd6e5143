/**
 * The space of a reduction: the operand's axes collapsed to alternating runs that are kept or reduced. Reductions of
 * equal spaces can share a kernel. Positions count elements: o over the kept runs, j over the reduced runs.
 *
 *   sum over axis 2 of [8 257 384]         k2056 r384        rowwise: lanes along what is reduced
 *   sum over axes 0, 1 of [8 257 384]      r2056 k384        columnwise: lanes along what is kept
 */
import { known } from '../graph/dim.ts';
import type { Node, Prim, Value } from '../graph/types.ts';
import { type Affine, type Indices, linear, unlinear } from './affine.ts';

export interface Run {
  readonly kept: boolean;
  readonly size: number;
}
export interface Space {
  readonly runs: readonly Run[];
  /** Elements of the result, and operand elements that each is made of. */
  readonly kept: number;
  readonly reduced: number;
  readonly rowwise: boolean;
  /** Every kept axis stands before every reduced one: element (o, j) lies at o * reduced + j. */
  readonly contiguous: boolean;
  readonly key: string;
}

const product = (ns: readonly number[]): number => ns.reduce((a, b) => a * b, 1);

const spaceOf = (shape: readonly number[], axes: readonly number[]): Space => {
  const runs: Run[] = [];
  shape.forEach((size, i) => {
    const kept = !axes.includes(i);
    const last = runs[runs.length - 1];
    if (size === 1) return;
    if (last?.kept === kept) runs[runs.length - 1] = { kept, size: last.size * size };
    else runs.push({ kept, size });
  });
  if (!runs.some((r) => !r.kept)) runs.push({ kept: false, size: 1 });
  const kept = product(runs.filter((r) => r.kept).map((r) => r.size));
  const reduced = product(runs.filter((r) => !r.kept).map((r) => r.size));
  const rowwise = runs[runs.length - 1]?.kept === false;
  const contiguous = runs.every((r, i) => r.kept || i === runs.length - 1);
  return { runs, kept, reduced, rowwise, contiguous, key: runs.map((r) => `${r.kept ? 'k' : 'r'}${r.size}`).join(' ') };
};

/** Row-major position of operand element (o, j). */
export const position = (s: Indices, space: Space, o: Affine, j: Affine): Affine => {
  const part = (kept: boolean, p: Affine): Affine[] => [
    ...unlinear(
      s,
      p,
      space.runs.filter((r) => r.kept === kept).map((r) => r.size),
    ),
  ];
  const [os, js] = [part(true, o), part(false, j)];
  const ix = space.runs.map((r) => (r.kept ? os : js).shift() as Affine);
  return linear(
    ix,
    space.runs.map((r) => r.size),
  );
};

const reductions: ReadonlySet<Prim> = new Set<Prim>(['reduceSum', 'reduceMax', 'reduceMin', 'argmax']);
export const isReduction = (n: Node): boolean => reductions.has(n.op.prim);

export const reductionSpace = (n: Node): Space => {
  const axes = 'axes' in n.op ? n.op.axes : 'axis' in n.op && typeof n.op.axis === 'number' ? [n.op.axis] : [];
  return spaceOf((n.inputs[0] as Value).type.shape.map(known), axes);
};
