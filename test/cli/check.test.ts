/** What may be given to `fovea check`, what it says of what it traced, and modules that come to no end. */
import { existsSync, mkdirSync } from 'node:fs';
import { expect, onTestFinished, test, vi } from 'vitest';
import { filesOf, targetsOf } from '../../cli/check/targets.ts';
import { watching } from '../../cli/check/watch.ts';
import { FoveaError } from '../../compiler/error.ts';
import { projectOf, put } from '../frontend/project.ts';
import { fovea } from './command.ts';

const check = (...args: string[]) => fovea(['check', ...args], { fromSources: true });

test('files, exports of them, and what is neither', () => {
  const at = projectOf({ 'a#b.ts': '', 'm.ts': '', 'built.js': '', 'words.txt': '', 'types.d.ts': '', plain: '' });
  expect(targetsOf([at('m.ts'), `${at('m.ts')}#f(1)`, at('a#b.ts')]).map((t) => [t.file, t.name])).toEqual([
    [at('m.ts'), undefined],
    [at('m.ts'), 'f(1)'],
    [at('a#b.ts'), undefined],
  ]);
  expect(filesOf(targetsOf([at('m.ts'), `${at('m.ts')}#f(1)`]))).toEqual([at('m.ts')]);
  const said = (name: string): string => {
    try {
      targetsOf([at(name)]);
    } catch (e) {
      const { code, message, hint } = e as { readonly code: string; readonly message: string; readonly hint?: string };
      return `${code} ${message.replaceAll(at('.'), '.')} | ${hint}`;
    }
    return 'taken';
  };
  mkdirSync(at('models.ts'));
  expect(said('models.ts')).toMatch(/^FV0402 .*models\.ts is a folder \| Give the modules in it/);
  expect(said('none.ts')).toMatch(/^FV0402 there is no file .*none\.ts/);
  expect(said('built.js')).toMatch(/^FV0503 .*\.js is no TypeScript module, .* \| Give the \.ts module that it is built from\.$/);
  expect(said('words.txt')).toMatch(/^FV0503 .*\.txt is no TypeScript module/);
  expect(said('types.d.ts')).toMatch(/^FV0503 .*declarations have no bodies/);
  expect(said('plain')).toMatch(/^FV0503 .*this is no TypeScript module/);
});

const model = `import { type DimArg, einsum, fn, module, param } from 'fovea';
export const linear = <I extends DimArg, O extends DimArg>(inputs: I, outputs: O) =>
  module({ I: inputs, O: outputs }, () => ({ weight: param('O I') }), ['B I'], (p, x) => einsum('b i, o i -> b o', x, p.weight));
export const twice = fn(['N'], (x) => x.add(x));
export const size = 4;
`;

test('what is traced, what is not, and an export for given arguments', { timeout: 120_000 }, async () => {
  const at = projectOf({ 'model.ts': model, 'wrong.ts': 'export const n: string = 1;\n' });
  const [whole, one, refused, wrong] = await Promise.all([
    check(at('model.ts'), '--timeout', '1000000000'),
    check(`${at('model.ts')}#linear(4, 8)`),
    check(`${at('model.ts')}#linear(4`, '--format', 'json'),
    check(at('wrong.ts')),
  ]);
  expect(whole.stdout).toMatch(
    /^No errors\.\nTraced: twice \(\S*model\.ts\)\.\nNot traced, for they do not say what they take: linear \(\S*model\.ts\)\. FILE#name\(arguments\) traces what a function returns\.\n$/,
  );
  expect(one.stdout).toMatch(/^No errors\.\nTraced: linear\(4, 8\) \(\S*model\.ts\)\.\n$/);
  expect(JSON.parse(refused.stdout)).toMatchObject({ code: 'FV0503', line: 2, message: expect.stringContaining("no export 'linear(4'") });
  expect(refused.status).toBe(1);
  expect(wrong.stdout).toMatch(/TS2322.*\nFound 1 error and 0 warnings\.\nNothing was traced: a trace comes after types that fit\.\n$/);
});

test('a loop without end is ended, told at its export, and hides nothing of the others', { timeout: 120_000 }, async () => {
  const at = projectOf({
    'top.ts': 'for (let n = 0; ; n++) if (n < 0) break;\nexport const n = 1;\n',
    'body.ts': `import { fn, slice } from 'fovea';
export const a = fn(['4 N'], (x) => slice('0:9 n' as string, x));
export const f = fn(['N'], (x) => { for (;;) if (x.shape.length > 9) return x; });
export const g = fn(['N'], (x) => { if (x.shape.length < 9) globalThis.process.exit(3); return x; });
export const h = fn(['4 N'], (x) => slice('0:7 n' as string, x));
export const i = fn(['N'], (x) => x);
export const j = (n: number) => n;
`,
    'good.ts': "import { fn } from 'fovea';\nexport const k = fn(['N'], (x) => x);\n",
  });
  const [top, body] = await Promise.all([
    check(at('top.ts'), at('good.ts'), '--timeout', '2'),
    check(at('body.ts'), at('good.ts'), '--timeout', '2'),
  ]);
  expect(top.stdout).toMatch(
    /top\.ts\(1,1\): error FV0402: loading it took more than 2 s, and was ended: a loop that has no end\? --timeout SECONDS gives it more\nFound 1 error/,
  );
  expect(top.stdout).toMatch(/\nTraced: k \(\S*good\.ts\)\.\n/);
  expect(body.stdout).toMatch(/body\.ts\(3,1\): error FV0402: tracing f took more than 2 s/);
  expect(body.stdout).toMatch(
    /body\.ts\(4,1\): error FV0402: the process that loads and traces the files ended with status 3, tracing g\n/,
  );
  for (const line of [2, 5]) expect(body.stdout).toMatch(new RegExp(`body\\.ts\\(${line},\\d+\\): error FV0001: `));
  expect(body.stdout).toMatch(/\nFound 4 errors .*\nTraced: i \(\S*body\.ts\); k \(\S*good\.ts\)\.\nNot traced, .*: j \(\S*body\.ts\)\./);
  expect([top.status, body.status]).toEqual([1, 1]);
});

