/**
 * The normaliser of a log-softmax leaves the sums of its group. It is the same for a whole row, but known only when the row has been summed
 * once, so a sum that contains it needs a pass over the row of its own:
 *
 *   sum(t (c - lse))    ->    sum(t c) - lse sum(t)        c = x - max(x),  lse = log(sum(exp(c)))
 *
 * All three sums on the right are made in one pass over x and t, which is cross-entropy in two passes where it took three. No bound is
 * lost: c is at most 0 and lse at least 0, so every c - lse is the sum of two numbers of one sign, and none is larger than it was. That is why the
 * maximum must be that of the same row, and a log-sum-exp without one is left alone.
 */
import { linksOf } from '../graph/links.ts';
import type { Node, Op, OpOf, Prim, Value } from '../graph/types.ts';
import { shapeOf } from '../tile/emit.ts';
import type { Group } from '../tile/group.ts';

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

/** The same results; nodes that nobody reads any more are gone. */
export const withoutNormalisers = (group: Group): Group => {
  if (group.template !== 'reduce') return group;
  const find = finder(group);
  let changed = false;
  const nodes = group.nodes.flatMap((n): readonly Node[] => {
    const found = n.op.prim === 'reduceSum' ? find(n as Of<'reduceSum'>) : undefined;
    if (!found) return [n];
    changed = true;
    const out = n.outputs[0] as Value;
    const made: Node[] = [];
    // values of a group are told apart as objects; a number only names one in a message
    const node = (op: Op, inputs: readonly Value[], result: Value): Value => {
      made.push({ op, inputs, outputs: [result], meta: n.meta });
      return result;
    };
    const like = (v: Value): Value => ({ id: out.id, type: v.type });
    const of = node(
      { prim: 'reduceSum', axes: (n as Of<'reduceSum'>).op.axes },
      [node({ prim: 'mul' }, [found.c, found.t], like(found.c))],
      like(out),
    );
    const weights = node({ prim: 'reduceSum', axes: (n as Of<'reduceSum'>).op.axes }, [found.t], like(out));
    const lse = node({ prim: 'reshape', shape: shapeOf(out) }, [found.lse], like(out));
    node({ prim: 'sub' }, [of, node({ prim: 'mul' }, [lse, weights], like(out))], out);
    return made;
  });
  return changed ? { ...group, nodes: live(nodes, group.outputs) } : group;
};

const live = (nodes: readonly Node[], results: readonly Value[]): readonly Node[] => {
  const needed = new Set(results);
  return [...nodes]
    .reverse()
    .filter((n) => {
      if (!n.outputs.some((v) => needed.has(v))) return false;
      for (const v of n.inputs) needed.add(v);
      return true;
    })
    .reverse();
};
