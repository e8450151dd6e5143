/**
 * What the names in a PyTorch pickle mean: storages, tensors as views of storages, parameters, OrderedDict. A tensor is a storage's key,
 * an offset, sizes and strides; here they are checked against the storage, and become a tensor of the file. A contiguous one is a view
 * of the file, any other (a transposed one) is gathered in one copy when it is loaded.
 */
import { FoveaError } from '../../compiler/error.ts';
import type { Value, World } from './pickle.ts';
import { quoted } from './shown.ts';
import { type Stored, type StoredType, stored } from './stored.ts';

export interface Storage {
  readonly kind: 'storage';
  readonly key: string;
  readonly type: StoredType;
  /** Elements. */
  readonly length: number;
}
export interface Strided {
  readonly kind: 'tensor';
  readonly storage: Storage;
  readonly offset: number;
  readonly size: readonly number[];
  readonly stride: readonly number[];
}
export type Made = Storage | Strided;
export type TorchValue = Value<Made>;

const storages: Readonly<Record<string, StoredType>> = {
  'torch.DoubleStorage': 'F64',
  'torch.FloatStorage': 'F32',
  'torch.HalfStorage': 'F16',
  'torch.BFloat16Storage': 'BF16',
  'torch.LongStorage': 'I64',
  'torch.IntStorage': 'I32',
  'torch.ShortStorage': 'I16',
  'torch.CharStorage': 'I8',
  'torch.ByteStorage': 'U8',
  'torch.BoolStorage': 'BOOL',
};

/** Axes of a tensor; PyTorch's own limit. */
const mostAxes = 64;

const isCount = (x: unknown): x is number => typeof x === 'number' && Number.isSafeInteger(x) && x >= 0;
const items = (v: TorchValue | undefined, kind: 'tuple' | 'list' | 'dict'): readonly TorchValue[] | undefined => {
  if (typeof v !== 'object' || v === null || !('kind' in v) || v.kind !== kind) return undefined;
  return v.kind === 'dict' ? v.pairs : v.items;
};
const made = (v: TorchValue | undefined): Made | undefined =>
  typeof v === 'object' && v !== null && 'kind' in v && v.kind === 'made' ? v.made : undefined;
const counts = (v: TorchValue | undefined): readonly number[] | undefined => {
  const all = items(v, 'tuple');
  return all && all.length <= mostAxes && all.every(isCount) ? (all as readonly number[]) : undefined;
};

const elementCount = (size: readonly number[]): number => size.reduce((a, b) => a * b, 1);
/** One past the last element that a tensor reads, from its offset. */
const spanOf = (size: readonly number[], stride: readonly number[]): number =>
  size.includes(0) ? 0 : size.reduce((last, n, i) => last + (n - 1) * (stride[i] as number), 1);

/** A tensor from the arguments of torch._utils._rebuild_tensor_v2, whose last ones concern gradients. */
const rebuild = (args: readonly TorchValue[], file: string): Strided | undefined => {
  const [first, offset, sizes, strides, , , metadata] = args;
  const storage = made(first);
  const [size, stride] = [counts(sizes), counts(strides)];
  if (storage?.kind !== 'storage' || !isCount(offset) || !size || stride?.length !== size.length) return undefined;
  // conjugate and negative views: their bits say that the numbers are to be changed
  if (args.length < 6 || args.length > 7 || (metadata !== undefined && metadata !== null && items(metadata, 'dict')?.length !== 0))
    return undefined;
  const n = elementCount(size);
  if (!(n <= storage.length && offset + spanOf(size, stride) <= storage.length))
    throw new FoveaError(
      'FV0405',
      `${file}: a tensor of ${n} elements is said to lie in storage ${quoted(storage.key, 40)}, which has ${storage.length}`,
      {
        hint: 'The file is damaged or hostile. A tensor expanded by PyTorch must be made contiguous before it is saved.',
      },
    );
  return { kind: 'tensor', storage, offset, size, stride };
};

