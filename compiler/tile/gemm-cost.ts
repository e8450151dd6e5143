/**
 * What the blocks of a contraction are expected to cost, in vector multiply-adds: the model behind the ranking of gemm-schedule.ts. Every
 * term is something that was measured on its own; none is a special case of a shape.
 *
 *   a block = its products, as register tiles execute them + copies into panels + sums that rest in its tile + what starting it costs
 *   time    = blocks that one worker runs, one after another
 */
import type { Target } from '../target.ts';
import type { GemmSchedule } from './gemm-schedule.ts';
import { type GemmOperand, type GemmSpec, productsAtOnce } from './gemm-spec.ts';

const cuts = (x: number, by: number): number => Math.ceil(x / by);

/**
 * Time to bring one element into a packed panel. Copies run as fast as the memory gives, which is what decides
 * for an operand that no near cache holds; a panel that turns the operand costs shuffles, or moves of single elements.
 */
const packCost = (o: GemmOperand, elements: number, turns: boolean, target: Target): number => {
  const moves = o.outer === 1 || (!turns && o.inner === 1) ? 0.2 : o.inner === 1 ? 0.4 : 1;
  return moves + (4 * elements > target.cacheBytes.l2 ? 0.7 : 0.1);
};

/** The expected time of a schedule. */
export const gemmCost = (spec: GemmSpec, target: Target): ((s: GemmSchedule) => number) => {
  const { m, n } = spec;
  const k = cuts(spec.k, productsAtOnce(spec, target));
  const count = spec.batch.reduce((p, d) => p * d, 1);
  const [costA, costB] = [packCost(spec.a, m * k, false, target), packCost(spec.b, n * k, true, target)];
  return ({ bm, bn, bk, tm, tn, lanes }) => {
    const tiles = (bm / tm) * (bn / (tn * lanes));
    const panels = cuts(k, bk);
    const blocks = count * cuts(m, bm) * cuts(n, bn);
    // a step of a tile is as long as its multiply-adds, its loads, or the chain of one sum
    const products = tiles * k * Math.max(tm * tn, tm + tn, 8);
    const starts = tiles * panels * 1.5 * Math.min(bk, 16);
    const sums = (bm * bn * (panels + 2)) / lanes;
    const block = products + starts + k * (bm * costA + bn * costB) + sums + 400;
    return cuts(blocks, target.workers) * block;
  };
};
