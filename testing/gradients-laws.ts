/**
 * The laws of differentiation, each at one point and in one direction, each with a tolerance that follows from the arithmetic.
 *
 *   forward      J v = the derivative of f along v by central differences, with Richardson extrapolation
 *   duality      <u, J v> = <J' u, v>: forward and reverse mode are one linear map and its transpose
 *   symmetry     <u, H v> = <v, H u>, H the Jacobian of a gradient
 *   equal        two graphs compute the same numbers, up to rounding
 *   recomputed   recomputing the whole function for its backward pass changes no bit
 *
 * Differences: D(h) = (f(x + h v) - f(x - h v)) / 2h has an error of c h^2 + O(h^4), so R(h) = (4 D(h) - D(2h)) / 3 has one of
 * O(h^4), of which R(2h) has sixteen times as much: |R(2h) - R(h)| bounds it, with room. If rounding moves a value of f by N, it
 * moves D(h) by N / h and R(h) by (4 + 1/2) / 3 = 1.5 times that. N comes from gradients-run.ts. Where some comparison of the function
 * comes out differently between x - 4 h v and x + 4 h v the derivative is not defined by these values: that is a kink, and a
 * smaller h is tried. A verdict is also refused where the tolerance is no small part of what is compared.
 */
import { interpret, type Tensor64, tensor64 } from '../compiler/graph/interpret.ts';
import type { Graph, Node } from '../compiler/graph/types.ts';
import { inline } from '../compiler/passes/inline.ts';
import { remat } from '../compiler/transform/remat.ts';
import { changed, eps, live, noise, track } from './gradients-run.ts';
import { asCall, floatResults, floats, jvpGraph, vjpGraph } from './transforms.ts';

export interface Verdict {
  /** 'inconclusive': the tolerance is too large for a verdict, or what is expected is not finite. 'empty': there is no number to compare. */
  readonly status: 'ok' | 'failed' | 'kink' | 'inconclusive' | 'empty';
  /** Of the worst element, and where it is. */
  readonly error: number;
  readonly tolerance: number;
  readonly at: string;
  readonly got: number;
  readonly expected: number;
  /** The largest tolerance as a part of the largest number compared: errors below it are not seen. */
  readonly resolution: number;
  /** Of a kink: the node that decides differently on the two sides. */
  readonly node?: Node | undefined;
}

/** The error in units of the tolerance; NaN and infinity count as infinitely wrong. */
export const ratio = ({ error, tolerance }: Pick<Verdict, 'error' | 'tolerance'>): number =>
  error === 0 ? 0 : Number.isFinite(error) ? error / tolerance : Number.POSITIVE_INFINITY;

/** A tolerance above this part of what is compared decides nothing. */
const part = 2 ** -10;

interface Pair {
  readonly got: number;
  readonly expected: number;
  readonly tolerance: number;
  readonly at: string;
}
const empty: Verdict = { status: 'empty', error: 0, tolerance: 0, at: 'no elements', got: 0, expected: 0, resolution: 0 };
/** `scale`: what a tolerance must be small against, where the compared numbers are smaller themselves. */
const worst = (pairs: readonly Pair[], scale: number): Verdict => {
  if (pairs.length === 0) return empty;
  const size = pairs.reduce((m, p) => Math.max(m, Math.abs(p.expected)), scale);
  const resolution = pairs.reduce((m, p) => Math.max(m, p.tolerance), 0) / size;
  const all = pairs.map((p): Verdict => ({ ...p, status: 'ok', error: Math.abs(p.got - p.expected), resolution }));
  const bad = all.reduce((a, v) => (ratio(v) > ratio(a) ? v : a));
  const infinite = all.find((v) => !Number.isFinite(v.expected));
  if (infinite) return { ...infinite, status: 'inconclusive' };
  if (!(ratio(bad) <= 1)) return { ...bad, status: 'failed' };
  return resolution <= part ? bad : { ...bad, status: 'inconclusive' };
};

const flatten = (ts: readonly Tensor64[]): number[] => ts.flatMap((t) => Array.from(t.data));
const places = (ts: readonly Tensor64[], name: string): string[] =>
  ts.flatMap((t, r) => Array.from(t.data, (_, k) => `${name} ${r}[${k}]`));
const largest = (xs: readonly number[]): number => xs.reduce((m, x) => Math.max(m, Math.abs(x)), 0);

const along = (g: Graph, xs: readonly Tensor64[], vs: readonly Tensor64[], step: number): Tensor64[] => {
  const at = floats(g);
  return xs.map((x, i) => {
    const v = vs[at.indexOf(i)];
    return v
      ? tensor64(
          x.type,
          Array.from(x.data, (e, k) => e + step * (v.data[k] as number)),
        )
      : x;
  });
};

const steps = [2 ** -12, 2 ** -15, 2 ** -18, 2 ** -21];

/**
 * J v of g at xs against differences; vs are tangents of the float arguments. `hold`: what stopGradient gives is a constant of the
 * differences too. In a gradient whose function has none it is not: there only a rule can have put one in.
 */
