/** Exported programs: equal to the direct run bit for bit, in a folder with nothing but Node and in a page; damaged and foreign ones are refused. */
import { execFileSync, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import ts from 'typescript';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { cpu } from '../../backends/cpu/index.ts';
import { buildEmulator } from '../../backends/cuda/emulator/build.ts';
import { cuda } from '../../backends/cuda/index.ts';
import { webgpuParts } from '../../backends/webgpu/export.ts';
import { type WebGpuBackend, webgpu } from '../../backends/webgpu/index.ts';
import { artefact, exportBackend } from '../../cli/compile/artefact.ts';
import { userProgram } from '../../cli/program.ts';
import type { Backend } from '../../index.ts';
import { compile, FoveaError } from '../../index.ts';
import { fovea } from '../cli/command.ts';
import { launch, serve } from '../web/browser.ts';
import { softwareVulkan } from '../webgpu/vulkan.ts';
import { threeSteps } from './fixtures/run.mjs';
import { step } from './fixtures/step.ts';

const fixtures = join(import.meta.dirname, 'fixtures');
const folder = mkdtempSync(join(tmpdir(), 'fovea-export-test-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const at = (name: string): string => join(folder, name);

beforeAll(async () => {
  const program = await userProgram(join(fixtures, 'step.ts#step'));
  for (const name of ['cpu', 'webgpu'] as const) {
    mkdirSync(at(name));
    for (const [file, data] of await artefact(program, await exportBackend(name, { threads: name === 'cpu' ? 2 : undefined }), 'f32', '0'))
      writeFileSync(join(at(name), file), data);
    copyFileSync(join(fixtures, 'run.mjs'), join(at(name), 'run.mjs'));
  }
}, 120_000);

/** Needs a C++ compiler; FV0301 without. */
const emulator = await buildEmulator().catch((e: unknown) => {
  if (!(e instanceof FoveaError) || e.code !== 'FV0301') throw e;
  console.warn(`export for CUDA skipped: ${e.message}. ${e.hint}`);
  return undefined;
});

const direct = async (backend: Backend): Promise<string> =>
  threeSteps(await compile(step, step.args as never, { backend, dims: step.dims, donate: step.donate }));
const script = `import { load } from './index.js'; import { threeSteps } from './run.mjs'; console.log(await threeSteps(await load({ threads: 2 })));`;
/** Node alone: no package is found from there, and no option of this process is inherited. */
const inNode = (dir: string, code = script) =>
  spawnSync(process.execPath, ['--input-type=module', '-e', code], { cwd: dir, encoding: 'utf8', env: {} });

test('cpu: a folder with nothing but Node gives the bits of the direct run', { timeout: 60_000 }, async () => {
  const { stdout, stderr } = inNode(at('cpu'));
  expect(stderr).toBe('');
  expect(stdout.trim()).toBe(await direct(cpu({ threads: 2 })));
  expect(readFileSync(join(at('cpu'), 'index.js'), 'utf8')).not.toMatch(/from ?["'](?!node:)/);
  expect(statSync(join(at('cpu'), 'index.js')).size).toBeLessThan(64 << 10);
});

test('arguments are checked as the direct run checks them', () => {
  const said = inNode(
    at('cpu'),
    `import { load } from './index.js'; const s = await load(); await s({}, {}, 1).catch((e) => console.log(e.report()));`,
  );
  expect(said.stdout).toMatch(/^FV0305: argument 1, up: expected a tensor, got nothing\n {2}at \S*\[eval1\]:1:\d+\n$/);
});

test('threads and arguments that there are none of are refused', () => {
  const bad = ['0', '-1', '1.5', "'a'", '257'];
  const said = inNode(
    at('cpu'),
    `import { load } from './index.js';
for (const threads of [${bad}]) await load({ threads }).catch((e) => console.log(e.message));
const s = await load({ threads: 1 });
for (const argument of [7, -1, 1.5, 'length']) try { s.ahead(argument, 1); console.log('taken'); } catch (e) { console.log(e.code + ' ' + e.message); }
s.ahead(2, 1);`,
  );
  expect(said.stderr).toBe('');
  expect(said.stdout.trim().split('\n')).toEqual([
    ...bad.map((t) => `load: threads ${t.replaceAll("'", '')}: expected a whole number from 1 to 256`),
    ...['7', '-1', '1.5', 'length'].map((a) => `FV0305 ahead: there is no argument ${a}: the program takes 3, counted from 0`),
  ]);
});

test('the declarations are legal, with shapes in names', () => {
  const file = join(at('cpu'), 'index.d.ts');
  const text = readFileSync(file, 'utf8');
  expect(text).toContain('readonly up: Input<"24 6", "f32">');
  expect(text).toMatch(
    /batch: \{\s+readonly x: Input<"B 6", "f32">;\s+readonly y: Input<"B 3", "f32">;\s+\}, lr: Input<"", "f32">\): Promise</,
  );
  // a user of it: what toHost gives has the shapes and types of what went in
  const user = join(at('cpu'), 'user.ts');
  writeFileSync(
    user,
    `import { type HostTensor, load, type Program, toHost } from './index.js';
type Out = Awaited<ReturnType<Program>>;
declare const out: Out;
const host = await toHost(out);
const up: HostTensor<'24 6', 'f32'> = host.params.up;
const all: Float32Array = host.loss.data;
const again: HostTensor<'24 6', 'f32'> = (await toHost({ list: [up, 3] as const })).list[0];
// @ts-expect-error another shape
const wrong: HostTensor<'24 7', 'f32'> = host.params.up;
export { load, again, all, wrong };
`,
  );
  const program = ts.createProgram([file, user], {
    strict: true,
    noEmit: true,
    types: [],
    module: ts.ModuleKind.ES2022,
    moduleResolution: ts.ModuleResolutionKind.Bundler,
    lib: ['lib.es2023.d.ts'],
    target: ts.ScriptTarget.ES2023,
  });
  expect(ts.getPreEmitDiagnostics(program).map((d) => ts.flattenDiagnosticMessageText(d.messageText, ' '))).toEqual([]);
});

test.each(['cpu', 'webgpu'])('%s: the manifest has the hash of every other file', (name) => {
  const dir = at(name);
  const { files } = JSON.parse(readFileSync(join(dir, 'manifest.json'), 'utf8')) as { files: Record<string, string> };
  const others = ['manifest.json', 'run.mjs', 'user.ts', 'index.html', 'node_modules'];
  expect(Object.keys(files).sort()).toEqual(
    readdirSync(dir)
      .filter((f) => !others.includes(f))
      .sort(),
  );
  for (const [file, hash] of Object.entries(files))
    expect(
      createHash('sha256')
        .update(readFileSync(join(dir, file)))
        .digest('hex'),
      file,
    ).toBe(hash);
});

test('options that a backend does not take are refused', async () => {
  await expect(exportBackend('webgpu', { target: 'x' })).rejects.toMatchObject({
    code: 'FV0503',
    message: expect.stringMatching(/^--target x: /),
  });
  for (const name of ['webgpu', 'cuda'] as const)
    await expect(exportBackend(name, { threads: 2 })).rejects.toMatchObject({
      code: 'FV0503',
      message: expect.stringMatching(/^--threads 2: /),
    });
  await expect(exportBackend('cpu', { emulate: true })).rejects.toMatchObject({ code: 'FV0503' });
});

test('a folder with files of somebody else is left alone', { timeout: 60_000 }, async () => {
  const dir = mkdtempSync(join(tmpdir(), 'fovea-'));
  try {
    writeFileSync(join(dir, 'index.js'), 'mine');
    const { status, stderr } = await fovea(['compile', 'examples/dinov2.ts#step', '--out', dir]);
    expect([status, stderr]).toEqual([
      1,
      expect.stringMatching(/^fovea: FV0407: --out \S+: other files are there, index\.js\n {2}Give an empty folder/),
    ]);
    expect(readdirSync(dir)).toEqual(['index.js']);
    expect(readFileSync(join(dir, 'index.js'), 'utf8')).toBe('mine');
    // a manifest of a page is none of ours
    writeFileSync(join(dir, 'manifest.json'), '{ "name": "app", "icons": [] }');
    expect((await fovea(['compile', 'examples/dinov2.ts#step', '--out', dir])).stderr).toMatch(/^fovea: FV0407: /);
  } finally {
    rmSync(dir, { recursive: true });
  }
});

test('a program that is exported where another one was leaves nothing of that, and all that is not of it', {
  timeout: 60_000,
}, async () => {
  const dir = mkdtempSync(join(tmpdir(), 'fovea-'));
  try {
    execFileSync('cp', ['-r', `${at('cpu')}/.`, dir]);
    writeFileSync(join(dir, 'notes.txt'), 'mine');
    const { status } = await fovea(['compile', 'test/export/fixtures/step.ts#step', '--backend', 'webgpu', '--out', dir], {
      fromSources: true,
    });
    expect(status).toBe(0);
    const names = ['index.d.ts', 'index.js', 'manifest.json', 'package.json', 'plan.txt', 'program.json', 'wgsl.json'];
    expect(readdirSync(dir).filter((f) => !['run.mjs', 'user.ts'].includes(f))).toEqual([...names, 'notes.txt'].sort());
  } finally {
    rmSync(dir, { recursive: true });
  }
});

test('a damaged file, a missing one, and another machine are refused with what to do', () => {
  const refused = (change: (dir: string) => void): string => {
    const dir = mkdtempSync(join(folder, 'broken-'));
    execFileSync('cp', ['-r', `${at('cpu')}/.`, dir]);
    change(dir);
    const { stdout } = inNode(dir, `import { load } from './index.js'; await load().catch((e) => console.log(e.report()));`);
    return stdout;
  };
  const edit = (name: string, f: (text: string) => string) => (dir: string) =>
    writeFileSync(join(dir, name), f(readFileSync(join(dir, name), 'latin1')), 'latin1');
  expect(refused(edit('kernels.so', (t) => `${t.slice(0, 5000)}x${t.slice(5001)}`))).toMatch(
    /^FV0204: kernels\.so is not the file that was exported/,
  );
  expect(refused((dir) => rmSync(join(dir, 'plan.txt')))).toMatch(/^FV0204: plan\.txt cannot be read: ENOENT/);
  expect(refused(edit('manifest.json', (t) => t.slice(9)))).toMatch(/^FV0204: manifest\.json is damaged/);
  expect(refused((dir) => renameSync(join(dir, 'manifest.json'), join(dir, 'other')))).toMatch(/^FV0204: manifest\.json cannot be read/);
  const without = (key: string) => edit('manifest.json', (t) => JSON.stringify({ ...JSON.parse(t), [key]: undefined }));
  for (const key of ['files', 'needs'])
    expect(refused(without(key))).toMatch(/^FV0204: manifest\.json is damaged: it does not say which files there are/);
  expect(refused(edit('manifest.json', () => 'null'))).toMatch(/^FV0204: manifest\.json is damaged/);
  // a file is not used without its hash, whatever it is
  const unnamed = (name: string) => edit('manifest.json', (t) => t.replace(`"${name}"`, '"other.txt"'));
  for (const name of ['kernels.so', 'native.node', 'program.json', 'plan.txt', 'symbols.json']) {
    const change = (dir: string): void => {
      copyFileSync(join(dir, name), join(dir, 'other.txt'));
      unnamed(name)(dir);
    };
    expect(refused(change)).toMatch(new RegExp(`^FV0204: manifest\\.json has no hash of ${name.replace('.', '\\.')}\n`));
  }
  const manifest = (f: (m: { needs: Record<string, unknown> }) => void) =>
    edit('manifest.json', (t) => {
      const m = JSON.parse(t);
      f(m);
      return JSON.stringify(m);
    });
  expect(refused(manifest((m) => Object.assign(m.needs, { arch: 'riscv64' })))).toMatch(
    /^FV0205: .* exported for \w+ on riscv64, which this machine is not\n/,
  );
  if (process.platform === 'linux')
    expect(refused(manifest((m) => Object.assign(m.needs, { flags: ['avx1024f'] })))).toMatch(
      /^FV0205: .* with avx1024f, which this machine has not\n {2}Export it here, or/,
    );
});

describe.skipIf(!emulator)('cuda', () => {
  const dir = at('cuda');
  const run = (code: string, env: Readonly<Record<string, string>> = {}) =>
    spawnSync(process.execPath, ['--input-type=module', '-e', code], {
      cwd: dir,
      encoding: 'utf8',
      env: { FOVEA_CUDA_DRIVER: emulator?.path ?? '', ...env },
    });
  beforeAll(async () => {
    mkdirSync(join(dir, 'node_modules'), { recursive: true });
    const program = await userProgram(join(fixtures, 'step.ts#step'));
    for (const [file, data] of await artefact(program, await exportBackend('cuda', { emulate: true }), 'f32', '0'))
      writeFileSync(join(dir, file), data);
    copyFileSync(join(fixtures, 'run.mjs'), join(dir, 'run.mjs'));
    symlinkSync(join(import.meta.dirname, '../../node_modules/koffi'), join(dir, 'node_modules/koffi'));
  }, 120_000);

  test('a folder with koffi alone gives the bits of the direct run, behind the double of the driver', { timeout: 60_000 }, async () => {
    const { stdout, stderr } = run(script.replace('{ threads: 2 }', '{ device: 0 }'));
    expect(stderr).toBe('');
    expect(stdout.trim()).toBe(await direct(await cuda({ emulate: true })));
    const imports = [...readFileSync(join(dir, 'index.js'), 'utf8').matchAll(/import ?[\w{},*$ ]+ ?from ?"([^"]+)"/g)].map(
      ([, from]) => from,
    );
    expect(imports.filter((i) => !i?.startsWith('node:'))).toEqual(['koffi']);
    expect(statSync(join(dir, 'index.js')).size).toBeLessThan(96 << 10);
    expect(readFileSync(join(dir, 'kernels.cu'), 'utf8')).toContain('__global__');
    expect(JSON.parse(readFileSync(join(dir, 'package.json'), 'utf8')).dependencies).toHaveProperty('koffi');
  });

  test('another architecture, a damaged kernel, and no driver are refused', () => {
    const load = `import { load } from './index.js'; await load().catch((e) => console.log(e.report()));`;
    const changed = (file: string, change: (text: string) => string): string => {
      const before = readFileSync(join(dir, file));
      writeFileSync(join(dir, file), change(before.toString('latin1')), 'latin1');
      const { stdout } = run(load);
      writeFileSync(join(dir, file), before);
      return stdout;
    };
    expect(changed('manifest.json', (t) => t.replace(/"sm_\d+a?"/, '"sm_70"'))).toMatch(/^FV0205: the program is exported for sm_70 /);
    expect(changed('kernels0.cubin', (t) => `${t.slice(0, 100)}x${t.slice(101)}`)).toMatch(/^FV0204: kernels0\.cubin is not the file/);
    expect(run(load, { FOVEA_CUDA_DRIVER: '/nowhere/libcuda.so' }).stdout).toMatch(/^FV0310: FOVEA_CUDA_DRIVER is /);
    // there is no emulator to try
    const loader = readFileSync(join(dir, 'index.js'), 'utf8');
    expect(loader).toContain('install the NVIDIA driver');
    expect(loader).not.toContain('--emulate');
  });
});

const linux = process.platform === 'linux' && process.arch === 'x64';
if (!linux) console.warn('export to a page skipped: the Chromium from npm is for Linux on x64');
test.skipIf(!linux)('webgpu: a page gives the bits of the direct run', { timeout: 120_000 }, async () => {
  const backend = await webgpu();
  const wanted = await direct({ ...backend, target: webgpuParts().target });
  writeFileSync(join(at('webgpu'), 'index.html'), '<!doctype html><title>export</title><p id="status">waits</p>');
  const { url, stop } = await serve(at('webgpu'));
  const browser = await launch();
  try {
    const page = await browser.newPage();
    await page.goto(url);
    const got = await page.evaluate(`(async () => {
      const { load } = await import('./index.js');
      const { threeSteps } = await import('./run.mjs');
      return threeSteps(await load());
    })()`);
    expect(got).toBe(wanted);
  } finally {
    await browser.close();
    await stop();
  }
});

/** Dawn of npm, and an adapter: the software driver of the tests where there is one. */
const node = await webgpu().catch((e: unknown) => {
  if (!(e instanceof FoveaError) || e.code !== 'FV0307') throw e;
  console.warn(`export for WebGPU in Node skipped: ${e.message}. A Vulkan driver would run it`);
  return undefined;
});
test.skipIf(!node)(
  'webgpu: in Node it gives the bits of the direct run, whatever is collected between steps',
  { timeout: 120_000 },
  async () => {
    const dir = at('webgpu');
    mkdirSync(join(dir, 'node_modules'), { recursive: true });
    symlinkSync(join(import.meta.dirname, '../../node_modules/webgpu'), join(dir, 'node_modules/webgpu'));
    const code = `import { load } from './index.js';
    import { threeSteps } from './run.mjs';
    const step = await load();
    const collecting = async (...args) => {
      for (let i = 0; i < 10; i++) {
        gc();
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      return step(...args);
    };
    console.log(await threeSteps(Object.assign(collecting, { dispose: step.dispose })));
    process.exit(0);`;
    const { stdout, stderr, status } = spawnSync(process.execPath, ['--expose-gc', '--input-type=module', '-e', code], {
      cwd: dir,
      encoding: 'utf8',
      env: { ...softwareVulkan() },
    });
    expect([status, stderr]).toEqual([0, '']);
    expect(stdout.trim()).toBe(await direct({ ...(node as WebGpuBackend), target: webgpuParts().target }));
  },
);
