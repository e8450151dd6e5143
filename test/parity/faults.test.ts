/** Damaged and foreign folders: what is wrong fails, says why, and leaves the other cases alone. */
import { execFileSync } from 'node:child_process';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { reference } from '../../backends/reference/index.ts';
import { type HostTensor, host } from '../../index.ts';
import { openCatalogue } from '../../models/parity/catalogue.ts';
import { type Outcome, type ParityOptions, parity } from '../../models/parity/run.ts';
import { readStored, type TensorData, writeSafetensors } from '../../models/weights/index.ts';
import { copied, type Raw } from './folder.ts';

const outcomes = async (folder: string, more: Partial<ParityOptions> = {}): Promise<readonly Outcome[]> => {
  const out: Outcome[] = [];
  for await (const o of parity(openCatalogue(folder).entries, { backend: reference, ...more })) out.push(o);
  return out;
};
const only = async (folder: string): Promise<Outcome> => (await outcomes(folder))[0] as Outcome;

/** Rewrites the recorded tensors of a case. */
const rewrite = (folder: string, c: Raw, change: (tensors: Map<string, TensorData>) => void): void => {
  const file = join(folder, c.file);
  const kinds = { F32: Float32Array, I32: Int32Array } as const;
  const tensors = new Map<string, TensorData>(
    [...readStored(file).tensors].map(([name, t]): [string, HostTensor] => [
      name,
      host(new kinds[t.type as 'F32' | 'I32'](t.bytes.buffer as ArrayBuffer), t.shape),
    ]),
  );
  change(tensors);
  writeSafetensors(file, tensors);
};
const first = (cases: readonly Raw[]): Raw => cases[0] as Raw;

test('one element off by twice its tolerance fails, and the output is named', async () => {
  const name = 'q_temp0.07_it3';
  const folder = copied(['loss_sinkhorn'], ({ cases }, dir) =>
    rewrite(dir, first(cases), (tensors) => {
      const data = tensors.get(name)?.data as Float32Array;
      data[17] = (data[17] as number) + 2 * (first(cases).outputs.find((o) => o.name === name)?.tol_abs as number);
    }),
  );
  const o = await only(folder);
  expect(o.status).toBe('fail');
  expect(o.verdicts.filter((v) => !v.pass).map((v) => v.name)).toEqual([name]);
  expect(o.worst).toMatchObject({ name, pass: false });
  expect(o.worst?.why).toMatch(/element 17/);
});

test('a wrong neighbour of k-NN fails although it is a single integer', async () => {
  const folder = copied(['knn'], ({ cases }, dir) =>
    rewrite(dir, first(cases), (tensors) => {
      const data = tensors.get('topk_labels')?.data as Int32Array;
      data[3] = ((data[3] as number) + 1) % 7;
    }),
  );
  expect((await only(folder)).worst).toMatchObject({ name: 'topk_labels', pass: false });
});

test('a changed setting of the configuration changes the numbers', async () => {
  const change = (id: string, set: (config: Record<string, unknown>) => void): Promise<Outcome> =>
    only(copied([id], ({ cases }) => set(first(cases).config)));
  const fails = async (o: Promise<Outcome>): Promise<void> => expect((await o).status).toBe('fail');
  await fails(change('loss_dino', (k) => Object.assign(k, { student_temp: 0.11 })));
  await fails(change('loss_dino_centering', (k) => Object.assign(k, { center_momentum: 0.8 })));
  await fails(change('loss_ibot', (k) => Object.assign(k, { teacher_temp: 0.08 })));
  await fails(change('head_2layer', (k) => Object.assign(k, { nlayers: 3 })));
  await fails(change('knn', (k) => Object.assign(k, { temperature: 0.08 })));
  await fails(change('linear_input', (k) => Object.assign(k, { pad_multiple: 16 })));
  await fails(change('pca', (k) => Object.assign(k, { noise: 0.2 })));
  await fails(change('preprocess_small', (k) => Object.assign(k, { transforms: [[32, 28]] })));
});

