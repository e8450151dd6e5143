/**
 * The gemm template for warp groups (kernel/wgmma.ts): operands are bf16 or f16, sums float32. The last warp group of a block fetches panels of both, lines of
 * 64 products or, where an operand lies the other way, of 64 rows; one thread of it does all. Each of the others adds their products to 64 x bn sums in its
 * registers, and gives a panel back when the products of the next one have begun. What is outside of an operand is fetched as 0. A sum is one chain of
 * steps of 16 products in the order of k: the bits are those of gemm-matrix.ts.
 *
 *   last warp group:  for kp    await empty[slot]; expect full[slot]; fetch both panels
 *   others:           for kp    await full[slot]; products; wait for those before; arrive empty[slot before]
 *                     for pass  tile = 32 columns of sums; warps meet; epilogue for every vector of the tile; warps meet
 */
import { body } from '../kernel/build.ts';
import * as e from '../kernel/expr.ts';
import { side, warp } from '../kernel/matrix.ts';
import type { Expr, KMatrix } from '../kernel/types.ts';
import { groupRows, lineLength, warpGroup } from '../kernel/wgmma.ts';
import { unflatten } from './batch.ts';
import { finishVector } from './gemm-finish.ts';
import type { GemmOperand, GemmSpec, Lowering } from './gemm-spec.ts';
import { panelBytes, pass, type WgmmaSchedule } from './gemm-wgmma-schedule.ts';
import { fetchPanel, type GroupPanel, groupPanel, groupRegisters, linesIn } from './group-panel.ts';

const list = (n: number): readonly number[] => Array.from({ length: n }, (_, i) => i);
/** Columns of one vector of the epilogue. */
const lanes = 4;

/** m, n and k are at least 1, and wgmmaFor takes the contraction. */
export const lowerGemmWgmma = (spec: GemmSpec, { bm, bn, stages }: WgmmaSchedule): Lowering => {
  const { m, n } = spec;
  const of = spec.a.dtype as KMatrix;
  const groups = bm / groupRows;
  const k = body([spec.a.buffer, spec.b.buffer]);
  const batch = unflatten(e.block(2), spec.batch).map((x) => k.let('batch', x));
  const panel = (name: string, o: GemmOperand, rows: number, width: number): GroupPanel =>
    groupPanel(k, name, { ...o, dtype: of }, { rows, depth: spec.k, batch: spec.batch }, batch, width, stages);
  const [left, right] = [panel('left', spec.a, m, bm), panel('right', spec.b, n, bn)];
  const full = k.mbarrier('full', stages, 1);
  const empty = k.mbarrier('empty', stages, (groups * warpGroup) / warp);
  const pitch = pass.columns + pass.spread;
  const tile = k.alloc('tile', 'shared', 'f32', bm * pitch);
  const [top, first] = [k.let('top', e.mul(e.block(1), bm)), k.let('first', e.mul(e.block(0), bn))];
  const role = k.let('role', e.div(e.thread, warpGroup));
  k.barrier();

  const slots = (panel: Expr) => ({ slot: k.let('slot', e.rem(panel, stages)), round: e.rem(e.div(panel, stages), 2) });
  const fetches = (): void => {
    if (groups > 1) k.registers(groupRegisters.fetches);
    k.if(e.compare('eq', e.thread, e.index(groups * warpGroup)), () =>
      k.for('kp', 0, spec.k, lineLength, (kp) => {
        const { slot, round } = slots(k.let('panel', e.div(kp, lineLength)));
        k.await({ name: empty, index: slot }, e.sub(e.index(1), round));
        k.expect({ name: full, index: slot }, panelBytes({ bm, bn }));
        fetchPanel(k, left, slot, top, kp, { name: full, index: slot });
        fetchPanel(k, right, slot, first, kp, { name: full, index: slot });
      }),
    );
  };

  const multiplies = (): void => {
    if (groups > 1) k.registers(groupRegisters.multiplies);
    const sums = list(bn / side).map(() => k.var('acc', e.f32(0, 8)));
    const rows = k.let('rows', e.mul(role, groupRows));
    k.for('kp', 0, spec.k, lineLength, (kp) => {
      const panel = k.let('panel', e.div(kp, lineLength));
      const { slot, round } = slots(panel);
      k.await({ name: full, index: slot }, round);
      k.fence();
      k.for(
        'part',
        0,
        lineLength / side,
        1,
        (step) => k.wgmma(sums, of, linesIn(left, slot, rows, step), linesIn(right, slot, e.index(0), step)),
        'unroll',
      );
      k.commit('products');
      k.wait(1, 'products');
      const before = (): void => k.arrive({ name: empty, index: k.let('before', e.rem(e.add(panel, stages - 1), stages)) });
      if (spec.k > lineLength) k.if(e.lt(0, panel), before);
    });
    k.wait(0, 'products');

    const own = k.let('own', e.div(e.thread, warp));
    const corner = k.let('corner', e.mul(own, side * pitch));
    const places = k.let('places', e.add(e.add(e.mul(e.place('row'), pitch), e.place('column')), corner));
    k.for('pass', 0, bn / pass.columns, 1, (number) => {
      const some = pass.columns / side;
      const keep = (i: number): void =>
        list(some).forEach((j) => {
          k.store(tile, e.add(places, j * side), sums[i * some + j] as Expr);
        });
      for (const i of list(bn / pass.columns)) k.if(e.compare('eq', number, e.index(i)), () => keep(i));
      k.barrier('warp');
      k.for('made', 0, (side * pass.columns) / lanes, warp, (from) => {
        const v = k.let('v', e.add(from, e.rem(e.thread, warp)));
        const line = k.let('line', e.div(v, pass.columns / lanes));
        const over = k.let('over', e.mul(e.rem(v, pass.columns / lanes), lanes));
        const row = k.let('row', e.add(top, e.add(e.mul(own, side), line)));
        const column = k.let('col', e.add(e.add(first, e.mul(number, pass.columns)), over));
        const vector = (): void =>
          finishVector(k, spec, batch, { row, column, lanes, whole: n % bn === 0 }, tile, e.add(e.add(corner, e.mul(line, pitch)), over));
        if (m % bm === 0) vector();
        else k.if(e.lt(row, m), vector);
      });
      k.barrier('warp');
    });
  };
  k.if(e.compare('eq', role, e.index(groups)), fetches, multiplies);
  const count = spec.batch.reduce((p, d) => p * d, 1);
  return { grid: [Math.ceil(n / bn), Math.ceil(m / bm), count], threads: (groups + 1) * warpGroup, body: k.done() };
};
