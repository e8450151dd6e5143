/**
 * What every rank runs: collectives of every kind, type and group against what they are by definition. Every rank knows everybody's numbers, for
 * they follow from a formula. Rank 0 prints how many transfers were compared.
 */

import { addressOf } from '../../backends/collectives/mpi/bind.ts';
import { mpiWorld } from '../../backends/collectives/mpi/index.ts';
import { launchOf } from '../../backends/collectives/mpi/launch.ts';
import type { Collective, CollectiveKind, Communicator, Memory, Reduction, Segment } from '../../compiler/collectives.ts';
import { fromF32, toF32 } from '../../compiler/graph/floats.ts';
import { bytesOf, type DType, type HostData, hostArrays } from '../../compiler/graph/types.ts';

const launch = launchOf();
if (!launch) throw new Error('start this under mpirun');
const world = await mpiWorld(launch);
const me = world.communicator;

/** Random numbers of a rank: both signs, four decades. */
const numbers = (rank: number, n: number, salt: number): Float32Array =>
  Float32Array.from({ length: n }, (_, i) => Math.sin((i + 1) * 12.9898 + rank * 78.233 + salt) * 10 ** (((i * 7 + rank) % 4) - 2));
const encode = (x: Float32Array, t: DType): HostData => {
  if (t === 'f32') return x;
  if (t === 'f16' || t === 'bf16') return fromF32(x, t) as Uint16Array;
  const out = new hostArrays[t](x.length);
  x.forEach((v, i) => {
    out[i] = t === 'i32' ? Math.round(v * 100) : Math.round(Math.abs(v) * 100) % 3;
  });
  return out;
};
const decode = (x: HostData, t: DType): Float64Array =>
  Float64Array.from(t === 'f16' || t === 'bf16' ? toF32(x as Uint16Array, t) : (x as Float32Array));

const memoryOf = (bytes: number): Memory => {
  const buffer = new ArrayBuffer(bytes);
  return { address: addressOf(new Uint8Array(buffer)), view: (at, n) => new Uint8Array(buffer, at, n) };
};

let compared = 0;
const same = (got: HostData, want: HostData, what: string): void => {
  compared++;
  const [a, b] = [got, want].map((x) => Buffer.from(x.buffer, x.byteOffset, x.byteLength)) as [Buffer, Buffer];
  if (!a.equals(b)) throw new Error(`${what}: ${Array.from(got).slice(0, 8)} where ${Array.from(want).slice(0, 8)} is expected`);
};
const reduce: { readonly [R in Reduction]: (a: number, b: number) => number } = { sum: (a, b) => a + b, max: Math.max, min: Math.min };

/** Each element within what any order of float32 additions, and one rounding to the type, may be off. */
const near = (got: Float64Array, all: readonly Float64Array[], t: DType, what: string): void => {
  compared++;
  const last = { f32: 2 ** -24, f16: 2 ** -11, bf16: 2 ** -8 }[t as 'f32' | 'f16' | 'bf16'];
  got.forEach((x, i) => {
    const exact = all.reduce((s, y) => s + (y[i] as number), 0);
    const size = all.reduce((s, y) => s + Math.abs(y[i] as number), 0);
    const bound = size * all.length * 2 ** -24 + (t === 'f32' ? 0 : Math.abs(exact) * last + (t === 'f16' ? 2 ** -25 : 0));
    if (Math.abs(x - exact) > bound * 1.01) throw new Error(`${what} [${i}]: ${x} is ${Math.abs(x - exact)} off ${exact}, bound ${bound}`);
  });
};

const one = async (on: Communicator, kind: CollectiveKind, t: DType, reduction: Reduction, counts: readonly number[]): Promise<void> => {
  const n = on.size;
  const place = on.rank;
  const width = hostArrays[t].BYTES_PER_ELEMENT;
  const [sent, received] = kind === 'all-gather' ? [1, n] : kind === 'reduce-scatter' ? [n, 1] : [1, 1];
  let at = 0;
  const room = (bytes: number): number => {
    const here = at;
    at += Math.ceil(bytes / 64) * 64 + 64;
    return here;
  };
  const segments: Segment[] = counts.map((count) => ({ send: room(sent * count * width), receive: room(received * count * width), count }));
  const memory = memoryOf(at);
  const view = (offset: number, k: number): HostData => {
    const bytes = memory.view(offset, k * width);
    return new hostArrays[t](bytes.buffer as ArrayBuffer, bytes.byteOffset, k);
  };
  const of = (rank: number, s: number): HostData => encode(numbers(rank, sent * (counts[s] as number), s), t);
  segments.forEach((s, i) => view(s.send, sent * s.count).set(of(place, i)));
  const c: Collective = { kind, group: 'world', dtype: t, reduction, segments, scope: 'laws', phase: 'fwd' };
  const ticket = on.start(c, memory);
  on.progress();
  await on.wait(ticket);
  for (const [i, s] of segments.entries()) {
    const what = `rank ${place} of ${n}: ${kind} ${reduction} ${t} segment ${i}`;
    const got = view(s.receive, received * s.count);
    const all = Array.from({ length: n }, (_, r) => of(r, i));
    if (kind === 'all-gather') {
      const want = new hostArrays[t](n * s.count);
      all.forEach((x, r) => want.set(x, r * s.count));
      same(got, want, what);
      continue;
    }
    const mine = all.map((x) => (kind === 'reduce-scatter' ? x.subarray(place * s.count, (place + 1) * s.count) : x) as HostData);
    const whole = t === 'f32' || t === 'f16' || t === 'bf16';
    if (reduction === 'sum' && whole)
      near(
        decode(got, t),
        mine.map((x) => decode(x, t)),
        t,
        what,
      );
    else {
      const want = new hostArrays[t](s.count);
      const numbers64 = mine.map((x) => decode(x, t));
      const folded = Float32Array.from({ length: s.count }, (_, k) =>
        numbers64.map((x) => x[k] as number).reduce((a, b) => reduce[reduction](a, b)),
      );
      want.set(whole ? (encode(folded, t) as never) : (folded as never));
      same(got, want, what);
    }
    if (kind === 'all-reduce') {
      // what is whole on every rank must be the same bits on every rank, and from run to run
      const text = Buffer.from(got.buffer as ArrayBuffer, got.byteOffset, got.byteLength).toString('base64');
      if (new Set(await on.exchange(text)).size !== 1) throw new Error(`${what}: ranks have different bits`);
    }
  }
};