test('expressions deeper than the stack are told at their file, and keep no program from running', { timeout: 120_000 }, async () => {
  const at = projectOf({
    'chain.ts': `import { fn } from 'fovea';\nexport const one = 1;\nexport const f = fn(['N'], (x) => x${'.add(1)'.repeat(1000)});\n`,
    'list.ts': `export const n: unknown = ${'['.repeat(3000)}${']'.repeat(3000)};\n`,
  });
  const [chain, list, explained] = await Promise.all([
    check(at('chain.ts')),
    check(at('list.ts')),
    fovea(['explain', `${at('chain.ts')}#f`], { fromSources: true }),
  ]);
  expect(chain.stdout).toMatch(/chain\.ts\(3,1\): error FV0402: expressions are nested too deep \(2\d{3} levels\) .*out of stack/);
  expect(list.stdout).toMatch(/list\.ts\(1,1\): error FV0402: expressions are nested too deep for/);
  expect([chain.stderr, list.stderr, chain.status, list.status]).toEqual(['', '', 1, 1]);
  expect(explained.stderr).toMatch(/chain\.ts\(3,1\): warning FV0402: .*were not checked/);
  expect([explained.status, explained.stdout]).toEqual([0, expect.stringContaining('launches')]);
});

test('--watch goes on after a file that does not parse', { timeout: 120_000 }, async () => {
  const at = projectOf({ 'model.ts': model });
  let told = 0;
  const { stdout } = await fovea(['check', at('model.ts'), '--watch'], {
    fromSources: true,
    watch: (text, kill) => {
      const now = (text.match(/^(?:Traced|Nothing was traced)/gm) ?? []).length;
      if (now <= told) return;
      told = now;
      const texts = [`${model}export const wrong: string = 1;\n`, 'export const f = ;\n', model];
      const next = texts[told - 1];
      if (next === undefined) kill('SIGTERM');
      else setTimeout(() => put(at('model.ts'), next), 1000);
    },
  });
  expect(stdout.match(/^(?:No errors|Found .*)\.$/gm)).toEqual([
    'No errors.',
    'Found 1 error and 0 warnings.',
    'Found 1 error and 0 warnings.',
    'No errors.',
  ]);
});

test('--watch: an edit ends the trace of what it mends', { timeout: 120_000 }, async () => {
  const at = projectOf({
    'part.ts': `import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
writeFileSync(join(import.meta.dirname, 'began.txt'), '');
for (let n = 0; ; n++) if (n < 0) break;
export const size = 1;
`,
    'model.ts': "import { fn } from 'fovea';\nimport { size } from './part.ts';\nexport const f = fn(['N'], (x) => x.mul(size));\n",
  });
  const edit = setInterval(() => {
    if (!existsSync(at('began.txt'))) return;
    clearInterval(edit);
    put(at('part.ts'), 'export const size = 2;\n');
  }, 50);
  onTestFinished(() => clearInterval(edit));
  const { stdout, stderr } = await fovea(['check', at('model.ts'), '--watch', '--timeout', '600'], {
    fromSources: true,
    watch: (text, kill) => {
      if (text.includes('Traced')) kill('SIGTERM');
    },
  });
  // of the one that was ended nothing is said
  expect(stdout).toMatch(/^No errors\.\nTraced: f \(\S*model\.ts\)\.\n$/);
  expect(stderr).not.toContain('FV0402');
});

test('--watch tells what looking throws, and looks again after the next change', async () => {
  const at = projectOf({ 'model.ts': model, 'sub/part.ts': 'export const part = 1;\n' });
  const told = vi.spyOn(console, 'error').mockImplementation(() => {});
  onTestFinished(() => told.mockRestore());
  const changes: string[] = [];
  let looked = 0;
  const more = () =>
    new Promise<void>((done) => {
      const before = looked;
      const timer = setInterval(() => {
        if (looked === before) return;
        clearInterval(timer);
        done();
      }, 5);
    });
  const w = await watching([at('model.ts')], {
    changed: (file) => changes.push(file),
    look: async () => {
      looked++;
      if (looked === 1) throw new FoveaError('FV0402', 'no luck');
      if (looked === 2) throw new Error('a fault of ours');
      return [at('sub/part.ts')];
    },
  });
  onTestFinished(w.close);
  expect(told.mock.calls.map(([x]) => `${x}`)).toEqual([expect.stringContaining('FV0402: no luck')]);
  for (const name of ['model.ts', 'model.ts', 'sub/part.ts']) {
    const next = more();
    put(at(name), `${model}// ${looked}\n`);
    await next;
  }
  expect(told.mock.calls.map(([x]) => `${x}`)[1]).toContain('a fault of ours');
  // the folder of a file that only a look named is watched from then on
  expect(changes.at(-1)).toBe(at('sub/part.ts'));
  expect(told).toHaveBeenCalledTimes(2);
});
