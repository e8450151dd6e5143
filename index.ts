/**
 * The public face: the language, and `compile`, which turns a function of tensors into a program on a backend.
 *
 *   const step = await compile(trainStep, [stateSpec, batchSpec, hyperSpec], { backend: cpu(), dims: { B: 32 }, donate: [0] });
 *   let { state, metrics } = await step(initialState, batch, hyper);     // results stay on the device
 *   ({ state, metrics } = await step(state, nextBatch, hyper));          // a donated argument is updated in place
 *   (await metrics.loss.read()).data[0]
 */
import { type CompileReport, compileGraph } from './compiler/compile.ts';
import { FoveaError } from './compiler/error.ts';
import { known } from './compiler/graph/dim.ts';
import { eqType, showType } from './compiler/graph/infer.ts';
import type { DType, TensorType, Value } from './compiler/graph/types.ts';
import type { Backend, Progress } from './compiler/target.ts';
import { flatten, type HostTensor, isHostTensor, leafMark, rebuild, type Tensor, type TensorOf, trace } from './dsl/index.ts';

export type { CompileReport } from './compiler/compile.ts';
export { type Code, codes, FoveaError, type Loc } from './compiler/error.ts';
export type { Plan } from './compiler/plan/types.ts';
export type { Backend, Executable, Progress, Target } from './compiler/target.ts';
export * from './dsl/index.ts';

/** A result that lies on the device. It is valid until the next call of the program that made it. */
export interface DeviceTensor<out S extends string = string, out T extends DType = DType> {
  readonly dims: S;
  readonly dtype: T;
  readonly shape: readonly number[];
  /** A copy of the numbers. Throws FV0304 after the program has run again. */
  read(): Promise<HostTensor>;
  readonly [leafMark]: { readonly program: object; readonly run: number; readonly output: number };
}

/** A tree of tensors as the same tree on the device. */
export type Device<P> =
  P extends Tensor<infer S, infer T> ? DeviceTensor<S, T> : P extends object ? { readonly [K in keyof P]: Device<P[K]> } : P;
/** What a program takes for a tree of tensors: host tensors, results of programs, numbers for scalars. */
export type Input<P> =
  P extends Tensor<string, DType> ? HostTensor | DeviceTensor | number : P extends object ? { readonly [K in keyof P]: Input<P[K]> } : P;

export interface Options {
  readonly backend: Backend;
  /** Sizes of the names in the specs. */
  readonly dims?: Readonly<Record<string, number>>;
  /**
   * Positions of arguments whose memory the results may take. A result whose path ends in a donated leaf's path, with the same
   * type, is written in its place; a leaf without such a result is an error.
   */
  readonly donate?: readonly number[];
  /** Largest arena to accept, in bytes. */
  readonly maxBytes?: number;
  /** Called while kernels compile. */
  readonly progress?: Progress;
}

export interface Program<A, R> {
  (...args: A extends readonly unknown[] ? { readonly [K in keyof A]: Input<A[K]> } : never): Promise<Device<R>>;
  readonly report: CompileReport;
  dispose(): void;
}

type Read<T> = T extends DeviceTensor ? HostTensor : T extends object ? { readonly [K in keyof T]: Read<T[K]> } : T;
/** Reads every tensor of a tree of results. */
export const toHost = async <T>(tree: T): Promise<Read<T>> => {
  const leaves = await Promise.all(flatten(tree).map(({ leaf }) => (isDeviceTensor(leaf) ? leaf.read() : leaf)));
  return rebuild(tree, leaves) as Read<T>; // leafwise, so the tree keeps its form
};

const isDeviceTensor = (x: unknown): x is DeviceTensor => typeof x === 'object' && x !== null && leafMark in x;

/** For every result, the donated input whose place it takes, or -1. */
const donations = (inputs: readonly Leaf[], outputs: readonly Leaf[], donate: readonly number[]): number[] => {
  const donated = outputs.map(() => -1);
  inputs.forEach((input, i) => {
    if (!donate.includes(input.argument)) return;
    const fits = (o: Leaf, at: number): boolean =>
      donated[at] === -1 && (o.path === input.path || o.path.endsWith(`.${input.path}`)) && eqType(o.type, input.type);
    const o = outputs.findIndex(fits);
    if (o < 0)
      throw new FoveaError(
        'FV0305',
        `argument ${input.argument + 1} is donated, but no result takes the place of ${input.path || 'it'}: ${showType(input.type)}`,
        {
          hint: 'Return the updated tree under the same names, or do not donate the argument.',
        },
      );
    donated[o] = i;
  });
  return donated;
};

