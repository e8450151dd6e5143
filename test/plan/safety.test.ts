/**
 * The arena is memory that many buffers share over time. Two ways to show that no launch reads what nobody wrote: walk the plan and
 * keep book of the bytes, and fill the arena with a NaN that no program makes before it runs. Both are shown to notice a broken plan.
 */
import fc from 'fast-check';
import { beforeAll, describe, expect, test } from 'vitest';
import { cpu, cpuTarget } from '../../backends/cpu/index.ts';
import { passes } from '../../compiler/compile.ts';
import { bindGraph } from '../../compiler/graph/bind.ts';
import { eqType } from '../../compiler/graph/infer.ts';
import { bytesOf, type Graph, type HostData } from '../../compiler/graph/types.ts';
import { buildPlan } from '../../compiler/plan/build.ts';
import type { Lifetime, Plan } from '../../compiler/plan/types.ts';
import { trace } from '../../index.ts';
import { batchSpec, hyperSpec, stateSpec, trainStep } from '../../models/dinov2.ts';
import { geometry } from '../../models/recipes/geometry.ts';
import { compileTiny, tiny } from '../compile/tiny.ts';
import { programs } from '../fuse/programs.ts';
import { together } from './programs.ts';

type Range = readonly [from: number, to: number];

/**
 * The ranges of the arena that each launch reads and writes, as whole buffers. A buffer that a kernel writes and reads again counts as
 * written: that it reads only what it wrote itself is for the poison to show.
 */
const traffic = (plan: Plan): { readonly reads: readonly Range[]; readonly writes: readonly Range[] }[] =>
  plan.launches.map(({ kernel, offsets }) => {
    const buffers = plan.kernels[kernel]?.buffers ?? [];
    const ranges = (mode: 'read' | 'write'): Range[] =>
      buffers.flatMap((b, i) =>
        (b.access === 'read') === (mode === 'read')
          ? [[offsets[i] as number, (offsets[i] as number) + b.size * bytesOf[b.dtype]] as const]
          : [],
      );
    return { reads: ranges('read'), writes: ranges('write') };
  });

const meet = (a: Range, b: Range): boolean => a[0] < b[1] && b[0] < a[1];
const rangeOf = ({ slot }: Pick<Lifetime, 'slot'>): Range => [slot.offset, slot.offset + slot.bytes];

/** What is wrong with a plan's use of its arena, as sentences. */
const faults = (plan: Plan): string[] => {
  const out: string[] = [];
  const written = new Uint8Array(plan.arenaBytes);
  const fill = ([a, b]: Range): unknown => written.fill(1, a, b);
  for (const s of [...plan.inputs, ...plan.constants.map((c) => c.slot)]) fill(rangeOf({ slot: s }));
  traffic(plan).forEach(({ reads, writes }, i) => {
    for (const r of reads)
      if (written.subarray(r[0], r[1]).includes(0)) out.push(`launch ${i} reads [${r.join(', ')}), which nobody wrote`);
    writes.forEach((w, k) => {
      for (const other of writes.slice(k + 1)) if (meet(w, other)) out.push(`launch ${i} writes [${w.join(', ')}) twice`);
      // what it writes is one live value, whole or in part, and no part of another
      const live = plan.lifetimes.filter((l) => l.first <= i && i <= l.last && meet(w, rangeOf(l)));
      if (live.length !== 1 || w[1] > rangeOf(live[0] as Lifetime)[1])
        out.push(`launch ${i} writes [${w.join(', ')}), where ${live.length} values live`);
      // and it reads its own output only at the same place, where the kernel may work in place
      for (const r of reads)
        if (meet(r, w) && r[0] !== w[0]) out.push(`launch ${i} reads [${r.join(', ')}) while it writes [${w.join(', ')})`);
      if (w[1] > plan.arenaBytes) out.push(`launch ${i} writes beyond the arena`);
    });
    for (const w of writes) fill(w);
  });
  for (const o of plan.outputs)
    if (written.subarray(o.offset, o.offset + o.bytes).includes(0)) out.push(`an output at ${o.offset} was never written`);
  plan.lifetimes.forEach((a, i) => {
    for (const b of plan.lifetimes.slice(i + 1))
      if (a.first <= b.last && b.first <= a.last && meet(rangeOf(a), rangeOf(b)))
        out.push(`${a.scope} and ${b.scope} live at the same time in the same bytes`);
  });
  return out;
};

const planOf = (g: Graph, donated: readonly number[] = g.results.map(() => -1)): Plan =>
  buildPlan(
    passes.reduce((x, [, pass]) => pass(x), bindGraph(g, new Map(Object.entries(geometry(tiny).sizes)))),
    cpuTarget(2),
    { donated, maxBytes: Number.POSITIVE_INFINITY },
  );
/** Each result in the place of the first free parameter of its type, or of every second such one. */
const donations = (g: Graph): number[] => {
  const used = new Set<number>();
  return g.results.map((r) => {
    const i = g.params.findIndex((p, k) => !used.has(k) && eqType(p.type, r.type));
    if (i >= 0) used.add(i);
    return i;
  });
};

