/**
 * Lists of named tensors as values: renaming, joining and splitting by rows (axis 0). Everything is lazy: numbers are moved, never
 * computed, when the result is loaded, and a part of a tensor is a view of it.
 *
 *   splitRows(qkv, 3, 'blocks.0.attn.qkv.weight')   // q, k, v
 */
import { FoveaError } from '../../compiler/error.ts';
import { type Float, fromF32, toF32 } from '../../compiler/graph/floats.ts';
import type { HostData } from '../../compiler/graph/types.ts';
import type { LazyTensor } from '../../dsl/index.ts';
import { few } from './tree.ts';

/** Tensors by name, in an order that conversions keep. */
export type Weights = ReadonlyMap<string, LazyTensor>;

const hint = 'The file belongs to another model or configuration.';

/** FV0406 that lists names. */
export const unfit = (what: string, names: readonly string[]): FoveaError => new FoveaError('FV0406', `${what}: ${few(names)}`, { hint });

/** A map from pairs; two of one name are FV0406. */
export const collect = (pairs: Iterable<readonly [string, LazyTensor]>): Weights => {
  const out = new Map<string, LazyTensor>();
  for (const [name, t] of pairs) {
    if (out.has(name)) throw unfit('two tensors come to one name', [name]);
    out.set(name, t);
  }
  return out;
};

export const renamed = (weights: Weights, rename: (name: string) => string): Weights =>
  collect([...weights].map(([name, t]) => [rename(name), t] as const));

/** Tensors one above the other: [a D] and [b D] to [a+b D]. */
export const joinRows = (parts: readonly LazyTensor[], name: string): LazyTensor => {
  const [first] = parts as readonly [LazyTensor];
  const rest = (t: LazyTensor): string => `${t.dtype} [… ${t.shape.slice(1).join(' ')}]`;
  if (parts.some((t) => t.shape.length === 0 || rest(t) !== rest(first))) throw unfit('parts of one tensor do not fit together', [name]);
  const rows = parts.reduce((sum, t) => sum + (t.shape[0] as number), 0);
  return {
    shape: [rows, ...first.shape.slice(1)],
    dtype: first.dtype,
    load: () => {
      const all = parts.map((t) => t.load());
      const kind = (all[0] as HostData).constructor as new (length: number) => HostData;
      const out = new kind(all.reduce((sum, x) => sum + x.length, 0));
      let at = 0;
      for (const x of all) {
        out.set(x, at);
        at += x.length;
      }
      return out;
    },
  };
};

/** `n` equal parts of a tensor's rows. FV0406 if the rows do not divide. */
export const splitRows = (t: LazyTensor, n: number, name: string): readonly LazyTensor[] => {
  const rows = t.shape[0];
  if (rows === undefined || rows % n !== 0) throw unfit(`${rows ?? 'no'} rows do not divide into ${n}`, [name]);
  const shape = [rows / n, ...t.shape.slice(1)];
  const length = shape.reduce((a, b) => a * b, 1);
  return Array.from({ length: n }, (_, i) => ({ shape, dtype: t.dtype, load: () => t.load().subarray(i * length, (i + 1) * length) }));
};

/** A floating tensor in another type, rounded to nearest even; any other tensor is itself. A file's doubles have become f32 before. */
export const castTo = (t: LazyTensor, dtype: Float): LazyTensor => {
  if ((t.dtype !== 'f32' && t.dtype !== 'f16' && t.dtype !== 'bf16') || t.dtype === dtype) return t;
  const from = t.dtype;
  const load = (): HostData => {
    const data = t.load();
    const wide = from === 'f32' ? (data instanceof Float32Array ? data : Float32Array.from(data)) : toF32(data as Uint16Array, from);
    return fromF32(wide, dtype);
  };
  return { shape: t.shape, dtype, load };
};
