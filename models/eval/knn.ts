/**
 * DINOv2's k-NN classifier (facebookresearch/dinov2, eval/knn.py): cosine similarity to every picture of a labelled bank, the k nearest
 * vote with weights softmax(similarity / temperature). The softmax runs over the largest k of a call, and a smaller k
 * uses the first of these weights as they are.
 *
 *   const { accuracy } = knn({ bank, bankLabels, queries, queryLabels, dim: 96, classes: 10, k: [20] });
 *   accuracy.get(20)   // 0.771
 */
import { FoveaError } from '../../compiler/error.ts';

export interface KnnInput {
  /** Row-major features, `dim` a row; rows need not be normalised. */
  readonly bank: Float32Array;
  readonly bankLabels: ArrayLike<number>;
  readonly queries: Float32Array;
  readonly dim: number;
  readonly classes: number;
  /** Numbers of neighbours, each at most the size of the bank. */
  readonly k: readonly number[];
  readonly temperature?: number;
}

export interface Neighbours {
  /** [queries, max k], nearest first; of equal similarities the one that comes first in the bank. */
  readonly similarities: Float32Array;
  readonly indices: Int32Array;
  readonly labels: Int32Array;
  /** For each k: [queries, classes] summed weights. */
  readonly votes: ReadonlyMap<number, Float32Array>;
}

/** Rows divided by their Euclidean norm (by 1e-12 if that is larger). */
export const normaliseRows = (x: Float32Array, dim: number): Float32Array => {
  const out = new Float32Array(x.length);
  for (let row = 0; row < x.length; row += dim) {
    let sum = 0;
    for (let i = row; i < row + dim; i++) sum += x[i]! * x[i]!;
    const scale = 1 / Math.max(Math.sqrt(sum), 1e-12);
    for (let i = row; i < row + dim; i++) out[i] = x[i]! * scale;
  }
  return out;
};

/** Neighbours and votes of every query. Similarities are summed in float64. FV0408: sizes do not fit. */
export const neighbours = (input: KnnInput): Neighbours => {
  const { dim, classes, bankLabels } = input;
  const temperature = input.temperature ?? 0.07;
  const bank = normaliseRows(input.bank, dim);
  const queries = normaliseRows(input.queries, dim);
  const n = bank.length / dim;
  const m = queries.length / dim;
  const most = Math.max(...input.k);
  const fail = (text: string): never => {
    throw new FoveaError('FV0408', `k-NN: ${text}`);
  };
  if (!Number.isInteger(n) || !Number.isInteger(m)) fail(`features of ${bank.length} and ${queries.length} numbers are no rows of ${dim}`);
  if (bankLabels.length !== n) fail(`${n} bank features but ${bankLabels.length} labels`);
  if (input.k.length === 0 || !input.k.every((k) => Number.isInteger(k) && k >= 1 && k <= n))
    fail(`k = ${input.k.join(', ')} with a bank of ${n}`);
  for (let i = 0; i < n; i++)
    if (!(bankLabels[i]! >= 0 && bankLabels[i]! < classes)) fail(`label ${bankLabels[i]} is none of ${classes} classes`);

  const similarities = new Float32Array(m * most);
  const indices = new Int32Array(m * most);
  const labels = new Int32Array(m * most);
  const votes = new Map(input.k.map((k) => [k, new Float32Array(m * classes)]));
  const best = new Float64Array(most);
  const where = new Int32Array(most);
  for (let q = 0; q < m; q++) {
    let held = 0;
    for (let i = 0; i < n; i++) {
      let s = 0;
      for (let d = 0; d < dim; d++) s += queries[q * dim + d]! * bank[i * dim + d]!;
      if (held === most && s <= best[most - 1]!) continue;
      let at = held < most ? held++ : most - 1;
      for (; at > 0 && best[at - 1]! < s; at--) {
        best[at] = best[at - 1]!;
        where[at] = where[at - 1]!;
      }
      best[at] = s;
      where[at] = i;
    }
    let sum = 0;
    for (let j = 0; j < most; j++) sum += Math.exp((best[j]! - best[0]!) / temperature);
    for (let j = 0; j < most; j++) {
      const label = bankLabels[where[j]!]!;
      similarities[q * most + j] = best[j]!;
      indices[q * most + j] = where[j]!;
      labels[q * most + j] = label;
      const weight = Math.exp((best[j]! - best[0]!) / temperature) / sum;
      for (const [k, v] of votes) if (j < k) v[q * classes + label] = v[q * classes + label]! + weight;
    }
  }
  return { similarities, indices, labels, votes };
};

/** Class numbers by falling vote, the first `top` of them; equal votes in class order. */
export const ranking = (votes: Float32Array, top: number): number[] =>
  Array.from(votes, (v, i) => ({ v, i }))
    .sort((a, b) => b.v - a.v || a.i - b.i)
    .slice(0, top)
    .map((e) => e.i);

/** Share of the queries whose true class is among the `top` most voted ones, for each k. */
export const knn = (
  input: KnnInput & { readonly queryLabels: ArrayLike<number>; readonly top?: number },
): { readonly accuracy: ReadonlyMap<number, number> } => {
  const { votes } = neighbours(input);
  const { classes, queryLabels } = input;
  const accuracy = new Map<number, number>();
  for (const [k, v] of votes) {
    const m = v.length / classes;
    if (queryLabels.length !== m) throw new FoveaError('FV0408', `k-NN: ${m} query features but ${queryLabels.length} labels`);
    let right = 0;
    for (let q = 0; q < m; q++) if (ranking(v.subarray(q * classes, (q + 1) * classes), input.top ?? 1).includes(queryLabels[q]!)) right++;
    accuracy.set(k, right / m);
  }
  return { accuracy };
};