describe("DINOv2's training step", () => {
  let graph: Graph;
  let plan: Plan;
  beforeAll(() => {
    const t = trace(trainStep(tiny), [stateSpec(tiny), batchSpec(tiny), hyperSpec()], { dims: geometry(tiny).sizes });
    graph = t.graph;
    // the state's results stand before the metrics and in the order of its leaves
    const state = t.inputs.filter((i) => i.path.startsWith('0.')).length;
    plan = planOf(
      graph,
      graph.results.map((_, o) => (o < state ? o : -1)),
    );
  }, 60_000);

  test('no launch reads bytes that nobody wrote; no two live values share a byte', () => {
    expect(plan.launches.length).toBeGreaterThan(100);
    expect(faults(plan)).toEqual([]);
  });

  test('the arena is smaller than all of its buffers: memory is used again', () => {
    const all = plan.lifetimes.reduce((n, l) => n + l.slot.bytes, 0);
    expect(plan.arenaBytes).toBeLessThan(0.7 * all);
  });

  test('the new state lies where the old one lay', () => {
    plan.aliases.forEach((i, o) => {
      if (i >= 0) expect(plan.outputs[o]?.offset).toBe(plan.inputs[i]?.offset);
    });
    expect(plan.aliases.filter((i) => i >= 0).length).toBeGreaterThan(100);
  });

  test('broken plans are noticed', () => {
    const { launches } = plan;
    // without its first writer, a value is read before it is written
    expect(faults({ ...plan, launches: launches.slice(1) }).join()).toContain('nobody wrote');
    // two buffers moved together
    const moved = plan.lifetimes.map((l) => ({ ...l, slot: { ...l.slot, offset: 0 } }));
    expect(faults({ ...plan, lifetimes: moved }).join()).toContain('live at the same time');
    const [first, ...rest] = launches;
    const broken = { ...first, offsets: first?.offsets.map(() => 0) ?? [] } as Plan['launches'][number];
    expect(faults({ ...plan, launches: [broken, ...rest] })).not.toEqual([]);
  });

  test('poison in the arena does not reach a result', { timeout: 60_000 }, async () => {
    const { plan: small } = (await compileTiny(cpu({ threads: 2 }))).report as { plan: Plan };
    expect(await poisoned(small, 0)).toEqual(await poisoned(small, 0x7fc0dead));
  });
});

/** Results, as bytes, of a run in an arena whose free bytes hold `word`; inputs are small numbers and masks that all fit. */
const poisoned = async (plan: Plan, word: number): Promise<string[]> => {
  // one more input and one more output that are the whole arena: to see and to fill what no slot shows
  const all = { type: { dtype: 'u32', shape: [plan.arenaBytes / 4] }, offset: 0, bytes: plan.arenaBytes } as const;
  const exe = await cpu({ threads: 2 }).prepare({
    ...plan,
    inputs: [...plan.inputs, all],
    outputs: [...plan.outputs, all],
    aliases: [...plan.aliases, -1],
  });
  const before = exe.read(plan.outputs.length) as Uint32Array;
  const arena = new Uint32Array(before.length).fill(word);
  for (const { slot } of plan.constants)
    new Uint8Array(arena.buffer).set(new Uint8Array(before.buffer, slot.offset, slot.bytes), slot.offset);
  exe.write(plan.inputs.length, arena);
  const arrays = { f32: Float32Array, f16: Uint16Array, bf16: Uint16Array, i32: Int32Array, u32: Uint32Array, bool: Uint8Array };
  plan.inputs.forEach(({ type }, i) => {
    const count = type.shape.reduce<number>((n, d) => n * Number(d), 1);
    const numbers = Array.from({ length: count }, (_, k) => (type.dtype === 'f32' ? ((k * 37 + i * 11) % 101) / 101 : (k + i) % 2));
    const data: HostData = arrays[type.dtype].from(numbers);
    exe.write(i, data);
  });
  await exe.run();
  const out = plan.outputs.map((_, o) => Buffer.from(exe.read(o).buffer).toString('base64'));
  exe.dispose();
  return out;
};

const graphs = fc.sample(programs, { seed: 41, numRuns: 150 });

test('random programs, with and without donation', () => {
  for (const g of graphs) {
    expect(faults(planOf(g))).toEqual([]);
    expect(faults(planOf(g, donations(g)))).toEqual([]);
  }
});

test('poison does not reach the results of random programs', { timeout: 60_000 }, async () => {
  const plan = planOf(together(graphs.slice(0, 25)));
  expect(await poisoned(plan, 0)).toEqual(await poisoned(plan, 0x7fc0dead));
  // taking a launch away lets the poison through
  const broken = { ...plan, launches: plan.launches.slice(3) };
  expect(await poisoned(broken, 0)).not.toEqual(await poisoned(broken, 0x7fc0dead));
});
