/**
 * Training steps on ranks (steps.ts): whatever is split and whenever it is gathered, W ranks with B rows each make of the weights what one device makes
 * with W B rows, and what follows from the ranks' own gradients by hand. Then the plan of a rank, kernels, arena and transfers.
 */
import { ringBytes } from '../../compiler/collectives.ts';
import { type Pass, passesOnRanks } from '../../compiler/compile.ts';
import { interpret, type Tensor64, tensor64 } from '../../compiler/graph/interpret.ts';
import { countOf } from '../../compiler/graph/tensor64.ts';
import { bytesOf, type FloatType, type Graph, type Placement, type Value } from '../../compiler/graph/types.ts';
import { verify } from '../../compiler/graph/verify.ts';
import { buildPlan } from '../../compiler/plan/build.ts';
import { stepCost } from '../../compiler/plan/cost.ts';
import { partOf, wholeOf } from '../../compiler/shard/host.ts';
import { pieceOf } from '../../compiler/shard/placement.ts';
import { type Placing, placingOf, type ShardPlan, type Strategy, strategies } from '../../compiler/shard/plan.ts';
import { countedTraffic, interpretRanks, sentBytes } from '../../compiler/shard/ranks.ts';
import { type Bounded, bounded, compare } from '../bound.ts';
import { boundedRanks } from '../bound-ranks.ts';
import { rounded } from '../host.ts';
import type { Program } from '../program.ts';
import { runPlan } from '../ranks.ts';
import { type Run, stepsOf } from '../steps.ts';
import { damages, refused } from './damage.ts';
import { draws } from './draws.ts';
import { type Law, sameBits } from './law.ts';

/** Both sides are within the bound of the exact results. */
const wider = (bs: readonly Bounded[], by: number): readonly Bounded[] =>
  bs.map(({ value, error }) => ({ value, error: error.map((e) => by * e) }));

interface Ranked {
  readonly graph: Graph;
  /** The program before parameters are cast ahead of their gathers, and after. */
  readonly gathers: readonly Graph[];
  readonly placing: Placing;
  /** Of each rank. */
  readonly args: readonly (readonly Tensor64[])[];
}

/** Weight k and its momentum are one unit; the teacher's head is another. */
const unitOf = (path: string): string => (path.startsWith('0.t') ? 'teacher' : `unit ${path.split('.')[2]}`);
const place = (path: string): Placement | undefined => (path.startsWith('1.') ? { split: 0 } : undefined);

/** A plan, and the type of operands of contractions. */
interface Way {
  readonly name: string;
  readonly plan: ShardPlan;
  readonly precision: 'f32' | 'bf16';
}

const onRanks = ({ step, args }: Run, ranks: number, { plan, precision }: Way): Ranked => {
  const placing = placingOf(step.graph, step.donated, ranks, { ...plan, place, unit: unitOf });
  const gathers: Graph[] = [];
  const graph = passesOnRanks(precision, placing, plan).reduce((g: Graph, [name, pass]: readonly [string, Pass]) => {
    const next = pass(g);
    if (name === 'cast first') gathers.push(g, next);
    return next;
  }, step.graph);
  verify(graph);
  const { mesh, layout } = placing;
  const own = Array.from({ length: ranks }, (_, r) =>
    args.map((t, i) => tensor64((graph.params[i] as Value).type, partOf(t.data, t.type, layout.inputs[i] as Placement, r, mesh))),
  );
  return { graph, placing, args: own, gathers };
};

/** The whole results of the ranks' parts. */
const together = ({ step: { graph } }: Run, { layout, mesh }: Placing, parts: readonly (readonly ArrayLike<number>[])[]) =>
  graph.results.map((v, o) =>
    wholeOf(
      parts.map((r) => Float64Array.from(r[o] as ArrayLike<number>)),
      v.type,
      layout.outputs[o] as Placement,
      mesh,
    ),
  );

/** Weights, moments and loss of W ranks by hand: each computes its own step, gradients and losses are averaged. */
const byHand = (at: (from: number, rows: number) => Run, W: number, B: number): readonly Float64Array[] => {
  const own = Array.from({ length: W }, (_, w) => at(w * B, B)).map(({ step, args }) => interpret(step.graph, args));
  // a step is linear in the gradient, and so are the weights that it gives
  return (own[0] as readonly Tensor64[]).map((x, o) =>
    Float64Array.from(x.data, (_, i) => own.reduce((s, r) => s + ((r[o] as Tensor64).data[i] as number), 0) / W),
  );
};

type Note = (what: string, n: number) => void;

const groupsOf = (ranks: number): readonly number[] => [1, 2, 3, 4, 5, 6, 7, 8].filter((d) => ranks % d === 0);

