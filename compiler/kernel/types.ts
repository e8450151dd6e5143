/**
 * K, the kernel IR: structured statements over pure expressions. One kernel is a grid of blocks that may run in any
 * order and in parallel; inside a block, `threads` threads (1 on the CPU) share `shared` arrays and meet at barriers.
 * All sizes are numbers by now. Every expression knows its dtype and its lanes (1 = scalar); both sides of an operation
 * have equal lanes, `splat` widens. bf16 and f16 exist in memory, in casts and, bf16, as pairs: factors of `dot2`; arithmetic is on
 * f32, i32, u32, index and (and, or, xor, not, select) bool. `index` is the type of addresses: 64 bits in C, u32 in WGSL.
 *
 *   kernel add(a: f32[1024] read, b: f32[1024] read, c: f32[1024] write) grid=[4 1 1] threads=1 {
 *     for i = 0 to 256 step 16 {
 *       let at: index = add(mul(block.0, 256), i)
 *       store c[at] = add(load.16 a[at], load.16 b[at])
 *     }
 *   }
 */
import type { Compare, DType } from '../graph/types.ts';

export type KType = DType | 'index';

export type KUnary = 'neg' | 'exp' | 'log' | 'sin' | 'cos' | 'tanh' | 'sqrt' | 'rsqrt' | 'erf' | 'abs' | 'sign' | 'floor' | 'not';
export type KBinary = 'add' | 'sub' | 'mul' | 'div' | 'pow' | 'max' | 'min' | 'rem' | 'and' | 'or' | 'xor' | 'shiftLeft' | 'shiftRight';
export type KReduce = 'add' | 'max' | 'min';
export type KHalf = 'low' | 'high';
export type KAxis = 'row' | 'column';
/** What matrix units multiply. */
export type KMatrix = 'bf16' | 'f16';

interface Typed {
  readonly dtype: KType;
  readonly lanes: number;
}

export type Expr = Typed &
  (
    | { readonly k: 'const'; readonly value: number }
    /** A name bound by let, var or for. */
    | { readonly k: 'ref'; readonly name: string }
    | { readonly k: 'block'; readonly axis: 0 | 1 | 2 }
    | { readonly k: 'thread' }
    /** Row or column of each of the eight sums of 16 x 16 that a thread of a warp holds (matrix.ts), as index.8. */
    | { readonly k: 'place'; readonly axis: KAxis }
    | { readonly k: 'unary'; readonly op: KUnary; readonly x: Expr }
    /** index div and rem are floor division and its remainder on operands >= 0. */
    | { readonly k: 'binary'; readonly op: KBinary; readonly x: Expr; readonly y: Expr }
    | { readonly k: 'compare'; readonly cmp: Compare; readonly x: Expr; readonly y: Expr }
    | { readonly k: 'select'; readonly c: Expr; readonly x: Expr; readonly y: Expr }
    /** x * y + z, rounded once where the target can. */
    | { readonly k: 'fma'; readonly x: Expr; readonly y: Expr; readonly z: Expr }
    /**
     * Lane i is z[i] + x[2i + 1] y[2i + 1] + x[2i] y[2i]: factors bf16, sums f32, each product added by one fma, the odd one first.
     * y has twice as many lanes as z; so has x, or 2: then the one pair goes into every lane. Machines that have it as an
     * instruction may take subnormal numbers (below 2^-126) for zero, coming in and going out; nothing else may differ.
     */
    | { readonly k: 'dot2'; readonly x: Expr; readonly y: Expr; readonly z: Expr }
    | { readonly k: 'cast'; readonly x: Expr }
    /** The same bits: of f32, i32 and u32, lane by lane, and of two lanes of bf16 or f16 as one of u32, the first in the low half. */
    | { readonly k: 'bitcast'; readonly x: Expr }
    | { readonly k: 'splat'; readonly x: Expr }
    /** base, base + 1, ...: an index (or i32) vector. */
    | { readonly k: 'ramp'; readonly base: Expr }
    | { readonly k: 'lane'; readonly x: Expr; readonly i: number }
    /** Lanes of x and y by turns, x0 y0 x1 y1 ..., of their lower or upper halves: the step that transpositions are made of. */
    | { readonly k: 'zip'; readonly half: KHalf; readonly x: Expr; readonly y: Expr }
    /** Horizontal reduction of the lanes, pairwise: a fixed tree, so that the bits do not depend on the target's width order. */
    | { readonly k: 'across'; readonly op: KReduce; readonly x: Expr }
    /**
     * Elements of a buffer or array. A scalar index reads `lanes` consecutive elements; an index vector reads each lane's own.
     * With a mask (bool, same lanes) lanes that are false touch no memory and give 0.
     */
    | { readonly k: 'load'; readonly from: string; readonly index: Expr; readonly mask?: Expr }
  );

