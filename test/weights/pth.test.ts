/** Checkpoints that PyTorch itself wrote (test/goldens/pth), in both of its formats, against the numbers that were put in. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { bytesSource, parseWeights, readWeights } from '../../models/weights/index.ts';

const file = (name: string): string => join(import.meta.dirname, '../goldens/pth', name);
const range = (n: number, f: (i: number) => number = (i) => i): Float32Array => Float32Array.from({ length: n }, (_, i) => f(i));

test.each(['linear.pth', 'linear-legacy.pth'])('the state dictionary of a module: %s', async (name) => {
  const { tensors, format, key, close } = await readWeights(file(name));
  expect(format).toBe(name.includes('legacy') ? 'pytorch-legacy' : 'pytorch');
  expect(key).toBeUndefined();
  expect([...tensors.keys()]).toEqual(['fc.weight', 'fc.bias', 'norm.weight', 'norm.bias']);
  expect(tensors.get('fc.weight')).toMatchObject({ shape: [2, 3], dtype: 'f32' });
  [...tensors.values()].forEach((t, i) => {
    expect(t.load()).toEqual(
      range(
        (t.shape as number[]).reduce((a, b) => a * b),
        (k) => k / 4 + i,
      ),
    );
  });
  close();
});

test.each(['types.pth', 'types-legacy.pth'])('every type, and views of one storage: %s', async (name) => {
  const { tensors } = await readWeights(file(name));
  const load = (n: string): ArrayLike<number> | undefined => tensors.get(n)?.load();
  expect(load('f32')).toEqual(range(12));
  expect(load('f16')).toEqual(Uint16Array.of(0, 0x3c00, 0x4000, 0x4200, 0x4400, 0x4500, 0x4600, 0x4700, 0x4800, 0x4880, 0x4900, 0x4980));
  expect(load('bf16')).toEqual(Uint16Array.from(range(12), (x) => new Uint32Array(Float32Array.of(x).buffer)[0]! >>> 16));
  expect(load('f64')).toEqual(range(12, (i) => i / 3));
  expect(load('i32')).toEqual(Int32Array.of(7, -7));
  expect(load('i16')).toEqual(Int32Array.of(300, -300));
  expect(load('i8')).toEqual(Int32Array.of(-5));
  expect(load('u8')).toEqual(Uint32Array.of(200));
  expect(load('bool')).toEqual(Uint8Array.of(1, 0));
  expect(tensors.get('transposed')?.shape).toEqual([4, 3]);
  expect(load('transposed')).toEqual(range(12, (i) => (i % 3) * 4 + Math.floor(i / 3)));
  expect(load('row')).toEqual(Float32Array.of(4, 5, 6, 7));
  expect(load('column')).toEqual(Float32Array.of(2, 6, 10));
  expect(load('step')).toEqual(Float32Array.of(1, 2, 9, 10));
  expect(tensors.get('scalar')?.shape).toEqual([]);
  expect(load('scalar')).toEqual(Float32Array.of(2.5));
  expect(tensors.get('empty')?.shape).toEqual([0, 3]);
  expect(load('empty')).toEqual(new Float32Array(0));
  expect(load('parameter')).toEqual(range(12, (i) => i + 1));
  expect(() => load('i64')).toThrow(/1099511627776 at element 2 cannot be held exactly as i32/);
});

test('asked for f32, everything is f32', async () => {
  const { tensors } = await readWeights(file('types.pth'), { as: 'f32' });
  expect(new Set([...tensors.values()].map((t) => t.dtype))).toEqual(new Set(['f32']));
  for (const name of ['f16', 'bf16', 'f32']) expect(tensors.get(name)?.load()).toEqual(range(12));
  expect(tensors.get('i64')?.load()).toEqual(Float32Array.of(1, -2, 2 ** 40));
  expect(tensors.get('bool')?.load()).toEqual(Float32Array.of(1, 0));
});

test('a training export: the teacher, or what is asked for', async () => {
  const { tensors, key, metadata } = await readWeights(file('teacher.pth'));
  expect(key).toBe('teacher');
  expect([...tensors.keys()]).toEqual(['backbone.cls_token', 'dino_head.last_layer.weight_g']);
  expect({ ...metadata }).toEqual({});
  await expect(readWeights(file('teacher.pth'), { key: 'student' })).rejects.toMatchObject({
    code: 'FV0406',
    hint: 'It holds "teacher", "iteration", "args".',
  });
  await expect(readWeights(file('teacher.pth'), { key: 'iteration' })).rejects.toThrow(/no dictionary under the key "iteration"/);
});

test('the name of a file says nothing', async () => {
  const bytes = readFileSync(file('linear.pth'));
  expect((await parseWeights(bytesSource(bytes, 'model.safetensors'))).format).toBe('pytorch');
  // from any place in memory, aligned or not
  const shifted = new Uint8Array(bytes.length + 1);
  shifted.set(bytes, 1);
  const { tensors } = await parseWeights(bytesSource(shifted.subarray(1), 'shifted'));
  expect(tensors.get('fc.bias')?.load()).toEqual(Float32Array.of(1, 1.25));
});
