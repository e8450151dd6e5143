/** The examples of docs/errors.md about weights are what a user sees: the same sentence and the same hint. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { FoveaError } from '../../compiler/error.ts';
import type { LazyTensor } from '../../dsl/index.ts';
import { bytesSource, loadWeights, parseWeights } from '../../models/weights/index.ts';
import { p, zipPth } from './torch-save.ts';

const docs = readFileSync(join(import.meta.dirname, '../../docs/errors.md'), 'utf8');
const example = (code: string): string => docs.split(`\n## ${code}\n`)[1]?.match(/```\n([\s\S]*?)\n```/)?.[1] ?? '';
const report = async (f: () => unknown): Promise<string> => {
  try {
    await f();
  } catch (e) {
    if (e instanceof FoveaError) return e.report();
    throw e;
  }
  return 'nothing was thrown';
};

const overlapping = (): Uint8Array => {
  const header =
    '{"norm.weight":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"norm.bias":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}';
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(header.length));
  return Buffer.concat([length, Buffer.from(header), new Uint8Array(12)]);
};
const one = (value: number): LazyTensor => ({ shape: [1], dtype: 'f32', load: () => Float32Array.of(value) });
const read = (bytes: Uint8Array, name: string) => () => parseWeights(bytesSource(bytes, name));
const load = (like: Record<string, unknown>, tensors: Record<string, LazyTensor>) => () =>
  loadWeights(like, new Map(Object.entries(tensors)), { source: 'model.safetensors' });

test.each([
  ['FV0405', read(overlapping(), 'model.safetensors')],
  ['FV0406', load({ 'blocks.0.norm1.weight': one(1) }, { 'head.weight': one(1) })],
  ['FV0410', read(zipPth(p.call(p.global('os', 'system'), p.str('true')), {}), 'model.pth')],
  [
    'FV0411',
    () => {
      const bad = { 'blocks.3.mlp.fc1.weight': one(Number.NaN), 'norm.bias': one(Number.POSITIVE_INFINITY) };
      return load(bad, bad)();
    },
  ],
  ['FV0412', read(Buffer.from('a file of something else'), 'model.bin')],
] as const)('%s', async (code, f) => {
  expect(await report(f)).toBe(example(code));
});
