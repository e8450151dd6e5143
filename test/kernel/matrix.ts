/** Kernels of one or more warps that multiply 16 x 16 halves: what the tests of K and of its printers share. */
import type { KMatrix } from '../../compiler/kernel/types.ts';

/** Which lines a thread names for the left factor, as it lies in memory or turned, and for the right one. */
const straight = 'add(mul(rem(thread, 16), 16), mul(div(rem(thread, 32), 16), 8))';
const other = 'add(mul(add(rem(thread, 8), mul(div(rem(thread, 32), 16), 8)), 16), mul(rem(div(thread, 8), 2), 8))';

/**
 * `warps` warps: y[w] = a b for 16 x 16 halves, once the panels have come: a lies by rows, or by products if `turned`; b by columns or by products.
 * Every thread copies eight numbers of each, the last thread only three of them.
 */
export const product = (
  of: KMatrix,
  turned: boolean,
  warps = 1,
): string => `kernel product(a: ${of}[256] read, b: ${of}[256] read, y: f32[${256 * warps}] write) grid=[1 1 1] threads=${32 * warps} {
  alloc left: ${of}[256] shared
  alloc right: ${of}[256] shared
  let some: index = min(8, sub(251, mul(rem(thread, 32), 8)))
  if lt(thread, 32) {
    copy.8 left[mul(thread, 8)] = a[mul(thread, 8) of some]
    copy.8 right[mul(thread, 8)] = b[mul(thread, 8)]
  }
  commit
  wait 0
  barrier
  fragment x = left[${turned ? other : straight}]${turned ? ' turned' : ''}
  fragment z = right[${turned ? straight : other}]${turned ? ' turned' : ''}
  var sums: f32.8 = 0:f32.8
  mma.${of} sums = x, z
  store y[add(add(mul(place.row, 16:index.8), place.column), splat.8(mul(div(thread, 32), 256)))] = sums
}`;

/** 64 threads: y[t] is the maximum of x over eight neighbours, and z[t] the bits of what two of them add up to, four times two numbers a word. */
export const exchanged = `kernel exchanged(x: f32[64] read, y: f32[64] write, z: u32[256] write) grid=[1 1 1] threads=64 {
  let own: f32 = load x[thread]
  exchange first: f32 = own by 1
  let two: f32 = max(own, first)
  exchange second: f32 = two by 2
  let four: f32 = max(two, second)
  exchange third: f32 = four by 4
  store y[thread] = max(four, third)
  store z[mul(thread, 4)] = bitcast.u32(cast.f16(splat.8(add(own, first))))
}`;
