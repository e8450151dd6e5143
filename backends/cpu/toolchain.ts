/**
 * The system's C compiler and the cache of what it made. One kernel is one translation unit and one object, named by the
 * hash of its text, the flags, the compiler's version and the processor: equal kernels are compiled once, an unchanged
 * kernel never again, and a plan's shared library (named by its objects) is linked once. Files appear in the cache by rename,
 * so that a killed process leaves nothing half-written; each ends with its own checksum, and a damaged one is made again. Grouping kernels into larger
 * units was measured and is not the default: a small kernel costs about 20 ms alone, and a group is compiled anew for any change. Kernels that
 * are compiled for one run only, as those of generated programs, do come in groups.
 *
 *   ~/.cache/fovea/3f/3f9c....o        FOVEA_CC=clang FOVEA_CACHE=/fast/disk fovea demo
 */
import { execFile } from 'node:child_process';
import { createHash, randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { appendFile, mkdir, open, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { availableParallelism, homedir, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { FoveaError } from '../../compiler/error.ts';
import type { Progress } from '../../compiler/target.ts';
import { type Architecture, architecture, machine } from './machine.ts';
import { kernelSymbol } from './print.ts';

/** Raised when a change outside a kernel's text (flags, ABI of the function) makes old objects unusable. */
const version = 1;

export interface Compiler {
  readonly command: string;
  readonly args: readonly string[];
  /** First line of `--version`. */
  readonly version: string;
}

interface Ran {
  readonly ok: boolean;
  readonly missing: boolean;
  readonly stdout: string;
  readonly stderr: string;
}

const run = (command: string, args: readonly string[]): Promise<Ran> =>
  new Promise((resolve) => {
    execFile(command, args, { maxBuffer: 1 << 26, env: { ...process.env, LC_ALL: 'C' } }, (e, stdout, stderr) => {
      const missing = e !== null && 'code' in e && (e.code === 'ENOENT' || e.code === 'EACCES');
      resolve({ ok: e === null, missing, stdout, stderr: stderr || (e ? e.message : '') });
    });
  });

const install =
  process.platform === 'darwin'
    ? 'Install the command line tools: xcode-select --install. Or name a compiler in FOVEA_CC, or use the reference backend for small sizes.'
    : 'Install one: Debian, Ubuntu: apt-get install gcc libc6-dev; Fedora: dnf install gcc; Alpine: apk add gcc musl-dev; Arch: pacman -S gcc. Or name one in FOVEA_CC, or use the reference backend for small sizes.';

/** FOVEA_CC if set, else the first of cc, clang and gcc that answers. Throws FV0301. */
export const findCompiler = async (): Promise<Compiler> => {
  const wanted = process.env['FOVEA_CC']?.trim();
  const candidates = wanted ? [wanted] : ['cc', 'clang', 'gcc'];
  for (const candidate of candidates) {
    const [command = '', ...args] = candidate.split(/\s+/);
    const r = await run(command, [...args, '--version']);
    if (r.ok) return { command, args, version: r.stdout.split('\n')[0] ?? '' };
  }
  const message = wanted ? `FOVEA_CC is ${wanted}, which does not run` : `no C compiler: none of ${candidates.join(', ')} runs`;
  throw new FoveaError('FV0301', message, { hint: install });
};

const march = (a: Architecture): string =>
  a.march === 'native' && process.arch === 'arm64' && process.platform === 'darwin' ? '-mcpu=native' : `-march=${a.march}`;
// prefer 512: makes GCC turn a loop over 16 lanes into one vector operation; other machines and compilers do not know it
const wide = (c: Compiler, a: Architecture): readonly string[] =>
  a.vectorBytes === 64 && !/clang/i.test(c.version) ? ['-mprefer-vector-width=512'] : [];
/** No fast math: NaN and infinities hold, and only K's own fma is fused. Wrapping integers, no type-based alias rules: K's rules. */
const kernelFlags = (c: Compiler, a: Architecture): readonly string[] => [
  ...[
    '-std=gnu11',
    '-O3',
    march(a),
    ...wide(c, a),
    '-ffp-contract=off',
    '-fno-math-errno',
    '-fno-trapping-math',
    '-fno-strict-aliasing',
    '-fwrapv',
  ],
  ...['-fPIC', '-fno-plt', '-fno-asynchronous-unwind-tables', '-fvisibility=default', '-w', '-Wno-psabi'],
];
const poolFlags = ['-std=gnu11', '-O2', '-fPIC', '-pthread', '-w'];
const linkFlags = ['-shared', '-pthread', ...(process.platform === 'linux' ? ['-Wl,-z,nodelete'] : [])];

const digest = (bytes: string | Buffer): string => createHash('sha256').update(bytes).digest('hex');
const hash = (...parts: readonly string[]): string => digest(JSON.stringify(parts)).slice(0, 40);

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

/** A cached file ends with the hash of the rest (the loader and the linker ignore it): loading a cut-off library would kill the process. */
const seal = async (path: string): Promise<void> => {
  await appendFile(path, digest(await readFile(path)));
};
const sound = async (path: string): Promise<boolean> => {
  try {
    const bytes = await readFile(path);
    return bytes.length > 64 && digest(bytes.subarray(0, -64)) === bytes.subarray(-64).toString('latin1');
  } catch {
    return false;
  }
};

/** Runs `make` towards a temporary name beside `path`, seals the file, then renames. */
const produce = async (path: string, make: (temporary: string) => Promise<void>): Promise<void> => {
  const temporary = `${path}.${randomUUID()}.tmp`;
  try {
    await mkdir(dirname(path), { recursive: true });
    await make(temporary);
    await seal(temporary);
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

const firstError = (stderr: string): string =>
  stderr
    .split('\n')
    .find((l) => /error|fatal|undefined reference/i.test(l))
    ?.trim() ??
  stderr.trim().split('\n')[0] ??
  '';

/** One object: from the cache, or compiled. `symbol` is what the text's FV_KERNEL becomes. */
const compile = async (c: Compiler, path: string, source: string, flags: readonly string[], what: string): Promise<void> => {
  if (await sound(path)) return;
  await produce(path, async (temporary) => {
    // a name of its own: another process may be compiling the same kernel
    const text = `${temporary}.c`;
    try {
      await writeFile(text, source);
      const r = await run(c.command, [...c.args, ...flags, '-c', text, '-o', temporary]);
      if (r.ok) return;
      const kept = path.replace(/\.o$/, '.c');
      await rename(text, kept);
      throw new FoveaError('FV0302', `${c.command} cannot compile ${what}: ${firstError(r.stderr)}`, {
        hint: `The C text is kept in ${kept}.`,
      });
    } finally {
      await rm(text, { force: true });
    }
  });
};

export interface KernelSource {
  readonly name: string;
  /** A translation unit that defines one function, FV_KERNEL, or `count` functions FV_KERNEL_0, FV_KERNEL_1, ... */
  readonly text: string;
  readonly count?: number;
}

/** The names of a unit's functions in its text and in the library. */
const symbolsOf = ({ count }: KernelSource, id: string): readonly (readonly [name: string, symbol: string])[] =>
  count === undefined
    ? [[kernelSymbol, `k_${id}`]]
    : Array.from({ length: count }, (_, i) => [`${kernelSymbol}_${i}`, `k_${id}_${i}`] as const);

export interface Library {
  readonly path: string;
  /** Symbol of each function, in the order asked for. */
  readonly symbols: readonly string[];
  /** Kernels that the cache did not have. */
  readonly compiled: number;
}

/** Compiles what the cache lacks, several at a time, and links one library. Throws FV0301 and FV0302. */
export const buildLibrary = async (
  kernels: readonly KernelSource[],
  pool: string,
  progress?: Progress,
  arch: Architecture = architecture(),
): Promise<Library> => {
  const c = await findCompiler();
  const folder = await cacheFolder();
  const flags = kernelFlags(c, arch);
  const salt = [String(version), c.command, c.args.join(' '), c.version, machine().model, machine().flags.join(' ')];
  const at = (id: string, extension: string): string => join(folder, id.slice(0, 2), `${id}.${extension}`);
  const ids = kernels.map((k) => hash(...salt, flags.join(' '), k.text));
  const poolId = hash(...salt, poolFlags.join(' '), pool);
  const distinct = [...new Map(ids.map((id, i) => [id, kernels[i] as KernelSource]))];
  const objects = [...distinct.map(([id]) => id), poolId].sort();
  const path = at(hash(...objects, linkFlags.join(' ')), 'so');
  const link = async (): Promise<void> => {
    // the list goes through a file: hundreds of paths may not fit on a command line
    const listing = `${path}.${randomUUID()}.list`;
    await produce(path, async (temporary) => {
      await writeFile(listing, objects.map((id) => `"${at(id, 'o').replace(/["\\]/g, '\\$&')}"`).join('\n'));
      const r = await run(c.command, [...c.args, ...linkFlags, '-o', temporary, `@${listing}`, '-lm']);
      await rm(listing, { force: true });
      if (!r.ok)
        throw new FoveaError('FV0302', `${c.command} cannot link the plan's kernels: ${firstError(r.stderr)}`, {
          hint: 'Delete the cache folder and try again.',
        });
    });
  };
  let compiled = 0;
  const build = async (): Promise<void> => {
    let [next, done] = [0, 0];
    const worker = async (): Promise<void> => {
      while (next < distinct.length) {
        const [id, k] = distinct[next++] as (typeof distinct)[number];
        const known = await sound(at(id, 'o'));
        const names = symbolsOf(k, id).map(([name, symbol]) => `#define ${name} ${symbol}\n`);
        if (!known) await compile(c, at(id, 'o'), `${names.join('')}${k.text}`, flags, `kernel ${k.name}`);
        if (!known) compiled++;
        progress?.(++done, distinct.length, 'compiled');
      }
    };
    try {
      // more than processors: while a compiler starts or a file moves, another one computes
      const workers = Array.from({ length: availableParallelism() + 2 }, worker);
      await Promise.all([compile(c, at(poolId, 'o'), pool, poolFlags, 'the runtime'), ...workers]);
    } finally {
      // one that failed is reported at once; the others are not started
      next = distinct.length;
    }
    await link();
  };
  if (await sound(path)) progress?.(distinct.length, distinct.length, 'compiled');
  else await build();
  return { path, symbols: kernels.flatMap((k, i) => symbolsOf(k, ids[i] as string).map(([, symbol]) => symbol)), compiled };
};
