/**
 * The contract between the emission engine and the gemm template: what a contraction group asks for, and what its
 * lowering gives back. The group has already been reduced to one m, one n and one k axis with plain strides (fuse copies
 * an operand that has none), so the template sees only numbers, and a closure for everything that happens to a result.
 *
 *   dot(x: f32[8 257 384], w: f32[1536 384]) contract=[2][1], then add(bias), gelu:
 *   { batch: [], m: 2056, n: 1536, k: 384, acc: 'f32',
 *     a: { buffer: 'b0', dtype: 'f32', base: 0, batch: [], outer: 384, inner: 1 },
 *     b: { buffer: 'b1', dtype: 'f32', base: 0, batch: [], outer: 384, inner: 1 }, epilogue }
 */
import type { DType } from '../graph/types.ts';
import type { Expr, Stmt } from '../kernel/types.ts';
import type { Target } from '../target.ts';
import type { Choice } from './schedules.ts';

/** Element (batch i0 i1 .., outer o, contraction k) lies at base + sum(batch[j] * ij) + o * outer + k * inner. */
export interface GemmOperand {
  readonly buffer: string;
  readonly dtype: DType;
  /** Elements of the buffer: every index above stays below it. */
  readonly size: number;
  readonly base: number;
  /** Strides along the batch axes; 0 = the operand does not depend on that axis. */
  readonly batch: readonly number[];
  /** Stride along m (operand a) or n (operand b). */
  readonly outer: number;
  /** Stride along k. */
  readonly inner: number;
}

/** A piece of the output: `lanes` consecutive columns of one row of one batch element. All exprs are scalar and of dtype index. */
export interface GemmPoint {
  /** One index a batch axis. */
  readonly batch: readonly Expr[];
  readonly row: Expr;
  readonly col: Expr;
  readonly lanes: number;
  /** `col` is known to be a multiple of this (1 = nothing known); lanes that divide it give vector loads in the epilogue. */
  readonly colMultiple: number;
}

export interface GemmSpec {
  /** Sizes of the batch axes, outermost first. */
  readonly batch: readonly number[];
  readonly m: number;
  readonly n: number;
  readonly k: number;
  readonly a: GemmOperand;
  readonly b: GemmOperand;
  /** Type of the accumulator: f32 for every float. */
  readonly acc: 'f32' | 'i32' | 'u32';
  /**
   * Stores everything that is made of the sum at `at`. `sum` has dtype `acc` and lanes = at.lanes, and should be a `ref`
   * (the closure reads it several times). All elements of the point exist: the template handles edges by calling with
   * fewer lanes, or inside an `if`. Names bound by the statements are fresh in each call (e0, e1, ...); the template must
   * not use names that start with `e` followed by a digit. Every output element is to be given to exactly one executed call.
   */
  readonly epilogue: (at: GemmPoint, sum: Expr) => readonly Stmt[];
}

/** Products that one step of the micro-kernel adds to a sum: pairs where both operands are bf16 and the target adds them at once. */
export const productsAtOnce = ({ a, b }: Pick<GemmSpec, 'a' | 'b'>, target: Pick<Target, 'bf16Dot'>): 1 | 2 =>
  target.bf16Dot && a.dtype === 'bf16' && b.dtype === 'bf16' ? 2 : 1;

/** What a template makes: the parts of a Kernel that are not names and buffers. */
export interface Lowering {
  /** Kernels of this group for other sizes have the same text but for numbers: they may share one (plan/share.ts). */
  readonly flat?: boolean;
  /** Where there was one to make. */
  readonly choice?: Choice;
  readonly grid: readonly [number, number, number];
  readonly threads: number;
  readonly body: readonly Stmt[];
}
