/**
 * Which values stand on their own? An anchored value is computed in exactly one group (and lies in memory if another group
 * reads it); every other value is recomputed wherever it is asked for. The rules, in this order:
 *
 *   1. anchored: contractions, attention, reductions, scatters, cumsums, transfers; results of the graph; what contractions and transfers read;
 *      copies; casts to fewer bytes that wait for the backward phase or are cast back
 *   2. not: constants, iota and views: they are index maps
 *   3. not: a value all of whose uses end in one anchored value: it is computed there and nowhere else
 *   4. not: a cheap value: at most 8 plain operations that read hardly more bytes than the value itself has, so that
 *      computing it again costs no more than loading it ((x - mean) * rstd, a cast, a comparison), or a small scalar; twice as many
 *      where what it reads has half its bytes
 *   5. anchored: everything else (two large operands, or an exp, and several users)
 *
 * Rule 3 does not hold across a broadcast, which would repeat an expensive computation, and rules 3 and 4 not beyond
 * the number of buffers that a kernel may have, nor beyond 300 operations.
 */
import { streams, tiled } from '../graph/attention.ts';
import { bytesOf, type Node, type Prim, type Value } from '../graph/types.ts';
import { sizeOf } from '../tile/emit.ts';
import { isReduction } from '../tile/space.ts';
import type { Normal } from './normalise.ts';

export interface Anchors {
  /** By position in the list of nodes. */
  readonly anchored: readonly boolean[];
  /** For each anchored node, the values it reads that are parameters, arrays or anchored. */
  readonly leaves: readonly (readonly Value[])[];
  readonly position: ReadonlyMap<Value, number>;
}

const free: ReadonlySet<Prim> = new Set<Prim>([
  'const',
  'iota',
  'broadcast',
  'reshape',
  'transpose',
  'slice',
  'pad',
  'concat',
  'reverse',
  'gather',
  'stopGradient',
]);
const dear: ReadonlySet<Prim> = new Set<Prim>(['exp', 'log', 'sin', 'cos', 'tanh', 'erf', 'pow', 'div', 'sqrt', 'rsqrt']);

const limits = { operations: 300, cheap: 8, scalar: 24 } as const;
const operations = (n: Node): number => (free.has(n.op.prim) ? 0 : n.op.prim === 'randomBits' ? 130 : dear.has(n.op.prim) ? 10 : 1);

const heavy = (n: Node): boolean =>
  isReduction(n) ||
  n.op.prim === 'dot' ||
  n.op.prim === 'call' ||
  n.op.prim === 'scatterAdd' ||
  n.op.prim === 'cumsum' ||
  n.op.prim === 'start' ||
  n.op.prim === 'wait' ||
  n.op.prim === 'array';

const none = -2;
const several = -1;

/** For each node the one anchored node in which all uses end, `several`, or `none`; and whether a broadcast lies between. */
const sinks = (
  nodes: readonly Node[],
  position: ReadonlyMap<Value, number>,
  forced: (i: number) => boolean,
): { sink: Int32Array; repeated: Uint8Array } => {
  const sink = new Int32Array(nodes.length).fill(none);
  const repeated = new Uint8Array(nodes.length);
  for (let u = nodes.length - 1; u >= 0; u--) {
    const n = nodes[u] as Node;
    if (sink[u] === none && !forced(u)) continue;
    const end = forced(u) || sink[u] === several ? u : (sink[u] as number);
    const stretches = n.op.prim === 'broadcast' || n.op.prim === 'gather';
    for (const v of n.inputs) {
      const i = position.get(v);
      if (i === undefined) continue;
      sink[i] = sink[i] === none || sink[i] === end ? end : several;
      if ((stretches && sizeOf(n.outputs[0] as Value) > sizeOf(v)) || (free.has(n.op.prim) && !forced(u) && repeated[u])) repeated[i] = 1;
    }
  }
  return { sink, repeated };
};

/** What a forward cast made smaller, and the backward phase or a cast back reads: in memory from then on, in place of what it was made from. */
const waiting = (nodes: readonly Node[]): ReadonlySet<Value> => {
  const casts = new Set<Value>();
  const found = new Set<Value>();
  for (const n of nodes) {
    const [x, y] = [n.inputs[0], n.outputs[0]];
    const widens = n.op.prim === 'cast' && x && y && bytesOf[y.type.dtype] > bytesOf[x.type.dtype];
    if (n.meta.phase === 'bwd' || widens) for (const v of n.inputs) if (casts.has(v)) found.add(v);
    if (n.op.prim === 'cast' && n.meta.phase === 'fwd' && x && y && bytesOf[y.type.dtype] < bytesOf[x.type.dtype]) casts.add(y);
  }
  return found;
};

interface Cost {
  readonly operations: number;
  /** Leaves, and the bytes of each that are read. */
  readonly leaves: ReadonlyMap<Value, number>;
}