/** Any plan: a strategy, and a type in which gradients travel, for each unit; hybrid wherever there is a group between one rank and all. */
const drawnWay = (pick: (n: number) => number, ranks: number): Way => {
  const groups = groupsOf(ranks);
  const hybrid = groups.slice(1, -1);
  const some = pick(2) === 0 && hybrid.length > 0 ? hybrid : groups;
  const group = some[pick(some.length)] as number;
  const [first, turn, reduced] = [pick(3), pick(3), pick(4)];
  const number = (unit: string): number => Number(unit.split(' ')[1] ?? 1);
  const strategy = (unit: string): Strategy => strategies[(first + turn * number(unit)) % 3] as Strategy;
  const reduce = (unit: string): FloatType => (reduced === 3 || (reduced > 0 && number(unit) % 2 === reduced - 1) ? 'bf16' : 'f32');
  const precision = pick(2) === 0 ? 'f32' : 'bf16';
  return {
    name: `${strategy('unit 0')} and ${strategy('unit 1')} in groups of ${group}, ${precision}, gradients as ${reduce('unit 0')} and ${reduce('unit 1')}`,
    plan: {
      strategy,
      group,
      reduce,
      prefetch: pick(3),
      gatheredBytes: pick(4) === 0 ? 100 : Number.POSITIVE_INFINITY,
      bucketBytes: pick(3) === 0 ? 64 : 1 << 20,
    },
    precision,
  };
};

/**
 * Counts what ranks say to each other. Each gradient is reduced at most once, whatever the strategy: the optimizer has no more reductions of tensors
 * than there are weights, and those of the head's unit send what one reduction of its gradient does.
 */
const transfersOf = ({ graph, gathers, placing: { mesh, layout } }: Ranked, { step }: Run, note: Note): string | undefined => {
  const head = step.donated.length / 2 - 2;
  const { type } = step.graph.params[head] as Value;
  let sent = 0;
  for (const { op, inputs } of graph.nodes) {
    if (op.prim !== 'start') continue;
    const half = inputs[0]?.type.dtype === 'bf16' ? ' as bf16' : '';
    note(
      op.kind === 'all-gather'
        ? `gathers${half}`
        : op.kind === 'reduce-scatter'
          ? `gradients scattered${half}`
          : `sums over ${op.group === 'replica' ? 'copies' : 'ranks'}`,
      1,
    );
    const withinCopy = op.kind === 'reduce-scatter' || (op.kind === 'all-reduce' && op.group === 'world');
    if (withinCopy && op.unit === layout.outputUnits[head]) for (const v of inputs) sent += sentBytes(op, v.type);
  }
  const learning = step.graph.params.slice(0, head + 1);
  const most = learning.filter((w) => w.type.shape.length > 0).length;
  const reductions = (gathers[0] as Graph).nodes.filter(
    ({ op, meta, inputs }) =>
      op.prim === 'collective' &&
      op.kind !== 'all-gather' &&
      (op.group !== 'replica' || mesh.shard === 1) &&
      meta.phase === 'opt' &&
      (inputs[0]?.type.shape.length ?? 0) > 0,
  ).length;
  if (reductions > most) return `the optimizer reduces ${reductions} tensors for ${most} weights`;
  const bytes = bytesOf[layout.reduceAs(layout.outputUnits[head] as string)];
  const once =
    layout.outputs[head] === 'flat'
      ? (mesh.shard - 1) * pieceOf(type, mesh) * bytes
      : ringBytes('all-reduce', mesh.ranks, countOf(type) * bytes);
  // where the program leaves its results constant there may be nothing to reduce
  return sent === 0 || Math.abs(sent - once) < 1e-6 ? undefined : `the gradient of the head costs ${sent} bytes to reduce, not ${once}`;
};

/** A cast in front of a gather gives the bits of the cast behind it. */
const castsAgree = ({ gathers, placing: { mesh }, args }: Ranked): string | undefined => {
  const [before, after] = gathers.map((g) => interpretRanks(g, mesh, args, rounded).results.flat());
  return sameBits(before as readonly Tensor64[], after as readonly Tensor64[]);
};

