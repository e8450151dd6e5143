/**
 * From a gemm group to a GemmSpec: where the operands lie, as plain strides read off the views between the dot and memory,
 * and the epilogue, which is the emission engine at an element of the result. Fuse has made sure that the strides exist.
 *
 *   dot(reshape(x), transpose(w)), then add(broadcast(bias))
 *     ->  { m: 2056, n: 1536, k: 384, a: b0 384 1, b: b1 1 1536, epilogue: store b3[row * 1536 + col] = sum + b2[col] }
 */
import type { DType, Node, Value } from '../graph/types.ts';
import { type Affine, add, type Indices, indices, linear, scale } from './affine.ts';
import { code } from './code.ts';
import { held, rounded, shapeOf } from './emit.ts';
import { lowerGemm } from './gemm.ts';
import { lowerGemmMatrix } from './gemm-matrix.ts';
import { matrixFor } from './gemm-matrix-schedule.ts';
import { gemmChooser, gemmKey } from './gemm-schedule.ts';
import { lowerGemmShared } from './gemm-shared.ts';
import { sharedChooser } from './gemm-shared-schedule.ts';
import type { GemmOperand, GemmSpec, Lowering } from './gemm-spec.ts';
import { lowerGemmWgmma } from './gemm-wgmma.ts';
import { ofWarps, unitChooser } from './gemm-wgmma-schedule.ts';
import { primsOf } from './group.ts';
import { emitterOf, homes, type Job, storeAll } from './job.ts';
import { choose } from './schedules.ts';
import { operandStrides } from './strides.ts';

type Dot = Extract<Node['op'], { readonly prim: 'dot' }>;

export const lowerContraction = (job: Job): Lowering => {
  const node = job.group.nodes.find((n) => n.op.prim === 'dot') as Node;
  const op = node.op as Dot;
  const dot = node.outputs[0] as Value;
  const side = (i: 0 | 1): GemmOperand => {
    const v = node.inputs[i] as Value;
    const s = operandStrides(v, op.batch[i], op.contract[i], job.maker);
    const at = s && job.place(s.root);
    if (!s || !at) throw new Error(`internal: operand ${i} of the contraction %${dot.id} has no plain strides`);
    return { buffer: at.name, dtype: at.dtype, size: at.size, base: s.base, batch: s.batch, outer: s.outer, inner: s.inner };
  };
  const [x, y] = [node.inputs[0] as Value, node.inputs[1] as Value];
  const batch = op.batch[0].map((a) => shapeOf(x)[a] as number);
  const product = (ns: readonly number[]): number => ns.reduce((a, b) => a * b, 1);
  const k = product(op.contract[0].map((a) => shapeOf(x)[a] as number));
  const free = (v: Value, i: 0 | 1): number =>
    product(shapeOf(v).filter((_, a) => !op.batch[i].includes(a) && !op.contract[i].includes(a)));
  const [m, n] = [free(x, 0), free(y, 1)];
  const acc = held(x.type.dtype as DType);
  let calls = 0;
  const epilogue: GemmSpec['epilogue'] = (at, sum) => {
    const c = code(`e${calls++}`);
    const ix: Indices = indices(at.lanes);
    const known = at.colMultiple % at.lanes === 0 ? at.colMultiple : 1;
    const b = linear(
      at.batch.map((e, i) => ix.atom(e, 0, (batch[i] as number) - 1)),
      batch,
    );
    // `whole` multiples of the column's divisor fit below n - lanes
    const last = Math.floor((n - at.lanes) / known) * known;
    const col: Affine = add(ix.atom(at.col, 0, last, known), ix.lane);
    const p = add(scale(b, m * n), add(scale(ix.atom(at.row, 0, m - 1), n), col));
    const em = emitterOf(job, ix, (v, where) => {
      if (v !== dot) return undefined;
      if (linear(where, shapeOf(v)).key !== p.key) throw new Error(`internal: the contraction %${v.id} is read at another place`);
      return rounded(sum, v.type.dtype);
    });
    const home = homes(job, ix, dot, p);
    storeAll(
      c,
      ix,
      em,
      job.outputs.map((o) => ({ ...o, ix: home(o.value) })),
    );
    return c.done();
  };
  if (acc === 'bool') throw new Error('internal: a contraction of bool');
  const spec: GemmSpec = { batch, m, n, k, a: side(0), b: side(1), acc, epilogue };
  const after = primsOf(job.group).filter((p) => p !== 'dot');
  const key = gemmKey(spec, after);
  const unit = matrixFor(spec, job.target);
  if (unit) {
    const choice = choose(job.schedules, unitChooser(spec, job.target, unit, key));
    const { schedule } = choice;
    return { ...(ofWarps(schedule) ? lowerGemmMatrix(spec, schedule) : lowerGemmWgmma(spec, schedule)), choice };
  }
  if (job.target.maxThreads > 1) {
    const choice = choose(job.schedules, sharedChooser(spec, job.target, key));
    return { ...lowerGemmShared(spec, choice.schedule), choice };
  }
  const choice = choose(job.schedules, gemmChooser(spec, job.target, key));
  return { ...lowerGemm(spec, job.target, choice.schedule), choice };
};
