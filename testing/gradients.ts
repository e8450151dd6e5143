/**
 * checkGradients: are the derivatives of a function of the language what its values say they are?
 *
 *   const report = checkGradients((x, w) => sum('b o ->', gelu(einsum('b i, o i -> b o', x, w))), {
 *     args: [spec('B 4'), spec('3 4')], dims: { B: 2 }, order: 2,
 *   });
 *   expect(report.ok, formatReport(report)).toBe(true);
 *
 * The function is traced once and evaluated in float64, whatever its dtypes. Everything is fixed by `seed`. The laws stand in
 * gradients-laws.ts; a failure names the primitive, the file of its rule and the source line (gradients-blame.ts). A direction along which a
 * comparison changes its outcome (a tie of max, abs at 0, an argmax that jumps) is a kink: it is reported, and another is tried.
 */
import { FoveaError } from '../compiler/error.ts';
import { type Tensor64, tensor64 } from '../compiler/graph/interpret.ts';
import { type Graph, isFloat, type TensorType } from '../compiler/graph/types.ts';
import { inline } from '../compiler/passes/inline.ts';
import { remat } from '../compiler/transform/remat.ts';
import {
  type HostTensor,
  isHostTensor,
  type Tensor,
  type TensorOf,
  type TensorSpec,
  trace,
  treeLeaves,
  treeMapWithPath,
} from '../dsl/index.ts';
import { blameDuality, blameForward, composites, kinkAt, type Place } from './gradients-blame.ts';
import { asCall, floatResults, floats, gradGraph, vjpGraph } from './gradients-graphs.ts';
import { duality, equal, forward, symmetry, type Verdict } from './gradients-laws.ts';
import { frozen, hasStops } from './gradients-run.ts';
import { drawIn, drawLike, numbers } from './numbers.ts';

/**
 * forward: the jvp agrees with differences. duality: forward and reverse mode agree. definition: the derivative through a composite is
 * that through its body. checkpoint: recomputation changes no bit. Of order 2, of the gradient: gradient-forward, gradient-duality, and
 * symmetry of second derivatives.
 */
export type Law = 'forward' | 'duality' | 'definition' | 'checkpoint' | 'gradient-forward' | 'gradient-duality' | 'symmetry';

export interface Check extends Omit<Verdict, 'node'> {
  readonly law: Law;
  readonly direction: number;
  /** Of a failure: the first primitive that is wrong by itself, if there is one; of a kink: where it is. */
  readonly place?: Place | undefined;
}
export interface GradientReport {
  /** No law failed. */
  readonly ok: boolean;
  readonly checks: readonly Check[];
  readonly failures: readonly Check[];
  readonly kinks: readonly Check[];
  /** Laws that no direction decided: all met a kink, or the tolerance was too coarse. They say nothing. */
  readonly undecided: readonly Law[];
  readonly seed: number;
}

/** What f takes for these arguments. The types know nothing of a host tensor's sizes, so f may say what it likes there. */
export type ArgsOf<P> = P extends HostTensor
  ? never
  : P extends TensorSpec<infer S, infer T>
    ? Tensor<S, T>
    : P extends object
      ? { [K in keyof P]: ArgsOf<P[K]> }
      : P;

export interface GradientOptions<Sp extends readonly unknown[]> {
  /** A tree for each argument: specs, whose numbers are drawn, and host tensors, which are taken as they are. Other leaves are static. */
  readonly args: Sp;
  /** Sizes by name. */
  readonly dims?: Readonly<Record<string, number>>;
  readonly order?: 1 | 2;
  /** 'fwd': jvp against differences. 'rev': reverse mode against forward mode. Both by default. */
  readonly modes?: readonly ('fwd' | 'rev')[];
  readonly seed?: number;
  /** Points and directions tried. 4 by default. */
  readonly directions?: number;
  /** Where floats are drawn: from -2 to 2 by default. Whole numbers are drawn from 0 to 3, words of random bits (u32) from all. */
  readonly range?: readonly [min: number, max: number];
  /** All arithmetic is in float64. */
  readonly dtype?: 'f64';
}

/** The numbers of an argument at each attempt. */
export type Draw = (type: TensorType, next: () => number) => Tensor64;

export const drawn =
  ([min, max]: readonly [number, number]): Draw =>
  (type, next) =>
    isFloat(type.dtype) ? drawIn(type, min, max, next) : drawIn(type, 0, type.dtype === 'u32' ? 2 ** 32 : 4, next);

const given = (t: HostTensor): Draw => {
  if (t.dtype === 'f16' || t.dtype === 'bf16')
    throw new FoveaError('FV0002', `checkGradients: a ${t.dtype} tensor is given by its bits`, {
      hint: 'Give its numbers as f32, or a spec.',
    });
  return (type) => tensor64(type, t.data);
};

/** Attempts to find a point and a direction without a kink. */
const attempts = 6;

interface Settings {
  readonly order: 1 | 2;
  readonly modes: readonly ('fwd' | 'rev')[];
  readonly seed: number;
  readonly directions: number;
}

