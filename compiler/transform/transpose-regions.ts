/**
 * Transposes of the primitives with a region. The one call that is linear is the tangent of attention, whose transpose is a call as well.
 * The body of scan and perShard is transposed as a graph of its own. A scan turns round: it runs from the other end, the cotangents of the
 * carries are its carries, and the cotangents of its linear constants, to which every iteration contributes, are summed in carries of their own.
 *
 *   %3 = scan(dc, x, %2, dx)            body: dc' = dc * x + c * dx
 *   %7, %8 = scan(ct, x, %2) reverse    body: ct' = ct * x;   y = c * ct       %7 for dc, %8 for dx
 */
import { attention, placesIn } from '../graph/attention.ts';
import { type Builder, builder } from '../graph/builder.ts';
import type { Meta, Prim, Value } from '../graph/types.ts';
import { materialise, type Tangent } from './dual.ts';
import { extract, linearize } from './linearize.ts';
import type { AnyLinearSite, LinearSite, TransposeRule } from './transpose.ts';

const backward = (m: Meta): Meta => ({ ...m, phase: 'bwd' });

/** The body with its transpose behind it, in a builder of its own. Results without a cotangent (null) get none. */
const transposed = (s: AnyLinearSite, inner: Builder, results: readonly Value[], linear: readonly Value[], ct: readonly Tangent[]) => {
  const split = linearize(inner.build([]).nodes, linear);
  const seeds = results.flatMap((r, i) => (ct[i] ? [[r, ct[i]] as const] : []));
  const cotangents = s.transpose(inner, split.linear, split.values, seeds);
  return linear.map((v) => cotangents.get(v) ?? null);
};

const call = ({ b, op, x, ct }: LinearSite<'call'>): readonly Tangent[] => {
  if (op.tag !== 'fovea.attention.tangent') throw new Error(`internal: a jvp rule applied a call of ${op.tag} to a tangent`);
  const [scale, q, k, v, o, lse] = x as readonly [Value, Value, Value, Value, Value, Value];
  const grad = materialise(b, ct[0] ?? null, o);
  const sums = b.sum(b.mul(grad, o), [o.type.shape.length - 1]);
  const delta = ct[1] ? b.sub(sums, ct[1]) : sums;
  const grads = attention(b, 'fovea.attention.grad', [scale, q, k, v, lse, delta, grad], placesIn(op));
  return [...x.slice(0, 6).map(() => null), ...grads];
};

const perShard = (s: LinearSite<'perShard'>): readonly Tangent[] => {
  const { b, op, x, linear, ct } = s;
  const inner = builder(b.meta);
  const params = op.body.params.map((p) => inner.param(p.type, p.name));
  const cts = ct.map((c, i) => (c ? inner.param((op.body.results[i] as Value).type) : null));
  const results = inner.inline(op.body, params, backward);
  const back = transposed(
    s,
    inner,
    results,
    params.filter((_, i) => linear[i]),
    cts,
  );
  const given = [...params.filter((_, i) => !linear[i]), ...cts.filter((c) => c !== null)];
  const out = back.filter((v) => v !== null);
  if (out.length === 0) return x.map(() => null);
  const operands = [...x.filter((_, i) => !linear[i]), ...ct.filter((c) => c !== null)];
  const moved = b.emit({ prim: 'perShard', axis: op.axis, body: extract(inner.build([]).nodes, given, out) }, operands);
  let [k, m] = [0, 0];
  return x.map((_, i) => (linear[i] && back[k++] ? (moved[m++] as Value) : null));
};

const scan = (s: LinearSite<'scan'>): readonly Tangent[] => {
  const { b, op, x, linear, ct } = s;
  const fixed = op.carries + op.constants;
  const inner = builder(b.meta);
  const params = op.body.params.map((p) => inner.param(p.type, p.name));
  const results = inner.inline(op.body, params, backward);
  // the jvp rule of scan makes every carry of its second scan a tangent, whether or not it starts at zero
  const isLinear = (i: number): boolean => i < op.carries || linear[i] === true;
  const at = (keep: (i: number) => boolean): number[] => params.map((_, i) => i).filter(keep);
  const carries = at((i) => i < op.carries);
  const constants = at((i) => i >= op.carries && i < fixed && isLinear(i));
  const slices = at((i) => i >= fixed && isLinear(i));
  const heldConstants = at((i) => i >= op.carries && i < fixed && !isLinear(i));
  const heldSlices = at((i) => i >= fixed && !isLinear(i));
  const moving = [...carries, ...constants, ...slices];
  const of = (is: readonly number[]): Value[] => is.map((i) => params[i] as Value);
  const args = (is: readonly number[]): Value[] => is.map((i) => x[i] as Value);

  const cts = results.map((r, i) => (i < op.carries || ct[i] ? inner.param(r.type) : null));
  const back = transposed(s, inner, results, of(moving), cts);
  const sums = constants.map((i) => inner.param((params[i] as Value).type));
  const out = moving.map((i, k) => {
    const c = back[k] ?? null;
    const sum = sums[k - carries.length];
    if (sum) return c ? inner.add(sum, c) : sum;
    return materialise(inner, c, params[i] as Value);
  });
  const ysIn = cts.slice(op.carries).filter((c) => c !== null);
  const given = [...(cts.slice(0, op.carries) as Value[]), ...sums, ...of(heldConstants), ...of(heldSlices), ...ysIn];
  const body = extract(inner.build([]).nodes, given, out);
  const next = { ...op, carries: carries.length + constants.length, constants: heldConstants.length, reverse: !op.reverse, body };
  const moved = b.emit(next, [
    ...carries.map((i) => materialise(b, ct[i] ?? null, x[i] as Value)),
    ...constants.map((i) => b.fill(0, (x[i] as Value).type)),
    ...args(heldConstants),
    ...args(heldSlices),
    ...ct.slice(op.carries).filter((c) => c !== null),
  ]);
  return x.map((_, i) => {
    const k = moving.indexOf(i);
    return k < 0 ? null : (moved[k] as Value);
  });
};

export const regionTransposes = { call, scan, perShard } satisfies { readonly [P in Prim]?: TransposeRule<P> };
