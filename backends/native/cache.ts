/**
 * The folder of everything that the backend makes once: objects, libraries, plans. A file is named by the hash of what it was made from.
 * Files appear by rename, so that a killed process leaves nothing half-written. Libraries and objects end with their own checksum, and a
 * damaged one is made again.
 *
 *   ~/.cache/fovea/3f/3f9c....o        FOVEA_CACHE=/fast/disk fovea demo
 */
import { createHash, randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { appendFile, mkdir, open, readFile, rename, rm } from 'node:fs/promises';
import { homedir, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { FoveaError } from '../../compiler/error.ts';

const digest = (bytes: string | Buffer): string => createHash('sha256').update(bytes).digest('hex');
/** The name of what is made from `parts`. */
export const hash = (...parts: readonly string[]): string => digest(JSON.stringify(parts)).slice(0, 40);
/** Where a name's file lies. */
export const placeOf = (folder: string, id: string, extension: string): string => join(folder, id.slice(0, 2), `${id}.${extension}`);

/** The folder that stands in for a cache that cannot be written: one a process, gone when it exits. */
let standIn: string | undefined;
const temporaryCache = (): string => {
  if (standIn === undefined) {
    const made = mkdtempSync(join(tmpdir(), 'fovea-'));
    process.on('exit', () => rmSync(made, { recursive: true, force: true }));
    standIn = made;
  }
  return standIn;
};

/** The folder that FOVEA_CACHE names, else `fovea` in the user's cache folder; a temporary one where that cannot be written. */
export const cacheFolder = async (): Promise<string> => {
  const xdg = process.env['XDG_CACHE_HOME'];
  const folder = process.env['FOVEA_CACHE'] || join(xdg?.startsWith('/') ? xdg : join(homedir(), '.cache'), 'fovea');
  try {
    await mkdir(folder, { recursive: true });
    const probe = join(folder, `.probe-${randomUUID()}`);
    await (await open(probe, 'wx')).close();
    await rm(probe);
    return folder;
  } catch {
    return temporaryCache();
  }
};

/** A sealed file ends with the hash of the rest (the loader and the linker ignore it): loading a cut-off library would kill the process. */
const seal = async (path: string): Promise<void> => {
  await appendFile(path, digest(await readFile(path)));
};
/** What a sealed file holds; undefined where there is none, or a damaged one. */
export const readSealed = async (path: string): Promise<Buffer | undefined> => {
  try {
    const bytes = await readFile(path);
    const content = bytes.subarray(0, -64);
    return bytes.length > 64 && digest(content) === bytes.subarray(-64).toString('latin1') ? content : undefined;
  } catch {
    return undefined;
  }
};
export const sound = async (path: string): Promise<boolean> => (await readSealed(path)) !== undefined;

/** Runs `make` towards a temporary name beside `path`, then renames. Throws FV0302. */
export const replace = async (path: string, make: (temporary: string) => Promise<void>): Promise<void> => {
  const temporary = `${path}.${randomUUID()}.tmp`;
  try {
    await mkdir(dirname(path), { recursive: true });
    await make(temporary);
    await rename(temporary, path);
  } catch (e) {
    if (e instanceof FoveaError) throw e;
    const why = e instanceof Error ? e.message : String(e);
    throw new FoveaError('FV0302', `cannot write to the kernel cache: ${why}`, {
      hint: 'Free space there, or name another folder in FOVEA_CACHE.',
      cause: e,
    });
  } finally {
    await rm(temporary, { force: true });
  }
};

/** As replace; the file is sealed. */
export const produce = (path: string, make: (temporary: string) => Promise<void>): Promise<void> =>
  replace(path, async (temporary) => {
    await make(temporary);
    await seal(temporary);
  });