export type Stmt =
  | { readonly s: 'let'; readonly name: string; readonly value: Expr }
  /** A mutable variable; `set` assigns it. */
  | { readonly s: 'var'; readonly name: string; readonly value: Expr }
  | { readonly s: 'set'; readonly name: string; readonly value: Expr }
  /** An array of `size` elements, private to a thread (register) or to a block (shared). Contents start undefined. */
  | { readonly s: 'alloc'; readonly name: string; readonly space: 'register' | 'shared'; readonly dtype: KType; readonly size: number }
  /** Like load: scalar index = consecutive lanes; masked-off lanes are not written. */
  | { readonly s: 'store'; readonly to: string; readonly index: Expr; readonly value: Expr; readonly mask?: Expr }
  /** name = from, from + step, ... while < to. `unroll` asks the printer for straight-line code. */
  | {
      readonly s: 'for';
      readonly name: string;
      readonly from: Expr;
      readonly to: Expr;
      readonly step: number;
      readonly kind: 'serial' | 'unroll';
      readonly body: readonly Stmt[];
    }
  | { readonly s: 'if'; readonly cond: Expr; readonly body: readonly Stmt[]; readonly otherwise: readonly Stmt[] }
  /** A hint to bring the element's memory line near. It computes nothing, and the element need not exist. */
  | { readonly s: 'prefetch'; readonly from: string; readonly index: Expr }
  /** All threads of the block; only in control flow that is uniform over the block. */
  | { readonly s: 'barrier' }
  /** Together with the other threads of its warp, a thread reads its part of 16 x 16 halves of shared memory, as u32.4 (matrix.ts); index: of its line of eight. */
  | { readonly s: 'fragment'; readonly name: string; readonly from: string; readonly index: Expr; readonly turned: boolean }
  /** The variable `name` (f32.8), a thread's part of 16 x 16 sums, gets the products of two fragments of `of`, its warp together (matrix.ts). */
  | { readonly s: 'mma'; readonly name: string; readonly of: KMatrix; readonly x: Expr; readonly y: Expr }
  /**
   * Begins to copy `lanes` elements, 4, 8 or 16 bytes at a multiple of as many, of a buffer that is read only to a shared array. Elements from
   * `count` on are 0 and touch no memory. Nobody may touch the goal before the thread that copies has waited.
   */
  | {
      readonly s: 'copy';
      readonly to: string;
      readonly at: Expr;
      readonly from: string;
      readonly index: Expr;
      readonly lanes: number;
      readonly count?: Expr;
    }
  /** Makes a group of the copies that the thread began since the last one. */
  | { readonly s: 'commit' }
  /** Waits until all but the last `pending` groups of the thread have come. Other threads see them after a barrier. */
  | { readonly s: 'wait'; readonly pending: number }
  /**
   * name = the value of thread (thread xor by), without memory; only where a barrier may stand, for it is no barrier: memory is as it was.
   * `by` is a power of two below the subgroup of the target. A tree of them reduces: WGSL's subgroupShuffleXor, CUDA's __shfl_xor_sync.
   */
  | { readonly s: 'exchange'; readonly name: string; readonly value: Expr; readonly by: number };

export interface KBuffer {
  readonly name: string;
  readonly dtype: DType;
  /** Elements. */
  readonly size: number;
  /** `write`: each element at most once, and never read. */
  readonly access: 'read' | 'write' | 'readwrite';
  /** A hint, with `write` only: what is stored is better written past the caches. It changes no result. */
  readonly streamed?: true;
}

export interface Kernel {
  readonly name: string;
  readonly buffers: readonly KBuffer[];
  readonly grid: readonly [number, number, number];
  readonly threads: number;
  readonly body: readonly Stmt[];
}
