/**
 * The public face: the language, and `compile`, which turns a function of tensors into a program on a backend.
 *
 *   const step = await compile(trainStep, [stateSpec, batchSpec, hyperSpec], { backend: cpu(), dims: { B: 32 }, donate: [0] });
 *   let { state, metrics } = await step(initialState, batch, hyper);     // results stay on the device
 *   ({ state, metrics } = await step(state, nextBatch, hyper));          // a donated argument is updated in place
 *   (await metrics.loss.read()).data[0]
 */
import type { Communicator } from './compiler/collectives.ts';
import { type CompileReport, compileGraph, type Precision, type Tune } from './compiler/compile.ts';
import { groupsOf, onRanks } from './compiler/execute.ts';
import { bindGraph } from './compiler/graph/bind.ts';
import { known } from './compiler/graph/dim.ts';
import type { HostData, Value } from './compiler/graph/types.ts';
import { partOf } from './compiler/shard/host.ts';
import type { ShardPlan } from './compiler/shard/plan.ts';
import type { Backend, Progress } from './compiler/target.ts';
import { checkType, misfit, wrong } from './dsl/fit.ts';
import { flatten, isHostTensor, isLazyTensor, rebuild, type TensorOf, trace } from './dsl/index.ts';
import { caller, type Device, donations, type Input, type Leaf, leavesOfProgram, placeOf } from './program.ts';

export type { CarrierCaps, Collective, Communicator, Memory, Ticket } from './compiler/collectives.ts';
export { type CompileReport, type Precision, type Tune, tunes } from './compiler/compile.ts';
export { type Code, codes, FoveaError, type Loc } from './compiler/error.ts';
export type { Plan } from './compiler/plan/types.ts';
export { partOf, wholeOf } from './compiler/shard/host.ts';
export { reduceTypes, type ShardPlan, type Strategy, strategies } from './compiler/shard/plan.ts';
export type { Backend, Executable, PlanStore, Progress, Target } from './compiler/target.ts';
export * from './dsl/index.ts';
export { type Device, type DeviceTensor, type Input, toHost } from './program.ts';

export interface Options {
  readonly backend: Backend;
  /** Sizes of the names in the specs. */
  readonly dims?: Readonly<Record<string, number>>;
  /**
   * Positions of arguments whose memory the results may take. A result whose path ends in a donated leaf's path, with the same
   * type, is written in its place; a leaf without such a result is an error.
   */
  readonly donate?: readonly number[];
  /**
   * The type of the operands of matrix products, which accumulate in float32: 'f32', 'bf16', 'f16', or one by scope. Everything else,
   * parameters and results too, stays float32. 'f16' needs scaled losses; bf16 has the range of float32.
   *
   *   precision: { default: 'bf16', scopes: { 'loss/**': 'f32' } }
   */
  readonly precision?: Precision;
  /** Largest arena to accept, in bytes. */
  readonly maxBytes?: number;
  /**
   * Where the schedules of kernels come from. 'never', the default: a model chooses. 'cached': records of earlier measurements where there are
   * any. 'measure': what has no record is measured first, minutes for a large program, and recorded. No schedule changes a result.
   */
  readonly tune?: Tune;
  /** Called while kernels compile, and before that while schedules are measured. */
  readonly progress?: Progress;
  /**
   * The program of one of several ranks: see `shard`. `dims` are those of the step for all ranks; the program takes and gives what this rank
   * holds, and `own` makes that of whole tensors.
   */
  readonly shards?: { readonly world: Communicator; readonly plan?: ShardPlan };
}

export interface Program<A, R> {
  (...args: A extends readonly unknown[] ? { readonly [K in keyof A]: Input<A[K]> } : never): Promise<Device<R>>;
  readonly report: CompileReport;
  /** The parts of whole arguments that this rank holds; without `shards` the arguments. FV0305: a tensor of another type than the program takes. */
  own(...args: readonly unknown[]): A extends readonly unknown[] ? { readonly [K in keyof A]: Input<A[K]> } : never;
  /**
   * Takes argument `argument` (from 0) of the next call now, beside a call that is under way, where the device can (WebGPU): the next call finds the host tensors
   * and numbers there if it gets the same ones. They may not change before it. Elsewhere, and for what results are written over, the call takes them. FV0305.
   */
  ahead(argument: number, value: unknown): void;
  dispose(): void;
}

