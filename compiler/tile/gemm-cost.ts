/**
 * What the blocks of a contraction are expected to cost, in vector multiply-adds: the model behind the ranking of gemm-schedule.ts. Every
 * term has a reason that was seen in measurements; none is a special case of a shape.
 *
 *   a block = its products, as register tiles execute them + copies into panels + sums that rest in its tile + what starting it costs
 *   time    = blocks that one worker runs, one after another
 */
import type { Target } from '../target.ts';
import { rowsOfPanel } from './gemm-pack.ts';
import type { GemmSchedule } from './gemm-schedule.ts';
import { type GemmOperand, type GemmSpec, productsAtOnce } from './gemm-spec.ts';

const cuts = (x: number, by: number): number => Math.ceil(x / by);

/** Time to copy one element into a panel: by vectors, by squares of them that are turned, or one by one. */
const copyCost = (o: GemmOperand, turns: boolean): number => (o.outer === 1 || (!turns && o.inner === 1) ? 0.2 : o.inner === 1 ? 0.4 : 1);
/** And to have it come: copies run as fast as the memory gives, which is what decides for an operand that no near cache holds. */
const comeCost = (elements: number, { cacheBytes: { l2 } }: Target): number => (4 * elements > l2 ? 0.7 : 0.1);
/** And to write and read it where the panel, and what it is copied from, do not stay together in the nearest cache, or the next. */
const stayCost = (elements: number, { cacheBytes: { l1, l2 } }: Target): number =>
  8 * elements > 0.6 * l2 ? 0.25 : 8 * elements > 0.4 * l1 ? 0.1 : 0;
/** The first element of a run of consecutive memory waits, where the operand is so large that it lies in no cache. */
const runCost = (elements: number, { cacheBytes: { l2 } }: Target): number => (4 * elements > 16 * l2 ? 100 : 0);
/** An element of a vector that ends past the last column is copied by itself, its address clamped. */
const edgeCost = 4;

/** The expected time of a schedule. */
export const gemmCost = (spec: GemmSpec, target: Target): ((s: GemmSchedule) => number) => {
  const { a, b, m, n } = spec;
  const k = cuts(spec.k, productsAtOnce(spec, target));
  const count = spec.batch.reduce((p, d) => p * d, 1);
  // whether an operand lies in a cache is a matter of all of it, not of the rows of one batch
  const [allA, allB] = [count * m * k, count * n * k];
  const [costA, costB] = [copyCost(a, false) + comeCost(allA, target), copyCost(b, true) + comeCost(allB, target)];
  const [runA, runB] = [runCost(allA, target), runCost(allB, target)];
  return ({ bm, bn, bk, tm, tn, lanes }) => {
    const tiles = (bm / tm) * (bn / (tn * lanes));
    const panels = cuts(k, bk);
    const blocks = count * cuts(m, bm) * cuts(n, bn);
    // a step of a tile is as long as its multiply-adds, its loads, or the chain of one sum
    const products = tiles * k * Math.max(tm * tn, tm + tn, 8);
    const starts = tiles * panels * 24;
    const sums = (bm * bn * (panels + 2)) / lanes;
    // the rows of one register tile are few enough to stay: that is how deep panels are chosen
    const held = rowsOfPanel(a, { bm, tm });
    const rows = bm * (costA + (held > tm ? stayCost(bk * held, target) : 0));
    const columns = bn * (costB + stayCost(bk * bn, target));
    // along k a run is as long as a panel is deep, along rows or columns as the block is large
    const runs = runA * (a.inner === 1 ? panels * bm : k) + runB * (b.inner === 1 ? panels * bn : k);
    const edge = n % (tn * lanes) === 0 ? 0 : (edgeCost * ((cuts(n, tn * lanes) * tn - Math.floor(n / lanes)) * lanes)) / cuts(n, bn);
    const block = products + starts + k * (rows + columns + edge) + sums + runs + 400;
    return cuts(blocks, target.workers) * block;
  };
};
