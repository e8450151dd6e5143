/**
 * Who is to blame for a law that fails: the first node, in the order of execution, that breaks the law by itself at the values that
 * it saw. Of a region that fails the nodes of its body are asked first, so that the answer is the smallest part that is wrong.
 *
 *   blameForward(g, xs, next)   ->  { prim: 'tanh', file: 'compiler/transform/jvp-pointwise.ts', loc: { file: 'model.ts', line: 12, col: 9 } }
 */
import type { Loc } from '../compiler/error.ts';
import { interpret, type Tensor64 } from '../compiler/graph/interpret.ts';
import { type Graph, isFloat, type Node, type Prim } from '../compiler/graph/types.ts';
import { inline } from '../compiler/passes/inline.ts';
import { pointwise } from '../compiler/transform/jvp-pointwise.ts';
import { structure } from '../compiler/transform/jvp-structure.ts';
import { linearize } from '../compiler/transform/linearize.ts';
import { regionTransposes } from '../compiler/transform/transpose-regions.ts';
import { duality, forward, recomputed, type Verdict } from './gradients-laws.ts';
import { watch } from './gradients-run.ts';
import { drawLike } from './numbers.ts';
import { floats, jvpGraph, single } from './transforms.ts';

/** A node, told to a user. */
export interface Place {
  readonly prim: Prim;
  /** Of a call: softmax, gelu, ... */
  readonly tag?: string | undefined;
  /** Where the rule of the primitive stands, from the root of Fovea's sources. */
  readonly file: string;
  /** The user's source line. */
  readonly loc?: Loc | undefined;
  readonly scope?: string | undefined;
  /**
   * What is wrong there. Absent: the rule in `file`. recomputed: nothing is, but from there on recomputing, which `file` does, changes a bit.
   * not finite: the first value that is not, or that has no finite slope, of finite operands.
   */
  readonly fault?: 'recomputed' | 'not finite';
}

const jvpFile = (p: Prim): string => `compiler/transform/jvp-${p in pointwise ? 'pointwise' : p in structure ? 'structure' : 'regions'}.ts`;
const transposeFile = (p: Prim): string => `compiler/transform/transpose-${p in regionTransposes ? 'regions' : 'structure'}.ts`;

const place = (n: Node, file: string): Place => ({
  prim: n.op.prim,
  ...(n.op.prim === 'call' ? { tag: n.op.tag } : {}),
  file,
  loc: n.meta.loc,
  scope: n.meta.scope || undefined,
});
/** A node with the file of its jvp rule: where a kink is, or a composite. */
export const ruleOf = (n: Node): Place => place(n, jvpFile(n.op.prim));

/**
 * Where a function stops gradients of floats, each source line once. Bodies of the language's composites are left out: what they stop
 * cancels (softmax's maximum), and is not the user's to answer for.
 */
export const stoppedIn = (g: Graph): readonly Place[] => {
  const found = new Map<string, Place>();
  const visit = ({ nodes }: Graph): void => {
    for (const n of nodes) {
      const { loc, scope } = n.meta;
      if (n.op.prim === 'stopGradient' && n.outputs.some((o) => isFloat(o.type.dtype)))
        found.set(loc ? `${loc.file}:${loc.line}` : scope, ruleOf(n));
      if ('body' in n.op && (n.op.prim !== 'call' || n.op.tag === 'checkpoint')) visit(n.op.body);
    }
  };
  visit(g);
  return [...found.values()];
};

/** Directions in which each node is tried. */
const tries = 2;

type Test = (n: Node, ins: readonly Tensor64[]) => Verdict | undefined;
/** The first node that fails, and the values that it saw. */
const firstFailing = (g: Graph, xs: readonly Tensor64[], test: Test): readonly [Node, readonly Tensor64[]] | undefined => {
  const seen: (readonly [Node, readonly Tensor64[]])[] = [];
  watch(g, xs, (n, ins, outs) => {
    seen.push([n, ins]);
    return outs;
  });
  return seen.find(([n, ins]) => Array.from({ length: tries }).some(() => test(n, ins)?.status === 'failed'));
};

