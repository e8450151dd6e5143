/**
 * Checkpoints of torch.save, both of its formats, read without running anything of the file (pickle.ts). Since PyTorch 1.6 a checkpoint
 * is a zip file: <name>/data.pkl is the pickle, <name>/data/<key> the bytes of each storage, uncompressed, so that a tensor is a view of
 * the file. Before, it was a row of pickles (magic number, version, system, the object, the keys) and then the storages' bytes.
 *
 *   const { tensors } = await parsePth(openSource('dinov2_vits14_pretrain.pth'));
 */
import { FoveaError } from '../../compiler/error.ts';
import { unpickle } from './pickle.ts';
import { quoted } from './shown.ts';
import type { ByteSource } from './source.ts';
import { type StateDict, stateDict } from './state-dict.ts';
import { type Stored, stored } from './stored.ts';
import { type Storage, storedTensor, type TorchValue, torchWorld } from './torch.ts';
import { type ZipEntry, zipContent, zipEntries } from './zip.ts';

/** Bytes of a pickle; the numbers of the tensors are not in it. */
const mostPickle = 16 << 20;
/** torch.save's magic number and version of the older format, as their pickles begin. */
export const legacyMagic = Uint8Array.of(0x80, 0x02, 0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19, 0x2e);
const legacyVersion = 1001;

export interface PthOptions {
  /** The entry of the top dictionary that holds the tensors; see state-dict.ts for what is taken without it. */
  readonly key?: string | undefined;
}
export interface PthFile {
  readonly tensors: ReadonlyMap<string, Stored>;
  readonly metadata: Readonly<Record<string, string>>;
  readonly key: string | undefined;
}

const damaged = (file: string, why: string): FoveaError =>
  new FoveaError('FV0405', `${file}: ${why}`, { hint: 'The file is damaged: copy or download it again.' });
const unknown = (file: string, why: string, hint: string): FoveaError => new FoveaError('FV0412', `${file}: ${why}`, { hint });
const again = 'Load it with PyTorch and save its state_dict with torch.save.';

/** Tensors over storages that lie in the file from `startOf(storage)`. */
const located = ({ tensors, metadata, key }: StateDict, source: ByteSource, startOf: (s: Storage) => number): PthFile => ({
  tensors: new Map(
    [...tensors].map(([name, t]) => [name, storedTensor(t, (offset, length) => source.bytes(startOf(t.storage) + offset, length))]),
  ),
  metadata,
  key,
});

const textOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString('latin1').trim();

/** The zip format. */
export const parseZipPth = async (source: ByteSource, { key }: PthOptions = {}): Promise<PthFile> => {
  const { name: file } = source;
  const entries = await zipEntries(source);
  const pickles = [...entries.keys()].filter((n) => /^(?:[^/]+\/)?data\.pkl$/.test(n));
  const [pickle] = pickles;
  if (pickle === undefined)
    throw unknown(file, 'a zip file, but no PyTorch checkpoint: it has no data.pkl', 'Give a file of torch.save, or safetensors.');
  if (pickles.length > 1) throw damaged(file, `it holds ${pickles.length} pickles named data.pkl`);
  const prefix = pickle.slice(0, -'data.pkl'.length);
  if (entries.has(`${prefix}constants.pkl`)) throw unknown(file, 'a TorchScript program, not a checkpoint', again);
  const order = entries.get(`${prefix}byteorder`);
  if (order && textOf(zipContent(source, order, 'byteorder', 64)) !== 'little') throw unknown(file, 'its numbers are big-endian', again);

  const used = new Map<string, Storage>();
  const root = unpickle(zipContent(source, entries.get(pickle) as ZipEntry, 'data.pkl', mostPickle), file, torchWorld(file, used)).value;
  for (const s of used.values()) {
    const e = entries.get(`${prefix}data/${s.key}`);
    const what = `storage ${quoted(s.key, 40)}`;
    if (!e) throw damaged(file, `${what} is missing`);
    if (e.method !== 0) throw unknown(file, `${what} is compressed`, again);
    if (s.length * stored[s.type] > e.size)
      throw damaged(file, `${what} has ${e.size} bytes where its pickle claims ${s.length} of ${s.type}`);
  }
  return located(stateDict(root, file, key), source, (s) => (entries.get(`${prefix}data/${s.key}`) as ZipEntry).start);
};

const isKeys = (v: TorchValue): v is { readonly kind: 'list'; readonly items: string[] } =>
  typeof v === 'object' && v !== null && 'kind' in v && v.kind === 'list' && v.items.every((k) => typeof k === 'string');

/** The older format. */
export const parseLegacyPth = (source: ByteSource, { key }: PthOptions = {}): PthFile => {
  const { name: file } = source;
  const used = new Map<string, Storage>();
  const world = torchWorld(file, used);
  let at = legacyMagic.length;
  const next = (): TorchValue => {
    const { value, end } = unpickle(source.bytes(at, Math.min(mostPickle, source.size - at)), file, world);
    at += end;
    return value;
  };
  const version = next();
  if (version !== legacyVersion) throw unknown(file, `a checkpoint of an unknown version, ${String(version).slice(0, 40)}`, again);
  const system = next();
  const little = typeof system === 'object' && system !== null && 'kind' in system && system.kind === 'dict' ? system.pairs : [];
  if (little[little.indexOf('little_endian') + 1] !== true) throw unknown(file, 'its numbers are not said to be little-endian', again);
  const root = next();
  const keys = next();
  if (!isKeys(keys)) throw damaged(file, 'its list of storages is malformed');
  const starts = new Map<string, number>();
  for (const k of keys.items) {
    const s = used.get(k);
    if (!s || starts.has(k)) throw damaged(file, `storage ${quoted(k, 40)} stands there ${s ? 'twice' : 'for nothing'}`);
    const head = source.copy(at, 8);
    const length = new DataView(head.buffer, head.byteOffset, 8).getBigInt64(0, true);
    if (length !== BigInt(s.length))
      throw damaged(file, `storage ${quoted(k, 40)} has ${length} elements where its pickle claims ${s.length}`);
    starts.set(k, at + 8);
    at += 8 + s.length * stored[s.type];
    if (at > source.size) throw damaged(file, 'it ends early');
  }
  const missing = [...used.keys()].find((k) => !starts.has(k));
  if (missing !== undefined) throw damaged(file, `storage ${quoted(missing, 40)} is missing`);
  return located(stateDict(root, file, key), source, (s) => starts.get(s.key) as number);
};
