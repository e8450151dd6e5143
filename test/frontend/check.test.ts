/** `fovea check`: what it finds in a model with every mistake it knows, that DINOv2 has none, and the forms in which it says so. */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { checker } from '../../compiler/frontend/check.ts';
import { type Finding, inOrder, printFindings } from '../../compiler/frontend/findings.ts';
import { fovea } from '../cli/command.ts';
import { edit, projectOf } from './project.ts';

// a file of the project for as long as it is checked: its imports and the options of tsc are the project's
const folder = join(import.meta.dirname, 'fixtures/checked');
const file = join(folder, 'impure.ts');
beforeAll(() => {
  mkdirSync(folder, { recursive: true });
  writeFileSync(file, readFileSync(join(folder, '../impure.ts.txt'), 'utf8').replace("'../../../dsl", "'../../../../dsl"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const lines = (): readonly string[] => readFileSync(file, 'utf8').split('\n');
const underlined = (f: Finding): string =>
  (lines()[f.line - 1] as string).slice(f.col - 1, f.line === f.endLine ? f.endCol - 1 : undefined);

test('every mistake is found once, underlined, and what is no mistake is not', { timeout: 60_000 }, () => {
  const c = checker([file]);
  const found = inOrder(c.round().findings());
  expect(found.map((f) => [f.code, underlined(f)])).toEqual([
    ['FV0901', 'history.push(x)'],
    ['FV0902', 'Math.random'],
    ['FV0901', 'count++'],
    ['FV0905', 'x.mul(2)'],
    ['FV0903', 'x.gt(0)'],
    ['FV0903', '(y + 1) as never'.slice(1, 6)],
    ['FV0906', 'bias'],
    ['FV0006', 'lp'],
    ['FV0904', 'async (x, y) => {'],
    ['FV0904', 'await 1'],
    ['FV0001', 'y'],
    ['FV0907', 'one'],
    ['FV0902', 'Date.now'],
    ['FV0001', 'x'],
  ]);
  const said = (code: string): string => found.find((f) => f.code === code)?.message ?? '';
  expect(said('FV0006')).toBe(
    `the trees differ in 6 places\n${['a.weight: [8 4] is missing', 'a.bias: [8] is missing', 'b.weight: [8 4] is missing', 'b.bias: [8] is missing', 'weight: [8 4] is not expected', 'bias: [8] is not expected'].map((l) => `    ${l}`).join('\n')}`,
  );
  expect(said('FV0001')).toBe('add: cannot broadcast [B 4] with [B 5]: 4 vs 5');
  expect(found[0]?.related[0]?.message).toBe("'history' is declared here");

  // an edit is seen by the same checker
  writeFileSync(
    file,
    lines()
      .filter((l) => !/count|history/.test(l))
      .join('\n'),
  );
  c.changed(file);
  const again = c
    .round()
    .findings()
    .map((f) => f.code);
  expect(again).not.toContain('FV0901');
  expect(again).toContain('FV0902');
});

test('an edit is looked at alone, with what depends on what it declares; impure helpers of other files stay known', {
  timeout: 60_000,
}, () => {
  const at = projectOf({
    'helper.ts': `const seen: string[] = [];\nexport const note = (s: string): number => seen.push(s);\nexport const two = (): number => 2;\n`,
    'model.ts': `import { fn } from 'fovea';\nimport { note, two } from './helper.ts';\nexport const f = fn(['N'], (x) => {\n  note('f');\n  return x.mul(two());\n});\n`,
    'main.ts': `import { f } from './model.ts';\nexport const g = f;\n`,
  });
  const c = checker([at('main.ts')]);
  const look = (): readonly [codes: readonly string[], anew: readonly string[]] => {
    const r = c.round();
    const found = r.findings();
    return [found.map((f) => `${relative(at('.'), f.file)}:${f.line} ${f.code}`), [...r.anew()].map((f) => relative(at('.'), f))];
  };
  const change = (name: string, how: (text: string) => string): void => {
    edit(at(name), how);
    c.changed(at(name));
  };
  expect(look()).toEqual([['helper.ts:2 FV0901'], ['helper.ts', 'model.ts', 'main.ts']]);
  c.learn();
  change('main.ts', (t) => `${t}// a word\n`);
  expect(look()).toEqual([['helper.ts:2 FV0901'], ['main.ts']]);
  // what it declares stays: nobody else is looked at, and the helper is still one that a traced body calls
  change('helper.ts', (t) => `// a word\n${t}`);
  expect(look()).toEqual([['helper.ts:3 FV0901'], ['helper.ts']]);
  change('helper.ts', (t) => t.replace('two = (): number => 2', "two = (): string => '2'"));
  expect(look()).toEqual([
    ['model.ts:5 FV0006', 'helper.ts:3 FV0901'],
    ['helper.ts', 'model.ts', 'main.ts'],
  ]);
  change('model.ts', (t) => t.replace("  note('f');\n", '').replace('x.mul(two())', 'x'));
  expect(look()).toEqual([[], ['model.ts', 'main.ts']]);
  // an import that leads nowhere, until its file is there
  change('main.ts', (t) => `${t}import { late } from './late.ts';\nexport const l = late;\n`);
  expect(look()[0]).toEqual(['main.ts:4 TS2307']);
  writeFileSync(at('late.ts'), 'export const late = 1;\n');
  c.changed(at('late.ts'));
  expect(look()).toEqual([[], ['late.ts', 'main.ts']]);
});

const finding: Finding = {
  file: '/p/a b.ts',
  line: 2,
  col: 3,
  endLine: 2,
  endCol: 6,
  code: 'FV0903',
  severity: 'error',
  message: 'two\nlines, 100 %',
  related: [{ file: '/p/c.ts', line: 1, col: 1, endLine: 1, endCol: 2, message: 'here' }],
};

test('the forms for machines', () => {
  const p = { show: (f: string) => f.slice(3), lines: () => ['', '  abc;'], pretty: false, version: '1' };
  expect(printFindings([finding], 'github', p)).toBe(
    '::error file=a b.ts,line=2,col=3,endLine=2,endColumn=6,title=FV0903::two%0Alines, 100 %25',
  );
  expect(printFindings([{ ...finding, file: '/p/a,b:100%.ts' }], 'github', p)).toMatch(/^::error file=a%2Cb%3A100%25\.ts,line=2,/);
  expect(JSON.parse(printFindings([finding], 'json', p))).toEqual({
    ...finding,
    file: 'a b.ts',
    related: [{ ...finding.related[0], file: 'c.ts' }],
  });
  const log = JSON.parse(printFindings([finding], 'sarif', p));
  expect(log).toMatchObject({ version: '2.1.0', runs: [{ tool: { driver: { rules: [{ id: 'FV0903' }] } } }] });
  expect(log.runs[0].results[0]).toMatchObject({
    ruleId: 'FV0903',
    level: 'error',
    locations: [
      { physicalLocation: { artifactLocation: { uri: 'a%20b.ts' }, region: { startLine: 2, startColumn: 3, endLine: 2, endColumn: 6 } } },
    ],
  });
  expect(printFindings([finding], 'text', { ...p, pretty: true })).toContain(
    '\n\u001b[7m2\u001b[0m   abc;\n\u001b[7m \u001b[0m \u001b[91m  ~~~\u001b[0m',
  );
});

test('the command: DINOv2 and its losses have no error; a file that does not parse, a cycle, and what only a trace sees are told at their places', {
  timeout: 240_000,
}, async () => {
  const check = (...args: string[]) => fovea(['check', ...args], { fromSources: true });
  const good = await check('models/dinov2.ts', 'models/losses.ts');
  expect({ ...good, stdout: good.stdout.replace(/: batchSpec, [^\n]*? FILE/, ': ... FILE') }).toEqual({
    status: 0,
    stdout:
      'No errors.\nTraced: trainStep (models/dinov2.ts); koleoLoss, maskWeights, nearestOther (models/losses.ts).\nNot traced, for they do not say what they take: ... FILE#name(arguments) traces what a function returns.\n',
    stderr: '',
  });

  const at = projectOf({
    'parse.ts': 'export const f = ;\n',
    'b.ts': "import { a } from './a.ts';\nexport const b = a + 1;\n",
    'a.ts': "import { b } from './b.ts';\nexport const a: number = b + 1;\n",
    'late.ts': `import { fn, slice } from 'fovea';\nconsole.log('loaded');\nexport const f = fn(['4 N'], (x) =>\n  slice('2:9 n' as string, x).mul(2));\n`,
    'ends.ts': `import { fn } from 'fovea';\nexport const f = fn(['N'], (x) => x);\nprocess.exit(3);\n`,
  });
  const parse = await check(at('parse.ts'));
  expect(parse.status).toBe(1);
  expect(parse.stdout).toMatch(/parse\.ts\(1,18\): error TS1109: Expression expected\.\nFound 1 error/);
  const cycle = await check(at('a.ts'), '--format', 'json');
  expect(JSON.parse(cycle.stdout)).toMatchObject({ code: 'FV0402', line: 2, message: expect.stringContaining("Cannot access 'a' before") });
  // what a module prints is none of the findings
  const traced = await check(at('late.ts'));
  expect(traced.stdout).toMatch(/^\S*late\.ts\(4,\d+\): error FV0001: .*\(tracing f\)\nFound 1 error/);
  expect(traced.stderr).toBe('loaded\n');
  const ended = await check(at('ends.ts'));
  expect(ended.stdout).toMatch(
    /ends\.ts\(1,1\): error FV0402: the process that loads and traces the files ended with status 3, loading it\n/,
  );
});

test('--watch: an edit is answered, and modules are loaded anew', { timeout: 120_000 }, async () => {
  const at = projectOf({
    'size.ts': 'export const size = 4;\n',
    'model.ts': `import { fn, slice } from 'fovea';\nimport { size } from './size.ts';\nexport const f = fn(['4 N'], (x) => slice(\`0:\${size} n\` as string, x).mul(2));\n`,
  });
  const answers = 3;
  let told = 0;
  const watched = await fovea(['check', at('model.ts'), '--watch'], {
    fromSources: true,
    watch: (stdout, kill) => {
      if ((stdout.match(/^Traced: .*\.\n/gm) ?? []).length <= told) return;
      told++;
      if (told === answers) kill('SIGTERM');
      // it begins to watch after it has answered
      else setTimeout(() => writeFileSync(at('size.ts'), `export const size = ${told === 1 ? 9 : 3};\n`), 1000);
    },
  });
  expect(watched.stdout).toMatch(
    /^No errors\.\nTraced: f \(\S*model\.ts\)\.\n\S*model\.ts\(3,\d+\): error FV0001: .*\(tracing f\)\nFound 1 error and 0 warnings\.\nTraced: no export\.\nNo errors\.\nTraced: f \(\S*model\.ts\)\.\n$/,
  );
});
