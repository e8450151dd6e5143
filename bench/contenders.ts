/**
 * Programs against each other in one run: rounds of a few runs alternate between them, so that a slow minute of the machine hits all of
 * them; what is printed are medians and their ratio to the first. A peer is a Python process that speaks bench/peers/protocol.py,
 * as `fovea bench --serve` does;
 * Fovea is one more process, so that its memory is its own.
 *
 *   await contest([fovea('f32', 'forward', {...}), python('PyTorch eager', PATH, 'vit.py', [...])], { rounds: 8, runs: 3 });
 */
import { spawn } from 'node:child_process';
import { loadavg } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

/** Seconds of wall and processor time of each run, and the largest memory of the process so far. */
export interface Timed {
  readonly seconds: readonly number[];
  readonly cpu: readonly number[];
  readonly peak_mib: number;
}

export interface Contender {
  readonly name: string;
  /** Runs n times. */
  readonly run: (n: number) => Promise<Timed>;
  readonly stop: () => void;
}

/** A process that answers each line with a number by a line with times. */
const contender = (name: string, command: string, args: readonly string[]): Contender => {
  const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'inherit'] });
  const lines = createInterface(child.stdout)[Symbol.asyncIterator]();
  return {
    name,
    run: async (n) => {
      child.stdin.write(`${n}\n`);
      const { value, done } = await lines.next();
      if (done) throw new Error(`${name} ended early`);
      return JSON.parse(value as string) as Timed;
    },
    stop: () => child.stdin.end(),
  };
};

/** A script of bench/peers. */
export const python = (name: string, path: string, script: string, args: readonly string[]): Contender =>
  contender(name, path, [join(import.meta.dirname, 'peers', script), ...args]);

/** Fovea as users have it, by `fovea bench ... --serve`: what `npm ci` or `npm run build` made of the sources. */
export const fovea = (name: string, args: readonly string[]): Contender =>
  contender(name, process.execPath, [join(import.meta.dirname, '../dist/cli/main.js'), 'bench', ...args, '--serve']);

export const median = (xs: readonly number[]): number => [...xs].sort((a, b) => a - b)[Math.floor(xs.length / 2)] as number;

/** Options as words: `{ batch: 8 }` -> `--batch 8`. */
export const words = (options: Readonly<Record<string, string | number>>): readonly string[] =>
  Object.entries(options).flatMap(([k, v]) => [`--${k}`, String(v)]);

/** `images`: of one run. A table in Markdown; one JSON object a line before it. */
export const contest = async (
  all: readonly Contender[],
  { rounds, runs, images }: { readonly rounds: number; readonly runs: number; readonly images: number },
): Promise<void> => {
  const times = all.map((): Timed[] => []);
  try {
    // one after the other: compiling, caches, allocators
    for (const c of all) await c.run(1);
    for (let r = 0; r < rounds; r++) for (const [i, c] of all.entries()) times[i]?.push(await c.run(runs));
  } finally {
    for (const c of all) c.stop();
  }
  const rows = all.map(({ name }, i) => {
    const timed = times[i] as readonly Timed[];
    const [wall, cpu] = [timed.flatMap((t) => t.seconds), timed.flatMap((t) => t.cpu)];
    return { name, runs: wall.length, median: median(wall), min: Math.min(...wall), cpu: median(cpu), peak: timed.at(-1)?.peak_mib ?? 0 };
  });
  const [first] = rows as [(typeof rows)[number]];
  for (const r of rows) console.log(JSON.stringify(r));
  console.log(
    `\nload average ${loadavg()
      .map((x) => x.toFixed(1))
      .join(' ')}; ${first.runs} runs of each\n`,
  );
  console.log('| program | median ms | min ms | images/s | ratio | processor ms | ratio | peak MiB |\n|---|---|---|---|---|---|---|---|');
  const ms = (s: number): string => (1e3 * s).toFixed(0);
  for (const r of rows) {
    const [slower, more] = [r.median / first.median, r.cpu / first.cpu];
    console.log(
      `| ${r.name} | ${ms(r.median)} | ${ms(r.min)} | ${(images / r.median).toFixed(1)} | ${slower.toFixed(2)}x | ${ms(r.cpu)} | ${more.toFixed(2)}x | ${r.peak.toFixed(0)} |`,
    );
  }
};
