/**
 * The directory of a zip file: where each entry's bytes lie. yauzl reads and checks the records; the bytes themselves are never
 * streamed, because tensors are views of the file.
 *
 *   (await zipEntries(source)).get('archive/data/0')   // { start: 640, size: 1536, packed: 1536, method: 0 }
 */
import { inflateRawSync } from 'node:zlib';
import yauzl from 'yauzl';
import { FoveaError } from '../../compiler/error.ts';
import { quoted } from './shown.ts';
import type { ByteSource } from './source.ts';

export interface ZipEntry {
  readonly start: number;
  /** Bytes in the file, and of the entry's content. */
  readonly packed: number;
  readonly size: number;
  /** 0 stored, 8 deflated. */
  readonly method: number;
}

const mostEntries = 100_000;
const hint = 'The file is damaged: copy or download it again.';

/** yauzl asks for a class; only the reading of a range differs from its own. */
class SourceReader extends yauzl.RandomAccessReader {
  readonly source: ByteSource;
  constructor(source: ByteSource) {
    super();
    this.source = source;
  }
  override read(buffer: Buffer, offset: number, length: number, position: number, callback: (err: Error | null) => void): void {
    let failure: Error | null = null;
    try {
      buffer.set(this.source.copy(position, length), offset);
    } catch (e) {
      failure = e as Error;
    }
    // a callback in the same turn would nest one call a directory entry
    setImmediate(callback, failure);
  }
  override close(callback: (err: Error | null) => void): void {
    setImmediate(callback, null);
  }
}

/** The name of an entry that lies in another one, if there is any: one reader would see one content, another another. */
const overlapping = (entries: ReadonlyMap<string, ZipEntry>): string | undefined => {
  const placed = [...entries].filter(([, e]) => e.packed > 0).sort(([, a], [, b]) => a.start - b.start);
  return placed.find(([, e], i) => {
    const [, before] = placed[i - 1] ?? [];
    return before !== undefined && e.start < before.start + before.packed;
  })?.[0];
};

/** Entries by name. FV0405: the directory is malformed, or an entry lies outside the file or in another, or stands there twice. */
export const zipEntries = async (source: ByteSource): Promise<ReadonlyMap<string, ZipEntry>> => {
  const damaged = (why: string, cause?: unknown): FoveaError => new FoveaError('FV0405', `${source.name}: ${why}`, { hint, cause });
  const guarded = async <T>(p: Promise<T>): Promise<T> => {
    try {
      return await p;
    } catch (e) {
      throw e instanceof FoveaError ? e : damaged(`not a whole zip file: ${e instanceof Error ? e.message : String(e)}`, e);
    }
  };
  const options = { lazyEntries: true, autoClose: false } as const;
  const zip = await guarded(yauzl.fromRandomAccessReaderPromise(new SourceReader(source), source.size, options));
  try {
    if (zip.entryCount > mostEntries) throw damaged(`its directory claims ${zip.entryCount} entries`);
    const out = new Map<string, ZipEntry>();
    const each = zip.eachEntry()[Symbol.asyncIterator]();
    for (;;) {
      const next = await guarded(each.next());
      if (next.done) {
        const inner = overlapping(out);
        if (inner !== undefined) throw damaged(`the entry ${quoted(inner, 100)} overlaps another`);
        return out;
      }
      const e = next.value;
      if (out.has(e.fileName)) throw damaged(`the entry ${quoted(e.fileName, 100)} stands there twice`);
      if (e.isEncrypted()) throw damaged('its entries are encrypted');
      const { fileDataStart } = await guarded(zip.readLocalFileHeaderPromise(e, { minimal: true }));
      if (fileDataStart + e.compressedSize > source.size) throw damaged(`the entry ${quoted(e.fileName, 100)} ends behind it`);
      out.set(e.fileName, { start: fileDataStart, packed: e.compressedSize, size: e.uncompressedSize, method: e.compressionMethod });
    }
  } finally {
    zip.close();
  }
};

/** The content of a short entry, at most `most` bytes of it, also if it is compressed. FV0405. */
export const zipContent = (source: ByteSource, e: ZipEntry, what: string, most: number): Uint8Array => {
  const damaged = (why: string): FoveaError => new FoveaError('FV0405', `${source.name}: ${what} ${why}`, { hint });
  if (e.size > most) throw damaged(`claims ${e.size} bytes, more than ${most}`);
  if (e.method === 0) return source.copy(e.start, e.size);
  if (e.method !== 8) throw damaged(`is packed by method ${e.method}`);
  try {
    const out = inflateRawSync(source.copy(e.start, e.packed), { maxOutputLength: Math.max(e.size, 1) });
    if (out.length === e.size) return out;
  } catch {
    // what zlib says is about its own buffers
  }
  throw damaged(`does not unpack to the ${e.size} bytes that it claims`);
};
