/**
 * Writing a checkpoint, all ranks together. Every rank writes its own part: under another name, to the disk, then renamed. When all have done
 * so, rank 0 writes the marker in the same way, and only when all of it is on the disk, its folder's name too, do older checkpoints go; so do later ones, of a run that was gone back from, and what killed runs have left. Whoever is
 * killed at any moment leaves the one before, or this one, whole.
 *
 *   await writeCheckpoint('runs/a/checkpoints', 400, { peers, pieces, run: { seed: '0' }, keep: 2 });
 */
import { createHash } from 'node:crypto';
import { mkdirSync, rmSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { FoveaError } from '../../compiler/error.ts';
import { cannotWrite, flushFolder, writeAtomic, writingSafetensors } from '../weights/index.ts';
import type { TensorData } from '../weights/write.ts';
import { completeSteps, type Marker, markerName, type Pieces, partName, stepName, stepsIn } from './format.ts';

/** The ranks of a run, as far as a checkpoint needs them: a communicator, or `alone`. */
export interface Peers {
  readonly rank: number;
  readonly size: number;
  /** Everybody's text in rank order; nobody goes on before all have come. */
  exchange(text: string): Promise<readonly string[]>;
}
export const alone: Peers = { rank: 0, size: 1, exchange: async (text) => [text] };

/** What a rank holds of a tensor: elements [from, from + data.length) of the whole, row-major. */
export interface Piece {
  readonly shape: readonly number[];
  readonly dtype: TensorData['dtype'];
  readonly from: number;
  readonly data: TensorData['data'] & { readonly length: number };
}

export interface CheckpointOptions {
  readonly peers: Peers;
  /** By name. The pieces of all ranks together are every tensor once. */
  readonly pieces: ReadonlyMap<string, Piece>;
  readonly run: Readonly<Record<string, string>>;
  /** Complete checkpoints that stay, this one included. */
  readonly keep: number;
}

type Outcome<T> = { readonly done: T } | { readonly failed: string };

/** What all ranks have made of it; the first failure is everybody's. */
const agreed = async <T>(peers: Peers, work: () => T): Promise<readonly T[]> => {
  let mine: Outcome<T>;
  let cause: unknown;
  try {
    mine = { done: work() };
  } catch (e) {
    cause = e;
    mine = { failed: e instanceof Error ? e.message : String(e) };
  }
  const all = (await peers.exchange(JSON.stringify(mine))).map((text) => JSON.parse(text) as Outcome<T>);
  return all.map((x, rank) => {
    if ('done' in x) return x.done;
    if (rank === peers.rank && cause instanceof FoveaError) throw cause;
    throw new FoveaError('FV0407', peers.size === 1 ? x.failed : `rank ${rank}: ${x.failed}`, { cause });
  });
};

const guarded = (path: string, f: () => void): void => {
  try {
    f();
  } catch (e) {
    throw e instanceof FoveaError ? e : cannotWrite(path, e);
  }
};

/** The marker first: from then on the folder counts as nothing. */
const remove = (folder: string): void => {
  rmSync(join(folder, markerName), { force: true });
  rmSync(folder, { recursive: true, force: true });
};

/** FV0407: a rank cannot write, and nothing has changed for a reader. */
export const writeCheckpoint = async (folder: string, step: number, { peers, pieces, run, keep }: CheckpointOptions): Promise<void> => {
  const { rank, size } = peers;
  const into = join(folder, stepName(step));
  await agreed(peers, () => {
    // what a killed run has left of this step
    if (rank === 0)
      guarded(into, () => {
        remove(into);
        mkdirSync(into, { recursive: true });
      });
    return null;
  });
  const parts = await agreed(peers, () => {
    const file = partName(rank, size);
    const hash = createHash('sha256');
    let bytes = 0;
    const tensors = new Map([...pieces].map(([name, { dtype, data }]) => [name, { dtype, data, shape: [data.length] }] as const));
    const where: Pieces = Object.fromEntries([...pieces].map(([name, { shape, from }]) => [name, { shape: [...shape], from }]));
    const steps = writingSafetensors(join(into, file), tensors, { pieces: JSON.stringify(where) }, (x) => {
      hash.update(x);
      bytes += x.length;
    });
    while (!steps.next().done);
    return { file, bytes, sha256: hash.digest('hex') };
  });
  await agreed(peers, () => {
    if (rank > 0) return null;
    for (const { file, bytes } of parts)
      if (statSync(join(into, file), { throwIfNoEntry: false })?.size !== bytes)
        throw new FoveaError('FV0407', `${join(into, file)} was written, but rank 0 does not see it`, {
          hint: 'All ranks need one shared folder: choose another with --out.',
        });
    const text: Marker = { format: 'fovea checkpoint 1', step, run, parts: [...parts] };
    writeAtomic(join(into, markerName), [Buffer.from(`${JSON.stringify(text, null, 1)}\n`)]);
    guarded(folder, () => {
      // the folder's own name, and that of the folder of all checkpoints
      flushFolder(folder);
      flushFolder(dirname(folder));
      const past = completeSteps(folder).filter((s) => s <= step);
      const stay = new Set(past.slice(-keep));
      for (const s of stepsIn(folder)) if (!stay.has(s)) remove(join(folder, stepName(s)));
    });
    return null;
  });
};
