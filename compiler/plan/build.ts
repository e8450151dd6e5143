/**
 * From a bound graph to a plan: fuse, lower every group, share equal kernels, join launches, place every buffer.
 *
 * Inputs, constants and outputs keep their bytes for the whole life of the executable (inputs so that an unchanged one is
 * not uploaded again, outputs until the next run overwrites them); everything between lives from the launch that writes it
 * to the last that reads it. A donated input's slot receives the new value in place where the writing kernel allows it,
 * and by a copy at the end of the step where it does not (places.ts).
 */
import { FoveaError } from '../error.ts';
import { fuse } from '../fuse/fuse.ts';
import { eqType } from '../graph/infer.ts';
import { isEmpty } from '../graph/tensor64.ts';
import type { Graph, Prim, Value } from '../graph/types.ts';
import { printKernel } from '../kernel/print.ts';
import type { Kernel } from '../kernel/types.ts';
import { verifyKernel } from '../kernel/verify.ts';
import type { Schedules, Target } from '../target.ts';
import { copyKernel } from '../tile/copy.ts';
import { sizeOf } from '../tile/emit.ts';
import type { Group } from '../tile/group.ts';
import { type Lowered, lowerAll } from '../tile/lower.ts';
import { type Need, placeBuffers } from './arena.ts';
import { joinSteps, type Step, type StepPart, typeBytes, writtenBy } from './join.ts';
import { largestOf } from './largest.ts';
import { orderSteps } from './order.ts';
import { placesOf, usesOf } from './places.ts';
import { shareKernels, tables } from './share.ts';
import { pastCaches } from './stores.ts';
import { collectivesOf, transferOf } from './transfers.ts';
import type { Chosen, Lifetime, Plan, Slot } from './types.ts';

const heavy: ReadonlySet<Prim> = new Set<Prim>(['dot', 'call', 'reduceSum', 'cumsum', 'scatterAdd']);

/** All blocks of a kernel, on buffers of its own sizes. */
const whole = ({ grid, buffers }: Kernel, values: readonly Value[], group?: number): StepPart => ({
  buffers: values,
  sizes: buffers.map((b) => b.size),
  blocks: grid[0] * grid[1] * grid[2],
  ...(group === undefined ? {} : { group }),
});

export interface PlanOptions {
  /** donated[o] = input whose slot output o takes, or -1. */
  readonly donated: readonly number[];
  /** Largest arena to accept, in bytes; a larger one is refused with FV0202. */
  readonly maxBytes: number;
  /** Records that go before the model's choices. */
  readonly schedules?: Schedules | undefined;
}

/** Steps in order, and the distinct kernels they use. */
const launchesOf = (g: Graph, target: Target, schedules: Schedules | undefined) => {
  const { groups, aliases, results, constants: arrays } = fuse(g, target);
  const root = (v: Value): Value => {
    const to = aliases.get(v);
    return to ? root(to) : v;
  };
  const kernels: Kernel[] = [];
  const known = new Map<string, number>();
  // equal groups come with one kernel object; different groups may still have kernels of equal text
  const numbers = new Map<Kernel, number>();
  const share = (kernel: Kernel): number => {
    const same = numbers.get(kernel);
    if (same !== undefined) return same;
    const text = printKernel({ ...kernel, name: 'k' });
    const at = known.get(text) ?? kernels.push(verifyKernel({ ...kernel, name: `k${kernels.length}_${kernel.name}` }, target.proves)) - 1;
    known.set(text, at);
    numbers.set(kernel, at);
    return at;
  };
  const kernelGroups = groups.filter((x) => x.template !== 'transfer');
  const lowering = lowerAll(kernelGroups, target, schedules);
  const numberOf = new Map(kernelGroups.map((x, i) => [x, i]));
  const common = shareKernels(lowering.flatMap((l) => (l.flat ? [l.kernel] : [])));
  // tables of equal numbers are one constant
  const constants = [...arrays];
  const tabled = new Map<string, Value>();
  const table = (dtype: (typeof tables)[number], data: readonly number[]): Value => {
    const key = `${dtype} ${data.map((x) => (Object.is(x, -0) ? '-0' : x)).join()}`;
    const old = tabled.get(key);
    if (old) return old;
    const value: Value = { id: -1 - tabled.size, type: { dtype, shape: [data.length] } };
    tabled.set(key, value);
    constants.push({ value, data });
    return value;
  };
  const steps = groups.map((group): Step => {
    const { scope, phase, reason } = group;
    // of what gives the kernel its template, or of the first node that has a line
    const loc = (group.nodes.find((n) => heavy.has(n.op.prim) && n.meta.loc) ?? group.nodes.find((n) => n.meta.loc))?.meta.loc;
    const i = numberOf.get(group);
    if (i === undefined) return transferOf(group, root);
    const { kernel, buffers, flops, bytes, label } = lowering[i] as Lowered;
    const rest = { scope, phase, label, reason, flops, bytes, ...(loc && { loc }) };
    const one = common.get(kernel);
    const numbers = one?.numbers.get(kernel);
    const part = whole(kernel, buffers.map(root), i);
    if (!one || !numbers) return { kernel: share(kernel), parts: [part], ...rest };
    const own = tables.flatMap((t) => (numbers[t].length > 0 ? [table(t, numbers[t])] : []));
    const more = { buffers: [...part.buffers, ...own], sizes: [...part.sizes, ...own.map(sizeOf)] };
    return { kernel: share(one.kernel), parts: [{ ...part, ...more }], ...rest };
  });
  const chosen = new Map(
    lowering.flatMap(({ choice }): [string, Chosen][] => {
      if (!choice) return [];
      const { key, schedule, ignored } = choice;
      return [[key, { key, schedule: { ...schedule }, ...(ignored === undefined ? {} : { ignored }) }]];
    }),
  );
  return { groups: kernelGroups, lowered: lowering, steps, kernels, root, share, results, constants, chosen: [...chosen.values()] };
};

