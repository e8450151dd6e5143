/**
 * What every rank runs: the model of examples/quickstart.ts trained on the emulated GPU, in pieces on all ranks, or whole where there is one. Prints the losses, the weights in the
 * end of the rank's own pieces, and what the plan has. Under mpirun the ranks know each other by MPI, otherwise by a folder.
 */
import { launchOf, mpiWorld } from '../../../backends/collectives/mpi/index.ts';
import { meet, ncclWorld } from '../../../backends/collectives/nccl/index.ts';
import { cuda } from '../../../backends/cuda/index.ts';
import { type Model, model, square, step } from '../../../examples/quickstart.ts';
import { compile, flatten, type HostTensor, type Input, init, paramSpecs, type Strategy, shard, spec, toHost } from '../../../index.ts';
import { place } from './ranks.ts';

const B = 64;
const { x, y } = square(8);

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
