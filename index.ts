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
import type { DType, HostData, TensorType, Value } from './compiler/graph/types.ts';
import type { Backend, Progress } from './compiler/target.ts';
import { flatten, type HostTensor, isHostTensor, leafMark, rebuild, type Tensor, type TensorOf, trace } from './dsl/index.ts';
import { isSpec } from './dsl/params.ts';

export type { CompileReport } from './compiler/compile.ts';
export { type Code, codes, FoveaError, type Loc } from './compiler/error.ts';
export type { Plan } from './compiler/plan/types.ts';
export type { Backend, Executable, Progress, Target } from './compiler/target.ts';
export * from './dsl/index.ts';

/** A result that lies on the device. It is valid until the next call of the program that made it. */
export interface DeviceTensor<out S extends string = string, out T extends DType = DType> {
  readonly dtype: T;
  readonly shape: readonly number[];
  /** A copy of the numbers. Throws FV0304 after the program has run again. */
  read(): Promise<HostTensor>;
  readonly [leafMark]: { readonly program: object; readonly run: number; readonly output: number };
  /** The shape in names: in the types only. */
  readonly $?: S;
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
const donations = (inputs: readonly Leaf[], outputs: readonly Leaf[], donate: readonly number[], count: number): number[] => {
  for (const d of donate)
    if (!(Number.isInteger(d) && d >= 0 && d < count))
      throw new FoveaError('FV0305', `donate: there is no argument at position ${d}`, {
        hint: `Positions of the ${count} arguments count from 0.`,
      });
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

const arrays = {
  f32: Float32Array,
  f16: Uint16Array,
  bf16: Uint16Array,
  i32: Int32Array,
  u32: Uint32Array,
  bool: Uint8Array,
} as const satisfies { readonly [T in DType]: unknown };

const wrong = (where: string, what: string, hint?: string): never => {
  throw new FoveaError('FV0305', `${where}: ${what}`, { hint });
};

const article = (x: unknown): string => (x === undefined ? 'nothing' : x === null ? 'null' : `a ${typeof x}`);

/** A number in the host layout of a scalar. Nothing is rounded to a whole number in silence. */
const scalarData = (x: number, dtype: DType, where: string): HostData => {
  const range = { i32: [-(2 ** 31), 2 ** 31 - 1], u32: [0, 2 ** 32 - 1], bool: [0, 1] } as const;
  if (dtype === 'f32') return Float32Array.of(x);
  if (dtype === 'f16' || dtype === 'bf16')
    return wrong(where, `a number cannot be given for a ${dtype} scalar`, 'Pass host(Uint16Array.of(bits), []).');
  const [low, high] = range[dtype];
  if (!(Number.isInteger(x) && x >= low && x <= high)) wrong(where, `${x} is no ${dtype}`);
  return arrays[dtype].of(x);
};

/** The numbers of a host tensor as the backend takes them, once its type and its array are found to be what `type` says. */
const hostData = (x: HostTensor, type: TensorType, where: string, backend: Backend): HostData => {
  if (!eqType({ dtype: x.dtype, shape: x.shape }, type)) wrong(where, `expected ${showType(type)}, got ${showType(x)}`);
  const { data } = x;
  const count = x.shape.reduce((a, b) => a * b, 1);
  if (data.length !== count) wrong(where, `${showType(x)} has ${count} elements, but its array holds ${data.length}`);
  // float64 results of the reference backend fit wherever they came from, and round to float32 elsewhere
  if (data instanceof Float64Array && (backend.kind === 'graph' || type.dtype === 'f32'))
    return backend.kind === 'graph' ? data : Float32Array.from(data);
  const Kind = arrays[type.dtype];
  if (!(data instanceof Kind)) return wrong(where, `${showType(type)} takes a ${Kind.name}, got a ${data.constructor.name}`);
  if (type.dtype === 'bool' && data.some((b) => b > 1)) wrong(where, 'a bool is 0 or 1, and other bytes were given');
  // a subclass such as Buffer, as the plain array
  return data.constructor === Kind ? data : new Kind(data.buffer as ArrayBuffer, data.byteOffset, data.length);
};

/** `argument 1, blocks.0.weight` */
const placeOf = ({ argument, path }: Pick<Leaf, 'argument' | 'path'>): string => `argument ${argument + 1}${path ? `, ${path}` : ''}`;

/** What a spec's leaves and a call's leaves are compared by. */
type Leaves = ReadonlyMap<string, unknown>;
const leavesOf = (tree: unknown): Leaves => new Map(flatten(tree).map(({ path, leaf }) => [path, leaf]));

/** A leaf of an argument that no spec describes. */
const misplaced = (wanted: Leaves, path: string, leaf: unknown, place: string): never => {
  const below = [...wanted.keys()].find((w) => path === '' || w.startsWith(`${path}.`));
  if (below !== undefined)
    return wrong(place, `expected a tree with ${below}, got ${isHostTensor(leaf) || isDeviceTensor(leaf) ? 'a tensor' : article(leaf)}`);
  return wrong(
    place,
    wanted.has('') ? 'expected one tensor, got a tree' : 'the program has no such input',
    'Give the tree that the specs describe and nothing else.',
  );
};

/** The leaves of each of a call's arguments, after comparing them with the specs: none may be missing or left over. */
const given = (args: readonly unknown[], specs: readonly Leaves[]): readonly Leaves[] => {
  if (args.length !== specs.length)
    throw new FoveaError('FV0305', `the program takes ${specs.length} argument${specs.length === 1 ? '' : 's'}, got ${args.length}`);
  return specs.map((wanted, argument) => {
    const got = leavesOf(args[argument]);
    for (const [path, leaf] of got) if (!wanted.has(path)) misplaced(wanted, path, leaf, placeOf({ argument, path }));
    for (const [path, leaf] of wanted) {
      const [place, x] = [placeOf({ argument, path }), got.get(path)];
      if (isSpec(leaf) && x === undefined) wrong(place, 'expected a tensor, got nothing');
      if (!isSpec(leaf) && got.has(path) && !Object.is(x, leaf))
        wrong(place, `was fixed at ${String(leaf)} when the program was compiled`, 'Compile again for another value, or make it a tensor.');
    }
    return got;
  });
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
  const names = traced.inputs.map(({ path }) => path);
  const twice = inputs.find((_, i) => names.indexOf(names[i] as string) !== i);
  if (twice) throw new FoveaError('FV0006', `${placeOf(twice)}: two leaves have this path`, { hint: 'Use keys without dots.' });
  const outputs = traced.outputs.map(({ path }, o): Leaf => ({ argument: -1, path, type: (graph.results[o] as Value).type }));
  const donated = donations(inputs, outputs, donate, specs.length);
  const { executable, report } = await compileGraph(graph, {
    backend,
    dims: new Map(Object.entries(options.dims ?? {})),
    donated,
    maxBytes,
    progress,
  });

  const wanted = specs.map(leavesOf);
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
    return { dtype, shape: shape.map(known), read, [leafMark]: { program, run, output } };
  };
  /** What to write to input i; undefined where it lies there already. */
  const take = async (i: number, x: unknown): Promise<HostData | undefined> => {
    const type = executable.inputs[i] as TensorType;
    const where = placeOf(inputs[i] as Leaf);
    if (isDeviceTensor(x)) {
      const from = x[leafMark];
      if (from.program === program && from.run === run && executable.aliases[from.output] === i) return undefined;
      try {
        return hostData(await x.read(), type, where, backend);
      } catch (e) {
        if (e instanceof FoveaError && e.code === 'FV0304')
          throw new FoveaError(e.code, `${where}: ${e.message}`, { hint: e.hint, cause: e });
        throw e;
      }
    }
    if (typeof x === 'number' && type.shape.length === 0) return scalarData(x, type.dtype, where);
    return isHostTensor(x) ? hostData(x, type, where, backend) : wrong(where, `expected a tensor ${showType(type)}, got ${article(x)}`);
  };
  const call = async (...args: readonly unknown[]): Promise<unknown> => {
    if (busy) throw new FoveaError('FV0305', 'the program is still running', { hint: 'Await one call before the next.' });
    busy = true;
    try {
      const leaves = given(args, wanted);
      // everything is read and checked before anything is written: a result may be handed to an input that another result's place
      // depends on (two donated tensors that change places), and a refused call leaves the results of the last one as they are
      const data: (HostData | undefined)[] = [];
      for (const [i, { argument, path }] of inputs.entries()) data.push(await take(i, leaves[argument]?.get(path)));
      for (const [i, d] of data.entries()) if (d) executable.write(i, d);
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
