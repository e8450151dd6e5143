/** `fovea parity`, the real command: its table, its exit status, what it refuses. */
import { expect, test } from 'vitest';
import { copied, goldens } from '../parity/folder.ts';
import { fovea } from './command.ts';

/** Runs on the reference backend, which needs no compiler. */
const parity = (folder: string, ...more: readonly string[]) => fovea(['parity', '--goldens', folder, '--backend', 'reference', ...more]);

test('prints a row for each case of the groups asked for, and a closing line', async () => {
  const { status, stdout } = await parity(goldens, '--group', 'knn,schedule', '--group', 'masking');
  expect(status).toBe(0);
  const rows = stdout.split('\n');
  expect(rows[0]).toMatch(/^case +group +tensors +of tolerance +result +seconds +worst tensor$/);
  const table = rows.slice(1, 4).map((r) => r.split(/ +/).filter((_, i) => [0, 1, 2, 4].includes(i)));
  expect(table.sort()).toEqual([
    ['knn', 'knn', '8', 'pass'],
    ['masking', 'masking', '18', 'pass'],
    ['schedules', 'schedule', '26', 'pass'],
  ]);
  // columns are aligned: every row has its result where the head has it
  const at = rows[0]?.indexOf('result');
  expect(rows.slice(1, 4).map((r) => r.indexOf('pass'))).toEqual([at, at, at]);
  expect(stdout).toMatch(/\n3 cases: 3 pass, 0 fail; 52 tensors compared in [\d.]+ s on reference\n$/);
});

test('takes cases one by one and several at once', async () => {
  const { status, stdout } = await parity(goldens, '--case', 'knn', 'pca', '--case', 'loss_sinkhorn,head_zero_row');
  expect(status).toBe(0);
  expect(stdout).toMatch(/\n4 cases: 4 pass, 0 fail; /);
});

test('one case that fails gives status 1 and says which numbers differ', async () => {
  const folder = copied(['knn', 'pca', 'schedules'], ({ cases }) => {
    Object.assign(cases.find((c) => c.id === 'knn')?.config ?? {}, { temperature: 0.08 });
    Object.assign(cases.find((c) => c.id === 'schedules') ?? {}, { group: 'weather' });
  });
  const { status, stdout } = await parity(folder);
  expect(status).toBe(1);
  expect(stdout).toMatch(/\n {2}probas_k10: element \d+ is [\d.e-]+, recorded is [\d.e-]+ within /);
  expect(stdout).toMatch(/\nschedules +weather +0 +- +fail +[\d.]+ +no runner for group weather\n/);
  expect(stdout).toMatch(/\npca .* pass /);
  expect(stdout).toMatch(/\n3 cases: 1 pass, 2 fail; /);
});

test('names that do not exist are refused with those that do', async () => {
  const wrong = await parity(goldens, '--case', 'knn', 'knm');
  expect(wrong).toMatchObject({ status: 1, stdout: '' });
  expect(wrong.stderr).toMatch(/^fovea: FV0503: --case knm: no such name in the folder\n {2}There are: .*\bknn\b.*\.\n$/);
  const group = await parity(goldens, '--group', 'nn');
  expect(group.stderr).toMatch(/FV0503: --group nn: no such name in the folder\n {2}There are: .*\bknn, pca\b/);
  const outside = await parity(goldens, '--group', 'knn', '--case', 'pca');
  expect(outside.stderr).toMatch(/FV0503: --case pca: no such name in group knn\n {2}There are: knn\./);
});

test('a folder without a catalogue, and none at all', async () => {
  const none = await parity('/no/such/folder');
  expect(none).toMatchObject({ status: 1, stdout: '' });
  expect(none.stderr).toMatch(/^fovea: FV0402: /);
  expect((await fovea(['parity'])).stderr).toMatch(/FV0503: required option '--goldens <dir>'/);
});
