/** Ranks that do not do the same are reported by name, on every rank, and none waits for ever. */
import { describe, expect, test } from 'vitest';
import { simulated } from '../../backends/collectives/simulated.ts';
import type { Collective, Communicator, Memory } from '../../compiler/collectives.ts';

const gather: Collective = {
  kind: 'all-gather',
  group: 'world',
  dtype: 'f32',
  reduction: 'sum',
  segments: [{ send: 0, receive: 16, count: 2 }],
  scope: 'blocks.0',
  phase: 'fwd',
};
const memory = (values: readonly number[]): Memory & { readonly floats: Float32Array } => {
  const floats = new Float32Array(32);
  floats.set(values);
  return { address: 0n, view: (offset, bytes) => new Uint8Array(floats.buffer, offset, bytes), floats };
};
const onAll = (n: number, f: (c: Communicator) => Promise<unknown>): Promise<readonly string[]> =>
  Promise.all(simulated(n).map((c) => f(c).then(String, (e: Error) => e.message)));

describe('what arrives', () => {
  test('pieces in the order of the ranks, sums of all, parts of sums', async () => {
    const got = await onAll(2, async (c) => {
      const m = memory([c.rank * 10 + 1, c.rank * 10 + 2]);
      await c.wait(c.start(gather, m));
      const scatter: Collective = { ...gather, kind: 'reduce-scatter', segments: [{ send: 0, receive: 64, count: 1 }] };
      const sum: Collective = { ...gather, kind: 'all-reduce', segments: [{ send: 0, receive: 96, count: 2 }] };
      const [a, b] = [c.start(scatter, m), c.start(sum, m)];
      await c.wait(b);
      await c.wait(a);
      await c.close();
      return [...m.floats.subarray(4, 8), m.floats[16], ...m.floats.subarray(24, 26)];
    });
    expect(got).toEqual(['1,2,11,12,12,12,14', '1,2,11,12,14,12,14']);
  });

  test('groups of neighbours and of equals', async () => {
    const got = await onAll(4, async (c) => {
      const pair = await c.split(Math.floor(c.rank / 2), c.rank);
      const m = memory([c.rank, c.rank]);
      await pair.wait(pair.start({ ...gather, kind: 'all-reduce' }, m));
      return `${pair.rank} of ${pair.size}: ${m.floats[4]}`;
    });
    expect(got).toEqual(['0 of 2: 1', '1 of 2: 1', '0 of 2: 5', '1 of 2: 5']);
  });
});

describe('what is reported', () => {
  test('ranks that start different things', async () => {
    const got = await onAll(2, async (c) =>
      c.wait(c.start(c.rank === 0 ? gather : { ...gather, segments: [{ send: 0, receive: 16, count: 1 }] }, memory([]))),
    );
    expect(got[0]).toBe(got[1]);
    expect(got[0]).toBe(
      'number 0: rank 0 starts all-gather of 2 f32 (sum) in world, blocks.0, rank 1 all-gather of 1 f32 (sum) in world, blocks.0',
    );
  });

  test('a rank that waits for one that has ended', async () => {
    const got = await onAll(3, async (c) => (c.rank === 2 ? c.close() : c.wait(c.start(gather, memory([])))));
    expect(got[0]).toBe('rank 0 of world waits for ever: number 0 was never started by rank 2');
  });

  test('a start that nobody waits for', async () => {
    const got = await onAll(2, async (c) => {
      c.start(gather, memory([]));
      await c.close();
    });
    expect(got[0]).toBe('rank 0 ends with number 0 started and never waited for');
  });

  test('a wait for what is not under way, a rank that gives up', async () => {
    const got = await onAll(1, async (c) => {
      const t = c.start(gather, memory([]));
      await c.wait(t);
      await c.wait(t);
    });
    expect(got[0]).toBe('rank 0 waits for number 0 (all-gather), which is not under way');
    const given = await onAll(2, async (c) => (c.rank === 1 ? c.abort('no memory') : c.wait(c.start(gather, memory([])))));
    expect(given[0]).toBe('rank 1 gave up: no memory');
  });
});
