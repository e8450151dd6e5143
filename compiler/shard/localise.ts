/**
 * From a placed graph to the program of one rank: every value gets the shape of what a rank holds, reshards become collectives and views
 * (move.ts). All ranks run the same program; the last parameter, `rank`, is the number that tells them apart.
 *
 *   on 2 ranks:  %3: f32[8 16] S0 = dot(%0 S0, %2 R)      ->      %3: f32[4 16] = dot(%0, %2)
 */
import { type Builder, builder } from '../graph/builder.ts';
import { eqType, showType } from '../graph/infer.ts';
import { countOf } from '../graph/tensor64.ts';
import type { Graph, Node, Op, OpOf, Placement, Value } from '../graph/types.ts';
import { isStretched, moved, type Rank } from './move.ts';
import { isSplit, localType, type Mesh, pieceOf, samePlacement } from './placement.ts';
import { chosenInside, type Placed } from './propagate.ts';

export const rankName = 'rank';

/** Numbers that tell ranks apart, each made at most once. */
const rankOf = (b: Builder, mesh: Mesh, rank: Value, reduceAs: Rank['reduceAs']): Rank => {
  const once = (f: () => Value): (() => Value) => {
    let made: Value | undefined;
    return () => {
      made ??= b.at({ scope: 'mesh', phase: 'fwd', loc: undefined, remat: undefined }, f);
      return made;
    };
  };
  const size = (): Value => b.constant(mesh.shard, 'i32');
  const one = mesh.shard === mesh.ranks;
  return {
    b,
    mesh,
    rank: () => rank,
    reduceAs,
    place: once(() => (one ? rank : b.rem(rank, size()))),
    group: once(() => (one ? b.constant(0, 'i32') : b.div(rank, size()))),
  };
};

/** The attributes that are sizes, as a rank has them. */
const localOp = (n: Node, out: Placement, mesh: Mesh): Op => {
  const { op } = n;
  const t = n.outputs[0]?.type;
  if (!t || !isSplit(out)) return op;
  const share = (list: OpOf<'pad'>['low']) => list.map((d, i) => (i === out.split ? Number(d) / mesh.ranks : d));
  switch (op.prim) {
    case 'broadcast':
    case 'reshape':
      return { ...op, shape: localType(t, out, mesh).shape };
    case 'slice':
      // both ends are ends of parts, each of which every rank has its share of
      return { ...op, start: share(op.start), limit: share(op.limit) };
    case 'pad':
      return { ...op, low: share(op.low), high: share(op.high) };
    default:
      return op;
  }
};

/** A sum of pieces: padding adds nothing, and of several groups that hold the same pieces one counts. */
const flatSum = (r: Rank, n: Node, x: Value): Value => {
  const { b, mesh } = r;
  const whole = n.inputs[0] as Value;
  const [count, m] = [countOf(whole.type), pieceOf(whole.type, mesh)];
  const zero = b.fill(0, x.type);
  let own = x;
  if (m * mesh.shard !== count) {
    const first = b.mul(r.place(), b.constant(m, 'i32'));
    const index = b.add(b.one({ prim: 'iota', shape: [m], axis: 0, dtype: 'i32' }, []), b.broadcast(first, [m], []));
    own = b.select(b.compare('lt', index, b.fill(count, index.type)), own, zero);
  }
  if (mesh.shard !== mesh.ranks) own = b.select(b.broadcast(b.compare('eq', r.group(), b.constant(0, 'i32')), [m], []), own, zero);
  return b.sum(own, [0]);
};

/** The rows of a piece: each reduced to a number, or each number stretched to a row. */
const rowByRow = ({ b, mesh }: Rank, n: Node, x: Value): Value => {
  const { op } = n;
  const [from, to] = [pieceOf((n.inputs[0] as Value).type, mesh), pieceOf((n.outputs[0] as Value).type, mesh)];
  if (op.prim === 'broadcast') return from === to ? x : b.reshape(b.broadcast(x, [from, to / from], [0]), [to]);
  return b.one({ ...op, axes: [1] } as OpOf<'reduceSum' | 'reduceMax' | 'reduceMin'>, [b.reshape(x, [to, from / to])]);
};

