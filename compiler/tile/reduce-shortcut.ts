/**
 * A shorter way to some sums. The normaliser of a log-softmax is the same for a whole row, but known only when the row has been summed once,
 * so a sum that contains it needs a pass over the row of its own:
 *
 *   sum(t (c - lse))    =    sum(t c) - lse sum(t)        c = x - max(x),  lse = log(sum(exp(c)))
 *
 * All three sums on the right are made in one pass over x and t: cross-entropy takes two passes instead of three. No bound is lost, for c is
 * at most 0 and lse at least 0, so that |c - lse| = |c| + lse; that is why the maximum must be that of the same row, and a log-sum-exp
 * without one is left alone. What may differ is what is not finite (an infinite weight at the maximum, weights whose sum leaves the range):
 * where the short way ends there, the row is summed as it is written.
 */
import { linksOf } from '../graph/links.ts';
import type { Node, Op, OpOf, Prim, Value } from '../graph/types.ts';
import { shapeOf } from './emit.ts';
import type { Group } from './group.ts';

type Of<P extends Prim> = Node & { readonly op: OpOf<P> };

const same = (a: readonly number[], b: readonly number[]): boolean => a.length === b.length && a.every((x, i) => x === b[i]);
const ascending = (axes: readonly number[]): boolean => axes.every((a, i) => i === 0 || (axes[i - 1] as number) < a);
const long = (v: Value): readonly number[] => shapeOf(v).filter((n) => n !== 1);

interface Found {
  readonly c: Value;
  /** One for each row, perhaps with axes of size 1 between. */
  readonly lse: Value;
  readonly t: Value;
}

const finder = (group: Group): ((sum: Of<'reduceSum'>) => Found | undefined) => {
  const { makers, readers } = linksOf(group);
  const maker = <P extends Prim>(v: Value | undefined, prim: P): Of<P> | undefined => {
    const n = v && makers.get(v);
    return n?.op.prim === prim ? (n as Of<P>) : undefined;
  };
  const alone = (v: Value): boolean => readers(v).length === 1 && !group.outputs.includes(v);
  /** v without reshapes that only write or leave out axes of size 1. */
  const bare = (v: Value): Value => {
    const from = maker(v, 'reshape')?.inputs[0];
    return from && same(long(from), long(v)) ? bare(from) : v;
  };
  /** What v is a broadcast of, if that has one number for each row along `axes`. */
  const perRow = (v: Value | undefined, axes: readonly number[]): Value | undefined => {
    const n = maker(v, 'broadcast');
    const u = n?.inputs[0];
    if (!v || !n || !u || !ascending(n.op.axes)) return undefined;
    const whole = shapeOf(v).every((size, a) => {
      const own = n.op.axes.indexOf(a);
      return (own < 0 ? 1 : shapeOf(u)[own]) === (axes.includes(a) ? 1 : size);
    });
    return whole ? bare(u) : undefined;
  };
  const reduced = (v: Value | undefined, prim: 'reduceMax' | 'reduceSum', axes: readonly number[]): Value | undefined => {
    const n = maker(v, prim);
    return n && same(n.op.axes, axes) ? n.inputs[0] : undefined;
  };
  /** Where v is the log-softmax c - lse along `axes`. */
  const logSoftmax = (v: Value, axes: readonly number[]): Omit<Found, 't'> | undefined => {
    const [c, subtracted] = maker(v, 'sub')?.inputs ?? [];
    const lse = perRow(subtracted, axes);
    const total = maker(lse, 'log')?.inputs[0];
    if (!c || !lse || !total || maker(reduced(bare(total), 'reduceSum', axes), 'exp')?.inputs[0] !== c) return undefined;
    const [x, max] = maker(c, 'sub')?.inputs ?? [];
    return x && reduced(perRow(max, axes), 'reduceMax', axes) === x ? { c, lse } : undefined;
  };
  return (sum) => {
    const product = maker(sum.inputs[0], 'mul');
    if (product?.outputs[0]?.type.dtype !== 'f32' || !alone(product.outputs[0])) return undefined;
    const [x, y] = product.inputs as [Value, Value];
    for (const [v, t] of x === y
      ? []
      : ([
          [x, y],
          [y, x],
        ] as const)) {
      const found = alone(v) ? logSoftmax(v, sum.op.axes) : undefined;
      if (found) return { ...found, t };
    }
    return undefined;
  };
};

/** What a sum equals if that is finite, and the nodes that make it. */
export interface Shortcut {
  readonly value: Value;
  readonly nodes: readonly Node[];
}

/** The sums of the group that have a shorter way. */
export const shortcutsOf = (group: Group): ReadonlyMap<Value, Shortcut> => {
  const find = finder(group);
  const out = new Map<Value, Shortcut>();
  // values are told apart as objects; their numbers are for messages only
  let id = Math.max(0, ...group.nodes.flatMap((n) => n.outputs.map((v) => v.id)));
  for (const n of group.nodes) {
    if (n.op.prim !== 'reduceSum') continue;
    const found = find(n as Of<'reduceSum'>);
    if (!found) continue;
    const { op, meta } = n as Of<'reduceSum'>;
    const nodes: Node[] = [];
    const node = (op: Op, inputs: readonly Value[], like: Value): Value => {
      const made: Value = { id: ++id, type: like.type };
      nodes.push({ op, inputs, outputs: [made], meta });
      return made;
    };
    const row = n.outputs[0] as Value;
    const of = node(op, [node({ prim: 'mul' }, [found.c, found.t], found.c)], row);
    const weights = node(op, [found.t], row);
    const lse = node({ prim: 'reshape', shape: shapeOf(row) }, [found.lse], row);
    out.set(row, { value: node({ prim: 'sub' }, [of, node({ prim: 'mul' }, [lse, weights], row)], row), nodes });
  }
  return out;
};
