/**
 * The pipeline, from a traced graph to something that runs. `passesFor` is the table of contents of the compiler: one line a
 * pass, in order. Passes are pure functions from graph to graph; verify runs between them in tests. A backend that keeps plans is asked
 * first: of a graph that was compiled before, with equal options, neither passes nor lowering run again.
 */
import { FoveaError } from './error.ts';
import { streams } from './graph/attention.ts';
import { bindGraph } from './graph/bind.ts';
import type { Graph } from './graph/types.ts';
import { verify } from './graph/verify.ts';
import { cse } from './passes/cse.ts';
import { dce } from './passes/dce.ts';
import { empty } from './passes/empty.ts';
import { inline } from './passes/inline.ts';
import { keep } from './passes/keep.ts';
import { type Precision, precision } from './passes/precision.ts';
import { scales } from './passes/scales.ts';
import { simplify } from './passes/simplify.ts';
import { splitK } from './passes/split-k.ts';
import { buildPlan, fits, type PlanOptions } from './plan/build.ts';
import { planKey } from './plan/key.ts';
import { parsePlan, printPlan, type SavedPlan } from './plan/serialise.ts';
import { illegal, tune } from './plan/tune.ts';
import type { Plan } from './plan/types.ts';
import { place, transfers } from './shard/index.ts';
import type { Mesh } from './shard/placement.ts';
import { type Placing, placingOf, placingText, type ShardPlan } from './shard/plan.ts';
import type { Layout } from './shard/propagate.ts';
import type { Backend, Executable, PlanStore, Progress } from './target.ts';
import { recognise } from './transform/recognise.ts';
import { recompute } from './transform/recompute.ts';
import { remat } from './transform/remat.ts';
import { rows } from './transform/rows.ts';

export type { Precision } from './passes/precision.ts';
export type Pass = (g: Graph) => Graph;

/** Values of fewer bytes are kept as they are: together they are a few MiB of a step, and each clone or cast may be a launch. */
const smallest = 1 << 18;

type Passes = readonly (readonly [name: string, pass: Pass])[];

/**
 * The passes for a precision of contractions. A program of several ranks becomes that of one as soon as it is plain: all that follows sees the shapes
 * of a rank, and its collectives are nodes that nothing is known of until they become starts and waits.
 */
export const passesFor = (choice: Precision, ranks?: RankPasses): Passes => [
  ['recognise', recognise],
  ['inline', (g) => inline(g, 'drop', streams, ranks ? 'keep' : 'unroll')],
  ['empty', empty],
  ['dce', dce],
  ['simplify', simplify],
  ['cse', cse],
  ...(ranks?.early ?? []),
  ['rows', rows],
  ['scales', scales(choice)],
  ['precision', precision(choice)],
  ['split-k', splitK()],
  ['remat', remat],
  ['simplify again', simplify],
  ['cse again', cse],
  ['dce again', dce],
  ['recompute', recompute(smallest)],
  ['keep', keep(choice, smallest)],
  ['dce last', dce],
  ...(ranks?.late ?? []),
];
interface RankPasses {
  readonly early: Passes;
  readonly late: Passes;
}
/** What a program of several ranks has besides. */
const rankPasses = (placing: Placing, plan: ShardPlan): RankPasses => ({
  early: [
    ['shard', (g) => place(g, placing)],
    ['inline the own', (g) => inline(g, 'drop', streams)],
    ['empty again', empty],
    ['dce the others', dce],
    ['simplify the own', simplify],
    ['cse the own', cse],
  ],
  late: transfers(placing.mesh, plan),
});
export const passes = passesFor('f32');
/** The passes of a program for one rank of several. */
export const passesOnRanks = (choice: Precision, placing: Placing, plan: ShardPlan): Passes => passesFor(choice, rankPasses(placing, plan));

/** Where schedules come from: the model; records, and the model for the rest; records, and measurements for the rest, which become records. */
export const tunes = ['never', 'cached', 'measure'] as const;
export type Tune = (typeof tunes)[number];

export interface CompileOptions {
  readonly backend: Backend;
  /** Sizes of the names in the graph. */
  readonly dims?: ReadonlyMap<string, number> | undefined;
  /** donated[o] = input whose place output o takes, -1 = none (default: none). */
  readonly donated?: readonly number[] | undefined;
  /** Of the operands of contractions. Default f32. A backend that runs the graph itself computes in float64 whatever it is. */
  readonly precision?: Precision | undefined;
  /** Largest arena to accept, in bytes. */
  readonly maxBytes?: number | undefined;
  /** Default never. A backend without a tuner has the model's choices whatever it is. */
  readonly tune?: Tune | undefined;
  readonly progress?: Progress | undefined;
  /** Compile the program of one of several ranks. Inputs and results are then those of a rank, and a last input is its number. */
  readonly shards?: Shards | undefined;
}

export interface Shards {
  readonly ranks: number;
  readonly plan: ShardPlan;
}

/** Nodes and sizes as compiled, seconds spent per stage. */
export interface CompileReport {
  readonly tracedNodes: number;
  readonly nodes: number;
  readonly seconds: { readonly passes: number; readonly tune: number; readonly plan: number; readonly backend: number };
  /** Absent on a backend that runs the graph itself. */
  readonly plan?: Plan;
  /** Of a program for one of several ranks: where inputs and results lie. */
  readonly layout?: { readonly mesh: Mesh } & Pick<Layout, 'inputs' | 'outputs'>;
  /** The plan was made by an earlier compilation: nothing of passes and lowering ran. */
  readonly kept: boolean;
}

