/** A counterexample of a derivative law names the primitive, the file of its rule and the node in the printed program. */
import { afterEach, expect, test } from 'vitest';
import { cpuTarget } from '../../backends/cpu/index.ts';
import { reference } from '../../backends/reference/index.ts';
import { type AnySite, scale } from '../../compiler/transform/dual.ts';
import { type JvpRule, jvpRules } from '../../compiler/transform/jvp.ts';
import { transposeRules } from '../../compiler/transform/transpose.ts';
import { type Failure, fuzz, tryProgram } from '../../testing/fuzz.ts';
import { laws } from '../../testing/laws/index.ts';
import type { Program } from '../../testing/program.ts';
import { parseProgram, printProgram } from '../../testing/program-text.ts';

const restore: (() => void)[] = [];
const patch = (table: object, prim: string, rule: unknown): void => {
  const old = table[prim as keyof typeof table];
  restore.push(() => Object.assign(table, { [prim]: old }));
  Object.assign(table, { [prim]: rule });
};
afterEach(() => {
  for (const r of restore.splice(0)) r();
});

const variants = { plain: reference, threads: reference, poisoned: reference };
const options = (name: string) => ({ variants, target: cpuTarget(2), laws: laws.filter((l) => l.name === name) });
const first = async (name: string): Promise<Failure> => {
  const { failures } = await fuzz({ programs: 100, seed: 1, ...options(name) });
  expect(failures.length).toBe(1);
  return failures[0] as Failure;
};

test('the wrong jvp rule of tanh', { timeout: 60_000 }, async () => {
  const right = jvpRules.tanh as JvpRule<never>;
  patch(jvpRules, 'tanh', (s: AnySite) => {
    const dual = right(s as never);
    return { ...dual, tangents: dual.tangents.map((t) => t && scale(s.b, t, 2)) };
  });
  const { why, seed, program } = await first('jvp');
  const at = /the rule of tanh in compiler\/transform\/jvp-pointwise\.ts, at (%\d+)/.exec(why)?.[1];
  expect(at).toBeDefined();
  const text = printProgram(program as Program);
  expect(text).toContain(`${at}: `);
  // and it is found again from the text
  const again = await tryProgram(parseProgram(text), { seed, ...options('jvp') });
  expect(again.failures[0]).toMatchObject({ law: 'jvp', seed });
  expect(again.failures[0]?.why).toBe(why);
});

test.each(['duality', 'grad'])('a wrong transposition: %s', { timeout: 60_000 }, async (law) => {
  const right = transposeRules.broadcast;
  patch(transposeRules, 'broadcast', (s: Parameters<typeof right>[0]) => right(s).map((t) => t && s.b.neg(t)));
  const { why, program } = await first(law);
  const at = /the rule of broadcast in compiler\/transform\/transpose-structure\.ts, at (%\d+)/.exec(why)?.[1];
  expect(at).toBeDefined();
  expect(printProgram(program as Program)).toContain(`${at}: `);
});
