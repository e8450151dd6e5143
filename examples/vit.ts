/**
 * A small vision transformer from nothing, the program of docs/tutorial.md: patches, blocks whose attention is written as einsum, softmax,
 * einsum, and a readout. It learns to tell which quarter of a picture is bright. Run with `npx tsx examples/vit.ts`.
 */
import { pathToFileURL } from 'node:url';
import { cpu } from '../backends/cpu/index.ts';
import {
  apply,
  compile,
  type DimArg,
  einsum,
  type F32,
  fn,
  gelu,
  host,
  init,
  initializers,
  layerNorm,
  logSoftmax,
  mean,
  module,
  over,
  type Params,
  param,
  paramSpecs,
  rearrange,
  repeat,
  rsqrt,
  type Scalar,
  scalar,
  softmax,
  spec,
  sum,
  times,
  treeMap,
  unbind,
  valueAndGrad,
} from '../index.ts';

const { ones, truncNormal, zeros } = initializers;

const linear = <I extends DimArg, O extends DimArg>(inputs: I, outputs: O) =>
  module(
    { I: inputs, O: outputs },
    () => ({ weight: param('O I', truncNormal(0.1)), bias: param('O', zeros) }),
    ['... I'],
    (p, x) => einsum('... i, o i -> ... o', x, p.weight).add(p.bias),
  );

const norm = <D extends DimArg>(dim: D) =>
  module(
    { D: dim },
    () => ({ weight: param('D', ones), bias: param('D', zeros) }),
    ['... D'],
    (p, x) => layerNorm(x, p.weight, p.bias),
  );

export const attention = <D extends DimArg, H extends DimArg>(dim: D, heads: H) =>
  module(
    { D: dim, H: heads, K: over(dim, heads) },
    ({ D }) => ({ qkv: linear(D, times(3, D)), proj: linear(D, D) }),
    ['B N D'],
    ({ qkv, proj, H, K }, x) => {
      const [q, k, v] = unbind(rearrange('b n (t h k) -> t b h n k', qkv(x), { t: 3, h: H }));
      const weights = softmax(einsum('b h n k, b h m k -> b h n m', q.mul(rsqrt(scalar(K))), k));
      return proj(rearrange('b h n k -> b n (h k)', einsum('b h n m, b h m k -> b h n k', weights, v)));
    },
  );

const mlp = <D extends DimArg>(dim: D) =>
  module(
    { D: dim },
    ({ D }) => ({ fc1: linear(D, times(4, D)), fc2: linear(times(4, D), D) }),
    ['B N D'],
    (p, x) => p.fc2(gelu(p.fc1(x))),
  );

/** The variant: attention and MLP beside each other, on one normalised input. */
export const parallelBlock = <D extends DimArg, H extends DimArg>(dim: D, heads: H) =>
  module(
    { D: dim, H: heads },
    ({ D, H }) => ({ norm: norm(D), attn: attention(D, H), mlp: mlp(D) }),
    ['B N D'],
    (p, x) => {
      const y = p.norm(x);
      return x.add(p.attn(y)).add(p.mlp(y));
    },
  );

export const vit = module(
  { D: 32 },
  ({ D }) => ({
    embed: linear(16, D),
    position: param('16 D', truncNormal(0.1)),
    blocks: repeat(2, () => parallelBlock(D, 4)),
    head: linear(D, 4),
  }),
  ['B 16 16'],
  (p, image) => {
    const patches = rearrange('b (h p) (w q) -> b (h w) (p q)', image, { p: 4, q: 4 });
    let x = p.embed(patches).add(p.position);
    for (const block of p.blocks) x = block(x);
    return p.head(mean('b n d -> b d', x));
  },
);
type Vit = Params<typeof vit>;

export const crossEntropy = fn(['B K', 'B K'], (logits, wanted) => sum('b k ->', logSoftmax(logits).mul(wanted)).neg());

const train = (params: Vit, images: F32<'B 16 16'>, wanted: F32<'B 4'>, lr: Scalar) => {
  const [loss, grads] = valueAndGrad((p: Vit) => crossEntropy(apply(vit, p)(images), wanted))(params);
  return { params: treeMap((p, g) => p.sub(g.mul(lr)), params, grads), loss };
};

export const step = Object.assign(train, {
  args: [paramSpecs(vit), spec('B 16 16'), spec('B 4'), spec('')] as const,
  dims: { B: 64 },
  donate: [0],
});

/** Pictures of noise, one quarter of each brighter, and which. */
const batch = (seed: number, count: number) => {
  let state = seed;
  const random = (): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
  const pixels = new Float32Array(count * 256);
  const wanted = new Float32Array(count * 4);
  for (let b = 0; b < count; b++) {
    const quarter = Math.floor(4 * random());
    wanted[4 * b + quarter] = 1;
    for (let i = 0; i < 256; i++) {
      const [y, x] = [Math.floor(i / 128), Math.floor((i % 16) / 8)];
      pixels[256 * b + i] = random() - 0.5 + (2 * y + x === quarter ? 0.5 : 0);
    }
  }
  return [host(pixels, [count, 16, 16]), host(wanted, [count, 4])] as const;
};

export const learn = async (steps: number): Promise<readonly number[]> => {
  const program = await compile(train, step.args, { backend: cpu(), dims: step.dims, donate: step.donate });
  const losses: number[] = [];
  let params: Parameters<typeof program>[0] = init(vit, 0);
  for (let i = 0; i < steps; i++) {
    const out = await program(params, ...batch(i, step.dims.B), 0.002);
    params = out.params;
    losses.push(((await out.loss.read()).data[0] as number) / step.dims.B);
  }
  program.dispose();
  return losses;
};

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const losses = await learn(200);
  console.log(`loss before: ${losses[0]?.toFixed(4)}`);
  console.log(`loss after 200 steps: ${losses.at(-1)?.toFixed(4)}`);
}
