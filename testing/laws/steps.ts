/**
 * Training steps on ranks (steps.ts): whatever is split and whenever it is gathered, W ranks with B rows each make of the weights what one device makes
 * with W B rows, and what follows from the ranks' own gradients by hand. Then the plan of a rank, kernels, arena and transfers.
 */
import { type Pass, passesOnRanks } from '../../compiler/compile.ts';
import { interpret, type Tensor64, tensor64 } from '../../compiler/graph/interpret.ts';
import type { Graph, Placement, Value } from '../../compiler/graph/types.ts';
import { verify } from '../../compiler/graph/verify.ts';
import { buildPlan } from '../../compiler/plan/build.ts';
import { stepCost } from '../../compiler/plan/cost.ts';
import { partOf, wholeOf } from '../../compiler/shard/host.ts';
import { type Placing, placingOf, type ShardPlan, strategies } from '../../compiler/shard/plan.ts';
import { countedTraffic, interpretRanks } from '../../compiler/shard/ranks.ts';
import { type Bounded, bounded, compare } from '../bound.ts';
import { rounded } from '../host.ts';
import type { Program } from '../program.ts';
import { runPlan } from '../ranks.ts';
import { type Run, stepsOf } from '../steps.ts';
import { damages, refused } from './damage.ts';
import { draws } from './draws.ts';
import type { Law } from './law.ts';

/** Both sides are within the bound of the exact results. */
const wider = (bs: readonly Bounded[], by: number): readonly Bounded[] =>
  bs.map(({ value, error }) => ({ value, error: error.map((e) => by * e) }));

interface Ranked {
  readonly graph: Graph;
  readonly placing: Placing;
  /** Of each rank. */
  readonly args: readonly (readonly Tensor64[])[];
}

const onRanks = ({ step, args }: Run, ranks: number, plan: ShardPlan): Ranked => {
  const place = (path: string): Placement | undefined => (path.startsWith('1.') ? { split: 0 } : undefined);
  const placing = placingOf(step.graph, step.donated, ranks, { ...plan, place });
  const graph = passesOnRanks('f32', placing, plan).reduce((g: Graph, [, pass]: readonly [string, Pass]) => pass(g), step.graph);
  verify(graph);
  const { mesh, layout } = placing;
  const own = Array.from({ length: ranks }, (_, r) =>
    args.map((t, i) => tensor64((graph.params[i] as Value).type, partOf(t.data, t.type, layout.inputs[i] as Placement, r, mesh))),
  );
  return { graph, placing, args: own };
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

const drawnPlan = (pick: (n: number) => number, ranks: number): { readonly name: string; readonly plan: ShardPlan } => {
  const groups = [1, 2, 3, 4, 5, 6, 7, 8].filter((d) => ranks % d === 0);
  const group = groups[pick(groups.length)] as number;
  const strategy = strategies[pick(3)] as (typeof strategies)[number];
  return {
    name: `${strategy} in groups of ${group}`,
    plan: { strategy, group, prefetch: pick(3), bucketBytes: pick(3) === 0 ? 64 : 1 << 20, unit: (path) => path.slice(0, 5) },
  };
};

const strategiesAgree = (p: Program, seed: number, note: Note): string | undefined => {
  const pick = draws(seed);
  const at = stepsOf(p, pick);
  if (!at) return undefined;
  const [W, B] = [1 + pick(8), 1 + pick(2)];
  const whole = at(0, W * B);
  verify(whole.step.graph);
  const truth = wider(bounded(whole.step.graph, whole.args, 'f64'), 4);
  const hand = compare(wider(truth, 2), byHand(at, W, B)).wrong;
  if (hand !== undefined) return `${W} ranks of ${B} rows, each by itself: ${hand}`;
  const groups = [1, 2, 3, 4, 5, 6, 7, 8].filter((d) => W % d === 0);
  const plans: readonly ShardPlan[] = [
    ...strategies.map((strategy) => ({ strategy })),
    { strategy: strategies[pick(3)] as (typeof strategies)[number], group: groups[pick(groups.length)] as number, reduce: 'bf16' },
  ];
  for (const plan of plans) {
    const name = `${W} ranks of ${B} rows, ${plan.strategy} in groups of ${plan.group ?? W}`;
    const ranked = onRanks(whole, W, plan);
    const { results, traffic } = interpretRanks(ranked.graph, ranked.placing.mesh, ranked.args);
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
    note('steps on ranks', 1);
    for (const { how, graph } of damages(ranked.graph, ranked.placing.mesh)) {
      note('damaged schedules', 1);
      if (!refused(graph, ranked.placing.mesh, ranked.graph)) return `${name}: verify takes a damaged schedule: ${how}`;
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
  const { name, plan } = drawnPlan(pick, W);
  const ranked = onRanks(run, W, plan);
  const made = buildPlan(ranked.graph, target, { donated: step.donated, maxBytes: Number.POSITIVE_INFINITY });
  const { results, sent, fault } = runPlan(made, ranked.placing.mesh, ranked.args);
  const say = (what: string): string => `${W} ranks of ${B} rows, ${name}: ${what}`;
  if (fault !== undefined) return say(fault);
  const { mesh } = ranked.placing;
  const on = Object.values(stepCost(made, { world: W, shard: mesh.shard, replica: W / mesh.shard }, paper).sent).reduce((x, y) => x + y, 0);
  const counted = countedTraffic(ranked.graph).sent;
  if (Math.abs(on - sent) > 1e-6 || Math.abs(counted - sent) > 1e-6)
    return say(`${sent} bytes were sent, ${on} on paper, ${counted} counted`);
  note('launches on ranks', made.launches.length * W);
  const { wrong } = compare(wider(bounded(step.graph, run.args), 4), together(run, ranked.placing, results));
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
