/**
 * Between the numbers of the interpreter and the arrays of a backend: f16 and bf16 as bits, bool as bytes, the rest as they are.
 *
 *   encode({ type: { dtype: 'bf16', shape: [1] }, data: [1] })  ->  Uint16Array [0x3f80]
 */
import { type Tensor64, tensor64 } from '../compiler/graph/tensor64.ts';
import { type DType, type HostData, hostArrays, isFloat } from '../compiler/graph/types.ts';
import { foldCast, hostData, numberOf } from '../compiler/kernel/scalar.ts';
import type { Executable } from '../compiler/target.ts';

const half = (t: DType): t is 'f16' | 'bf16' => t === 'f16' || t === 'bf16';
const arrays: { readonly [D in DType]: new (n: number) => HostData } = hostArrays;

/** n zeros as a backend holds them. */
export const hostArray = (dtype: DType, n: number): HostData => new arrays[dtype](n);

export const encode = ({ type: { dtype }, data }: Tensor64): HostData => hostData(dtype, data);

/** The numbers of an array; the reference backend gives floats of any dtype as Float64Array. */
export const decode = (dtype: DType, data: HostData): ArrayLike<number> =>
  half(dtype) && data instanceof Uint16Array ? Float64Array.from(data, (x) => numberOf(x, dtype)) : data;

/** The tensor as its dtype holds it, so that all backends start from the same numbers. */
export const rounded = ({ type, data }: Tensor64): Tensor64 =>
  isFloat(type.dtype)
    ? tensor64(
        type,
        Array.from(data, (x) => foldCast(x, 'f64', type.dtype)),
      )
    : { type, data };

/** All results of the last run. */
export const results = (executable: Executable): Promise<readonly HostData[]> =>
  Promise.all(executable.outputs.map(async (_, o) => executable.read(o)));
