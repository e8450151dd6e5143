/**
 * Attention as a user writes it (einsum, softmax, einsum), forward or backward. The backward pass is differentiated from it and timed by
 * the launches of that phase alone. Arithmetic by definition: two contractions of T x T x D a head forward, five backward.
 *
 *   fovea bench attention --shape 1x6x1370x64 --backward
 */
import { einsum, type F32, grad, rsqrt, scalar, size, softmax, spec, sum } from '../../../index.ts';
import { atPlaces, spread } from '../check.ts';
import { formula, prepare } from '../prepared.ts';
import type { Case } from '../types.ts';

export type AttentionShape = readonly [images: number, heads: number, tokens: number, width: number];
type Heads = F32<'B H T D'>;

const attend = (q: Heads, k: Heads, v: Heads): Heads => {
  const weights = softmax(einsum('b h n k, b h m k -> b h n m', q.mul(rsqrt(scalar(size('D')))), k));
  return einsum('b h n m, b h m k -> b h n k', weights, v);
};

interface Operands {
  readonly q: Heads;
  readonly k: Heads;
  readonly v: Heads;
}
const backward = (x: Operands, cotangent: Heads): Operands =>
  grad((p: Operands) => sum('b h n k ->', attend(p.q, p.k, p.v).mul(cotangent)))(x) as Operands;

/** Numbers of one head, in float64 where it matters: every sum is one of JavaScript's numbers. */
interface Head {
  readonly q: Float32Array;
  readonly k: Float32Array;
  readonly v: Float32Array;
  readonly d: Float32Array;
}

/** Row i of the result and what its gradients need: weights, and the product of cotangent and result. */
const row = ({ q, k, v, d }: Head, i: number, tokens: number, width: number) => {
  const weights = new Float64Array(tokens);
  let top = Number.NEGATIVE_INFINITY;
  for (let j = 0; j < tokens; j++) {
    let s = 0;
    for (let c = 0; c < width; c++) s += q[i * width + c]! * k[j * width + c]!;
    weights[j] = s / Math.sqrt(width);
    top = Math.max(top, weights[j]!);
  }
  let total = 0;
  for (let j = 0; j < tokens; j++) total += weights[j] = Math.exp(weights[j]! - top);
  const out = new Float64Array(width);
  for (let j = 0; j < tokens; j++) {
    weights[j]! /= total;
    for (let c = 0; c < width; c++) out[c]! += weights[j]! * v[j * width + c]!;
  }
  let delta = 0;
  for (let c = 0; c < width; c++) delta += d[i * width + c]! * out[c]!;
  /** Derivative by the score of (i, j). */
  const slope = (j: number): number => {
    let dp = 0;
    for (let c = 0; c < width; c++) dp += d[i * width + c]! * v[j * width + c]!;
    return weights[j]! * (dp - delta);
  };
  return { weights, out, slope };
};

const placed = (i: number, width: number, values: Float64Array) => Array.from(values, (x, c) => [i * width + c, x] as const);

/** dq at row i; dk and dv at row j, which need every row of the head. */
const gradients = (h: Head, some: readonly number[], tokens: number, width: number) => {
  const scale = 1 / Math.sqrt(width);
  const make = () => new Map(some.map((j) => [j, new Float64Array(width)] as const));
  const [dq, dk, dv] = [make(), make(), make()];
  for (let i = 0; i < tokens; i++) {
    const r = row(h, i, tokens, width);
    const own = dq.get(i);
    if (own)
      for (let j = 0; j < tokens; j++) {
        const s = r.slope(j) * scale;
        for (let c = 0; c < width; c++) own[c]! += s * h.k[j * width + c]!;
      }
    for (const j of some) {
      const s = r.slope(j) * scale;
      for (let c = 0; c < width; c++) {
        dk.get(j)![c]! += s * h.q[i * width + c]!;
        dv.get(j)![c]! += r.weights[j]! * h.d[i * width + c]!;
      }
    }
  }
  const places = (m: ReadonlyMap<number, Float64Array>) => [...m].flatMap(([j, x]) => placed(j, width, x));
  return new Map([
    ['q', places(dq)],
    ['k', places(dk)],
    ['v', places(dv)],
  ]);
};

export const attentionCase = (shape: AttentionShape, direction: 'forward' | 'backward'): Case => {
  const [images, heads, tokens, width] = shape;
  const made = (name: string, scale: number) => formula(name, shape, scale);
  // scores with a standard deviation of about 1: softmax has something to do
  const [q, k, v, d] = [made('q', 1.7), made('k', 1.7), made('v', 1), made('cotangent', 1)] as const;
  const first = (x: typeof q): Float32Array => (x.load() as Float32Array).slice(0, tokens * width);
  const head = (): Head => ({ q: first(q), k: first(k), v: first(v), d: first(d) });
  const dims = { B: images, H: heads, T: tokens, D: width };
  const one = spec('B H T D');
  const contraction = 2 * images * heads * tokens ** 2 * width;
  const common = { shape: shape.join('x'), bound: 'arithmetic' } as const;
  if (direction === 'forward')
    return {
      ...common,
      name: 'attention',
      timed: 'launches',
      flops: 2 * contraction,
      prepare: prepare(attend, [one, one, one], [q, k, v], { dims }),
      check: atPlaces('float64 at 8 rows of the first head', () => {
        const h = head();
        return new Map([['', spread(8, tokens).flatMap((i) => placed(i, width, row(h, i, tokens, width).out))]]);
      }),
    };
  return {
    ...common,
    name: 'attention backward',
    timed: 'backward launches',
    flops: 5 * contraction,
    prepare: prepare(backward, [{ q: one, k: one, v: one }, one], [{ q, k, v }, d], { dims }),
    check: atPlaces('float64 at 4 rows of the first head', () => gradients(head(), spread(4, tokens), tokens, width)),
  };
};
