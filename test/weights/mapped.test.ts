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

test('the cpu backend can be loaded after a file was mapped', async () => {
  const file = join(scratch(), 'first.bin');
  writeFileSync(file, Buffer.alloc(10, 1));
  const s = openSource(file);
  expect(s.bytes(2, 1)[0]).toBe(1);
  s.close();
  // koffi takes no configuration once it has loaded a library, and the backend's kernels need larger stacks
  const { cpu } = await import('../../backends/cpu/index.ts');
  expect(cpu()).toMatchObject({ name: 'cpu' });
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

interface Measured {
  readonly sum: number;
  readonly bytes: number;
  /** The most that memory of its own, without the pages of files, grew by. */
  readonly most: number;
}
/** Runs the body of an async function in a process of its own; there `file` is a large checkpoint, `own()` says how much memory it has. */
const measured = (body: string): Measured => {
  const file = join(scratch(), 'large.safetensors');
  large(file);
  const root = join(import.meta.dirname, '../..');
  const program = `
    import { readFileSync } from 'node:fs';
    const own = () => Number(readFileSync('/proc/self/status', 'utf8').match(/RssAnon:\\s+(\\d+)/)[1]) * 1024;
    const file = ${JSON.stringify(file)};
    const load = (path) => import(${JSON.stringify(`${root}/`)} + path);
    const run = async () => {
      const { readWeights } = await load('models/weights/index.ts');
      ${body}
    };
    run().then((x) => console.log(JSON.stringify(x)));`;
  const args = ['--import', 'tsx', '--input-type=module', '-e', program];
  return JSON.parse(execFileSync(process.execPath, args, { encoding: 'utf8', cwd: root })) as Measured;
};

const linux = (skip: () => void): void => {
  if (process.platform === 'linux') return;
  console.log('skipped: only Linux says how much of a process is memory of its own');
  skip();
};

test('350 MB are read without a copy', ({ skip }) => {
  linux(skip);
  const { sum, bytes, most } = measured(`
    const { tensors } = await readWeights(file);
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
    return { sum, bytes, most, held: held.length };`);
  expect([sum, bytes]).toEqual([0, 352e6]);
  console.log(`352 MB read; memory of the process grew by ${(most / 1e6).toFixed(1)} MB`);
  // one copy would be the whole file; what grows is compiled code and the collector's space, far below a tenth
  expect(most).toBeLessThan(bytes / 10);
});

test('350 MB are copied once on the way into a compiled program', { timeout: 60_000 }, ({ skip }) => {
  linux(skip);
  const { sum, bytes, most } = measured(`
    const { compile, spec, sum: add } = await load('index.ts');
    const { cpu } = await load('backends/cpu/index.ts');
    const { tensors } = await readWeights(file, { as: 'f32' });
    const f = (w) => ['t0', 't1', 't2', 't3'].map((k) => add('n d ->', w[k])).reduce((a, b) => a.add(b));
    const specs = Object.fromEntries([...tensors.keys()].map((k) => [k, spec('22000 1000')]));
    const program = await compile(f, [specs], { backend: cpu({ threads: 1 }) });
    const before = own();
    let bytes = 0, most = 0;
    const grown = () => { most = Math.max(most, own() - before); };
    const watched = Object.fromEntries([...tensors].map(([k, t]) => [k, { ...t, load: () => {
      grown();
      const data = t.load();
      bytes += data.byteLength;
      return data;
    } }]));
    const { data } = await (await program(watched)).read();
    grown();
    return { sum: data[0], bytes, most };`);
  expect([sum, bytes]).toEqual([0, 352e6]);
  console.log(`352 MB into a program; memory of the process grew by ${(most / 1e6).toFixed(1)} MB`);
  // the arena has the program's copy; a second one, even of a single tensor, would be a quarter more
  expect(most).toBeGreaterThan(0.95 * bytes);
  expect(most).toBeLessThan(1.1 * bytes);
});
