/** `fovea gradcheck`: what it prints and what it refuses. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { fovea, scratch } from './command.ts';

test('a function, what a function returns, and refusals', { timeout: 240_000 }, async () => {
  const good = await fovea(['gradcheck', 'models/layers.ts#layerNorm(4)', '--directions', '1', '--order', '2']);
  expect(good).toMatchObject({ status: 0, stderr: '' });
  expect(good.stdout).toMatch(/^layerNorm\(4\) \[\.\.\. D\] with [\s\S]*\n {2}forward .* pass\n[\s\S]*symmetry .* pass\n/);
  const sized = await fovea(['gradcheck', 'models/losses.ts#koleoLoss', '--directions', '1', '--dims', 'B=4,D=3']);
  expect(sized.stdout).toContain('koleoLoss [B D] with B=4, D=3\n');

  const refused = async (code: string, ...args: string[]): Promise<string> => {
    const { status, stderr } = await fovea(['gradcheck', ...args]);
    expect({ status, stderr }).toMatchObject({ status: 1, stderr: expect.stringMatching(new RegExp(`^fovea: ${code}: `)) });
    return stderr;
  };
  expect(await refused('FV0503', 'models/losses.ts#nope')).toContain("has no export 'nope'");
  expect(await refused('FV0503', 'models/losses.ts#koleoLoss', '--order', '3')).toContain('--order 3: expected 1 or 2');
  expect(await refused('FV0005', 'models/losses.ts#koleoLoss', '--dims', 'X=3')).toContain('there is no size X');
  const broken = join(scratch(), 'broken.mjs');
  writeFileSync(broken, 'export const f = ;');
  expect(await refused('FV0402', broken)).toContain(`cannot load ${broken}`);
});
