/**
 * The system's C compiler and the cache of what it made. One kernel is one object, named by the hash of its text, the flags, the
 * compiler's version and the processor: equal kernels are compiled once, an unchanged kernel never again, and a plan's shared library (named
 * by its objects) is linked once. A plan that has a name finds its library by it, and none of its kernels is printed.
 *
 * Kernels that are missing are compiled several at a time: a compiler takes 17 ms to start, about as long as for a small kernel. The object
 * of such a unit has a link for each of its kernels, so that the next plan finds those that it shares. The functions are what they would be
 * alone: everything that they share is inlined (compared, instruction by instruction, for the 200 kernels of a training step of ViT-S).
 *
 *   FOVEA_CC=clang fovea demo
 */
import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { realpath, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { dirname, relative } from 'node:path';
import { FoveaError } from '../../compiler/error.ts';
import type { Progress } from '../../compiler/target.ts';
import { cacheFolder, hash, placeOf, produce, readSealed, replace, sound } from '../native/cache.ts';
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
export const kernelFlags = (c: Compiler, a: Architecture): readonly string[] => [
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

const firstError = (stderr: string): string =>
  stderr
    .split('\n')
    .find((l) => /error|fatal|undefined reference/i.test(l))
    ?.trim() ??
  stderr.trim().split('\n')[0] ??
  '';

/** One object: from the cache, or compiled. */
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

/** A library of one text that leaves names open which the process that loads it has. Throws FV0301 and FV0302. */
export const buildAddon = async (source: string, to: string): Promise<void> => {
  const c = await findCompiler();
  const text = `${to}.c`;
  try {
    await writeFile(text, source);
    const open = process.platform === 'darwin' ? ['-undefined', 'dynamic_lookup'] : [];
    const r = await run(c.command, [...c.args, ...poolFlags, '-fvisibility=hidden', '-shared', ...open, text, '-o', to, '-ldl']);
    if (!r.ok) throw new FoveaError('FV0302', `${c.command} cannot compile the addon: ${firstError(r.stderr)}`);
  } finally {
    await rm(text, { force: true });
  }
};

export interface KernelSource {
  readonly name: string;
  /** Definitions that the body uses, in order. Equal ones are written once in a unit of several kernels. */
  readonly prelude: readonly string[];
  /** One function, FV_KERNEL. */
  readonly body: string;
}

/** A kernel and the name of its object. */
interface Named extends KernelSource {
  readonly id: string;
}
const symbolOf = (id: string): string => `k_${id}`;

/** A translation unit of some kernels. A kernel may be in two units, if they were compiled at the same time: its definition is weak. */
const unitText = (kernels: readonly Named[]): string =>
  [
    ...new Set(kernels.flatMap((k) => k.prelude)),
    ...kernels.flatMap(({ id, body }) => [
      `#define ${kernelSymbol} ${symbolOf(id)}`,
      `#pragma weak ${symbolOf(id)}`,
      `${body}#undef ${kernelSymbol}`,
    ]),
    '',
  ].join('\n');

/** Characters of C after which a unit is full: a long kernel is one alone. */
const full = 1 << 16;

/** Units of at most `most` kernels, those with long kernels first. */
const unitsOf = (kernels: readonly Named[], most: number): readonly (readonly Named[])[] => {
  const units: Named[][] = [];
  let left = 0;
  for (const k of [...kernels].sort((a, b) => b.body.length - a.body.length)) {
    const last = units.at(-1);
    if (last && last.length < most && k.body.length <= left) last.push(k);
    else {
      units.push([k]);
      left = full;
    }
    left -= k.body.length;
  }
  return units;
};

export interface Library {
  readonly path: string;
  /** Symbol of each function, in the order asked for. */
  readonly symbols: readonly string[];
  /** Kernels that the cache did not have. */
  readonly compiled: number;
}

/** A library as the cache lists it by the name of a plan. */
type Listed = Pick<Library, 'symbols'> & { readonly id: string };

export interface BuildOptions {
  readonly progress?: Progress | undefined;
  readonly arch?: Architecture;
  /** Says what the kernels are without their text, which is asked for only if the cache has no library of that name. */
  readonly name?: string | undefined;
  /** Most kernels of a translation unit. */
  readonly unit?: number | undefined;
}

/** Compiles what the cache lacks and links one library. Throws FV0301 and FV0302. */
export const buildLibrary = async (
  kernels: () => readonly KernelSource[],
  pool: string,
  { progress, arch = architecture(), name, unit = 8 }: BuildOptions = {},
): Promise<Library> => {
  const c = await findCompiler();
  const folder = await cacheFolder();
  const flags = kernelFlags(c, arch);
  const { model, flags: features } = machine();
  const salt = [String(version), c.command, c.args.join(' '), c.version, process.arch, model, features.join(' ')];
  const at = (id: string, extension: string): string => placeOf(folder, id, extension);
  const listing = name === undefined ? undefined : at(hash(...salt, flags.join(' '), name), 'list');
  const list = listing && (await readSealed(listing));
  if (list) {
    const { id, symbols } = JSON.parse(list.toString()) as Listed;
    if (await sound(at(id, 'so'))) {
      progress?.(symbols.length, symbols.length, 'compiled');
      return { path: at(id, 'so'), symbols, compiled: 0 };
    }
  }
  const named = kernels().map((k): Named => ({ ...k, id: hash(...salt, flags.join(' '), k.prelude.join('\n'), k.body) }));
  const poolId = hash(...salt, poolFlags.join(' '), pool);
  const distinct = [...new Map(named.map((k) => [k.id, k])).values()];
  const objects = [...distinct.map(({ id }) => id), poolId].sort();
  const id = hash(...objects, linkFlags.join(' '));
  const path = at(id, 'so');
  const link = async (): Promise<void> => {
    const files = new Set(await Promise.all(objects.map((o) => realpath(at(o, 'o')))));
    // the list goes through a file: hundreds of paths may not fit on a command line
    const inputs = `${path}.${randomUUID()}.inputs`;
    await produce(path, async (temporary) => {
      await writeFile(inputs, [...files].map((f) => `"${f.replace(/["\\]/g, '\\$&')}"`).join('\n'));
      const r = await run(c.command, [...c.args, ...linkFlags, '-o', temporary, `@${inputs}`, '-lm']);
      await rm(inputs, { force: true });
      if (!r.ok)
        throw new FoveaError('FV0302', `${c.command} cannot link the plan's kernels: ${firstError(r.stderr)}`, {
          hint: 'Delete the cache folder and try again.',
        });
    });
  };
  /** One kernel is an object of its own; several are an object to which the names of all lead. */
  const compileUnit = async (some: readonly Named[]): Promise<void> => {
    const [only, ...others] = some as [Named, ...Named[]];
    const to = others.length === 0 ? only.id : hash(...some.map((k) => k.id));
    await compile(c, at(to, 'o'), unitText(some), flags, `kernel ${some.map((k) => k.name).join(', ')}`);
    if (others.length === 0) return;
    for (const k of some) await replace(at(k.id, 'o'), (temporary) => symlink(relative(dirname(temporary), at(to, 'o')), temporary));
  };
  let compiled = 0;
  const build = async (): Promise<void> => {
    const found = await Promise.all(distinct.map(({ id }) => sound(at(id, 'o'))));
    const missing = distinct.filter((_, i) => !found[i]);
    compiled = missing.length;
    // more than processors: while a compiler starts or a file moves, another one computes
    const workers = availableParallelism() + 2;
    const units = [...unitsOf(missing, Math.min(unit, Math.ceil(missing.length / workers)))];
    let done = distinct.length - missing.length;
    if (done > 0) progress?.(done, distinct.length, 'compiled');
    const worker = async (): Promise<void> => {
      for (let next = units.shift(); next; next = units.shift()) {
        await compileUnit(next);
        done += next.length;
        progress?.(done, distinct.length, 'compiled');
      }
    };
    const jobs = [compile(c, at(poolId, 'o'), pool, poolFlags, 'the runtime'), ...Array.from({ length: workers }, worker)];
    try {
      await Promise.all(jobs);
    } finally {
      // after one that failed no others are started, and those that run leave nothing half written
      units.length = 0;
      await Promise.allSettled(jobs);
    }
    await link();
  };
  if (await sound(path)) progress?.(distinct.length, distinct.length, 'compiled');
  else await build();
  const symbols = named.map((k) => symbolOf(k.id));
  const listed: Listed = { id, symbols };
  if (listing) await produce(listing, (temporary) => writeFile(temporary, JSON.stringify(listed)));
  return { path, symbols, compiled };
};
