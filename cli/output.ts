/**
 * The folder that a run writes to. It is tried out before anything is compiled, because a run of minutes that ends in "permission
 * denied" is a run lost: the folder can be made and written, there is room, and no folder stands where a file will go.
 *
 *   const out = outputFolder('runs/demo-0', files, 16e6);
 *   out.begin();                       // files of an earlier run go: one folder never mixes two runs
 *   writeAtomic(out.file('loss.png'), [png]);
 */
import { closeSync, lstatSync, mkdirSync, openSync, rmdirSync, rmSync, statfsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { FoveaError } from '../compiler/error.ts';
import { cannotWrite } from '../models/weights/index.ts';

export interface OutputFolder<F extends string> {
  readonly path: string;
  file(name: F): string;
  /** Removes what an earlier run left under the same names. */
  begin(): void;
  /** Removes the folder again if this run made it and nothing is in it. */
  abandon(): void;
}

const mib = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(1)} MiB`;

const isFolder = (path: string): boolean => lstatSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;

/** FV0407: cannot be made or written. FV0501: fewer than `bytes` bytes are free. FV0502: a file has its name, or a folder the
 * name of one of the files. */
export const outputFolder = <const F extends string>(path: string, files: readonly F[], bytes: number): OutputFolder<F> => {
  let made: string | undefined;
  const abandon = (): void => {
    if (made === undefined) return;
    try {
      for (let dir = path; dir.length >= made.length; dir = dirname(dir)) rmdirSync(dir);
    } catch {
      // something is in it, so it stays
    }
  };
  const check = (): void => {
    made = mkdirSync(path, { recursive: true });
    const probe = join(path, `.probe.${process.pid}.tmp`);
    closeSync(openSync(probe, 'w'));
    rmSync(probe);
    const { bavail, bsize } = statfsSync(path);
    if (bavail * bsize < bytes)
      throw new FoveaError('FV0501', `${path}: ${mib(bavail * bsize)} are free, and the run will write ${mib(bytes)}`, {
        hint: 'Free some space there, or choose another folder with --out.',
      });
    for (const f of files)
      if (isFolder(join(path, f)))
        throw new FoveaError('FV0502', `a folder stands where a file is to be written: ${join(path, f)}`, {
          hint: 'Remove it, or choose another folder with --out.',
        });
  };
  try {
    check();
  } catch (e) {
    abandon();
    if (e instanceof FoveaError) throw e;
    if ((e as NodeJS.ErrnoException).code === 'EEXIST')
      throw new FoveaError('FV0502', `a file stands where the folder is to be made: ${path}`, {
        hint: 'Choose another folder with --out.',
        cause: e,
      });
    throw cannotWrite(path, e);
  }
  const file = (name: F): string => join(path, name);
  return {
    path,
    file,
    abandon,
    begin: () => {
      for (const f of files) {
        try {
          rmSync(file(f), { force: true });
        } catch (e) {
          throw cannotWrite(file(f), e);
        }
      }
    },
  };
};
