/**
 * Reverse mode: recognise, jvp, linearize, transpose. The last three work in a builder of their own; what is live goes to the caller's in
 * two parts. What the results need is the forward part. All else that the gradients need, also the slopes that only
 * the derivative uses, has phase `bwd` and stands just before its first use, so that what lives from forward to backward
 * are values that the function computes anyway.
 *
 *   %2 = sin(%0)                         fwd
 *   %3 = reduceSum(%2) axes=[0]          fwd, the result
 *   %5 = broadcast(%4) shape=[4] axes=[] bwd, %4 = 1
 *   %6 = cos(%0)                         bwd
 *   %7 = mul(%5, %6)                     bwd, the gradient
 */
import { FoveaError } from '../error.ts';
import { type Builder, builder } from '../graph/builder.ts';
import { eqType, showType } from '../graph/infer.ts';
import { type Graph, isFloat, type Node, type Value } from '../graph/types.ts';
import { materialise, type Tangent } from './dual.ts';
import { freeRegion, jvp } from './jvp.ts';
import { linearize, needed } from './linearize.ts';
import { recognise } from './recognise.ts';
import { rows } from './rows.ts';
import { transposeLinear } from './transpose.ts';

const fail = (b: Builder, message: string, hint: string): never => {
  throw new FoveaError('FV0103', message, { loc: b.meta.loc, scope: b.meta.scope, hint });
};

/** The nodes of a jvp (`primal`, with the linear ones still among them), then those of its transpose, and the values wanted of them. */
interface Joint {
  readonly primal: readonly Node[];
  readonly transposed: readonly Node[];
  readonly results: readonly Value[];
  readonly grads: readonly Value[];
}

/** Inlines the live part into b, forward and then backward; `env` gives the values of the parameters. */
const emitLive = (b: Builder, { primal, transposed, results, grads }: Joint, env: Map<Value, Value>): void => {
  const nodes = [...primal, ...transposed];
  const forward = needed(nodes, results);
  const backward = needed(nodes, grads, new Set([...forward].flatMap((n) => n.outputs)));
  const maker = new Map<Value, Node>();
  for (const n of backward) for (const o of n.outputs) maker.set(o, n);

  // region numbers stay apart from those that b has
  const regions = new Map<number, number>();
  let next: number | undefined;
  const fresh = (): number => {
    next ??= freeRegion(b.build([]).nodes);
    return next++;
  };
  const region = (r: number): number => {
    const known = regions.get(r) ?? fresh();
    regions.set(r, known);
    return known;
  };
  const emit = (n: Node, meta: Node['meta']): void => {
    const outs = b.emit(
      n.op,
      n.inputs.map((v) => env.get(v) as Value),
      meta,
    );
    n.outputs.forEach((o, i) => {
      env.set(o, outs[i] as Value);
    });
  };
  for (const n of nodes) if (forward.has(n)) emit(n, n.meta.remat === undefined ? n.meta : { ...n.meta, remat: region(n.meta.remat) });

  // in order of the transpose, each node after what it lacks; the stack is explicit because chains may be long
  const place = (last: Node): void => {
    const stack = [last];
    while (stack.length > 0) {
      const n = stack[stack.length - 1] as Node;
      const missing = n.inputs.find((v) => !env.has(v));
      if (missing) stack.push(maker.get(missing) as Node);
      else {
        stack.pop();
        if (!env.has(n.outputs[0] as Value))
          emit(n, n.meta.phase === 'bwd' && n.meta.remat === undefined ? n.meta : { ...n.meta, phase: 'bwd', remat: undefined });
      }
    }
  };
  for (const n of transposed) if (backward.has(n)) place(n);
  for (const v of grads) if (!env.has(v)) place(maker.get(v) as Node);
};

/** What enters at a result: a cotangent, 1, or null for zero. */
type Seed = Tangent | 1;

