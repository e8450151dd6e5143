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
import type { Graph, HostData } from '../../compiler/graph/types.ts';
import { buildPlan } from '../../compiler/plan/build.ts';
import type { Plan } from '../../compiler/plan/types.ts';
import { trace } from '../../index.ts';
import { batchSpec, hyperSpec, stateSpec, trainStep } from '../../models/dinov2.ts';
import { geometry } from '../../models/recipes/geometry.ts';
import { faults } from '../../testing/faults.ts';
import { together } from '../../testing/together.ts';
import { compileTiny, tiny } from '../compile/tiny.ts';
import { programs } from '../fuse/programs.ts';

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
    const parts = first?.parts.map((p) => ({ ...p, offsets: p.offsets.map(() => 0) }));
    const broken = { ...first, parts } as Plan['launches'][number];
    expect(faults({ ...plan, launches: [broken, ...rest] })).not.toEqual([]);
  });

  test('poison in the arena does not reach a result', { timeout: 60_000 }, async () => {
    const { plan: small } = (await compileTiny(cpu({ threads: 2 }))).report as { plan: Plan };
    expect(await poisoned(small, 0)).toEqual(await poisoned(small, 0x7fc0dead));
  });
});

/** Results, as bytes, of a run in an arena that starts as copies of `word`; inputs are small numbers and masks that all fit. */
const poisoned = async (plan: Plan, word: number): Promise<string[]> => {
  const exe = await cpu({ threads: 2, poison: word }).prepare(plan);
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
