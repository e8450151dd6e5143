/**
 * The copy kernel: one buffer to another of the same type. The plan uses it where a donated input must receive a value that
 * could not be written in place.
 */
import { prodDim } from '../graph/dim.ts';
import type { TensorType } from '../graph/types.ts';
import { body } from '../kernel/build.ts';
import * as e from '../kernel/expr.ts';
import type { Expr, Kernel } from '../kernel/types.ts';
import type { Target } from '../target.ts';

/** Elements of one block of one thread, and of each of several. */
const [blockSize, threadSize] = [1 << 14, 16];

export const copyKernel = (type: TensorType, target: Target): Kernel => {
  const size = prodDim(type.shape) as number;
  const from: e.Place = { name: 'b0', dtype: type.dtype };
  const to: e.Place = { name: 'b1', dtype: type.dtype };
  const lanes = target.vectorBytes / 4;
  const threads = Math.min(256, target.maxThreads);
  const chunk = threads > 1 ? threadSize * threads : blockSize;
  const mine = (x: Expr, width: number) => (threads > 1 ? e.add(x, e.mul(e.thread, width)) : x);
  const k = body(['b0', 'b1']);
  const start = k.let('start', e.mul(e.block(0), chunk));
  const stop = k.let('stop', e.min(e.add(start, chunk), e.index(size)));
  const whole = k.let('whole', e.add(start, e.mul(e.div(e.sub(stop, start), lanes), lanes)));
  k.for('i', mine(start, lanes), whole, lanes * threads, (i) => k.store(to, i, e.load(from, i, lanes)));
  k.for('i', mine(whole, 1), stop, threads, (i) => k.store(to, i, e.load(from, i)));
  return {
    name: 'copy',
    buffers: [
      { name: 'b0', dtype: type.dtype, size, access: 'read' },
      { name: 'b1', dtype: type.dtype, size, access: 'write' },
    ],
    grid: [Math.max(1, Math.ceil(size / chunk)), 1, 1],
    threads,
    body: k.done(),
  };
};
