/**
 * Runs programs on a backend in the ways that laws compare: twice, with two threads, and in a poisoned arena. Many programs go side by
 * side into one plan, so that a C compiler starts once for all of their kernels, and so that they share one arena.
 *
 *   const seen = await observe(programs, { plain: cpu({ threads: 1 }), threads: cpu({ threads: 2, shareAll: true }), ... });
 *   seen[3].again[0]        result 0 of program 3 in the second run
 */
import { compileGraph } from '../compiler/compile.ts';
import type { FloatType, HostData } from '../compiler/graph/types.ts';
import type { Plan } from '../compiler/plan/types.ts';
import type { Backend, Executable } from '../compiler/target.ts';
import { encode, results } from './host.ts';
import type { Program } from './program.ts';
import { arithmeticOf } from './stages.ts';
import { together } from './together.ts';

/** The same backend as it is, with another number of threads that share every launch they can, and with memory that starts as NaN. */
export interface Variants {
  readonly plain: Backend;
  readonly threads: Backend;
  readonly poisoned: Backend;
  /** Of the operands of contractions. Default f32. */
  readonly precision?: FloatType;
}

type Results = readonly HostData[];
/** Results of one program. */
export interface Observation {
  readonly once: Results;
  readonly again: Results;
  readonly threads: Results;
  readonly poisoned: Results;
  /** Launches that threads shared in the run `threads`; counted at the first of the programs that ran together, 0 at the others. */
  readonly shared: number;
  /** Of the operands of contractions. */
  readonly precision: FloatType;
  /** Of the device. */
  readonly arithmetic: 'f32' | 'flushing';
}

/** The programs as one graph, compiled; backends with equal targets share one plan. */
const compiler = (programs: readonly Program[], precision: FloatType): ((backend: Backend) => Promise<Executable>) => {
  const graph = together(programs.map((p) => p.graph));
  const plans = new Map<string, Plan>();
  return async (backend) => {
    const target = backend.kind === 'plan' ? JSON.stringify(backend.target) : '';
    const known = plans.get(target);
    if (backend.kind === 'plan' && known) return backend.prepare(known);
    const { executable, report } = await compileGraph(graph, { backend, precision });
    if (report.plan) plans.set(target, report.plan);
    return executable;
  };
};

/** The results of `runs` runs of all programs together, and the launches of each run that threads shared. */
const run = async (
  programs: readonly Program[],
  executable: Executable,
  runs: number,
): Promise<{ readonly results: readonly Results[]; readonly shared: number }> => {
  try {
    programs.flatMap((p) => p.inputs).forEach((x, i) => executable.write(i, encode(x)));
    const out: Results[] = [];
    for (let k = 0; k < runs; k++) {
      await executable.run();
      out.push(await results(executable));
    }
    return { results: out, shared: executable.shared ?? 0 };
  } finally {
    executable.dispose();
  }
};

/** One observation a program. Errors of compilation are thrown. */
export const observe = async (
  programs: readonly Program[],
  { plain, threads, poisoned, precision = 'f32' }: Variants,
): Promise<readonly Observation[]> => {
  const compiled = compiler(programs, precision);
  const [once, again] = (await run(programs, await compiled(plain), 2)).results as [Results, Results];
  const two = await run(programs, await compiled(threads), 1);
  const [filled] = (await run(programs, await compiled(poisoned), 1)).results as [Results];
  let at = 0;
  return programs.map(({ graph }, k) => {
    const from = at;
    at += graph.results.length;
    const own = (r: Results): Results => r.slice(from, at);
    return {
      once: own(once),
      again: own(again),
      threads: own(two.results[0] as Results),
      poisoned: own(filled),
      arithmetic: plain.kind === 'plan' ? arithmeticOf(plain.target) : 'f32',
      shared: k === 0 ? two.shared : 0,
      precision,
    };
  });
};
