/**
 * What a reduce group computes, in stages, and how its loops are cut. A reduction that needs the result of another (variance
 * after mean, the sum of a softmax after its maximum) belongs to a later stage; each stage is one pass over the elements, which
 * also stores the full-size outputs that need no later result.
 *
 * A pass that needs a value which an earlier pass has computed with an exp, a division or the like reads it back from an array
 * of the block (`rows`), which lies in the cache, instead of computing it again:
 *
 *   softmax:   pass 0: max of x   pass 1: e = exp(x - max), kept; sum of e   pass 2: e / sum
 */
import type { Node, Prim, Value } from '../graph/types.ts';
import { held, sizeOf } from './emit.ts';
import { type Job, lanesFor } from './job.ts';
import { type Monoid, monoidOf } from './monoid.ts';
import { type Shortcut, shortcutsOf } from './reduce-shortcut.ts';
import { isReduction, reductionSpace, type Space } from './space.ts';

export interface ReduceSchedule {
  readonly lanes: number;
  /** Vectors in flight, each with a state of its own; rowwise only. */
  readonly unroll: number;
  /** Rows (rowwise) or columns (columnwise) of one block. */
  readonly block: number;
  readonly threads: number;
  /** Threads that share a column, each with every so many-th of its elements; columnwise only. */
  readonly parts: number;
}

export interface Reduction {
  readonly node: Node;
  readonly value: Value;
  readonly operand: Value;
  readonly monoid: Monoid;
  readonly stage: number;
}
/** A value that pass `stage` computes and later passes read back. */
export interface Row {
  readonly value: Value;
  readonly stage: number;
}
export interface Work {
  readonly job: Job;
  readonly space: Space;
  readonly reductions: readonly Reduction[];
  /** Passes over the elements; the last may only store. */
  readonly passes: number;
  readonly full: readonly { readonly name: string; readonly value: Value; readonly stage: number }[];
  readonly kept: readonly { readonly name: string; readonly value: Value }[];
  readonly rows: readonly Row[];
  /** Passes that are made only where a shorter way to their reductions ends in what is not finite: what it is, by reduction. */
  readonly shortcuts: ReadonlyMap<number, ReadonlyMap<Value, Value>>;
  readonly schedule: ReduceSchedule;
}

const power = (n: number): number => 2 ** Math.floor(Math.log2(Math.max(1, n)));

/** Size of the last run of axes that is kept, or reduced: what lanes run along. */
export const lastRun = (s: Space, kept: boolean): number => s.runs.filter((r) => r.kept === kept).at(-1)?.size ?? 1;

/** Columns of a block whose threads share them: as many as one line of memory has numbers. */
const shared = 32;
/** One thread a column, where that is enough threads for the device, or columns are short; else several. */
const columnSchedule = ({ target, group }: Job, space: Space, lanes: number): ReduceSchedule => {
  const threads = Math.min(64, target.maxThreads);
  const alone = { lanes, unroll: 1, block: lanes * threads, threads, parts: 1 };
  const states = group.nodes.filter(isReduction).length;
  const most = Math.min(
    512 / shared,
    target.maxThreads / shared,
    space.reduced / 8,
    target.sharedBytes / 2 / (8 * shared * Math.max(1, states)),
  );
  const parts = power(most);
  if (parts < 2 || space.kept / lanes >= 256 * target.workers) return alone;
  return { lanes: 1, unroll: 1, block: shared, threads: shared * parts, parts };
};
const reduceSchedule = (job: Job, space: Space): ReduceSchedule => {
  const { target } = job;
  const along = lastRun(space, !space.rowwise);
  const ops = job.group.nodes.filter((n) => n.inputs.length > 1 || isReduction(n)).length;
  if (target.maxThreads > 1) {
    const lanes = Math.min(lanesFor(target, along), 4);
    if (space.rowwise)
      return { lanes, unroll: 1, block: 1, threads: Math.min(256, target.maxThreads, Math.max(32, power(along / lanes))), parts: 1 };
    return columnSchedule(job, space, lanes);
  }
  // the last vector of a row has lanes to spare, so five elements are worth one of eight lanes
  const lanes = along < 5 ? lanesFor(target, along) : lanesFor(target, 2 * along - 1);
  if (!space.rowwise) {
    // rows are read a strip at a time: long enough to stream, short enough that its states stay in the nearest cache
    const widest = Math.max(16 * lanes, Math.min(1024, Math.ceil(space.kept / 16)));
    const strips = Math.ceil(along / widest);
    return { lanes, unroll: 1, block: Math.ceil(along / strips / lanes) * lanes, threads: 1, parts: 1 };
  }
  const elements = Math.min(16384, Math.max(2048, (space.kept * space.reduced) / 16));
  const block = Math.max(1, Math.floor(elements / Math.max(1, space.reduced)));
  return { lanes, unroll: ops > 12 ? 1 : 4, block, threads: 1, parts: 1 };
};

