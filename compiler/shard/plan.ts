/**
 * What a user says about sharding, and the layout of a step that follows from it. Parameters, moments and averages, the float inputs that a result
 * takes the place of, are flat; a unit is a block of the network, or what stands outside of blocks.
 *
 *   { strategy: 'SHARD_GRAD_OP', place: (path) => (path.startsWith('1.') ? { split: 0 } : undefined) }      argument 1 is the batch
 *
 *   NO_SHARD        every rank has all parameters; gradients are added up                     (data parallel)
 *   SHARD_GRAD_OP   pieces; gathered before the forward phase, kept until the backward is done (ZeRO-2, DINOv2's default)
 *   FULL_SHARD      pieces; gathered for the forward phase of a unit, and again for its backward (ZeRO-3)
 *
 * `group` ranks share the pieces of one copy: fewer than all is the hybrid form, pieces within a machine and copies across machines.
 */
import { FoveaError } from '../error.ts';
import { prodDim } from '../graph/dim.ts';
import { type FloatType, type Graph, isFloat, type Placement, type TensorType, type Value } from '../graph/types.ts';
import { checkMesh, checkPlacement, type Mesh } from './placement.ts';
import type { Layout } from './propagate.ts';

export const strategies = ['NO_SHARD', 'SHARD_GRAD_OP', 'FULL_SHARD'] as const;
export type Strategy = (typeof strategies)[number];

export const reduceTypes = ['f32', 'bf16', 'f16'] as const satisfies readonly FloatType[];

export interface ShardPlan {
  /** One for all units, or one by unit. Default SHARD_GRAD_OP. */
  readonly strategy?: Strategy | ((unit: string) => Strategy);
  /** Ranks that share the pieces of one copy. Default: all. */
  readonly group?: number;
  /** Where an input lies, by its path (`0.student.norm.weight`: argument 0); undefined: the default for its kind. */
  readonly place?: (path: string, type: TensorType) => Placement | undefined;
  /** The unit of a parameter, by its path. Default: up to the number of a block. */
  readonly unit?: (path: string) => string;
  /**
   * The type in which gradients are reduced, for all units or by unit, under every strategy. Sums are made in float32 and rounded once to it; those of
   * pieces in hybrid groups twice, once within a group and once over the copies; NCCL rounds after each rank. Default f32.
   */
  readonly reduce?: FloatType | ((unit: string) => FloatType);
  /** Units that are gathered ahead of the one that computes. Default 1. */
  readonly prefetch?: number;
  /** Most bytes of gathered parameters alive at once; fewer units are gathered ahead where they would not fit. Default: no limit. */
  readonly gatheredBytes?: number;
  /** Most bytes of one bucket; a larger unit has several. Default 64 MiB. */
  readonly bucketBytes?: number;
}

/** `student.backbone.blocks.3` of `0.student.backbone.blocks.3.attn.qkv.weight`; the name of the network where there is no block. */
export const unitOf = (path: string): string => {
  const words = path.split('.').slice(1);
  const at = words.indexOf('blocks');
  if (at < 0) return words.slice(0, 2).join('.');
  // blocks.<block> or blocks.<group>.<block>
  let end = at + 1;
  while (/^\d+$/.test(words[end] ?? '')) end++;
  return words.slice(0, end).join('.');
};

export const strategyOf = ({ strategy = 'SHARD_GRAD_OP' }: ShardPlan, unit: string): Strategy => {
  const s = typeof strategy === 'function' ? strategy(unit) : strategy;
  if (!strategies.includes(s))
    throw new FoveaError('FV0702', `unknown strategy '${s}' for ${unit}`, { hint: `Known: ${strategies.join(', ')}.` });
  return s;
};

const reduceOf = ({ reduce = 'f32' }: ShardPlan, unit: string): FloatType => {
  const t = typeof reduce === 'function' ? reduce(unit) : reduce;
  if (!reduceTypes.includes(t))
    throw new FoveaError('FV0702', `gradients of ${unit || 'the step'} cannot be reduced as '${t}'`, {
      hint: `Known: ${reduceTypes.join(', ')}.`,
    });
  return t;
};

/** Throws FV0702 for numbers that count nothing: a NaN would silently be another limit. */
const checkNumbers = (plan: ShardPlan): void => {
  const check = (name: 'prefetch' | 'gatheredBytes' | 'bucketBytes', min: number, limit: string): void => {
    const n = plan[name];
    if (n === undefined || (Number.isSafeInteger(n) && n >= min) || (limit !== '' && n === Number.POSITIVE_INFINITY)) return;
    throw new FoveaError('FV0702', `${name} is ${n}: expected a whole number from ${min}${limit}`, {
      hint: `Leave ${name} out to have the default.`,
    });
  };
  check('prefetch', 0, '');
  check('gatheredBytes', 1, ', or Infinity');
  check('bucketBytes', 1, ', or Infinity');
};

/** Where the inputs and results of a step lie on a mesh. */
export interface Placing {
  readonly mesh: Mesh;
  readonly layout: Layout;
}

/**
 * What a plan means for a graph whose parameters have sizes. donated[o]: the input whose place result o takes, or -1. Throws FV0701 for a mesh that is
 * none, FV0702 for an input that cannot lie as the plan says, and for numbers of a plan that are none.
 */
export const placingOf = (g: Pick<Graph, 'params' | 'results'>, donated: readonly number[], ranks: number, plan: ShardPlan): Placing => {
  const mesh = { ranks, shard: plan.group ?? ranks };
  checkMesh(mesh);
  checkNumbers(plan);
  const unit = plan.unit ?? unitOf;
  const taken = new Set(donated.filter((i) => i >= 0));
  const units = g.params.map((p) => unit(p.name ?? ''));
  const inputs = g.params.map((p, i): Placement => {
    const asked = plan.place?.(p.name ?? '', p.type);
    if (asked !== undefined) {
      checkPlacement(p.name ?? `input ${i}`, p.type, asked, mesh);
      return asked;
    }
    if (!taken.has(i) || !isFloat(p.type.dtype) || strategyOf(plan, units[i] as string) === 'NO_SHARD') return 'R';
    // a scalar, or a tensor with too few elements for each rank to have one
    return p.type.shape.length > 0 && (prodDim(p.type.shape) as number) >= mesh.shard ? 'flat' : 'R';
  });
  const at = (o: number): number => donated[o] ?? -1;
  const layout: Layout = {
    inputs,
    outputs: g.results.map((_: Value, o) => inputs[at(o)] ?? 'R'),
    inputUnits: units,
    outputUnits: g.results.map((_, o) => units[at(o)] ?? ''),
    regather: (u) => strategyOf(plan, u) === 'FULL_SHARD',
    reduceAs: (u) => reduceOf(plan, u),
  };
  return { mesh, layout };
};

/** All that a program for one rank depends on besides the step, as text: plans are kept by it, functions of a plan by what they answer. */
export const placingText = ({ mesh, layout }: Placing, { prefetch, gatheredBytes, bucketBytes }: ShardPlan): string => {
  const units = [...new Set([...layout.inputUnits, ...layout.outputUnits, ''])];
  const [again, reduced] = [units.filter(layout.regather), units.map(layout.reduceAs)];
  return JSON.stringify({ mesh, ...layout, again, reduced, prefetch, gatheredBytes: `${gatheredBytes}`, bucketBytes: `${bucketBytes}` });
};