const every = async (on: Communicator): Promise<void> => {
  for (const kind of ['all-gather', 'reduce-scatter', 'all-reduce'] as const)
    for (const t of ['f32', 'bf16', 'f16', 'i32', 'u32', 'bool'] as const)
      for (const reduction of kind === 'all-gather'
        ? (['sum'] as const)
        : t === 'bool'
          ? (['max', 'min'] as const)
          : (['sum', 'max', 'min'] as const))
        for (const counts of [[1], [5, 0, 300], [20_000]]) await one(on, kind, t, reduction, counts);
};

await every(me);
// a NaN of any rank is the maximum and the minimum, as in a kernel; infinities and zeros of both signs are in order
for (const t of ['f32', 'bf16', 'f16'] as const)
  for (const reduction of ['max', 'min'] as const) {
    const rows = [
      [Number.NaN, 1, -0, Number.NEGATIVE_INFINITY, 3, -2],
      [1, Number.NaN, 0, 5, Number.POSITIVE_INFINITY, -3],
    ];
    const of = (rank: number): readonly number[] => rows[rank % 2] as readonly number[];
    const memory = memoryOf(256);
    const words = (at: number): HostData => new hostArrays[t](memory.view(at, 6 * bytesOf[t]).buffer as ArrayBuffer, at, 6);
    words(0).set(encode(Float32Array.from(of(me.rank)), t));
    const segments = [{ send: 0, receive: 128, count: 6 }];
    await me.wait(me.start({ kind: 'all-reduce', group: 'world', dtype: t, reduction, segments, scope: 's', phase: 'fwd' }, memory));
    const want = of(0).map((x, i) => (me.size > 1 ? Math[reduction](x, of(1)[i] as number) : x));
    const got = Array.from(decode(words(128), t));
    if (!got.every((x, i) => Object.is(x, want[i]))) throw new Error(`${reduction} of ${t} is ${got}, not ${want}`);
  }
if (me.size > 1) {
  const half = await me.split(me.rank % 2, -me.rank);
  if (half.size !== (me.size + (me.rank % 2 === 0 ? 1 : 0)) >> 1 && me.size % 2 === 1) throw new Error(`split has ${half.size} ranks`);
  await every(half);
  await half.close();
}
const texts = await me.exchange(`rank ${me.rank} ${'é'.repeat(me.rank * 1000)}`);
if (texts.some((x, r) => x !== `rank ${r} ${'é'.repeat(r * 1000)}`)) throw new Error('texts differ');

// transfers that overlap end with their own numbers, whatever the order of waits
{
  const k = 1000;
  const memory = memoryOf(8 * k * 4 * (me.size + 1));
  const tickets = Array.from({ length: 8 }, (_, i) => {
    const send = i * k * 4 * (me.size + 1);
    new Float32Array(memory.view(send, k * 4).buffer as ArrayBuffer, send, k).fill(i * 100 + me.rank);
    const segments = [{ send, receive: send + k * 4, count: k }];
    return me.start({ kind: 'all-gather', group: 'world', dtype: 'f32', reduction: 'sum', segments, scope: 's', phase: 'fwd' }, memory);
  });
  for (const ticket of tickets.reverse()) await me.wait(ticket);
  for (let i = 0; i < 8; i++) {
    const at = i * k * 4 * (me.size + 1) + k * 4;
    const got = new Float32Array(memory.view(at, k * 4 * me.size).buffer as ArrayBuffer, at, k * me.size);
    same(
      got,
      Float32Array.from({ length: k * me.size }, (_, j) => i * 100 + Math.floor(j / k)),
      `transfer ${i}`,
    );
  }
}
if (me.rank === 0)
  console.log(`${world.library}: ${me.size} ranks, ${world.neighbours} here, ${compared} transfers, unwatched ${world.unwatched.length}`);
await world.finish();