describe('the file of a case must hold what the index lists', () => {
  const cases: readonly (readonly [string, (t: Map<string, TensorData>) => void, RegExp])[] = [
    ['a missing tensor', (t) => t.delete('nn0'), /FV0413: case loss_koleo: loss_koleo\.safetensors lacks nn0/],
    [
      'another type',
      (t) => t.set('nn0', host(new Float32Array(6), [6])),
      /nn0 is F32 \[6\] in loss_koleo\.safetensors, I32 \[6\] in the index/,
    ],
    ['another shape', (t) => t.set('nn0', host(new Int32Array(6), [2, 3])), /nn0 is I32 \[2 3\]/],
    ['a tensor too many', (t) => t.set('more', host(new Int32Array(6), [6])), /holds more, which the index does not list/],
  ];
  test.each(cases)('%s', async (_, change, why) => {
    const o = await only(copied(['loss_koleo'], (index, dir) => rewrite(dir, first(index.cases), change)));
    expect(o).toMatchObject({ status: 'fail', verdicts: [] });
    expect(o.reason).toMatch(why);
  });
  test('no file at all', async () => {
    const o = await only(copied(['loss_koleo'], (index, dir) => rmSync(join(dir, first(index.cases).file))));
    expect(o.reason).toMatch(/^FV0402: /);
  });
});

describe('a malformed case fails alone and names the field', () => {
  const cases: readonly (readonly [string, (c: Raw) => void, RegExp])[] = [
    ['an output without a shape', (c) => Reflect.deleteProperty(c.outputs[1] as object, 'shape'), /case knn: outputs\[1\]\.shape: /],
    ['an unknown type', (c) => Object.assign(c.outputs[0] as object, { dtype: 'I64' }), /outputs\[0\]\.dtype: /],
    ['neither exact nor a tolerance', (c) => Reflect.deleteProperty(c.outputs[0] as object, 'tol_abs'), /neither exact nor a tolerance/],
    ['an input of an unknown kind', (c) => Object.assign(c.inputs[1] as object, { kind: 'complex' }), /inputs\[1\]\.kind: /],
    [
      'an unknown rule',
      (c) => Object.assign(c.inputs[1] as object, { rule: 'ceil(u*7)' }),
      /train_labels: no rule of kind int: 'ceil\(u\*7\)'/,
    ],
    ['a missing setting', (c) => Reflect.deleteProperty(c.config, 'classes'), /case knn: config: classes: /],
    ['a file outside the folder', (c) => Object.assign(c, { file: '../knn.safetensors' }), /file: expected the name of a safetensors file/],
    ['an input less', (c) => c.inputs.shift(), /it has no input centers/],
    [
      'a name that writes on the terminal',
      (c) => Object.assign(c.outputs[0] as object, { name: 'x\u001b[2J' }),
      /outputs\[0\]\.name: it holds control/,
    ],
    ['no outputs', (c) => Object.assign(c, { outputs: [] }), /outputs: /],
    ['a group that nobody runs', (c) => Object.assign(c, { group: 'segmentation' }), /no runner for group segmentation/],
    ['a group that every object has', (c) => Object.assign(c, { group: 'toString' }), /no runner for group toString/],
  ];
  test.each(cases)('%s', async (_, change, why) => {
    const all = await outcomes(copied(['knn', 'schedules'], ({ cases }) => change(cases.find((c) => c.id === 'knn') as Raw)));
    expect(all.map((o) => [o.id, o.status])).toEqual(
      expect.arrayContaining([
        ['knn', 'fail'],
        ['schedules', 'pass'],
      ]),
    );
    expect(all.find((o) => o.id === 'knn')?.reason).toMatch(why);
  });
  test('an output that no runner produces', async () => {
    const o = await only(
      copied(['loss_sinkhorn'], ({ cases }, dir) => {
        rewrite(dir, first(cases), (t) => t.set('entropy', host(new Float32Array(1), [1])));
        first(cases).outputs.push({ name: 'entropy', shape: [1], dtype: 'F32', tol_abs: 1e9 });
      }),
    );
    expect(o.status).toBe('fail');
  });
});