export const forward = (g: Graph, xs: readonly Tensor64[], vs: readonly Tensor64[], hold = true): Verdict => {
  const only = { ...g, results: floatResults(g).map((i) => g.results[i] as Graph['results'][number]) };
  const flat = inline(only, 'keep');
  const base = track(flat, xs);
  const held = hold ? base.held : undefined;
  const alive = live(flat, hold);
  const deciding = flat.nodes.filter((n) => alive.has(n));
  const dual = jvpGraph(only);
  const got = interpret(dual, [...xs, ...vs]);
  const [names, tangents] = [places(got, 'result'), flatten(got)];
  if (tangents.length === 0) return empty;
  const rounding = { f: noise(flat, xs, flatten, held), df: noise(inline(dual, 'keep'), [...xs, ...vs], flatten) };
  const scale = Math.max(largest(flatten(base.results)), least);
  let found: Verdict | undefined;
  for (const h of steps) {
    const runs = [1, -1, 2, -2, 4, -4].map((k) => track(flat, along(g, xs, vs, k * h), held));
    const node = changed(deciding, base, runs);
    if (node) {
      found ??= { status: 'kink', error: 0, tolerance: 0, at: '', got: 0, expected: 0, resolution: 0, node };
      continue;
    }
    const [p1, m1, p2, m2, p4, m4] = runs.map((r) => flatten(r.results)) as [number[], number[], number[], number[], number[], number[]];
    const pairs = tangents.map((d, i): Pair => {
      const D = (p: readonly number[], m: readonly number[], k: number): number => ((p[i] as number) - (m[i] as number)) / (2 * k * h);
      const [d1, d2, d4] = [D(p1, m1, 1), D(p2, m2, 2), D(p4, m4, 4)];
      const [near, far] = [(4 * d1 - d2) / 3, (4 * d2 - d4) / 3];
      // the extrapolation itself rounds four times, and its terms are up to 4/3 of these
      const own = 8 * eps * Math.max(Math.abs(d1), Math.abs(d2), Math.abs(d4));
      const tolerance = Math.abs(far - near) + (1.5 * (rounding.f[i] as number)) / h + (rounding.df[i] as number) + own;
      return { got: d, expected: near, tolerance, at: names[i] as string };
    });
    const verdict = worst(pairs, scale);
    if (verdict.status === 'ok') return verdict;
    // a failure outweighs a kink or a coarse tolerance at another step
    if (!found || verdict.status === 'failed') found = found?.status === 'failed' ? found : verdict;
  }
  return found as Verdict;
};

const dotted = (
  us: readonly Tensor64[],
  vs: readonly Tensor64[],
): { readonly sum: number; readonly size: number; readonly count: number } => {
  const terms = us.flatMap((u, i) => Array.from(u.data, (e, k) => e * ((vs[i] as Tensor64).data[k] as number)));
  return { sum: terms.reduce((s, t) => s + t, 0), size: terms.length * terms.reduce((s, t) => s + Math.abs(t), 0), count: terms.length };
};

/** The scale of products that are all zero, against vectors of numbers up to 1: nothing that small is told apart from zero. */
const least = 2 ** -20;

/** Two numbers, each the product of a graph's results with given tensors. */
interface Form {
  readonly graph: Graph;
  readonly xs: readonly Tensor64[];
  readonly with: readonly Tensor64[];
}
const sameForm = (left: Form, right: Form, at: string): Verdict => {
  const value = (f: Form) => {
    const { sum, size, count } = dotted(interpret(f.graph, f.xs), f.with);
    const [moves] = noise(inline(f.graph, 'keep'), f.xs, (rs) => [dotted(rs, f.with).sum]) as [number];
    return { sum, size, count, error: moves + eps * size };
  };
  const [l, r] = [value(left), value(right)];
  if (l.count + r.count === 0) return empty;
  return worst([{ got: r.sum, expected: l.sum, tolerance: l.error + r.error, at }], Math.max(l.size, r.size, least));
};

/** <u, J v> = <J' u, v> for the arguments `wrt`: vs are their tangents, us cotangents of the float results. */
export const duality = (
  g: Graph,
  xs: readonly Tensor64[],
  vs: readonly Tensor64[],
  us: readonly Tensor64[],
  wrt: readonly number[] = floats(g),
): Verdict =>
  sameForm(
    { graph: jvpGraph(g, wrt), xs: [...xs, ...vs], with: us },
    { graph: vjpGraph(g, wrt), xs: [...xs, ...us], with: vs },
    '<u, J v>',
  );

/** <u, H v> = <v, H u> for the graph of a gradient. */
export const symmetry = (gradient: Graph, xs: readonly Tensor64[], vs: readonly Tensor64[], us: readonly Tensor64[]): Verdict => {
  const graph = jvpGraph(gradient);
  return sameForm({ graph, xs: [...xs, ...vs], with: us }, { graph, xs: [...xs, ...us], with: vs }, '<u, H v>');
};

/** The numbers of `got` are those of `wanted`: up to what rounding does to either, or, if `exact`, bit by bit. */
export const equal = (got: Graph, wanted: Graph, xs: readonly Tensor64[], exact: boolean): Verdict => {
  const [a, b] = [interpret(got, xs), interpret(wanted, xs)];
  const [na, nb] = exact ? [[], []] : [noise(inline(got, 'keep'), xs, flatten), noise(inline(wanted, 'keep'), xs, flatten)];
  const [names, have, want] = [places(b, 'result'), flatten(a), flatten(b)];
  const pairs = want.map(
    (e, i): Pair => ({ got: have[i] as number, expected: e, tolerance: (na[i] ?? 0) + (nb[i] ?? 0), at: names[i] as string }),
  );
  return worst(pairs, Math.max(largest(want), least));
};

/** The gradient with everything recomputed in the backward pass is that with everything kept, bit by bit; `args` ends in cotangents. */
export const recomputed = (g: Graph, args: readonly Tensor64[]): Verdict =>
  equal(remat(vjpGraph(asCall(g, 'checkpoint'))), vjpGraph(g), args, true);
