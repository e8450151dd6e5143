/**
 * The integer formula that stands in for stored weights and inputs in a folder of recorded cases: element i of the tensor named s is
 * a 32-bit mix of hash(s) + i * 0x9E3779B9, read as u in [0, 1). A float is offset + scale * (2u - 1), evaluated in float64 and rounded
 * to float32 once; whole numbers, bytes and booleans follow from u by a rule of their own.
 *
 *   fill({ formulaName: 'case/pos_embed', shape: [1, 37, 8], rule: { kind: 'float', offset: 0, scale: 0.5 } })   // Float32Array(296)
 *   const next = stream('case/rng/g16'); next()   // u(0), then u(1), ...
 */
import { FoveaError } from '../../compiler/error.ts';

export type Rule =
  | { readonly kind: 'float'; readonly offset: number; readonly scale: number }
  /** floor(n u) */
  | { readonly kind: 'int' | 'u8'; readonly n: number }
  /** u < p */
  | { readonly kind: 'below'; readonly p: number }
  /** In row j the counts[j] positions with the smallest u. */
  | { readonly kind: 'smallest'; readonly counts: readonly number[] };

export interface Formula {
  /** The name that is hashed. */
  readonly formulaName: string;
  readonly shape: readonly number[];
  readonly rule: Rule;
}

const golden = 0x9e3779b9;

/** FNV-1a, 32 bits, of the UTF-8 bytes. */
export const fnv1a = (name: string): number => {
  let h = 2166136261;
  for (const byte of new TextEncoder().encode(name)) h = Math.imul(h ^ byte, 16777619);
  return h >>> 0;
};

/** Word i of the name with hash `hash`. */
export const word = (hash: number, i: number): number => {
  let x = (hash + Math.imul(i, golden)) | 0;
  x = Math.imul(x ^ (x >>> 16), 0x85ebca6b);
  x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35);
  return (x ^ (x >>> 16)) >>> 0;
};

const count = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);

/** u(0) .. u(n - 1). */
export const units = (name: string, n: number): Float64Array => {
  const hash = fnv1a(name);
  return Float64Array.from({ length: n }, (_, i) => word(hash, i) / 2 ** 32);
};

/** The floats of a formula. `word` by hand, for the largest model has a thousand million of them. */
export const floats = (name: string, n: number, offset: number, scale: number): Float32Array => {
  const out = new Float32Array(n);
  let at = fnv1a(name) | 0;
  for (let i = 0; i < n; i++) {
    let x = at;
    at = (at + golden) | 0;
    x = Math.imul(x ^ (x >>> 16), 0x85ebca6b);
    x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35);
    out[i] = offset + scale * (2 * (((x ^ (x >>> 16)) >>> 0) * 2 ** -32) - 1);
  }
  return out;
};

/** Numbers 0 .. n - 1 by ascending u: the permutation of that name. */
export const permutation = (name: string, n: number): Int32Array => {
  const u = units(name, n);
  return Int32Array.from(u, (_, i) => i).sort((a, b) => u[a]! - u[b]! || a - b);
};

/** The numbers of a tensor, row-major. Booleans and bytes are bytes. */
export const fill = ({ formulaName: name, shape, rule }: Formula): Float32Array | Int32Array | Uint8Array => {
  const n = count(shape);
  switch (rule.kind) {
    case 'float':
      return floats(name, n, rule.offset, rule.scale);
    case 'int':
      return Int32Array.from(units(name, n), (u) => Math.floor(rule.n * u));
    case 'u8':
      return Uint8Array.from(units(name, n), (u) => Math.floor(rule.n * u));
    case 'below':
      return Uint8Array.from(units(name, n), (u) => Number(u < rule.p));
    case 'smallest': {
      const u = units(name, n);
      const width = n / rule.counts.length;
      const out = new Uint8Array(n);
      rule.counts.forEach((some, row) => {
        const order = Array.from({ length: width }, (_, i) => row * width + i).sort((a, b) => u[a]! - u[b]! || a - b);
        for (const i of order.slice(0, some)) out[i] = 1;
      });
      return out;
    }
  }
};

/** The random stream of a name, and how many numbers were drawn from it. */
export const stream = (name: string): { readonly random: () => number; readonly drawn: () => number } => {
  const hash = fnv1a(name);
  let i = 0;
  return { random: () => word(hash, i++) / 2 ** 32, drawn: () => i };
};

export interface Vector {
  readonly name: string;
  readonly fnv1a32: number;
  readonly u32_first6: readonly number[];
  readonly u32_at: readonly (readonly [index: number, word: number])[];
  readonly values_first6_offset0_scale1: readonly number[];
  readonly values_first6_offset1_scale0p2: readonly number[];
}

/** Compares the formula with a catalogue's check vectors. FV0414: another formula made the recorded numbers. */
export const checkVectors = (vectors: readonly Vector[]): void => {
  for (const v of vectors) {
    const hash = fnv1a(v.name);
    const six = (offset: number, scale: number): number[] => [...floats(v.name, 6, offset, scale)];
    const parts: readonly (readonly [what: string, ours: readonly number[], theirs: readonly number[]])[] = [
      ['hash', [hash], [v.fnv1a32]],
      ['first words', v.u32_first6.map((_, i) => word(hash, i)), v.u32_first6],
      ['far words', v.u32_at.map(([i]) => word(hash, i)), v.u32_at.map(([, w]) => w)],
      ['values with offset 0 and scale 1', six(0, 1), v.values_first6_offset0_scale1],
      ['values with offset 1 and scale 0.2', six(1, 0.2), v.values_first6_offset1_scale0p2],
    ];
    for (const [what, ours, theirs] of parts)
      if (ours.length !== theirs.length || ours.some((x, i) => x !== theirs[i]))
        throw new FoveaError(
          'FV0414',
          `check vector ${JSON.stringify(v.name)}: ${what} are ${ours.join(' ')} here, ${theirs.join(' ')} there`,
          {
            hint: 'The folder was recorded with another formula; this command cannot check it.',
          },
        );
  }
};
