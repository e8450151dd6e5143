/**
 * The `config.json` beside a DINOv2 of Hugging Face: the facts that say which model the tensors belong to. They are read from a file, or
 * follow from the tensors' shapes, all but the number of heads (64 channels each in every published size) and the initial LayerScale.
 *
 *   configOf(weights)   // { hidden_size: 384, num_hidden_layers: 12, num_attention_heads: 6, ... }
 */
import { readFileSync, statSync } from 'node:fs';
import { z } from 'zod';
import { FoveaError } from '../../compiler/error.ts';
import { strictJson } from './json.ts';
import { depthOf } from './layouts.ts';
import { unfit, type Weights } from './rows.ts';

const count = z.int().positive();
const shared = {
  hidden_size: count,
  num_hidden_layers: count,
  num_attention_heads: count,
  mlp_ratio: z.number().positive().default(4),
  use_swiglu_ffn: z.boolean().default(false),
  image_size: count,
  patch_size: count,
  layerscale_value: z.number().default(1),
  qkv_bias: z.boolean().default(true),
} as const;
const schema = z.discriminatedUnion('model_type', [
  z.object({ model_type: z.literal('dinov2'), num_register_tokens: z.literal(0).default(0), ...shared }),
  z.object({ model_type: z.literal('dinov2_with_registers'), num_register_tokens: count.default(4), ...shared }),
]);

/** Sizes in channels, blocks and pixels; `mlp_ratio` as Hugging Face means it, before SwiGLU's own two thirds. */
export type HuggingFaceConfig = z.infer<typeof schema>;

/** FV0402: cannot be read. FV0405: malformed, or of another kind of model. */
export const readConfig = (file: string): HuggingFaceConfig => {
  let bytes: Buffer;
  try {
    // of a pipe or a device there is no end
    if (!statSync(file).isFile()) throw new Error('not a file');
    bytes = readFileSync(file);
  } catch (e) {
    throw new FoveaError('FV0402', `cannot read the configuration ${file}: ${(e as Error).message}`, { cause: e });
  }
  const hint = 'Give the config.json of a DINOv2 of Hugging Face.';
  let json: unknown;
  try {
    json = strictJson(bytes);
  } catch (e) {
    throw new FoveaError('FV0405', `${file} cannot be used: ${(e as Error).message}`, { hint });
  }
  const parsed = schema.safeParse(json);
  if (parsed.success) return parsed.data;
  const issues = parsed.error.issues.slice(0, 4).map((i) => `${i.path.join('.') || 'it'}: ${i.message}`);
  throw new FoveaError('FV0405', `${file} is no configuration of a DINOv2: ${issues.join('; ')}`, { hint });
};

/** Hidden units of a SwiGLU for a ratio: two thirds, rounded up to a multiple of 8. */
const swigluHidden = (width: number, ratio: number): number => Math.ceil(Math.floor((Math.floor(width * ratio) * 2) / 3) / 8) * 8;

/** What every block of a Hugging Face model has, besides its feed-forward. */
const needed = [
  'norm1.weight',
  'norm1.bias',
  'attn.qkv.weight',
  'attn.proj.weight',
  'attn.proj.bias',
  'ls1.gamma',
  'norm2.weight',
  'norm2.bias',
  'ls2.gamma',
];

/**
 * The configuration of DINOv2's flat tensors. `heads`, 1 or more, is for models whose heads are not 64 channels wide. FV0406 lists what a model of
 * Hugging Face has and these tensors lack: LayerScale, biases.
 */
export const configOf = (weights: Weights, { heads }: { readonly heads?: number } = {}): HuggingFaceConfig => {
  const depth = depthOf(weights);
  // an index without the blocks before it; the list below would have a name for each of them
  if (depth > weights.size) throw unfit('blocks are missing', [`only some of blocks.0 to blocks.${depth - 1} are there`]);
  const swiglu = weights.has('blocks.0.mlp.w12.weight');
  const ffn = swiglu ? ['mlp.w12', 'mlp.w3'] : ['mlp.fc1', 'mlp.fc2'];
  const block = [...needed, ...ffn.flatMap((f) => [`${f}.weight`, `${f}.bias`])];
  const names = ['cls_token', 'pos_embed', 'patch_embed.proj.weight', 'patch_embed.proj.bias', 'norm.weight', 'norm.bias'].concat(
    Array.from({ length: Math.max(depth, 1) }, (_, i) => block.map((n) => `blocks.${i}.${n}`)).flat(),
  );
  const missing = names.filter((n) => !weights.has(n));
  if (missing.length > 0) throw unfit('a DINOv2 of Hugging Face also has', missing);
  const size = (name: string, axis: number): number => weights.get(name)?.shape[axis] ?? 0;
  const width = size('patch_embed.proj.weight', 0);
  const patch = size('patch_embed.proj.weight', 2);
  const grid = Math.sqrt(size('pos_embed', 1) - 1);
  const rows = size(`blocks.0.${ffn[0]}.weight`, 0);
  const ratios = swiglu ? [4, (rows / 2) * (1.5 / width)] : [rows / width];
  const ratio = ratios.find((r) => !swiglu || swigluHidden(width, r) === rows / 2);
  const odd = [
    ...(Number.isInteger(grid) && grid > 0 ? [] : ['pos_embed: not a square of patches and one more']),
    ...(patch > 0 && patch === size('patch_embed.proj.weight', 3) ? [] : ['patch_embed.proj.weight: patches are not square']),
    ...(ratio !== undefined ? [] : [`blocks.0.mlp.w12.weight: ${rows} rows follow from no ratio`]),
    ...(width % (heads ?? 64) === 0
      ? []
      : [
          heads === undefined
            ? `${width} channels are not heads of 64: how many there are is to be said`
            : `${width} channels in ${heads} heads`,
        ]),
  ];
  if (odd.length > 0 || ratio === undefined) throw unfit('the tensors do not say what the configuration is', odd);
  const registers = size('register_tokens', 1);
  return schema.parse({
    model_type: registers > 0 ? 'dinov2_with_registers' : 'dinov2',
    hidden_size: width,
    num_hidden_layers: depth,
    num_attention_heads: heads ?? width / 64,
    mlp_ratio: ratio,
    use_swiglu_ffn: swiglu,
    num_register_tokens: registers,
    image_size: grid * patch,
    patch_size: patch,
    layerscale_value: 1,
    qkv_bias: weights.has('blocks.0.attn.qkv.bias'),
  });
};

/** `config.json` for the tensors, as the library reads it: with the class of the model and, for a classifier, its number of labels. */
export const configText = (config: HuggingFaceConfig, { labels }: { readonly labels?: number | undefined } = {}): string => {
  const family = config.model_type === 'dinov2' ? 'Dinov2' : 'Dinov2WithRegisters';
  const { num_register_tokens: registers, ...rest } = config;
  const named = Array.from({ length: labels ?? 0 }, (_, i) => [String(i), `LABEL_${i}`] as const);
  const file = {
    architectures: [labels === undefined ? `${family}Model` : `${family}ForImageClassification`],
    ...rest,
    ...(registers > 0 ? { num_register_tokens: registers } : {}),
    hidden_act: 'gelu',
    layer_norm_eps: 1e-6,
    num_channels: 3,
    ...(labels === undefined
      ? {}
      : { id2label: Object.fromEntries(named), label2id: Object.fromEntries(named.map(([i, label]) => [label, Number(i)])) }),
  };
  // the library insists on a float, which JSON.stringify would write as an integer
  return `${JSON.stringify(file, null, 2).replace(/("layerscale_value": -?\d+)(?=,?\n)/, '$1.0')}\n`;
};
