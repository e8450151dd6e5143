/**
 * Makes checkpoints as torch.save does, so that tests need no Python: an assembler for pickles, a zip writer, and the two file formats.
 * What it makes is compared with files of PyTorch itself in pth.test.ts.
 *
 *   zipPth(stateDict([{ name: 'w', size: [2, 3], stride: [3, 1], offset: 0, key: '0' }]), { '0': bytes })
 */
import { crc32, deflateRawSync } from 'node:zlib';
import { names } from '../../models/weights/pickle-ops.ts';

const u32 = (n: number): Buffer => {
  const b = Buffer.alloc(4);
  b.writeUInt32LE(n);
  return b;
};
const code = (op: keyof typeof names, ...rest: readonly Uint8Array[]): Buffer => Buffer.concat([Buffer.of(names[op]), ...rest]);

/** Pieces of pickles; each leaves one value on the stack, unless it says otherwise. */
export const p = {
  code,
  proto: (version = 2): Buffer => code('PROTO', Buffer.of(version)),
  int: (n: number): Buffer => {
    if (n >= -(2 ** 31) && n < 2 ** 31) {
      const b = Buffer.alloc(4);
      b.writeInt32LE(n);
      return code('BININT', b);
    }
    const b = Buffer.alloc(8);
    b.writeBigInt64LE(BigInt(n));
    return code('LONG1', Buffer.of(8), b);
  },
  str: (s: string): Buffer => code('BINUNICODE', u32(Buffer.byteLength(s)), Buffer.from(s)),
  float: (x: number): Buffer => {
    const b = Buffer.alloc(8);
    b.writeDoubleBE(x);
    return code('BINFLOAT', b);
  },
  global: (module: string, name: string): Buffer => code('GLOBAL', Buffer.from(`${module}\n${name}\n`)),
  tuple: (...items: readonly Uint8Array[]): Buffer => Buffer.concat([code('MARK'), ...items, code('TUPLE')]),
  list: (...items: readonly Uint8Array[]): Buffer => Buffer.concat([code('EMPTY_LIST'), code('MARK'), ...items, code('APPENDS')]),
  dict: (...pairs: readonly (readonly [string, Uint8Array])[]): Buffer =>
    Buffer.concat([code('EMPTY_DICT'), code('MARK'), ...pairs.flatMap(([k, v]) => [p.str(k), v]), code('SETITEMS')]),
  call: (f: Uint8Array, ...args: readonly Uint8Array[]): Buffer => Buffer.concat([f, p.tuple(...args), code('REDUCE')]),
  /** Keeps the value on top of the stack under a number; leaves it there. */
  put: (i: number): Buffer => code('BINPUT', Buffer.of(i)),
  get: (i: number): Buffer => code('BINGET', Buffer.of(i)),
  none: code('NONE'),
  no: code('NEWFALSE'),
  yes: code('NEWTRUE'),
  stop: code('STOP'),
} as const;

export interface TensorPlan {
  readonly size: readonly number[];
  readonly stride: readonly number[];
  readonly offset: number;
  readonly key: string;
  /** FloatStorage if not given. */
  readonly type?: string;
  /** Elements that the storage is said to have. */
  readonly numel: number;
}

/** _rebuild_tensor_v2 over a storage. `legacy` ids have a sixth part. */
export const tensor = (t: TensorPlan, legacy = false): Buffer => {
  const id = p.tuple(
    p.str('storage'),
    p.global('torch', t.type ?? 'FloatStorage'),
    p.str(t.key),
    p.str('cpu'),
    p.int(t.numel),
    ...(legacy ? [p.none] : []),
  );
  const hooks = p.call(p.global('collections', 'OrderedDict'));
  return p.call(
    p.global('torch._utils', '_rebuild_tensor_v2'),
    Buffer.concat([id, code('BINPERSID')]),
    p.int(t.offset),
    p.tuple(...t.size.map(p.int)),
    p.tuple(...t.stride.map(p.int)),
    p.no,
    hooks,
  );
};

