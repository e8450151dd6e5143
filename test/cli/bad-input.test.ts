/** What a user may get wrong about `FILE#export`: each is one sentence at the right place, from check and from whoever compiles the export. */
import { writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { pathToFileURL } from 'node:url';
import { expect, test } from 'vitest';
import { traceFile } from '../../cli/check/trace.ts';
import { artefact, exportBackend } from '../../cli/compile/artefact.ts';
import { sizesOption } from '../../cli/options.ts';
import { userProgram } from '../../cli/program.ts';
import { FoveaError } from '../../compiler/error.ts';
import { checker } from '../../compiler/frontend/check.ts';
import { fovea, scratch } from './command.ts';

const dsl = pathToFileURL(join(import.meta.dirname, '../../index.ts')).href;
/** A module of its own; names are not used twice, for Node keeps what it has loaded. */
let made = 0;
const module_ = (text: string, name = `m${made++}.ts`, dir = scratch()): string => {
  const file = join(dir, name);
  writeFileSync(file, text.replaceAll("'fovea'", JSON.stringify(dsl)));
  return file;
};
/** `FV0402 4:1 message | hint` */
const refusal = async (target: string): Promise<string> => {
  try {
    await userProgram(target);
  } catch (e) {
    if (!(e instanceof FoveaError)) throw e;
    const at = e.loc ? `${relative(join(target, '..'), e.loc.file)}:${e.loc.line} ` : '';
    return `${e.code} ${at}${e.message} | ${e.hint ?? ''}`;
  }
  return 'compiled';
};

test('no such export, none that is meant, and exports that are no function of tensors', async () => {
  const file = module_(
    "import { fn } from 'fovea';\nexport const f = fn(['N'], (x) => x);\nexport const g = fn(['N'], (x) => x.neg());\nexport const n = 3;\nexport const late = () => 1;\n",
  );
  expect(await refusal(`${file}#h`)).toMatch(/^FV0503 \S+ has no export 'h' \| It exports f, g\.$/);
  expect(await refusal(file)).toMatch(/^FV0503 \S+ exports 2 values that can be compiled \| Say which one: #f, #g\.$/);
  expect(await refusal(`${file}#n`)).toMatch(/^FV0503 \S+: the export n is no function and no module \| It exports f, g\.$/);
  expect(await refusal(`${file}#late`)).toMatch(/^FV0503 \S+: the export late does not say what its arguments are/);
  expect(await refusal(`${file}#late()`)).toMatch(/^FV0503 /);
  const word = module_("import { fn } from 'fovea';\nexport const f = fn(['N'], (x) => ({ x, word: 'w' as never }));\n");
  expect(await refusal(`${word}#f`)).toMatch(/^FV0006 .*result word is string, not a tensor/);
});

test('a file that does not parse, and a cyclic import, as Node loads them', { timeout: 60_000 }, async () => {
  const dir = scratch();
  writeFileSync(join(dir, 'package.json'), '{ "type": "module" }');
  const said = async (file: string): Promise<string> => {
    const { status, stdout, stderr } = await fovea(['explain', file], { fromSources: true });
    expect({ status, stdout }).toEqual({ status: 1, stdout: '' });
    return stderr;
  };
  expect(await said(module_("import { fn } from 'fovea';\nexport const f = fn(['N'], (x) => x.;\n", 'parse.ts', dir))).toMatch(
    /^fovea: FV0402: cannot load \S+parse\.ts: [\s\S]*\n {2}at \S+parse\.ts:2:\d+\n/,
  );
  module_("import { a } from './a.ts';\nexport const b = a + 1;\n", 'b.ts', dir);
  expect(await said(module_("import { b } from './b.ts';\nexport const a: number = b + 1;\n", 'a.ts', dir))).toMatch(
    /^fovea: FV0402: cannot load \S+a\.ts: Cannot access 'a' before initialization\n {2}at \S+b\.ts:2:\d+\n/,
  );
});

test('an enormous file is told by its size, without being read', () => {
  const file = module_(`export const table = [\n${'  0.123456789, 0.987654321, 0.555555555, 0.444444444,\n'.repeat(200_000)}];\n`);
  const main = module_(
    `import { table } from ${JSON.stringify(`./${relative(join(file, '..'), file)}`)};\nexport const n = table;\n`,
    'main.ts',
    join(file, '..'),
  );
  const { parses, findings } = checker([main]).round();
  expect(parses).toBe(false);
  expect(findings().map((f) => [f.file, f.line, f.code, f.message])).toEqual([
    [file, 1, 'FV0402', 'the file has 11 MB, and files up to 8 MB are checked. Read large data when the program runs'],
  ]);
});

test('names that clash: leaves of a tree, sizes of an option, arguments of a loader', async () => {
  const file = module_(
    `import { type F32, spec } from 'fovea';
type Two = { 'a.b': F32<'2'>; a: { b: F32<'2'> } };
export const f = Object.assign((t: Two) => t.a.b.add(t['a.b']), { args: [{ 'a.b': spec('2'), a: { b: spec('2') } }] });
export const g = Object.assign((arg1: F32<'2'>, { x }: { x: F32<'2'> }) => arg1.add(x), { args: [spec('2'), { x: spec('2') }] });
`,
  );
  expect(await refusal(`${file}#f`)).toBe('FV0006 argument 1, a.b: two leaves have this path | Use keys without dots.');
  const { findings, traced } = await traceFile(file);
  expect(findings.map((f) => [f.file, f.code, f.message])).toEqual([
    [file, 'FV0006', 'argument 1, a.b: two leaves have this path. Use keys without dots. (tracing f)'],
  ]);
  expect(traced).toEqual(['g']);
  expect(() => sizesOption('--dims')('B=2,N=3,B=4')).toThrow(/--dims B=2,N=3,B=4: B is given twice/);
  const files = await artefact(await userProgram(`${file}#g`), await exportBackend('webgpu'), 'f32', '0');
  expect(files.get('index.d.ts')).toMatch(/\(arg1: Input<"2", "f32">, _arg1: \{/);
});
