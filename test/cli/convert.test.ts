/** `fovea convert`: what it writes, what it says, what it refuses. */
import { existsSync, mkdirSync, readdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { openSafetensors, readSafetensors, type TensorData, writeSafetensors } from '../../models/weights/index.ts';
import { p, zipPth } from '../weights/torch-save.ts';
import { fovea, scratch } from './command.ts';

const limit = 120_000;
const golden = (name: string): string => join(import.meta.dirname, '../goldens/pth', name);

/** A backbone of 64 channels with four blocks, as a training run exports it: two chunks, wrappers, a head. */
const backbone = (depth = 4): Map<string, TensorData> => {
  const D = 64;
  const block = (i: number): readonly (readonly [string, readonly number[]])[] =>
    (
      [
        ['norm1.weight', [D]],
        ['norm1.bias', [D]],
        ['attn.qkv.weight', [3 * D, D]],
        ['attn.qkv.bias', [3 * D]],
        ['attn.proj.weight', [D, D]],
        ['attn.proj.bias', [D]],
        ['ls1.gamma', [D]],
        ['norm2.weight', [D]],
        ['norm2.bias', [D]],
        ['mlp.fc1.weight', [4 * D, D]],
        ['mlp.fc1.bias', [4 * D]],
        ['mlp.fc2.weight', [D, 4 * D]],
        ['mlp.fc2.bias', [D]],
        ['ls2.gamma', [D]],
      ] as const
    ).map(([n, shape]) => [`blocks.${i}.${n}`, shape]);
  const names: readonly (readonly [string, readonly number[]])[] = [
    ['cls_token', [1, 1, D]],
    ['pos_embed', [1, 5, D]],
    ['mask_token', [1, D]],
    ['patch_embed.proj.weight', [D, 3, 2, 2]],
    ['patch_embed.proj.bias', [D]],
    ...Array.from({ length: depth }, (_, i) => block(i)).flat(),
    ['norm.weight', [D]],
    ['norm.bias', [D]],
  ];
  return new Map(
    names.map(([name, shape], k) => {
      const n = shape.reduce((a, b) => a * b, 1);
      return [name, { shape, dtype: 'f32', data: Float32Array.from({ length: n }, (_, i) => Math.fround(Math.sin(i + 31 * k))) }];
    }),
  );
};
const exported = (): Map<string, TensorData> => {
  const out = new Map(
    [...backbone()].map(([n, t]) => [`backbone.${n.replace(/^blocks\.(\d+)/, (_, i) => `blocks.${Math.floor(Number(i) / 2)}.${i}`)}`, t]),
  );
  return out.set('dino_head.mlp.0.bias', { shape: [2], dtype: 'f32', data: Float32Array.of(1, 2) });
};
const values = (file: string): unknown =>
  [...readSafetensors(file).tensors].map(([n, t]) => [n, t.shape, t.dtype, Buffer.from(t.data.buffer).toString('base64')]);

const refused = async (code: string, args: readonly string[]): Promise<string> => {
  const { status, stderr } = await fovea(['convert', ...args]);
  expect({ status, stderr }).toMatchObject({
    status: 1,
    stderr: expect.stringMatching(new RegExp(`^fovea: ${code}: .*\n( {2}\\S.*\n)?$`)),
  });
  return stderr;
};

test('a training export to Hugging Face and back', { timeout: limit }, async () => {
  const dir = scratch();
  const [from, hub, back, chunked] = ['export.safetensors', 'hub', 'back.safetensors', 'chunked.safetensors'].map((n) => join(dir, n)) as [
    string,
    string,
    string,
    string,
  ];
  writeSafetensors(from, exported(), { run: '7' });
  const there = await fovea(['convert', from, hub, '--to', 'hf']);
  expect(there).toMatchObject({ status: 0, stderr: '' });
  expect(there.stdout).toContain(`read ${from}: safetensors, 64 tensors\n`);
  expect(there.stdout).toContain('dropped 1 tensor of projection heads: dino_head.mlp.0.bias\n');
  expect(there.stdout).toMatch(
    /renamed 79 tensors, such as embeddings\.cls_token\nwrote .*model\.safetensors: 79 tensors, 807\.4 kB, f32\nwrote .*config\.json\n$/,
  );
  expect(readdirSync(hub).sort()).toEqual(['config.json', 'model.safetensors']);
  expect(JSON.parse(readFileSync(join(hub, 'config.json'), 'utf8'))).toMatchObject({
    model_type: 'dinov2',
    hidden_size: 64,
    num_hidden_layers: 4,
    image_size: 4,
  });
  expect({ ...readSafetensors(join(hub, 'model.safetensors')).metadata }).toEqual({ run: '7', format: 'pt' });

  expect((await fovea(['convert', hub, back, '--to', 'dinov2'])).status).toBe(0);
  const flat = join(dir, 'flat.safetensors');
  writeSafetensors(flat, backbone());
  expect(values(back)).toEqual(values(flat));

  expect((await fovea(['convert', hub, chunked, '--chunks', '2'])).status).toBe(0);
  expect([...openSafetensors(chunked).tensors.keys()].map((n) => `backbone.${n}`)).toEqual(
    [...exported().keys()].filter((n) => !n.startsWith('dino_head')),
  );
});

test('a checkpoint of a training run: the teacher of safetensors', { timeout: limit }, async () => {
  const dir = scratch();
  const [run, out, flat] = ['run.safetensors', 'out.safetensors', 'flat.safetensors'].map((n) => join(dir, n)) as [string, string, string];
  const student = [...backbone(1)].map(
    ([n, t]) => [`student.backbone.${n}`, { ...t, data: new Float32Array(t.data.byteLength / 4) }] as const,
  );
  const teacher = [...backbone(1)].map(([n, t]) => [`teacher.backbone.${n}`, t] as const);
  writeSafetensors(run, new Map<string, TensorData>([...student, ...teacher]));
  writeSafetensors(flat, backbone(1));
  const { stdout, status } = await fovea(['convert', run, out, '--to', 'dinov2', '--key', 'teacher']);
  expect(status).toBe(0);
  expect(stdout).toContain('safetensors, 21 tensors, under the key "teacher"\n');
  expect(values(out)).toEqual(values(flat));
  const why = await refused('FV0406', [run, join(dir, 'x.safetensors'), '--key', 'teach']);
  expect(why).toContain('has no tensors under the key "teach"\n  Its names start with "student"; "teacher".');
});

test('heads that are not 64 channels wide', { timeout: limit }, async () => {
  const dir = scratch();
  const [own, hub, again, flat] = ['own.safetensors', 'hub', 'again', 'flat.safetensors'].map((n) => join(dir, n)) as [
    string,
    string,
    string,
    string,
  ];
  writeSafetensors(own, backbone(1));
  const heads = (folder: string): unknown => JSON.parse(readFileSync(join(folder, 'config.json'), 'utf8')).num_attention_heads;
  expect((await fovea(['convert', own, hub, '--to', 'hf', '--attention-heads', '4'])).status).toBe(0);
  expect(heads(hub)).toBe(4);
  // a model of Hugging Face says it itself; what is asked for goes first
  expect((await fovea(['convert', hub, again, '--to', 'hf', '--dtype', 'f16'])).status).toBe(0);
  expect(heads(again)).toBe(4);
  expect((await fovea(['convert', hub, again, '--to', 'hf', '--attention-heads', '2', '--force'])).status).toBe(0);
  expect(heads(again)).toBe(2);
  expect(await refused('FV0406', [own, join(dir, 'x'), '--to', 'hf', '--attention-heads', '5'])).toContain('64 channels in 5 heads');
  expect(await refused('FV0503', [own, flat, '--attention-heads', '4'])).toContain('no config.json is written');
  expect(readdirSync(dir).sort()).toEqual(['again', 'hub', 'own.safetensors']);
});

test('a full disk: the code says so, and nothing is left behind', { timeout: limit }, async () => {
  const dir = scratch();
  const [own, out] = ['own.safetensors', 'out.safetensors'].map((n) => join(dir, n)) as [string, string];
  writeSafetensors(own, backbone());
  writeFileSync(out, 'old');
  const { status, stderr } = await fovea(['convert', own, out, '--force'], { fileLimit: 400 });
  expect({ status, stderr }).toMatchObject({
    status: 1,
    stderr: expect.stringMatching(/^fovea: FV0407: cannot write .*out\.safetensors: EFBIG/),
  });
  expect(readFileSync(out, 'utf8')).toBe('old');
  expect(readdirSync(dir).sort()).toEqual(['out.safetensors', 'own.safetensors']);
});

test('Ctrl-C while tensors are written leaves what was there, and nothing besides', { timeout: limit }, async () => {
  const dir = scratch();
  const [own, out] = ['own.safetensors', 'out.safetensors'].map((n) => join(dir, n)) as [string, string];
  // a hole in a file: many tensors, long to write, without room on the disk
  const [count, bytes] = [100, 8 << 20];
  const entry = (i: number): unknown => ({ dtype: 'F32', shape: [bytes / 4], data_offsets: [i * bytes, (i + 1) * bytes] });
  const header = Buffer.from(JSON.stringify(Object.fromEntries(Array.from({ length: count }, (_, i) => [`t${i}`, entry(i)]))));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(header.length));
  writeFileSync(own, Buffer.concat([length, header]));
  truncateSync(own, 8 + header.length + count * bytes);
  writeFileSync(out, 'old');
  let seen = false;
  const stop = new AbortController();
  const ran = fovea(['convert', own, out, '--force'], {
    watch: (stdout, kill) => {
      if (!stdout.startsWith('read ')) return;
      // the temporary file is there: in the middle of writing
      const look = setInterval(() => {
        if (stop.signal.aborted) return clearInterval(look);
        if (!readdirSync(dir).some((n) => n.endsWith('.tmp'))) return;
        seen = true;
        kill('SIGINT');
        clearInterval(look);
      }, 2);
    },
  });
  const { status, stdout } = await ran;
  stop.abort();
  expect({ seen, status, stdout }).toMatchObject({ seen: true, status: 130, stdout: expect.not.stringContaining('wrote') });
  expect(readFileSync(out, 'utf8')).toBe('old');
  expect(readdirSync(dir).sort()).toEqual(['out.safetensors', 'own.safetensors']);
});

