/** `fovea check`: what it finds in a model with every mistake it knows, that DINOv2 has none, and the forms in which it says so. */
import { copyFileSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { checker } from '../../compiler/frontend/check.ts';
import { type Finding, inOrder, printFindings } from '../../compiler/frontend/findings.ts';
import { fovea, scratch } from '../cli/command.ts';

const root = join(import.meta.dirname, '../..');
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
  const found = inOrder(c.check().findings);
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
  const again = c.check().findings.map((f) => f.code);
  expect(again).not.toContain('FV0901');
  expect(again).toContain('FV0902');
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
  expect(good).toEqual({ status: 0, stdout: 'No errors.\n', stderr: '' });

  const dir = scratch();
  copyFileSync(join(root, 'tsconfig.json'), join(dir, 'tsconfig.json'));
  writeFileSync(join(dir, 'package.json'), '{ "type": "module" }');
  const put = (name: string, text: string): string => {
    writeFileSync(join(dir, name), text);
    return join(dir, name);
  };
  const dsl = JSON.stringify(relative(dir, join(root, 'dsl/index.ts')));
  const parse = await check(put('parse.ts', 'export const f = ;\n'));
  expect(parse.status).toBe(1);
  expect(parse.stdout).toMatch(/parse\.ts\(1,18\): error TS1109: Expression expected\.\nFound 1 error/);
  put('b.ts', "import { a } from './a.ts';\nexport const b = a + 1;\n");
  const cycle = await check(put('a.ts', "import { b } from './b.ts';\nexport const a: number = b + 1;\n"), '--format', 'json');
  expect(JSON.parse(cycle.stdout)).toMatchObject({ code: 'FV0402', line: 2, message: expect.stringContaining("Cannot access 'a' before") });
  const late = put(
    'late.ts',
    `import { fn, slice } from ${dsl};\nexport const f = fn(['4 N'], (x) =>\n  slice('2:9 n' as string, x).mul(2));\n`,
  );
  const traced = await check(late);
  expect(traced.stdout).toMatch(/late\.ts\(3,\d+\): error FV0001: .*\(tracing f\)\nFound 1 error/);
});
