/**
 * The stream template, forward, by warp groups (kernel/wgmma.ts): the last one of a block fetches, queries once and tiles of keys and values one after another,
 * two of which are there or on their way; each of the others has 64 queries. Scores are products of what was fetched, weights go from registers into the second
 * products. While a warp group makes weights, another one has the units.
 *
 *   last warp group:  queries; for a tile of the keys: await empty[slot]; keys and values to full[slot]
 *   others:           for a tile of the keys
 *                       scores = queries keys'; weights, and results shrink (stream-softmax.ts)
 *                       results += weights values; arrive empty[slot]
 *
 * How large the tiles are decides in which order weights are added, so it is no choice: it follows from sizes and the target.
 */
import * as e from '../kernel/expr.ts';
import { side, warp } from '../kernel/matrix.ts';
import type { Expr, KMatrix } from '../kernel/types.ts';
import { groupRows, lineLength, warpGroup } from '../kernel/wgmma.ts';
import type { Target } from '../target.ts';
import type { Lowering } from './gemm-spec.ts';
import { canFetch, fetchPanel, type GroupPanel, groupPanel, groupRegisters, linesIn } from './group-panel.ts';
import type { Job } from './job.ts';
import { resultTile, squares, tileNumbers, zeroSquares } from './stream-matrix-parts.ts';
import type { Rows } from './stream-parts.ts';
import { softmaxOf } from './stream-softmax.ts';
import { type Forward, forwardOf, opened } from './stream-start.ts';

const stages = 2;

interface Tiles {
  /** Warp groups that multiply. */
  readonly groups: number;
  /** Keys of a tile. */
  readonly columns: number;
}
const cuts = (x: number, by: number): number => Math.ceil(x / by);
const fetched = (r: Rows) => ({ base: r.base, batch: r.batch, outer: r.row, inner: r.element, buffer: r.place.name });

/** The tiles, or undefined where the target has no such units, rows cannot be fetched or are longer than a line, or units of warps have less to do. */
const tilesFor = (target: Target, { q, keys, values, batch }: Forward): Tiles | undefined => {
  const { wgmma, matrix } = target;
  const rows = [q, keys, values];
  const of = q.place.dtype;
  const takes =
    wgmma &&
    matrix &&
    target.maxThreads >= 3 * warpGroup &&
    (wgmma.dtypes as readonly unknown[]).includes(of) &&
    rows.every(
      (r) =>
        r.place.dtype === of && r.width <= lineLength && r.element === 1 && canFetch(fetched(r), { rows: r.count, depth: r.width, batch }),
    );
  if (!takes) return undefined;
  const work = (tile: number, products: number): number => (cuts(q.count, tile) * tile * cuts(keys.count, tile) * tile) / products;
  if (work(groupRows, wgmma.products) > work(side, matrix.products)) return undefined;
  // twice as large a tile where it reaches no further past the last one
  const twice = (n: number): 1 | 2 => (cuts(n, 2 * groupRows) * 2 <= cuts(n, groupRows) ? 2 : 1);
  const t = { groups: twice(q.count), columns: twice(keys.count) * groupRows };
  const bytes =
    2 * lineLength * (t.groups * groupRows + 2 * stages * t.columns) + 4 * tileNumbers(t.groups * groupRows, [values.width]) + 3 * 128;
  return bytes <= target.sharedBytes ? t : undefined;
};

/** Undefined where units of warps do better. */
export const lowerStreamWgmma = (job: Job): Lowering | undefined => {
  const start = forwardOf(job);
  const tiles = tilesFor(job.target, start);
  if (!tiles) return undefined;
  const { q, keys, values, count, batch } = start;
  const { groups, columns } = tiles;
  const rows = groups * groupRows;
  const of = q.place.dtype as KMatrix;

  const { k, at, scale: one } = opened(start, 1);
  const scale = e.splat(one, 8);
  const panel = (name: string, r: Rows, width: number, stages: number): GroupPanel =>
    groupPanel(k, name, { ...fetched(r), dtype: of }, { rows: r.count, depth: r.width, batch }, at, width, stages);
  const [queries, keyRows, valueRows] = [
    panel('ownRows', q, rows, 1),
    panel('keyRows', keys, columns, stages),
    panel('valueRows', values, columns, stages),
  ];
  const ready = k.mbarrier('ready', 1, 1);
  const full = k.mbarrier('full', stages, 1);
  const empty = k.mbarrier('empty', stages, (groups * warpGroup) / warp);
  const tile = resultTile(k, rows, [values.width]);
  const first = k.let('first', e.mul(e.block(0), rows));
  const role = k.let('role', e.div(e.thread, warpGroup));
  k.barrier();

  const slots = (from: Expr) => {
    const panel = k.let('panel', e.div(from, columns));
    return { slot: k.let('slot', e.rem(panel, stages)), round: e.rem(e.div(panel, stages), 2) };
  };
  const zero = e.index(0);
  const fetches = (): void => {
    if (groups > 1) k.registers(groupRegisters.fetches);
    k.if(e.compare('eq', e.thread, e.index(groups * warpGroup)), () => {
      k.expect({ name: ready, index: zero }, 2 * queries.size);
      fetchPanel(k, queries, zero, first, zero, { name: ready, index: zero });
      k.for('keys', 0, keys.count, columns, (from) => {
        const { slot, round } = slots(from);
        const on = { name: full, index: slot };
        k.await({ name: empty, index: slot }, e.sub(e.index(1), round));
        k.expect(on, 2 * (keyRows.size + valueRows.size));
        fetchPanel(k, keyRows, slot, from, zero, on);
        fetchPanel(k, valueRows, slot, from, zero, on);
      });
    });
  };
  /** Values as a factor whose products run along keys. */
  const turned: GroupPanel = { ...valueRows, deep: false };
  const multiplies = (): void => {
    if (groups > 1) k.registers(groupRegisters.multiplies);
    const own = k.let('own', e.mul(e.div(e.thread, warp), side));
    const group = k.let('group', e.mul(role, groupRows));
    // a whole line of values, for they are turned; those behind the last one are 0
    const results = zeroSquares(k, lineLength / side);
    const softmax = softmaxOf(k, start, results, columns);
    k.await({ name: ready, index: zero }, zero);
    k.for('keys', 0, keys.count, columns, (from) => {
      const { slot, round } = slots(from);
      k.await({ name: full, index: slot }, round);
      const sums = zeroSquares(k, columns / side);
      k.fence();
      for (let step = 0; step < squares(q.width); step++)
        k.wgmma(sums, of, linesIn(queries, zero, group, e.index(step)), linesIn(keyRows, slot, zero, e.index(step)));
      k.commit('products');
      k.wait(0, 'products');
      const weights = softmax
        .weights(
          sums.map((x) => k.let('score', e.mul(x, scale))),
          from,
        )
        .map((w) => k.let('w', e.bitcast(e.cast(w, of), 'u32')));
      k.fence();
      weights.forEach((w, j) => k.wgmma(results, of, w, linesIn(turned, slot, zero, e.index(j))));
      k.commit('products');
      k.wait(0, 'products');
      k.arrive({ name: empty, index: slot });
    });
    softmax.store(first, own, at, tile);
  };
  k.if(e.compare('eq', role, e.index(groups)), fetches, multiplies);
  return { grid: [cuts(q.count, rows), count, 1], threads: (groups + 1) * warpGroup, body: k.done() };
};
