/**
 * The maximum or minimum of floats over ranks, which NCCL cannot be trusted with: it may lose a NaN, and here a NaN of any rank wins, as in every kernel. The
 * operands come to this process, the peers tell each other theirs as text, and the result goes back: for the few numbers by which a softmax is shifted.
 *
 *   max of [1 NaN] and [2 0]   ->   [2 NaN]
 */
import type { Collective, DeviceQueue } from '../../../compiler/collectives.ts';
import { fromF32, toF32 } from '../../../compiler/graph/floats.ts';
import { combine } from '../../../compiler/graph/interpret-structure.ts';
import { bytesOf, type DType } from '../../../compiler/graph/types.ts';
import type { Peers } from './communicator.ts';

const floats = (bytes: Uint8Array, t: DType): Float32Array => {
  const own = bytes.slice().buffer;
  return t === 'f32' ? new Float32Array(own) : toF32(new Uint16Array(own), t === 'f16' ? 'f16' : 'bf16');
};
const bytesIn = (x: Float32Array, t: DType): Uint8Array => {
  const y = t === 'f32' ? x : fromF32(x, t === 'f16' ? 'f16' : 'bf16');
  return new Uint8Array(y.buffer, y.byteOffset, y.byteLength).slice();
};

/** The operands are taken when what is under way has ended; peers talk after `turn`. */
export const extremum = async (
  device: DeviceQueue,
  { kind, dtype, reduction, segments }: Collective,
  peers: Pick<Peers, 'rank' | 'size' | 'exchange'>,
  turn: Promise<void>,
  pause: (waited: number) => Promise<void>,
): Promise<void> => {
  const { rank, size } = peers;
  const some = segments.filter((s) => s.count > 0);
  const sent = (count: number): number => (kind === 'reduce-scatter' ? size * count : count);
  const since = performance.now();
  const until = async <T>(ask: () => T | undefined | false): Promise<T> => {
    for (;;) {
      const x = ask();
      if (x !== undefined && x !== false) return x;
      await pause(performance.now() - since);
    }
  };
  const coming = some.map(({ send, count }) => device.download(send, sent(count) * bytesOf[dtype]));
  const mine: string[] = [];
  for (const ask of coming) mine.push(Buffer.from(await until(ask)).toString('base64'));
  await turn;
  const all = (await peers.exchange(mine.join(' '))).map((text) => text.split(' '));
  for (const [i, { receive, count }] of some.entries()) {
    const rows = all.map((texts) => floats(new Uint8Array(Buffer.from(texts[i] as string, 'base64')), dtype));
    const from = kind === 'reduce-scatter' ? rank * count : 0;
    const out = Float32Array.from({ length: count }, (_, k) =>
      rows.map((x) => x[from + k] as number).reduce((a, b) => combine[reduction](a, b)),
    );
    await until(device.upload(receive, bytesIn(out, dtype)));
  }
};
