/**
 * Principal components of feature rows: mean, directions of largest variance, projections. Patch features projected on three components
 * and read as red, green and blue show what a vision transformer tells apart.
 *
 * The covariance's leading directions come from subspace iteration with Rayleigh-Ritz: a block of a few more directions than asked for is
 * multiplied by the covariance, orthonormalised and rotated to its own eigenvectors (Jacobi on the small matrix) until it stands
 * still. Nothing but dim x dim numbers is kept, and close eigenvalues among the leading ones do no harm.
 *
 *   const { components, projections } = pca(patches, 96, 3);   // [3 96] and [rows 3]
 */
import { FoveaError } from '../../compiler/error.ts';

export interface Pca {
  readonly mean: Float64Array;
  /** [count, dim], orthonormal rows, each with its entry of largest magnitude positive. */
  readonly components: Float64Array;
  /** [rows, count]: centred rows times components. */
  readonly projections: Float64Array;
  /** Of the centred matrix, falling. */
  readonly singularValues: Float64Array;
  /** Share of the total variance that each component explains. */
  readonly explained: Float64Array;
}

type Matrix = Float64Array[];

/** Eigenvalues and eigenvectors (rows) of a small symmetric matrix, falling: cyclic Jacobi rotations. */
export const symmetricEigen = (input: Matrix): { readonly values: Float64Array; readonly vectors: Matrix } => {
  const n = input.length;
  const a = input.map((row) => row.slice());
  const v: Matrix = Array.from({ length: n }, (_, i) => Float64Array.from({ length: n }, (_, j) => (i === j ? 1 : 0)));
  const norm = a.reduce((s, row) => s + row.reduce((t, x) => t + x * x, 0), 0);
  for (let sweep = 0; sweep < 60; sweep++) {
    let off = 0;
    for (let p = 0; p < n; p++) for (let q = p + 1; q < n; q++) off += a[p]![q]! ** 2;
    if (off <= 1e-32 * norm) break;
    for (let p = 0; p < n; p++)
      for (let q = p + 1; q < n; q++) {
        const x = a[p]![q]!;
        if (x === 0) continue;
        // the rotation that zeroes a[p][q]: t = tan of the smaller angle (Golub and Van Loan, Matrix Computations, 8.5)
        const theta = (a[q]![q]! - a[p]![p]!) / (2 * x);
        const t = (theta >= 0 ? 1 : -1) / (Math.abs(theta) + Math.hypot(theta, 1));
        const c = 1 / Math.hypot(t, 1);
        const s = t * c;
        for (let k = 0; k < n; k++) {
          const [kp, kq] = [a[k]![p]!, a[k]![q]!];
          a[k]![p] = c * kp - s * kq;
          a[k]![q] = s * kp + c * kq;
        }
        for (let k = 0; k < n; k++) {
          const [pk, qk] = [a[p]![k]!, a[q]![k]!];
          a[p]![k] = c * pk - s * qk;
          a[q]![k] = s * pk + c * qk;
          const [vp, vq] = [v[p]![k]!, v[q]![k]!];
          v[p]![k] = c * vp - s * vq;
          v[q]![k] = s * vp + c * vq;
        }
      }
  }
  const order = a.map((_, i) => i).sort((i, j) => a[j]![j]! - a[i]![i]!);
  return { values: Float64Array.from(order, (i) => a[i]![i]!), vectors: order.map((i) => v[i]!) };
};

const dot = (a: Float64Array, b: Float64Array): number => {
  let s = 0;
  for (let i = 0; i < a.length; i++) s += a[i]! * b[i]!;
  return s;
};

/** Gram-Schmidt, twice for accuracy; a row that vanishes is replaced by the next unit vector. */
const orthonormalise = (rows: Matrix): void => {
  let unit = 0;
  rows.forEach((row, i) => {
    for (;;) {
      const before = Math.sqrt(dot(row, row));
      for (let pass = 0; pass < 2; pass++)
        for (let j = 0; j < i; j++) {
          const p = dot(row, rows[j]!);
          for (let k = 0; k < row.length; k++) row[k] = row[k]! - p * rows[j]![k]!;
        }
      const norm = Math.sqrt(dot(row, row));
      if (norm > 1e-10 * before && norm > 0) {
        for (let k = 0; k < row.length; k++) row[k] = row[k]! / norm;
        return;
      }
      row.fill(0);
      row[unit++] = 1;
    }
  });
};