test('types: half precision and back', { timeout: limit }, async () => {
  const dir = scratch();
  const [half, full] = ['half.safetensors', 'full.safetensors'].map((n) => join(dir, n)) as [string, string];
  expect((await fovea(['convert', golden('linear.pth'), half, '--dtype', 'bf16'])).stdout).toMatch(/wrote .*: 4 tensors, 0\.0 kB, bf16\n$/);
  expect((await fovea(['convert', half, full, '--dtype', 'f32'])).status).toBe(0);
  // quarters below 4 have fewer than the 8 bits of bf16
  expect(readSafetensors(full).tensors.get('fc.weight')?.data).toEqual(Float32Array.of(0, 0.25, 0.5, 0.75, 1, 1.25));
});

test('a checkpoint of PyTorch: which entry, and names as they are', { timeout: limit }, async () => {
  const dir = scratch();
  const out = join(dir, 'out.safetensors');
  const { stdout, status } = await fovea(['convert', golden('teacher.pth'), out]);
  expect(status).toBe(0);
  expect(stdout).toMatch(/pytorch, 2 tensors, under the key "teacher"\nwrote/);
  expect([...openSafetensors(out).tensors.keys()]).toEqual(['backbone.cls_token', 'dino_head.last_layer.weight_g']);
  expect(await refused('FV0502', [golden('teacher.pth'), out])).toContain('a file is there already');
  expect((await fovea(['convert', golden('teacher.pth'), out, '--heads', 'drop', '--force'])).status).toBe(0);
  expect([...openSafetensors(out).tensors.keys()]).toEqual(['backbone.cls_token']);
  expect(await refused('FV0406', [golden('teacher.pth'), join(dir, 'x.safetensors'), '--key', 'model'])).toContain('It holds "teacher"');
  // onto itself
  expect((await fovea(['convert', out, out, '--to', 'dinov2', '--force'])).status).toBe(0);
  expect([...openSafetensors(out).tensors.keys()]).toEqual(['cls_token']);
});

