/**
 * Which forward values does the backward phase read from memory, and which does it compute again? A value whose bytes cost more than its
 * arithmetic (views and pointwise operations of values that are kept anyway) dies in the forward phase and is computed again where it is
 * read. What has to be kept for it, beyond what is kept already, must be small: the mean and the deviation of a row.
 *
 *   h = dot(x, w) + b    kept                                h
 *   p = (1 + erf(h)) / 2    read by the gradient of GELU     computed again from h
 *   y = h p                 read by the gradient of w2       computed again from h
 *
 * In forward order, so that what is kept early serves what is read later. Of a chain of values of one size that all others come from, the
 * earliest is kept: x instead of x - mean. No cse after it: that would merge a clone with its original.
 */
import { pointwise } from '../graph/interpret-pointwise.ts';
import { countOf } from '../graph/tensor64.ts';
import { bytesOf, type Graph, type Node, type Value } from '../graph/types.ts';
import { cloned } from './remat.ts';

const views: ReadonlySet<string> = new Set(['const', 'iota', 'broadcast', 'reshape', 'transpose', 'slice', 'pad', 'concat', 'reverse']);
const cheap = ({ op }: Node): boolean => pointwise.has(op.prim) || views.has(op.prim) || op.prim === 'stopGradient';

/** Of computing a value again: operations, bytes read for each byte made, and the part of its bytes that may be kept for it. */
const limits = { nodes: 40, traffic: 4, kept: 1 / 8 } as const;

const bytes = ({ type }: Value): number => countOf(type) * bytesOf[type.dtype];

/** What a value is computed from. */
interface Cone {
  readonly nodes: readonly Node[];
  /** Values that are not computed again. */
  readonly leaves: readonly Value[];
}

/** The clones to make, by the value that each stands for. Values of fewer than `least` bytes are kept as they are. */
const chosen = (g: Graph, least: number): ReadonlyMap<Value, Node> => {
  const maker = new Map<Value, Node>();
  for (const n of g.nodes) if (n.meta.phase === 'fwd') for (const o of n.outputs) maker.set(o, n);
  // what the results or the optimizer read lives on anyway
  const kept = new Set([...g.params, ...g.results, ...g.nodes.flatMap((n) => (n.meta.phase === 'opt' ? n.inputs : []))]);
  const read = new Set(g.nodes.flatMap((n) => (n.meta.phase === 'bwd' ? n.inputs.filter((v) => maker.has(v)) : [])));
  const isCheap = (v: Value): boolean => {
    const n = maker.get(v);
    return n !== undefined && cheap(n);
  };
  /** Through cheap nodes to what is kept or dear; undefined where the way is long. */
  const coneOf = (v: Value): Cone | undefined => {
    const nodes = new Set<Node>();
    const leaves = new Set<Value>();
    const visit = (u: Value): void => {
      const n = maker.get(u);
      if (u !== v && (kept.has(u) || !n || !cheap(n))) leaves.add(u);
      else if (n && !nodes.has(n) && nodes.size <= limits.nodes) {
        nodes.add(n);
        n.inputs.forEach(visit);
      }
    };
    visit(v);
    return nodes.size > limits.nodes ? undefined : { nodes: [...nodes], leaves: [...leaves] };
  };
  const sum = (vs: readonly Value[]): number => vs.reduce((n, v) => n + bytes(v), 0);
  const missing = (c: Cone): readonly Value[] => c.leaves.filter((v) => !kept.has(v));
  const worth = (v: Value, c: Cone | undefined): c is Cone =>
    c !== undefined && sum(missing(c)) <= limits.kept * bytes(v) && sum(c.leaves) <= limits.traffic * bytes(v);

  /** How many of the values that are read come from each value, by ways of at most so many nodes. */
  const serves = new Map<Value, number>();
  for (const v of read) {
    const met = new Set([v]);
    for (const u of met) {
      if (isCheap(u) && met.size <= limits.nodes) for (const w of (maker.get(u) as Node).inputs) met.add(w);
      serves.set(u, (serves.get(u) ?? 0) + 1);
    }
  }

  /** Values that lie in memory in the forward phase anyway: a reduction reads them, and something else does so after it. */
  const reduced = new Set<Value>();
  const readers = new Map<Value, number>();
  for (const n of g.nodes) {
    if (n.meta.phase !== 'fwd') continue;
    for (const v of n.inputs) readers.set(v, (readers.get(v) ?? 0) + 1);
    if (n.op.prim === 'reduceSum' || n.op.prim === 'reduceMax' || n.op.prim === 'reduceMin') reduced.add(n.inputs[0] as Value);
  }
  const inMemory = (v: Value): boolean => reduced.has(v) && (readers.get(v) ?? 0) > 1;

  /** What `v` comes from beside small values and kept ones, if it is one value of at most as many bytes. */
  const origin = (v: Value): Value | undefined => {
    if (!isCheap(v)) return undefined;
    const large = (maker.get(v) as Node).inputs.filter((u) => {
      if (kept.has(u) || bytes(u) <= limits.kept * bytes(v)) return false;
      return !(isCheap(u) && worth(u, coneOf(u)));
    });
    return large.length === 1 && bytes(large[0] as Value) <= bytes(v) ? large[0] : undefined;
  };
  /** `v`, or the value to keep in its place: one that more values come from, or one that lies in memory anyway. */
  const source = (v: Value): Value => {
    const rank = (u: Value): number => 2 * (serves.get(u) ?? 0) + (inMemory(u) ? 1 : 0);
    let best = v;
    for (let u = origin(v); u; u = origin(u)) if (rank(u) > rank(best)) best = u;
    return best;
  };

  const clones = new Map<Value, Node>();
  const clone = (c: Cone): void => {
    for (const u of missing(c)) kept.add(u);
    for (const n of c.nodes) for (const o of n.outputs) clones.set(o, n);
  };
  for (const n of g.nodes)
    for (const v of n.outputs) {
      if (!read.has(v) || !maker.has(v) || kept.has(v)) continue;
      if (!cheap(n) || bytes(v) < least) {
        kept.add(v);
        continue;
      }
      const c = coneOf(v);
      if (worth(v, c)) clone(c);
      else {
        const from = source(v);
        kept.add(from);
        const again = from === v ? undefined : coneOf(v);
        if (again && worth(v, again)) clone(again);
        else kept.add(v);
      }
    }
  // a value that was kept after a cone was drawn through it is read from memory after all
  for (const v of kept) clones.delete(v);
  return clones;
};

/** The same function; the backward phase computes again what is cheaper to compute than to keep. */
export const recompute =
  (least: number) =>
  (g: Graph): Graph => {
    const clones = chosen(g, least);
    return clones.size === 0 ? g : cloned(g, clones, ({ meta: { scope, phase, loc } }) => ({ scope, phase, loc }));
  };
