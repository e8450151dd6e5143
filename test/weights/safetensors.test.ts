/** Weight files: round trips, agreement with recorded files, damaged and hostile input, atomic writing. */
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { FoveaError } from '../../compiler/error.ts';
import type { HostTensor } from '../../dsl/index.ts';
import { flatten, readSafetensors, readStored, restore, writeAtomic, writeSafetensors } from '../../models/weights/index.ts';

let dir = '';
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'fovea-weights-'));
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const tensor = fc
  .tuple(fc.constantFrom('f32', 'f16', 'bf16', 'i32', 'u32', 'bool'), fc.array(fc.integer({ min: 0, max: 4 }), { maxLength: 3 }), fc.nat())
  .map(([dtype, shape, seed]): HostTensor => {
    const n = shape.reduce((a, b) => a * b, 1);
    const at = (i: number): number => Math.imul(seed + i, 0x9e3779b9) >>> 0;
    if (dtype === 'f32') return { shape, dtype, data: Float32Array.from({ length: n }, (_, i) => at(i) / 1e6 - 1000) };
    if (dtype === 'i32') return { shape, dtype, data: Int32Array.from({ length: n }, (_, i) => at(i) | 0) };
    if (dtype === 'u32') return { shape, dtype, data: Uint32Array.from({ length: n }, (_, i) => at(i)) };
    if (dtype === 'bool') return { shape, dtype, data: Uint8Array.from({ length: n }, (_, i) => at(i) & 1) };
    return { shape, dtype: dtype as 'f16' | 'bf16', data: Uint16Array.from({ length: n }, (_, i) => at(i) & 0xffff) };
  });
const names = fc.string({ minLength: 1, maxLength: 12 }).filter((s) => s !== '__metadata__');

test('what is written is read back, bit for bit', () => {
  const file = join(dir, 'round.safetensors');
  fc.assert(
    fc.property(fc.array(fc.tuple(names, tensor), { maxLength: 5 }), fc.dictionary(names, fc.string(), { maxKeys: 3 }), (list, meta) => {
      const tensors = new Map(list);
      writeSafetensors(file, tensors, meta);
      const back = readSafetensors(file);
      expect([...back.tensors].sort()).toEqual([...tensors].sort());
      expect({ ...back.metadata }).toEqual({ ...meta });
    }),
    { seed: 11, numRuns: 60 },
  );
});

test('results of the reference backend, f32 in float64, are rounded to f32', () => {
  const file = join(dir, 'reference.safetensors');
  writeSafetensors(file, new Map([['x', { shape: [2], dtype: 'f32', data: Float64Array.of(0.1, -2) }]]));
  expect(readSafetensors(file).tensors.get('x')?.data).toEqual(Float32Array.of(0.1, -2));
});

test('a file written by the original library is read', () => {
  const { tensors } = readStored(join(import.meta.dirname, '../goldens/masking.safetensors'));
  expect(tensors.get('c224.masks')).toMatchObject({ type: 'U8', shape: [6, 256] });
});

const sample = (): Buffer => {
  const file = join(dir, 'sample.safetensors');
  writeSafetensors(
    file,
    new Map<string, HostTensor>([
      ['a', { shape: [2, 3], dtype: 'f32', data: new Float32Array(6) }],
      ['b', { shape: [4], dtype: 'u32', data: new Uint32Array(4) }],
    ]),
  );
  return readFileSync(file);
};
const withHeader = (header: string, data = 40): Buffer => {
  const text = Buffer.from(header);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  return Buffer.concat([length, text, Buffer.alloc(data)]);
};
const reading = (bytes: Uint8Array): unknown => {
  const file = join(dir, 'damaged.safetensors');
  writeFileSync(file, bytes);
  try {
    return readStored(file).tensors;
  } catch (e) {
    return e;
  }
};
const refused = (bytes: Uint8Array, why: RegExp): void => {
  const e = reading(bytes);
  expect(e).toBeInstanceOf(FoveaError);
  expect((e as FoveaError).code).toBe('FV0405');
  expect((e as FoveaError).message).toMatch(why);
};
const a = '"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}';

