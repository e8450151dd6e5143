/**
 * What every rank runs: collectives of every kind, type and group on memory of the emulated GPU, against what they are by definition; or, by the argument's
 * name, ranks in trouble. Numbers are multiples of a quarter, so that sums are the same in any order, of halves too.
 */
import { meet, ncclWorld } from '../../../backends/collectives/nccl/index.ts';
import { besideOf } from '../../../backends/cuda/beside.ts';
import { addressOf } from '../../../backends/cuda/driver.ts';
import { buildEmulator } from '../../../backends/cuda/emulator/build.ts';
import { loadDriver } from '../../../backends/cuda/libraries.ts';
import { openDevice } from '../../../backends/cuda/open.ts';
import { until } from '../../../backends/cuda/wait.ts';
import type { Collective, CollectiveKind, Communicator, Memory, Reduction, Segment } from '../../../compiler/collectives.ts';
import { FoveaError } from '../../../compiler/error.ts';
import { groupsOf } from '../../../compiler/execute.ts';
import { fromF32, toF32 } from '../../../compiler/graph/floats.ts';
import { bytesOf, type DType, type HostData, hostArrays } from '../../../compiler/graph/types.ts';
import { place } from './ranks.ts';

const { folder, rank, size, rest } = place();
const [kind = 'laws'] = rest;

const device = openDevice(loadDriver((await buildEmulator()).path), rank % 3);
const { cu } = device;
const stream = cu.cuStreamCreate(1);
const arenaBytes = 1 << 22;
const arena = cu.cuMemAlloc_v2(arenaBytes);
const onGpu: Memory = {
  address: arena,
  view: () => {
    throw new Error('nobody looks at the memory of a device');
  },
  device: besideOf(device, stream, arena, (handle) => handle),
};
const bytesAt = (x: HostData): Uint8Array => new Uint8Array(x.buffer, x.byteOffset, x.byteLength);
const write = (at: number, x: HostData): void => {
  if (x.length > 0) cu.cuMemcpyHtoDAsync_v2(arena + BigInt(at), addressOf(bytesAt(x)), x.byteLength, stream);
};
const read = async (at: number, t: DType, n: number): Promise<HostData> => {
  const out = new hostArrays[t](n);
  if (n === 0) return out;
  cu.cuMemcpyDtoHAsync_v2(addressOf(bytesAt(out)), arena + BigInt(at), out.byteLength, stream);
  const event = cu.cuEventCreate(2);
  cu.cuEventRecord(event, stream);
  await until(cu, event);
  cu.cuEventDestroy_v2(event);
  return out;
};

const numbers = (of: number, t: DType, n: number, salt: number): Float64Array =>
  Float64Array.from({ length: n }, (_, i) => {
    const x = (i * 7 + of * 13 + salt * 5) % 23;
    return t === 'bool' ? x % 2 : t === 'u32' ? x : t === 'i32' ? x - 11 : (x - 11) / 4;
  });
const encode = (x: Float64Array, t: DType): HostData =>
  t === 'f16' || t === 'bf16' ? (fromF32(Float32Array.from(x), t) as Uint16Array) : hostArrays[t].from(x as never);
const reduce: { readonly [R in Reduction]: (a: number, b: number) => number } = { sum: (a, b) => a + b, max: Math.max, min: Math.min };

const collective = (kind: CollectiveKind, dtype: DType, reduction: Reduction, segments: readonly Segment[]): Collective => ({
  kind,
  group: 'world',
  dtype,
  reduction,
  segments,
  scope: 'laws',
  phase: 'fwd',
});

let compared = 0;
const one = async (
  on: Communicator,
  members: readonly number[],
  c: CollectiveKind,
  t: DType,
  op: Reduction,
  counts: readonly number[],
): Promise<void> => {
  const n = on.size;
  const [sent, received] = c === 'all-gather' ? [1, n] : c === 'reduce-scatter' ? [n, 1] : [1, 1];
  let at = 0;
  const room = (k: number): number => {
    const here = at;
    at += Math.ceil((k * bytesOf[t]) / 64) * 64 + 64;
    return here;
  };
  const segments: Segment[] = counts.map((count) => ({ send: room(sent * count), receive: room(received * count), count }));
  for (const [s, { send, count }] of segments.entries()) write(send, encode(numbers(rank, t, sent * count, s), t));
  const ticket = on.start(collective(c, t, op, segments), onGpu);
  on.progress();
  await on.wait(ticket);
  for (const [s, { receive, count }] of segments.entries()) {
    const all = members.map((r) => numbers(r, t, sent * count, s));
    const mine = c === 'reduce-scatter' ? all.map((x) => x.subarray(on.rank * count, (on.rank + 1) * count)) : all;
    const want =
      c === 'all-gather'
        ? Float64Array.from(all.flatMap((x) => [...x]))
        : Float64Array.from({ length: count }, (_, i) => mine.map((x) => x[i] as number).reduce((a, b) => reduce[op](a, b)));
    const got = await read(receive, t, received * count);
    const [a, b] = [got, encode(want, t)].map((x) => Buffer.from(bytesAt(x))) as [Buffer, Buffer];
    if (!a.equals(b))
      throw new Error(`rank ${rank}: ${c} ${op} ${t} of ${n}, segment ${s}: ${got.slice(0, 6)} where ${want.slice(0, 6)} is expected`);
    compared++;
  }
};

