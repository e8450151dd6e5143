/** `fovea train` on two ranks: the losses of one process, a checkpoint that one process goes on from, and what is refused. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { fovea, pictures } from '../cli/command.ts';
import { compiled } from '../cli/compiled.ts';
import { launchers, noMpi, underMpi } from './launch.ts';

const [launcher] = launchers;
if (!launcher) console.log(`training over MPI: ${noMpi}`);

const losses = (out: string): readonly number[] =>
  readFileSync(join(out, 'metrics.jsonl'), 'utf8')
    .trimEnd()
    .split('\n')
    .map((l) => (JSON.parse(l) as { losses: { loss: number } }).losses.loss);

describe.skipIf(!launcher)('two ranks', () => {
  test('train to the losses of one process, which goes on from their checkpoint', { timeout: 300_000 }, async () => {
    const dir = mkdtempSync(join(tmpdir(), 'fovea-test-'));
    const [one, two] = [join(dir, 'one'), join(dir, 'two')];
    const data = ['--data', join(dir, 'images')];
    const command = [process.execPath, join(compiled(), 'dist/cli/main.js'), 'train', '--batch', '16', ...data];
    const ranks = (...more: readonly string[]) => underMpi(launcher!, 2, [...command, ...more]);
    try {
      await pictures(join(dir, 'images'), 44);
      const refused = await ranks('--ranks', '3', '--out', two);
      expect(refused.status).not.toBe(0);
      expect(refused.stderr).toContain('fovea: FV0803: --ranks 3, but 2 ranks were started\n');

      const own = 'exec "$@" --every $((1 + OMPI_COMM_WORLD_RANK + PMI_RANK))';
      const apart = await underMpi(launcher!, 2, ['sh', '-c', own, 'sh', ...command, '--out', two]);
      expect(apart.stderr).toContain(
        'FV0803: ranks were started differently: the number of steps between two checkpoints is 1 on rank 0 and 2 on rank 1\n',
      );

      // a model whose weights alone take a minute to make
      const unlike = '[ $((OMPI_COMM_WORLD_RANK + PMI_RANK)) = 0 ] || set -- "$@" --recipe vitl14; exec "$@"';
      const large = await underMpi(launcher!, 2, ['sh', '-c', unlike, 'sh', ...command, '--out', two]);
      expect(large.stderr).toContain('FV0803: ranks were started differently: the recipe is demo on rank 0 and vitl14 on rank 1\n');

      const trained = await ranks('--steps', '3', '--every', '2', '--out', two);
      expect(trained).toMatchObject({ status: 0, stderr: '' });
      const alone = await fovea(['train', '--batch', '16', ...data, '--shards', '2', '--steps', '3', '--out', one]);
      expect(alone).toMatchObject({ status: 0, stderr: '' });
      const [a, b] = [losses(one), losses(two)];
      expect(b.length).toBe(3);
      // sums over ranks are added in another order
      a.forEach((x, i) => expect(Math.abs((b[i] as number) - x) / x).toBeLessThan(1e-5));

      const again = (...more: readonly string[]) => fovea(['train', ...data, '--steps', '3', '--out', two, '--resume', ...more]);
      expect((await again('1', '--batch', '16')).stderr).toMatch(
        /FV0804: .*there is no complete checkpoint of step 1\n {2}There are those of steps 2, 3\.\n/,
      );
      expect((await again('--batch', '8')).stderr).toContain('FV0803: the checkpoint was made with another recipe: batch differs');
      expect((await again('--batch', '16', '--seed', '4')).stderr).toContain('FV0803: the checkpoint was made with seed 0, this run has 4');
      const resumed = await fovea(['train', '--batch', '16', ...data, '--steps', '3', '--out', two, '--resume', '2']);
      expect(resumed).toMatchObject({ status: 0, stdout: expect.stringContaining('going on from step 2\n') });
      expect(losses(two).slice(0, 2)).toEqual(b.slice(0, 2));
      expect(Math.abs((losses(two)[2] as number) - (b[2] as number)) / (b[2] as number)).toBeLessThan(1e-5);
    } finally {
      rmSync(dir, { recursive: true, force: true });
    }
  });
});
