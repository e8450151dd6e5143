/**
 * How long an exported program takes from nothing to the end of its first step: a process of its own imports it, loads it, and calls it once with
 * made-up numbers, as it would be called where it goes.
 */
import { spawnSync } from 'node:child_process';

export interface Start {
  /** Milliseconds from the start of the process: until Node runs the program's first line, until it is loaded, until its first step is done. */
  readonly node: number;
  readonly loaded: number;
  readonly done: number;
}

const script = `
const node = performance.now();
const { readFileSync } = await import('node:fs');
const { load } = await import('./index.js');
const step = await load();
const loaded = performance.now();
const arrays = { f32: Float32Array, f16: Uint16Array, bf16: Uint16Array, i32: Int32Array, u32: Uint32Array, bool: Uint8Array };
const made = (x) => {
  if (typeof x !== 'object' || x === null) return x;
  if (Array.isArray(x.dims) && x.dtype in arrays) {
    const data = new arrays[x.dtype](x.dims.reduce((n, d) => n * d, 1));
    return { shape: x.dims, dtype: x.dtype, data: x.dtype === 'f32' ? data.fill(0.5) : data };
  }
  return Array.isArray(x) ? x.map(made) : Object.fromEntries(Object.entries(x).map(([k, v]) => [k, made(v)]));
};
const args = JSON.parse(readFileSync('program.json', 'utf8')).specs.map(made);
const before = performance.now();
await step(...args);
console.log(JSON.stringify({ node, loaded, done: loaded + performance.now() - before }));
`;

/** The fastest of some starts; undefined where the program does not run on this machine. */
export const startOf = (folder: string, starts = 3): Start | undefined => {
  let best: Start | undefined;
  for (let i = 0; i < starts; i++) {
    const { status, stdout } = spawnSync(process.execPath, ['--input-type=module', '-e', script], { cwd: folder, encoding: 'utf8' });
    if (status !== 0) return undefined;
    const start = JSON.parse(stdout) as Start;
    if (!best || start.done < best.done) best = start;
  }
  return best;
};
