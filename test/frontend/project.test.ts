/** By which options files are checked, what is left out of a program, and what of an earlier check is still true. */
import { readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { expect, test } from 'vitest';
import { kept } from '../../cli/check/kept.ts';
import { checker } from '../../compiler/frontend/check.ts';
import { remembering, stillSo } from '../../compiler/frontend/disk.ts';
import { plain } from '../../compiler/frontend/project.ts';
import { fovea, scratch } from '../cli/command.ts';
import { edit, projectOf, put } from './project.ts';

const codes = (at: (name: string) => string, ...names: string[]): readonly string[] =>
  checker(names.map(at))
    .round()
    .findings()
    .map((f) => `${relative(at('.'), f.file)}:${f.line} ${f.code}`);

test('each file is checked by the options of its own folder', { timeout: 60_000 }, () => {
  const model = 'export const n = (x: number[]): number => x[0];\n';
  const at = projectOf({
    'strict/model.ts': model,
    'loose/model.ts': model,
    'loose/tsconfig.json': '{ "compilerOptions": { "strict": false } }',
  });
  expect(codes(at, 'strict/model.ts', 'loose/model.ts')).toEqual(['strict/model.ts:1 TS2322']);
  expect(codes(at, 'loose/model.ts', 'strict/model.ts')).toEqual(['strict/model.ts:1 TS2322']);
});

test('what is nested too deep is told, and after an edit the same checker goes on', { timeout: 60_000 }, () => {
  const good = 'export const n: string = 1;\n';
  const at = projectOf({ 'model.ts': `export const n = ${'1+'.repeat(4000)}1;\n` });
  const c = checker([at('model.ts')]);
  const now = () =>
    c
      .round()
      .findings()
      .map((f) => f.code);
  const written = (text: string) => {
    put(at('model.ts'), text);
    c.changed(at('model.ts'));
    return now();
  };
  expect(now()).toEqual(['FV0402']);
  expect(written(good)).toEqual(['TS2322']);
  expect(written(`export const n = ${'['.repeat(3000)}${']'.repeat(3000)};\n`)).toEqual(['FV0402']);
  expect(written(good)).toEqual(['TS2322']);
});

test('a file without a project may use what browsers have, and Node: its types are those beside it, or our own', {
  timeout: 60_000,
}, () => {
  const at = projectOf(
    {
      'model.ts': "export const f = (): string => document.title + new URL('a:b').host;\nexport const id: number = process.pid;\n",
      'wrong.ts': 'export const id: string = process.pid;\n',
    },
    { config: false },
  );
  expect(codes(at, 'model.ts', 'wrong.ts')).toEqual(['wrong.ts:1 TS2322']);
  put(at('node_modules/@types/node/package.json'), '{ "name": "@types/node", "version": "20.0.0", "types": "index.d.ts" }');
  put(at('node_modules/@types/node/index.d.ts'), 'declare const process: { readonly pid: string };\n');
  expect(codes(at, 'model.ts', 'wrong.ts')).toEqual(['model.ts:2 TS2322']);
});

test('the types of Node are left out of a model, and are there for whoever mentions them', { timeout: 60_000 }, () => {
  const files: Readonly<Record<string, readonly [text: string, found: readonly string[], lean: boolean]>> = {
    'model.ts': ["import { fn } from 'fovea';\nexport const f = fn(['N'], (x) => x);\n", [], true],
    'shape.ts': ["import { fn } from 'fovea';\nexport const f = fn(['N 2', 'N 3'], (x, y) => x.add(y));\n", ['shape.ts:2 FV0001'], true],
    'import.ts': ["import { cpus } from 'node:os';\nexport const n: string = cpus().length;\n", ['import.ts:2 TS2322'], false],
    'common.ts': ['export const n: string = process.pid;\n', ['common.ts:1 TS2322'], false],
    'rare.ts': ['export const d = new DecompressionStream("gzip").readable.locked;\n', [], false],
    'member.ts': ['export const s: string = new Error("a", { cause: 1 }).stack ?? Error.stackTraceLimit;\n', ['member.ts:1 TS2322'], false],
    'all.ts': ['declare global { interface ErrorConstructor { stackTraceLimit: string } }\nexport {};\n', ['all.ts:1 TS2717'], false],
  };
  const at = projectOf(Object.fromEntries(Object.entries(files).map(([name, [text]]) => [name, text])));
  put(at('node_modules/@types/node/package.json'), '{ "name": "@types/node", "version": "20.0.0", "types": "index.d.ts" }');
  put(
    at('node_modules/@types/node/index.d.ts'),
    `declare module 'node:os' { export function cpus(): readonly object[]; }
interface ErrorConstructor { stackTraceLimit: number }
declare const process: { readonly pid: number };
declare class DecompressionStream { constructor(how: string); readonly readable: { readonly locked: boolean } }
`,
  );
  for (const [name, [, found, lean]] of Object.entries(files)) {
    const { disk, answers } = remembering(plain.disk);
    const r = checker([at(name)], { ...plain, disk }).round();
    expect(r.findings().map((f) => `${relative(at('.'), f.file)}:${f.line} ${f.code}`)).toEqual(found);
    expect(
      Object.keys(answers().readFile).some((f) => f.endsWith('@types/node/index.d.ts')),
      name,
    ).toBe(!lean);
  }
  // and for an edit that mentions them later
  const c = checker([at('model.ts')]);
  expect(c.round().findings()).toEqual([]);
  edit(at('model.ts'), (t) => `${t}export const d: string = new DecompressionStream('gzip').readable.locked;\n`);
  c.changed(at('model.ts'));
  expect(
    c
      .round()
      .findings()
      .map((f) => f.code),
  ).toEqual(['TS2322']);
});

test('what was found holds while the disk would answer the same', { timeout: 60_000 }, async () => {
  const at = projectOf({
    'model.ts': "import { two } from './two.js';\nexport const n: string = two;\n",
    'two.d.ts': 'export declare const two: 2;\n',
  });
  const { disk, answers } = remembering(plain.disk);
  const r = checker([at('model.ts')], { ...plain, disk }).round();
  const found = { files: r.files, parses: r.parses, findings: r.findings() };
  expect(found.findings.map((f) => f.code)).toEqual(['TS2322']);
  const folder = scratch();
  const known = async () => (await kept(folder, [at('model.ts')])).found;
  expect(await known()).toBe(undefined);
  await (await kept(folder, [at('model.ts')])).keep(found, answers());
  expect(await known()).toEqual(found);
  // other questions are other files
  expect((await kept(folder, [at('two.d.ts')])).found).toBe(undefined);
  const changes: readonly (readonly [what: string, change: () => void, undo: () => void])[] = [
    ['another text', () => edit(at('two.d.ts'), (t) => `${t} `), () => edit(at('two.d.ts'), (t) => t.slice(0, -1))],
    ['a file that an import finds first', () => put(at('two.ts'), 'export const two = "2";\n'), () => rmSync(at('two.ts'))],
    ['other options', () => edit(at('tsconfig.json'), (t) => `${t}\n`), () => edit(at('tsconfig.json'), (t) => t.slice(0, -1))],
    ['a nearer configuration', () => put(at('package.json'), '{}'), () => put(at('package.json'), '{ "type": "module" }')],
  ];
  for (const [what, change, undo] of changes) {
    change();
    expect([what, stillSo(answers()), await known()]).toEqual([what, false, undefined]);
    undo();
    expect([what, await known()]).toEqual([what, found]);
  }
  // a damaged file is none
  const [own] = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((f) => f.endsWith('.check'));
  edit(join(folder, own as string), (t) => t.replace('TS2322', 'TS2323'));
  expect(await known()).toBe(undefined);
});

test('the command keeps types and purity, and traces every time', { timeout: 120_000 }, async () => {
  const at = projectOf({ 'model.ts': "import { fn } from 'fovea';\nconsole.log('loaded');\nexport const f = fn(['N'], (x) => x);\n" });
  const env = { FOVEA_CACHE: scratch() };
  const check = () => fovea(['check', at('model.ts'), '--time'], { fromSources: true, env });
  const [first, second] = [await check(), await check()];
  expect(first.stderr).toMatch(/^loaded\n.*types and purity \d+ ms, trace/);
  expect(second.stderr).toMatch(/^loaded\ntypes and purity of 1 files are as they were, .*trace/);
  expect(second.stdout).toBe(first.stdout);
  writeFileSync(at('model.ts'), 'export const n: string = 1;\n');
  const third = await check();
  expect(third.stdout).toMatch(/model\.ts\(1,14\): error TS2322/);
  expect((await check()).stdout).toBe(third.stdout);
  expect((await check()).status).toBe(1);
});