test('what is refused, and leaves nothing behind', { timeout: limit }, async () => {
  const dir = scratch();
  const out = join(dir, 'out.safetensors');
  const evil = join(dir, 'evil.pth');
  writeFileSync(evil, zipPth(p.call(p.global('os', 'system'), p.str(`touch ${join(dir, 'owned')}`)), {}));
  expect(await refused('FV0410', [evil, out])).toContain('its pickle asks for os.system');
  writeFileSync(join(dir, 'text'), 'this is no weight file');
  expect(await refused('FV0412', [join(dir, 'text'), out])).toContain('neither safetensors nor');
  expect(await refused('FV0402', [join(dir, 'none'), out])).toContain('none');
  mkdirSync(join(dir, 'empty'));
  expect(await refused('FV0402', [join(dir, 'empty'), out])).toContain('no weights in the folder');
  expect(await refused('FV0503', [golden('linear.pth'), join(dir, 'out.pth')])).toContain('only safetensors are written');
  expect(await refused('FV0503', [golden('linear.pth'), out, '--dtype', 'f8'])).toContain('--dtype');
  expect(await refused('FV0503', [golden('linear.pth'), out, '--to', 'hf', '--chunks', '2'])).toContain('--chunks');
  expect(await refused('FV0406', [golden('linear.pth'), out, '--to', 'hf'])).toContain('no counterpart');
  expect(await refused('FV0502', [golden('linear.pth'), join(dir, 'text/below.safetensors')])).toContain('a part of the path is a file');
  expect(await refused('FV0407', [golden('linear.pth'), join(dir, 'no/such.safetensors')])).toContain('The folder does not exist');
  expect(existsSync(join(dir, 'owned'))).toBe(false);
  expect(readdirSync(dir).sort()).toEqual(['empty', 'evil.pth', 'text']);
});
