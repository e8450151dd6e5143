/** Faults of the templates for blocks of several threads. Generated programs run on the cpu backend, so named tests notice these. */
import { noticedBy, type Row } from '../mutant.ts';

const tile = 'compiler/tile/shared-tile.ts';
const gemm = 'compiler/tile/gemm-shared.ts';
const finish = 'compiler/tile/gemm-finish.ts';
const schedule = 'compiler/tile/gemm-shared-schedule.ts';
const parts = 'compiler/tile/stream-shared-parts.ts';
const forward = 'compiler/tile/stream-shared.ts';
const backward = 'compiler/tile/stream-grad-shared.ts';
const start = 'compiler/tile/stream-start.ts';
const gemmTest = 'test/tile/gemm.test.ts';
const streamTest = 'test/tile/stream.test.ts';

export const groups: readonly Row[] = [
  ...noticedBy(gemmTest, [
    {
      name: 'shared tile: rows past the last are copied',
      fault: 'dropped check',
      file: tile,
      from: '...(r.size % width === 0 ? [] : [r.size % lanes === 0 ? e.splat(e.lt(row, r.size), lanes) : e.lt(rows, r.size)])',
      to: '...[]',
    },
    {
      name: 'shared tile: steps past the last are copied',
      fault: 'dropped check',
      file: tile,
      from: '...(p.size % depth === 0 ? [] : [e.splat(e.lt(deep, p.size), lanes)])',
      to: '...[]',
    },
    {
      name: 'shared tile: what is left of a panel is not copied',
      fault: 'dropped term',
      file: tile,
      from: 'if (each * threads < total)',
      to: 'if (each * threads < total - threads)',
    },
    {
      name: 'shared tile: a panel is turned the wrong way',
      fault: 'wrong axis',
      file: tile,
      from: 'const [u, d] = turned(from) ? [e.mul(high, lanes), low] : [e.mul(low, lanes), high];',
      to: 'const [u, d] = turned(from) ? [e.mul(low, lanes), high] : [e.mul(high, lanes), low];',
    },
    {
      name: 'shared tile: vectors of a thread are neighbours',
      fault: 'wrong constant',
      file: tile,
      from: 'e.add(at, v * across(t) * t.lanes)',
      to: 'e.add(at, v * t.lanes)',
    },
    {
      name: 'shared tile: all rows take the factor of the first',
      fault: 'swapped operand',
      file: tile,
      from: 'e.splat(xs[r] as Expr, t.lanes)',
      to: 'e.splat(xs[0] as Expr, t.lanes)',
    },
    {
      name: 'gemm of shared tiles: products before the panel is there',
      fault: 'wrong order',
      file: gemm,
      from: 'if (threads > 1) k.barrier();\n    products(k, t, own, lineOf(k, panelA, own, tm), panelB, bk, sums);',
      to: 'products(k, t, own, lineOf(k, panelA, own, tm), panelB, bk, sums);\n    if (threads > 1) k.barrier();',
    },
    {
      name: 'gemm of shared tiles: the next panel does not wait',
      fault: 'dropped check',
      file: gemm,
      from: 'part(kp);\n      if (threads > 1) k.barrier();',
      to: 'part(kp);',
    },
    {
      name: 'gemm: the last tile has all its rows',
      fault: 'off by one',
      file: finish,
      from: 'else k.if(e.lt(row, spec.m), line);',
      to: 'else line();',
    },
    {
      name: 'gemm: the last vector has all its columns',
      fault: 'dropped check',
      file: finish,
      from: "else k.if(e.compare('le', e.add(col, lanes), n), vector, single);",
      to: 'else vector();',
    },
    {
      name: 'gemm of shared tiles: a block of more threads than there are',
      fault: 'dropped check',
      file: schedule,
      from: 'if (threads(s) > mostThreads(target))',
      to: 'if (threads(s) > 8 * mostThreads(target))',
    },
  ]),
  ...noticedBy(streamTest, [
    {
      name: 'shared stream: earlier results keep their size',
      fault: 'dropped term',
      file: forward,
      from: 'for (const x of sums) k.set(x, e.mul(x, e.splat(factor, x.lanes)));',
      to: 'for (const x of sums) k.set(x, e.mul(x, e.splat(e.add(e.mul(factor, 0), 1), x.lanes)));',
    },
    {
      name: 'shared stream: the maximum of one thread, not of the row',
      fault: 'dropped term',
      file: forward,
      from: 'ofRow(tops).forEach(raise);',
      to: 'ofRow(tops).slice(1).forEach(raise);',
    },
    {
      name: 'shared stream: keys past the last have weight',
      fault: 'dropped check',
      file: forward,
      from: "const weight = whole ? x : k.let('weight', e.select(e.lt(j, many), x, 0));",
      to: 'const weight = x;',
    },
    {
      name: 'shared stream: the sum forgets earlier parts',
      fault: 'dropped term',
      file: forward,
      from: 'e.mul(total, less)',
      to: 'e.mul(e.f32(0), less)',
    },
    {
      name: 'shared stream: weights are mixed before all are there',
      fault: 'dropped check',
      file: forward,
      from: 'k.store(factors, row, less, firstOfRow);\n    k.barrier();',
      to: 'k.store(factors, row, less, firstOfRow);',
    },
    {
      name: 'shared stream: results mix the rows of another part',
      fault: 'wrong constant',
      file: parts,
      from: "const deep = { first: k.let('deep', e.add(first, from)), size: rows.rows.count };",
      to: "const deep = { first: k.let('deep', from), size: rows.rows.count };",
    },
    {
      name: 'shared stream backward: delta with the other sign',
      fault: 'sign',
      file: backward,
      from: 'e.mul(e.mul(weight, e.sub(product, own)), e.splat(scale, weight.lanes))',
      to: 'e.mul(e.mul(weight, e.add(product, own)), e.splat(scale, weight.lanes))',
    },
    {
      name: 'shared stream backward: columns past the last have weight',
      fault: 'dropped check',
      file: backward,
      from: 'all % weights.columns === 0 ? x :',
      to: 'all >= 0 ? x :',
    },
    {
      name: 'shared stream backward: blocks of queries start at the first of keys',
      fault: 'off by one',
      file: start,
      from: 'ofQueries(e.sub(e.block(0), forKeys))',
      to: 'ofQueries(e.sub(e.block(0), forKeys - 1))',
    },
    {
      name: 'shared stream backward: values and queries change places',
      fault: 'swapped operand',
      file: backward,
      from: 'w.mix(ownK, queries, from, many);',
      to: 'w.mix(ownK, gradRows, from, many);',
    },
  ]),
];
