/** Conversions of f16 and bf16 in C, vectors and single numbers, against the interpreter's: every half, and every 65,521st float. */
import { expect, test } from 'vitest';
import { body } from '../../compiler/kernel/build.ts';
import * as e from '../../compiler/kernel/expr.ts';
import { bitsOf, foldCast, numberOf } from '../../compiler/kernel/scalar.ts';
import type { Kernel } from '../../compiler/kernel/types.ts';
import { verifyKernel } from '../../compiler/kernel/verify.ts';
import { runC } from './helper.ts';

const size = 65536;
const halves = Uint16Array.from({ length: size }, (_, i) => i);
const floats = new Float32Array(Uint32Array.from({ length: size }, (_, i) => Math.imul(i, 65521)).buffer);

test.each([1, 8, 16])('%i lanes', async (lanes) => {
  const kernel = (t: 'f16' | 'bf16'): Kernel => {
    const k = body(['h', 'x', `wide_${t}`, `narrow_${t}`]);
    k.for('i', 0, size, lanes, (i) => {
      k.store({ name: `wide_${t}`, dtype: 'f32' }, i, e.cast(e.load({ name: `h_${t}`, dtype: t }, i, lanes), 'f32'));
      k.store({ name: `narrow_${t}`, dtype: t }, i, e.cast(e.load({ name: 'x', dtype: 'f32' }, i, lanes), t));
    });
    return verifyKernel({
      name: `halves_${t}`,
      buffers: [
        { name: `h_${t}`, dtype: t, size, access: 'read' },
        { name: 'x', dtype: 'f32', size, access: 'read' },
        { name: `wide_${t}`, dtype: 'f32', size, access: 'write' },
        { name: `narrow_${t}`, dtype: t, size, access: 'write' },
      ],
      grid: [1, 1, 1],
      threads: 1,
      body: k.done(),
    });
  };
  const got = await runC([kernel('f16'), kernel('bf16')], { h_f16: halves, h_bf16: halves, x: floats });
  for (const t of ['f16', 'bf16'] as const) {
    const [wide, narrow] = [got[`wide_${t}`], got[`narrow_${t}`]] as [Float32Array, Uint16Array];
    const wrong: string[] = [];
    for (let i = 0; i < size; i++) {
      const want = numberOf(i, t);
      if (!Object.is(wide[i], want)) wrong.push(`${t} ${i} is ${wide[i]}, not ${want}`);
      const rounded = foldCast(floats[i] as number, 'f32', t);
      // which NaN a NaN becomes is free
      const same = Number.isNaN(rounded) ? Number.isNaN(numberOf(narrow[i] as number, t)) : narrow[i] === bitsOf(rounded, t);
      if (!same) wrong.push(`${floats[i]} as ${t} is ${narrow[i]}, not ${bitsOf(rounded, t)}`);
    }
    expect(wrong.slice(0, 5)).toEqual([]);
  }
});
