/**
 * Contractions of bf16 in C: by pairs, every order of axes, sizes that fill no tile, odd numbers of products. The bound is that of the
 * gemm template: k + 1 roundings of 2^-24 on the sum of |a b|. The operands are normal numbers, so that no machine flushes them.
 */
import { expect, test } from 'vitest';
import { cpu } from '../../backends/cpu/index.ts';
import { compileGraph } from '../../compiler/compile.ts';
import { builder } from '../../compiler/graph/builder.ts';
import type { Value } from '../../compiler/graph/types.ts';
import { bitsOf, toBf16 } from '../../compiler/kernel/scalar.ts';
import { results } from '../../testing/host.ts';

const sizes = [
  [3, 5, 1],
  [11, 32, 2],
  [23, 70, 45],
  [64, 33, 258],
  [1, 40, 130],
  [300, 20, 777],
] as const;
const numbers = (n: number, salt: number): readonly number[] =>
  Array.from({ length: n }, (_, i) => toBf16(Math.fround(((((i + 1) * 2654435761 + salt * 40503) % 4093) + 0.5) / 1024 - 2)));

interface Problem {
  readonly x: Value;
  readonly y: Value;
  readonly size: (typeof sizes)[number];
  readonly axes: readonly [number, number];
}

test('sums of bf16 products, in every order of axes', async () => {
  const b = builder();
  const problems: Problem[] = [];
  for (const size of sizes)
    for (const axes of [
      [0, 0],
      [0, 1],
      [1, 0],
      [1, 1],
    ] as const) {
      const [m, n, k] = size;
      const x = b.param({ dtype: 'bf16', shape: axes[0] === 0 ? [k, m] : [m, k] });
      const y = b.param({ dtype: 'bf16', shape: axes[1] === 0 ? [k, n] : [n, k] });
      problems.push({ x, y, size, axes });
    }
  const dots = problems.map(({ x, y, axes: [i, j] }) =>
    b.one({ prim: 'dot', batch: [[], []], contract: [[i], [j]], dtype: 'f32' }, [x, y]),
  );
  const { executable } = await compileGraph(b.build(dots), { backend: cpu({ unit: 8 }) });
  try {
    const data = problems.map(({ size: [m, n, k] }, i) => [numbers(m * k, 2 * i), numbers(n * k, 2 * i + 1)] as const);
    data.flat().forEach((d, i) =>
      executable.write(
        i,
        Uint16Array.from(d, (v) => bitsOf(v, 'bf16')),
      ),
    );
    await executable.run();
    const all = await results(executable);
    problems.forEach(({ size: [m, n, k], axes }, p) => {
      const got = all[p] as (typeof all)[number];
      const [x, y] = data[p] as (typeof data)[number];
      for (let i = 0; i < m; i++)
        for (let j = 0; j < n; j++) {
          let [sum, absolute] = [0, 0];
          for (let q = 0; q < k; q++) {
            const v = (x[axes[0] === 0 ? q * m + i : i * k + q] as number) * (y[axes[1] === 0 ? q * n + j : j * k + q] as number);
            sum += v;
            absolute += Math.abs(v);
          }
          const off = Math.abs((got[i * n + j] as number) - sum);
          if (!(off <= (k + 1) * 2 ** -24 * absolute)) expect.fail(`${m} x ${n} x ${k}, axes ${axes}: [${i}, ${j}] is off by ${off}`);
        }
    });
  } finally {
    executable.dispose();
  }
}, 60_000);
