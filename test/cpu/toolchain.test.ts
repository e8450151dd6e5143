/** Compiler and cache: what is compiled, what is reused, and what happens when a part is missing, damaged or refused. */
import {
  chmodSync,
  lstatSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { cpu, cpuTarget, printC } from '../../backends/cpu/index.ts';
import { threadCount } from '../../backends/cpu/machine.ts';
import { poolSource } from '../../backends/cpu/pool.ts';
import { buildLibrary, findCompiler } from '../../backends/cpu/toolchain.ts';
import { cacheFolder } from '../../backends/native/cache.ts';
import { FoveaError } from '../../compiler/error.ts';
import * as e from '../../compiler/kernel/expr.ts';
import type { Kernel } from '../../compiler/kernel/types.ts';
import { planOf } from './helper.ts';

let folder = '';
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'fovea-test-'));
  vi.stubEnv('FOVEA_CACHE', folder);
});
afterEach(() => {
  vi.unstubAllEnvs();
  rmSync(folder, { recursive: true, force: true });
});

/** y = x + n */
const plus = (n: number, name = `plus_${n}`): Kernel => ({
  name,
  buffers: [
    { name: 'x', dtype: 'f32', size: 1, access: 'read' },
    { name: 'y', dtype: 'f32', size: 1, access: 'write' },
  ],
  grid: [1, 1, 1],
  threads: 1,
  body: [{ s: 'store', to: 'y', index: e.index(0), value: e.add(e.load({ name: 'x', dtype: 'f32' }, 0), e.f32(n)) }],
});
const files = (): readonly string[] =>
  readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((f) => !f.isDirectory())
    .map((f) => join(f.parentPath, f.name));
const prepare = async (kernels: readonly Kernel[], progress?: (done: number, total: number) => void) => {
  const exe = await cpu({ threads: 1 }).prepare(planOf(kernels), progress);
  exe.write(0, Float32Array.of(40));
  await exe.run();
  const result = { y: exe.read(0)[0], compiled: exe.compiled };
  exe.dispose();
  return result;
};
const failure = async (f: () => Promise<unknown>): Promise<FoveaError> => {
  const x = await f().then(
    () => undefined,
    (e: unknown) => e,
  );
  expect(x).toBeInstanceOf(FoveaError);
  return x as FoveaError;
};

