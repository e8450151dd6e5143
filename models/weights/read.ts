/**
 * One way to open any weight file: the first bytes say which format it is, whatever its name. Nothing but headers is read until a
 * tensor's `load` asks for its numbers.
 *
 *   const { tensors, format, close } = await readWeights('dinov2_vits14_pretrain.pth', { as: 'f32' });
 */
import { FoveaError } from '../../compiler/error.ts';
import type { Float } from '../../compiler/graph/floats.ts';
import { legacyMagic, parseLegacyPth, parseZipPth } from './pth.ts';
import { parseSafetensors } from './safetensors.ts';
import { quoted, shown } from './shown.ts';
import { type ByteSource, openSource, type SourceOptions } from './source.ts';
import { lazily, type WeightTensor } from './stored.ts';
import { few } from './tree.ts';

export type WeightFormat = 'safetensors' | 'pytorch' | 'pytorch-legacy';

export interface ReadOptions {
  /** The floating type that tensors are to have; without it they keep theirs, see `lazily`. */
  readonly as?: Float | undefined;
  /** The part to read: an entry of a PyTorch checkpoint's top dictionary, or the first part, or parts, of names in safetensors. */
  readonly key?: string | undefined;
}

export interface WeightFile {
  readonly format: WeightFormat;
  /** In the order of the file. Valid until `close`; arrays that were loaded stay valid after it. */
  readonly tensors: ReadonlyMap<string, WeightTensor>;
  readonly metadata: Readonly<Record<string, string>>;
  /** The entry that the tensors were found under, if any. */
  readonly key: string | undefined;
  readonly close: () => void;
}

const startsWith = (bytes: Uint8Array, start: Uint8Array): boolean => start.every((b, i) => bytes[i] === b);
const zipStart = Uint8Array.of(0x50, 0x4b, 0x03, 0x04);

const formatOf = (source: ByteSource): WeightFormat => {
  const unknown = (what: string, hint = 'Convert it to safetensors where it was made.'): FoveaError =>
    new FoveaError('FV0412', `${source.name}: ${what}`, { hint });
  if (source.size === 0) throw unknown('an empty file', 'Copy or download it again.');
  const start = source.copy(0, Math.min(512, source.size));
  if (startsWith(start, zipStart)) return 'pytorch';
  if (startsWith(start, legacyMagic)) return 'pytorch-legacy';
  if (start[8] === 0x7b) return 'safetensors';
  if (start[0] === 0x80 && start[1] !== undefined && start[1] <= 5) throw unknown('a pickle, but not one of torch.save');
  if (Buffer.from(start.subarray(257, 262)).toString('latin1') === 'ustar')
    throw unknown('a tar file, as PyTorch before 0.1.10 saved', 'Load it with PyTorch and save its state_dict with torch.save.');
  throw unknown('neither safetensors nor a PyTorch checkpoint');
};

/** Safetensors are a flat list; a training run's has teacher.backbone.… in it, and what is below `key` are the names that start with it. */
const below = (source: ByteSource, key: string | undefined): ReturnType<typeof parseSafetensors> => {
  const file = parseSafetensors(source);
  if (key === undefined) return file;
  const start = `${key}.`;
  const tensors = new Map(
    [...file.tensors].flatMap(([name, t]) => (name.startsWith(start) ? [[name.slice(start.length), t] as const] : [])),
  );
  if (tensors.size > 0) return { ...file, tensors };
  const firsts = [...new Set([...file.tensors.keys()].map((name) => name.split('.', 1)[0] as string))];
  throw new FoveaError('FV0406', `${source.name} has no tensors under the key ${quoted(key)}`, {
    hint: `Its names start with ${few(firsts.map((n) => quoted(n))) || 'nothing'}.`,
  });
};

/** As readWeights, of bytes from anywhere. `close` closes the source. */
export const parseWeights = async (source: ByteSource, { as, key }: ReadOptions = {}): Promise<WeightFile> => {
  const format = formatOf(source);
  const { key: found, ...file } =
    format === 'safetensors'
      ? { ...below(source, key), key }
      : format === 'pytorch'
        ? await parseZipPth(source, { key })
        : parseLegacyPth(source, { key });
  const tensors = new Map([...file.tensors].map(([name, t]) => [name, lazily(t, `${source.name}: ${shown(name)}`, as)]));
  return { format, tensors, metadata: file.metadata, key: found, close: source.close };
};

/**
 * FV0402: cannot be read. FV0412: of no format that is known here. FV0405: damaged. FV0410: a pickle that asks for more than data.
 * FV0406: holds no tensors, or no such key.
 */
export const readWeights = async (file: string, { map, ...options }: ReadOptions & SourceOptions = {}): Promise<WeightFile> => {
  const source = openSource(file, map === undefined ? {} : { map });
  try {
    return await parseWeights(source, options);
  } catch (e) {
    source.close();
    throw e;
  }
};