export const findAnchors = (g: Normal, maxBuffers: number): Anchors => {
  const { nodes } = g;
  const position = new Map<Value, number>();
  nodes.forEach((n, i) => {
    for (const o of n.outputs) position.set(o, i);
  });
  const results = new Set(g.results);
  const waits = waiting(nodes);
  const forced = nodes.map((n) => heavy(n) || n.outputs.some((o) => results.has(o) || g.roots.has(o) || g.copies.has(o) || waits.has(o)));
  // a dead contraction is forced but unused: nothing reads it, and it is dropped here
  const live = new Uint8Array(nodes.length);
  for (let i = nodes.length - 1; i >= 0; i--) {
    const n = nodes[i] as Node;
    if (n.outputs.some((o) => results.has(o))) live[i] = 1;
    if (live[i]) for (const v of n.inputs) if (position.has(v)) live[position.get(v) as number] = 1;
  }
  const { sink, repeated } = sinks(nodes, position, (i) => live[i] === 1 && forced[i] === true);
  const anchored = nodes.map((_, i) => live[i] === 1 && forced[i] === true);
  const costs: (Cost | undefined)[] = [];
  const leaves: (readonly Value[])[] = [];
  const most = Math.max(2, Math.min(maxBuffers - 2, 24));

  const costOf = (n: Node, bytes: number): Cost => {
    const all = new Map<Value, number>();
    let ops = operations(n);
    for (const v of new Set(n.inputs)) {
      const i = position.get(v);
      const inner = i === undefined || anchored[i] ? undefined : costs[i];
      if (inner) {
        ops += inner.operations;
        for (const [leaf, b] of inner.leaves)
          all.set(leaf, Math.min(bytesOf[leaf.type.dtype] * sizeOf(leaf), Math.max(all.get(leaf) ?? 0, b)));
      } else all.set(v, Math.max(all.get(v) ?? 0, Math.min(bytes, bytesOf[v.type.dtype] * sizeOf(v))));
    }
    return { operations: ops, leaves: all };
  };
  nodes.forEach((n, i) => {
    if (!live[i]) return;
    const out = n.outputs[0] as Value;
    const size = sizeOf(out);
    const own = bytesOf[out.type.dtype] * size;
    // reductions and contractions read more than they make
    const read = heavy(n) ? Number.POSITIVE_INFINITY : size * 4;
    let cost = costOf(n, read);
    // too many buffers: give the operands with most leaves a place of their own
    while (cost.leaves.size > most || cost.operations > limits.operations) {
      const inner = n.inputs
        .map((v) => position.get(v))
        .filter(
          (k): k is number =>
            k !== undefined && !anchored[k] && costs[k] !== undefined && (costs[k].leaves.size > 1 || costs[k].operations > limits.cheap),
        );
      const widest = inner.sort(
        (a, b) => (costs[b]?.leaves.size ?? 0) - (costs[a]?.leaves.size ?? 0) || (costs[b]?.operations ?? 0) - (costs[a]?.operations ?? 0),
      )[0];
      if (widest === undefined) break;
      anchored[widest] = true;
      cost = costOf(n, read);
    }
    costs[i] = cost;
    if (anchored[i] || free.has(n.op.prim)) return;
    const traffic = [...cost.leaves.values()].reduce((a, b) => a + b, 0);
    // from a value of half the bytes it may take twice as many: to write it would take as much memory again, and to read it twice as long
    const half =
      traffic <= own * 0.75 &&
      [...cost.leaves.keys()].some((v) => sizeOf(v) === size && 2 * bytesOf[v.type.dtype] === bytesOf[out.type.dtype]);
    const cheap =
      (cost.operations <= limits.cheap * (half ? 2 : 1) && traffic <= own * 1.25) ||
      (size === 1 && cost.operations <= limits.scalar && cost.leaves.size <= 2);
    if (!cheap && (sink[i] === several || (repeated[i] === 1 && size > 1))) anchored[i] = true;
  });
  nodes.forEach((n, i) => {
    leaves[i] = anchored[i] && n.op.prim !== 'array' ? leavesOf(n, g, position, anchored) : [];
  });
  return { anchored: anchored.map((a, i) => a && nodes[i]?.op.prim !== 'array'), leaves, position };
};

/** What an anchored node reads, through everything that is recomputed; in the order in which it is met. */
const leavesOf = (n: Node, g: Normal, position: ReadonlyMap<Value, number>, anchored: readonly boolean[]): readonly Value[] => {
  const found = new Set<Value>();
  const leaf = (v: Value): boolean => {
    const i = position.get(v);
    return i === undefined || anchored[i] === true;
  };
  walkTree(n, g, leaf, found, new Set());
  return [...found];
};

const views: ReadonlySet<Prim> = new Set<Prim>(['reshape', 'transpose', 'slice', 'broadcast', 'reverse', 'stopGradient']);

const readsRows = (n: Node, i: number): boolean =>
  n.op.prim === 'dot' || (n.op.prim === 'call' && streams(n.op) && tiled[n.op.tag].includes(i));

/**
 * Collects the nodes that are recomputed for `n` into `seen`, operands first, and the values where `leaf` says to stop.
 * A contraction, and attention, reads rows through views from the value in memory, whatever lies between.
 */
export const walkTree = (n: Node, g: Normal, leaf: (v: Value) => boolean, leaves: Set<Value>, seen: Set<Node>): void => {
  if (seen.has(n)) return;
  n.inputs.forEach((operand, i) => {
    let v = operand;
    if (readsRows(n, i)) {
      for (let m = g.maker(v); m && views.has(m.op.prim) && !g.copies.has(v); m = g.maker(v)) {
        seen.add(m);
        v = m.inputs[0] as Value;
      }
      leaves.add(v);
      return;
    }
    const maker = g.maker(v);
    if (leaf(v) || !maker) leaves.add(v);
    else walkTree(maker, g, leaf, leaves, seen);
  });
  seen.add(n);
};
