/**
 * Each block of a launch runs once, whatever the number of threads. A block that runs twice shows only where it writes over what it
 * reads: most write the same numbers again, and those of generated programs that work in place are one block long.
 */
import { expect, test } from 'vitest';
import { cpu } from '../../backends/cpu/index.ts';
import { compileGraph } from '../../compiler/compile.ts';
import { builder } from '../../compiler/graph/builder.ts';

/** 12 blocks and a part of one. */
const n = 100_003;
const steps = 3;

test.each([1, 2, 3])('a donated vector is doubled once a step by %i threads', { timeout: 60_000 }, async (threads) => {
  const b = builder();
  const x = b.param({ dtype: 'f32', shape: [n] });
  const graph = b.build([b.add(x, x)]);
  const { executable } = await compileGraph(graph, { backend: cpu({ threads, shareAll: true }), donated: [0] });
  try {
    expect(executable.shared).toBe(threads === 1 ? 0 : 1);
    const start = Float32Array.from({ length: n }, (_, i) => i % 97);
    executable.write(0, start);
    for (let k = 0; k < steps; k++) await executable.run();
    expect(executable.read(0)).toEqual(start.map((v) => v * 2 ** steps));
  } finally {
    executable.dispose();
  }
});