const rebuildTensor = 'torch._utils._rebuild_tensor_v2';
const rebuildParameter = 'torch._utils._rebuild_parameter';
const orderedDict = 'collections.OrderedDict';

/** `used` collects the storages that the pickle names. */
export const torchWorld = (file: string, used: Map<string, Storage>): World<Made> => ({
  allowed: (name) => name === rebuildTensor || name === rebuildParameter || name === orderedDict || Object.hasOwn(storages, name),
  call: (name, args) => {
    if (name === orderedDict) {
      if (args.length === 0) return { kind: 'dict', pairs: [] };
      // Python 2 gives the pairs as a list of lists
      const list = args.length === 1 ? items(args[0], 'list') : undefined;
      const pairs = list?.map((p) => items(p, 'list') ?? items(p, 'tuple'));
      return pairs?.every((p) => p?.length === 2) ? { kind: 'dict', pairs: pairs.flat() as TorchValue[] } : undefined;
    }
    if (name === rebuildParameter) return made(args[0])?.kind === 'tensor' && args.length === 3 ? args[0] : undefined;
    const tensor = name === rebuildTensor ? rebuild(args, file) : undefined;
    return tensor && { kind: 'made', made: tensor };
  },
  persistent: (id) => {
    const [tag, global, key, location, length, view] = items(id, 'tuple') ?? [];
    if (tag !== 'storage' || typeof global !== 'object' || global === null || !('kind' in global) || global.kind !== 'global')
      return undefined;
    const type = storages[global.name];
    if (type === undefined || typeof key !== 'string' || typeof location !== 'string' || !isCount(length) || (view ?? null) !== null)
      return undefined;
    const before = used.get(key);
    // several names of one storage: the longest decides how many bytes the file must have for it
    const storage: Storage = { kind: 'storage', key, type, length };
    if (!before || stored[before.type] * before.length < stored[type] * length) used.set(key, storage);
    return { kind: 'made', made: storage };
  },
});

const isContiguous = (size: readonly number[], stride: readonly number[]): boolean => {
  let step = 1;
  for (let i = size.length - 1; i >= 0; i--) {
    if (size[i] !== 1 && stride[i] !== step) return false;
    step *= size[i] as number;
  }
  return true;
};

const wordsOf = { 1: Uint8Array, 2: Uint16Array, 4: Uint32Array, 8: BigUint64Array } as const;

/** The elements in row-major order; `from` starts at the first one. */
const gather = (from: Uint8Array, bytes: 1 | 2 | 4 | 8, size: readonly number[], stride: readonly number[]): Uint8Array => {
  const aligned = from.byteOffset % bytes === 0 ? from : new Uint8Array(from);
  const source = new wordsOf[bytes](aligned.buffer as ArrayBuffer, aligned.byteOffset, aligned.length / bytes);
  const out = new wordsOf[bytes](elementCount(size));
  const index = new Array<number>(size.length).fill(0);
  for (let i = 0, at = 0; i < out.length; i++) {
    out[i] = source[at] as number & bigint;
    for (let axis = size.length - 1; axis >= 0; axis--) {
      const next = (index[axis] as number) + 1;
      if (next < (size[axis] as number)) {
        index[axis] = next;
        at += stride[axis] as number;
        break;
      }
      at -= (next - 1) * (stride[axis] as number);
      index[axis] = 0;
    }
  }
  return new Uint8Array(out.buffer);
};

/** A tensor of the file; `storageBytes` gives a range of its storage. */
export const storedTensor = (t: Strided, storageBytes: (offset: number, length: number) => Uint8Array): Stored => {
  const { size, stride } = t;
  const type = t.storage.type;
  const width = stored[type];
  const range = (): Uint8Array => storageBytes(t.offset * width, spanOf(size, stride) * width);
  return {
    shape: size,
    type,
    bytes: size.includes(0) ? () => new Uint8Array(0) : isContiguous(size, stride) ? range : () => gather(range(), width, size, stride),
  };
};
