/** What programs must do on any device whose kernels have blocks of several threads: the tests of webgpu and of cuda run these. */
import { expect } from 'vitest';
import { type CompileReport, compileGraph } from '../../compiler/compile.ts';
import { builder } from '../../compiler/graph/builder.ts';
import { type DType, type FloatType, hostArrays } from '../../compiler/graph/types.ts';
import type { Backend, Executable } from '../../compiler/target.ts';
import { bounded, compare } from '../../testing/bound.ts';
import { programOf } from '../../testing/fuzz.ts';
import { decode, encode, results } from '../../testing/host.ts';
import { printProgram } from '../../testing/program-text.ts';
import { arithmeticOf } from '../../testing/stages.ts';
import { together } from '../../testing/together.ts';
import { exposed } from '../../testing/transforms.ts';
import { attention, draw, staged } from '../tile/attention.ts';

const arithmetic = (on: Backend): 'f32' | 'flushing' => (on.kind === 'plan' ? arithmeticOf(on.target) : 'f32');

/** Programs `from` to `to`, five at a time: their kernels are one plan, and a wrong one is still found. */
export const generated = async (on: Backend, from: number, to: number): Promise<void> => {
  for (let seed = from; seed < to; seed += 5) {
    const programs = Array.from({ length: 5 }, (_, k) => programOf(seed + k)).map(({ graph, inputs }) => ({
      graph: exposed(graph),
      inputs,
    }));
    const { executable } = await compileGraph(together(programs.map((p) => p.graph)), { backend: on });
    programs.flatMap((p) => p.inputs).forEach((x, i) => executable.write(i, encode(x)));
    await executable.run();
    const all = await results(executable);
    executable.dispose();
    let at = 0;
    for (const p of programs) {
      const got = p.graph.results.map((r) => decode(r.type.dtype, all[at++] as (typeof all)[number]));
      expect(compare(bounded(p.graph, p.inputs, arithmetic(on)), got).wrong, printProgram(p)).toBeUndefined();
    }
  }
};

/** Attention of n queries and m keys of width d, its gradients and products; `also` is called after the run. */
export const attends = async (
  on: Backend,
  [n, m, d]: readonly [number, number, number],
  precision: FloatType,
  also?: (executable: Executable, report: CompileReport) => Promise<void>,
): Promise<void> => {
  const g = attention(n, m, d);
  const inputs = draw(g, n);
  const { executable, report } = await compileGraph(g, { backend: on, precision });
  expect(new Set(report.plan?.launches.map((l) => l.label.split(':')[0]))).toContain('stream-grad');
  inputs.forEach((x, i) => executable.write(i, encode(x)));
  await executable.run();
  await also?.(executable, report);
  const got = (await results(executable)).map((x, i) => decode(executable.outputs[i]?.dtype ?? 'f32', x));
  executable.dispose();
  const seen = compare(bounded(staged(g, precision).said, inputs, arithmetic(on)), got);
  expect(seen.wrong).toBeUndefined();
  expect(seen.checked).toBe(seen.elements);
};

/** Elements of 1 and 2 bytes, of odd lengths too, and a result over its operand. */
export const narrow = async (on: Backend, lengths: readonly number[]): Promise<void> => {
  for (const dtype of ['bf16', 'f16', 'bool'] as readonly DType[])
    for (const n of lengths) {
      const b = builder();
      const x = b.param({ dtype, shape: [n] });
      const graph = b.build([b.one({ prim: 'reverse', axes: [0] }, [x]), dtype === 'bool' ? b.not(x) : b.neg(x)]);
      const { executable } = await compileGraph(graph, { backend: on, donated: [-1, 0] });
      const data = new hostArrays[dtype](n).map((_, i) => (dtype === 'bool' ? (i * 7) % 2 : 0x3c00 + i));
      executable.write(0, data);
      await executable.run();
      const [reversed, changed] = await results(executable);
      executable.dispose();
      expect(reversed).toEqual(data.slice().reverse());
      expect(changed).toEqual(data.map((v) => (dtype === 'bool' ? 1 - v : v ^ 0x8000)));
    }
};
