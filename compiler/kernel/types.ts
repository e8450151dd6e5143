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

/** Who meets. */
export type KTogether = 'block' | 'warp';
/** What runs beside the threads. */
export type KAsync = 'copies' | 'products';
/** One of the barriers of an `mbarrier`. */
export interface KPhase {
  readonly name: string;
  readonly index: Expr;
}
/** Halves in lines of 64 that were fetched: the first is element `index`. Lines are rows of a factor, products along them; turned, lines are products, and `apart` elements lie from 64 rows to the next. */
export interface KLines {
  readonly from: string;
  readonly index: Expr;
  readonly turned: boolean;
  readonly apart: number;
}

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
  /** All threads of the block, or of the warp, meet; only in control flow that they take alike. */
  | { readonly s: 'barrier'; readonly of: KTogether }
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
  /** Makes a group of the copies that the thread began since the last one, or of the products that its warp group did. */
  | { readonly s: 'commit'; readonly of: KAsync }
  /**
   * Waits until all but the last `pending` groups have come: copies of the thread, which other threads see after a barrier, or products of its warp
   * group, whose sums have no value before.
   */
  | { readonly s: 'wait'; readonly of: KAsync; readonly pending: number }
  /**
   * A buffer of halves that is read only, as a tensor of which boxes are fetched: element (i, j, ..) lies at base + i + j strides[1] + .., strides[0]
   * is 1, the others multiples of 16 bytes, and so is the base. What lies outside of `sizes` is 0.
   */
  | {
      readonly s: 'tensorMap';
      readonly name: string;
      readonly from: string;
      readonly base: number;
      readonly sizes: readonly number[];
      readonly strides: readonly number[];
      /** 64 along the first axis: a line. */
      readonly box: readonly number[];
    }
  /** `size` barriers in shared memory with phases, which end when `arrivals` have come and all bytes that were announced. Usable after a barrier of the block. */
  | { readonly s: 'mbarrier'; readonly name: string; readonly size: number; readonly arrivals: number }
  /** The warp meets, and arrives at an mbarrier, once. */
  | { readonly s: 'arrive'; readonly at: KPhase }
  /** The thread arrives, and announces bytes that fetches will bring. */
  | { readonly s: 'expect'; readonly at: KPhase; readonly bytes: number }
  /** The thread waits until the phase of this parity, 0 or 1, has ended: the one in front of the first has. It then sees what those who arrived had done, and what was fetched. */
  | { readonly s: 'await'; readonly at: KPhase; readonly parity: Expr }
  /**
   * Begins to bring the box at `index` to a shared array, lines one after another from element `at` on, a multiple of 512, with their chunks turned
   * (wgmma.ts). Its bytes count at an mbarrier; nobody may touch the goal before the phase ends.
   */
  | {
      readonly s: 'fetch';
      readonly to: string;
      readonly at: Expr;
      readonly from: string;
      readonly index: readonly Expr[];
      readonly on: KPhase;
    }
  /**
   * Begins to add the products of 64 x 16 and of n x 16 halves of shared memory to 64 x n sums, a warp group of 128 threads together: variables of f32.8,
   * each for sixteen columns (wgmma.ts). The first factor may be in registers, a fragment a warp. Sums have no value, and operands may not change, until the group of products has been waited for.
   */
  | { readonly s: 'wgmma'; readonly names: readonly string[]; readonly of: KMatrix; readonly x: KLines | Expr; readonly y: KLines }
  /** Stands before the products of a group: what the warp group did to its sums is done. */
  | { readonly s: 'fence' }
  /** A hint: the warp group needs so many registers a thread, and may give back or take the rest. */
  | { readonly s: 'registers'; readonly count: number }
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
  readonly nontemporal?: true;
}

export interface Kernel {
  readonly name: string;
  readonly buffers: readonly KBuffer[];
  readonly grid: readonly [number, number, number];
  readonly threads: number;
  readonly body: readonly Stmt[];
}
