/**
 * What the backward phase reads of the forward phase, in the type of its contractions. Where a policy says `kept: true`, a float32 value that
 * contractions made in a scope of bf16 (a product with its bias, the result of attention) and that waits for the backward phase is rounded for it:
 * half the bytes, as frameworks keep it whose layers give bf16. The forward phase goes on with float32. What a statistic is made of (a
 * residual stream in front of a normalisation, logits) stays float32, and so do statistics, and what a scope of float32 reads, or is computed again from
 * for it, a loss for example.
 * f16 is never kept: it has not the range.
 *
 *   %5 = add(%4, %3)    fwd, %4 a dot              %5 = add(%4, %3)     fwd
 *   %6 = tanh(%5)       fwd                 ->     %6 = cast(%5): bf16  fwd
 *   %9 = mul(%8, %5)    bwd                        %7 = tanh(%5)        fwd
 *                                                  %9 = cast(%6): f32   bwd
 *                                                  %10 = mul(%8, %9)    bwd
 *
 * After `recompute`, which decides what is kept.
 */
import { isAttention } from '../graph/attention.ts';
import { builder } from '../graph/builder.ts';
import { pointwise } from '../graph/interpret-pointwise.ts';
import { linksOf } from '../graph/links.ts';
import { countOf } from '../graph/tensor64.ts';
import type { FloatType, Graph, Node, Value } from '../graph/types.ts';
import { isProduct, type Precision, policyOf } from './precision.ts';

const views: ReadonlySet<string> = new Set(['reshape', 'transpose', 'stopGradient', 'slice', 'concat']);

/** Values as large as contractions made them: their results, and what pointwise operations and views make of those. */
const contracted = (g: Graph): ReadonlySet<Value> => {
  const found = new Set<Value>();
  for (const n of g.nodes) {
    const [o] = n.outputs as readonly [Value];
    const from = n.inputs.some((v) => found.has(v) && countOf(v.type) >= countOf(o.type));
    // of attention the rows, and not the logarithms of their sums
    if (contracts(n) || (passes(n) && from)) found.add(o);
  }
  return found;
};
const passes = (n: Node): boolean => pointwise.has(n.op.prim) || views.has(n.op.prim);
const contracts = (n: Node): boolean => isAttention(n) || (n.op.prim === 'dot' && isProduct(n.op, n.inputs));

/**
 * Values that, forward, a statistic is made of, by however many pointwise operations: a maximum, a mean, a norm. The backward phase compares with
 * it, or subtracts it, and what was rounded does not fit it any more: no element would be the largest of its row, and x - mean(x) would be
 * the rounding of x.
 */
const measured = (g: Graph): ReadonlySet<Value> => {
  const found = new Set<Value>();
  for (const n of [...g.nodes].reverse()) {
    if (n.meta.phase === 'bwd' || contracts(n) || n.op.prim === 'cast') continue;
    if (!passes(n) || n.outputs.some((o) => found.has(o))) for (const v of n.inputs) found.add(v);
  }
  return found;
};

/**
 * What the backward phase has of the forward phase: its values, and those that it computes again from nothing else (transform/recompute.ts). What is made of
 * them and of a gradient is not among them.
 */
const forward = (g: Graph): ReadonlySet<Value> => {
  const found = new Set<Value>(g.params);
  for (const n of g.nodes) if (n.meta.phase === 'fwd' || n.inputs.every((v) => found.has(v))) for (const o of n.outputs) found.add(o);
  return found;
};

/** The values to round. Those of fewer than `least` bytes stay. */
const chosen = (g: Graph, policy: (scope: string) => FloatType, least: number): ReadonlySet<Value> => {
  const { makers, readers } = linksOf(g);
  const made = contracted(g);
  const [own, results, known] = [measured(g), new Set(g.results), forward(g)];
  const looked = new Map<Value, boolean>();
  /** Whether scopes of bf16 alone read the value in the backward phase, or what is computed again from it. */
  const low = (v: Value): boolean => {
    const old = looked.get(v);
    if (old !== undefined) return old;
    const made = readers(v).every(
      (r) =>
        r.meta.phase === 'fwd' ||
        (r.meta.phase === 'bwd' && policy(r.meta.scope) === 'bf16' && (!passes(r) || r.outputs.every((o) => !known.has(o) || low(o)))),
    );
    looked.set(v, made);
    return made;
  };
  const found = new Set<Value>();
  for (const [v, n] of makers) {
    if (n.meta.phase !== 'fwd' || v.type.dtype !== 'f32' || !made.has(v) || own.has(v) || results.has(v) || 4 * countOf(v.type) < least)
      continue;
    if (policy(n.meta.scope) === 'bf16' && readers(v).some((r) => r.meta.phase !== 'fwd') && low(v)) found.add(v);
  }
  return found;
};

/** Rounds what waits for the backward phase, where the policy says so. */
export const keep =
  (choice: Precision, least: number) =>
  (g: Graph): Graph => {
    if (typeof choice === 'string' || choice.kept !== true) return g;
    const waits = chosen(g, policyOf(choice), least);
    if (waits.size === 0) return g;
    const b = builder();
    const env = new Map<Value, Value>(g.params.map((p) => [p, b.param(p.type, p.name)]));
    const rounded = new Map<Value, Value>();
    const widened = new Map<Value, Value>();
    const later = (v: Value, n: Node): Value => {
      const low = rounded.get(v);
      if (!low) return env.get(v) as Value;
      const old = widened.get(v);
      if (old) return old;
      const { scope, phase, loc } = n.meta;
      const [wide] = b.emit({ prim: 'cast', dtype: 'f32' }, [low], { scope, phase, loc }) as readonly [Value];
      widened.set(v, wide);
      return wide;
    };
    for (const n of g.nodes) {
      const [x] = n.inputs;
      // a contraction's own cast of the value, forward, is the one that is kept
      const known = n.op.prim === 'cast' && n.op.dtype === 'bf16' && x ? rounded.get(x) : undefined;
      if (known) {
        env.set(n.outputs[0] as Value, known);
        continue;
      }
      const outs = b.emit(
        n.op,
        n.inputs.map((v) => (n.meta.phase === 'fwd' ? (env.get(v) as Value) : later(v, n))),
        n.meta,
      );
      n.outputs.forEach((o, i) => {
        env.set(o, outs[i] as Value);
        if (waits.has(o)) rounded.set(o, b.emit({ prim: 'cast', dtype: 'bf16' }, [outs[i] as Value], n.meta)[0] as Value);
      });
    }
    return b.build(g.results.map((r) => env.get(r) as Value));
  };
