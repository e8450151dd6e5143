/** What is on the disk before older checkpoints go: calls to the file system are written down, and go on to it. */
import * as fs from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { expect, onTestFinished, test, vi } from 'vitest';
import { alone, stepName, writeCheckpoint } from '../../models/checkpoint/index.ts';
import { piecesOf } from './numbers.ts';

const calls = vi.hoisted((): [what: 'fsync' | 'rm', path: string][] => []);
vi.mock('node:fs', async (original) => {
  const real = await original<typeof fs>();
  const open = new Map<number, string>();
  return {
    ...real,
    openSync: (path: string, flags: string) => {
      const fd = real.openSync(path, flags);
      open.set(fd, path);
      return fd;
    },
    fsyncSync: (fd: number) => {
      calls.push(['fsync', open.get(fd) ?? '']);
      real.fsyncSync(fd);
    },
    rmSync: (path: string, options: fs.RmOptions) => {
      calls.push(['rm', path]);
      real.rmSync(path, options);
    },
  };
});

test.skipIf(process.platform === 'win32')(
  'the new checkpoint, its folder and the folder above are flushed before the old one goes',
  async () => {
    const dir = fs.mkdtempSync(join(tmpdir(), 'fovea-test-'));
    onTestFinished(() => fs.rmSync(dir, { recursive: true, force: true }));
    const folder = join(dir, 'checkpoints');
    const write = (step: number): Promise<void> =>
      writeCheckpoint(folder, step, { peers: alone, pieces: piecesOf(step, 0, 1), run: {}, keep: 1 });
    await write(1);
    calls.length = 0;
    await write(2);
    const at = (what: string, path: string): number => calls.findLastIndex(([w, p]) => w === what && relative(dir, p) === path);
    const gone = at('rm', join('checkpoints', stepName(1)));
    expect(gone).toBeGreaterThan(0);
    for (const path of [join('checkpoints', stepName(2)), 'checkpoints']) {
      expect(at('fsync', path), path).toBeGreaterThan(-1);
      expect(at('fsync', path), path).toBeLessThan(gone);
    }
  },
);