interface Leaf {
  readonly argument: number;
  readonly path: string;
  readonly type: TensorType;
}

/** Numbers as an array of the host layout of a scalar. */
const scalarData = (x: number, dtype: DType): HostTensor['data'] => {
  if (dtype === 'i32') return Int32Array.of(x);
  if (dtype === 'u32') return Uint32Array.of(x);
  if (dtype === 'bool') return Uint8Array.of(x);
  if (dtype === 'f32') return Float32Array.of(x);
  throw new FoveaError('FV0305', `a number cannot be given for a ${dtype} scalar`, { hint: 'Pass host(Uint16Array.of(bits), []).' });
};

/**
 * Traces `f` over `specs`, compiles it for the backend and returns it as a program on host or device tensors.
 * Throws FV00xx where shapes do not fit (with your source line), FV0005 for a size without a number, FV03xx from the backend.
 */
export const compile = async <const Sp extends readonly unknown[], R>(
  f: (...args: TensorOf<Sp>) => R,
  specs: Sp,
  options: Options,
): Promise<Program<TensorOf<Sp>, R>> => {
  const { backend, donate = [], maxBytes, progress } = options;
  const traced = trace(f, specs, { dims: options.dims });
  const { graph } = traced;
  const inputs = traced.inputs.map(({ path }, i): Leaf => {
    const [argument, ...rest] = path.split('.');
    return { argument: Number(argument), path: rest.join('.'), type: (graph.params[i] as Value).type };
  });
  const outputs = traced.outputs.map(({ path }, o): Leaf => ({ argument: -1, path, type: (graph.results[o] as Value).type }));
  const donated = donations(inputs, outputs, donate);
  const { executable, report } = await compileGraph(graph, {
    backend,
    dims: new Map(Object.entries(options.dims ?? {})),
    donated,
    maxBytes,
    progress,
  });

  const program = {};
  let run = 0;
  let busy = false;
  const result = (output: number): DeviceTensor => {
    const { dtype, shape } = executable.outputs[output] as TensorType;
    const mine = run;
    const read = async (): Promise<HostTensor> => {
      if (mine !== run)
        throw new FoveaError(
          'FV0304',
          `result ${(outputs[output] as Leaf).path || output + 1} was overwritten: its program has run again`,
          { hint: 'Read a result before the next call, or keep the copy that read() gives.' },
        );
      return { shape: shape.map(known), dtype, data: executable.read(output) };
    };
    return { dims: shape.join(' '), dtype, shape: shape.map(known), read, [leafMark]: { program, run, output } };
  };
  const put = async (i: number, x: unknown): Promise<void> => {
    const type = executable.inputs[i] as TensorType;
    const { argument, path } = inputs[i] as Leaf;
    const where = `argument ${argument + 1}${path ? `, ${path}` : ''}`;
    if (isDeviceTensor(x)) {
      const from = x[leafMark];
      if (from.program === program && from.run === run && executable.aliases[from.output] === i) return;
      return put(i, await x.read());
    }
    if (typeof x === 'number' && type.shape.length === 0) return executable.write(i, scalarData(x, type.dtype));
    if (!isHostTensor(x))
      throw new FoveaError('FV0305', `${where}: expected a tensor ${showType(type)}, got ${x === undefined ? 'nothing' : typeof x}`);
    if (!eqType({ dtype: x.dtype, shape: x.shape }, type))
      throw new FoveaError('FV0305', `${where}: expected ${showType(type)}, got ${showType(x)}`);
    executable.write(i, x.data);
  };
  const call = async (...args: readonly unknown[]): Promise<unknown> => {
    if (busy) throw new FoveaError('FV0305', 'the program is still running', { hint: 'Await one call before the next.' });
    busy = true;
    try {
      const given = new Map(
        args.flatMap((a, argument) => flatten(a).map(({ path, leaf }): [string, unknown] => [`${argument}/${path}`, leaf])),
      );
      for (const [i, { argument, path }] of inputs.entries()) await put(i, given.get(`${argument}/${path}`));
      run++;
      await executable.run();
      return rebuild(
        traced.output,
        outputs.map((_, o) => result(o)),
      );
    } finally {
      busy = false;
    }
  };
  // `call` checks its arguments when it runs; their types are those of f's
  return Object.assign(call as unknown as Program<TensorOf<Sp>, R>, { report, dispose: () => executable.dispose() });
};