describe('cache', () => {
  test('equal kernels once, known kernels never again, nothing left over', async () => {
    const seen: string[] = [];
    expect(await prepare([plus(1), plus(1, 'other'), plus(2)], (d, t) => seen.push(`${d}/${t}`))).toEqual({ y: 42, compiled: 2 });
    expect(seen.sort()).toEqual(['1/2', '2/2']);
    expect(await prepare([plus(1), plus(1, 'other'), plus(2)])).toEqual({ y: 42, compiled: 0 });
    expect(await prepare([plus(1), plus(3)])).toEqual({ y: 43, compiled: 1 });
    // three kernels, the runtime, two libraries
    expect(
      files()
        .map((f) => f.slice(f.lastIndexOf('.')))
        .sort(),
    ).toEqual(['.o', '.o', '.o', '.o', '.so', '.so']);
  });

  test('damaged files are made again', async () => {
    const damages: readonly ((f: string) => void)[] = [
      (f) => truncateSync(f, statSync(f).size >> 1),
      (f) => truncateSync(f, 0),
      (f) =>
        writeFileSync(
          f,
          readFileSync(f).map((b, i) => (i === 100 ? b ^ 1 : b)),
        ),
    ];
    for (const [i, damage] of damages.entries()) {
      // a folder each: a library that this process has loaded must not be cut off under it
      vi.stubEnv('FOVEA_CACHE', join(folder, String(i)));
      await buildLibrary(() => [{ name: 'plus', prelude: [], body: printC(plus(5)) }], poolSource);
      const before = files().filter((f) => f.startsWith(join(folder, String(i))));
      expect(before.length).toBe(3);
      before.forEach(damage);
      // objects and library alike: everything is compiled anew
      expect(await prepare([plus(5)])).toEqual({ y: 45, compiled: 1 });
    }
  });

  test('kernels that are missing together are compiled together, and found one by one', async () => {
    const links = (): readonly string[] => files().filter((f) => lstatSync(f).isSymbolicLink());
    const many = Array.from({ length: 3 * (availableParallelism() + 2) }, (_, i) => plus(100 + i));
    const seen: string[] = [];
    const total = many.length;
    expect(await prepare(many, (d, t) => seen.push(`${d}/${t}`))).toEqual({ y: 40 + 99 + total, compiled: total });
    expect(seen.at(-1)).toBe(`${total}/${total}`);
    expect(links().length).toBe(total);
    expect(new Set(links().map((f) => realpathSync(f))).size).toBe(total / 3);
    // others with them: only those are compiled
    expect(await prepare([plus(200), ...many.slice(0, 5)])).toEqual({ y: 144, compiled: 1 });
    // a kernel that lost its link is compiled again, with others than before, and is then in two units of one library
    rmSync(links()[0] as string);
    const more = Array.from({ length: total }, (_, i) => plus(300 + i));
    expect((await prepare([...many, ...more])).compiled).toBe(total + 1);
    expect((await prepare([...more, ...many])).y).toBe(40 + 99 + total);
    // without its object a link is nothing
    for (const f of [...links().map((l) => realpathSync(l)), ...files().filter((f) => f.endsWith('.so'))]) rmSync(f, { force: true });
    expect((await prepare(many.slice(0, 2))).compiled).toBe(2);
  });

  test('concurrent builds of one plan do not disturb each other', async () => {
    const both = await Promise.all([prepare([plus(6), plus(7)]), prepare([plus(6), plus(7)]), prepare([plus(6), plus(7)])]);
    expect(both.map((b) => b.y)).toEqual([47, 47, 47]);
    expect(files().filter((f) => f.endsWith('.tmp'))).toEqual([]);
  });

  test('a folder that cannot be written is replaced by a temporary one', async () => {
    // a file in the place of the folder: refused for root as well
    const blocked = join(folder, 'blocked');
    writeFileSync(blocked, '');
    vi.stubEnv('FOVEA_CACHE', join(blocked, 'inside'));
    const chosen = await cacheFolder();
    expect(chosen.startsWith(join(tmpdir(), 'fovea-'))).toBe(true);
    // the same one for the whole process, even if someone cleans up meanwhile
    expect(await cacheFolder()).toBe(chosen);
    rmSync(chosen, { recursive: true });
    expect(await prepare([plus(8)])).toEqual({ y: 48, compiled: 1 });
    expect(await prepare([plus(8)])).toEqual({ y: 48, compiled: 0 });
  });

  test('the folder follows XDG_CACHE_HOME', async () => {
    vi.stubEnv('FOVEA_CACHE', '');
    vi.stubEnv('XDG_CACHE_HOME', folder);
    expect(await cacheFolder()).toBe(join(folder, 'fovea'));
  });
});