/** A plan and what it was made of. */
export interface Planned {
  readonly plan: Plan;
  /** Those that kernels compute: not the starts and waits of collectives. */
  readonly groups: readonly Group[];
  /** One a group. */
  readonly lowered: readonly Lowered[];
  /** Of each launch the groups that it computes; none of a copy. */
  readonly origins: readonly (readonly number[])[];
}

/** The plan of a graph all of whose nodes have elements; parameters may have none. */
const planFull = (g: Graph, target: Target, donated: readonly number[], schedules: Schedules | undefined): Planned => {
  const { groups, lowered, steps: single, kernels, root, share, results, constants, chosen } = launchesOf(g, target, schedules);
  const written = (s: Step): readonly Value[] => writtenBy(s, kernels);

  // a donated input and the output that takes its slot; results are all different and each is written by one step
  const taken = donated.filter((i) => i >= 0);
  if (new Set(taken).size < taken.length) throw new Error('internal: two outputs cannot take the place of one input');
  const replaced = new Map(
    results.flatMap((out, o): [Value, Value][] => {
      const input = g.params[donated[o] ?? -1];
      return input ? [[out, input]] : [];
    }),
  );
  const steps = [...joinSteps(orderSteps(single, kernels, replaced), kernels, replaced)];
  const uses = usesOf(steps, kernels);
  results.forEach((out, o) => {
    const input = replaced.get(out);
    if (input && !(uses.producer.has(out) && eqType((g.results[o] as Value).type, input.type)))
      throw new Error(`internal: output ${o} cannot take the place of input ${donated[o]}`);
  });
  const { shares, copies } = placesOf(steps, kernels, uses, replaced, results);
  const last = new Map(uses.last);
  for (const [from, to] of copies) {
    const kernel = copyKernel(from.type, target);
    const bytes = 2 * typeBytes(from.type);
    steps.push({
      kernel: share(kernel),
      parts: [whole(kernel, [from, to])],
      scope: '',
      phase: 'opt',
      label: 'copy',
      reason: 'donated input still read when its new value is written',
      flops: 0,
      bytes,
    });
    last.set(from, steps.length - 1);
  }

  // every buffer's life, then its place
  const end = steps.length;
  const place = (v: Value): Value => {
    const to = shares.get(v);
    return to ? place(to) : v;
  };
  const outputs = new Set(results);
  const values: Value[] = [];
  const needs: Need[] = [];
  const seen = new Set<Value>();
  const need = (v: Value, first: number, last: number): void => {
    if (seen.has(v)) return;
    seen.add(v);
    values.push(v);
    needs.push({ bytes: typeBytes(v.type), first, last });
  };
  for (const p of g.params) need(p, -1, end);
  for (const c of constants) need(c.value, -1, end);
  for (const v of uses.producer.keys()) last.set(place(v), Math.max(last.get(place(v)) ?? 0, last.get(v) as number));
  steps.forEach((s, i) => {
    for (const v of written(s)) if (!shares.has(v)) need(v, i, outputs.has(v) ? end : (last.get(v) as number));
  });
  const { offsets, bytes: arenaBytes } = placeBuffers(needs, target.alignment);
  const slots = new Map(
    values.map((v, i): [Value, Slot] => [v, { type: v.type, offset: offsets[i] as number, bytes: (needs[i] as Need).bytes }]),
  );
  const slot = (v: Value): Slot => ({ ...(slots.get(place(root(v))) as Slot), type: v.type });
  const scopeOf = new Map(single.flatMap((s) => written(s).map((v): [Value, string] => [v, s.scope])));
  // transfers happen between launches: what they write is there before the next one, what they read until after the one before
  const counts = [0];
  for (const [i, s] of steps.entries()) counts[i + 1] = (counts[i] as number) + (s.transfer ? 0 : 1);
  const launchesBefore = (i: number, late: 0 | 1): number => (i < 0 ? -1 : (counts[i] as number) - (steps[i]?.transfer ? late : 0));
  const lifetimes = values.map(
    (v, i): Lifetime => ({
      slot: slots.get(v) as Slot,
      scope: v.name ?? scopeOf.get(v) ?? '',
      first: launchesBefore((needs[i] as Need).first, 0),
      last: launchesBefore((needs[i] as Need).last, 1),
    }),
  );

  const stored = pastCaches(steps, kernels, place, target.nontemporalBytes);
  const plan: Plan = {
    kernels: stored.kernels,
    launches: stored.steps.flatMap(({ parts, transfer, ...rest }) =>
      transfer
        ? []
        : [{ ...rest, parts: parts.map(({ buffers, sizes, blocks }) => ({ sizes, blocks, offsets: buffers.map((v) => slot(v).offset) })) }],
    ),
    ...collectivesOf(steps, (v) => slot(v).offset),
    inputs: g.params.map(slot),
    outputs: g.results.map((r, o) => ({ ...slot(g.params[donated[o] ?? -1] ?? (results[o] as Value)), type: r.type })),
    aliases: g.results.map((_, o) => donated[o] ?? -1),
    constants: constants.map((c) => ({ slot: slot(c.value), data: c.data })),
    arenaBytes,
    lifetimes,
    chosen,
  };
  return {
    plan,
    groups,
    lowered,
    origins: steps.flatMap(({ parts, transfer }) => (transfer ? [] : [parts.flatMap((p) => p.group ?? [])])),
  };
};

