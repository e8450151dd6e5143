/**
 * A program with its arguments, ready to be run again and again, and the executable that is in it: `compile` keeps that to itself, so
 * the backend that it is given here is one that remembers what it made. Arguments are lazy tensors or tensors that stay on the device,
 * so that a further call uploads nothing that lies there already.
 *
 *   const p = await prepare(f, specs, args, { dims })(backend);
 *   await p.call();                      // as a user's call: arguments checked, run, results as handles
 *   await launchSeconds(p.executable)    // as the machine sees it: seconds of each launch
 */
import type { CpuExecutable } from '../../backends/cpu/index.ts';
import type { FloatType, Graph } from '../../compiler/graph/types.ts';
import {
  type Backend,
  type CompileReport,
  compile,
  type Executable,
  flatten,
  type HostData,
  type Plan,
  type Precision,
  type Program,
  type Progress,
  type Tune,
} from '../../index.ts';
import { floats } from '../../models/parity/formula.ts';

export interface Prepared {
  /** One call with the arguments; with `next`, with those that the call before left. */
  readonly call: () => Promise<void>;
  /** Paths of the results in the order of the executable's outputs; known after the first call. */
  readonly paths: () => readonly string[];
  readonly executable: Executable;
  readonly report: CompileReport;
  readonly compileMs: number;
  readonly dispose: () => void;
}

export interface Compiling {
  readonly tune?: Tune;
  readonly progress?: Progress;
}

/** Makes a program for a backend; its contractions take operands of the type given, float32 ones unless given. */
export type Prepare = (backend: Backend, dtype?: FloatType, how?: Compiling) => Promise<Prepared>;

/** `backend`, which hands what it prepares to `keep` too. */
const remembering = (backend: Backend, keep: (e: Executable) => void): Backend => {
  const kept = async (made: Promise<Executable>): Promise<Executable> => {
    const e = await made;
    keep(e);
    return e;
  };
  switch (backend.kind) {
    case 'graph':
      return { ...backend, prepare: (graph: Graph, aliases: readonly number[]) => kept(backend.prepare(graph, aliases)) };
    case 'plan':
      return { ...backend, prepare: (plan: Plan, progress?: Progress, key?: string) => kept(backend.prepare(plan, progress, key)) };
  }
};

export interface PrepareOptions {
  readonly dims?: Readonly<Record<string, number>>;
  readonly donate?: readonly number[];
  /** Which contractions take operands of a type: all of them, unless given. */
  readonly policy?: (dtype: FloatType) => Precision;
  /** The arguments of the call after the one that gave `result`; unless given, the same again. */
  readonly next?: (result: unknown, args: readonly unknown[]) => readonly unknown[];
}

export const prepare =
  (
    f: (...args: never) => unknown,
    specs: readonly unknown[],
    args: readonly unknown[],
    { dims = {}, donate = [], policy = (dtype) => dtype, next = (_, same) => same }: PrepareOptions = {},
  ): Prepare =>
  async (backend, dtype = 'f32', how = {}) => {
    let executable: Executable | undefined;
    const started = performance.now();
    const program = (await compile(f as (...a: never[]) => unknown, specs as readonly never[], {
      backend: remembering(backend, (e) => {
        executable = e;
      }),
      dims,
      donate,
      precision: policy(dtype),
      ...how,
    })) as unknown as Program<never, unknown> & ((...a: readonly unknown[]) => Promise<unknown>);
    const compileMs = performance.now() - started;
    let given = args;
    let paths: readonly string[] = [];
    return {
      call: async () => {
        const result = await program(...given);
        paths = flatten(result).map(({ path }) => path);
        given = next(result, given);
      },
      paths: () => paths,
      executable: executable as Executable,
      report: program.report,
      compileMs,
      dispose: () => program.dispose(),
    };
  };

const isCpu = (e: Executable): e is CpuExecutable => 'compiled' in e;

/** Seconds of each launch of one run; of a backend that has no launches, one number for the whole. */
export const launchSeconds = async (e: Executable): Promise<ArrayLike<number>> => {
  if (e.profile) return e.profile();
  const start = performance.now();
  await e.run();
  return [(performance.now() - start) / 1e3];
};

/** Kernels that had to be compiled, where the backend compiles kernels; the others came from its cache. */
export const compiledKernels = (e: Executable): number | undefined => (isCpu(e) ? e.compiled : undefined);

/** A tensor of numbers that follow from its name, in offset - scale .. offset + scale. */
export const formula = (name: string, shape: readonly number[], scale = 1, offset = 0) => ({
  shape,
  dtype: 'f32' as const,
  load: (): HostData =>
    floats(
      name,
      shape.reduce((a, b) => a * b, 1),
      offset,
      scale,
    ),
});