describe('compiler', () => {
  test('none: the package to install', async () => {
    vi.stubEnv('PATH', folder);
    vi.stubEnv('FOVEA_CC', '');
    const x = await failure(() => prepare([plus(1)]));
    expect(x.code).toBe('FV0301');
    expect(x.message).toBe('no C compiler: none of cc, clang, gcc runs');
    expect(x.hint).toMatch(/FOVEA_CC/);
    expect(files()).toEqual([]);
  });

  test('FOVEA_CC that does not exist', async () => {
    vi.stubEnv('FOVEA_CC', join(folder, 'nothing'));
    const x = await failure(findCompiler);
    expect(x.code).toBe('FV0301');
    expect(x.message).toContain('nothing, which does not run');
  });

  test('FOVEA_CC with arguments', async () => {
    const { command } = await findCompiler();
    vi.stubEnv('FOVEA_CC', `${command} -O1`);
    expect(await findCompiler()).toMatchObject({ command, args: ['-O1'] });
    expect((await prepare([plus(9)])).y).toBe(49);
  });

  test('a text that does not compile: the first error, and the text is kept', async () => {
    const x = await failure(() =>
      buildLibrary(() => [{ name: 'broken', prelude: [], body: 'int FV_KERNEL(void) { return oops; }\n' }], poolSource),
    );
    expect(x.code).toBe('FV0302');
    expect(x.message).toMatch(/cannot compile kernel broken: .*error.*oops/);
    const kept = /kept in (.*)\.$/.exec(x.hint ?? '')?.[1] as string;
    expect(readFileSync(kept, 'utf8')).toContain('return oops');
    expect(files().filter((f) => f.endsWith('.tmp'))).toEqual([]);
  });

  test('a cache that can no longer be written', async () => {
    // a compiler that reports success and writes nothing stands for a disk that filled up behind it
    const fake = join(folder, 'compiler');
    writeFileSync(fake, '#!/bin/sh\necho fake 1.0\n');
    chmodSync(fake, 0o755);
    vi.stubEnv('FOVEA_CC', fake);
    const x = await failure(() => prepare([plus(1)]));
    expect(x.code).toBe('FV0302');
    expect(x.message).toMatch(/^cannot write to the kernel cache: /);
    expect(x.hint).toMatch(/FOVEA_CACHE/);
  });

  test('after a failure no further kernel is started', async () => {
    const [fake, log] = [join(folder, 'compiler'), join(folder, 'log')];
    // arguments end in: TEXT -o OBJECT
    const script = `while [ $# -gt 3 ]; do shift; done; echo "$1" >> ${log}; grep -q oops "$1" && exit 1; sleep 0.05; : > "$3"`;
    writeFileSync(fake, `#!/bin/sh\n[ "$1" = --version ] && echo fake 1.0 && exit 0\n${script}\n`);
    chmodSync(fake, 0o755);
    vi.stubEnv('FOVEA_CC', fake);
    const texts = ['oops', ...Array.from({ length: 20 * availableParallelism() }, (_, i) => `fine ${i}`)];
    const x = await failure(() => buildLibrary(() => texts.map((body) => ({ name: 'k', prelude: [], body })), poolSource));
    expect(x.code).toBe('FV0302');
    const started = (): number => readFileSync(log, 'utf8').split('\n').length - 1;
    // long enough for all of them, were they started
    await new Promise((resolve) => setTimeout(resolve, 2000));
    expect(started()).toBeLessThan(texts.length);
  });

  test('a compiler that dies', async () => {
    const fake = join(folder, 'compiler');
    writeFileSync(
      fake,
      '#!/bin/sh\n[ "$1" = --version ] && echo fake 1.0 && exit 0\necho "fatal error: no space left on device" >&2\nexit 1\n',
    );
    chmodSync(fake, 0o755);
    vi.stubEnv('FOVEA_CC', fake);
    const x = await failure(() => prepare([plus(1)]));
    expect(x.code).toBe('FV0302');
    expect(x.message).toContain('fatal error: no space left on device');
    expect(files().filter((f) => /\.(o|so|tmp)$/.test(f))).toEqual([]);
  });
});

test('target and threads', () => {
  const t = cpuTarget(3);
  expect(t).toMatchObject({ name: 'cpu', workers: 3, maxThreads: 1, alignment: 64 });
  expect([16, 32, 64]).toContain(t.vectorBytes);
  vi.stubEnv('FOVEA_THREADS', '7');
  expect(threadCount()).toBe(7);
  expect(threadCount(2)).toBe(2);
  vi.stubEnv('FOVEA_THREADS', 'many');
  expect(threadCount()).toBeGreaterThanOrEqual(1);
});
