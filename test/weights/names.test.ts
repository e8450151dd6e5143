/** Names and layouts: DINOv2 and Hugging Face both ways, chunked and flat blocks, wrappers, the configuration. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import type { LazyTensor } from '../../dsl/index.ts';
import {
  castTo,
  chunkedBlocks,
  configOf,
  configText,
  flatBlocks,
  fromHuggingFace,
  isHuggingFace,
  joinRows,
  readConfig,
  splitRows,
  toHuggingFace,
  unwrapped,
  type Weights,
  withoutHeads,
} from '../../models/weights/index.ts';

const published = JSON.parse(readFileSync(join(import.meta.dirname, '../goldens/state_dicts.json'), 'utf8')) as Record<
  string,
  { readonly state_dict: readonly (readonly [string, readonly number[]])[] }
>;

/** A tensor whose numbers say where they come from. */
const tensor = (name: string, shape: readonly number[]): LazyTensor => {
  const seed = [...name].reduce((h, c) => (Math.imul(h, 31) + c.charCodeAt(0)) >>> 0, 7) % 100_003;
  const n = shape.reduce((a, b) => a * b, 1);
  return { shape, dtype: 'f32', load: () => Float32Array.from({ length: n }, (_, i) => seed + i / 4) };
};
/** A published model's names with smaller sizes: widths over 64, patches of 2 pixels, 3 x 3 of them. */
const model = (name: string): Weights =>
  new Map(
    (published[name]?.state_dict ?? []).map(([n, shape]) => {
      const small = n === 'pos_embed' ? [1, 10, (shape[2] as number) / 64] : shape.map((s) => (s === 14 ? 2 : s >= 384 ? s / 64 : s));
      return [n, tensor(n, small)] as const;
    }),
  );
const numbers = (w: Weights): unknown =>
  [...w].map(([name, t]) => [name, t.shape, t.dtype, Buffer.from(t.load().buffer).toString('base64')]);

test.each(['dinov2_vits14', 'dinov2_vits14_reg', 'dinov2_vitg14', 'dinov2_vitg14_reg'])(
  '%s goes to Hugging Face and comes back, bit for bit',
  (name) => {
    const own = model(name);
    const theirs = toHuggingFace(own);
    expect([isHuggingFace(own), isHuggingFace(theirs)]).toEqual([false, true]);
    expect(numbers(fromHuggingFace(theirs))).toEqual(numbers(own));
    // rows [0, D) are the queries
    const qkv = own.get('blocks.1.attn.qkv.weight') as LazyTensor;
    const part = theirs.get('encoder.layer.1.attention.attention.key.weight') as LazyTensor;
    const third = qkv.load().length / 3;
    expect(part.load()).toEqual(qkv.load().slice(third, 2 * third));
    expect(theirs.size).toBe(own.size + 4 * (name.includes('vitg') ? 40 : 12));
  },
);

// what Dinov2Model(...).state_dict() of transformers 5.24 is called; `gate`: with use_swiglu_ffn
const memory = (gate: boolean): readonly string[] => [
  ...['cls_token', 'mask_token', 'position_embeddings', 'patch_embeddings.projection.weight', 'patch_embeddings.projection.bias'].map(
    (n) => `embeddings.${n}`,
  ),
  ...['norm1', 'attention.q_proj', 'attention.k_proj', 'attention.v_proj', 'attention.o_proj', 'norm2']
    .concat(gate ? ['mlp.gate_proj', 'mlp.up_proj', 'mlp.down_proj'] : ['mlp.fc1', 'mlp.fc2'])
    .flatMap((n) => [`encoder.layer.0.${n}.weight`, `encoder.layer.0.${n}.bias`]),
  'encoder.layer.0.layer_scale1.lambda1',
  'encoder.layer.0.layer_scale2.lambda1',
  'layernorm.weight',
  'layernorm.bias',
];

