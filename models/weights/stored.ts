/**
 * Tensors as they lie in files: an element type of the file, and what JavaScript holds it as. A file has more types than the language:
 * 8- and 64-bit ones. They are held as the nearest type of the language: whole numbers exactly (or not at all), F64 rounded to f32.
 *
 *   lazily({ shape: [2], type: 'F16', bytes }, 'norm.weight', 'f32').load()   // Float32Array
 */
import { FoveaError } from '../../compiler/error.ts';
import { type Float, fromF32, fromF64, toF32 } from '../../compiler/graph/floats.ts';
import type { DType, HostData } from '../../compiler/graph/types.ts';
import type { LazyTensor } from '../../dsl/index.ts';

/** Element types of files that are read, with their size in bytes. */
export const stored = {
  F64: 8,
  F32: 4,
  F16: 2,
  BF16: 2,
  I64: 8,
  I32: 4,
  I16: 2,
  I8: 1,
  U64: 8,
  U32: 4,
  U16: 2,
  U8: 1,
  BOOL: 1,
} as const;
export type StoredType = keyof typeof stored;

/** A tensor of a file: row-major, little-endian. `bytes` may be a view of the file and is not to be written to. */
export interface Stored {
  readonly shape: readonly number[];
  readonly type: StoredType;
  readonly bytes: () => Uint8Array;
}

/** A tensor of a weight file: a leaf of the language that also says what the file holds. */
export interface WeightTensor extends LazyTensor {
  readonly stored: StoredType;
}

const arrays = {
  F64: Float64Array,
  F32: Float32Array,
  F16: Uint16Array,
  BF16: Uint16Array,
  I64: BigInt64Array,
  I32: Int32Array,
  I16: Int16Array,
  I8: Int8Array,
  U64: BigUint64Array,
  U32: Uint32Array,
  U16: Uint16Array,
  U8: Uint8Array,
  BOOL: Uint8Array,
} as const;
type Elements = InstanceType<(typeof arrays)[StoredType]>;

/** What a type is held as when nothing is asked for. */
const natural = {
  F64: 'f32',
  F32: 'f32',
  F16: 'f16',
  BF16: 'bf16',
  I64: 'i32',
  I32: 'i32',
  I16: 'i32',
  I8: 'i32',
  U64: 'u32',
  U32: 'u32',
  U16: 'u32',
  U8: 'u32',
  BOOL: 'bool',
} as const satisfies { readonly [T in StoredType]: DType };

/** The bytes as elements: a view where their place allows it, otherwise a copy (of a Buffer, slice() would be a view). */
const elements = (type: StoredType, bytes: Uint8Array): Elements => {
  const n = bytes.length / stored[type];
  return bytes.byteOffset % stored[type] === 0
    ? new arrays[type](bytes.buffer as ArrayBuffer, bytes.byteOffset, n)
    : new arrays[type](new Uint8Array(bytes).buffer, 0, n);
};

/** Whole numbers in another type, each of them unchanged. FV0406 if one has no place there. */
const whole = (from: Elements, to: Int32Array | Uint32Array | Float32Array, name: string, dtype: DType): HostData => {
  for (let i = 0; i < from.length; i++) {
    const raw = from[i] as number | bigint;
    const v = Number(raw);
    to[i] = v;
    if (to[i] !== v || (typeof raw === 'bigint' && BigInt(v) !== raw))
      throw new FoveaError('FV0406', `${name}: ${raw} at element ${i} cannot be held exactly as ${dtype}`, {
        hint: 'Store the tensor as F32 if an approximation will do.',
      });
  }
  return to;
};

const boolean = (bytes: Uint8Array<ArrayBuffer>, name: string): Uint8Array<ArrayBuffer> => {
  const odd = bytes.findIndex((b) => b > 1);
  if (odd >= 0) throw new FoveaError('FV0405', `${name}: ${bytes[odd]} at element ${odd} is no boolean`, { hint: 'The file is damaged.' });
  return bytes;
};

const isFloat = (dtype: DType): dtype is Float => dtype === 'f32' || dtype === 'f16' || dtype === 'bf16';

const held = (t: Stored, dtype: DType, name: string): HostData => {
  const from = elements(t.type, t.bytes());
  switch (t.type) {
    case 'F64':
      return fromF64(from as Float64Array, dtype as Float);
    case 'F32':
      return fromF32(from as Float32Array, dtype as Float);
    case 'F16':
    case 'BF16': {
      const type = natural[t.type];
      return type === dtype ? (from as Uint16Array) : fromF32(toF32(from as Uint16Array, type), dtype as Float);
    }
    case 'BOOL': {
      const truths = boolean(from as Uint8Array<ArrayBuffer>, name);
      return dtype === 'bool' ? truths : Float32Array.from(truths);
    }
    case 'I32':
    case 'U32':
      if (natural[t.type] === dtype) return from as Int32Array | Uint32Array;
      return whole(from, new Float32Array(from.length), name, dtype);
    default:
      return whole(from, new (dtype === 'f32' ? Float32Array : dtype === 'i32' ? Int32Array : Uint32Array)(from.length), name, dtype);
  }
};

/**
 * A stored tensor as a leaf of the language. `as` asks for a floating type: floats are rounded to nearest even, whole numbers and
 * booleans become f32 exactly or, at `load`, FV0406. Without it the type stays, or is the nearest one.
 */
export const lazily = (t: Stored, name: string, as?: Float): WeightTensor => {
  const own = natural[t.type];
  const dtype = as === undefined ? own : isFloat(own) ? as : 'f32';
  return { shape: t.shape, dtype, stored: t.type, load: () => held(t, dtype, name) };
};