/** Operations that cost more than a store and a load in the second nearest cache, and in the nearest. */
const dear: ReadonlySet<Prim> = new Set<Prim>(['exp', 'log', 'sin', 'cos', 'tanh', 'erf', 'pow']);
const slow: ReadonlySet<Prim> = new Set<Prim>(['div', 'sqrt', 'rsqrt']);

/** Values to keep from pass to pass, as far as the caches go. */
const rowsOf = (job: Job, space: Space, passes: readonly (readonly Value[])[]): readonly Row[] => {
  const { l1, l2 } = job.target.cacheBytes;
  const near = 8 * space.reduced <= l1;
  const first = new Map<Value, number>();
  const kept = new Set<Value>();
  passes.forEach((roots, stage) => {
    const seen = new Set<Value>();
    const visit = (v: Value): void => {
      const node = job.maker(v);
      if (seen.has(v) || !node || isReduction(node)) return;
      seen.add(v);
      const before = first.get(v);
      if (before !== undefined && before < stage) {
        kept.add(v);
        return;
      }
      node.inputs.forEach(visit);
      const full = sizeOf(v) === space.kept * space.reduced && held(v.type.dtype) === 'f32';
      if (full && (dear.has(node.op.prim) || (near && slow.has(node.op.prim)))) first.set(v, stage);
    };
    roots.forEach(visit);
  });
  const most = Math.floor(l2 / (8 * space.reduced));
  return [...kept].slice(0, most).map((value) => ({ value, stage: first.get(value) as number }));
};

const stagesOf = (nodes: readonly Node[]): { readonly stage: ReadonlyMap<Value, number>; readonly reductions: readonly Reduction[] } => {
  const stage = new Map<Value, number>();
  const reductions: Reduction[] = [];
  for (const node of nodes) {
    const before = Math.max(0, ...node.inputs.map((v) => stage.get(v) ?? 0));
    const value = node.outputs[0] as Value;
    stage.set(value, isReduction(node) ? before + 1 : before);
    if (isReduction(node)) reductions.push({ node, value, operand: node.inputs[0] as Value, monoid: monoidOf(node), stage: before });
  }
  return { stage, reductions };
};

/** The job with the nodes of shorter ways, and the passes that these replace: those that make nothing else. */
const shortened = (job: Job, reductions: readonly Reduction[], busy: ReadonlySet<number>): Pick<Work, 'job' | 'shortcuts'> => {
  const ways = shortcutsOf(job.group);
  const shortcuts = new Map<number, ReadonlyMap<Value, Value>>();
  const more: Node[] = [];
  for (const stage of new Set(reductions.map((r) => r.stage))) {
    const here = reductions.filter((r) => r.stage === stage).map((r) => [r.value, ways.get(r.value)] as const);
    if (busy.has(stage) || here.some(([, way]) => !way)) continue;
    shortcuts.set(stage, new Map(here.map(([v, way]) => [v, (way as Shortcut).value])));
    more.push(...here.flatMap(([, way]) => (way as Shortcut).nodes));
  }
  if (more.length === 0) return { job, shortcuts };
  const makers = new Map(more.map((n) => [n.outputs[0] as Value, n]));
  const group = { ...job.group, nodes: [...job.group.nodes, ...more] };
  return { job: { ...job, group, maker: (v) => makers.get(v) ?? job.maker(v) }, shortcuts };
};

export const workOf = (given: Job): Work => {
  const written = stagesOf(given.group.nodes);
  const space = reductionSpace((written.reductions[0] as Reduction).node);
  const outputs = given.outputs.map((o) => ({ ...o, stage: written.stage.get(o.value) ?? 0 }));
  const full = outputs.filter((o) => sizeOf(o.value) !== space.kept);
  const schedule = reduceSchedule(given, space);
  const alone = schedule.threads === 1 && space.rowwise && space.reduced > 1;
  const { job, shortcuts } = alone
    ? shortened(given, written.reductions, new Set(full.map((o) => o.stage)))
    : { job: given, shortcuts: new Map() };
  const { reductions } = job === given ? written : stagesOf(job.group.nodes);
  const passes = 1 + Math.max(...reductions.map((r) => r.stage), ...full.map((o) => o.stage));
  const roots = Array.from({ length: passes }, (_, s) => [
    // a pass that is hardly ever made is not worth keeping anything for
    ...reductions.filter((r) => r.stage === s && !shortcuts.has(s)).map((r) => r.operand),
    ...full.filter((o) => o.stage === s).map((o) => o.value),
  ]);
  return {
    job,
    space,
    reductions,
    passes,
    full,
    kept: outputs.filter((o) => sizeOf(o.value) === space.kept),
    rows: alone ? rowsOf(job, space, roots) : [],
    shortcuts,
    schedule,
  };
};
