/**
 * Which memory of a kernel is declared as an array of vectors, so that several elements are read or written at once. WGSL may write the whole
 * vector where one component is assigned, which would be a race between threads: whatever is written must be written by whole vectors. What is
 * read may be read in any way.
 *
 *   store c[at] = load.4 a[at], at a multiple of 4     ->     a and c: array<vec4<f32>>, c[at >> 2u] = a[at >> 2u]
 */
import { bytesOf, type DType } from '../../compiler/graph/types.ts';
import { divisor, learn } from '../../compiler/kernel/divisors.ts';
import { operands } from '../../compiler/kernel/expr.ts';
import type { Expr, Kernel, KType, Stmt } from '../../compiler/kernel/types.ts';

interface Access {
  readonly of: string;
  readonly dtype: KType;
  readonly lanes: number;
  /** Of the first element; 0 where every lane has an address of its own. */
  readonly divisor: number;
  readonly writes: boolean;
  /** Perhaps not all lanes. */
  readonly masked: boolean;
}

const accesses = (k: Kernel): readonly Access[] => {
  const found: Access[] = [];
  const known = new Map<string, number>();
  const at = (index: Expr): number => (index.lanes === 1 ? divisor(index, known) : 0);
  const seen = new Set<Expr>();
  const visit = (e: Expr): void => {
    if (seen.has(e)) return;
    seen.add(e);
    if (e.k === 'load')
      found.push({ of: e.from, dtype: e.dtype, lanes: e.lanes, divisor: at(e.index), writes: false, masked: e.mask !== undefined });
    operands(e).forEach(visit);
  };
  const walk = (body: readonly Stmt[]): void => {
    for (const s of body) {
      learn(s, known);
      seen.clear();
      if ('value' in s) visit(s.value);
      if (s.s === 'store') {
        visit(s.index);
        const { lanes, dtype } = s.value;
        found.push({ of: s.to, dtype, lanes, divisor: at(s.index), writes: true, masked: s.mask !== undefined });
        if (s.mask) visit(s.mask);
      }
      if (s.s === 'for') [s.from, s.to].forEach(visit);
      if (s.s === 'if') {
        visit(s.cond);
        walk(s.otherwise);
      }
      if (s.s === 'for' || s.s === 'if') walk(s.body);
    }
  };
  walk(k.body);
  return found;
};

/**
 * Of each memory that is more than single elements: elements of a vector. `of` names the memory that buffers and shared arrays lie in. Elements
 * of less than a word that are written are no vectors: their words are atomic.
 */
export const vectorsOf = (k: Kernel, of: (name: string) => string, packed: (dtype: KType) => boolean): ReadonlyMap<string, number> => {
  const all = new Map<string, Access[]>();
  for (const a of accesses(k)) all.set(of(a.of), [...(all.get(of(a.of)) ?? []), a]);
  const out = new Map<string, number>();
  for (const [name, list] of all) {
    const { dtype } = list[0] as Access;
    const parts = packed(dtype);
    const choices = parts ? (list.some((a) => a.writes) ? [] : [8 / bytesOf[dtype as DType]]) : [4, 2];
    const whole = (a: Access, n: number): boolean => a.lanes % n === 0 && a.divisor > 0 && a.divisor % n === 0;
    const best = choices.find((n) => list.some((a) => whole(a, n)) && list.every((a) => !a.writes || (whole(a, n) && !a.masked)));
    if (best !== undefined) out.set(name, best);
  }
  return out;
};
