/**
 * From what a PyTorch pickle holds to tensors by name. A training export wraps the state dictionary: { teacher: { 'backbone.cls_token': …
 * } }. The one to read is chosen by its key; without one, `teacher` if it is there, as the original's evaluation does, then `model`,
 * `state_dict` and `student`. Values may be shared or contain themselves, so the walk counts its steps and knows where it is.
 */
import { FoveaError } from '../../compiler/error.ts';
import { kindOf, onlyData } from './pickle.ts';
import { quoted } from './shown.ts';
import type { Strided, TorchValue } from './torch.ts';

/** Values looked at, and nesting, in one state dictionary. */
const mostValues = 200_000;
const deepest = 32;
const longestName = 1000;
const wrappers = ['teacher', 'model', 'state_dict', 'student'] as const;

type Dict = ReadonlyMap<string | number, TorchValue>;

/** Keys that can be part of a tensor's name. 1 and '1' are two keys, as in Python. */
const isName = (key: TorchValue): key is string | number => typeof key === 'string' || typeof key === 'number';

/** The entries of a dictionary that have a name, the last of equal keys. */
const entries = (v: TorchValue | undefined): Dict | undefined => {
  if (typeof v !== 'object' || v === null || !('kind' in v) || v.kind !== 'dict') return undefined;
  const out = new Map<string | number, TorchValue>();
  for (let i = 0; i < v.pairs.length; i += 2) {
    const key = v.pairs[i] as TorchValue;
    if (isName(key)) out.set(key, v.pairs[i + 1] as TorchValue);
  }
  return out;
};

const tensorOf = (v: TorchValue | undefined): Strided | undefined =>
  typeof v === 'object' && v !== null && 'kind' in v && v.kind === 'made' && v.made.kind === 'tensor' ? v.made : undefined;

/** The keys of a dictionary for a message. */
const keysOf = (d: Dict): string => {
  const keys = [...d.keys()].map((k) => quoted(String(k), 60));
  return keys.length === 0 ? 'nothing' : keys.slice(0, 12).join(', ') + (keys.length > 12 ? ' and more' : '');
};

/** The dictionary to read, and under which key it was. */
const choose = (
  root: TorchValue,
  file: string,
  key: string | undefined,
): { readonly dict: TorchValue; readonly key: string | undefined } => {
  const top = entries(root);
  if (!top)
    throw new FoveaError('FV0406', `${file} holds a ${kindOf(root)}, not a dictionary of tensors`, {
      hint: 'Save a state_dict with torch.save.',
    });
  const isDict = (k: string): boolean => entries(top.get(k)) !== undefined;
  if (key !== undefined) {
    if (!isDict(key))
      throw new FoveaError('FV0406', `${file} has no dictionary under the key ${quoted(key)}`, {
        hint: `It holds ${keysOf(top)}.`,
      });
    return { dict: top.get(key) as TorchValue, key };
  }
  const plain = [...top.values()].some((v) => tensorOf(v) !== undefined);
  const found = isDict('teacher') ? 'teacher' : plain ? undefined : wrappers.find(isDict);
  return { dict: found === undefined ? root : (top.get(found) as TorchValue), key: found };
};

export interface StateDict {
  readonly tensors: ReadonlyMap<string, Strided>;
  /** The key that the dictionary was found under. */
  readonly key: string | undefined;
  /** Plain values beside the tensors: an epoch, a version. */
  readonly metadata: Readonly<Record<string, string>>;
}

/** FV0406: no dictionary, or none under `key`, or no tensors in it. FV0410: contains itself, or is too large. FV0405: a name twice. */
export const stateDict = (root: TorchValue, file: string, key?: string): StateDict => {
  const chosen = choose(root, file, key);
  const tensors = new Map<string, Strided>();
  const metadata: Record<string, string> = Object.create(null);
  const above = new Set<TorchValue>();
  let values = 0;
  const refused = (why: string): FoveaError => new FoveaError('FV0410', `${file}: ${why}`, { hint: onlyData });
  const count = (n: number): void => {
    values += n;
    if (values > mostValues) throw refused(`it holds more than ${mostValues} values`);
  };
  const walk = (v: TorchValue, path: string): void => {
    count(1);
    if (path.length > longestName) throw refused(`a name is longer than ${longestName} characters`);
    const tensor = tensorOf(v);
    if (tensor) {
      if (tensors.has(path))
        throw new FoveaError('FV0405', `${file}: two tensors have the name ${quoted(path)}`, {
          hint: 'The file is damaged.',
        });
      tensors.set(path, tensor);
      return;
    }
    if (typeof v !== 'object' || v === null || !('kind' in v)) {
      if (above.size === 1 && v !== null && !(v instanceof Uint8Array)) metadata[path] = String(v).slice(0, 1000);
      return;
    }
    if (v.kind === 'global' || v.kind === 'made') return;
    if (above.has(v)) throw refused('its values contain themselves');
    if (above.size >= deepest) throw refused(`its values are nested more than ${deepest} deep`);
    above.add(v);
    const below = (k: string): string => (path === '' ? k : `${path}.${k}`);
    if (v.kind === 'dict') {
      // pairs of equal keys are work too, and a dictionary may be met many times
      count(v.pairs.length / 2);
      const nameless = v.pairs.find((k, i) => i % 2 === 0 && !isName(k) && tensorOf(v.pairs[i + 1]) !== undefined);
      if (nameless !== undefined) throw refused(`a tensor is kept under a ${kindOf(nameless)}, not under a name`);
      for (const [k, child] of entries(v) as Dict) walk(child, below(String(k)));
    } else v.items.forEach((child, i) => walk(child, below(String(i))));
    above.delete(v);
  };
  walk(chosen.dict, '');
  if (tensors.size === 0)
    throw new FoveaError('FV0406', `${file} holds no tensors`, { hint: `It holds ${keysOf(entries(root) as Dict)}; name a key.` });
  return { tensors, key: chosen.key, metadata };
};