const refusals: string[] = [];
const refused = (work: () => unknown): void => {
  try {
    work();
    refusals.push('was not refused');
  } catch (e) {
    refusals.push(e instanceof FoveaError ? `${e.code}: ${e.message}` : String(e));
  }
};

const every = async (on: Communicator, members: readonly number[]): Promise<void> => {
  for (const c of ['all-gather', 'reduce-scatter', 'all-reduce'] as const)
    for (const t of ['f32', 'bf16', 'f16', 'i32', 'u32', 'bool'] as const)
      for (const op of c === 'all-gather'
        ? (['sum'] as const)
        : t === 'bool'
          ? (['max', 'min'] as const)
          : (['sum', 'max', 'min'] as const))
        for (const counts of [[1], [5, 0, 300], [9_001]]) await one(on, members, c, t, op, counts);
};

const laws = async (world: Communicator): Promise<void> => {
  const everybody = Array.from({ length: size }, (_, r) => r);
  await every(world, everybody);
  const { shard, replica } = await groupsOf(world, size > 2 ? 2 : size);
  const first = rank - (rank % shard.size);
  await every(
    shard,
    Array.from({ length: shard.size }, (_, r) => first + r),
  );
  await one(replica, size > 2 ? everybody.filter((r) => r % 2 === rank % 2) : [rank], 'all-reduce', 'f32', 'sum', [100]);
  // two under way at once, of two communicators
  const [a, b] = [1024, 2048].map((receive) => collective('all-reduce', 'i32', 'sum', [{ send: 0, receive, count: 100 }])) as [
    Collective,
    Collective,
  ];
  write(0, encode(numbers(rank, 'i32', 100, 0), 'i32'));
  const tickets = [world.start(a, onGpu), shard.start(b, onGpu)] as const;
  await shard.wait(tickets[1]);
  await world.wait(tickets[0]);
  for (const [at, members] of [
    [1024, everybody],
    [2048, Array.from({ length: shard.size }, (_, r) => first + r)],
  ] as const) {
    const all = members.map((r) => numbers(r, 'i32', 100, 0));
    const got = await read(at, 'i32', 100);
    if (got.some((x, i) => x !== all.reduce((sum, y) => sum + (y[i] as number), 0))) throw new Error(`rank ${rank}: two at once: ${got}`);
    compared++;
  }
  // a NaN of any rank is the maximum and the minimum
  for (const t of ['f32', 'bf16', 'f16'] as const)
    for (const op of ['max', 'min'] as const) {
      const rows = everybody.map((r) => Float64Array.of(r === 1 ? Number.NaN : 1, r === 0 ? Number.NaN : 2, r - 0.5));
      write(0, encode(rows[rank] as Float64Array, t));
      await world.wait(world.start(collective('all-reduce', t, op, [{ send: 0, receive: 64, count: 3 }]), onGpu));
      const want = [Number.NaN, Number.NaN, op === 'max' ? size - 1.5 : -0.5];
      const bits = await read(64, t, 3);
      const got = t === 'f32' ? bits : toF32(bits as Uint16Array, t);
      if (!want.every((x, i) => Object.is(x, got[i]))) throw new Error(`rank ${rank}: ${op} of ${t} with NaN: ${got}`);
      compared++;
    }
  refused(() => world.start(a, { address: 64n, view: onGpu.view }));
  const texts = await world.exchange(`rank ${rank}`);
  for (const c of [replica, ...(shard === world ? [] : [shard]), world]) await c.close();
  if (rank === 0) console.log(`${compared} transfers of ${size} ranks; ${texts.join(', ')}\n${refusals.join('\n')}`);
};

const trouble = async (world: Communicator): Promise<void> => {
  const sum = (count: number) =>
    world.wait(world.start(collective('all-reduce', 'f32', 'sum', [{ send: 0, receive: 4096, count }]), onGpu));
  write(0, new Float32Array(64));
  if (kind === 'split') await world.split(0, rank);
  if (rank === size - 1) {
    if (kind === 'killed') process.kill(process.pid, 'SIGKILL');
    if (kind === 'abort') world.abort('the disk is full');
    for (; kind === 'absent'; await new Promise((r) => setTimeout(r, 20))) world.check();
  }
  await sum(kind === 'differ' ? 10 + rank : 10);
};

const peers = await meet(folder, rank, size);
// not before: processes may start seconds apart
if (kind === 'absent') process.env['FOVEA_MPI_TIMEOUT'] = '1';
if (process.env['FOVEA_NCCL_FAULT']?.startsWith('dies')) process.env['FOVEA_MPI_TIMEOUT'] = '3';
let since = performance.now();
try {
  const world = await ncclWorld(peers);
  since = performance.now();
  await (kind === 'laws' ? laws : trouble)(world);
  await peers.close();
  process.exit(0);
} catch (e) {
  if (!(e instanceof FoveaError)) throw e;
  console.log(`rank ${rank} heard: ${e.code}: ${e.message}\n${Math.round(performance.now() - since)} ms`);
  // long enough for the others to hear why
  setTimeout(() => process.exit(1), 300);
}
