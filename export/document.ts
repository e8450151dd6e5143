/**
 * What an exported program is, as files: a manifest with a hash of each of the others, a document that says what goes in and out, a plan,
 * and kernels. `open` reads them, from a folder in Node or beside the script in a browser, and refuses what is not what was written.
 */
import { FoveaError } from '../compiler/error.ts';
import { parsePlan } from '../compiler/plan/serialise.ts';
import type { Plan } from '../compiler/plan/types.ts';
import type { Caller, Leaf } from '../program.ts';

export const version = 1;

export interface Manifest {
  readonly fovea: string;
  readonly version: number;
  readonly name: string;
  readonly backend: 'cpu' | 'webgpu' | 'cuda';
  /** SHA-256 of each other file, in hexadecimal. */
  readonly files: Readonly<Record<string, string>>;
  readonly needs: {
    /** cpu: as Node calls the system. */
    readonly platform?: string;
    readonly arch?: string;
    /** cpu: flags of /proc/cpuinfo. */
    readonly flags?: readonly string[];
    /** webgpu: limits of the device. */
    readonly limits?: Readonly<Record<string, number>>;
    /** cuda: as sm_90a, and the most shared memory of a block. */
    readonly architecture?: string;
    readonly sharedBytes?: number;
  };
}

/**
 * Files that a program does not compare: it runs as it is, whatever its own text says, and tools of whoever has it may rewrite these. Their hashes are
 * for people.
 */
export const unread: ReadonlySet<string> = new Set(['index.js', 'index.d.ts', 'package.json']);

/** program.json: the trees that arguments are compared with and the tree of results. */
export interface ProgramDocument {
  readonly specs: readonly unknown[];
  readonly inputs: readonly Leaf[];
  readonly outputs: readonly Leaf[];
  readonly output: unknown;
}

export interface Opened {
  readonly manifest: Manifest;
  readonly document: ProgramDocument;
  readonly plan: Plan;
  readonly text: (name: string) => Promise<string>;
  readonly bytes: (name: string) => Uint8Array;
}

const damaged = (what: string, cause?: unknown): FoveaError =>
  new FoveaError('FV0204', what, { hint: 'Export the program again, or copy the whole folder.', cause });

const readBytes = async (name: string, base: string): Promise<Uint8Array> => {
  const url = new URL(name, base);
  try {
    if (url.protocol === 'file:') {
      const { readFile } = await import('node:fs/promises');
      return await readFile(url);
    }
    const answer = await fetch(url);
    if (!answer.ok) throw new Error(`${answer.status} ${answer.statusText}`);
    return new Uint8Array(await answer.arrayBuffer());
  } catch (e) {
    throw damaged(`${name} cannot be read: ${e instanceof Error ? e.message : String(e)}`, e);
  }
};

const sha256 = async (bytes: Uint8Array): Promise<string> => {
  const digest = await crypto.subtle.digest('SHA-256', bytes as Uint8Array<ArrayBuffer>);
  return Array.from(new Uint8Array(digest), (b) => b.toString(16).padStart(2, '0')).join('');
};

const utf8 = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);

/** FV0204. Every file is compared with its hash before anything of it is used, and one without a hash is not used. */
export const openExport = async (base: string, backend: Manifest['backend']): Promise<Opened> => {
  let manifest: Manifest;
  try {
    manifest = JSON.parse(utf8(await readBytes('manifest.json', base))) as Manifest;
  } catch (e) {
    throw e instanceof FoveaError ? e : damaged('manifest.json is damaged', e);
  }
  if (typeof manifest !== 'object' || manifest === null) throw damaged('manifest.json is damaged');
  if (manifest.version !== version || manifest.backend !== backend)
    throw damaged(
      `manifest.json is of version ${manifest.version} for ${manifest.backend}, this loader of version ${version} for ${backend}`,
    );
  const { files: hashes, needs } = manifest;
  if (typeof hashes !== 'object' || hashes === null || typeof needs !== 'object' || needs === null)
    throw damaged('manifest.json is damaged: it does not say which files there are, or what they need');
  const files = new Map<string, Uint8Array>();
  for (const [name, hash] of Object.entries(hashes)) {
    if (unread.has(name)) continue;
    const bytes = await readBytes(name, base);
    if ((await sha256(bytes)) !== hash) throw damaged(`${name} is not the file that was exported: its hash does not fit`);
    files.set(name, bytes);
  }
  const bytes = (name: string): Uint8Array => {
    const found = files.get(name);
    if (!found) throw damaged(`manifest.json has no hash of ${name}`);
    return found;
  };
  const text = async (name: string): Promise<string> => utf8(bytes(name));
  return {
    manifest,
    document: JSON.parse(await text('program.json')) as ProgramDocument,
    plan: parsePlan(await text('plan.txt')).plan,
    text,
    bytes,
  };
};

export type Loaded = Caller['call'] & Omit<Caller, 'call'>;
export const loaded = ({ call, ahead, dispose }: Caller): Loaded => Object.assign(call, { ahead, dispose });
