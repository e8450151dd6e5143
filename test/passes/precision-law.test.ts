/**
 * The law of precision on programs that are mostly matrix products, their gradients and batches, where generated programs at large have
 * few: in the kernel interpreter, and in C.
 */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { cpu, cpuTarget } from '../../backends/cpu/index.ts';
import { compileGraph, passesFor } from '../../compiler/compile.ts';
import { builder } from '../../compiler/graph/builder.ts';
import type { Value } from '../../compiler/graph/types.ts';
import { bounded, compare } from '../../testing/bound.ts';
import { decode, encode, results, rounded } from '../../testing/host.ts';
import { laws } from '../../testing/laws/index.ts';
import type { Law } from '../../testing/laws/law.ts';
import { drawLike, numbers } from '../../testing/numbers.ts';
import type { Program } from '../../testing/program.ts';
import { printProgram } from '../../testing/program-text.ts';
import { together } from '../../testing/together.ts';
import { gradGraph } from '../../testing/transforms.ts';

/**
 * A chain of matrices: each step is a product of two earlier ones in any of the four orders of axes, or something pointwise, a
 * transpose or a slice; half of the programs are the gradient of that.
 */
const products: fc.Arbitrary<Program> = fc
  .record({
    steps: fc.array(fc.array(fc.nat({ max: 0xffff }), { minLength: 6, maxLength: 6 }), { minLength: 2, maxLength: 9 }),
    gradient: fc.boolean(),
  })
  .map(({ steps, gradient }) => {
    const b = builder();
    const sizes = [2, 3, 5, 8, 17];
    const values: Value[] = [b.param({ dtype: 'f32', shape: [5, 8] })];
    for (const [kind = 0, at = 0, side = 0, other = 0, size = 0, which = 0] of steps) {
      const x = values[at % values.length] as Value;
      const shape = x.type.shape as readonly number[];
      const [m, n] = [side % 2, other % 2];
      if (kind % 5 > 1) {
        // the other factor: one that fits, or a new parameter
        const depth = shape[m] as number;
        const fit = values.filter((v) => v.type.shape[n] === depth);
        const free = sizes[size % sizes.length] as number;
        const y =
          which % 3 > 0 && fit.length > 0
            ? (fit[which % fit.length] as Value)
            : b.param({ dtype: 'f32', shape: n === 0 ? [depth, free] : [free, depth] });
        const dot = b.one({ prim: 'dot', batch: [[], []], contract: [[m], [n]], dtype: 'f32' }, [x, y]);
        values.push(b.tanh(dot));
      } else if (kind % 5 === 1) values.push(which % 2 === 0 ? b.transpose(x, [1, 0]) : b.add(x, b.exp(b.neg(b.mul(x, x)))));
      else if ((shape[0] as number) > 2) values.push(b.slice(x, [1, 0], [shape[0] as number, shape[1] as number]));
    }
    const made = b.build(values.slice(-2));
    const graph = gradient ? gradGraph(made) : made;
    const next = numbers(steps.flat().reduce((h, v) => (Math.imul(h, 31) + v) | 0, 7));
    return { graph, inputs: graph.params.map((v) => rounded(drawLike(v.type, next))) };
  });
const law = laws.find((l) => l.name === 'precision') as Law;
const target = cpuTarget(2);

test('kernels compute what the cast graph says', () => {
  let cast = 0;
  const note = (_: string, n: number): void => {
    cast += n;
  };
  const none = { once: [], again: [], threads: [], poisoned: [], shared: 0, precision: 'f32' as const, arithmetic: 'f32' as const };
  let seed = 0;
  fc.assert(
    fc.property(products, (p) => {
      expect(law.check(p, { seed: seed++, target, seen: none, note })).toBeUndefined();
    }),
    { seed: 11, numRuns: 100 },
  );
  expect(cast).toBeGreaterThan(150);
});

test.each(['bf16', 'f16'] as const)(
  'C computes what the graph cast to %s says',
  async (precision) => {
    const programs = fc.sample(products, { seed: 5, numRuns: 12 });
    const { executable } = await compileGraph(together(programs.map((p) => p.graph)), { backend: cpu({ unit: 32 }), precision });
    try {
      programs.flatMap((p) => p.inputs).forEach((x, i) => executable.write(i, encode(x)));
      await executable.run();
      const got = await results(executable);
      const passes = passesFor(precision);
      const upTo = passes.slice(0, passes.findIndex(([name]) => name === 'precision') + 1);
      let at = 0;
      for (const { graph, inputs } of programs) {
        const own = graph.results.map((r: Value, i) => decode(r.type.dtype, got[at + i] as (typeof got)[number]));
        at += graph.results.length;
        const after = upTo.reduce((g, [, pass]) => pass(g), graph);
        expect(compare(bounded(after, inputs), own).wrong, printProgram({ graph: after, inputs })).toBeUndefined();
      }
    } finally {
      executable.dispose();
    }
  },
  60_000,
);
