/**
 * Tensors with numbers, on the host: what goes into a compiled program and what comes out of it.
 *
 *   host([1, 2, 3, 4], [2, 2])  ->  { shape: [2, 2], dtype: 'f32', data: Float32Array [1, 2, 3, 4] }
 */
import { FoveaError } from '../compiler/error.ts';
import { type DType, type HostData, hostArrays } from '../compiler/graph/types.ts';
import type { Tensor } from './tensor.ts';

export type { HostData };
export interface HostTensor {
  readonly shape: readonly number[];
  readonly dtype: DType;
  /** Row-major. */
  readonly data: HostData;
}
/**
 * A tensor whose numbers are made when they are needed: they lie in a file, or follow from a formula. `load` gives the same numbers at
 * every call, so a program that holds them already does not ask again. The array may be a view of the file: it is not to be written to.
 * A program has copied it before it loads another tensor, so a formula may fill one buffer again and again.
 */
export interface LazyTensor {
  readonly shape: readonly number[];
  readonly dtype: DType;
  readonly load: () => HostData;
}
/** A tree of tensors, as the same tree of host tensors. */
export type HostOf<P> = P extends Tensor<string, DType> ? HostTensor : P extends object ? { readonly [K in keyof P]: HostOf<P[K]> } : P;

const dtypeOf = (data: HostData | readonly number[]): DType =>
  data instanceof Int32Array ? 'i32' : data instanceof Uint32Array ? 'u32' : data instanceof Uint8Array ? 'bool' : 'f32';

/** A host tensor. Typed arrays are kept as they are (the dtype follows from them); numbers are copied. 16-bit floats are given as bits. */
export const host = (data: HostData | readonly number[], shape: readonly number[], dtype: DType = dtypeOf(data)): HostTensor => {
  const n = shape.reduce((a, b) => a * b, 1);
  if (data.length !== n) throw new FoveaError('FV0001', `host: ${data.length} numbers for [${shape.join(' ')}], which has ${n}`);
  return { shape, dtype, data: ArrayBuffer.isView(data) ? data : hostArrays[dtype].from(data) };
};
export const isHostTensor = (x: unknown): x is HostTensor =>
  typeof x === 'object' && x !== null && 'data' in x && 'shape' in x && 'dtype' in x && ArrayBuffer.isView((x as { data: unknown }).data);
export const isLazyTensor = (x: unknown): x is LazyTensor =>
  typeof x === 'object' && x !== null && 'load' in x && 'shape' in x && 'dtype' in x && typeof (x as { load: unknown }).load === 'function';