/** The first node with a wrong jvp rule; `hold` as in `forward`. */
export const blameForward = (g: Graph, xs: readonly Tensor64[], next: () => number, hold = true): Place | undefined => {
  const found = firstFailing(g, xs, (n, ins) => {
    const one = single(n);
    const wrt = floats(one);
    if (wrt.length === 0 || !n.outputs.some((o) => isFloat(o.type.dtype))) return undefined;
    return forward(
      one,
      ins,
      wrt.map((i) => drawLike((one.params[i] as (typeof one.params)[number]).type, next)),
      hold,
    );
  });
  if (!found) return undefined;
  const [n, ins] = found;
  const inner = 'body' in n.op ? blameForward(inline(single(n), 'keep'), ins, next, hold) : undefined;
  return inner ?? ruleOf(n);
};

/** The first linear node of the jvp of g with a wrong transposition rule; vs are tangents of the float arguments. */
export const blameDuality = (g: Graph, xs: readonly Tensor64[], vs: readonly Tensor64[], next: () => number): Place | undefined => {
  const dual = jvpGraph(g);
  const moving = dual.params.slice(g.params.length);
  const { linear, values } = linearize(dual.nodes, moving);
  const isLinear = new Set(linear);
  const found = firstFailing(dual, [...xs, ...vs], (n, ins) => {
    if (!isLinear.has(n)) return undefined;
    const one = single(n);
    const wrt = n.inputs.flatMap((v, i) => (values.has(v) ? [i] : []));
    return duality(
      one,
      ins,
      wrt.map((i) => drawLike((n.inputs[i] as (typeof n.inputs)[number]).type, next)),
      n.outputs.filter((o) => isFloat(o.type.dtype)).map((o) => drawLike(o.type, next)),
      wrt,
    );
  });
  if (!found) return undefined;
  const [n, ins] = found;
  const flat = 'body' in n.op ? inline(single(n), 'keep') : undefined;
  const inner =
    flat &&
    blameDuality(
      flat,
      ins,
      floats(flat).map((i) => drawLike((flat.params[i] as (typeof flat.params)[number]).type, next)),
      next,
    );
  return inner ?? place(n, transposeFile(n.op.prim));
};

/**
 * The first node such that recomputing the function up to it changes a bit: of the flat function, so that it is a primitive, or, where
 * only regions are recomputed wrongly, of the function as it stands.
 */
export const blameCheckpoint = (g: Graph, xs: readonly Tensor64[], next: () => number): Place | undefined => {
  const changes = (whole: Graph, at: number): boolean => {
    const results = (whole.nodes[at] as Node).outputs.filter((o) => isFloat(o.type.dtype));
    const upTo: Graph = { ...whole, nodes: whole.nodes.slice(0, at + 1), results };
    return results.length > 0 && recomputed(upTo, [...xs, ...results.map((r) => drawLike(r.type, next))]).status === 'failed';
  };
  for (const whole of [inline(g, 'keep'), g]) {
    const n = whole.nodes.find((_, at) => changes(whole, at));
    if (n) return { ...place(n, 'compiler/transform/remat.ts'), fault: 'recomputed' };
  }
  return undefined;
};

const finite = (ts: readonly Tensor64[]): boolean => ts.every((t) => t.data.every(Number.isFinite));

/** Where infinities or NaN come from: the first primitive that makes one of finite operands, itself or in its jvp (sqrt at 0). */
export const blameInfinite = (g: Graph, xs: readonly Tensor64[], next: () => number): Place | undefined => {
  let found: Node | undefined;
  watch(inline(g, 'keep'), xs, (n, ins, outs) => {
    if (found || !n.outputs.some((o) => isFloat(o.type.dtype)) || !finite(ins)) return outs;
    const one = single(n);
    const tangents = floats(one).map((i) => drawLike((one.params[i] as (typeof one.params)[number]).type, next));
    if (!finite(outs) || (tangents.length > 0 && !finite(interpret(jvpGraph(one), [...ins, ...tangents])))) found = n;
    return outs;
  });
  return found && { ...ruleOf(found), fault: 'not finite' };
};