/**
 * Traces `f` over `specs`, compiles it for the backend and returns it as a program on host or device tensors.
 * Throws FV00xx where shapes do not fit (with your source line), FV0005 for a size without a number, FV0615 for a precision that is none,
 * FV0617 for a way to tune that is none, FV03xx from the backend.
 */
export const compile = async <const Sp extends readonly unknown[], R>(
  f: (...args: TensorOf<Sp>) => R,
  specs: Sp,
  options: Options,
): Promise<Program<TensorOf<Sp>, R>> => {
  const { backend, donate = [], precision, maxBytes, tune, progress } = options;
  const traced = trace(f, specs, { dims: options.dims });
  const { graph } = traced;
  const { inputs, outputs } = leavesOfProgram(traced);
  const donated = donations(inputs, outputs, donate, specs.length);
  const { shards } = options;
  const { executable: alone, report } = await compileGraph(graph, {
    backend,
    dims: new Map(Object.entries(options.dims ?? {})),
    donated,
    precision,
    maxBytes,
    tune,
    progress,
    shards: shards && { ranks: shards.world.size, plan: shards.plan ?? {} },
  });
  const { layout, plan } = report;
  const executable = shards && layout && plan ? await onRanks(alone, plan, await groupsOf(shards.world, layout.mesh.shard)) : alone;

  const { call, ahead, dispose } = caller({ executable, specs, inputs, outputs, output: traced.output, wide: backend.kind === 'graph' });
  const own = (...args: readonly unknown[]): readonly unknown[] => {
    if (!(shards && layout)) return args;
    const { params } = bindGraph({ params: graph.params, nodes: [], results: [] }, new Map(Object.entries(options.dims ?? {})));
    const part = (x: unknown, i: number): unknown => {
      if (!isHostTensor(x) && !isLazyTensor(x)) return x;
      const { shape, dtype } = x;
      // whole tensors are compared here: of their parts only lengths could be
      const [{ type }, place] = [params[i] as Value, placeOf(inputs[i] as Leaf)];
      checkType(x, type, place);
      const cut = (data: HostData): HostData => {
        const why = misfit(data, type, backend.kind === 'graph');
        return why ? wrong(place, why) : partOf(data, type, layout.inputs[i] ?? 'R', shards.world.rank, layout.mesh);
      };
      const held = executable.inputs[i]?.shape.map(known) ?? shape;
      return isLazyTensor(x) ? { shape: held, dtype, load: () => cut(x.load()) } : { ...x, shape: held, data: cut(x.data) };
    };
    const number = new Map(inputs.map(({ argument, path }, i) => [`${argument}.${path}`, i]));
    return args.map((tree, argument) =>
      rebuild(
        tree,
        flatten(tree).map(({ path, leaf }) => {
          const i = number.get(`${argument}.${path}`);
          return i === undefined ? leaf : part(leaf, i);
        }),
      ),
    );
  };
  // `call` checks its arguments when it runs; their types are those of f's
  return Object.assign(call as unknown as Program<TensorOf<Sp>, R>, { report, own: own as never, ahead, dispose });
};

/**
 * FSDP: `f`, a step for one device, as the program of the rank at this end of `world`. Parameters and moments, the float arguments that are donated,
 * lie in pieces on the ranks; the plan says where the batch lies and which units are gathered twice. Throws FV0701, FV0702 for a plan that
 * does not fit, FV0704 where ranks run different programs.
 *
 *   const program = await shard(trainStep(r), world, { strategy: 'FULL_SHARD', place })(specs, { backend: cpu(), dims, donate: [0] });
 *   const [state, batch, hyper] = program.own(wholeState, wholeBatch, wholeHyper);
 */
export const shard =
  <A extends readonly unknown[], R>(f: (...args: A) => R, world: Communicator, plan: ShardPlan = {}) =>
  <const Sp extends readonly unknown[]>(specs: Sp, options: Omit<Options, 'shards'>): Promise<Program<A, R>> =>
    compile(f as unknown as (...args: TensorOf<Sp>) => R, specs, { ...options, shards: { world, plan } }) as unknown as Promise<
      Program<A, R>
    >;
