/**
 * Writing safetensors. Tensors are written one after another: a lazy one is loaded, written and dropped, so a checkpoint larger than
 * memory can be written. The file is atomic: a reader sees the old file or the whole new one, also after Ctrl-C or a full disk.
 *
 *   writeSafetensors('step-400.safetensors', new Map([['norm.weight', host(new Float32Array(96), [96])]]), { step: '400' });
 */
import { FoveaError } from '../../compiler/error.ts';
import type { DType } from '../../compiler/graph/types.ts';
import type { LazyTensor } from '../../dsl/index.ts';
import { finish, writingAtomic } from './atomic.ts';
import { type StoredType, stored } from './stored.ts';

/** A tensor in memory: any HostTensor; that dtype and data agree is checked when it is written. */
export interface TensorData {
  readonly shape: readonly number[];
  readonly dtype: DType;
  readonly data: ArrayBufferView;
}

const typeOf = { f32: 'F32', f16: 'F16', bf16: 'BF16', i32: 'I32', u32: 'U32', bool: 'BOOL' } as const satisfies {
  readonly [T in DType]: StoredType;
};
const sizeOf = (t: TensorData | LazyTensor): number => t.shape.reduce((a, b) => a * b, 1) * stored[typeOf[t.dtype]];

const bytesOf = (name: string, t: TensorData | LazyTensor): Uint8Array => {
  const given = 'load' in t ? t.load() : t.data;
  // the reference backend gives f32 tensors in float64
  const data = t.dtype === 'f32' && given instanceof Float64Array ? Float32Array.from(given) : given;
  const want = sizeOf(t);
  if (data.byteLength !== want)
    throw new FoveaError('FV0406', `${name}: ${t.dtype} [${t.shape.join(' ')}] is ${want} bytes, but holds ${data.byteLength}`);
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
};

/**
 * Writes `tensors` in the map's order; the header is padded so that the data start at a multiple of 8. Stops after each, and `return()`
 * gives up, as writingAtomic does. `seen` is told of everything that goes into the file, in order. FV0407: cannot be written.
 */
export const writingSafetensors = (
  file: string,
  tensors: ReadonlyMap<string, TensorData | LazyTensor>,
  metadata: Readonly<Record<string, string>> = {},
  seen: (bytes: Uint8Array) => void = () => {},
): Generator<void, void> => {
  const header: Record<string, unknown> = Object.create(null);
  if (Object.keys(metadata).length > 0) header.__metadata__ = metadata;
  let at = 0;
  for (const [name, t] of tensors) {
    if (name === '__metadata__') throw new FoveaError('FV0406', 'a tensor cannot be named __metadata__');
    const end = at + sizeOf(t);
    header[name] = { dtype: typeOf[t.dtype], shape: t.shape, data_offsets: [at, end] };
    at = end;
  }
  const text = Buffer.from(JSON.stringify(header), 'utf8');
  const padded = Buffer.alloc(Math.ceil(text.length / 8) * 8, ' ');
  text.copy(padded);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(padded.length));
  const parts = function* (): Generator<Uint8Array> {
    yield length;
    yield padded;
    for (const [name, t] of tensors) yield bytesOf(name, t);
  };
  const told = function* (): Generator<Uint8Array> {
    for (const bytes of parts()) {
      seen(bytes);
      yield bytes;
    }
  };
  return writingAtomic(file, told());
};

/** writingSafetensors without stops. */
export const writeSafetensors = (...args: Parameters<typeof writingSafetensors>): void => finish(writingSafetensors(...args));