const strategiesAgree = (p: Program, seed: number, note: Note): string | undefined => {
  const pick = draws(seed);
  const at = stepsOf(p, pick);
  if (!at) return undefined;
  const [W, B] = [1 + pick(8), 1 + pick(2)];
  const whole = at(0, W * B);
  verify(whole.step.graph);
  const truth = wider(bounded(whole.step.graph, whole.args, 'f64'), 4);
  const hand = whole.step.linear ? compare(wider(truth, 2), byHand(at, W, B)).wrong : undefined;
  if (hand !== undefined) return `${W} ranks of ${B} rows, each by itself: ${hand}`;
  const plain = strategies.map((strategy): Way => ({ name: strategy, plan: { strategy }, precision: 'f32' }));
  const drawn = drawnWay(pick, W);
  for (const way of [...plain, drawn]) {
    const name = `${W} ranks of ${B} rows, ${way.name}`;
    const ranked = onRanks(whole, W, way);
    const { mesh } = ranked.placing;
    const { results, traffic } = interpretRanks(ranked.graph, mesh, ranked.args);
    const { wrong } = compare(
      truth,
      together(
        whole,
        ranked.placing,
        results.map((r) => r.map((t) => t.data)),
      ),
    );
    if (wrong !== undefined) return `${name}: ${wrong}`;
    const counted = countedTraffic(ranked.graph);
    if (counted.sent !== traffic.sent || counted.peak !== traffic.peak)
      return `${name}: ${traffic.sent} bytes sent and ${traffic.peak} held at most, ${counted.sent} and ${counted.peak} were counted`;
    const unlike = transfersOf(ranked, whole, note);
    if (unlike !== undefined) return `${name}: ${unlike}`;
    const moved = way.precision === 'bf16' ? castsAgree(ranked) : undefined;
    if (moved !== undefined) return `${name}, cast before it is gathered: ${moved}`;
    note('steps on ranks', 1);
    if (mesh.shard > 1 && mesh.shard < W) note('steps in groups', 1);
    // of every plan there is one sooner or later
    for (const { how, graph } of way === drawn ? damages(ranked.graph, mesh) : []) {
      note('damaged schedules', 1);
      if (!refused(graph, mesh, ranked.graph)) return `${name}: verify takes a damaged schedule: ${how}`;
    }
  }
  return undefined;
};

const paper = { flops: 1, memory: 1, link: 1, latency: 0 };

const plansHold = (p: Program, seed: number, target: Parameters<Law['check']>[1]['target'], note: Note): string | undefined => {
  const pick = draws(seed);
  const at = stepsOf({ graph: p.graph, inputs: p.inputs.map(rounded) }, pick);
  if (!at) return undefined;
  const [W, B] = [1 + pick(8), 1 + pick(2)];
  const { args, step } = at(0, W * B);
  const run = { step, args: args.map(rounded) };
  const way = drawnWay(pick, W);
  const ranked = onRanks(run, W, way);
  const { mesh } = ranked.placing;
  const made = buildPlan(ranked.graph, target, { donated: step.donated, maxBytes: Number.POSITIVE_INFINITY });
  const { results, sent, fault } = runPlan(made, mesh, ranked.args);
  const say = (what: string): string => `${W} ranks of ${B} rows, ${way.name}: ${what}`;
  if (fault !== undefined) return say(fault);
  const on = Object.values(stepCost(made, { world: W, shard: mesh.shard, replica: W / mesh.shard }, paper).sent).reduce((x, y) => x + y, 0);
  const counted = countedTraffic(ranked.graph).sent;
  if (Math.abs(on - sent) > 1e-6 || Math.abs(counted - sent) > 1e-6)
    return say(`${sent} bytes were sent, ${on} on paper, ${counted} counted`);
  note('launches on ranks', made.launches.length * W);
  // what the ranks' own programs may round, of what they compute without rounding, which is what one device computes
  const exact = boundedRanks(ranked.graph, mesh, ranked.args);
  const whole = (of: (b: Bounded) => ArrayLike<number>): readonly Float64Array[] =>
    together(
      run,
      ranked.placing,
      exact.map((r) => r.map(of)),
    );
  const values = whole((b) => b.value.data);
  const apart = compare(wider(bounded(step.graph, run.args, 'f64'), 4), values).wrong;
  if (apart !== undefined) return say(`without rounding, ${apart}`);
  const errors = whole((b) => b.error);
  const truth = step.graph.results.map((v, o) => ({
    value: tensor64({ dtype: 'f32', shape: v.type.shape }, values[o] as Float64Array),
    error: errors[o] as Float64Array,
  }));
  const { wrong, checked, elements } = compare(truth, together(run, ranked.placing, results));
  note('numbers of ranks', elements);
  note('numbers of ranks with a bound', checked);
  return wrong === undefined ? undefined : say(wrong);
};

export const stepLaws: readonly Law[] = [
  {
    name: 'steps',
    every: 2,
    says: 'W ranks of B rows train to what one device makes of W B rows, whatever is split; a damaged schedule is refused',
    check: (p, { seed, note }) => strategiesAgree(p, seed, (what, n) => note?.(what, n)),
  },
  {
    name: 'rank plans',
    every: 2,
    says: 'the plan of a rank, run on all of them in arenas of its size with transfers as late as can be, trains to the same; bytes sent are those on paper',
    check: (p, { seed, target, note }) => plansHold(p, seed, target, (what, n) => note?.(what, n)),
  },
];
