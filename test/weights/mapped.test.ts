/** Mapped files: what is a view, what is a copy, how long it lives, and how much memory a large checkpoint takes. */
import { execFileSync } from 'node:child_process';
import { closeSync, ftruncateSync, openSync, readFileSync, truncateSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { openSafetensors, openSource, readWeights, writeSafetensors } from '../../models/weights/index.ts';
import { scratch } from '../cli/command.ts';

const tensors = () =>
  new Map([
    ['a', { shape: [300, 100], dtype: 'f32' as const, data: Float32Array.from({ length: 30_000 }, (_, i) => i) }],
    ['b', { shape: [3], dtype: 'f16' as const, data: Uint16Array.of(0x3c00, 0x4000, 0x4200) }],
  ]);

test.each([true, false])('ranges anywhere in a file, mapped: %s', (map) => {
  const file = join(scratch(), 'range.bin');
  const bytes = Uint8Array.from({ length: 200_000 }, (_, i) => (i * 7) % 251);
  writeFileSync(file, bytes);
  const s = openSource(file, { map });
  for (const [offset, length] of [
    [0, 1],
    [1, 7],
    [65_535, 2],
    [65_536, 65_536],
    [131_073, 68_927],
    [200_000, 0],
  ] as const)
    expect(Buffer.compare(s.bytes(offset, length), bytes.subarray(offset, offset + length))).toBe(0);
  for (const [offset, length] of [
    [-1, 1],
    [200_000, 1],
    [0, 200_001],
    [2 ** 53, 1],
    [Number.NaN, 1],
  ] as const)
    expect(() => s.bytes(offset, length)).toThrow(/are asked for/);
  s.close();
  expect(() => s.bytes(0, 1)).toThrow(/it was closed/);
  s.close();
});

test('a view outlives the closed file; writing to it changes nothing else', () => {
  const file = join(scratch(), 'view.safetensors');
  writeSafetensors(file, tensors());
  const { tensors: read, close } = openSafetensors(file);
  const a = read.get('a')?.load() as Float32Array;
  close();
  expect(() => read.get('a')?.load()).toThrow(/it was closed/);
  expect(a).toEqual(tensors().get('a')?.data);
  a[5] = -1;
  expect(readFileSync(file).includes(Buffer.from(Float32Array.of(-1).buffer))).toBe(false);
  const again = openSafetensors(file, { as: 'f32' });
  expect(again.tensors.get('a')?.load()[5]).toBe(5);
  expect(again.tensors.get('b')?.load()).toEqual(Float32Array.of(1, 2, 3));
  again.close();
});

test('a file that is replaced stays readable, one that has become shorter is refused', () => {
  const file = join(scratch(), 'changing.safetensors');
  writeSafetensors(file, tensors());
  const { tensors: read, close } = openSafetensors(file);
  writeSafetensors(file, new Map());
  expect(read.get('a')?.load()[29_999]).toBe(29_999);
  close();
  writeSafetensors(file, tensors());
  const other = openSafetensors(file);
  truncateSync(file, 1000);
  expect(() => other.tensors.get('a')?.load()).toThrow(/bytes .* are asked for/);
  other.close();
});

test('a lazy tensor is written as it is loaded, onto its own file too', async () => {
  const file = join(scratch(), 'self.safetensors');
  writeSafetensors(file, tensors(), { step: '1' });
  const { tensors: read, close } = await readWeights(file);
  const loaded: string[] = [];
  const counted = new Map(
    [...read].map(([name, t]) => {
      const load = () => {
        loaded.push(name);
        return t.load();
      };
      return [name, { ...t, load }];
    }),
  );
  writeSafetensors(file, counted, { step: '2' });
  close();
  expect(loaded).toEqual(['a', 'b']);
  expect(openSafetensors(file).metadata).toEqual({ step: '2' });
  expect(openSafetensors(file).tensors.get('a')?.load()).toEqual(tensors().get('a')?.data);
  const short = new Map([['a', { shape: [9], dtype: 'f32' as const, load: () => new Float32Array(8) }]]);
  expect(() => writeSafetensors(file, short)).toThrow(/is 36 bytes, but holds 32/);
  expect(openSafetensors(file).tensors.size).toBe(2);
});

/** A checkpoint of 350 MB that takes no room on the disk: its numbers are a hole, zeros. */
const large = (file: string): void => {
  const rows = 22_000;
  const shape = [rows, 1000];
  const bytes = 4 * rows * 1000;
  const entries = Object.fromEntries(
    [0, 1, 2, 3].map((i) => [`t${i}`, { dtype: 'F32', shape, data_offsets: [i * bytes, (i + 1) * bytes] }]),
  );
  const text = Buffer.from(JSON.stringify(entries).padEnd(504));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  const fd = openSync(file, 'w');
  writeSync(fd, Buffer.concat([length, text]));
  ftruncateSync(fd, 512 + 4 * bytes);
  closeSync(fd);
};

test('350 MB are read without a copy', ({ skip }) => {
  if (process.platform !== 'linux') {
    console.log('skipped: only Linux says how much of a process is memory of its own');
    skip();
  }
  const file = join(scratch(), 'large.safetensors');
  large(file);
  // memory of its own, without the pages of files, before and after every number was added up
  const program = `
    import { readFileSync } from 'node:fs';
    import { readWeights } from ${JSON.stringify(join(import.meta.dirname, '../../models/weights/index.ts'))};
    const own = () => Number(readFileSync('/proc/self/status', 'utf8').match(/RssAnon:\\s+(\\d+)/)[1]) * 1024;
    const run = async () => {
      const { tensors } = await readWeights(${JSON.stringify(file)});
      const before = own();
      let sum = 0, bytes = 0, most = 0;
      const held = [];
      for (const t of tensors.values()) {
        const data = t.load();
        held.push(data);
        bytes += data.byteLength;
        for (let i = 0; i < data.length; i++) sum += data[i];
        most = Math.max(most, own() - before);
      }
      console.log(JSON.stringify({ sum, bytes, most, held: held.length }));
    };
    void run();`;
  const out = JSON.parse(
    execFileSync(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', program], {
      encoding: 'utf8',
      cwd: join(import.meta.dirname, '../..'),
    }),
  ) as {
    readonly sum: number;
    readonly bytes: number;
    readonly most: number;
  };
  expect(out.sum).toBe(0);
  expect(out.bytes).toBe(352e6);
  console.log(`352 MB read; memory of the process grew by ${(out.most / 1e6).toFixed(1)} MB`);
  // one copy would be the whole file; what grows is compiled code and the collector's space, far below a tenth
  expect(out.most).toBeLessThan(out.bytes / 10);
});
