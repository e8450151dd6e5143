/**
 * Anchored nodes to groups, in one pass in graph order. A node joins the group of the operand that is computed last, if
 * the template takes it there; otherwise a group of the same kind that reads the same large value; otherwise it opens a
 * group. A map group that a reduction joins becomes a reduce group.
 *
 * No cycle can arise: a group's level is one more than the highest level among the groups it reads from, and a node joins
 * only where all other groups it reads from have lower levels. Groups of equal level cannot reach each other, so two of
 * them may be merged when a node needs both.
 *
 *   dot, add(bias), gelu | reduceSum, sub, reduceSum, .. mul, add      gemm with epilogue | LayerNorm in one reduce group
 */
import { type Dim, known } from '../graph/dim.ts';
import { bytesOf, type Node, type Op, type Prim, type Value } from '../graph/types.ts';
import type { Target } from '../target.ts';
import { sizeOf } from '../tile/emit.ts';
import type { Template } from '../tile/group.ts';
import { isReduction, reductionSpace, type Space } from '../tile/space.ts';
import { type Extent, readsInPlace } from './aligned.ts';
import type { Anchors } from './anchor.ts';
import type { Normal } from './normalise.ts';

type Limits = Pick<Target, 'maxBuffers' | 'maxThreads' | 'cacheBytes' | 'vectorBytes' | 'nontemporalBytes'>;

export interface Draft {
  readonly id: number;
  template: Template;
  /** Elements of one full-size value. */
  size: number;
  space: Space | undefined;
  readonly level: number;
  readonly key: string;
  /** Positions of the anchored nodes, ascending. */
  members: number[];
  /** Members that are transposes (of attention, casts too) of another member: a contraction stores them from the same registers. */
  readonly moved: Set<number>;
  /** Why a node that reads this group's values did not join it. */
  refused: string | undefined;
}

const most = 48;

const templateOf = (n: Node): Template => {
  if (isReduction(n)) return 'reduce';
  switch (n.op.prim) {
    case 'dot':
      return 'gemm';
    case 'call':
      return n.op.tag === 'fovea.attention' ? 'stream' : 'stream-grad';
    case 'scatterAdd':
      return 'scatter';
    case 'cumsum':
      return 'cumsum';
    case 'start':
    case 'wait':
      return 'transfer';
    default:
      return 'map';
  }
};

/**
 * Whether a reduction takes all columns of the one contraction of a group as they are made (tile/stream-reduce.ts). A panel of rows has to stay in the
 * cache of a core, and the rows that pass it again and again in an eighth of the last one; fewer rows than a vector holds would leave its lanes
 * idle. Not a sum: one lane would add a whole row.
 */
const takesColumns = (n: Node, reduction: Node, space: Space, { cacheBytes, vectorBytes, nontemporalBytes = 1 << 25 }: Limits): boolean => {
  if (n.op.prim !== 'dot' || reduction.op.prim === 'reduceSum' || !space.rowwise || !space.contiguous || space.reduced <= 1) return false;
  const [x, y] = n.inputs as readonly [Value, Value];
  const { contract, batch } = n.op;
  const sizes = (v: Value, axes: readonly number[]): number => axes.reduce((p, a) => p * known(v.type.shape[a] as Dim), 1);
  const width = Math.max(1, sizes(x, contract[0]));
  const rows = (v: Value, side: 0 | 1): number => sizeOf(v) / (width * Math.max(1, sizes(v, batch[side])));
  const bytes = width * bytesOf[y.type.dtype];
  return (
    x.type.dtype !== 'i32' &&
    x.type.dtype !== 'u32' &&
    rows(y, 1) === space.reduced &&
    rows(x, 0) >= vectorBytes / 4 &&
    bytes <= cacheBytes.l2 / 256 &&
    rows(y, 1) * bytes <= nontemporalBytes / 8
  );
};

