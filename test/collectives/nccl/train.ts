/**
 * What every rank runs: a small model trained on the emulated GPU, in pieces on all ranks, or whole where there is one. Prints the losses, the weights in the
 * end of the rank's own pieces, and what the plan has. Under mpirun the ranks know each other by MPI, otherwise by a folder.
 */
import { launchOf, mpiWorld } from '../../../backends/collectives/mpi/index.ts';
import { meet, ncclWorld } from '../../../backends/collectives/nccl/index.ts';
import { cuda } from '../../../backends/cuda/index.ts';
import {
  apply,
  compile,
  type DimArg,
  einsum,
  type F32,
  flatten,
  fn,
  gelu,
  type HostTensor,
  host,
  type Input,
  init,
  initializers,
  mean,
  module,
  type Params,
  param,
  paramSpecs,
  type Scalar,
  type Strategy,
  shard,
  spec,
  toHost,
  treeMap,
  valueAndGrad,
} from '../../../index.ts';
import { place } from './ranks.ts';

const linear = <I extends DimArg, O extends DimArg>(inputs: I, outputs: O) =>
  module(
    { I: inputs, O: outputs },
    () => ({ weight: param('O I', initializers.truncNormal(0.3)), bias: param('O', initializers.zeros) }),
    ['... I'],
    (p, x) => einsum('... i, o i -> ... o', x, p.weight).add(p.bias),
  );
const model = module(
  { H: 24 },
  ({ H }) => ({ up: linear(2, H), down: linear(H, 1) }),
  ['B 2'],
  (p, x) => p.down(gelu(p.up(x))),
);
type Model = Params<typeof model>;
const squaredError = fn(['B 1', 'B 1'], (a, b) => mean('b n ->', a.sub(b).mul(a.sub(b))));
const step = (params: Model, x: F32<'B 2'>, y: F32<'B 1'>, lr: Scalar) => {
  const [loss, grads] = valueAndGrad((p: Model) => squaredError(apply(model, p)(x), y))(params);
  return { params: treeMap((p, g) => p.sub(g.mul(lr)), params, grads), loss };
};

const B = 64;
const grid = Array.from({ length: B }, (_, i) => [(i % 8) / 4 - 1, Math.floor(i / 8) / 4 - 1] as const);
const x = host(Float32Array.from(grid.flat()), [B, 2]);
const y = host(
  Float32Array.from(grid, ([a, b]) => a * b),
  [B, 1],
);

const { folder, rank, size, rest } = place();
const strategy = (rest[0] ?? 'FULL_SHARD') as Strategy;
const launch = launchOf();
const started = launch && (await mpiWorld(launch));
const peers = started?.communicator ?? (await meet(folder, rank, size));
const backend = await cuda({ emulate: true, device: peers.rank % 3, plans: false, poison: 0x7fc0dead });
const specs = [paramSpecs(model), spec('B 2'), spec('B 1'), spec('')] as const;
const options = { backend, dims: { B }, donate: [0] } as const;
const split = (path: string) => (/^[12]/.test(path) ? { split: 0 } : undefined);
const world = peers.size > 1 ? await ncclWorld(peers) : undefined;
const train = world ? await shard(step, world, { strategy, place: split })(specs, options) : await compile(step, specs, options);

const start = init(model, 0);
const args = (params: Input<Model>) => [params, x, y, 0.1] as const;
let [params] = train.own(start, x, y, 0.1);
const losses: number[] = [];
for (let i = 0; i < 20; i++) {
  const [, mine, theirs] = train.own(...args(start));
  const out = await train(params, mine, theirs, 0.1);
  params = out.params as typeof params;
  losses.push((await out.loss.read()).data[0] as number);
}
const pieces = flatten(await toHost(params as never)).map(({ path, leaf }) => [path, [...(leaf as HostTensor).data]] as const);
const { plan } = train.report;
console.log(JSON.stringify({ rank: peers.rank, losses, pieces, collectives: plan?.collectives.map((c) => c.kind) ?? [] }));
train.dispose();
await world?.close();
await (started ? started.finish() : peers.close());
process.exit(0);
