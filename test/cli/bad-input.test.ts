/** What a user may get wrong about `FILE#export`: each is one sentence at the right place, from check and from whoever compiles the export. */
import { spawnSync } from 'node:child_process';
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

test('what an export says of its own arguments is checked once, at its declaration, by whoever reads it', { timeout: 60_000 }, async () => {
  const cases: readonly (readonly [properties: string, refusal: RegExp])[] = [
    ["args: [spec('B')], dims: { B: 'q' as never }", /^FV0005 LINE dims: B is "q", not a whole number, 0 or more/],
    ["args: [spec('B')], dims: { B: -1 }", /^FV0005 LINE dims: B is -1, not/],
    ["args: [spec('B')], dims: 3 as never", /^FV0005 LINE dims is a number, and no record of sizes/],
    ["args: 'B'", /^FV0503 LINE args is a string, and no list of specs \| Write args/],
    ['args: [3]', /^FV0503 LINE args: argument 1 is a number, and no spec \| None of the arguments is a tensor/],
    ['args: [null]', /^FV0503 LINE args: argument 1 is null, and no spec \| An argument is a spec/],
    ["args: [spec('4'), { a: [new Map()] }]", /^FV0503 LINE args: argument 2, a\.0 is of type Map, and no spec/],
    ['args: [host([1], [1])]', /^FV0503 LINE args: argument 1 is a tensor with numbers, and no spec/],
    ['args: [net]', /^FV0503 LINE args: argument 1 is a module, and no spec \| paramSpecs\(module\)/],
    ["args: [{ ...spec('4'), dtype: 'f99' }]", /^FV0002 LINE argument 1: 'f99' is not a dtype \| Dtypes are f32, /],
    ["args: [spec('4')], donate: [7]", /^FV0305 LINE donate: there is no argument at position 7/],
    ["args: [spec('4')], donate: 0 as never", /^FV0305 LINE donate: there is no argument at position 0 \| It lists/],
    ["args: [spec('4'), spec('3')], donate: [1]", /^FV0305 LINE argument 2 is donated, but no result takes the place of it/],
  ];
  for (const [properties, wanted] of cases) {
    const file = module_(`import { host, module, param, spec } from 'fovea';
const net = module({}, () => ({ w: param('4') }), ['4'], (p, x) => x.mul(p.w));
export const sum = [net, host, spec].length;
export const f = Object.assign((x: any) => x.mul(2), { ${properties} });
`);
    const line = `${file.split('/').at(-1)}:4`;
    const pattern = new RegExp(wanted.source.replace('LINE', line.replace('.', '\\.')));
    expect(await refusal(`${file}#f`), properties).toMatch(pattern);
    const { findings } = await traceFile(file, ['f']);
    expect(
      findings.map((f) => [f.code, f.line]),
      properties,
    ).toEqual([[wanted.source.slice(1, 7), 4]]);
  }
  const nothing = module_("import { fn } from 'fovea';\nexport const f = fn(['N'], () => null);\n");
  expect(await refusal(`${nothing}#f`)).toMatch(/^FV0006 \S+\.ts:2 result of the function is null/);
  const below = module_("import { spec } from 'fovea';\nexport const n = 1;\nexport const args = [spec('4 -1')];\n");
  expect(await refusal(`${below}#n`)).toMatch(/^FV0003 \S+\.ts:3 '-1' is not a size/);
  // a number beside tensors is part of the program
  const scaled = module_(
    "import { spec } from 'fovea';\nexport const f = Object.assign((x: any, n: number) => x.mul(n), { args: [spec('4'), 3] });\n",
  );
  expect(await refusal(`${scaled}#f`)).toBe('compiled');
  // gradcheck goes on with the others
  const two = module_(
    "import { fn, spec, sum } from 'fovea';\nexport const good = fn(['N'], (x) => sum('n ->', x));\nexport const f = Object.assign((x: any) => x, { args: [null] });\n",
    'two.mts',
  );
  const { status, stdout } = await fovea(['gradcheck', two, '--dims', 'N=2'], { fromSources: true });
  expect(status).toBe(1);
  expect(stdout).toMatch(/ERROR FV0503: args: argument 1 is null, and no spec\n\s+at \S+\.mts:3/);
  expect(stdout).toMatch(/1 pass, 0 fail, 0 undecided, 1 with an error/);
});

test('a module that ends the process, or waits for ever, is told by those who load it themselves', { timeout: 60_000 }, async () => {
  const ends = module_('export const n = 1;\nprocess.exit(0);\n');
  const waits = module_('export const n = 1;\nawait new Promise(() => {});\n', 'waits.mts');
  const [explain, compile, gradcheck, waiting] = await Promise.all(
    [
      ['explain', ends],
      ['compile', ends, '--out', join(scratch(), 'out')],
      ['gradcheck', ends],
      ['explain', waits],
    ].map((args) => fovea(args, { fromSources: true })),
  );
  for (const r of [explain, compile, gradcheck]) {
    expect(r?.status).toBe(1);
    expect(r?.stderr).toMatch(/^fovea: FV0402: \S+\.ts: the module ends the process, with status 0\n {2}Move what a program does/);
  }
  expect(waiting?.status).toBe(1);
  expect(waiting?.stderr).toMatch(/fovea: FV0402: \S+\.mts: the module waits for something that never comes\n/);
});

test('a loop without end is told after some seconds, by another thread', { timeout: 60_000 }, () => {
  const file = module_('for (;;) if (Date.now() < 0) break;\n');
  const script = `const { guarded } = await import(${JSON.stringify(pathToFileURL(join(import.meta.dirname, '../../cli/guarded.ts')).href)});
await guarded(${JSON.stringify(file)}, () => import(${JSON.stringify(pathToFileURL(file).href)}), 1);`;
  const { stderr } = spawnSync(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', script], {
    encoding: 'utf8',
    timeout: 8000,
    killSignal: 'SIGKILL',
  });
  expect(stderr).toMatch(/^fovea: \S+\.ts has run for 1 s and has not ended: a loop that has no end\? Ctrl-C ends it\.\n$/);
});

test('names that clash: leaves of a tree, sizes of an option, arguments of a loader', async () => {
  const file = module_(
    `import { type F32, spec } from 'fovea';
type Two = { 'a.b': F32<'2'>; a: { b: F32<'2'> } };
export const f = Object.assign((t: Two) => t.a.b.add(t['a.b']), { args: [{ 'a.b': spec('2'), a: { b: spec('2') } }] });
export const g = Object.assign((arg1: F32<'2'>, { x }: { x: F32<'2'> }) => arg1.add(x), { args: [spec('2'), { x: spec('2') }] });
`,
  );
  expect(await refusal(`${file}#f`)).toMatch(/^FV0006 \S+\.ts:3 argument 1, a\.b: two leaves have this path \| Use keys without dots\.$/);
  const { findings, traced } = await traceFile(file);
  expect(findings.map((f) => [f.file, f.code, f.message])).toEqual([
    [file, 'FV0006', 'argument 1, a.b: two leaves have this path. Use keys without dots. (tracing f)'],
  ]);
  expect(traced).toEqual(['g']);
  expect(() => sizesOption('--dims')('B=2,N=3,B=4')).toThrow(/--dims B=2,N=3,B=4: B is given twice/);
  const files = await artefact(await userProgram(`${file}#g`), await exportBackend('webgpu'), 'f32', '0');
  expect(files.get('index.d.ts')).toMatch(/\(arg1: Input<"2", "f32">, _arg1: \{/);
});
