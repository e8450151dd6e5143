/**
 * Reading safetensors: 8 bytes of header length (little-endian), a JSON header {name: {dtype, shape, data_offsets}}, then the raw
 * row-major bytes. The reader trusts nothing: a damaged or hostile file gives FV0405 and never a crash, a huge allocation or a tensor
 * that shares bytes with another. Nothing but the header is read until a tensor's `load` asks for its numbers.
 *
 *   const { tensors, close } = openSafetensors('step-400.safetensors');
 *   tensors.get('norm.weight')?.load()   // Float32Array, a view of the mapped file
 */
import { FoveaError } from '../../compiler/error.ts';
import type { Float } from '../../compiler/graph/floats.ts';
import type { HostTensor } from '../../dsl/index.ts';
import { strictJson } from './json.ts';
import { quoted, shown } from './shown.ts';
import { type ByteSource, openSource, type SourceOptions } from './source.ts';
import { lazily, type Stored, type StoredType, stored, type WeightTensor } from './stored.ts';

/** A tensor of the file as it lies there. `bytes` is a copy that starts at offset 0 of its buffer. */
export interface StoredTensor {
  readonly shape: readonly number[];
  readonly type: StoredType;
  readonly bytes: Uint8Array;
}

/** The longest header that is read; the format's own limit. */
const maxHeader = 100_000_000;
/** Characters of a name, and axes of a tensor: far above what models have. */
const longestName = 1000;
const mostAxes = 64;

const isRecord = (x: unknown): x is Record<string, unknown> => typeof x === 'object' && x !== null && !Array.isArray(x);
const isCount = (x: unknown): x is number => typeof x === 'number' && Number.isSafeInteger(x) && x >= 0;
const damaged = (file: string, why: string): FoveaError =>
  new FoveaError('FV0405', `${file}: ${why}`, { hint: 'The file is damaged or no safetensors file: copy or download it again.' });

interface Entry {
  readonly name: string;
  readonly shape: readonly number[];
  readonly type: StoredType;
  readonly begin: number;
  readonly end: number;
}

/** One tensor's description, checked against the number of data bytes. */
const parseEntry = (name: string, value: unknown, dataBytes: number, bad: (why: string) => FoveaError): Entry => {
  const where = `tensor ${quoted(name)}`;
  if (name.length > longestName) throw bad(`${where} has a name of ${name.length} characters`);
  if (!isRecord(value)) throw bad(`${where} is not described by an object`);
  const { dtype, shape, data_offsets: at } = value;
  if (typeof dtype !== 'string' || !Object.hasOwn(stored, dtype))
    throw bad(`${where} has unknown dtype ${shown(String(JSON.stringify(dtype)), 40)}`);
  const type = dtype as StoredType;
  if (!Array.isArray(shape) || shape.length > mostAxes || !shape.every(isCount)) throw bad(`${where} has a malformed shape`);
  if (!Array.isArray(at) || at.length !== 2 || !isCount(at[0]) || !isCount(at[1])) throw bad(`${where} has malformed data_offsets`);
  const [begin, end] = at as [number, number];
  // a product of counts may pass 2^53 and lose digits, but never comes down to a size that fits the file
  const bytes = (shape as number[]).reduce((a, b) => a * b, 1) * stored[type];
  if (end < begin || end > dataBytes) throw bad(`${where} lies at bytes ${begin}..${end} of ${dataBytes}`);
  if (end - begin !== bytes) throw bad(`${where} is ${dtype} [${shape.slice(0, 16).join(' ')}], ${bytes} bytes, but has ${end - begin}`);
  return { name, shape: shape as number[], type, begin, end };
};

interface Header {
  readonly entries: readonly Entry[];
  readonly metadata: Readonly<Record<string, string>>;
}

