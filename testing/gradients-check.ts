/**
 * The checks of a traced function: which laws are run, at which points, and what is said of them in the end.
 *
 *   checkGraph(graph, draws, settings({ order: 2 }))   ->   { verdict: 'pass', checks: [{ law: 'forward', direction: 0, ... }, ...] }
 *
 * A point is drawn for each direction. Where a comparison changes its outcome along the direction (a tie of max, abs at 0, an argmax that
 * jumps) the check is a kink, and other points are tried. A law that no direction decided says nothing, and is listed as undecided: to
 * count it as held would hide that nothing was checked, to count it as failed would blame a function for the points that it was given.
 */
import { FoveaError } from '../compiler/error.ts';
import type { Tensor64 } from '../compiler/graph/interpret.ts';
import { type Graph, isFloat, type TensorType, type Value } from '../compiler/graph/types.ts';
import { inline } from '../compiler/passes/inline.ts';
import { blameCheckpoint, blameDuality, blameForward, blameInfinite, type Place, ruleOf, stoppedIn } from './gradients-blame.ts';
import { composites } from './gradients-composites.ts';
import { duality, forward, recomputed, symmetry, type Verdict } from './gradients-laws.ts';
import { frozen, hasStops } from './gradients-run.ts';
import { drawIn, drawLike, numbers } from './numbers.ts';
import { floatResults, floats, unbound, weightedGrad } from './transforms.ts';

/**
 * forward: the jvp agrees with differences. duality: forward and reverse mode agree. definition: the derivative through a composite is
 * that through its body. checkpoint: recomputation changes no bit. Of order 2, of the gradient: gradient-forward, gradient-duality, and
 * symmetry of second derivatives.
 */
export type Law = 'forward' | 'duality' | 'definition' | 'checkpoint' | 'gradient-forward' | 'gradient-duality' | 'symmetry';

/** One law in one direction. */
export interface Check extends Omit<Verdict, 'node'> {
  readonly law: Law;
  /** From 0 on; 0 for laws that are tried once. */
  readonly direction: number;
  /** Of a failure: the first primitive that is wrong by itself, if there is one; of a kink: where it is. */
  readonly place?: Place | undefined;
}
export interface GradientReport {
  /** The verdict is 'pass'. */
  readonly ok: boolean;
  /**
   * fail: a law failed. undecided: none failed, but some could not be decided though no kink was in the way (NaN, or too much rounding), or
   * none that compares derivatives was (definition and checkpoint compare two ways to the same one). pass: none failed; what is still in
   * `undecided` met kinks only, or had no numbers to compare.
   */
  readonly verdict: 'pass' | 'fail' | 'undecided';
  readonly checks: readonly Check[];
  readonly failures: readonly Check[];
  /** Met on the way, also where another point was decided. They are no failures. */
  readonly kinks: readonly Check[];
  /**
   * Laws that no direction decided: all met a kink, or something is not finite, or rounding is as large as what is compared, or there is
   * nothing to compare (an axis of size 0).
   */
  readonly undecided: readonly Law[];
  /** Source lines of stopGradient. What stands there is a constant of every law: that a dependence was forgotten there, none can see. */
  readonly stopped: readonly Place[];
  readonly seed: number;
}

export interface CheckOptions {
  /** 2: also the derivatives of the gradient. 1 by default. */
  readonly order?: 1 | 2;
  /** 'fwd': jvp against differences. 'rev': reverse mode against forward mode. Both by default. */
  readonly modes?: readonly ('fwd' | 'rev')[];
  /** Of points and directions; the same seed gives the same report. 0 by default. */
  readonly seed?: number;
  /** Points and directions tried. 4 by default. */
  readonly directions?: number;
  /** Where floats are drawn: from -2 to 2 by default. Whole numbers are drawn from 0 to 3, words of random bits (u32) from all. */
  readonly range?: readonly [min: number, max: number];
}

/** The options, complete. FV0503 for a value by which nothing, or nothing that can be meant, would be checked. */
export const settings = (name: string, options: CheckOptions): Required<CheckOptions> => {
  const { order = 1, modes = ['fwd', 'rev'], seed = 0, directions = 4, range = [-2, 2] } = options;
  const wrong = (what: string, value: unknown, expected: string): never => {
    throw new FoveaError('FV0503', `${name}: ${what} ${JSON.stringify(value)}: expected ${expected}`, {
      hint: "For example: { order: 2, modes: ['fwd', 'rev'], seed: 0, directions: 4, range: [-2, 2] }.",
    });
  };
  if (order !== 1 && order !== 2) wrong('order', order, '1 or 2');
  if (modes.length === 0 || modes.some((m) => m !== 'fwd' && m !== 'rev')) wrong('modes', modes, "'fwd', 'rev' or both");
  if (!(Number.isInteger(directions) && directions >= 1)) wrong('directions', directions, 'a whole number from 1 on');
  if (!Number.isInteger(seed)) wrong('seed', seed, 'a whole number');
  if (!(range.every(Number.isFinite) && range[0] <= range[1])) wrong('range', range, 'two numbers, the smaller first');
  return { order, modes, seed, directions, range };
};

/** The numbers of an argument at each attempt. */
export type Draw = (type: TensorType, next: () => number) => Tensor64;

export const drawn =
  ([min, max]: readonly [number, number]): Draw =>
  (type, next) =>
    isFloat(type.dtype) ? drawIn(type, min, max, next) : drawIn(type, 0, type.dtype === 'u32' ? 2 ** 32 : 4, next);

