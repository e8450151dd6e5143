/** The command from image files to features: numbers against the float64 interpreter, both formats, the picture, and its refusals. */
import { mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import sharp from 'sharp';
import { expect, test } from 'vitest';
import { apply, type F32, leaves } from '../../dsl/index.ts';
import { centreView, imagenet, type Picture, readImage, stream } from '../../models/data/index.ts';
import { vitConfigOf } from '../../models/recipes/config.ts';
import { type VitParams, vit } from '../../models/vit.ts';
import { castTo, chunkedBlocks, readSafetensors, type TensorData, toHuggingFace, writeSafetensors } from '../../models/weights/index.ts';
import { flatJpeg } from '../data/files.ts';
import { evaluate, nest, numbers } from '../models/evaluate.ts';
import { fovea, scratch } from './command.ts';

const limit = 240_000;

const network = {
  img_size: 56,
  patch_size: 14,
  embed_dim: 24,
  depth: 2,
  num_heads: 2,
  init_values: 1,
  block_chunks: 0,
  num_register_tokens: 2,
  interpolate_antialias: true,
  interpolate_offset: 0,
};
const config = vitConfigOf(network);

/** Weights of unit gain, so that features depend on the image: uniform, of variance 1 / inputs; vectors near their usual values. */
const weights = (): Map<string, TensorData & { readonly data: Float32Array }> =>
  new Map(
    leaves(vit(config)).map(({ path, shape }, i) => {
      const dims = shape.map(Number);
      const inputs = dims.slice(1).reduce((a, b) => a * b, 1);
      const r = stream(3, i);
      const [middle, width] = dims.length === 1 ? [/norm.*weight|gamma/.test(path) ? 1 : 0, 0.2] : [0, Math.sqrt(3 / inputs)];
      const data = Float32Array.from({ length: dims.reduce((a, b) => a * b, 1) }, () => middle + width * (2 * r() - 1));
      return [path, { shape: dims, dtype: 'f32' as const, data }];
    }),
  );

/** Smooth pictures that differ, and not square. */
const picture = async (file: string, width: number, height: number, phase: number): Promise<void> => {
  const data = Uint8Array.from({ length: width * height * 3 }, (_, k) => {
    const [x, y, c] = [Math.floor(k / 3) % width, Math.floor(k / 3 / width), k % 3];
    return 128 + 120 * Math.sin(phase + (c + 1) * (x / width) * 5 + (y / height) * (7 - c));
  });
  await sharp(data, { raw: { width, height, channels: 3 } })
    .png()
    .toFile(file);
};

const lazyOf = ({ shape, dtype, data }: TensorData & { readonly data: Float32Array }) => ({ shape, dtype, load: () => data });

interface Prepared {
  readonly dir: string;
  readonly files: readonly [string, string];
  /** Arguments that every call has. */
  readonly model: readonly string[];
}
const prepare = async (): Promise<Prepared> => {
  const dir = scratch();
  const files = [join(dir, 'a.png'), join(dir, 'b.png')] as const;
  await picture(files[0], 90, 70, 0);
  await picture(files[1], 64, 100, 2);
  writeFileSync(join(dir, 'model.json'), JSON.stringify(network));
  writeSafetensors(join(dir, 'weights.safetensors'), weights());
  return { dir, files, model: ['--model', join(dir, 'model.json'), '--weights', join(dir, 'weights.safetensors')] };
};

/** Pixels as the network takes them, from the definition. */
const input = ({ width, height, data }: Picture): number[] =>
  [0, 1, 2].flatMap((c) =>
    Array.from({ length: width * height }, (_, i) => ((data[3 * i + c] as number) / 255 - imagenet.mean[c]!) / imagenet.std[c]!),
  );

interface Outputs {
  readonly cls: { readonly data: ArrayLike<number> };
  readonly registers: { readonly data: ArrayLike<number> };
  readonly patches: { readonly data: ArrayLike<number> };
}
const judge = (x: readonly number[], count: number, [h, w]: readonly [number, number]): Outputs =>
  evaluate(
    (p: VitParams, images: F32<'B 3 S W'>) => {
      const { cls, registers, patches } = apply(vit(config), p)(images);
      return { cls, registers, patches };
    },
    [nest([...weights()].map(([path, t]) => [path, numbers(t.data, t.shape)] as const)), numbers(Float32Array.from(x), [count, 3, h, w])],
  ) as Outputs;

/**
 * Rounding of a float32 run, to first order: a sum of n products is off by at most n u times the sum of their magnitudes, u = 2^-24. Along
 * the longest path the sums have 588 terms (a patch) and in each of the two blocks 24 (norm), 24, 12, 18, 18, 24 (attention), 24 (norm),
 * 24, 96 (feed-forward), then 24 (norm): 1140 in all. Weights of unit gain carry an error of one layer to the next about as it is,
 * and the last norm scales to magnitudes of 1, so outputs are off by at most 1140 u times the largest of them.
 */
const bound = 1140 * 2 ** -24;
const near = (ours: ArrayLike<number>, want: ArrayLike<number>): void => {
  expect(ours.length).toBe(want.length);
  const largest = Math.max(...Array.from(want, Math.abs));
  const worst = Math.max(...Array.from(want, (x, i) => Math.abs(x - (ours[i] as number))));
  expect(worst / largest).toBeLessThan(bound);
};

test('features are those of the interpreter, in both formats; the picture shows them', { timeout: limit }, async () => {
  const { dir, files, model } = await prepare();
  const [out, json, pca] = ['f.safetensors', 'f.json', 'f.png'].map((n) => join(dir, 'made', n)) as [string, string, string];
  // three images in batches of two: the second call is padded
  const size = ['--resize', '64', '--crop', '56', '--batch', '2'];
  const ran = await fovea(['features', ...files, files[0], ...model, ...size, '--out', out, '--pca', pca]);
  expect(ran).toMatchObject({ status: 0, stderr: '' });
  expect(ran.stdout).toMatch(/3 images, 24 features of each class token, 4 x 4 patches; wrote .*f\.safetensors, .*f\.png in/);
  expect((await fovea(['features', ...files, files[0], ...model, ...size, '--out', json])).status).toBe(0);

  const { tensors, metadata } = readSafetensors(out);
  expect([...tensors].map(([name, t]) => [name, t.shape])).toEqual([
    ['cls', [3, 24]],
    ['registers', [3, 2, 24]],
    ['patches', [3, 16, 24]],
  ]);
  expect(JSON.parse(metadata.names as string)).toEqual([...files, files[0]]);
  expect(JSON.parse(metadata.preprocessing as string)).toMatchObject({ view: 'centre', resize: 64, crop: 56, mean: imagenet.mean });
  const views = await Promise.all([...files, files[0]].map(async (f) => centreView((await readImage(f)).picture, 64, 56)));
  const want = judge(views.flatMap(input), 3, [56, 56]);
  const got = (name: keyof Outputs): Float32Array => tensors.get(name)?.data as Float32Array;
  for (const name of ['cls', 'registers', 'patches'] as const) near(got(name), want[name].data);
  // the bound would notice a difference between images: theirs is a thousand times larger
  expect(Math.max(...Array.from({ length: 24 }, (_, i) => Math.abs(got('cls')[i]! - got('cls')[24 + i]!)))).toBeGreaterThan(1000 * bound);
  // the same picture at another place of another batch
  expect([...got('cls').subarray(48)]).toEqual([...got('cls').subarray(0, 24)]);

  // the same program on the same pixels gives the same bits; JSON keeps each of them
  interface Stored {
    readonly images: readonly { readonly name: string; readonly grid: unknown; readonly [k: string]: unknown }[];
  }
  const { images } = JSON.parse(readFileSync(json, 'utf8')) as Stored;
  expect(images.map((i) => [i.name, i.grid])).toEqual([...files, files[0]].map((f) => [f, [4, 4]]));
  for (const name of ['cls', 'registers', 'patches'] as const) {
    const all = images.flatMap((i) => (i[name] as number[]).flat(2)).map(Math.fround);
    expect(all).toEqual([...got(name)]);
  }

  const { data, info } = await sharp(pca).raw().toBuffer({ resolveWithObject: true });
  // three columns, two rows, cells of 168 pixels, 4 between them
  expect([info.width, info.height, info.channels]).toEqual([3 * 172 + 4, 2 * 172 + 4, 3]);
  const cell = (column: number, row: number): string => {
    const bytes: number[] = [];
    for (let y = 0; y < 168; y++) {
      const at = ((4 + row * 172 + y) * info.width + 4 + column * 172) * 3;
      bytes.push(...data.subarray(at, at + 3 * 168));
    }
    return Buffer.from(bytes).toString('base64');
  };
  for (const row of [0, 1]) {
    expect(cell(0, row)).toBe(cell(2, row));
    expect(cell(0, row)).not.toBe(cell(1, row));
  }
  expect(new Set(cell(0, 1)).size).toBeGreaterThan(4);
});

test('other views: the whole picture, its own pixels cut or padded; the interpreting backend', { timeout: limit }, async () => {
  const { dir, files, model } = await prepare();
  const folder = join(dir, 'pictures');
  mkdirSync(join(folder, 'deep'), { recursive: true });
  await picture(join(folder, 'deep/c.png'), 75, 45, 4);
  writeFileSync(join(folder, 'broken.jpg'), flatJpeg([1, 2, 3]).subarray(0, 100));
  const out = join(dir, 'w.safetensors');
  // a link to a folder is a folder
  symlinkSync(folder, join(dir, 'link'));
  const run = async (args: readonly string[]) => {
    const ran = await fovea(['features', join(dir, 'link'), ...args, ...model, '--out', out]);
    expect(ran.status, ran.stderr).toBe(0);
    // what was found in a folder and is broken is left out, and named
    expect(ran.stderr).toMatch(/^warning: .*broken\.jpg: .*; skipped\n$/);
    return readSafetensors(out);
  };
  const { picture: own } = await readImage(join(folder, 'deep/c.png'));
  // 45 pixels become 30, 75 become 50; in patches of 14: 2 and 4
  const whole = await run([files[0], '--view', 'whole', '--resize', '30', '--backend', 'reference']);
  expect([...whole.tensors].map(([name, t]) => [name, t.shape])).toEqual([
    ['cls', [2, 24]],
    ['registers', [2, 2, 24]],
    ['patches.0', [2 * 4, 24]],
    ['patches.1', [2 * 3, 24]],
  ]);
  expect(JSON.parse(whole.metadata.grids as string)).toEqual([
    [2, 4],
    [2, 3],
  ]);
  const cut = await run(['--view', 'exact', '--fit', 'crop']);
  const pixels = input(own);
  const at = (c: number, y: number, x: number): number =>
    y >= 0 && y < 45 && x >= 0 && x < 75 ? (pixels[(c * 45 + y) * 75 + x] as number) : 0;
  const canvas = (h: number, w: number, top: number, left: number): number[] =>
    [0, 1, 2].flatMap((c) => Array.from({ length: h * w }, (_, i) => at(c, Math.floor(i / w) + top, (i % w) + left)));
  near(cut.tensors.get('patches')?.data as Float32Array, judge(canvas(42, 70, 1, 2), 1, [42, 70]).patches.data);
  const padded = await run(['--view', 'exact', '--fit', 'pad', '--cls-only']);
  expect([...padded.tensors.keys()]).toEqual(['cls', 'registers']);
  // 45 -> 56: 5 above and 6 below; 75 -> 84: 4 and 5
  near(padded.tensors.get('cls')?.data as Float32Array, judge(canvas(56, 84, -5, -4), 1, [56, 84]).cls.data);
});

test('what is wrong with a call is said before anything is compiled', { timeout: limit }, async () => {
  const { dir, files, model } = await prepare();
  const out = ['--out', join(dir, 'new/f.json')];
  const refused = async (code: string, args: readonly string[]): Promise<string> => {
    const { status, stdout, stderr } = await fovea(['features', ...args]);
    expect({ status, code: stderr.slice(0, 13) }, stderr).toEqual({ status: 1, code: `fovea: ${code}` });
    expect(stdout).not.toContain('compiling');
    return stderr;
  };
  const file = join(dir, 'model.json');
  expect(await refused('FV0503', [files[0], '--model', 'vit_small', '--registers', '4', ...out])).toContain(
    'https://dl.fbaipublicfiles.com/dinov2/dinov2_vits14/dinov2_vits14_reg4_pretrain.pth',
  );
  expect(await refused('FV0503', [files[0], '--model', 'vit_tiny'])).toContain('Known models: vit_small');
  expect(await refused('FV0503', [files[0], '--model', 'vits14_reg4', '--registers', '2'])).toContain('a number of its own');
  expect(await refused('FV0402', [files[0], '--model', 'vits14', '--weights', join(dir, 'no.safetensors'), ...out])).toContain(
    'no.safetensors',
  );
  const misfit = await refused('FV0406', [files[0], '--model', 'vits14', '--weights', join(dir, 'weights.safetensors'), ...out]);
  expect(misfit).toMatch(/weights\.safetensors does not fit: .*; and \d+ more/);
  const half = join(dir, 'half.safetensors');
  const bytes = readFileSync(join(dir, 'weights.safetensors'));
  writeFileSync(half, bytes.subarray(0, bytes.length >> 1));
  expect(await refused('FV0405', [files[0], '--model', file, '--weights', half, ...out])).toContain(half);
  mkdirSync(join(dir, 'empty'));
  expect(await refused('FV0401', [join(dir, 'empty'), ...model, ...out])).toContain('empty');
  expect(await refused('FV0402', [join(dir, 'none.png'), ...model, ...out])).toContain('none.png');
  expect(await refused('FV0408', [files[0], ...model, '--crop', '60', ...out])).toMatch(
    /60 x 60 .* patches of 14[\s\S]*--crop 56 or --crop 70/,
  );
  expect(await refused('FV0408', [files[0], ...model, '--view', 'exact', ...out])).toMatch(
    /a\.png: an image of 90 x 70 [\s\S]*Fit crop cuts it to 84 x 70, fit pad makes it 98 x 70\./,
  );
  expect(await refused('FV0503', [files[0], ...model, '--view', 'whole', '--crop', '56', ...out])).toContain('no meaning');
  expect(await refused('FV0503', [files[0], ...model, '--out', join(dir, 'f.npz')])).toContain('.safetensors or .json');
  expect(await refused('FV0503', [files[0], ...model, ...out, '--pca', join(dir, 'new/../new/f.json')])).toContain('one file');
  expect(await refused('FV0503', [files[0], ...model, '--pca', join(dir, 'p.jpg')])).toContain('ends with .png');
  symlinkSync(files[0], join(dir, 'same.png'));
  expect(await refused('FV0503', [files[0], ...model, '--pca', join(dir, 'same.png')])).toContain('would be overwritten');
  expect(await refused('FV0503', [files[0], ...model, '--out', join(dir, 'weights.safetensors')])).toContain('would be overwritten');
  expect(await refused('FV0406', [files[0], ...model, '--prefix', 'teacher', ...out])).toContain('no name starts with teacher.\n');
  const narrow = join(dir, 'narrow.json');
  writeFileSync(narrow, '{"embed_dim": 2, "depth": 1, "num_heads": 1}');
  expect(await refused('FV0408', [files[0], '--model', narrow, '--pca', join(dir, 'p.png')])).toContain('features of 2 numbers');
  expect(await refused('FV0503', [files[0], ...model, '--out', ''])).toContain("--out: expected a path, got ''");
  expect(await refused('FV0407', [files[0], ...model, '--out', '/sys/fovea-test/f.json'])).toContain('/sys/fovea-test');
  writeFileSync(join(dir, 'bad.json'), '{"embed_dims": 3}');
  expect(await refused('FV0415', [files[0], '--model', join(dir, 'bad.json'), ...out])).toContain('unknown key embed_dims');
  // nothing is left of the folders that were tried out
  expect(readdirSync(dir)).not.toContain('new');
});

test('weights in groups of blocks, of a training export, with names of Hugging Face: the same features', { timeout: limit }, async () => {
  const { dir, files } = await prepare();
  const flat = new Map([...weights()].map(([name, t]) => [name, lazyOf(t)] as const));
  const layouts = {
    chunks: chunkedBlocks(flat, 2),
    training: new Map([
      ...[...chunkedBlocks(flat, 2)].map(([name, t]) => [`backbone.${name}`, t] as const),
      ['dino_head.last_layer.weight_g', lazyOf({ shape: [1, 1], dtype: 'f32', data: Float32Array.of(1) })] as const,
    ]),
    hub: toHuggingFace(flat),
    half: new Map([...flat].map(([name, t]) => [name, castTo(t, 'bf16')] as const)),
  };
  const run = async (name: string, model = 'model.json'): Promise<readonly number[]> => {
    const [file, out] = [join(dir, name), join(dir, `${name}.json`)];
    const ran = await fovea(['features', files[0], '--crop', '56', '--model', join(dir, model), '--weights', file, '--out', out]);
    expect(ran, name).toMatchObject({ status: 0, stderr: '' });
    return (JSON.parse(readFileSync(out, 'utf8')) as { images: readonly { cls: readonly number[] }[] }).images[0]!.cls;
  };
  const want = await run('weights.safetensors');
  for (const [name, tensors] of Object.entries(layouts)) writeSafetensors(join(dir, `${name}.safetensors`), tensors);
  for (const name of ['chunks', 'training', 'hub']) expect(await run(`${name}.safetensors`), name).toEqual(want);
  // a network in groups takes a flat file
  writeFileSync(join(dir, 'groups.json'), JSON.stringify({ ...network, block_chunks: 2 }));
  expect(await run('weights.safetensors', 'groups.json')).toEqual(want);
  // Every weight is off by at most 2^-9 of itself, so a sum of n products by at most 2^-9 sqrt(n) times the size of its inputs (rows of
  // unit gain have length 1): 0.047 for a patch, 0.029 for the three layers of 24 inputs of a block and 0.019 for the one of 96, in two blocks.
  const half = await run('half.safetensors');
  const worst = Math.max(...want.map((x, i) => Math.abs(x - (half[i] as number))));
  expect(worst).toBeGreaterThan(0);
  expect(worst).toBeLessThan(0.15 * Math.max(...want.map(Math.abs)));
});

test('features that are no numbers are not written', { timeout: limit }, async () => {
  const { dir, files } = await prepare();
  const huge = weights();
  huge.get('patch_embed.proj.weight')?.data.fill(3e38);
  writeSafetensors(join(dir, 'huge.safetensors'), huge);
  const args = ['--model', join(dir, 'model.json'), '--weights', join(dir, 'huge.safetensors'), '--out', join(dir, 'f.json')];
  const { status, stderr } = await fovea(['features', files[1], '--crop', '56', ...args]);
  expect([status, stderr]).toEqual([1, expect.stringContaining('FV0416')]);
  expect(stderr).toContain(files[1]);
  expect(readdirSync(dir)).not.toContain('f.json');
});
