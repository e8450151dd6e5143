/**
 * Stores past the caches change no bit: programs whose every result is written that way, against the same programs as they are
 * otherwise, on one thread and on three that share every launch. A line that another thread reads too early shows as poison.
 */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { cpu } from '../../backends/cpu/index.ts';
import { compileGraph } from '../../compiler/compile.ts';
import { builder } from '../../compiler/graph/builder.ts';
import type { HostData } from '../../compiler/graph/types.ts';
import { interpretKernel } from '../../compiler/kernel/interpret.ts';
import { parseKernel } from '../../compiler/kernel/parse.ts';
import { printKernel } from '../../compiler/kernel/print.ts';
import { verifyKernel } from '../../compiler/kernel/verify.ts';
import type { Backend } from '../../compiler/target.ts';
import { encode, results, rounded } from '../../testing/host.ts';
import { drawLike, numbers } from '../../testing/numbers.ts';
import { arbitraryProgram, type Program } from '../../testing/program.ts';
import { together } from '../../testing/together.ts';

const past = (threads: number, nontemporalBytes?: number): Backend => {
  const backend = cpu({ threads, shareAll: true, unit: 16, poison: 0x7fc0dead, plans: false });
  return nontemporalBytes === undefined ? backend : { ...backend, target: { ...backend.target, nontemporalBytes } };
};
const bytes = (d: HostData): string => Buffer.from(d.buffer, d.byteOffset, d.byteLength).toString('hex');
const run = async (programs: readonly Program[], backend: Backend): Promise<{ bits: readonly string[]; nontemporal: number }> => {
  const { executable, report } = await compileGraph(together(programs.map((p) => p.graph)), { backend });
  try {
    programs.flatMap((p) => p.inputs).forEach((x, i) => executable.write(i, encode(x)));
    await executable.run();
    return {
      bits: (await results(executable)).map(bytes),
      nontemporal: report.plan?.kernels.filter((k) => k.buffers.some((b) => b.nontemporal)).length ?? 0,
    };
  } finally {
    executable.dispose();
  }
};

/** Rows that begin at lines of the cache, rows that do not, and a chain of both through contractions, reductions and maps. */
const rowsOf = (n: number, k: number): Program => {
  const b = builder();
  const x = b.param({ dtype: 'f32', shape: [n, k] });
  const w = b.param({ dtype: 'f32', shape: [k, k] });
  const y = b.one({ prim: 'dot', batch: [[], []], contract: [[1], [0]], dtype: 'f32' }, [x, w]);
  const top = b.one({ prim: 'reduceMax', axes: [1] }, [y]);
  const e = b.exp(b.sub(y, b.broadcast(top, [n, k], [0])));
  const p = b.div(e, b.broadcast(b.sum(e, [1]), [n, k], [0]));
  const graph = b.build([p, b.mul(p, x), b.sum(p, [0])]);
  const next = numbers(n + k);
  return { graph, inputs: graph.params.map((v) => rounded(drawLike(v.type, next))) };
};

it('changes no bit', { timeout: 120_000 }, async () => {
  const drawn = fc
    .sample(arbitraryProgram({ maxNodes: 12 }), { seed: 5, numRuns: 30 })
    .map(({ graph, inputs }): Program => ({ graph, inputs: inputs.map(rounded) }));
  const programs = [rowsOf(40, 64), rowsOf(33, 50), rowsOf(7, 800), ...drawn];
  const plain = await run(programs, past(1));
  const [one, three] = [await run(programs, past(1, 0)), await run(programs, past(3, 0))];
  expect(plain.nontemporal).toBe(0);
  expect(one.nontemporal).toBeGreaterThan(20);
  expect(one.bits).toEqual(plain.bits);
  expect(three.bits).toEqual(plain.bits);
});

it('is neither for what is written over an operand nor for what is small', async () => {
  const b = builder();
  const [w, g] = [b.param({ dtype: 'f32', shape: [64, 64] }), b.param({ dtype: 'f32', shape: [64, 64] })];
  const graph = b.build([b.sub(w, g), b.mul(w, g)]);
  const marks = async (donated: readonly number[], least = 0): Promise<readonly string[]> => {
    const { executable, report } = await compileGraph(graph, { backend: past(1, least), donated });
    executable.dispose();
    return (report.plan?.kernels ?? []).flatMap((k) =>
      k.buffers.filter((x) => x.access === 'write').map((x) => `${x.nontemporal ?? false}`),
    );
  };
  expect(await marks([-1, -1])).toEqual(['true', 'true']);
  expect(await marks([0, -1])).toEqual(['false', 'true']);
  expect(await marks([-1, -1], 64 * 64 * 4)).toEqual(['true', 'true']);
  expect(await marks([-1, -1], 64 * 64 * 4 + 1)).toEqual(['false', 'false']);
});

const text = (access: string): string =>
  `kernel t(a: f32[32] read, b: f32[32] ${access}) grid=[1 1 1] threads=1 {\n  for i = 0 to 32 step 16 {\n    store b[i] = load.16 a[i]\n  }\n}\n`;

it('is text in K, and nothing to its interpreter', () => {
  const kernel = verifyKernel(parseKernel(text('write nontemporal')));
  expect(printKernel(kernel)).toBe(text('write nontemporal'));
  const a = Float32Array.from({ length: 32 }, (_, i) => i);
  const b = new Float32Array(32);
  interpretKernel(kernel, { a, b });
  expect(b).toEqual(a);
  expect(() => verifyKernel(parseKernel(text('readwrite nontemporal')))).toThrow(/b is nontemporal and not write/);
});