/** A call of a region, of a rank's share where operands are split. */
const localCall = (op: OpOf<'call'>, ins: readonly Placement[], mesh: Mesh): OpOf<'call'> =>
  ins.some(isSplit) ? { ...op, body: localRegion(op.body, ins, mesh) } : op;

/** A region on a rank's share of its operands; nothing is moved in it (propagate.ts). */
const localRegion = (g: Graph, ins: readonly Placement[], mesh: Mesh): Graph => {
  const b = builder();
  const rank = rankOf(b, mesh, undefined as never, () => 'f32');
  const env = new Map<Value, readonly [Value, Placement]>();
  g.params.forEach((p, i) => env.set(p, [b.param(localType(p.type, ins[i] as Placement, mesh), p.name), ins[i] as Placement]));
  for (const n of g.nodes) {
    const from = n.inputs.map((v) => env.get(v)?.[1] as Placement);
    const { ins: want, outs } = chosenInside(n, from, mesh);
    b.at(n.meta, () => {
      const operands = n.inputs.map((v, i) => {
        const own = env.get(v)?.[0] as Value;
        const same = samePlacement(v.type, from[i] as Placement, want[i] as Placement);
        return same || !isStretched(b.maker(own)) ? own : moved(rank, own, v.type, 'R', want[i] as Placement, '');
      });
      const made = b.emit(n.op.prim === 'call' ? localCall(n.op, want, mesh) : localOp(n, outs[0] as Placement, mesh), operands);
      n.outputs.forEach((o, i) => env.set(o, [made[i] as Value, outs[i] as Placement]));
    });
  }
  return b.build(g.results.map((r) => env.get(r)?.[0] as Value));
};

export const localise = ({ graph: g, placement }: Placed, mesh: Mesh, reduceAs: Rank['reduceAs'] = () => 'f32'): Graph => {
  const b = builder();
  const at = (v: Value): Placement => placement.get(v) as Placement;
  const env = new Map<Value, Value>();
  for (const p of g.params) env.set(p, b.param(localType(p.type, at(p), mesh), p.name));
  const r = rankOf(b, mesh, b.param({ dtype: 'i32', shape: [] }, rankName), reduceAs);
  const local = (n: Node, ins: readonly Value[]): readonly Value[] => {
    const { op } = n;
    const [x, first] = [n.inputs[0], n.outputs[0] as Value];
    if (op.prim === 'axisIndex') return [b.constant(0, 'i32')];
    if (op.prim === 'reshard' && x) {
      if (samePlacement(x.type, at(x), at(first))) return ins;
      return [moved(r, ins[0] as Value, x.type, at(x), at(first), op.unit ?? '')];
    }
    if (x && at(x) === 'flat') {
      if (op.prim === 'reshape') return ins;
      if (op.prim === 'reduceSum' && at(first) === 'P') return [flatSum(r, n, ins[0] as Value)];
      if (op.prim === 'broadcast' || op.prim === 'reduceSum' || op.prim === 'reduceMax' || op.prim === 'reduceMin')
        return [rowByRow(r, n, ins[0] as Value)];
    }
    if (op.prim === 'call') return b.emit(localCall(op, n.inputs.map(at), mesh), ins);
    return b.emit(localOp(n, at(first), mesh), ins);
  };
  for (const n of g.nodes) {
    const ins = n.inputs.map((v) => env.get(v) as Value);
    const outs = b.at(n.meta, () => local(n, ins));
    n.outputs.forEach((o, i) => {
      const made = outs[i] as Value;
      const want = localType(o.type, at(o), mesh);
      if (!eqType(made.type, want))
        throw new Error(`internal: ${n.op.prim} %${o.id} is ${showType(made.type)} on a rank, not ${showType(want)}`);
      env.set(o, made);
    });
  }
  return b.build(g.results.map((v) => env.get(v) as Value));
};
