/**
 * What the backward phase reads of the forward phase, in the type of its contractions. Where a policy says `kept: true`, a float32 value that
 * contractions made (a product with its bias, a residual stream, the result of attention) and that waits for the backward phase is rounded for it
 * to the bf16 or f16 of its scope: half the bytes, as frameworks keep them whose layers give bf16. The forward phase goes on with float32. The
 * statistics of rows stay float32, and so does what a scope of float32 reads, a loss for example.
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
import { type Precision, policyOf } from './precision.ts';

const views: ReadonlySet<string> = new Set(['reshape', 'transpose', 'stopGradient', 'slice', 'concat']);

/** Values as large as contractions made them: their results, and what pointwise operations and views make of those. */
const contracted = (g: Graph): ReadonlySet<Value> => {
  const found = new Set<Value>();
  for (const n of g.nodes) {
    const [o] = n.outputs as readonly [Value];
    const from = n.inputs.some((v) => found.has(v) && countOf(v.type) >= countOf(o.type));
    // of attention the rows, and not the logarithms of their sums
    if (n.op.prim === 'dot' || isAttention(n) || ((pointwise.has(n.op.prim) || views.has(n.op.prim)) && from)) found.add(o);
  }
  return found;
};

/** The values to round, each with its type. Those of fewer than `least` bytes stay. */
const chosen = (g: Graph, policy: (scope: string) => FloatType, least: number): ReadonlyMap<Value, 'bf16' | 'f16'> => {
  const { makers, readers } = linksOf(g);
  const made = contracted(g);
  const results = new Set(g.results);
  const found = new Map<Value, 'bf16' | 'f16'>();
  for (const [v, n] of makers) {
    if (n.meta.phase !== 'fwd' || v.type.dtype !== 'f32' || !made.has(v) || results.has(v) || 4 * countOf(v.type) < least) continue;
    const type = policy(n.meta.scope);
    const later = readers(v).filter((r) => r.meta.phase !== 'fwd');
    if (type === 'f32' || later.length === 0) continue;
    if (later.every((r) => r.meta.phase === 'bwd' && policy(r.meta.scope) === type)) found.set(v, type);
  }
  return found;
};

/** Rounds what waits for the backward phase, where the policy says so. */
export const keep =
  (choice: Precision, least: number) =>
  (g: Graph): Graph => {
    if (typeof choice === 'string' || choice.kept !== true) return g;
    const types = chosen(g, policyOf(choice), least);
    if (types.size === 0) return g;
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
      const known = n.op.prim === 'cast' && x && types.get(x) === n.op.dtype ? rounded.get(x) : undefined;
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
        const type = types.get(o);
        if (type) rounded.set(o, b.emit({ prim: 'cast', dtype: type }, [outs[i] as Value], n.meta)[0] as Value);
      });
    }
    return b.build(g.results.map((r) => env.get(r) as Value));
  };