/** Checks a header against the number of data bytes that follow it. Throws FV0405. */
const parseHeader = (bytes: Uint8Array, dataBytes: number, file: string): Header => {
  const bad = (why: string): FoveaError => damaged(file, why);
  let json: unknown;
  try {
    json = strictJson(bytes);
  } catch (e) {
    throw bad(`its header cannot be used: ${(e as Error).message}`);
  }
  if (!isRecord(json)) throw bad('its header is not a JSON object');
  let metadata: Record<string, string> = {};
  const entries: Entry[] = [];
  for (const [name, value] of Object.entries(json)) {
    if (name === '__metadata__') {
      if (!isRecord(value) || !Object.values(value).every((v) => typeof v === 'string')) throw bad('its metadata are not strings');
      metadata = value as Record<string, string>;
    } else entries.push(parseEntry(name, value, dataBytes, bad));
  }
  const placed = [...entries].sort((a, b) => a.begin - b.begin || a.end - b.end);
  let at = 0;
  for (const e of placed) {
    if (e.begin !== at)
      throw bad(e.begin < at ? `tensor ${quoted(e.name)} overlaps another` : `bytes ${at}..${e.begin} belong to no tensor`);
    at = e.end;
  }
  if (at !== dataBytes) throw bad(`${dataBytes - at} bytes at its end belong to no tensor`);
  return { entries, metadata };
};

/** The tensors of a source as they lie there, by name. FV0405: malformed. */
export const parseSafetensors = (
  source: ByteSource,
): { readonly tensors: ReadonlyMap<string, Stored>; readonly metadata: Readonly<Record<string, string>> } => {
  const { name: file, size } = source;
  if (size < 8) throw damaged(file, `${size} bytes are too few for a safetensors file`);
  const start = source.copy(0, 8);
  const length = new DataView(start.buffer, start.byteOffset, 8).getBigUint64(0, true);
  if (length > BigInt(Math.min(size - 8, maxHeader))) throw damaged(file, `its header claims ${length} bytes of a file of ${size}`);
  const base = 8 + Number(length);
  const { entries, metadata } = parseHeader(source.copy(8, Number(length)), size - base, file);
  const tensors = new Map<string, Stored>();
  for (const { name, shape, type, begin, end } of entries)
    tensors.set(name, { shape, type, bytes: () => source.bytes(base + begin, end - begin) });
  return { tensors, metadata };
};

export interface Safetensors {
  /** In the order of the header. Valid until `close`; arrays that were loaded stay valid after it. */
  readonly tensors: ReadonlyMap<string, WeightTensor>;
  readonly metadata: Readonly<Record<string, string>>;
  readonly close: () => void;
}

/**
 * Opens a file without reading its numbers. `as` is the floating type that tensors are to have; see `lazily`. FV0402: cannot be read.
 * FV0405: malformed.
 */
export const openSafetensors = (file: string, { as, ...how }: SourceOptions & { readonly as?: Float } = {}): Safetensors => {
  const source = openSource(file, how);
  try {
    const { tensors, metadata } = parseSafetensors(source);
    return {
      tensors: new Map([...tensors].map(([name, t]) => [name, lazily(t, `${file}: ${shown(name)}`, as)])),
      metadata,
      close: source.close,
    };
  } catch (e) {
    source.close();
    throw e;
  }
};

export interface StoredFile {
  readonly tensors: ReadonlyMap<string, StoredTensor>;
  readonly metadata: Readonly<Record<string, string>>;
}

/** Every tensor of a file in its stored type, in memory. FV0402: cannot be read. FV0405: malformed. */
export const readStored = (file: string): StoredFile => {
  const source = openSource(file, { map: false });
  try {
    const { tensors, metadata } = parseSafetensors(source);
    return { tensors: new Map([...tensors].map(([name, { shape, type, bytes }]) => [name, { shape, type, bytes: bytes() }])), metadata };
  } finally {
    source.close();
  }
};

/** Every tensor of a file in memory, as the language's host tensors. FV0402: cannot be read. FV0405: malformed. */
export const readSafetensors = (
  file: string,
): { readonly tensors: ReadonlyMap<string, HostTensor>; readonly metadata: Readonly<Record<string, string>> } => {
  const { tensors, metadata, close } = openSafetensors(file, { map: false });
  try {
    return { tensors: new Map([...tensors].map(([name, { shape, dtype, load }]) => [name, { shape, dtype, data: load() }])), metadata };
  } finally {
    close();
  }
};
