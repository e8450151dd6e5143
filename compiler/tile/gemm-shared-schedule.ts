/**
 * How a contraction is cut up where a block has several threads, as a plain record: what makes one legal, and what the ranking expects it to
 * cost. Tiles are powers of two. The costs are those that are common to GPUs: a step of a tile takes as long as its multiply-adds or its reads
 * of shared memory; panels come from a cache that several processors share; and a processor wants some hundred threads to have something to do
 * while others wait.
 *
 *   2056 x 1536 x 384 on 32 processors      { bm: 64, bn: 128, bk: 32, tm: 4, tn: 8 }
 */
import type { Target } from '../target.ts';
import type { GemmSpec } from './gemm-spec.ts';
import { type Chooser, recordChooser } from './schedules.ts';
import { lanesOf, pitchOf, turned } from './shared-tile.ts';

export interface SharedSchedule {
  /** A block makes bm x bn results, of bk products at a time. */
  readonly bm: number;
  readonly bn: number;
  readonly bk: number;
  /** A thread makes tm x tn of them. */
  readonly tm: number;
  readonly tn: number;
}

const names = ['bm', 'bn', 'bk', 'tm', 'tn'] as const;
const cuts = (x: number, by: number): number => Math.ceil(x / by);
const power = (x: number): boolean => Number.isInteger(Math.log2(x));
const powers = (from: number, to: number): readonly number[] =>
  Array.from({ length: Math.max(0, Math.floor(Math.log2(to / from)) + 1) }, (_, i) => from * 2 ** i);

/** Threads of a block at most: more of them seldom help, and some devices have no more. */
const mostThreads = (target: Target): number => Math.min(256, target.maxThreads);
const threads = ({ bm, bn, tm, tn }: SharedSchedule): number => (bm / tm) * (bn / tn);
const sharedBytes = (spec: GemmSpec, { bm, bn, bk }: SharedSchedule): number =>
  4 * bk * (pitchOf(bm, turned(spec.a)) + pitchOf(bn, turned(spec.b)));

const fault = (spec: GemmSpec, target: Target, s: SharedSchedule): string | undefined => {
  const odd = names.find((name) => !power(s[name]));
  if (odd) return `${odd} is ${s[odd]}, and tiles are powers of two`;
  if (s.bm < s.tm || s.bn < s.tn) return 'the tile of a thread is larger than that of its block';
  if (threads(s) > mostThreads(target)) return `${threads(s)} threads a block, and the target has ${mostThreads(target)} at most`;
  if (s.tm * s.tn > 64) return `${s.tm} x ${s.tn} sums do not fit the registers of a thread`;
  const bytes = sharedBytes(spec, s);
  return bytes > target.sharedBytes ? `its panels take ${bytes} bytes of shared memory, and there are ${target.sharedBytes}` : undefined;
};

/** Multiply-adds that a processor starts at once, words of shared memory and bytes of its cache that it reads in the same time. */
const processor = { products: 128, words: 32, bytes: 64, threads: 512, waiting: 256 } as const;

const cost = (spec: GemmSpec, target: Target, s: SharedSchedule): number => {
  const { bm, bn, bk, tm, tn } = s;
  const own = threads(s);
  const depth = cuts(Math.max(1, spec.k), bk) * bk;
  const blocks = spec.batch.reduce((p, d) => p * d, 1) * cuts(spec.m, bm) * cuts(spec.n, bn);
  const each = cuts(blocks, target.workers);
  // one vector of words is one read, which neighbours who read the same share
  const reads = own * (tm / lanesOf(tm) + tn / lanesOf(tn)) * 2;
  const step = Math.max((own * tm * tn) / processor.products, reads / processor.words) + (4 * (bm + bn)) / processor.bytes;
  const block = step * depth + (depth / bk) * 60 + (own * tm * tn) / 16 + 200;
  // blocks that are there at the same time hide what each of them waits for
  const resident = own * Math.min(each, Math.max(1, Math.floor(processor.threads / own)));
  return each * block * Math.max(1, processor.waiting / resident);
};

const rank = (spec: GemmSpec, target: Target): readonly SharedSchedule[] => {
  const least = Math.min(32, mostThreads(target));
  const found: { readonly s: SharedSchedule; readonly time: number }[] = [];
  for (const tm of powers(1, 8))
    for (const tn of powers(1, 8))
      for (const down of powers(1, mostThreads(target)))
        for (const over of powers(1, mostThreads(target) / down)) {
          if (down * over < least) continue;
          for (const bk of [32, 16, 8]) {
            const s = { bm: tm * down, bn: tn * over, bk, tm, tn };
            // a tile twice as large as all there is has threads without work
            const idle = (s.bm >= 2 * spec.m && s.bm > tm) || (s.bn >= 2 * spec.n && s.bn > tn);
            if (!fault(spec, target, s) && !(idle && down * over > least)) found.push({ s, time: cost(spec, target, s) });
          }
        }
  return found.sort((x, y) => x.time - y.time).map(({ s }) => s);
};

/** `key` is that of the contraction, which does not depend on the kind of schedule. */
export const sharedChooser = (spec: GemmSpec, target: Target, key: string): Chooser<SharedSchedule> =>
  recordChooser(
    key,
    names,
    () => rank(spec, target),
    (s) => fault(spec, target, s),
  );
