/** The watch over the processes of a job: ranks are heard, strangers that find its port are not. */
import { once } from 'node:events';
import { connect } from 'node:net';
import { expect, test } from 'vitest';
import { watch } from '../../backends/collectives/watch.ts';

/** `exchange` for ranks in one process: the texts of all, once all have given theirs. */
const peers = (size: number) => {
  const rounds: { readonly texts: string[]; readonly all: Promise<readonly string[]>; done: (texts: readonly string[]) => void }[] = [];
  const roundOf = (k: number) => {
    for (; rounds.length <= k; ) {
      let done: (texts: readonly string[]) => void = () => {};
      const all = new Promise<readonly string[]>((resolve) => {
        done = resolve;
      });
      rounds.push({ texts: [], all, done });
    }
    return rounds[k] as (typeof rounds)[number];
  };
  return Array.from({ length: size }, (_, rank) => {
    let k = 0;
    return {
      rank,
      size,
      exchange: (text: string): Promise<readonly string[]> => {
        const { texts, all, done } = roundOf(k++);
        texts[rank] = text;
        if (texts.filter((t) => t !== undefined).length === size) done(texts);
        return all;
      },
    };
  });
};

test('a stranger is not heard, whatever it says; a rank is', async () => {
  const [first, second] = peers(2) as [ReturnType<typeof peers>[number], ReturnType<typeof peers>[number]];
  const said = JSON.stringify({ failed: 'a stranger says so' });
  const hello = (token: string): string => JSON.stringify({ hello: 1, token, name: ' (a stranger)' });
  /** Rank 1 learns of the port, and before it connects strangers do; the first exchange is the offer. */
  let offered = false;
  const slow = {
    ...second,
    exchange: async (text: string): Promise<readonly string[]> => {
      const got = await second.exchange(text);
      if (offered) return got;
      offered = true;
      const { port } = JSON.parse(got[0] as string) as { port: number };
      for (const lines of [said, `${hello('not it')}\n${said}`, '{"bye":true}', 'null']) {
        const stranger = connect({ host: 'localhost', port });
        stranger.on('error', () => {});
        stranger.write(`${lines}\n`);
        stranger.resume();
        // it is shown out
        await once(stranger, 'close');
      }
      return got;
    },
  };
  const [a, b] = await Promise.all([watch(first), watch(slow)]);
  expect([a.failure(), b.failure()]).toEqual([undefined, undefined]);
  expect(a.unwatched).toEqual([]);
  b.tell('out of memory');
  await expect.poll(() => a.failure()).toMatch(/^rank 1 \(process \d+ on .*\) gave up: out of memory$/);
  a.close();
  b.close();
});