/** The leading eigenpairs of a symmetric positive semidefinite matrix. */
const leading = (c: Matrix, count: number): { readonly values: Float64Array; readonly vectors: Matrix } => {
  const dim = c.length;
  const block = Math.min(dim, Math.max(2 * count, count + 12));
  // if the block is the whole space, one rotation is exact; otherwise start from the rows of largest variance
  if (block === dim) return symmetricEigen(c);
  let x: Matrix = c
    .map((row, i) => ({ row, v: row[i]! }))
    .sort((a, b) => b.v - a.v)
    .slice(0, block)
    .map((e) => e.row.slice());
  orthonormalise(x);
  let values: Float64Array = new Float64Array(block);
  for (let round = 0; round < 1000; round++) {
    const y = x.map((row) => Float64Array.from(c, (line) => dot(line, row)));
    const ritz = symmetricEigen(x.map((a) => Float64Array.from(y, (b) => dot(a, b))));
    // residual of the wanted pairs: |C u - lambda u|
    const rotate = (m: Matrix, v: Float64Array): Float64Array => {
      const out = new Float64Array(dim);
      m.forEach((row, j) => {
        for (let k = 0; k < dim; k++) out[k] = out[k]! + v[j]! * row[k]!;
      });
      return out;
    };
    const images = ritz.vectors.map((v) => rotate(y, v));
    const turned = ritz.vectors.map((v) => rotate(x, v));
    values = ritz.values;
    let worst = 0;
    for (let i = 0; i < count; i++) {
      let r = 0;
      for (let k = 0; k < dim; k++) r += (images[i]![k]! - values[i]! * turned[i]![k]!) ** 2;
      worst = Math.max(worst, Math.sqrt(r));
    }
    if (worst <= 1e-12 * (values[0] || 1)) return { values, vectors: turned };
    x = images;
    orthonormalise(x);
  }
  return { values, vectors: x };
};

/** The first `count` principal components of row-major `x` with `dim` numbers a row. */
export const pca = (x: ArrayLike<number>, dim: number, count: number): Pca => {
  const rows = x.length / dim;
  if (!Number.isInteger(rows) || rows < 1 || count < 1 || count > dim)
    throw new FoveaError('FV0408', `PCA: ${count} components of ${x.length} numbers in rows of ${dim}`);
  const mean = new Float64Array(dim);
  for (let i = 0; i < x.length; i++) mean[i % dim] = mean[i % dim]! + x[i]! / rows;
  const covariance: Matrix = Array.from({ length: dim }, () => new Float64Array(dim));
  const centred = new Float64Array(dim);
  for (let r = 0; r < rows; r++) {
    for (let d = 0; d < dim; d++) centred[d] = x[r * dim + d]! - mean[d]!;
    for (let i = 0; i < dim; i++) {
      const line = covariance[i]!;
      const v = centred[i]!;
      for (let j = 0; j <= i; j++) line[j] = line[j]! + v * centred[j]!;
    }
  }
  let total = 0;
  for (let i = 0; i < dim; i++) {
    total += covariance[i]![i]!;
    for (let j = 0; j < i; j++) covariance[j]![i] = covariance[i]![j]!;
  }
  const { values, vectors } = leading(covariance, count);
  const components = new Float64Array(count * dim);
  for (let i = 0; i < count; i++) {
    const v = vectors[i]!;
    const peak = v.reduce((a, b) => (Math.abs(b) > Math.abs(a) ? b : a), 0);
    for (let d = 0; d < dim; d++) components[i * dim + d] = (peak < 0 ? -1 : 1) * v[d]!;
  }
  const projections = new Float64Array(rows * count);
  for (let r = 0; r < rows; r++)
    for (let i = 0; i < count; i++) {
      let s = 0;
      for (let d = 0; d < dim; d++) s += (x[r * dim + d]! - mean[d]!) * components[i * dim + d]!;
      projections[r * count + i] = s;
    }
  const positive = values.subarray(0, count).map((v) => Math.max(v, 0));
  return {
    mean,
    components,
    projections,
    singularValues: positive.map(Math.sqrt),
    explained: positive.map((v) => (total > 0 ? v / total : 0)),
  };
};

/** Projections [rows 3] as colours 0..255: each component is stretched from its 2nd to its 98th percentile. */
export const toColours = (projections: ArrayLike<number>): Uint8Array => {
  const rows = projections.length / 3;
  const out = new Uint8Array(projections.length);
  for (let c = 0; c < 3; c++) {
    const column = Float64Array.from({ length: rows }, (_, i) => projections[3 * i + c]!);
    const sorted = column.slice().sort();
    const low = sorted[Math.floor(0.02 * (rows - 1))]!;
    const high = sorted[Math.ceil(0.98 * (rows - 1))]!;
    column.forEach((v, i) => {
      const t = high > low ? (v - low) / (high - low) : 0.5;
      out[3 * i + c] = Math.round(255 * Math.min(1, Math.max(0, t)));
    });
  }
  return out;
};