const pull = (
  b: Builder,
  written: Graph,
  args: readonly Value[],
  seeds: readonly Seed[],
  wrt: readonly number[],
): { results: readonly Value[]; grads: readonly Tangent[] } => {
  const g = rows(recognise(written));
  for (const i of wrt) {
    const p = g.params[i];
    if (!p) return fail(b, `there is no argument ${i}: the function has ${g.params.length}`, 'Count arguments from 0.');
    if (!isFloat(p.type.dtype))
      return fail(b, `argument ${i}${p.name ? ` (${p.name})` : ''} is ${showType(p.type)}`, 'Only float arguments have gradients.');
  }
  const s = builder(b.meta);
  const params = g.params.map((p) => s.param(p.type, p.name));
  const moving = g.params.map((p, i) => (wrt.includes(i) ? s.param(p.type) : null));
  const env = new Map<Value, Value>(params.map((p, i) => [p, args[i] as Value]));
  const { results, tangents } = jvp(s, g, params, moving);
  const primal = s.build([]).nodes;
  const { linear, values } = linearize(
    primal,
    moving.filter((t) => t !== null),
  );
  const enter = (seed: Value | 1, result: Value): Value => {
    if (seed === 1) return s.at({ ...s.maker(result)?.meta, phase: 'bwd', remat: undefined }, () => s.fill(1, result.type));
    const p = s.param(seed.type);
    env.set(p, seed);
    return p;
  };
  const entries = tangents.flatMap((t, i) => (t && seeds[i] ? [[t, enter(seeds[i], results[i] as Value)] as const] : []));
  const pulled = transposeLinear(s, linear, values, entries);
  const grads = moving.map((t) => (t ? (pulled.get(t) ?? null) : null));
  emitLive(b, { primal, transposed: s.build([]).nodes.slice(primal.length), results, grads: grads.filter((v) => v !== null) }, env);
  return { results: results.map((r) => env.get(r) as Value), grads: grads.map((v) => v && (env.get(v) as Value)) };
};

/**
 * Inlines `g` into `b` at `args` and pulls `cotangents` of its results (null is zero) back to the arguments `wrt`, by default
 * all that are float. `grads` has an entry an argument: null where it is not in `wrt` or the results do not depend on it.
 * Throws FV0103 for a cotangent that does not fit its result and for an argument in `wrt` that is not float.
 */
export const vjp = (
  b: Builder,
  g: Graph,
  args: readonly Value[],
  cotangents: readonly Tangent[],
  wrt: readonly number[] = args.flatMap((x, i) => (isFloat(x.type.dtype) ? [i] : [])),
): { results: readonly Value[]; grads: readonly Tangent[] } => {
  cotangents.forEach((c, i) => {
    const r = g.results[i];
    if (c && !(r && isFloat(r.type.dtype) && eqType(c.type, r.type)))
      fail(
        b,
        `result ${i} is ${r ? showType(r.type) : 'missing'}, its cotangent ${showType(c.type)}`,
        'A cotangent has the type of its result.',
      );
  });
  return pull(b, g, args, cotangents, wrt);
};

/**
 * Inlines `g` into `b` at `args` and emits the gradients of its result 0, a float scalar, with respect to the arguments
 * `wrt`, in that order and of their types. Throws FV0103 if result 0 is anything else, or an argument is not float.
 */
export const valueAndGrad = (
  b: Builder,
  g: Graph,
  args: readonly Value[],
  wrt: readonly number[],
): { results: readonly Value[]; grads: readonly Value[] } => {
  const loss = g.results[0];
  if (!loss || !isFloat(loss.type.dtype) || loss.type.shape.length !== 0)
    return fail(
      b,
      `grad: the function returns ${loss ? showType(loss.type) : 'nothing'}, not one float scalar`,
      'Reduce it to a scalar, by sum or mean.',
    );
  const { results, grads } = pull(b, g, args, [1], wrt);
  return { results, grads: b.at({ phase: 'bwd' }, () => wrt.map((i) => materialise(b, grads[i] ?? null, args[i] as Value))) };
};
