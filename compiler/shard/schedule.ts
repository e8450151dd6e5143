/**
 * When does each transfer start, and when is it waited for?  `split` makes a start and a wait of every collective; `schedule` moves them apart:
 *
 *   a wait            right before the first node that computes with what arrives
 *   a reduction       starts where its last operand is made. It has landed when the one of the next unit starts, whoever reads it when: until
 *                     then whole gradients lie in memory, so those of at most two units do. Its sum over the copies of a mesh starts there
 *   a gather          starts `prefetch` gathers ahead: right before the wait of the gather that many places earlier, within its phase,
 *                     as far as the bytes of parameters that are gathered at one time stay below `gatheredBytes`
 *
 *   prefetch 1:   start 0 | start 1 | wait 0 | block 0 | start 2 | wait 1 | block 1 | ..
 *   gradients:    block 3 | reduce 3 | block 2 | wait 3 | reduce 2 | block 1 | wait 2 | reduce 1 | ..
 *
 * All ranks run one program, so their transfers come in one order.
 */
import { builder } from '../graph/builder.ts';
import { countOf } from '../graph/tensor64.ts';
import { bytesOf, type Graph, type Node, type OpOf, type Value } from '../graph/types.ts';
import { rewrite } from '../passes/rewrite.ts';
import { views } from './views.ts';

export interface ScheduleOptions {
  readonly prefetch: number;
  readonly gatheredBytes: number;
}

export const split = (g: Graph): Graph =>
  rewrite(g, (b, n, ins) => {
    if (n.op.prim !== 'collective') return undefined;
    const pending = b.emit({ ...n.op, prim: 'start' }, ins);
    return b.emit({ prim: 'wait' }, [...pending, ...ins]);
  });

const bytesAt = (vs: readonly Value[]): number => vs.reduce((s, v) => s + countOf(v.type) * bytesOf[v.type.dtype], 0);

const isReduction = (n: Node): n is Node & { readonly op: OpOf<'start'> } => n.op.prim === 'start' && n.op.kind !== 'all-gather';

/** The nodes, each wait and each view of what arrives as late as its readers, and the reduction of the next unit, allow. */
const late = (g: Graph): readonly Node[] => {
  const arriving = new Map<Value, Value>();
  for (const n of g.nodes) if (n.op.prim === 'wait') arriving.set(n.inputs[0] as Value, n.outputs[0] as Value);
  const lazy = new Map<Value, Node>();
  const out: Node[] = [];
  /** What is to come of the reductions under way, and the unit of the last one. */
  let underWay: Value[] = [];
  let unit = '';
  const add = (n: Node): void => {
    out.push(n);
    if (isReduction(n)) underWay.push(arriving.get(n.outputs[0] as Value) as Value);
  };
  const force = (v: Value): void => {
    const n = lazy.get(v);
    if (!n) return;
    for (const o of n.outputs) lazy.delete(o);
    for (const i of n.inputs) force(i);
    add(n);
  };
  const hasArrived = (v: Value): boolean => {
    const n = lazy.get(v);
    return !n || (n.op.prim !== 'wait' && n.inputs.every(hasArrived));
  };
  const land = (): void => {
    const landing = underWay;
    underWay = [];
    for (const v of landing) force(v);
    for (const [v, n] of lazy) if (isReduction(n) && n.inputs.every(hasArrived)) force(v);
  };
  for (const n of g.nodes) {
    const reads = n.inputs.some((v) => lazy.has(v));
    // a sum over copies, of what is being summed within them
    const again = isReduction(n) && n.op.unit !== '' && reads;
    if (n.op.prim === 'wait' || again || (views.has(n.op.prim) && reads)) {
      for (const o of n.outputs) lazy.set(o, n);
      continue;
    }
    if (isReduction(n)) {
      if (n.op.unit !== unit || unit === '') land();
      unit = n.op.unit;
    }
    for (const v of n.inputs) force(v);
    add(n);
  }
  for (const r of g.results) force(r);
  // what nobody reads has no place of its own
  for (const n of new Set(lazy.values())) for (const o of n.outputs) force(o);
  return out;
};

/** For each start of a gather, the wait before which it is to stand instead. */
const ahead = (nodes: readonly Node[], { prefetch, gatheredBytes }: ScheduleOptions): ReadonlyMap<Node, Node> => {
  const starts = new Map<Value, Node>();
  const lastRead = new Map<Value, number>();
  const alias = new Map<Value, Value>();
  /** What can only be made after something has arrived. */
  const after = new Set<Value>();
  const root = (v: Value): Value => {
    const to = alias.get(v);
    return to ? root(to) : v;
  };
  const gathers: { readonly start: Node; readonly wait: Node; readonly at: number; readonly bytes: number }[] = [];
  nodes.forEach((n, i) => {
    for (const v of n.inputs) lastRead.set(root(v), i);
    if (n.op.prim === 'wait' || n.inputs.some((v) => after.has(v))) for (const o of n.outputs) after.add(o);
    if (n.op.prim === 'start' && !n.inputs.some((v) => after.has(v)) && n.op.kind === 'all-gather' && n.op.unit !== '')
      starts.set(n.outputs[0] as Value, n);
    if (views.has(n.op.prim)) alias.set(n.outputs[0] as Value, n.inputs[0] as Value);
    if (n.op.prim !== 'wait') return;
    n.outputs.forEach((o, k) => {
      alias.set(o, n.inputs[k] as Value);
    });
    const start = starts.get(n.inputs[0] as Value);
    if (start) gathers.push({ start, wait: n, at: i, bytes: bytesAt(start.outputs) });
  });
  const dies = (i: number): number => Math.max(...(gathers[i]?.start.outputs ?? []).map((o) => lastRead.get(o) ?? 0));
  const moved = new Map<Node, Node>();
  gathers.forEach((g, i) => {
    for (let d = Math.min(prefetch, i); d > 0; d--) {
      const before = gathers[i - d] as (typeof gathers)[number];
      if (before.start.meta.phase !== g.start.meta.phase) continue;
      const alive = gathers.slice(0, i).reduce((s, other, k) => s + (dies(k) >= before.at ? other.bytes : 0), 0);
      if (alive + g.bytes > gatheredBytes) continue;
      moved.set(g.start, before.wait);
      return;
    }
  });
  return moved;
};

export const schedule =
  (options: ScheduleOptions) =>
  (g: Graph): Graph => {
    const nodes = late(g);
    const moved = ahead(nodes, options);
    const early = new Map<Node, Node[]>();
    for (const [start, wait] of moved) early.set(wait, [...(early.get(wait) ?? []), start]);
    const maker = new Map<Value, Node>();
    for (const n of nodes) for (const o of n.outputs) maker.set(o, n);
    const b = builder();
    const env = new Map<Value, Value>();
    for (const p of g.params) env.set(p, b.param(p.type, p.name));
    const done = new Set<Node>();
    /** n, after what it reads: a cast of a piece of a parameter goes ahead with its gather. */
    const emit = (n: Node): void => {
      if (done.has(n)) return;
      done.add(n);
      for (const v of n.inputs) {
        const m = maker.get(v);
        if (m) emit(m);
      }
      for (const s of early.get(n) ?? []) emit(s);
      const outs = b.again(
        n,
        n.inputs.map((v) => env.get(v) as Value),
      );
      n.outputs.forEach((o, i) => {
        env.set(o, outs[i] as Value);
      });
    };
    for (const n of nodes) if (!moved.has(n)) emit(n);
    for (const n of nodes) emit(n);
    return b.build(g.results.map((r) => env.get(r) as Value));
  };
