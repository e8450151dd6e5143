/**
 * The safetensors format: 8 bytes of header length (little-endian), a JSON header {name: {dtype, shape, data_offsets}}, then the raw
 * row-major bytes. The reader trusts nothing: a damaged or hostile file gives FV0405 and never a crash, a huge allocation or a tensor
 * that shares bytes with another. The writer is atomic: a reader sees the old file or the whole new one, also after Ctrl-C or a full disk.
 *
 *   writeSafetensors('step-400.safetensors', new Map([['norm.weight', host(new Float32Array(96), [96])]]), { step: '400' });
 *   readSafetensors('step-400.safetensors').tensors.get('norm.weight')   // { shape: [96], dtype: 'f32', data }
 */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { FoveaError } from '../../compiler/error.ts';
import { writeAtomic } from './atomic.ts';

/** Element types of the format that have a JavaScript array, with their size in bytes. */
const stored = {
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

/** A tensor of the file as it lies there. `bytes` is a copy that starts at offset 0 of its buffer. */
export interface StoredTensor {
  readonly shape: readonly number[];
  readonly type: StoredType;
  readonly bytes: Uint8Array;
}

/** A tensor in memory, as the language's HostTensor: f16 and bf16 are their 16-bit patterns, bool is 0 or 1 in bytes. */
export type HostLike =
  | { readonly shape: readonly number[]; readonly dtype: 'f32'; readonly data: Float32Array }
  | { readonly shape: readonly number[]; readonly dtype: 'f16' | 'bf16'; readonly data: Uint16Array }
  | { readonly shape: readonly number[]; readonly dtype: 'i32'; readonly data: Int32Array }
  | { readonly shape: readonly number[]; readonly dtype: 'u32'; readonly data: Uint32Array }
  | { readonly shape: readonly number[]; readonly dtype: 'bool'; readonly data: Uint8Array };

/** What can be written: any HostTensor; that dtype and data agree is checked when it is. */
export interface TensorData {
  readonly shape: readonly number[];
  readonly dtype: HostLike['dtype'];
  readonly data: ArrayBufferView;
}

const typeOf = { f32: 'F32', f16: 'F16', bf16: 'BF16', i32: 'I32', u32: 'U32', bool: 'BOOL' } as const;

/** The longest header that is read; the format's own limit. */
const maxHeader = 100_000_000;

interface Entry {
  readonly name: string;
  readonly shape: readonly number[];
  readonly type: StoredType;
  readonly begin: number;
  readonly end: number;
}

export interface Header {
  readonly entries: readonly Entry[];
  readonly metadata: Readonly<Record<string, string>>;
}

const isRecord = (x: unknown): x is Record<string, unknown> => typeof x === 'object' && x !== null && !Array.isArray(x);
const isCount = (x: unknown): x is number => typeof x === 'number' && Number.isSafeInteger(x) && x >= 0;

/** Checks a header against the number of data bytes that follow it. Throws FV0405. */
const parseHeader = (text: string, dataBytes: number, file: string): Header => {
  const bad = (why: string): FoveaError =>
    new FoveaError('FV0405', `${file}: ${why}`, { hint: 'The file is damaged or no safetensors file: copy or download it again.' });
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    throw bad('its header is not JSON');
  }
  if (!isRecord(json)) throw bad('its header is not a JSON object');
  let metadata: Record<string, string> = {};
  const entries: Entry[] = [];
  for (const [name, value] of Object.entries(json)) {
    if (name === '__metadata__') {
      if (!isRecord(value) || !Object.values(value).every((v) => typeof v === 'string')) throw bad('its metadata are not strings');
      metadata = value as Record<string, string>;
      continue;
    }
    const where = `tensor ${JSON.stringify(name.slice(0, 200))}`;
    if (!isRecord(value)) throw bad(`${where} is not described by an object`);
    const { dtype, shape, data_offsets: at } = value;
    if (typeof dtype !== 'string' || !Object.hasOwn(stored, dtype))
      throw bad(`${where} has unknown dtype ${JSON.stringify(dtype)?.slice(0, 40)}`);
    const type = dtype as StoredType;
    if (!Array.isArray(shape) || !shape.every(isCount)) throw bad(`${where} has a malformed shape`);
    if (!Array.isArray(at) || at.length !== 2 || !isCount(at[0]) || !isCount(at[1])) throw bad(`${where} has malformed data_offsets`);
    const [begin, end] = at as [number, number];
    // a product of counts may pass 2^53 and lose digits, but never comes down to a size that fits the file
    const bytes = (shape as number[]).reduce((a, b) => a * b, 1) * stored[type];
    if (end < begin || end > dataBytes) throw bad(`${where} lies at bytes ${begin}..${end} of ${dataBytes}`);
    if (end - begin !== bytes) throw bad(`${where} is ${dtype} [${shape.join(' ')}], ${bytes} bytes, but has ${end - begin}`);
    entries.push({ name, shape: shape as number[], type, begin, end });
  }
  const placed = [...entries].sort((a, b) => a.begin - b.begin || a.end - b.end);
  let at = 0;
  for (const e of placed) {
    if (e.begin !== at)
      throw bad(e.begin < at ? `tensor ${JSON.stringify(e.name)} overlaps another` : `bytes ${at}..${e.begin} belong to no tensor`);
    at = e.end;
  }
  if (at !== dataBytes) throw bad(`${dataBytes - at} bytes at its end belong to no tensor`);
  return { entries, metadata };
};

