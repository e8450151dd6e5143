/**
 * Ranks that a folder brings together, where there is no MPI: each text is a file, and whoever wants to know those of the others looks until all are
 * there. The folder is new, empty and seen by all. It is for the start of a job, not for data: a look takes a millisecond.
 *
 *   const peers = await meet('/scratch/job-17', rank, size);
 */
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { FoveaError } from '../../../compiler/error.ts';
import { patienceOf } from '../patience.ts';
import { watch } from '../watch.ts';
import type { Peers } from './communicator.ts';

const fail = (message: string): never => {
  throw new FoveaError('FV0802', message, { hint: 'Start the job again with --resume: the last checkpoint is whole.' });
};

const group = (
  folder: string,
  rank: number,
  size: number,
  patience: number,
  failed: () => string | undefined,
  tell: (why: string) => void,
): Peers => {
  const fileOf = (n: number, r: number): string => join(folder, `${n}.${r}`);
  const check = (): void => {
    const why = failed();
    if (why !== undefined) fail(why);
  };
  let count = 0;
  const exchange = async (text: string): Promise<readonly string[]> => {
    const n = count++;
    const mine = fileOf(n, rank);
    // whole or not there
    await writeFile(`${mine}.new`, text);
    await rename(`${mine}.new`, mine);
    const texts: string[] = [];
    for (const since = performance.now(); texts.length < size; ) {
      check();
      const next = await readFile(fileOf(n, texts.length), 'utf8').catch((e: NodeJS.ErrnoException) => {
        if (e.code !== 'ENOENT') throw e;
        return undefined;
      });
      if (next !== undefined) texts.push(next);
      else if (performance.now() - since > patience * 1e3) fail(`waited ${patience} s for rank ${texts.length}, which has not come`);
      else await new Promise((r) => setTimeout(r, 1));
    }
    // whoever is here has read what was before
    if (n > 0) await rm(fileOf(n - 1, rank), { force: true });
    return texts;
  };
  return {
    rank,
    size,
    exchange,
    check,
    abort: tell,
    split: async (colour, key) => {
      const n = count;
      const all = (await exchange(`${colour} ${key}`)).map((t, r) => ({
        r,
        colour: Number(t.split(' ')[0]),
        key: Number(t.split(' ')[1]),
      }));
      const members = all.filter((x) => x.colour === colour).sort((a, b) => a.key - b.key || a.r - b.r);
      const inner = join(folder, `${n}-${colour}`);
      await mkdir(inner, { recursive: true });
      const place = members.findIndex((m) => m.r === rank);
      return group(inner, place, members.length, patience, failed, tell);
    },
    close: async () => {
      await exchange('');
    },
  };
};

/** FV0802: a rank does not come, or dies. */
export const meet = async (folder: string, rank: number, size: number): Promise<Peers> => {
  let guard: Awaited<ReturnType<typeof watch>> | undefined;
  await mkdir(folder, { recursive: true });
  const all = group(
    folder,
    rank,
    size,
    patienceOf(),
    () => guard?.failure(),
    (why) => guard?.tell(why),
  );
  guard = await watch(all);
  return {
    ...all,
    close: async () => {
      await all.close();
      guard?.close();
    },
  };
};
