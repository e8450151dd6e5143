/** The trace of `fovea check`: whatever a module throws is a finding at its place, and hides nothing of its other exports. */
import { writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { expect, test } from 'vitest';
import { reference } from '../../backends/reference/index.ts';
import { traceFile } from '../../cli/check/trace.ts';
import { userProgram } from '../../cli/program.ts';
import { compile, spec, type Tensor } from '../../index.ts';
import { scratch } from '../cli/command.ts';
import { projectOf } from './project.ts';

const dsl = join(import.meta.dirname, '../../dsl/index.ts');
const traced = async (text: string) => {
  const dir = scratch();
  const file = join(dir, 'model.ts');
  writeFileSync(join(dir, 'package.json'), '{ "type": "module" }');
  writeFileSync(file, text.replaceAll("'fovea'", JSON.stringify(relative(dir, dsl))));
  const { findings, traced } = await traceFile(file);
  return { traced, found: findings.map((f) => `${relative(dir, f.file)}:${f.line} ${f.code} ${f.message}`) };
};

test('texts, null and errors that a body throws, and a shape that is none', async () => {
  const { traced: names, found } = await traced(`import { fn } from 'fovea';
export const ok = fn(['N'], (x) => x);
export const text = fn(['N'], () => {
  throw 'no luck';
});
export const nothing = fn(['N'], () => {
  throw null;
});
export const error = fn(['N'], () => {
  throw new Error('why');
});
export const shape = fn(['N!'], (x) => x);
export default fn(['N?'], (x) => x);
export const last = fn(['N'], (x) => x);
`);
  expect([...names].sort()).toEqual(['last', 'ok']);
  expect([...found].sort()).toEqual([
    expect.stringMatching(/^model\.ts:10 FV0596 error throws Error: why\. .*\(tracing error\)$/),
    expect.stringMatching(/^model\.ts:12 FV0003 'N!' is not a size\. .*\(tracing shape\)$/),
    expect.stringMatching(/^model\.ts:13 FV0003 'N\?' is not a size\. .*\(tracing default\)$/),
    expect.stringMatching(/^model\.ts:3 FV0596 text throws 'no luck'\. .*\(tracing text\)$/),
    expect.stringMatching(/^model\.ts:6 FV0596 nothing throws null\. .*\(tracing nothing\)$/),
  ]);
});

test('a module that throws no error while it is loaded', async () => {
  for (const thrown of ['null', "'text'", 'undefined']) {
    const { found } = await traced(`throw ${thrown};\n`);
    expect(found).toEqual([expect.stringMatching(/^model\.ts:1 FV0402 cannot load .*: (?:null|text|undefined)\. /)]);
  }
});

test('a function that returns a model is traced for its examples', async () => {
  const { traced: names, found } = await traced(`import { fn, slice } from 'fovea';
export const cut = Object.assign((n: number) => fn(['4 N'], (x) => slice(\`0:\${n} n\` as string, x)), { examples: [[3], [9]] });
export const one = Object.assign(() => fn(['N'], (x) => x), { examples: [[]] });
export const none = Object.assign(() => 3, { examples: [[]] });
export const plain = () => fn(['N'], (x) => x);
`);
  expect([...names].sort()).toEqual(['cut, example 1', 'one']);
  expect([...found].sort()).toEqual([
    expect.stringMatching(/^model\.ts:2 FV0001 .*\(tracing cut, example 2\)$/),
    expect.stringMatching(/^model\.ts:4 FV0503 the function does not say what its arguments are.*\(tracing none\)$/),
  ]);
});

test('a result that is a promise, a generator, a Map or of a class is no empty tree, wherever a function is traced', async () => {
  const text = `import { spec, type Tensor } from 'fovea';
const args = { args: [spec('B')] };
class Pair { constructor(readonly x: unknown) {} }
export const later = Object.assign(async (x: Tensor<'B'>) => x.mul(2), args);
export const fails = Object.assign(async (x: Tensor<'B'>) => { throw new Error(x.shape); }, args);
export const steps = Object.assign(function* (x: Tensor<'B'>) { yield x; }, args);
export const map = Object.assign((x: Tensor<'B'>) => [new Map([['x', x]])], args);
export const pair = Object.assign((x: Tensor<'B'>) => ({ pair: new Pair(x) }), args);
export const bare = Object.assign((x: Tensor<'B'>) => Object.assign(Object.create(null), { x }), args);
`;
  const { traced: names, found } = await traced(text);
  expect(names).toEqual(['bare']);
  expect([...found].sort()).toEqual([
    expect.stringMatching(/^model\.ts:4 FV0904 result of the function is a promise.*\(tracing later\)$/),
    expect.stringMatching(/^model\.ts:5 FV0904 result of the function is a promise.*\(tracing fails\)$/),
    expect.stringMatching(/^model\.ts:6 FV0904 result of the function is a generator.*\(tracing steps\)$/),
    expect.stringMatching(/^model\.ts:7 FV0006 result 0 is of type Map, .*\(tracing map\)$/),
    expect.stringMatching(/^model\.ts:8 FV0006 result pair is of type Pair, .*\(tracing pair\)$/),
  ]);
  const at = projectOf({ 'model.ts': text });
  await expect(userProgram(`${at('model.ts')}#later`)).rejects.toMatchObject({ code: 'FV0904', loc: { line: 4 } });
  await expect(userProgram(`${at('model.ts')}#map`)).rejects.toMatchObject({ code: 'FV0006', loc: { line: 7 } });
  const twice = async (x: Tensor<'B'>) => x.mul(2);
  await expect(compile(twice as never, [spec('B')], { backend: reference, dims: { B: 2 } })).rejects.toMatchObject({ code: 'FV0904' });
});