const readExactly = (fd: number, into: Uint8Array, position: number): void => {
  for (let done = 0; done < into.length; ) {
    const n = readSync(fd, into, done, into.length - done, position + done);
    if (n === 0) throw new Error('the file ends early');
    done += n;
  }
};

export interface StoredFile {
  readonly tensors: ReadonlyMap<string, StoredTensor>;
  readonly metadata: Readonly<Record<string, string>>;
}

/** Every tensor of a file in its stored type. FV0402: cannot be read. FV0405: malformed. */
export const readStored = (file: string): StoredFile => {
  let fd: number;
  try {
    fd = openSync(file, 'r');
  } catch (e) {
    throw new FoveaError('FV0402', `cannot read the weights ${file}: ${e instanceof Error ? e.message : String(e)}`, { cause: e });
  }
  try {
    const stat = fstatSync(fd);
    if (!stat.isFile()) throw new FoveaError('FV0402', `cannot read the weights ${file}: not a file`);
    const size = stat.size;
    const short = (why: string): FoveaError => new FoveaError('FV0405', `${file}: ${why}`, { hint: 'Copy or download the file again.' });
    if (size < 8) throw short(`${size} bytes are too few for a safetensors file`);
    const start = Buffer.alloc(8);
    readExactly(fd, start, 0);
    const length = start.readBigUInt64LE();
    if (length > BigInt(Math.min(size - 8, maxHeader))) throw short(`its header claims ${length} bytes of a file of ${size}`);
    const header = Buffer.alloc(Number(length));
    readExactly(fd, header, 8);
    const base = 8 + header.length;
    const { entries, metadata } = parseHeader(header.toString('utf8'), size - base, file);
    const tensors = new Map<string, StoredTensor>();
    for (const e of entries) {
      const bytes = new Uint8Array(e.end - e.begin);
      readExactly(fd, bytes, base + e.begin);
      tensors.set(e.name, { shape: e.shape, type: e.type, bytes });
    }
    return { tensors, metadata };
  } finally {
    closeSync(fd);
  }
};

/** A stored tensor as a host tensor. 8- and 64-bit types have none: FV0406. */
export const toHost = (t: StoredTensor, name: string): HostLike => {
  const { shape, bytes } = t;
  const b = bytes.buffer as ArrayBuffer;
  switch (t.type) {
    case 'F32':
      return { shape, dtype: 'f32', data: new Float32Array(b) };
    case 'F16':
      return { shape, dtype: 'f16', data: new Uint16Array(b) };
    case 'BF16':
      return { shape, dtype: 'bf16', data: new Uint16Array(b) };
    case 'I32':
      return { shape, dtype: 'i32', data: new Int32Array(b) };
    case 'U32':
      return { shape, dtype: 'u32', data: new Uint32Array(b) };
    case 'BOOL':
      return { shape, dtype: 'bool', data: bytes };
    default:
      throw new FoveaError('FV0406', `${name}: dtype ${t.type} has no counterpart here`, {
        hint: 'Store it as F32, F16, BF16, I32, U32 or BOOL.',
      });
  }
};

export const readSafetensors = (
  file: string,
): { readonly tensors: ReadonlyMap<string, HostLike>; readonly metadata: Readonly<Record<string, string>> } => {
  const { tensors, metadata } = readStored(file);
  return { tensors: new Map([...tensors].map(([name, t]) => [name, toHost(t, `${file}: ${name}`)])), metadata };
};

/** Writes `tensors` in the map's order; the header is padded so that the data start at a multiple of 8. FV0407: cannot be written. */
export const writeSafetensors = (
  file: string,
  tensors: ReadonlyMap<string, TensorData>,
  metadata: Readonly<Record<string, string>> = {},
): void => {
  const header: Record<string, unknown> = Object.create(null);
  if (Object.keys(metadata).length > 0) header.__metadata__ = metadata;
  const parts: Uint8Array[] = [];
  let at = 0;
  for (const [name, t] of tensors) {
    if (name === '__metadata__') throw new FoveaError('FV0406', 'a tensor cannot be named __metadata__');
    // the reference backend gives f32 tensors in float64
    const data = t.dtype === 'f32' && t.data instanceof Float64Array ? Float32Array.from(t.data) : t.data;
    const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    const want = t.shape.reduce((a, b) => a * b, 1) * stored[typeOf[t.dtype]];
    if (bytes.length !== want)
      throw new FoveaError('FV0406', `${name}: ${t.dtype} [${t.shape.join(' ')}] is ${want} bytes, but holds ${bytes.length}`);
    header[name] = { dtype: typeOf[t.dtype], shape: t.shape, data_offsets: [at, at + want] };
    parts.push(bytes);
    at += want;
  }
  const text = Buffer.from(JSON.stringify(header), 'utf8');
  const padded = Buffer.alloc(Math.ceil(text.length / 8) * 8, ' ');
  text.copy(padded);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(padded.length));
  writeAtomic(file, [length, padded, ...parts]);
};
