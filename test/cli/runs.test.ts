/**
 * Whole runs of the command on a folder of pictures: ended by Ctrl-C, by a disk that is full, and by themselves. All write to one
 * folder, which holds the files of the latest run only, each of them whole.
 */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import sharp from 'sharp';
import { expect, test } from 'vitest';
import { initState } from '../../models/dinov2.ts';
import { demo } from '../../models/recipes.ts';
import { readSafetensors, restore } from '../../models/weights/index.ts';
import { fovea, pictures, scratch } from './command.ts';

const all = ['checkpoint.safetensors', 'loss.png', 'metrics.jsonl', 'patches.png'];

const steps = (out: string): number[] => {
  const text = readFileSync(join(out, 'metrics.jsonl'), 'utf8');
  expect(text.endsWith('\n')).toBe(true);
  const lines = text
    .trimEnd()
    .split('\n')
    .map((l) => JSON.parse(l) as { step: number; losses: Record<string, number>; lr: number; seconds: number });
  for (const l of lines) for (const x of [...Object.values(l.losses), l.lr, l.seconds]) expect(Number.isFinite(x)).toBe(true);
  return lines.map((l) => l.step);
};
const wholePicture = async (file: string): Promise<void> => {
  const { data, info } = await sharp(file, { failOn: 'warning' }).raw().toBuffer({ resolveWithObject: true });
  expect(info.width).toBeGreaterThan(100);
  // something is drawn on it
  expect(new Set(data).size).toBeGreaterThan(10);
};

test('Ctrl-C, a full disk, a run to the end', { timeout: 600_000 }, async () => {
  const dir = scratch();
  const out = join(dir, 'out');
  const [labelled, flat] = [join(dir, 'labelled'), join(dir, 'flat')];
  await pictures(join(labelled, 'a'), 22);
  await pictures(join(labelled, 'b'), 22, 50);
  writeFileSync(join(labelled, 'a/broken.png'), 'no image');
  await pictures(flat, 42);

  // 1. Ctrl-C after the first step; one image is broken
  let sent = false;
  const stopped = await fovea(['demo', '--steps', '1000', '--data', labelled, '--out', out], {
    watch: (stdout, kill) => {
      if (sent || !stdout.includes('\nstep 1/1000 ')) return;
      sent = true;
      kill('SIGINT');
    },
  });
  expect(stopped).toMatchObject({ status: 130 });
  expect(stopped.stderr).toMatch(/^warning: .*broken\.png: .*; skipped\n$/);
  expect(stopped.stdout).toMatch(/35 training and 9 held-out images\n/);
  expect(stopped.stdout).toMatch(/\d+ graph nodes traced, .* kernels \(\d+ distinct\), arena .* MiB/);
  expect(stopped.stdout).toMatch(/k-NN accuracy before training: .*\n[\s\S]*stopping: [\s\S]*k-NN accuracy after training/);
  expect(readdirSync(out).sort()).toEqual(all);
  const done = steps(out);
  expect(done.length).toBeLessThan(1000);
  expect(done).toEqual(done.map((_, i) => i + 1));
  await wholePicture(join(out, 'loss.png'));
  await wholePicture(join(out, 'patches.png'));
  const file = join(out, 'checkpoint.safetensors');
  const { tensors, metadata } = readSafetensors(file);
  const state = restore(initState(demo, 0), tensors, file);
  expect(state.step.data[0]).toBe(done.length);
  expect(JSON.parse(metadata.recipe as string)).toMatchObject({ name: demo.name });
  for (const t of tensors.values()) if (t.dtype === 'f32') expect(t.data.every((x) => Number.isFinite(x))).toBe(true);

  // 2. the checkpoint does not fit: no half of it, and none of the run before
  const bytes = readFileSync(file).length;
  const full = await fovea(['demo', '--steps', '1', '--data', labelled, '--out', out], { fileLimit: Math.floor(bytes / 1024 / 2) });
  expect(full).toMatchObject({ status: 1 });
  expect(full.stderr).toMatch(/\nfovea: FV0407: cannot write .*checkpoint\.safetensors: EFBIG.*\n {2}\S.*\n$/);
  expect(readdirSync(out).sort()).toEqual(all.slice(1));
  expect(steps(out)).toEqual([1]);

  // 3. pictures without labels, over what is there
  mkdirSync(join(dir, 'other'));
  const last = await fovea(['demo', '--steps', '1', '--precision', 'bf16', '--data', flat, '--out', out]);
  expect(last).toMatchObject({ status: 0, stderr: '' });
  expect(last.stdout).toMatch(
    /the images have no labels[\s\S]*1 steps?; wrote metrics\.jsonl, loss\.png, patches\.png and checkpoint\.safetensors to /,
  );
  expect(last.stdout).not.toContain('accuracy before');
  expect(readdirSync(out).sort()).toEqual(all);
  expect(steps(out)).toEqual([1]);
  expect(restore(initState(demo, 0), readSafetensors(file).tensors, file).step.data[0]).toBe(1);
});
