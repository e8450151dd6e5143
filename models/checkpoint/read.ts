/**
 * Reading a checkpoint that any number of ranks has written. Tensors are lazy: a tensor is put together from its pieces when it is asked for.
 *
 *   const c = openCheckpoint('runs/a/checkpoints/step-000400');
 *   const state = restore(stateSpec(recipe), c.tensors, c.folder);
 */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { FoveaError } from '../../compiler/error.ts';
import { hostArrays } from '../../compiler/graph/types.ts';
import type { LazyTensor } from '../../dsl/index.ts';
import { type ByteSource, openSafetensors, openSource, type Safetensors } from '../weights/index.ts';
import { type Marker, marker, markerName, pieces, stepName } from './format.ts';

export interface Checkpoint {
  readonly folder: string;
  readonly step: number;
  readonly run: Readonly<Record<string, string>>;
  /** The parts with their checksums. */
  readonly parts: Marker['parts'];
  readonly tensors: ReadonlyMap<string, LazyTensor>;
  readonly close: () => void;
}

/** Whose share of the parts is compared with its checksum: the ranks of a run share the work. */
interface Share {
  readonly rank: number;
  readonly size: number;
}

const bad = (folder: string, why: string, cause?: unknown): FoveaError =>
  new FoveaError('FV0804', `${folder}: ${why}`, {
    hint: 'Go on from an older checkpoint with --resume STEP, or copy the folder again: all of its files.',
    cause,
  });

const parsed = (text: string, otherwise: () => FoveaError): unknown => {
  try {
    return JSON.parse(text);
  } catch {
    throw otherwise();
  }
};

const readMarker = (folder: string): Marker => {
  const file = join(folder, markerName);
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (e) {
    const none = ['ENOENT', 'ENOTDIR'].includes((e as NodeJS.ErrnoException).code ?? '');
    throw bad(folder, none ? `it has no ${markerName}, so it was never finished` : `${markerName} cannot be read: ${String(e)}`, e);
  }
  const { success, data } = marker.safeParse(parsed(text, () => bad(folder, `${markerName} is damaged`)));
  if (!success) throw bad(folder, `${markerName} is damaged, or of another version`);
  return data;
};

const stretch = 1 << 24;
const digest = (source: ByteSource): string => {
  const hash = createHash('sha256');
  for (let at = 0; at < source.size; at += stretch) hash.update(source.bytes(at, Math.min(stretch, source.size - at)));
  return hash.digest('hex');
};

/** Size, and for the share of this rank all bytes. */
const checkPart = (folder: string, { file, bytes, sha256 }: Marker['parts'][number], whole: boolean): void => {
  let source: ByteSource;
  try {
    source = openSource(join(folder, file));
  } catch (e) {
    throw bad(folder, `${file} is missing`, e);
  }
  try {
    if (source.size !== bytes) throw bad(folder, `${file} has ${source.size} bytes; ${bytes} were written`);
    if (whole && digest(source) !== sha256) throw bad(folder, `${file} holds other bytes than were written`);
  } finally {
    source.close();
  }
};

interface Found {
  readonly from: number;
  readonly tensor: LazyTensor;
}

// of two that begin at one place the first is empty
const byPlace = (a: Found, b: Found): number => a.from - b.from || Number(a.tensor.shape[0]) - Number(b.tensor.shape[0]);

const whole = (folder: string, name: string, shape: readonly number[], found: readonly Found[]): LazyTensor => {
  const dtype = (found[0] as Found).tensor.dtype;
  const count = shape.reduce((a, b) => a * b, 1);
  let at = 0;
  for (const { from, tensor } of found) {
    if (from !== at)
      throw bad(folder, `${name}: elements ${Math.min(from, at)} to ${Math.max(from, at)} are ${from > at ? 'missing' : 'there twice'}`);
    at += tensor.shape[0] as number;
  }
  if (at !== count) throw bad(folder, `${name} has ${count} elements, and ${at} are there`);
  const load = () => {
    const out = new hostArrays[dtype](count);
    for (const { from, tensor } of found) out.set(tensor.load() as never, from);
    return out;
  };
  return { shape, dtype, load };
};

/** FV0804: something is missing or damaged. */
export const openCheckpoint = (folder: string, { rank, size }: Share = { rank: 0, size: 1 }): Checkpoint => {
  const { step, run, parts } = readMarker(folder);
  if (basename(folder).startsWith('step-') && basename(folder) !== stepName(step))
    throw bad(folder, `it is the checkpoint of step ${step} under another name`);
  parts.forEach((part, i) => {
    checkPart(folder, part, i % size === rank);
  });
  const files: Safetensors[] = [];
  const close = (): void => {
    for (const f of files) f.close();
  };
  try {
    const all = new Map<string, { readonly shape: readonly number[]; readonly found: Found[] }>();
    for (const { file } of parts) {
      const opened = openSafetensors(join(folder, file));
      files.push(opened);
      const unsaid = (): FoveaError => bad(folder, `${file} does not say which pieces it has`);
      const { success, data } = pieces.safeParse(parsed(opened.metadata['pieces'] ?? 'null', unsaid));
      if (!success) throw unsaid();
      for (const [name, tensor] of opened.tensors) {
        const piece = data[name];
        const known = all.get(name) ?? { shape: piece?.shape ?? [], found: [] as Found[] };
        if (!piece || String(piece.shape) !== String(known.shape))
          throw bad(folder, `${file} has another ${name} than the parts before it`);
        known.found.push({ from: piece.from, tensor });
        all.set(name, known);
      }
    }
    const tensors = new Map([...all].map(([name, { shape, found }]) => [name, whole(folder, name, shape, found.sort(byPlace))] as const));
    return { folder, step, run, parts, tensors, close };
  } catch (e) {
    close();
    throw e;
  }
};
