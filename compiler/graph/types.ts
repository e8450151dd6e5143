/**
 * G, the graph IR: typed, pure, in A-normal form. A graph is a list of nodes in execution order; a node applies one
 * primitive to earlier values. Regions (nested graphs) occur only in call, scan and perShard, and are closed: everything
 * a region uses is one of its parameters. Nothing broadcasts implicitly: pointwise primitives take equal shapes.
 *
 * The union `Op` is the whole vocabulary. Every transformation, pass and printer is a table with one row a primitive
 * (`{ [P in Prim]: ... }`), so that a primitive without a rule does not compile.
 *
 *   graph (%0 x: f32[B 384], %1 w: f32[N 384]) {
 *     %2: f32[B N] = dot(%0, %1) batch=[][] contract=[1][1]
 *     return %2
 *   }
 */
import type { Loc } from '../error.ts';
import type { Dim } from './dim.ts';

export const dtypes = ['f32', 'f16', 'bf16', 'i32', 'u32', 'bool'] as const;
export type DType = (typeof dtypes)[number];
export type FloatType = 'f32' | 'f16' | 'bf16';
/** Bytes of one element in memory. */
export const bytesOf: { readonly [T in DType]: number } = { f32: 4, f16: 2, bf16: 2, i32: 4, u32: 4, bool: 1 };
export const isFloat = (t: DType): t is FloatType => t === 'f32' || t === 'f16' || t === 'bf16';

/**
 * A tensor's numbers on the host, row-major: f32 Float32Array (the reference backend gives Float64Array), f16 and bf16 Uint16Array of
 * bits, i32 Int32Array, u32 Uint32Array, bool Uint8Array of 0 and 1.
 */
export type HostData = Float32Array | Float64Array | Uint16Array | Int32Array | Uint32Array | Uint8Array;

/** The array of each dtype on the host. */
export const hostArrays = {
  f32: Float32Array,
  f16: Uint16Array,
  bf16: Uint16Array,
  i32: Int32Array,
  u32: Uint32Array,
  bool: Uint8Array,
} as const satisfies { readonly [T in DType]: unknown };

export interface TensorType {
  readonly dtype: DType;
  readonly shape: readonly Dim[];
}

/** A value: a graph parameter or a node's output. Identity is by reference; `id` is its number in the printed graph. */
export interface Value {
  readonly id: number;
  readonly type: TensorType;
  /** Parameters only: the path in the argument tree, e.g. `student.blocks.0.attn.qkv.weight`. */
  readonly name?: string;
}

export type Phase = 'fwd' | 'bwd' | 'opt';

/** Where a node comes from; no pass reads it to decide what is computed, except remat and cse (by `remat` and `phase`). */
export interface Meta {
  readonly scope: string;
  readonly phase: Phase;
  readonly loc?: Loc | undefined;
  /** Number of the checkpoint region whose forward values are to be recomputed in the backward phase. */
  readonly remat?: number | undefined;
}

export type Compare = 'eq' | 'ne' | 'lt' | 'le' | 'gt' | 'ge';
/**
 * Where a tensor is, on a mesh of ranks: R everywhere; P, max, min: every rank has a tensor of the full shape, and their sum (maximum, minimum) is
 * meant; flat: its elements in row-major order, padded to a multiple of the ranks, a piece on each; or split along an axis. The axis may consist of
 * parts, one after the other, each of which is split evenly; without a list it is one part.
 *
 *   S0 of f32[8], two ranks: elements 0-3 and 4-7        S0(4 4) of f32[8]: elements 0 1 4 5 and 2 3 6 7
 */
export type Placement = 'R' | 'P' | 'max' | 'min' | 'flat' | Split;
export interface Split {
  readonly split: number;
  readonly parts?: readonly number[];
}

export const collectiveKinds = ['all-gather', 'reduce-scatter', 'all-reduce'] as const;
export type CollectiveKind = (typeof collectiveKinds)[number];
/**
 * Ranks that a collective is among. A mesh of W ranks is W / F groups of F neighbours: rank r has place r % F in its group `shard`, and place
 * floor(r / F) in its group `replica`, which has the ranks of equal place in all groups. F = W: `shard` is `world`, `replica` is the rank alone.
 */
export const groupNames = ['world', 'shard', 'replica'] as const;
export type GroupName = (typeof groupNames)[number];
export const reductions = ['sum', 'max', 'min'] as const;
export type Reduction = (typeof reductions)[number];

/** A collective of one or more tensors of one type of element: a bucket. */
export interface Transfer {
  readonly kind: CollectiveKind;
  readonly group: GroupName;
  /** Ranks of the group. */
  readonly ranks: number;
  /** `sum` for a gather, which has none. */
  readonly reduction: Reduction;
  /** The unit of sharding that it belongs to, as `student.backbone.blocks.3`; empty where there is none. */
  readonly unit: string;
}
type None = Record<never, never>;
type Axes = { readonly axes: readonly number[] };