test.each([
  ['no JSON', '{', /not JSON/],
  ['an array', '[]', /not a JSON object/],
  ['an unknown dtype', '{"a":{"dtype":"F31","shape":[10],"data_offsets":[0,40]}}', /unknown dtype/],
  ['a dtype of the object prototype', '{"a":{"dtype":"toString","shape":[10],"data_offsets":[0,40]}}', /unknown dtype/],
  ['a negative size', '{"a":{"dtype":"F32","shape":[-10],"data_offsets":[0,40]}}', /malformed shape/],
  ['a fraction', '{"a":{"dtype":"F32","shape":[2.5,4],"data_offsets":[0,40]}}', /malformed shape/],
  ['sizes whose product is huge', '{"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,40]}}', /bytes, but has 40/],
  ['offsets past the end', '{"a":{"dtype":"F32","shape":[11],"data_offsets":[0,44]}}', /of 40/],
  ['offsets that run backwards', '{"a":{"dtype":"F32","shape":[0],"data_offsets":[8,4]}}', /8\.\.4/],
  ['offsets that are strings', '{"a":{"dtype":"F32","shape":[10],"data_offsets":["0","40"]}}', /malformed data_offsets/],
  ['overlap', `{${a},"b":{"dtype":"U32","shape":[5],"data_offsets":[20,40]}}`, /overlaps/],
  ['a hole', `{${a},"b":{"dtype":"U32","shape":[3],"data_offsets":[28,40]}}`, /belong to no tensor/],
  ['bytes left over', `{${a}}`, /belong to no tensor/],
  ['metadata that are numbers', `{"__metadata__":{"step":1},${a},"b":{"dtype":"U32","shape":[4],"data_offsets":[24,40]}}`, /metadata/],
])('a header with %s is refused', (_, header, why) => refused(withHeader(header), why));

test('hostile lengths neither allocate nor crash', () => {
  refused(Buffer.alloc(0), /too few/);
  refused(Buffer.alloc(7), /too few/);
  refused(Buffer.alloc(8, 0xff), /claims/);
  const whole = sample();
  for (const length of [2n ** 63n, 2n ** 32n, BigInt(whole.length - 7)]) {
    const b = Buffer.from(whole);
    b.writeBigUInt64LE(length);
    refused(b, /claims/);
  }
});

test('any cut is refused, and any change of a byte is refused or read as tensors of the file', () => {
  const whole = sample();
  for (let n = 0; n < whole.length; n++) refused(whole.subarray(0, n), /./);
  fc.assert(
    fc.property(fc.nat({ max: whole.length - 1 }), fc.integer({ min: 1, max: 255 }), (at, flip) => {
      const b = Buffer.from(whole);
      b[at] = b[at]! ^ flip;
      const result = reading(b);
      if (result instanceof Map) for (const t of result.values()) expect(t.bytes.length).toBeLessThanOrEqual(40);
      else expect(result).toBeInstanceOf(FoveaError);
    }),
    { seed: 5, numRuns: 400 },
  );
});

test('a name of the object prototype is a name like any other', () => {
  const file = join(dir, 'proto.safetensors');
  const t: HostTensor = { shape: [1], dtype: 'f32', data: Float32Array.of(7) };
  writeSafetensors(file, new Map([['__proto__', t]]));
  expect(readSafetensors(file).tensors.get('__proto__')).toEqual(t);
});

test('missing files and folders in their place', () => {
  expect(() => readStored(join(dir, 'none'))).toThrow(/cannot read/);
  expect(() => readStored(dir)).toThrow(FoveaError);
});

test('a failed write leaves the old file and nothing else', () => {
  const folder = join(dir, 'atomic');
  mkdirSync(folder);
  const file = join(folder, 'w.bin');
  writeAtomic(file, [Buffer.from('old')]);
  // a part that cannot be written stands for a full disk: the failure comes after bytes have gone out
  const faulty = [Buffer.from('new'), { length: 1 } as unknown as Uint8Array];
  expect(() => writeAtomic(file, faulty)).toThrow(/FV0407|cannot write/);
  expect(readFileSync(file, 'utf8')).toBe('old');
  expect(readdirSync(folder)).toEqual(['w.bin']);
  expect(() => writeAtomic(join(folder, 'no/such/file'), [])).toThrow(/cannot write/);
  expect(existsSync(join(folder, 'no'))).toBe(false);
  try {
    writeAtomic(join(file, 'below'), []);
    expect.unreachable();
  } catch (e) {
    expect(e).toMatchObject({ code: 'FV0407', hint: expect.stringContaining('A part of the path is a file') });
  }
});

test('trees and flat names', () => {
  const leaf = (v: number): HostTensor => ({ shape: [2], dtype: 'f32', data: Float32Array.of(v, v) });
  const tree = { cls_token: leaf(1), blocks: [{ norm1: { weight: leaf(2) } }, { norm1: { weight: leaf(3) } }] };
  const flat = flatten(tree, 'backbone');
  expect([...flat.keys()]).toEqual(['backbone.cls_token', 'backbone.blocks.0.norm1.weight', 'backbone.blocks.1.norm1.weight']);
  flat.set('head.weight', leaf(4));
  expect(restore(tree, flat, 'file', 'backbone')).toEqual(tree);
  flat.delete('backbone.cls_token');
  flat.set('backbone.extra', leaf(5));
  flat.set('backbone.blocks.1.norm1.weight', { shape: [3], dtype: 'f32', data: new Float32Array(3) });
  expect(() => restore(tree, flat, 'file', 'backbone')).toThrow(
    'file does not fit: backbone.cls_token: missing; backbone.blocks.1.norm1.weight: f32 [3] where f32 [2] is expected; backbone.extra: not part of the model',
  );
});
