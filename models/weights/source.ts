/**
 * The bytes of a file, a range at a time. Where the system can map files a range is the file's own pages: nothing is copied, pages come
 * in when they are touched and may go again under pressure. Elsewhere (Windows, a file system without mapping) a range is read into
 * memory. A range stays valid for as long as JavaScript can reach it, also after `close`: it is unmapped when its array is collected.
 *
 * A mapping is private, so writing to it changes neither the file nor another range. Truncating a mapped file in place while its
 * numbers are being read ends the process, as with any mapping; replacing it, as writeAtomic does, is safe.
 *
 *   const s = openSource('model.safetensors');
 *   s.bytes(8, 100)   // Uint8Array of 100 bytes
 */
import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs';
import koffi from 'koffi';
import { FoveaError } from '../../compiler/error.ts';

export interface ByteSource {
  /** What messages call it: the path of the file. */
  readonly name: string;
  /** In bytes. */
  readonly size: number;
  /** A range as it lies there, without a copy where that can be had. FV0405 if it is not inside the source. */
  readonly bytes: (offset: number, length: number) => Uint8Array;
  /** A short range, such as a header, in memory of its own. */
  readonly copy: (offset: number, length: number) => Uint8Array;
  /** No range can be had any more; those that were had stay. */
  readonly close: () => void;
}

/** The largest range; longer arrays are beyond some versions of Node. */
const longest = 2 ** 31 - 1;
/** Mappings start at multiples of a page; 64 KiB is a multiple of every page size in use. */
const page = 65536;

interface Maps {
  readonly map: (fd: number, offset: number, length: number) => bigint;
  readonly unmap: (address: bigint, length: number) => void;
}

/** mmap and munmap of the C library. PROT_READ | PROT_WRITE, MAP_PRIVATE, and MAP_NORESERVE, whose number differs. */
const bindMaps = (): Maps => {
  // koffi takes no configuration once a library is loaded, and the cpu backend's kernels need these stacks
  const stack = 16 << 20;
  if ((koffi.config().sync_stack_size ?? 0) < stack) koffi.config({ ...koffi.config(), sync_stack_size: stack, async_stack_size: stack });
  const lib = koffi.load(null);
  const mmap = lib.func('uintptr_t mmap(uintptr_t at, size_t length, int protection, int flags, int fd, int64_t offset)');
  const munmap = lib.func('int munmap(uintptr_t at, size_t length)');
  const flags = 2 | (process.platform === 'darwin' ? 0x40 : 0x4000);
  return {
    map: (fd, offset, length) => BigInt.asUintN(64, BigInt(mmap(0, length, 3, flags, fd, offset) as number | bigint)),
    unmap: (address, length) => {
      munmap(address, length);
    },
  };
};

let bound: Maps | undefined | null = null;
/** undefined on a system without mmap. */
const maps = (): Maps | undefined => {
  if (bound !== null) return bound;
  try {
    bound = process.platform === 'win32' ? undefined : bindMaps();
  } catch {
    bound = undefined;
  }
  return bound;
};
const failed = 2n ** 64n - 1n;

const collected = new FinalizationRegistry<{ readonly address: bigint; readonly length: number }>(({ address, length }) =>
  maps()?.unmap(address, length),
);

/** The file's own pages, or undefined where they cannot be had. */
const mapped = (fd: number, offset: number, length: number): Uint8Array | undefined => {
  const skip = offset % page;
  const address = maps()?.map(fd, offset - skip, length + skip);
  if (address === undefined || address === failed) return undefined;
  const buffer = koffi.view(address, length + skip);
  collected.register(buffer, { address, length: length + skip });
  return new Uint8Array(buffer, skip, length);
};

const read = (fd: number, offset: number, length: number): Uint8Array => {
  const out = new Uint8Array(length);
  for (let done = 0; done < length; ) {
    const n = readSync(fd, out, done, length - done, offset + done);
    if (n === 0) throw new Error('the file ends early');
    done += n;
  }
  return out;
};

const inside = (name: string, size: number, offset: number, length: number): void => {
  if (!(offset >= 0 && length >= 0 && offset + length <= size))
    throw new FoveaError('FV0405', `${name}: bytes ${offset}..${offset + length} of ${size} are asked for`, {
      hint: 'The file is damaged or was changed: copy or download it again.',
    });
  if (length > longest) throw new FoveaError('FV0405', `${name}: a piece of ${length} bytes is larger than one array can be`);
};

const cannotRead = (file: string, e: unknown): FoveaError =>
  new FoveaError('FV0402', `cannot read the weights ${file}: ${e instanceof Error ? e.message : String(e)}`, {
    hint: 'Give an existing file that you may read.',
    cause: e,
  });

export interface SourceOptions {
  /** false: ranges are read, not mapped. */
  readonly map?: boolean;
}

/** FV0402: cannot be read. */
export const openSource = (file: string, { map = true }: SourceOptions = {}): ByteSource => {
  const guarded = <T>(f: () => T): T => {
    try {
      return f();
    } catch (e) {
      throw e instanceof FoveaError ? e : cannotRead(file, e);
    }
  };
  // a pipe would be waited for; that it is no file is seen below. Windows has neither
  const how = constants.O_RDONLY | (constants.O_NONBLOCK ?? 0);
  let fd: number | undefined = guarded(() => openSync(file, how));
  const close = (): void => {
    if (fd !== undefined) closeSync(fd);
    fd = undefined;
  };
  const stat = guarded(() => fstatSync(fd as number));
  if (!stat.isFile()) {
    close();
    throw cannotRead(file, 'not a file');
  }
  const range = (offset: number, length: number, get: (fd: number, offset: number, length: number) => Uint8Array): Uint8Array =>
    guarded(() => {
      if (fd === undefined) throw new Error('it was closed');
      // a mapping past the end of a file that has become shorter would end the process when it is touched
      inside(file, Math.min(stat.size, fstatSync(fd).size), offset, length);
      return length === 0 ? new Uint8Array(0) : get(fd, offset, length);
    });
  const own = (f: number, offset: number, length: number): Uint8Array => (map && mapped(f, offset, length)) || read(f, offset, length);
  return {
    name: file,
    size: stat.size,
    bytes: (offset, length) => range(offset, length, own),
    copy: (offset, length) => range(offset, length, read),
    close,
  };
};

/** Bytes in memory as a source; ranges are views of them. */
export const bytesSource = (bytes: Uint8Array, name: string): ByteSource => {
  const view = (offset: number, length: number): Uint8Array => {
    inside(name, bytes.length, offset, length);
    return bytes.subarray(offset, offset + length);
  };
  return { name, size: bytes.length, bytes: view, copy: (offset, length) => new Uint8Array(view(offset, length)), close: () => {} };
};
