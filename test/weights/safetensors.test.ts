/** Weight files: round trips, agreement with recorded files, damaged and hostile input, atomic writing. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { FoveaError } from '../../compiler/error.ts';
import type { HostTensor } from '../../dsl/index.ts';
import {
  flatten,
  openSafetensors,
  readSafetensors,
  readStored,
  restore,
  writeAtomic,
  writeSafetensors,
} from '../../models/weights/index.ts';

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
  ['a key twice', `{${a},${a}}`, /the key "a" stands there twice/],
  [
    'a key twice, written differently',
    `{${a},"\\u0061":{"dtype":"F32","shape":[0],"data_offsets":[40,40]}}`,
    /the key "a" stands there twice/,
  ],
  ['a field twice', '{"a":{"dtype":"F32","dtype":"I32","shape":[10],"data_offsets":[0,40]}}', /the key "dtype" stands there twice/],
  ['metadata twice', '{"__metadata__":{},"__metadata__":{}}', /stands there twice/],
  ['deep nesting', `{"a":${'['.repeat(100_000)}${']'.repeat(100_000)}}`, /nested more than 16 deep/],
  ['nesting that does not end', '['.repeat(100_000), /nested more than 16 deep/],
  ['a string that does not end', '{"a', /not JSON/],
  ['too many values', `{"a":[${'[],'.repeat(1_000_000)}[]]}`, /more than 1000000 values/],
  ['too many numbers', `{"a":{"dtype":"F32","shape":[${'1,'.repeat(1_000_000)}1],"data_offsets":[0,40]}}`, /more than 1000000 values/],
  ['too many axes', `{"a":{"dtype":"F32","shape":[${'1,'.repeat(64)}10],"data_offsets":[0,40]}}`, /malformed shape/],
  ['a name of a novel', `{"${'n'.repeat(5000)}":{"dtype":"F32","shape":[10],"data_offsets":[0,40]}}`, /a name of 5000 characters/],
  ['a huge number', '{"a":{"dtype":"F32","shape":[1e400],"data_offsets":[0,40]}}', /malformed shape/],
  ['a number that is not exact', '{"a":{"dtype":"U8","shape":[40],"data_offsets":[0,9007199254740993]}}', /malformed data_offsets/],
  ['the wrong count of bytes', '{"a":{"dtype":"F64","shape":[10],"data_offsets":[0,40]}}', /80 bytes, but has 40/],
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

test('a header that is not UTF-8 is refused', () => {
  const b = withHeader('{"a":1}', 0);
  b[10] = 0xff;
  refused(b, /not UTF-8/);
});

test('many keys take time in proportion', () => {
  // 300 000 names with one equal pair; a scan that compared them with each other would not end
  const names = Array.from({ length: 300_000 }, (_, i) => `"k${i}":0`);
  refused(withHeader(`{${names.join(',')},"k7":0}`), /the key "k7" stands there twice/);
});

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

test('types that the language lacks are held as the nearest one, whole numbers exactly', () => {
  const file = join(dir, 'types.safetensors');
  const data = Buffer.alloc(40);
  data.writeDoubleLE(1 / 3, 0);
  data.writeBigInt64LE(-5n, 8);
  data.writeBigUInt64LE(2n ** 53n + 1n, 16);
  data.writeInt16LE(-300, 24);
  data.writeInt8(-7, 26);
  data.writeUInt8(2, 27);
  const at = (dtype: string, from: number, to: number): string => `{"dtype":"${dtype}","shape":[1],"data_offsets":[${from},${to}]}`;
  const header = `{"d":${at('F64', 0, 8)},"l":${at('I64', 8, 16)},"u":${at('U64', 16, 24)},"s":${at('I16', 24, 26)},"c":${at('I8', 26, 27)},"b":${at('BOOL', 27, 28)},"rest":{"dtype":"U8","shape":[12],"data_offsets":[28,40]}}`;
  writeFileSync(file, Buffer.concat([withHeader(header, 0), data]));
  const { tensors, close } = openSafetensors(file);
  const load = (n: string): unknown => tensors.get(n)?.load();
  expect(load('d')).toEqual(Float32Array.of(1 / 3));
  expect(load('l')).toEqual(Int32Array.of(-5));
  expect(() => load('u')).toThrow(/9007199254740993 at element 0 cannot be held exactly as u32/);
  expect(load('s')).toEqual(Int32Array.of(-300));
  expect(load('c')).toEqual(Int32Array.of(-7));
  expect(() => load('b')).toThrow(/2 at element 0 is no boolean/);
  expect(load('rest')).toEqual(new Uint32Array(12));
  close();
  const wide = openSafetensors(file, { as: 'f32' });
  expect(wide.tensors.get('l')?.load()).toEqual(Float32Array.of(-5));
  // 2^53 + 1 is 2^53 as a double, which f32 holds: the loss is seen all the same
  expect(() => wide.tensors.get('u')?.load()).toThrow(/cannot be held exactly as f32/);
  wide.close();
});

test('what is no file is refused, also a pipe that nobody writes to', { timeout: 20_000 }, ({ skip }) => {
  expect(() => readStored('/dev/zero')).toThrow(/cannot read the weights \/dev\/zero/);
  if (process.platform === 'win32') {
    console.log('skipped: Windows has no named pipes in folders');
    skip();
  }
  const pipe = join(dir, 'pipe');
  execFileSync('mkfifo', [pipe]);
  // in a process of its own: waiting for the pipe would stop this one for good
  const program = `import(${JSON.stringify(join(import.meta.dirname, '../../models/weights/index.ts'))}).then(({ readStored }) => {
    try { readStored(${JSON.stringify(pipe)}); } catch (e) { console.log(e.code); }
  });`;
  expect(
    execFileSync(process.execPath, ['--import', 'tsx', '-e', program], { encoding: 'utf8', timeout: 15_000, killSignal: 'SIGKILL' }),
  ).toBe('FV0402\n');
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