export const pickle = (value: Uint8Array): Buffer => Buffer.concat([p.proto(), value, p.stop]);

export interface ZipPart {
  readonly name: string;
  readonly bytes: Uint8Array;
  readonly deflate?: boolean;
  /** Where the directory says that the entry is, if not where it is; and how large, if not how large it is. */
  readonly at?: number;
  readonly claims?: number;
}

/** A zip file; data start at multiples of 64, as PyTorch pads them with an extra field. */
export const zip = (parts: readonly ZipPart[]): Buffer => {
  const out: Buffer[] = [];
  const directory: Buffer[] = [];
  let at = 0;
  for (const part of parts) {
    const data = part.deflate ? deflateRawSync(part.bytes) : Buffer.from(part.bytes);
    const name = Buffer.from(part.name);
    const pad = Buffer.alloc(4 + ((64 - ((at + 30 + name.length + 4) % 64)) % 64));
    pad.writeUInt16LE(0x4246);
    pad.writeUInt16LE(pad.length - 4, 2);
    const common = Buffer.alloc(26);
    common.writeUInt16LE(20);
    common.writeUInt16LE(part.deflate ? 8 : 0, 4);
    common.writeUInt16LE(0x21, 8);
    common.writeUInt32LE(crc32(part.bytes), 10);
    common.writeUInt32LE(data.length, 14);
    common.writeUInt32LE(part.claims ?? part.bytes.length, 18);
    common.writeUInt16LE(name.length, 22);
    const local = Buffer.from(common);
    local.writeUInt16LE(pad.length, 24);
    out.push(Buffer.from('PK\x03\x04'), local, name, pad, data);
    const tail = Buffer.alloc(14);
    tail.writeUInt32LE(part.at ?? at, 10);
    directory.push(Buffer.from('PK\x01\x02'), Buffer.of(20, 0), common, tail, name);
    at += 30 + name.length + pad.length + data.length;
  }
  const central = Buffer.concat(directory);
  const end = Buffer.alloc(22);
  end.write('PK\x05\x06', 'latin1');
  end.writeUInt16LE(parts.length, 8);
  end.writeUInt16LE(parts.length, 10);
  end.writeUInt32LE(central.length, 12);
  end.writeUInt32LE(at, 16);
  return Buffer.concat([...out, central, end]);
};

/** A checkpoint in the zip format: `value` is what the pickle builds, without its frame. */
export const zipPth = (value: Uint8Array, storages: Readonly<Record<string, Uint8Array>>): Buffer =>
  zip([
    { name: 'archive/data.pkl', bytes: pickle(value) },
    { name: 'archive/byteorder', bytes: Buffer.from('little') },
    ...Object.entries(storages).map(([key, bytes]) => ({ name: `archive/data/${key}`, bytes })),
    { name: 'archive/version', bytes: Buffer.from('3\n') },
  ]);

/** A checkpoint in the older format; sizes of storages are in elements of `width` bytes. */
export const legacyPth = (value: Uint8Array, storages: Readonly<Record<string, Uint8Array>>, width = 4): Buffer => {
  const magic = code('LONG1', Buffer.of(10), Buffer.from('6cfc9c46f9206aa85019', 'hex'));
  const system = p.dict(['protocol_version', p.int(1001)], ['little_endian', p.yes], ['type_sizes', p.dict(['int', p.int(4)])]);
  const keys = p.list(...Object.keys(storages).map(p.str));
  const raw = Object.values(storages).flatMap((bytes) => {
    const n = Buffer.alloc(8);
    n.writeBigInt64LE(BigInt(bytes.length / width));
    return [n, Buffer.from(bytes)];
  });
  return Buffer.concat([...[magic, p.int(1001), system, value, keys].map(pickle), ...raw]);
};
