/**
 * The copy kernel: one buffer to another of the same type. The plan uses it where a donated input must receive a value that
 * could not be written in place.
 */
import { prodDim } from '../graph/dim.ts';
import type { TensorType } from '../graph/types.ts';
import { body } from '../kernel/build.ts';
import * as e from '../kernel/expr.ts';
import type { Kernel } from '../kernel/types.ts';
import type { Target } from '../target.ts';

/** Elements of one block. */
const blockSize = 1 << 14;

export const copyKernel = (type: TensorType, target: Target): Kernel => {
  const size = prodDim(type.shape) as number;
  const from: e.Place = { name: 'b0', dtype: type.dtype };
  const to: e.Place = { name: 'b1', dtype: type.dtype };
  const lanes = target.vectorBytes / 4;
  const k = body(['b0', 'b1']);
  const start = k.let('start', e.mul(e.block(0), blockSize));
  const stop = k.let('stop', e.min(e.add(start, blockSize), e.index(size)));
  const whole = k.let('whole', e.add(start, e.mul(e.div(e.sub(stop, start), lanes), lanes)));
  k.for('i', start, whole, lanes, (i) => k.store(to, i, e.load(from, i, lanes)));
  k.for('i', whole, stop, 1, (i) => k.store(to, i, e.load(from, i)));
  return {
    name: 'copy',
    buffers: [
      { name: 'b0', dtype: type.dtype, size, access: 'read' },
      { name: 'b1', dtype: type.dtype, size, access: 'write' },
    ],
    grid: [Math.max(1, Math.ceil(size / blockSize)), 1, 1],
    threads: 1,
    body: k.done(),
  };
};