/** The checks of a graph of float results, its arguments drawn by `draws`. */
export const checkGraph = (graph: Graph, draws: readonly Draw[], { order, modes, seed, directions }: Settings): GradientReport => {
  const g: Graph = { ...graph, results: floatResults(graph).map((i) => graph.results[i] as Graph['results'][number]) };
  if (g.results.length === 0 || floats(g).length === 0)
    throw new FoveaError('FV0103', `checkGradients: the function has no float ${g.results.length === 0 ? 'result' : 'argument'}`, {
      hint: 'Only floats have derivatives.',
    });
  const next = numbers(seed);
  const like = (vs: readonly Graph['params'][number][]): Tensor64[] => vs.map((v) => drawLike(v.type, next));
  const moving = floats(g).map((i) => g.params[i] as Graph['params'][number]);
  const point = (): Tensor64[] => g.params.map((p, i) => (draws[i] as Draw)(p.type, next));
  const checks: Check[] = [];
  const add = (law: Law, direction: number, { node, ...verdict }: Verdict, blame: () => Place | undefined): void => {
    const at = node ? kinkAt(node) : verdict.status === 'failed' ? blame() : undefined;
    checks.push({ law, direction, ...verdict, ...(at ? { place: at } : {}) });
  };

  const stops = hasStops(inline(g, 'keep'));
  /**
   * The gradient of weighted results. Every second direction of a function with stopGradient takes the flat function with what it stops as
   * constants: only there do differences see a second derivative that a rule has stopped.
   */
  const gradient = (direction: number, xs: readonly Tensor64[]): { readonly f: Graph; readonly hold: boolean } => {
    const constant = stops && direction % 2 === 1;
    return { f: gradGraph(constant ? frozen(inline(g, 'keep'), xs) : g, next), hold: stops && !constant };
  };
  const inDirection = (direction: number, ofGradient: boolean): void => {
    for (let attempt = 0; attempt < attempts; attempt++) {
      const xs = point();
      const { f, hold } = ofGradient ? gradient(direction, xs) : { f: g, hold: true };
      const [vs, us, found] = [like(moving), like(f.results), checks.length];
      const blame = () => blameForward(f, xs, next, hold);
      if (modes.includes('fwd')) add(ofGradient ? 'gradient-forward' : 'forward', direction, forward(f, xs, vs, hold), blame);
      if (attempt === 0 && modes.includes('rev')) {
        add(ofGradient ? 'gradient-duality' : 'duality', direction, duality(f, xs, vs, us), () => blameDuality(f, xs, vs, next));
        if (ofGradient) add('symmetry', direction, symmetry(f, xs, vs, us), blame);
      }
      const { status } = checks[found] as Check;
      if (status === 'ok' || status === 'failed') return;
    }
  };
  for (let d = 0; d < directions; d++) {
    inDirection(d, false);
    if (order === 2) inDirection(d, true);
  }
  const xs = point();
  for (const c of composites(g, xs, next)) add('definition', 0, { ...c.verdict, at: `${c.place.tag}: ${c.verdict.at}` }, () => c.place);
  const pulled = [...xs, ...like(g.results)];
  add('checkpoint', 0, equal(remat(vjpGraph(asCall(g, 'checkpoint'))), vjpGraph(g), pulled, true), () => undefined);

  const of = (status: Check['status']): Check[] => checks.filter((c) => c.status === status);
  const decided = new Set([...of('ok'), ...of('failed')].map((c) => c.law));
  const failures = of('failed');
  const undecided = [...new Set(checks.map((c) => c.law))].filter((l) => !decided.has(l));
  return { ok: failures.length === 0, checks, failures, kinks: of('kink'), undecided, seed };
};

const specOf = (t: HostTensor): TensorSpec => ({ kind: 'spec', shape: t.shape.join(' '), dtype: t.dtype, dims: t.shape });

/**
 * Checks the derivatives of f with respect to all float tensors of its arguments. Throws FV0005 for a size without a number, FV0103
 * where the arguments or the results have no floats, and whatever tracing f throws.
 */
export const checkGradients = <const Sp extends readonly unknown[]>(
  f: (...args: ArgsOf<Sp>) => unknown,
  options: GradientOptions<Sp>,
): GradientReport => {
  const { args, dims = {}, order = 1, modes = ['fwd', 'rev'], seed = 0, directions = 4, range = [-2, 2] } = options;
  const specs = treeMapWithPath<readonly unknown[], unknown, unknown>((_, leaf) => (isHostTensor(leaf) ? specOf(leaf) : leaf), args);
  // host tensors stand for their specs: the types of the arguments are those of f
  const { graph } = trace(f as unknown as (...a: TensorOf<readonly unknown[]>) => unknown, specs as readonly unknown[], { dims });
  const bad = graph.params.find((p) => p.type.shape.some((d) => typeof d !== 'number'));
  if (bad)
    throw new FoveaError('FV0005', `checkGradients: the size of argument ${bad.name} is [${bad.type.shape.join(' ')}]`, {
      hint: 'Give a number for each name, as in dims: { B: 2 }.',
    });
  const tensors = treeLeaves<unknown>(args).filter((l) => isHostTensor(l) || (l as { kind?: unknown } | null)?.kind === 'spec');
  const draws = tensors.map((l) => (isHostTensor(l) ? given(l) : drawn(range)));
  return checkGraph(graph, draws, { order, modes, seed, directions });
};
