/**
 * Recorded numbers of the original DINOv2 (float32, one CPU), and the formula that makes its parameters and inputs: no weights are
 * stored. Element i of the tensor named s is offset + scale * (2u - 1), u from a 32-bit mix of hash(s) + i * golden ratio.
 *
 * test/goldens/index.json describes each case: configuration, parameters, inputs, outputs with a tolerance derived from the
 * recorded difference between a float32 and a float64 run of the original.
 */
import { readFileSync } from 'node:fs';
import { expect } from 'vitest';

const folder = new URL('../goldens/', import.meta.url);

export interface Filled {
  readonly name: string;
  readonly formula_name: string;
  readonly shape: readonly number[];
  readonly offset: number;
  readonly scale: number;
  readonly kind?: string;
  readonly rule?: string;
}

export interface Output {
  readonly name: string;
  readonly shape: readonly number[];
  readonly dtype: string;
  readonly exact?: boolean;
  readonly tol_abs: number;
  readonly err_abs: number;
  readonly ignore_range?: readonly [number, number];
}

export interface Case {
  readonly id: string;
  readonly file: string;
  readonly config: Readonly<Record<string, unknown>>;
  readonly formula_prefix: string;
  readonly params: readonly Filled[];
  readonly inputs: readonly Filled[];
  readonly outputs: readonly Output[];
  readonly permutations?: { readonly list: readonly (readonly [number, number, readonly number[]])[] };
  readonly param_groups?: Readonly<Record<string, readonly [number, number, boolean]>>;
  readonly models?: Readonly<Record<string, Readonly<Record<string, number | boolean>>>>;
}

interface Catalogue {
  readonly formula: {
    readonly vectors: readonly {
      readonly name: string;
      readonly fnv1a32: number;
      readonly u32_first6: readonly number[];
      readonly values_first6_offset1_scale0p2: readonly number[];
    }[];
  };
  readonly cases: readonly Case[];
}

export const readJson = (name: string): unknown => JSON.parse(readFileSync(new URL(name, folder), 'utf8'));
export const catalogue = readJson('index.json') as Catalogue;

export const golden = (id: string): Case => {
  const found = catalogue.cases.find((c) => c.id === id);
  if (!found) throw new Error(`no golden case ${id}`);
  return found;
};

// ---- the formula ----------------------------------------------------------------------------------

export const fnv1a = (name: string): number =>
  new TextEncoder().encode(name).reduce((h, byte) => Math.imul(h ^ byte, 16777619) >>> 0, 2166136261);

/** The i-th word of the stream of a name. */
export const word = (hash: number, i: number): number => {
  let x = (hash + Math.imul(i, 0x9e3779b9)) | 0;
  x = Math.imul(x ^ (x >>> 16), 0x85ebca6b);
  x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35);
  return (x ^ (x >>> 16)) >>> 0;
};

const count = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);

/** u in [0, 1) for every element. */
export const stream = (name: string, n: number): Float64Array => {
  const hash = fnv1a(name);
  return Float64Array.from({ length: n }, (_, i) => word(hash, i) / 2 ** 32);
};

export const fill = ({ formula_name, shape, offset, scale }: Pick<Filled, 'formula_name' | 'shape' | 'offset' | 'scale'>): Float32Array =>
  Float32Array.from(stream(formula_name, count(shape)), (u) => offset + scale * (2 * u - 1));

// ---- recorded tensors -----------------------------------------------------------------------------

export interface Recorded {
  readonly shape: readonly number[];
  readonly data: ArrayLike<number>;
}

const readers: Readonly<Record<string, (b: ArrayBuffer) => ArrayLike<number>>> = {
  F32: (b) => new Float32Array(b),
  F64: (b) => new Float64Array(b),
  I32: (b) => new Int32Array(b),
  U8: (b) => new Uint8Array(b),
};

/** All tensors of a safetensors file: 8 bytes of header length, JSON header, little-endian data. */
export const recorded = (file: string): ReadonlyMap<string, Recorded> => {
  const bytes = readFileSync(new URL(file, folder));
  const header = Number(bytes.readBigUInt64LE(0));
  const entries = JSON.parse(bytes.toString('utf8', 8, 8 + header)) as Record<
    string,
    { dtype: string; shape: number[]; data_offsets: [number, number] }
  >;
  return new Map(
    Object.entries(entries)
      .filter(([name]) => name !== '__metadata__')
      .map(
        ([
          name,
          {
            dtype,
            shape,
            data_offsets: [from, to],
          },
        ]) => {
          const copy = new Uint8Array(bytes.subarray(8 + header + from, 8 + header + to)).buffer;
          return [name, { shape, data: (readers[dtype] as (b: ArrayBuffer) => ArrayLike<number>)(copy) }];
        },
      ),
  );
};

/** Largest difference, outside the elements whose value is rounding noise. */
export const distance = (actual: ArrayLike<number>, expected: ArrayLike<number>, ignore?: readonly [number, number]): number => {
  if (actual.length !== expected.length) return Number.POSITIVE_INFINITY;
  let worst = 0;
  for (let i = 0; i < expected.length; i++) {
    if (ignore && i >= ignore[0] && i < ignore[1]) continue;
    const d = Math.abs((actual[i] as number) - (expected[i] as number));
    if (!(d <= worst)) worst = d;
  }
  return worst;
};

/** Checks one output of a case against its recorded tensor and tolerance. */
export const check = (c: Case, name: string, actual: ArrayLike<number>): void => {
  const output = c.outputs.find((o) => o.name === name);
  const want = recorded(c.file).get(name);
  if (!output || !want) throw new Error(`case ${c.id} has no output ${name}`);
  expect(distance(actual, want.data, output.ignore_range), `${c.id}: ${name}`).toBeLessThanOrEqual(output.exact ? 0 : output.tol_abs);
};
