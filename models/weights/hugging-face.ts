/**
 * DINOv2's names and Hugging Face's, both ways, without touching a number: renaming, and cutting or joining rows. DINOv2 keeps queries,
 * keys and values in one matrix, Hugging Face in three. Files on the Hub have the names of the first column here; its library of today
 * uses others in memory, and saves them in some versions. Both are read; those of the Hub are written.
 *
 *   fromHuggingFace(weights)   // 'encoder.layer.0.attention.attention.query.weight', … -> 'blocks.0.attn.qkv.weight'
 *
 * Repositories of classifiers prefix the backbone with the model's name and add `classifier.*`, which is carried through.
 */
import type { LazyTensor } from '../../dsl/index.ts';
import { collect, joinRows, splitRows, unfit, type Weights } from './rows.ts';

/** Names outside the blocks: DINOv2's, Hugging Face's. */
const outside: readonly (readonly [string, string])[] = [
  ['cls_token', 'embeddings.cls_token'],
  ['pos_embed', 'embeddings.position_embeddings'],
  ['mask_token', 'embeddings.mask_token'],
  ['register_tokens', 'embeddings.register_tokens'],
  ['patch_embed.proj.weight', 'embeddings.patch_embeddings.projection.weight'],
  ['patch_embed.proj.bias', 'embeddings.patch_embeddings.projection.bias'],
  ['norm.weight', 'layernorm.weight'],
  ['norm.bias', 'layernorm.bias'],
];

/**
 * Names in a block, and the parts that, one above the other, are the tensor: first as files of the Hub have them, then, where they
 * differ, as the library has them in memory. All but LayerScale end in .weight and .bias.
 */
const inside: readonly (readonly [own: string, ...forms: readonly (readonly string[])[]])[] = [
  ['norm1', ['norm1']],
  [
    'attn.qkv',
    ['attention.attention.query', 'attention.attention.key', 'attention.attention.value'],
    ['attention.q_proj', 'attention.k_proj', 'attention.v_proj'],
  ],
  ['attn.proj', ['attention.output.dense'], ['attention.o_proj']],
  ['norm2', ['norm2']],
  ['mlp.fc1', ['mlp.fc1']],
  ['mlp.fc2', ['mlp.fc2']],
  ['mlp.w12', ['mlp.weights_in'], ['mlp.gate_proj', 'mlp.up_proj']],
  ['mlp.w3', ['mlp.weights_out'], ['mlp.down_proj']],
];
interface Layer {
  readonly own: string;
  readonly forms: readonly (readonly string[])[];
}
const layer: readonly Layer[] = [
  ...inside.flatMap(([own, ...forms]) =>
    ['weight', 'bias'].map((end): Layer => ({ own: `${own}.${end}`, forms: forms.map((parts) => parts.map((p) => `${p}.${end}`)) })),
  ),
  { own: 'ls1.gamma', forms: [['layer_scale1.lambda1']] },
  { own: 'ls2.gamma', forms: [['layer_scale2.lambda1']] },
];

const toOutside = new Map(outside);
const fromOutside = new Map(outside.map(([own, theirs]) => [theirs, own]));
const toLayer = new Map(layer.map(({ own, forms }) => [own, forms[0] as readonly string[]]));
/** A part's name to the tensor it belongs to, its place there and the names of all parts. */
const fromLayer = new Map(
  layer.flatMap(({ own, forms }) => forms.flatMap((parts) => parts.map((p, i) => [p, { own, i, parts }] as const))),
);

const carried = (name: string): boolean => name.startsWith('classifier.');
const modelPrefix = /^(?:dinov2|dinov2_with_registers)\./;

/** true if the names are Hugging Face's, of the Hub or in memory, with a model's prefix or without. */
export const isHuggingFace = (weights: Weights): boolean =>
  [...weights.keys()].some((n) => /^(?:embeddings|encoder\.layer)\./.test(n.replace(modelPrefix, '')));

/** To DINOv2's flat names. FV0406 lists names that are not Hugging Face's, and parts that are missing. */
export const fromHuggingFace = (weights: Weights): Weights => {
  const unknown: string[] = [];
  const joined = new Map<string, { readonly parts: readonly string[]; readonly found: (LazyTensor | undefined)[] }>();
  const plain = new Map<string, LazyTensor>();
  const order: string[] = [];
  for (const [full, t] of weights) {
    const name = full.replace(modelPrefix, '');
    const [, index, rest] = name.match(/^encoder\.layer\.(\d+)\.(.+)$/) ?? [];
    const part = rest === undefined ? undefined : fromLayer.get(rest);
    const own = part ? `blocks.${index}.${part.own}` : carried(name) ? name : fromOutside.get(name);
    if (own === undefined) {
      unknown.push(full);
      continue;
    }
    if (!part || part.parts.length === 1) {
      if (plain.has(own)) throw unfit('two tensors come to one name', [own]);
      plain.set(own, t);
      order.push(own);
      continue;
    }
    const group = joined.get(own) ?? { parts: part.parts, found: [] };
    if (!joined.has(own)) order.push(own);
    if (group.parts !== part.parts || group.found[part.i] !== undefined) throw unfit('two tensors come to one name', [own]);
    group.found[part.i] = t;
    joined.set(own, group);
  }
  if (unknown.length > 0) throw unfit('names that are not those of a DINOv2 of Hugging Face', unknown);
  const absent = [...joined].flatMap(([own, { parts, found }]) =>
    parts.filter((_, i) => found[i] === undefined).map((p) => `${own.match(/^blocks\.\d+/)?.[0].replace('blocks', 'encoder.layer')}.${p}`),
  );
  if (absent.length > 0) throw unfit('parts of a tensor are missing', absent);
  return collect(
    order.map((own) => {
      const group = joined.get(own);
      return [own, group ? joinRows(group.found as LazyTensor[], own) : (plain.get(own) as LazyTensor)] as const;
    }),
  );
};

/** From DINOv2's flat names to those of the Hub. FV0406 lists names that have no counterpart, such as those of projection heads. */
export const toHuggingFace = (weights: Weights): Weights => {
  const model = weights.has('register_tokens') ? 'dinov2_with_registers' : 'dinov2';
  const prefix = [...weights.keys()].some(carried) ? `${model}.` : '';
  const unknown: string[] = [];
  const pairs = [...weights].flatMap(([name, t]): (readonly [string, LazyTensor])[] => {
    if (carried(name)) return [[name, t]];
    const [, index, rest] = name.match(/^blocks\.(\d+)\.(.+)$/) ?? [];
    const parts = rest === undefined ? undefined : toLayer.get(rest);
    if (parts) {
      const pieces = parts.length === 1 ? [t] : splitRows(t, parts.length, name);
      return parts.map((p, i) => [`${prefix}encoder.layer.${index}.${p}`, pieces[i] as LazyTensor]);
    }
    const theirs = toOutside.get(name);
    if (theirs === undefined) unknown.push(name);
    return [[`${prefix}${theirs}`, t]];
  });
  if (unknown.length > 0) throw unfit('names that have no counterpart in a DINOv2 of Hugging Face', unknown);
  return collect(pairs);
};