export interface CompiledGraph {
  readonly executable: Executable;
  readonly report: CompileReport;
}

/** What the store has under a name. Text that is damaged, of another format, or that says that it is something else counts as nothing. */
const keptPlan = async (store: PlanStore, key: string): Promise<SavedPlan | undefined> => {
  const text = await store.get(key);
  if (text === undefined) return undefined;
  try {
    const saved = parsePlan(text);
    return saved.key === key ? saved : undefined;
  } catch (e) {
    if (e instanceof FoveaError) return undefined;
    throw e;
  }
};

interface Fresh extends PlanOptions {
  readonly dims: ReadonlyMap<string, number>;
  readonly pipeline: ReturnType<typeof passesFor>;
  readonly how: Tune;
  readonly progress: Progress | undefined;
}
type Seconds = CompileReport['seconds'];

/** The plan made anew, and the seconds that its stages took. */
const freshPlan = async (graph: Graph, backend: Backend & { readonly kind: 'plan' }, { dims, pipeline, how, progress, ...rest }: Fresh) => {
  const started = performance.now();
  const bound = bindGraph(graph, dims);
  verify(bound);
  const final = pipeline.reduce((g, [, pass]) => pass(g), bound);
  verify(final);
  const passed = performance.now();
  const { target } = backend;
  const tuner = how === 'never' ? undefined : backend.tuner;
  const known = await tuner?.known();
  const schedules = tuner && known && how === 'measure' ? await tune(final, { target, tuner, known, progress }) : known;
  const tuned = performance.now();
  const plan = buildPlan(final, target, { ...rest, schedules });
  for (const c of plan.chosen) if (c.ignored !== undefined) tuner?.notice(illegal(c.key, c.ignored));
  const seconds: Omit<Seconds, 'backend'> = {
    passes: (passed - started) / 1e3,
    tune: (tuned - passed) / 1e3,
    plan: (performance.now() - tuned) / 1e3,
  };
  return { plan, nodes: final.nodes.length, seconds };
};

/**
 * Compiles `graph` for a backend, or takes the plan that the backend has kept of the same graph and options; a plan with measured schedules is
 * made anew, since the measurements may have changed. Throws FV0005 for a size without a number, FV0202 for a plan that does not fit, FV0615
 * for a precision that is none, FV0617 for a way to tune that is none, FV03xx from the backend.
 */
export const compileGraph = async (graph: Graph, options: CompileOptions): Promise<CompiledGraph> => {
  const { backend, dims = new Map(), donated = graph.results.map(() => -1), maxBytes = Number.POSITIVE_INFINITY, progress } = options;
  const { precision: policy = 'f32', tune: how = 'never', shards } = options;
  if (!tunes.includes(how)) throw new FoveaError('FV0617', `unknown way to tune '${how}'`, { hint: `Known ways: ${tunes.join(', ')}.` });
  const bind = (): Graph => bindGraph({ ...graph, nodes: [], results: [] }, dims);
  const placing = shards && placingOf({ ...bind(), results: graph.results }, donated, shards.ranks, shards.plan);
  const pipeline = shards && placing ? passesOnRanks(policy, placing, shards.plan) : passesFor(policy);
  const tracedNodes = graph.nodes.length;
  const started = performance.now();
  if (backend.kind === 'graph') {
    if (shards) throw new FoveaError('FV0305', `the backend ${backend.name} has no ranks`, { hint: 'Use the cpu backend.' });
    const bound = bindGraph(graph, dims);
    verify(bound);
    const executable = await backend.prepare(bound, donated);
    const seconds = { passes: 0, tune: 0, plan: 0, backend: (performance.now() - started) / 1e3 };
    return { executable, report: { tracedNodes, nodes: bound.nodes.length, seconds, kept: false } };
  }
  const { target } = backend;
  const plans = how === 'never' ? backend.plans : undefined;
  const ranks = shards && placing ? placingText(placing, shards.plan) : '';
  const key = plans && (await planKey(graph, { dims, donated, precision: JSON.stringify(policy), target, ranks }));
  const kept = plans && key !== undefined ? await keptPlan(plans, key) : undefined;
  if (kept) fits(kept.plan, maxBytes);
  const made = kept
    ? { ...kept, seconds: { passes: 0, tune: 0, plan: (performance.now() - started) / 1e3 } }
    : await freshPlan(graph, backend, { dims, donated, maxBytes, pipeline, how, progress });
  const planned = performance.now();
  const executable = await backend.prepare(made.plan, progress, key);
  if (plans && key !== undefined && !kept) await plans.put(key, printPlan({ plan: made.plan, key, nodes: made.nodes }));
  const seconds = { ...made.seconds, backend: (performance.now() - planned) / 1e3 };
  const layout = placing && { mesh: placing.mesh, inputs: placing.layout.inputs, outputs: placing.layout.outputs };
  return {
    executable,
    report: { tracedNodes, nodes: made.nodes, seconds, plan: made.plan, kept: kept !== undefined, ...(layout ? { layout } : {}) },
  };
};