test('names that the library of Hugging Face uses in memory are read', () => {
  for (const gate of [false, true]) {
    const theirs: Weights = new Map(memory(gate).map((n) => [n, tensor(n, [4, 3])]));
    const own = fromHuggingFace(theirs);
    const load = (n: string): ArrayLike<number> | undefined => theirs.get(`encoder.layer.0.${n}`)?.load();
    const rows = (...names: readonly string[]): Float32Array => Float32Array.from(names.flatMap((n) => [...(load(n) as Float32Array)]));
    expect(own.get('blocks.0.attn.qkv.bias')?.load()).toEqual(
      rows('attention.q_proj.bias', 'attention.k_proj.bias', 'attention.v_proj.bias'),
    );
    expect(own.get('blocks.0.attn.proj.weight')?.load()).toEqual(load('attention.o_proj.weight'));
    if (gate) {
      expect(own.get('blocks.0.mlp.w12.weight')?.load()).toEqual(rows('mlp.gate_proj.weight', 'mlp.up_proj.weight'));
      expect(own.get('blocks.0.mlp.w3.weight')?.load()).toEqual(load('mlp.down_proj.weight'));
    }
    const expected = [...model(gate ? 'dinov2_vitg14' : 'dinov2_vits14').keys()].filter((n) => !/^blocks\.[1-9]/.test(n));
    expect([...own.keys()].sort()).toEqual(expected.sort());
  }
});

test('classifiers: the prefix goes and comes, the classifier stays', () => {
  const classifier = [
    ['classifier.weight', tensor('c', [5, 12])],
    ['classifier.bias', tensor('d', [5])],
  ] as const;
  for (const [name, prefix] of [
    ['dinov2_vits14', 'dinov2'],
    ['dinov2_vits14_reg', 'dinov2_with_registers'],
  ] as const) {
    const own: Weights = new Map([...model(name), ...classifier]);
    const theirs = toHuggingFace(own);
    expect(theirs.has(`${prefix}.embeddings.cls_token`)).toBe(true);
    expect(theirs.has('classifier.bias')).toBe(true);
    expect(numbers(fromHuggingFace(theirs))).toEqual(numbers(own));
  }
});

test('what does not fit is named', () => {
  const own = new Map(model('dinov2_vits14'));
  own.set('dino_head.mlp.0.weight', tensor('h', [2, 2]));
  expect(() => toHuggingFace(own)).toThrow('names that have no counterpart in a DINOv2 of Hugging Face: dino_head.mlp.0.weight');
  const theirs = new Map(toHuggingFace(model('dinov2_vits14')));
  theirs.delete('encoder.layer.2.attention.attention.key.bias');
  expect(() => fromHuggingFace(theirs)).toThrow('parts of a tensor are missing: encoder.layer.2.attention.attention.key.bias');
  theirs.set('pooler.weight', tensor('p', [1]));
  expect(() => fromHuggingFace(theirs)).toThrow('not those of a DINOv2 of Hugging Face: pooler.weight');
  const doubled = new Map(toHuggingFace(model('dinov2_vits14')));
  doubled.set('encoder.layer.0.attention.q_proj.weight', tensor('q', [24, 24]));
  expect(() => fromHuggingFace(doubled)).toThrow('two tensors come to one name: blocks.0.attn.qkv.weight');
  expect(() => splitRows(tensor('t', [4, 2]), 3, 't')).toThrow('4 rows do not divide into 3: t');
  expect(() => joinRows([tensor('a', [1, 2]), tensor('b', [1, 3])], 'ab')).toThrow('do not fit together: ab');
});

const blocks = (depth: number): Weights =>
  new Map(Array.from({ length: depth }, (_, i) => [`blocks.${i}.norm1.weight`, tensor(String(i), [2])] as const));

test('chunked blocks, also where the depth does not divide', () => {
  expect([...chunkedBlocks(blocks(5), 2).keys()]).toEqual([0, 0, 1, 1, 2].map((c, i) => `blocks.${c}.${i}.norm1.weight`));
  for (let depth = 1; depth <= 13; depth++)
    for (let chunks = 1; chunks <= depth; chunks++) {
      const chunked = chunkedBlocks(blocks(depth), chunks);
      expect(numbers(flatBlocks(chunked))).toEqual(numbers(blocks(depth)));
      // from one number of chunks to another
      expect([...chunkedBlocks(chunked, 1).keys()]).toEqual([...chunkedBlocks(blocks(depth), 1).keys()]);
    }
  expect(() => chunkedBlocks(blocks(2), 3)).toThrow('3 chunks are more than the 2 blocks');
  const mixed: Weights = new Map([...blocks(1), ['blocks.0.1.norm1.weight', tensor('m', [2])]]);
  expect(() => flatBlocks(mixed)).toThrow('flat and chunked blocks in one file: blocks.0.norm1.weight');
});

