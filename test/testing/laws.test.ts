/** The table of laws on a few hundred programs, in the interpreter and on the C backend; and that laws notice what they are for. */
import { describe, expect, it, test } from 'vitest';
import { cpu, cpuTarget } from '../../backends/cpu/index.ts';
import { reference } from '../../backends/reference/index.ts';
import type { HostData } from '../../compiler/graph/types.ts';
import { fuzz, programOf } from '../../testing/fuzz.ts';
import { laws } from '../../testing/laws/index.ts';
import type { Context } from '../../testing/laws/law.ts';
import { mutations } from '../../testing/laws/verify.ts';
import { type Observation, observe } from '../../testing/observe.ts';
import { printProgram } from '../../testing/program-text.ts';

const target = cpuTarget(2);
const law = (name: string): (typeof laws)[number] => laws.find((l) => l.name === name) as (typeof laws)[number];
const context = (seen: Observation): Context => ({ seed: 1, target, seen });

test('laws have names of their own and say what holds', () => {
  expect(new Set(laws.map((l) => l.name)).size).toBe(laws.length);
  for (const l of laws) expect(l.says.length).toBeGreaterThan(10);
});

const two = { threads: 2, unit: 32, shareAll: true };
const variants = { plain: cpu({ threads: 1, unit: 32 }), threads: cpu(two), poisoned: cpu({ ...two, poison: 0x7fc0dead }) };
const told = ({ failures }: Awaited<ReturnType<typeof fuzz>>): string[] =>
  failures.map((f) => `${f.law}, seed ${f.seed}: ${f.why}\n${f.program ? printProgram(f.program) : ''}`);

test('all laws hold for 150 programs on the cpu backend', { timeout: 240_000 }, async () => {
  const report = await fuzz({ programs: 150, seed: 1, variants, target });
  expect(told(report)).toEqual([]);
  const n = (what: string): number => report.notes.get(what) ?? 0;
  // the laws say something: most elements have a finite bound, mutants are refused, nodes are recomputed
  expect(n('elements with a bound') / n('elements')).toBeGreaterThan(0.9);
  expect(n('mutants refused')).toBeGreaterThan(600);
  expect(n('nodes recomputed')).toBeGreaterThan(100);
  expect(n('second derivatives')).toBeGreaterThan(40);
  expect(n('launches on two threads')).toBeGreaterThan(10);
  expect(n('contractions of halves')).toBeGreaterThan(10);
  expect(n('values kept as bf16')).toBeGreaterThan(100);
  expect(n('buffers written over')).toBeGreaterThan(0);
  expect(n('steps on ranks')).toBeGreaterThan(80);
  expect(n('launches on ranks')).toBeGreaterThan(500);
  expect(n('numbers of ranks with a bound') / n('numbers of ranks')).toBeGreaterThan(0.8);
  expect(n('damaged schedules')).toBeGreaterThan(1000);
  expect(n('damaged placements')).toBeGreaterThan(5);
  // every kind of transfer that a plan may have, in both types, and groups between one rank and all
  const least = {
    gathers: 200,
    'gathers as bf16': 5,
    'gradients scattered': 50,
    'gradients scattered as bf16': 8,
    'sums over ranks': 300,
    'sums over copies': 10,
    'steps in groups': 10,
  };
  expect(Object.entries(least).filter(([what, times]) => n(what) < times)).toEqual([]);
});

/** Programs that notice a mutant which the first 150 do not (`npm run mutants`), and the law that does. */
const telling: readonly (readonly [seed: number, law: string, mutant: string])[] = [
  [163, 'duality', 'transpose by its own permutation, dot by the wrong permutation'],
  [235, 'vmap', 'one row too many is inside'],
  [390, 'fused', 'cumsum steps by one row less'],
  [598, 'text', 'regions of remat are not printed'],
  [805, 'passes', 'the largest of nothing is 0'],
  [442, 'steps', 'a shard makes elements of none'],
  [620190, 'sharded', 'a region in a region is not localised'],
];
test.each(telling)('seed %i, law %s, which notices: %s', { timeout: 60_000 }, async (seed, name) => {
  expect(told(await fuzz({ programs: 1, seed, variants, target, laws: [law(name)] }))).toEqual([]);
});

test('all laws hold for 100 programs on the reference backend', { timeout: 240_000 }, async () => {
  const same = { plain: reference, threads: reference, poisoned: reference };
  // it has neither threads nor an arena: these two would compare it with itself
  const some = laws.filter((l) => l.name !== 'threads' && l.name !== 'poison');
  expect(told(await fuzz({ programs: 100, seed: 2000, variants: same, target, laws: some }))).toEqual([]);
});

describe('laws notice', () => {
  const p = Array.from({ length: 50 }, (_, k) => programOf(k)).find(
    ({ graph }) => graph.results[0]?.type.dtype === 'f32' && Number(graph.results[0].type.shape[0]) > 1,
  ) as ReturnType<typeof programOf>;
  const seen = async (): Promise<Observation> =>
    (await observe([p], { plain: reference, threads: reference, poisoned: reference }))[0] as Observation;
  /** The results with one number changed a little. */
  const changed = (results: readonly HostData[]): readonly HostData[] => {
    const [first, ...rest] = results.map((d) => d.slice());
    (first as HostData)[1] = ((first as HostData)[1] as number) * 1.01 + 0.1;
    return [first as HostData, ...rest];
  };

  it('a wrong number', async () => {
    const s = await seen();
    expect(law('backend').check(p, context(s))).toBeUndefined();
    expect(law('backend').check(p, context({ ...s, once: changed(s.once) }))).toContain('result 0, element 1');
  });
  it.each([
    ['repeat', 'again'],
    ['threads', 'threads'],
    ['poison', 'poisoned'],
  ] as const)('another bit: %s', async (name, way) => {
    const s = await seen();
    expect(law(name).check(p, context(s))).toBeUndefined();
    expect(law(name).check(p, context({ ...s, [way]: changed(s[way]) }))).toContain('result 0, element 1');
  });
  it('what the compiler throws', async () => {
    const broken = {
      ...law('vmap'),
      check: () => {
        throw new Error('oops');
      },
    };
    const same = { plain: reference, threads: reference, poisoned: reference };
    const { failures } = await fuzz({ programs: 3, seed: 1, variants: same, target, laws: [broken] });
    expect(failures[0]).toMatchObject({ law: 'vmap', seed: 1 });
    expect(failures[0]?.why).toContain('throws oops');
  });
});

test('every kind of mutant occurs', () => {
  const met = new Set<string>();
  for (let seed = 0; seed < 200; seed++) {
    const { graph } = programOf(seed);
    for (const [name, mutate] of Object.entries(mutations))
      if (graph.nodes.some((n, k) => mutate(graph, k, n) !== undefined)) met.add(name);
  }
  expect([...met].sort()).toEqual(Object.keys(mutations).sort());
});
