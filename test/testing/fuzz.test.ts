/** Failing programs shrink to the few nodes that matter, are found again from their seed, and read back from what was printed. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { cpuTarget } from '../../backends/cpu/index.ts';
import { reference } from '../../backends/reference/index.ts';
import { interpret } from '../../compiler/graph/interpret.ts';
import type { Graph, Prim } from '../../compiler/graph/types.ts';
import { fuzz, programOf } from '../../testing/fuzz.ts';
import type { Law } from '../../testing/laws/law.ts';
import { arbitraryProgram, type Program } from '../../testing/program.ts';
import { parseProgram, printProgram } from '../../testing/program-text.ts';

const same = { plain: reference, threads: reference, poisoned: reference };
const target = cpuTarget(2);
const uses = (g: Graph, prim: Prim): boolean => g.nodes.some((n) => n.op.prim === prim);
const no = (prim: Prim, runs: boolean): Law => ({
  name: `no ${prim}`,
  says: `programs have no ${prim}`,
  runs,
  check: ({ graph }) => (uses(graph, prim) ? `there is a ${prim}` : undefined),
});

test.each([false, true])('a failure shrinks, and its seed finds it again (on the backend: %s)', { timeout: 120_000 }, async (runs) => {
  const run = (programs: number, seed: number) => fuzz({ programs, seed, variants: same, target, laws: [no('cumsum', runs)] });
  const { failures } = await run(400, 1);
  expect(failures.length).toBe(1);
  const [first] = failures;
  expect(first?.law).toBe('no cumsum');
  expect(uses(first?.program?.graph as Graph, 'cumsum')).toBe(true);
  // the primitive, and at most what it is applied to and what is returned
  expect(first?.program?.graph.nodes.length).toBeLessThanOrEqual(4);
  const [again] = (await run(1, first?.seed as number)).failures;
  expect(printProgram(again?.program as Program)).toBe(printProgram(first?.program as Program));
});

test('the program of a seed is always the same', () => {
  expect(printProgram(programOf(12))).toBe(printProgram(programOf(12)));
  expect(printProgram(programOf(12))).not.toBe(printProgram(programOf(13)));
});

test('what is printed reads back and runs', () => {
  for (let seed = 0; seed < 100; seed++) {
    const p = programOf(seed);
    const text = printProgram(p);
    const back = parseProgram(text);
    expect(printProgram(back)).toBe(text);
    expect(interpret(back.graph, back.inputs)).toEqual(interpret(p.graph, p.inputs));
  }
});

test("a property of a user's own reports its counterexample as a program that reads back", () => {
  const property = fc.property(arbitraryProgram(), ({ graph }) => !uses(graph, 'cumsum'));
  const { counterexample, counterexamplePath } = fc.check(property, { seed: 4, numRuns: 400 });
  expect(counterexamplePath).not.toBeNull();
  const report = (): unknown => fc.assert(property, { seed: 4, numRuns: 400 });
  const text = printProgram(counterexample?.[0] as Program);
  expect(text).toContain('= cumsum(');
  expect(report).toThrow(text);
});

test('programs reach composites, random keys and transforms', () => {
  const tags = new Set<string>();
  const scopes = { key: 0, backward: 0 };
  for (let seed = 0; seed < 600; seed++) {
    const { graph } = programOf(seed);
    for (const n of graph.nodes) if (n.op.prim === 'call') tags.add(n.op.tag);
    if (graph.nodes.some((n) => n.op.prim === 'randomBits' && graph.params.includes(n.inputs[0] as (typeof graph.params)[number])))
      scopes.key++;
    if (graph.nodes.some((n) => n.meta.phase === 'bwd')) scopes.backward++;
  }
  for (const tag of ['softmax', 'gelu', 'layerNorm', 'logSoftmax', 'silu', 'sigmoid', 'relu', 'checkpoint'])
    expect([tag, tags.has(tag)]).toEqual([tag, true]);
  expect(scopes.key).toBeGreaterThan(0);
  expect(scopes.backward).toBeGreaterThan(100);
});
