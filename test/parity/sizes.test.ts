/**
 * Cases of other sizes than the recorded ones: runners follow the configuration. Nothing is recorded for them, so what is checked is that every
 * output is produced, has the shape that the configuration implies, and holds numbers.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { reference } from '../../backends/reference/index.ts';
import { host } from '../../index.ts';
import { openCatalogue } from '../../models/parity/catalogue.ts';
import { parity } from '../../models/parity/run.ts';
import { writeSafetensors } from '../../models/weights/index.ts';
import { goldens } from './folder.ts';

interface Sketch {
  readonly group: string;
  readonly config: object;
  readonly params?: Readonly<Record<string, readonly number[]>>;
  readonly inputs?: Readonly<
    Record<string, readonly number[] | { readonly shape: readonly number[]; readonly kind: string; readonly rule: string }>
  >;
  readonly outputs: Readonly<Record<string, readonly number[]>>;
  readonly models?: object;
}

const { formula } = JSON.parse(readFileSync(join(goldens, 'index.json'), 'utf8')) as { formula: unknown };

/** What is wrong with a case whose recorded outputs are zeros and whose tolerance is boundless. */
const faults = async ({ group, config, params = {}, inputs = {}, outputs, models }: Sketch): Promise<unknown> => {
  const folder = mkdtempSync(join(tmpdir(), 'fovea-sizes-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const count = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);
  writeSafetensors(
    join(folder, 'x.safetensors'),
    new Map(Object.entries(outputs).map(([name, shape]) => [name, host(new Float32Array(count(shape)), shape)])),
  );
  const filled = (f: NonNullable<Sketch['inputs']>): object[] =>
    Object.entries(f).map(([name, x]) => ({
      name,
      formula_name: `sizes/${name}`,
      ...('kind' in x ? x : { shape: x, offset: name === 'last_layer.weight_g' ? 1 : 0, scale: 0.5 }),
    }));
  const c = {
    id: 'x',
    group,
    file: 'x.safetensors',
    config,
    formula_prefix: 'sizes/',
    params: filled(params),
    inputs: filled(inputs),
    models,
    outputs: Object.entries(outputs).map(([name, shape]) => ({ name, shape, dtype: 'F32', tol_abs: Number.MAX_VALUE })),
  };
  writeFileSync(join(folder, 'index.json'), JSON.stringify({ formula, cases: [c] }));
  for await (const o of parity(openCatalogue(folder).entries, { backend: reference }))
    return o.reason ?? o.verdicts.filter((v) => !v.pass).map((v) => `${v.name}: ${v.why}`);
};

const series = <T>(n: number, f: (i: number) => readonly [string, T]): Record<string, T> =>
  Object.fromEntries(Array.from({ length: n }, (_, i) => f(i)));

test.each([1, 2, 5])('projection head of %i layers without biases', async (layers) => {
  const widths = [6, ...new Array<number>(layers - 1).fill(11), 4];
  const weights = series(layers, (i) => [layers === 1 ? 'mlp.weight' : `mlp.${2 * i}.weight`, [widths[i + 1]!, widths[i]!]]);
  const params = { ...weights, 'last_layer.weight_g': [9, 1], 'last_layer.weight_v': [9, 4] };
  const config = { in_dim: 6, out_dim: 9, nlayers: layers, hidden_dim: 11, bottleneck_dim: 4, mlp_bias: false };
  const grads = Object.fromEntries(Object.entries(params).map(([name, shape]) => [`grad/${name}`, shape]));
  const outputs = { mlp_out: [3, 4], out: [3, 9], loss: [1], 'grad_input/x': [3, 6], ...grads };
  expect(await faults({ group: 'dino_head', config, params, inputs: { x: [3, 6], 'cot/out': [3, 9] }, outputs })).toEqual([]);
});

test.each([
  [1, 1],
  [7, 3],
])('%i student crops against %i teacher crops', async (students, teachers) => {
  const inputs = {
    ...series(students, (i) => [`student${i}`, [3, 8]]),
    ...series(teachers, (i) => [`teacher_logits${i}`, [3, 8]]),
    student_global: [3 * teachers, 8],
  };
  const outputs = {
    loss: [1],
    ...series(students, (i) => [`grad/student${i}`, [3, 8]]),
    loss_global: [1],
    'grad/student_global': [3 * teachers, 8],
  };
  expect(await faults({ group: 'loss', config: { student_temp: 0.1, teacher_temp: 0.05 }, inputs, outputs })).toEqual([]);
});

test.each([
  [[4], false],
  [[5, 5, 5, 5, 5], false],
  [[2, 9, 1], true],
] as const)('centering over batches of %j rows, patches %s', async (rows, patches) => {
  const config = { K: 6, center_momentum: 0.5, teacher_temps: rows.map((_, t) => 0.04 + 0.01 * t), ...(patches ? { rows } : {}) };
  const center = patches ? [1, 1, 6] : [1, 6];
  const outputs = {
    ...series(rows.length, (t) => [`probs${t}`, [rows[t]!, 6]]),
    ...series(rows.length, (t) => [`center_used${t}`, center]),
    center_final: center,
  };
  const inputs = series(rows.length, (t) => [`teacher${t}`, [rows[t]!, 6]]);
  expect(await faults({ group: 'loss', config, inputs, outputs })).toEqual([]);
});

test('Sinkhorn with other temperatures and rounds, KoLeo of other matrices, with and without a pair', async () => {
  const targets = { 'q_temp1.0_it2': [3, 5], 'q_temp0.055_it10': [3, 5], 'q_temp5e-02_it1': [3, 5] };
  expect(await faults({ group: 'loss', config: {}, inputs: { teacher: [3, 5] }, outputs: targets })).toEqual([]);
  const shapes = [
    [2, 3],
    [9, 4],
    [5, 30],
  ];
  const inputs = series(3, (i) => [`x${i}`, shapes[i]!]);
  const outputs = {
    ...series(3, (i) => [`loss${i}`, [1]]),
    ...series(3, (i) => [`nn${i}`, [shapes[i]![0]!]]),
    ...series(3, (i) => [`grad/x${i}`, shapes[i]!]),
  };
  expect(await faults({ group: 'loss', config: { shapes }, inputs, outputs })).toEqual([]);
  const more = { loss_dup: [1], loss_two_chunks: [1], 'grad/pair': [6, 4] };
  const both = { ...inputs, dup: [4, 5], pair: [6, 4] };
  expect(await faults({ group: 'loss', config: { shapes }, inputs: both, outputs: { ...outputs, ...more } })).toEqual([]);
});

test('masked patches of other crops, without a row of padding', async () => {
  const counts = [0, 9, 2];
  const rule = `row j: the counts[j] positions with the smallest u; counts = [${counts.join(', ')}]`;
  const config = { K: 5, n_crops: 3, N: 9, counts, n_masked: 11, padded_rows: 11, student_temp: 0.2, teacher_temp: 0.1 };
  const inputs = {
    masks: { shape: [3, 9], kind: 'bool', rule },
    teacher_masked: [11, 5],
    student_masked: [11, 5],
    student_full: [3, 9, 5],
    teacher_full_logits: [3, 9, 5],
  };
  const outputs = {
    masks: [3, 9],
    mask_indices: [11],
    masks_weight: [11],
    teacher_q: [11, 5],
    loss_padded: [1],
    'grad/student_padded': [11, 5],
    loss_default_weights: [1],
    'grad/student_default_weights': [11, 5],
    loss_plain_forward: [1],
    'grad/student_full': [3, 9, 5],
  };
  expect(await faults({ group: 'loss', config, inputs, outputs })).toEqual([]);
});

test('position tables of other models on other grids', async () => {
  const models = {
    'wide.one': { img_size: 48, patch_size: 16, interpolate_antialias: true, interpolate_offset: 0 },
    single: { img_size: 8, patch_size: 8, interpolate_antialias: false, interpolate_offset: 0.1 },
  };
  const params = { 'wide.one/pos_embed': [1, 10, 7], 'single/pos_embed': [1, 2, 3] };
  const outputs = { 'wide.one.48x48': [1, 10, 7], 'wide.one.16x80': [1, 6, 7], 'single.24x16': [1, 7, 3] };
  expect(await faults({ group: 'pos_embed', config: {}, params, models, outputs })).toEqual([]);
});

test('masks: other grids and batches, also none masked', async () => {
  const config = {
    generators: { g: { input_size: [3, 20], max_num_patches: 9, calls: [1, 60] } },
    collates: { none: { global_size: 56, patch_size: 14, batch: 2, n_local: 1, mask_ratio_min_max: [0.1, 0.5], mask_probability: 0 } },
  };
  const outputs = {
    'g.masks': [2, 3, 20],
    'g.draws_so_far': [2],
    'none.masks': [4, 16],
    'none.mask_indices': [0],
    'none.masks_weight': [0],
    'none.upperbound_nmasked_draws': [3],
    'none.global_order': [4],
    'none.local_order': [2],
  };
  expect(await faults({ group: 'masking', config, outputs })).toEqual([]);
});

test('pictures of other sizes, neighbours of other k, components of another matrix', async () => {
  const picture = { shape: [20, 31, 3], kind: 'u8', rule: 'floor(u*256)' };
  const config = { images: { p: [20, 31] }, transforms: [[10, 9]] };
  const resized = { 'p.r10c9.pil_resized_u8': [10, 15, 3], 'p.r10c9.tensor_u8_resized': [3, 10, 15] };
  const views = { 'p.r10c9.pil_output': [3, 9, 9], 'p.r10c9.tensor_f32_output': [3, 9, 9] };
  expect(await faults({ group: 'preprocess', config, inputs: { p: picture }, outputs: { ...resized, ...views } })).toEqual([]);

  const labels = (n: number) => ({ shape: [n], kind: 'int', rule: 'floor(u*3)' });
  const bank = { centers: [3, 5], train_labels: labels(6), query_labels: labels(2), train_noise: [6, 5], query_noise: [2, 5] };
  const votes = Object.fromEntries(
    [1, 6].flatMap((k) => [
      [`probas_k${k}`, [2, 3]],
      [`top1_k${k}`, [2]],
      [`acc_top1_top5_k${k}`, [2]],
    ]),
  );
  const nearest = { topk_sims: [2, 6], topk_labels: [2, 6] };
  const settings = { dim: 5, classes: 3, nb_knn: [1, 6], temperature: 0.5 };
  expect(await faults({ group: 'knn', config: settings, inputs: bank, outputs: { ...nearest, ...votes } })).toEqual([]);

  const matrix = { n: 5, dim: 8, rank: 2, weights: [1, 0.5], noise: 0.1 };
  const pca = { mean: [8], components: [2, 8], projections: [5, 2], singular_values: [4], explained_variance_ratio: [2] };
  expect(await faults({ group: 'pca', config: matrix, inputs: { a: [5, 2], b: [2, 8], e: [5, 8] }, outputs: pca })).toEqual([]);
});

test('a linear probe of other blocks, only with the mean of the patches', async () => {
  const blocks = { ...series(3, (i) => [`patch${i}`, [2, 4, 5]]), ...series(3, (i) => [`cls${i}`, [2, 5]]) };
  const params = { 'clf_n3_avg1/linear.weight': [6, 20], 'clf_n3_avg1/linear.bias': [6] };
  const outputs = { feat_n3_avg1: [2, 20], logits_n3_avg1: [2, 6] };
  const config = { dim: 5, classes: 6, use_n_blocks: [3] };
  expect(await faults({ group: 'linear_eval', config, params, inputs: blocks, outputs })).toEqual([]);
});
