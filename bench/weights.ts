/**
 * What a checkpoint costs on its way into a program: `npx tsx bench/weights.ts [FILE]`. FILE is any file of weights; without it one of
 * ViT-B's size (346 MB of f32) is made and removed. Each line says how long a step took, and how much memory of its own (RssAnon) and of
 * mapped files (RssFile) the process then has; where the system does not say, that is left out. The file has just been written or read,
 * so it comes from the system's cache, not from the disk. Measured here is Fovea alone.
 */
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { cpu } from '../backends/cpu/index.ts';
import { compile, type F32, type LazyTensor, leaves, spec, sum } from '../index.ts';
import { published } from '../models/vit/presets.ts';
import { vit } from '../models/vit.ts';
import { castTo, loadWeights, readWeights, writeSafetensors } from '../models/weights/index.ts';

const { positionals } = parseArgs({ allowPositionals: true });

/** ViT-B's tensors with numbers of no meaning. */
const base = (): Map<string, LazyTensor> =>
  new Map(
    leaves(vit(published('vit_base'))).map(({ path, shape }) => {
      const sizes = shape.map(Number);
      const n = sizes.reduce((a, b) => a * b, 1);
      return [path, { shape: sizes, dtype: 'f32', load: () => Float32Array.from({ length: n }, (_, i) => (i % 251) / 251) }];
    }),
  );

const memory = (field: string): string => {
  if (!existsSync('/proc/self/status')) return '';
  const kb = readFileSync('/proc/self/status', 'utf8').match(new RegExp(`${field}:\\s+(\\d+)`))?.[1];
  return `${((Number(kb) * 1024) / 1e6).toFixed(0)} MB`.padStart(9);
};
const line = (what: string, seconds: number): void =>
  console.log(`${what.padEnd(46)} ${(1e3 * seconds).toFixed(1).padStart(8)} ms ${memory('RssAnon')} ${memory('RssFile')}`);
const timed = async <T>(what: string, f: () => T | Promise<T>): Promise<T> => {
  const start = performance.now();
  const out = await f();
  line(what, (performance.now() - start) / 1e3);
  return out;
};

const total = (xs: readonly F32<string>[]): F32<''> =>
  xs.map((x) => sum(`${[...'abcdefgh'].slice(0, x.shape.length).join(' ')} ->`, x) as F32<''>).reduce((a, b) => a.add(b));

const folder = mkdtempSync(join(tmpdir(), 'fovea-bench-'));
try {
  console.log(`${''.padEnd(46)} ${'time'.padStart(11)} ${'own'.padStart(9)} ${'file'.padStart(9)}`);
  line('start of the process', process.uptime());
  const [given] = positionals;
  const made = join(folder, 'weights.safetensors');
  if (given === undefined) await timed('made, and written with a flush to the disk', () => writeSafetensors(made, base()));
  const path = given ?? made;
  const { tensors, format, close } = await timed('opened: the header is read', () => readWeights(path, { as: 'f32' }));
  const list = [...tensors.values()];
  const like = Object.fromEntries([...tensors].map(([name, t]) => [name, { ...t, dims: t.shape }]));
  await timed('looked through for infinities and NaN', () => loadWeights(like, tensors, { finite: false }));
  const specs = list.map((t) => spec(t.shape.join(' '), t.dtype) as ReturnType<typeof spec<string>>);
  const program = await timed('a program of one sum a tensor is compiled', () => compile(total, [specs], { backend: cpu() }));
  const out = await timed('first call: every tensor is copied into it', () => program(list));
  await timed('second call: they lie there', () => program(list));
  program.dispose();
  await timed('converted to bf16 and written', () =>
    writeSafetensors(join(folder, 'half.safetensors'), new Map([...tensors].map(([name, t]) => [name, castTo(t, 'bf16')]))),
  );
  close();
  console.log(
    `${format}, ${list.length} tensors, ${(statSync(path).size / 1e6).toFixed(1)} MB; result ${out.dtype}; peak of the process ${(process.resourceUsage().maxRSS / 1e3).toFixed(0)} MB`,
  );
} finally {
  rmSync(folder, { recursive: true, force: true });
}
