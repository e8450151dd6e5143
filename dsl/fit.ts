/**
 * Whether numbers on the host are what an input of a program takes, and the same numbers in the array that a backend takes. Checking
 * and converting are two steps: a call checks all of its arguments before it writes the first, and converts each when its turn comes.
 *
 *   checkType(host([1, 2], [2]), { dtype: 'f32', shape: [3] }, 'argument 1')    FV0305: argument 1: expected f32[3], got f32[2]
 *   plainNumbers(Float64Array.of(1 / 3), 'f32', false)                          Float32Array [0.3333333432674408]
 */
import { FoveaError } from '../compiler/error.ts';
import { eqType, showType } from '../compiler/graph/infer.ts';
import { type DType, type HostData, hostArrays, type TensorType } from '../compiler/graph/types.ts';

export const wrong = (where: string, what: string, hint?: string): never => {
  throw new FoveaError('FV0305', `${where}: ${what}`, { hint });
};

/** A number in the host layout of a scalar. Nothing is rounded to a whole number in silence. */
export const scalarNumbers = (x: number, dtype: DType, where: string): HostData => {
  const range = { i32: [-(2 ** 31), 2 ** 31 - 1], u32: [0, 2 ** 32 - 1], bool: [0, 1] } as const;
  if (dtype === 'f32') return Float32Array.of(x);
  if (dtype === 'f16' || dtype === 'bf16')
    return wrong(where, `a number cannot be given for a ${dtype} scalar`, 'Pass host(Uint16Array.of(bits), []).');
  const [low, high] = range[dtype];
  if (!(Number.isInteger(x) && x >= low && x <= high)) wrong(where, `${x} is no ${dtype}`);
  return hostArrays[dtype].of(x);
};

/** Throws FV0305 where a tensor, lazy or not, is of another type than the input. */
export const checkType = (x: { readonly dtype: DType; readonly shape: readonly number[] }, type: TensorType, where: string): void => {
  if (!eqType(x, type)) wrong(where, `expected ${showType(type)}, got ${showType(x)}`);
};

/** Why `data` cannot hold a tensor of `type`, or undefined. Float64 results of the reference backend fit wherever floats do. */
export const misfit = (data: HostData, type: TensorType, wide: boolean): string | undefined => {
  if (!ArrayBuffer.isView(data))
    return `${showType(type)} takes a ${hostArrays[type.dtype].name}, got ${data === undefined ? 'nothing' : 'no array'}`;
  const count = type.shape.reduce<number>((n, d) => n * Number(d), 1);
  if (data.length !== count) return `${showType(type)} has ${count} elements, but its array holds ${data.length}`;
  if (data instanceof Float64Array && (wide || type.dtype === 'f32')) return undefined;
  const Kind = hostArrays[type.dtype];
  if (!(data instanceof Kind)) return `${showType(type)} takes a ${Kind.name}, got a ${data.constructor.name}`;
  return type.dtype === 'bool' && data.some((b) => b > 1) ? 'a bool is 0 or 1, and other bytes were given' : undefined;
};

/** Numbers that fit, as a backend takes them: float64 rounded to float32 unless it is `wide`, a subclass such as Buffer as the plain array. */
export const plainNumbers = (data: HostData, dtype: DType, wide: boolean): HostData => {
  if (data instanceof Float64Array) return wide ? data : Float32Array.from(data);
  const Kind = hostArrays[dtype];
  return data.constructor === Kind ? data : new Kind(data.buffer as ArrayBuffer, data.byteOffset, data.length);
};