describe('numbers that nobody can have meant are found before anything of that size is made', () => {
  const huge = 1e9;
  const at = (c: Raw, ...keys: readonly string[]): Record<string, unknown> =>
    keys.reduce<unknown>((x, k) => (x as Record<string, unknown>)[k], c.config) as Record<string, unknown>;
  const cases: readonly (readonly [string, (c: Raw) => void, RegExp])[] = [
    ['vit_chunks1', (c) => Object.assign(c.config, { depth: huge }), /FV0415: .*depth is 1000000000: /],
    ['vit_chunks1', (c) => Object.assign(c.config, { img_size: 8 }), /FV0415: .*img_size 8 is less than patch_size 14/],
    [
      'vit_chunks1',
      (c) => Object.assign(c.inputs[0] as object, { shape: [1, 3, huge, huge] }),
      /inputs\[0\]\.shape: more than \d+ numbers/,
    ],
    ['vit_gil', (c) => Object.assign(c.takes?.[0] as object, { n: 1e6 }), /FV0408: .*the last 1000000 blocks/],
    [
      'ssl_chunks_reg_clip',
      (c) => Object.assign(at(c, 'train'), { batch_size_per_gpu: huge }),
      /FV0415: .*batch_size_per_gpu is 1000000000/,
    ],
    ['ssl_chunks_reg_clip', (c) => Object.assign(at(c, 'dino'), { head_nlayers: huge }), /FV0415: .*head_nlayers is 1000000000/],
    ['head_2layer', (c) => Object.assign(c.config, { nlayers: huge }), /FV0413: .*nlayers: /],
    ['head_2layer', (c) => Object.assign(c.config, { use_bn: true }), /FV0413: .*use_bn: /],
    ['schedules', (c) => Object.assign(Object.values(at(c, 'settings'))[0] as object, { total_iters: huge }), /FV0413: .*total_iters: /],
    [
      'schedules',
      (c) => Object.assign(Object.values(at(c, 'configs'))[0] as object, { iterations: `all + ${huge} beyond the end` }),
      /FV0413: .*iterations: 'all \+ 1000000000 beyond the end'/,
    ],
    ['pca', (c) => Object.assign(c.config, { n: 1e6, dim: 1e6 }), /FV0413: .*its inputs are no matrices of 1000000 x 1000000/],
    [
      'masking',
      (c) => Object.assign(Object.values(at(c, 'generators'))[0] as object, { input_size: [4096, 4096] }),
      /FV0413: .* masks of 16777216/,
    ],
    ['preprocess_small', (c) => Object.assign(c.config, { transforms: [[32, 33]] }), /FV0413: .* a centre of 33/],
  ];
  test.each(cases)('%s %#', async (id, change, why) => {
    const o = await only(copied([id], (index) => change(first(index.cases))));
    expect(o).toMatchObject({ status: 'fail', verdicts: [], reason: expect.stringMatching(why) });
  });
});

test('a folder that is none, or was made with another formula, is refused as a whole', () => {
  const open = (folder: string) => () => openCatalogue(folder);
  const code = (c: string) => expect.objectContaining({ code: c });
  expect(open('no/such/folder')).toThrow(code('FV0402'));
  // a pipe that nobody writes to, as anything else that is no file
  const piped = copied(['knn']);
  rmSync(join(piped, 'index.json'));
  execFileSync('mkfifo', [join(piped, 'index.json')]);
  expect(open(piped)).toThrow(code('FV0402'));
  expect(open(copied(['knn'], (index) => Reflect.deleteProperty(index, 'cases')))).toThrow(code('FV0413'));
  expect(open(copied(['knn'], (index) => index.cases.push(first(index.cases))))).toThrow(/two cases are called knn/);
  expect(open(copied(['knn'], (index) => Object.assign(index.formula.vectors[2] as object, { fnv1a32: 1 })))).toThrow(code('FV0414'));
});

test('an error inside a runner is a failure with its message, and real sizes are for compiled backends', async () => {
  const folder = copied(['knn', 'pca', 'schedules'], ({ cases }) => {
    Object.assign(cases.find((c) => c.id === 'pca') as Raw, { group: 'real_size' });
  });
  const table = {
    knn: () => {
      throw new TypeError('no such thing');
    },
    real_size: () => new Map(),
    schedule: () => new Map(),
  };
  const all = new Map((await outcomes(folder, { table })).map((o) => [o.id, o]));
  expect(all.get('knn')).toMatchObject({ status: 'fail', reason: 'internal error: no such thing' });
  expect(all.get('pca')).toMatchObject({ status: 'skipped', reason: expect.stringMatching(/--backend cpu/) });
  expect(all.get('schedules')?.verdicts.every((v) => v.why === 'no runner produces it')).toBe(true);
  expect(all.get('schedules')?.status).toBe('fail');
});