test('wrappers of a training export', () => {
  const names = [
    'module.backbone.blocks.1.7.norm1.weight',
    'backbone.cls_token',
    'module.dino_head.last_layer.weight_g',
    'ibot_head.mlp.0.bias',
  ];
  const given: Weights = new Map(names.map((n) => [n, tensor(n, [1])]));
  expect([...unwrapped(given).keys()]).toEqual([
    'blocks.1.7.norm1.weight',
    'cls_token',
    'dino_head.last_layer.weight_g',
    'ibot_head.mlp.0.bias',
  ]);
  expect([...withoutHeads(given).keys()]).toEqual(names.slice(0, 2));
  expect([...flatBlocks(given).keys()][0]).toBe('module.backbone.blocks.7.norm1.weight');
  const twice: Weights = new Map(['module.a', 'backbone.a'].map((n) => [n, tensor(n, [1])]));
  expect(() => unwrapped(twice)).toThrow('two tensors come to one name: a');
});

test('the configuration follows from the tensors, is written and read', () => {
  const dir = mkdtempSync(join(tmpdir(), 'fovea-config-'));
  onTestFinished(() => rmSync(dir, { recursive: true }));
  const file = join(dir, 'config.json');
  const giant = configOf(model('dinov2_vitg14_reg'), { heads: 24 });
  expect(giant).toEqual({
    model_type: 'dinov2_with_registers',
    hidden_size: 24,
    num_hidden_layers: 40,
    num_attention_heads: 24,
    mlp_ratio: 4,
    use_swiglu_ffn: true,
    num_register_tokens: 4,
    image_size: 6,
    patch_size: 2,
    layerscale_value: 1,
    qkv_bias: true,
  });
  writeFileSync(file, configText(giant));
  expect(readConfig(file)).toEqual(giant);
  expect(readFileSync(file, 'utf8')).toContain('"layerscale_value": 1.0,');
  expect(configOf(model('dinov2_vits14'), { heads: 6 })).toMatchObject({
    model_type: 'dinov2',
    num_register_tokens: 0,
    use_swiglu_ffn: false,
  });
  const without = new Map(model('dinov2_vits14'));
  without.delete('blocks.3.ls1.gamma');
  expect(() => configOf(without, { heads: 6 })).toThrow('a DINOv2 of Hugging Face also has: blocks.3.ls1.gamma');
  expect(() => configOf(model('dinov2_vits14'))).toThrow('6 channels are not heads of 64');
  expect(() => configOf(model('dinov2_vits14'), { heads: 4 })).toThrow('6 channels in 4 heads');
  // a single name must not make a list of a billion
  expect(() => configOf(new Map([['blocks.999999999.norm1.weight', tensor('x', [1])]]))).toThrow('blocks are missing');
  writeFileSync(file, '{"model_type": "vit", "hidden_size": 3}');
  expect(() => readConfig(file)).toThrow(/no configuration of a DINOv2: model_type/);
  writeFileSync(file, '{"hidden_size": 1, "hidden_size": 2}');
  expect(() => readConfig(file)).toThrow(/"hidden_size" stands there twice/);
  expect(() => readConfig(join(dir, 'none.json'))).toThrow(/cannot read the configuration/);
  expect(() => readConfig(dir)).toThrow(/cannot read the configuration .*: not a file/);
});

test('a type for the floating tensors, the others stay', () => {
  const whole: LazyTensor = { shape: [1], dtype: 'i32', load: () => Int32Array.of(3) };
  expect(castTo(whole, 'bf16')).toBe(whole);
  const half = castTo(tensor('x', [2]), 'f16');
  expect(half.dtype).toBe('f16');
  expect(castTo({ shape: [2], dtype: 'f16', load: () => Uint16Array.of(0x3c00, 0x4000) }, 'bf16').load()).toEqual(
    Uint16Array.of(0x3f80, 0x4000),
  );
});
