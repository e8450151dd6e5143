/**
 * Mutates valid weight files of all three formats and reads the results. Whatever comes, a reader answers with tensors or with a
 * FoveaError, soon, and never looks outside the file. Everything follows from the seed, so a failure can be had again.
 *
 *   npx tsx test/weights/fuzz.ts 100000 1      // cases, seed
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { FoveaError } from '../../compiler/error.ts';
import {
  bytesSource,
  chunkedBlocks,
  configOf,
  fromHuggingFace,
  parseWeights,
  toHuggingFace,
  type Weights,
} from '../../models/weights/index.ts';
import { type Draw, draws, mutateBytes, mutateHeader, mutatePickle, randomProgram } from './mutate.ts';
import { legacyPth, p, pickle, tensor, zip } from './torch-save.ts';

const goldens = join(import.meta.dirname, '../goldens');
const golden = (name: string): Buffer => readFileSync(join(goldens, name));

const safetensors = (header: string, data: Uint8Array): Buffer => {
  const text = Buffer.from(header);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  return Buffer.concat([length, text, data]);
};
const header =
  '{"__metadata__":{"step":"4"},"encoder.layer.0.attention.attention.query.weight":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},' +
  '"b":{"dtype":"BF16","shape":[2],"data_offsets":[24,28]},"c":{"dtype":"I64","shape":[1],"data_offsets":[28,36]},"d":{"dtype":"BOOL","shape":[],"data_offsets":[36,37]}}';
const small = Buffer.from(Array.from({ length: 64 }, (_, i) => i & 1));

const value = (legacy: boolean): Buffer =>
  p.dict(
    ['backbone.blocks.0.1.norm1.weight', tensor({ size: [2, 3], stride: [3, 1], offset: 0, key: '0', numel: 8 }, legacy)],
    ['module.cls_token', tensor({ size: [3, 2], stride: [1, 3], offset: 2, key: '0', numel: 8 }, legacy)],
    ['epoch', p.int(12)],
    ['args', p.list(p.str('a'), p.float(0.5), p.none, p.tuple(p.yes, p.dict(['k', p.int(-1)])))],
  );
const storages = { '0': small.subarray(0, 32) };

interface Kind {
  readonly name: string;
  readonly make: (d: Draw) => Uint8Array;
}
const whole = [
  golden('pth/linear.pth'),
  golden('pth/types.pth'),
  golden('pth/teacher.pth'),
  golden('pth/linear-legacy.pth'),
  golden('pth/types-legacy.pth'),
];
const archive = (data: Uint8Array): Buffer =>
  zip([
    { name: 'a/data.pkl', bytes: data },
    { name: 'a/data/0', bytes: storages['0'] },
  ]);
const start = safetensors(header, small.subarray(0, 37));

/** What is mutated: bytes of whole files, the header of safetensors, pickles inside whole archives, and pickles made of chance. */
const kinds: readonly Kind[] = [
  { name: 'safetensors, bytes', make: (d) => mutateBytes(start, d) },
  { name: 'safetensors, header', make: (d) => safetensors(mutateHeader(header, d), small.subarray(0, 37)) },
  { name: 'PyTorch, bytes', make: (d) => mutateBytes(d.pick(whole), d) },
  { name: 'PyTorch, pickle', make: (d) => archive(mutatePickle(pickle(value(false)), d)) },
  { name: 'PyTorch, program', make: (d) => archive(randomProgram(d)) },
  { name: 'legacy, bytes', make: (d) => mutateBytes(legacyPth(value(true), storages), d) },
  {
    name: 'legacy, program',
    make: (d) => Buffer.concat([legacyPth(p.none, {}).subarray(0, 15), randomProgram(d), randomProgram(d), randomProgram(d)]),
  },
];

export interface FuzzResult {
  /** Cases by kind, and how they ended: 'read' or the code of the error. */
  readonly counts: Readonly<Record<string, Readonly<Record<string, number>>>>;
  readonly failures: readonly string[];
  readonly slowest: number;
  readonly tensors: number;
}

/** Everything that can be done with what was read; returns the number of tensors. */
const use = async (bytes: Uint8Array): Promise<number> => {
  const inner = bytesSource(bytes, 'case');
  const source = {
    ...inner,
    bytes: (offset: number, length: number) => {
      if (!(offset >= 0 && length >= 0 && offset + length <= bytes.length))
        throw new Error(`looked at ${offset}..${offset + length} of ${bytes.length}`);
      return inner.bytes(offset, length);
    },
  };
  const { tensors } = await parseWeights(source);
  for (const [name, t] of tensors) {
    const n = t.shape.reduce((a, b) => a * b, 1);
    try {
      const { length } = t.load();
      if (length !== n) throw new Error(`${name} has ${length} elements, not ${n}`);
    } catch (e) {
      if (!(e instanceof FoveaError)) throw e;
    }
  }
  const conversions: readonly ((w: Weights) => unknown)[] = [fromHuggingFace, toHuggingFace, (w) => chunkedBlocks(w, 2), configOf];
  for (const convert of conversions) {
    try {
      convert(tensors);
    } catch (e) {
      if (!(e instanceof FoveaError)) throw e;
    }
  }
  return tensors.size;
};

export const fuzz = async (cases: number, seed: number): Promise<FuzzResult> => {
  const counts: Record<string, Record<string, number>> = Object.fromEntries(kinds.map((k) => [k.name, {}]));
  const failures: string[] = [];
  let [slowest, tensors] = [0, 0];
  for (let i = 0; i < cases; i++) {
    const kind = kinds[i % kinds.length] as Kind;
    const bytes = kind.make(draws(seed * 1_000_003 + i));
    const from = performance.now();
    let end = 'read';
    try {
      tensors += await use(bytes);
    } catch (e) {
      if (e instanceof FoveaError) end = e.code;
      else {
        end = 'failure';
        failures.push(`case ${i} of seed ${seed}, ${kind.name}: ${e instanceof Error ? e.stack : String(e)}`);
      }
    }
    slowest = Math.max(slowest, performance.now() - from);
    const of = counts[kind.name] as Record<string, number>;
    of[end] = (of[end] ?? 0) + 1;
  }
  return { counts, failures, slowest, tensors };
};

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const [cases, seed] = [Number(process.argv[2] ?? 100_000), Number(process.argv[3] ?? 1)];
  const from = performance.now();
  const run = async (): Promise<void> => {
    const { counts, failures, slowest, tensors } = await fuzz(cases, seed);
    console.table(counts);
    console.log(
      `${cases} files in ${((performance.now() - from) / 1000).toFixed(1)} s, slowest ${slowest.toFixed(1)} ms, ${tensors} tensors read`,
    );
    console.log(`peak memory ${(process.resourceUsage().maxRSS / 1024).toFixed(0)} MiB, failures ${failures.length}`);
    for (const f of failures.slice(0, 10)) console.log(f);
    if (failures.length > 0) process.exitCode = 1;
  };
  void run();
}