/** Attributes of each primitive. Axis numbers count from 0; dtypes and shapes of results follow from these (infer.ts). */
export interface Attrs {
  // constants. `const` is a scalar, possibly a size; `array` holds its data in row-major order
  const: { readonly value: Dim; readonly dtype: DType };
  array: { readonly data: readonly number[]; readonly shape: readonly number[]; readonly dtype: DType };
  iota: { readonly shape: readonly Dim[]; readonly axis: number; readonly dtype: DType };
  // unary, pointwise
  neg: None;
  exp: None;
  log: None;
  sin: None;
  cos: None;
  tanh: None;
  sqrt: None;
  rsqrt: None;
  erf: None;
  abs: None;
  sign: None;
  floor: None;
  not: None;
  cast: { readonly dtype: DType };
  stopGradient: None;
  // binary, pointwise: equal shapes and dtypes. Integer div truncates; rem takes the sign of the dividend
  add: None;
  sub: None;
  mul: None;
  div: None;
  pow: None;
  max: None;
  min: None;
  rem: None;
  and: None;
  or: None;
  xor: None;
  /** uint32 only; shifts by 32 or more give 0 */
  shiftLeft: None;
  shiftRight: None;
  compare: { readonly cmp: Compare };
  /** select(condition, whenTrue, whenFalse), all of one shape */
  select: None;
  // structure
  /** Operand axis i becomes result axis `axes[i]` (ascending); an operand axis of size 1 may stretch. */
  broadcast: Axes & { readonly shape: readonly Dim[] };
  reshape: { readonly shape: readonly Dim[] };
  /** Result axis i is operand axis `perm[i]`. */
  transpose: { readonly perm: readonly number[] };
  slice: { readonly start: readonly Dim[]; readonly limit: readonly Dim[] };
  pad: { readonly low: readonly Dim[]; readonly high: readonly Dim[]; readonly value: number };
  concat: { readonly axis: number };
  reverse: Axes;
  /** gather(x, i: i32): replaces `axis` of x by the axes of i; an index out of range reads 0 (false). */
  gather: { readonly axis: number };
  /** scatterAdd(x, i: i32, u): x plus every slice of u at its index; an index out of range is dropped. Inverse shapes of gather. */
  scatterAdd: { readonly axis: number };
  // contraction: result axes are batch, then the left operand's free axes, then the right's. Accumulates in float32
  dot: {
    readonly batch: readonly [readonly number[], readonly number[]];
    readonly contract: readonly [readonly number[], readonly number[]];
    readonly dtype: DType;
  };
  // reductions: the axes disappear
  reduceSum: Axes;
  reduceMax: Axes;
  reduceMin: Axes;
  /** i32 index of the first maximum along `axis`, which disappears. */
  argmax: { readonly axis: number };
  cumsum: { readonly axis: number };
  /** randomBits(key: u32[2]): element i is a ^ b where (a, b) = threefry2x32(key, (0, i)), i the row-major index. */
  randomBits: { readonly shape: readonly Dim[] };
  // control
  /** A named region (softmax, gelu, attention, checkpoint, ...) applied to the inputs; its meaning is its body. */
  call: { readonly tag: string; readonly body: Graph };
  /**
   * scan(carries..., constants..., xs...): `length` times body(carries, constants, x slices) -> (carries, y slices);
   * xs are sliced and ys stacked along axis 0. Results: final carries, then ys. `reverse` runs from the last slice.
   */
  scan: { readonly length: Dim; readonly carries: number; readonly constants: number; readonly reverse: boolean; readonly body: Graph };
  // sharding
  /** The same tensor, placed otherwise. On one device the identity. */
  reshard: { readonly axis: string; readonly from: Placement; readonly to: Placement; readonly unit?: string };
  /** i32 scalar: index of this shard on the mesh axis. */
  axisIndex: { readonly axis: string };
  /**
   * The body, once for every index of the operands' first axis, the shard; results are stacked. Shards see nothing of each other, as the original
   * per-rank code does not: ranks compute their own without a word.
   */
  perShard: { readonly axis: string; readonly body: Graph };
  // what one rank says to the others, in a program for one rank: all-gather x: [..] -> [ranks ..], reduce-scatter [ranks ..] -> [..], all-reduce [..] -> [..]
  collective: Transfer;
  /** As collective, but what comes out may be read by `wait` only. */
  start: Transfer;
  /** wait(results of a start, its operands): the results, arrived. The operands stand there since their memory is busy until then. */
  wait: None;
}

export type Prim = keyof Attrs;
export type OpOf<P extends Prim> = { readonly prim: P } & Readonly<Attrs[P]>;
export type Op = { [P in Prim]: OpOf<P> }[Prim];

export interface Node {
  readonly op: Op;
  readonly inputs: readonly Value[];
  readonly outputs: readonly Value[];
  readonly meta: Meta;
}

export interface Graph {
  readonly params: readonly Value[];
  readonly nodes: readonly Node[];
  readonly results: readonly Value[];
}