/** Attempts to find a point and a direction without a kink. */
const attempts = 6;

/** Whether a float argument reaches a result other than through stopGradient. */
const depends = (flat: Graph): boolean => {
  const reached = new Set<Value>(floats(flat).map((i) => flat.params[i] as Value));
  for (const n of flat.nodes)
    if (n.op.prim !== 'stopGradient' && n.inputs.some((v) => reached.has(v))) for (const o of n.outputs) reached.add(o);
  return flat.results.some((r) => reached.has(r));
};

/** The graph of the float results. FV0103 where there is nothing to differentiate. */
const differentiable = (graph: Graph): Graph => {
  const g: Graph = { ...graph, results: floatResults(graph).map((i) => graph.results[i] as Value) };
  const none = (what: string, hint: string): never => {
    throw new FoveaError('FV0103', `the function has no ${what}`, { hint });
  };
  if (g.results.length === 0) none('float result', 'Only floats have derivatives.');
  if (floats(g).length === 0) none('float argument', 'Only floats have derivatives.');
  if (!depends(inline(g, 'keep')))
    none('float result that depends on a float argument', 'What goes through stopGradient is a constant: check what stands inside of it.');
  return g;
};

/** The checks of a graph of float results, its arguments drawn by `draws`. FV0005 for a size that has a name and no number. */
export const checkGraph = (
  graph: Graph,
  draws: readonly Draw[],
  { order, modes, seed, directions }: Required<CheckOptions>,
): GradientReport => {
  const [numberless] = unbound(graph);
  if (numberless !== undefined)
    throw new FoveaError('FV0005', `no argument has the size ${numberless}, so it has no number`, {
      hint: `Give it one where it is made, as in size('${numberless}', 4).`,
    });
  const g = differentiable(graph);
  const next = numbers(seed);
  const like = (vs: readonly Value[]): Tensor64[] => vs.map((v) => drawLike(v.type, next));
  const moving = floats(g).map((i) => g.params[i] as Value);
  const point = (): Tensor64[] => g.params.map((p, i) => (draws[i] as Draw)(p.type, next));
  const checks: Check[] = [];
  const add = (law: Law, direction: number, { node, ...verdict }: Verdict, blame: () => Place | undefined): void => {
    const at = node ? ruleOf(node) : verdict.status === 'failed' ? blame() : undefined;
    checks.push({ law, direction, ...verdict, ...(at ? { place: at } : {}) });
  };

  const stops = hasStops(inline(g, 'keep'));
  /**
   * The gradient of weighted results. Every second direction of a function with stopGradient takes the flat function with what it stops as
   * constants: only there do differences see a second derivative that a rule has stopped.
   */
  const gradient = (direction: number, xs: readonly Tensor64[]): { readonly f: Graph; readonly hold: boolean } => {
    const constant = stops && direction % 2 === 1;
    return { f: weightedGrad(constant ? frozen(inline(g, 'keep'), xs) : g, next), hold: stops && !constant };
  };
  const inDirection = (direction: number, ofGradient: boolean): void => {
    for (let attempt = 0; attempt < attempts; attempt++) {
      const xs = point();
      const { f, hold } = ofGradient ? gradient(direction, xs) : { f: g, hold: true };
      const [vs, us, found] = [like(moving), like(f.results), checks.length];
      const blame = () => blameForward(f, xs, next, hold) ?? blameInfinite(f, xs, next);
      if (modes.includes('fwd')) add(ofGradient ? 'gradient-forward' : 'forward', direction, forward(f, xs, vs, hold), blame);
      if (attempt === 0 && modes.includes('rev')) {
        add(
          ofGradient ? 'gradient-duality' : 'duality',
          direction,
          duality(f, xs, vs, us),
          () => blameDuality(f, xs, vs, next) ?? blameInfinite(f, xs, next),
        );
        if (ofGradient) add('symmetry', direction, symmetry(f, xs, vs, us), blame);
      }
      const { status } = checks[found] as Check;
      if (status === 'ok' || status === 'failed' || status === 'empty') return;
    }
  };
  for (let d = 0; d < directions; d++) {
    inDirection(d, false);
    if (order === 2) inDirection(d, true);
  }
  const xs = point();
  for (const c of composites(g, xs, next)) add('definition', 0, { ...c.verdict, at: `${c.place.tag}: ${c.verdict.at}` }, () => c.place);
  add('checkpoint', 0, recomputed(g, [...xs, ...like(g.results)]), () => blameCheckpoint(g, xs, next));
  return { ...summed(checks), stopped: stoppedIn(g), seed };
};

const summed = (checks: readonly Check[]): Omit<GradientReport, 'stopped' | 'seed'> => {
  const of = (...statuses: readonly Check['status'][]): Check[] => checks.filter((c) => statuses.includes(c.status));
  const [failures, decided] = [of('failed'), new Set(of('ok', 'failed').map((c) => c.law))];
  const undecided = [...new Set(checks.map((c) => c.law))].filter((l) => !decided.has(l));
  const kinks = of('kink');
  const nothing = [...decided].every((l) => l === 'checkpoint' || l === 'definition');
  const harmless = new Set(of('kink', 'empty').map((c) => c.law));
  const unknown = undecided.some((l) => !harmless.has(l));
  const verdict = failures.length > 0 ? 'fail' : nothing || unknown ? 'undecided' : 'pass';
  return { ok: verdict === 'pass', verdict, checks, failures, kinks, undecided };
};
