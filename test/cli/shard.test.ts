/** `fovea shard`: the table for the smallest backbone, against what has to be sent; and what is refused before anything is planned. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, onTestFinished, test, vi } from 'vitest';
import { shardCommand } from '../../cli/shard.ts';
import { FoveaError, strategies } from '../../index.ts';
import { scratch } from './command.ts';

/** What the command prints, line by line. */
const shard = async (...args: readonly string[]): Promise<readonly string[]> => {
  const lines: string[] = [];
  const log = vi.spyOn(console, 'log').mockImplementation((line: string) => void lines.push(...line.split('\n')));
  onTestFinished(() => log.mockRestore());
  const command = shardCommand().exitOverride();
  await command.parseAsync(args, { from: 'user' });
  return lines;
};

// what is sent besides parameters: sums of losses and of Sinkhorn's columns, lengths of the heads' rows
const most = 1.03;

test.each(strategies)(
  '%s sends what parameters and gradients need, and not much more',
  async (strategy) => {
    const picture = join(scratch(), 'step.svg');
    const args = ['--arch', 'vit_small', '--ranks', '4', '--group', '8', '--reduce', 'bf16', '--link', '12.5', '--timeline', picture];
    const [head, columns, row] = await shard(...args, '--strategy', strategy);
    expect(head).toContain(`${strategy}, groups of 4, bf16 (gradients bf16)`);
    expect(head).toContain('link 12.5 GB/s');
    expect(columns).toMatch(/^ranks +GiB held +GiB sent +at least +transfers/);
    const [ranks, held, sent, least, transfers] = (row ?? '').trim().split(/ +/).map(Number) as [number, number, number, number, number];
    expect(ranks).toBe(4);
    expect(held).toBeGreaterThan(1);
    expect(least).toBeGreaterThan(0.3);
    expect(sent).toBeGreaterThanOrEqual(least);
    expect(sent).toBeLessThanOrEqual(least * most);
    expect(transfers).toBeGreaterThan(10);
    expect(readFileSync(picture, 'utf8')).toMatch(/<svg[\s\S]*vit_small on 4 ranks/);
  },
  120_000,
);

/** What it says instead of a table. */
const refusal = (...args: readonly string[]): Promise<string> =>
  shard(...args).then(
    (lines) => `accepted: ${lines.join('\n')}`,
    (e: unknown) => (e instanceof FoveaError ? e.report() : String(e)),
  );

test('what cannot be is refused before anything is planned', async () => {
  expect(await refusal('--timeline', '/nonexistent/x.svg', '--ranks', '8')).toMatch(/^FV0407: cannot write \/nonexistent\/x.svg: ENOENT/);
  expect(await refusal('--ranks', '1,12', '--group', '8')).toMatch(/^FV0701: a mesh of 12 ranks in groups of 8/);
  for (const link of ['0', '-1', '1e3', '', '.'])
    expect(await refusal('--ranks', '8', `--link=${link}`), link).toMatch(/^FV0503: --link .*a number above 0/);
  // a picture of an earlier run is still there, and no empty one is left
  const [old, none] = ['old.svg', 'none.svg'].map((f) => join(scratch(), f)) as [string, string];
  writeFileSync(old, 'a picture');
  for (const file of [old, none]) expect(await refusal('--timeline', file, '--ranks', '8', '--group', '3')).toMatch(/^FV0701/);
  expect(readFileSync(old, 'utf8')).toBe('a picture');
  expect(existsSync(none)).toBe(false);
});