/** Groups by anchored node; drafts that were merged into others are left empty. */
export const groupNodes = (g: Normal, a: Anchors, target: Limits): readonly Draft[] => {
  const { maxBuffers, maxThreads } = target;
  const { nodes } = g;
  const drafts: Draft[] = [];
  const groupOf = new Map<number, Draft>();
  const readers = new Map<number, number[]>();
  const results = new Set(g.results);
  const at = (v: Value): number | undefined => {
    const i = a.position.get(v);
    return i !== undefined && a.anchored[i] ? i : undefined;
  };
  nodes.forEach((_, i) => {
    if (a.anchored[i])
      for (const v of a.leaves[i] as readonly Value[]) {
        const k = at(v);
        if (k === undefined) continue;
        const list = readers.get(k);
        if (list) list.push(i);
        else readers.set(k, [i]);
      }
  });
  const leaf = (v: Value): boolean => {
    const i = a.position.get(v);
    return i === undefined || a.anchored[i] === true || nodes[i]?.op.prim === 'array';
  };
  const outside = (members: ReadonlySet<number>, i: number): boolean =>
    (readers.get(i) ?? []).some((r) => !members.has(r)) || (nodes[i] as Node).outputs.some((o) => results.has(o));
  const buffers = (members: readonly number[]): number => {
    const own = new Set(members);
    const inputs = new Set<Value>();
    for (const m of members)
      for (const v of a.leaves[m] as readonly Value[]) {
        const k = at(v);
        if (k === undefined || !own.has(k)) inputs.add(v);
      }
    return inputs.size + members.reduce((k, m) => k + (outside(own, m) ? (nodes[m] as Node).outputs.length : 0), 0);
  };

  const stores: ReadonlySet<Prim> = new Set<Prim>(['transpose', 'reshape', 'stopGradient']);
  const isHalf = (op: Op): boolean => op.prim === 'cast' && (op.dtype === 'bf16' || op.dtype === 'f16');
  /** Whether an anchored view is nothing but a transpose of a member: then it is a matter of where to store, and with `casts`, of how. */
  const transposes = (i: number, own: ReadonlySet<number>, casts = false): boolean => {
    for (let n = nodes[i]; n && (stores.has(n.op.prim) || (casts && isHalf(n.op))); ) {
      const v = n.inputs[0] as Value;
      const k = at(v);
      if (k !== undefined) return own.has(k);
      n = g.maker(v);
    }
    return false;
  };

  /** undefined: may join; otherwise the reason why not. */
  const obstacle = (i: number, d: Draft, members: readonly number[]): string | undefined => {
    const n = nodes[i] as Node;
    const own = new Set(members);
    const inGroup = (v: Value): boolean => {
      const k = at(v);
      return k !== undefined && own.has(k);
    };
    const out = sizeOf(n.outputs[0] as Value);
    if (d.template === 'scatter' || d.template === 'cumsum' || d.template === 'transfer') return `ends with ${d.template}`;
    if (d.template === 'stream-reduce') return 'ends with the reduction of a contraction';
    if (d.template === 'stream' || d.template === 'stream-grad')
      return transposes(i, own, true) ? undefined : 'read by values that attention does not make';
    if (templateOf(n) !== 'map' && templateOf(n) !== 'reduce') return `read by a ${n.op.prim}`;
    if (members.length >= most) return `${most} values in one kernel`;
    const aligned = (extent: Extent): boolean =>
      readsInPlace(n, extent, g, leaf, inGroup, isReduction(n), (v) => d.moved.has(at(v) as number));
    if (isReduction(n)) {
      const space = reductionSpace(n);
      if (d.template === 'gemm') {
        if (
          maxThreads > 1 ||
          d.moved.size > 0 ||
          members.length > 1 ||
          !takesColumns(nodes[members[0] as number] as Node, n, space, target) ||
          outside(new Set([...members, i]), members[0] as number)
        )
          return 'read by a reduction';
        if (!aligned({ space })) return 'read by a reduction at other places';
      } else if (d.template === 'map') {
        if (sizeOf(n.inputs[0] as Value) !== d.size || space.reduced <= 1) return 'read by a reduction of another size';
        const internal = members.every((m) => !outside(new Set([...members, i]), m));
        if (!internal && !(space.rowwise && space.contiguous && (space.kept >= 16 || d.size <= 65536)))
          return 'read by a reduction over other axes';
        // without results of full size, one row can be many elements
        if (!aligned({ space })) return 'read by a reduction at other places';
      } else {
        if (d.space?.key !== space.key) return 'read by a reduction over other axes';
        if (!aligned({ space })) return 'read by a reduction at other places';
      }
    } else if (d.space) {
      const full = out === d.size && d.space.rowwise && d.space.contiguous;
      if (!full && out !== d.space.kept) return 'read by values of another shape';
      if (!aligned({ space: d.space })) return 'read at other places';
    } else {
      if (out !== d.size) return 'read by values of another shape';
      if (!aligned({ size: d.size }) && !(d.template === 'gemm' && transposes(i, own))) return 'read at other places';
    }
    const count = buffers([...members, i]);
    return count > maxBuffers ? `${count} buffers > ${maxBuffers}` : undefined;
  };

  const mergeable = (d: Draft, other: Draft): boolean => {
    if (d.key !== other.key || d.level !== other.level || d.members.length + other.members.length > most) return false;
    const ok = (t: Template): boolean => t === 'map' || t === 'reduce';
    if (!ok(d.template) || !ok(other.template)) return false;
    if (d.space && other.space) return d.space.key === other.space.key;
    const [map, reduce] = d.space ? [other, d] : [d, other];
    if (!reduce.space) return d.size === other.size;
    return map.size === reduce.space.kept || (map.size === reduce.size && reduce.space.rowwise && reduce.space.contiguous);
  };
  const union = (d: Draft, other: Draft): number[] => [...d.members, ...other.members].sort((x, y) => x - y);
  const absorb = (d: Draft, other: Draft): void => {
    d.members = union(d, other);
    for (const m of other.members) groupOf.set(m, d);
    other.members = [];
    if (!d.space && other.space) [d.space, d.template, d.size] = [other.space, other.template, other.size];
  };
  const join = (i: number, d: Draft): void => {
    const n = nodes[i] as Node;
    const streams = d.template.startsWith('stream');
    if ((d.template === 'gemm' || streams) && transposes(i, new Set(d.members), streams)) d.moved.add(i);
    d.members.push(i);
    groupOf.set(i, d);
    if (isReduction(n) && (d.template === 'map' || d.template === 'gemm'))
      [d.template, d.space] = [d.template === 'gemm' ? 'stream-reduce' : 'reduce', reductionSpace(n)];
  };

  /** Groups by kind, level and a value they read. */
  const siblings = new Map<string, Draft>();
  const kindOf = (n: Node, level: number, key: string): string | undefined => {
    const t = templateOf(n);
    if (t === 'map') return `map ${sizeOf(n.outputs[0] as Value)} ${level} ${key}`;
    return t === 'reduce' ? `reduce ${reductionSpace(n).key} ${level} ${key}` : undefined;
  };

  nodes.forEach((n, i) => {
    if (!a.anchored[i]) return;
    const key = `${n.meta.phase} ${n.meta.remat ?? ''}`;
    const mine = a.leaves[i] as readonly Value[];
    const from = [
      ...new Set(
        mine
          .map(at)
          .filter((k): k is number => k !== undefined)
          .map((k) => groupOf.get(k) as Draft),
      ),
    ];
    const level = Math.max(0, ...from.map((d) => d.level));
    const top = from.filter((d) => d.level === level);
    const first = top[0];
    if (first) {
      // all groups of the highest level must become one
      const same = top.every((d, k) => top.slice(0, k).every((other) => mergeable(other, d)));
      const members = [...new Set(top.flatMap((d) => d.members))];
      const merged: Draft = top.find((d) => d.space) ?? first;
      const t = templateOf(n);
      const why =
        t === 'gemm' || t === 'stream' || t === 'stream-grad'
          ? `read by ${t === 'gemm' ? 'a contraction' : 'attention'}`
          : first.key !== key
            ? 'read in another phase'
            : !same
              ? 'read together with a value of another group'
              : obstacle(i, merged, members);
      if (!why) {
        for (const d of top) if (d !== merged) absorb(merged, d);
        return join(i, merged);
      }
      for (const d of top) d.refused ??= why;
    }
    const kind = kindOf(n, level + 1, key);
    const size = templateOf(n) === 'reduce' ? sizeOf(n.inputs[0] as Value) : sizeOf(n.outputs[0] as Value);
    const shared = kind === undefined ? [] : mine.filter((v) => sizeOf(v) * 2 >= size).map((v) => `${kind} %${v.id}`);
    for (const s of shared) {
      const d = siblings.get(s);
      const live = d && d.members.length > 0 ? d : undefined;
      const fits = live && live.members.length < most && buffers([...live.members, i]) <= maxBuffers;
      const agrees = live && (live.space ? (isReduction(n) ? live.space.key === reductionSpace(n).key : false) : !isReduction(n));
      if (live && fits && agrees) return join(i, live);
    }
    const made: Draft = {
      id: drafts.length,
      template: templateOf(n),
      size,
      space: isReduction(n) ? reductionSpace(n) : undefined,
      level: level + 1,
      key,
      members: [i],
      moved: new Set(),
      refused: undefined,
    };
    drafts.push(made);
    groupOf.set(i, made);
    for (const s of shared) siblings.set(s, made);
  });
  return drafts.filter((d) => d.members.length > 0);
};