/** What of a graph has elements: the rest is computed by nobody. */
export const withElements = (g: Graph): Graph => ({
  params: g.params,
  nodes: g.nodes.filter((n) => !n.outputs.some((v) => isEmpty(v.type))),
  results: g.results.filter((r) => !isEmpty(r.type)),
});

/** Results without elements are written by nobody: the rest is planned, and they get slots of no bytes. */
export const planned = (g: Graph, target: Target, { donated, maxBytes, schedules }: PlanOptions): Planned => {
  const full = g.results.flatMap((r, o) => (isEmpty(r.type) ? [] : [o]));
  const made = planFull(
    withElements(g),
    target,
    full.map((o) => donated[o] ?? -1),
    schedules,
  );
  fits(made.plan, maxBytes);
  const outputs = g.results.map(({ type }): Slot => ({ type, offset: 0, bytes: 0 }));
  full.forEach((o, k) => {
    outputs[o] = made.plan.outputs[k] as Slot;
  });
  return { ...made, plan: { ...made.plan, outputs, aliases: g.results.map((_, o) => donated[o] ?? -1) } };
};
export const buildPlan = (g: Graph, target: Target, options: PlanOptions): Plan => planned(g, target, options).plan;

const mib = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(1)} MiB`;

/** Throws FV0202, with the largest buffers, for a plan that needs more than `max` bytes. */
export const fits = ({ arenaBytes, lifetimes }: Plan, max: number): void => {
  if (arenaBytes <= max) return;
  throw new FoveaError('FV0202', `the plan needs ${mib(arenaBytes)} and ${mib(max)} are allowed`, { hint: largestOf({ lifetimes }) });
};
