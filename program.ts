/**
 * A compiled program as a function of a user's: arguments are checked leaf by leaf, written where they are not there already, results are
 * handles on the device. It needs an executable and the shapes of what goes in and out, and nothing of the compiler: an exported program
 * (export/) is called through it too.
 *
 *   const { call, ahead, dispose } = caller({ executable, specs, inputs, outputs, output, wide: false });
 */
import { FoveaError, located } from './compiler/error.ts';
import { known } from './compiler/graph/dim.ts';
import { eqType, showType } from './compiler/graph/infer.ts';
import type { DType, HostData, TensorType, Value } from './compiler/graph/types.ts';
import type { Executable } from './compiler/target.ts';
import { checkType, misfit, plainNumbers, scalarNumbers, wrong } from './dsl/fit.ts';
import { type HostTensor, isHostTensor, isLazyTensor, type LazyTensor } from './dsl/host.ts';
import { callPlace, here } from './dsl/location.ts';
import { isSpec } from './dsl/params.ts';
import type { Tensor } from './dsl/tensor.ts';
import type { Traced } from './dsl/trace.ts';
import { flatten, leafMark, rebuild } from './dsl/tree.ts';

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
/** What a program takes for a tree of tensors: host tensors, lazy ones, results of programs, numbers for scalars. */
export type Input<P> =
  P extends Tensor<string, DType>
    ? HostTensor | LazyTensor | DeviceTensor | number
    : P extends object
      ? { readonly [K in keyof P]: Input<P[K]> }
      : P;

type Read<T> = T extends DeviceTensor ? HostTensor : T extends object ? { readonly [K in keyof T]: Read<T[K]> } : T;
/** Reads every tensor of a tree of results. */
export const toHost = async <T>(tree: T): Promise<Read<T>> => {
  const leaves = await Promise.all(flatten(tree).map(({ leaf }) => (isDeviceTensor(leaf) ? leaf.read() : leaf)));
  return rebuild(tree, leaves) as Read<T>; // leafwise, so the tree keeps its form
};

const isDeviceTensor = (x: unknown): x is DeviceTensor => typeof x === 'object' && x !== null && leafMark in x;
const isTensor = (x: unknown): boolean => isHostTensor(x) || isLazyTensor(x) || isDeviceTensor(x);

/** For every result, the donated input whose place it takes, or -1. */
export const donations = (inputs: readonly Leaf[], outputs: readonly Leaf[], donate: readonly number[], count: number): number[] => {
  for (const d of donate)
    if (!(Number.isInteger(d) && d >= 0 && d < count))
      throw new FoveaError('FV0305', `donate: there is no argument at position ${d}`, {
        hint: `Positions of the ${count} arguments count from 0.`,
      });
  const donated = outputs.map(() => -1);
  inputs.forEach((input, i) => {
    if (!donate.includes(input.argument)) return;
    const tail = `.${input.path}`;
    const fits = (o: Leaf, at: number): boolean =>
      donated[at] === -1 && (o.path === input.path || o.path.endsWith(tail)) && eqType(o.type, input.type);
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

/** A tensor of a program's arguments (`argument` counts from 0) or of its results (-1). */
export interface Leaf {
  readonly argument: number;
  readonly path: string;
  readonly type: TensorType;
}

const article = (x: unknown): string =>
  x === undefined ? 'nothing' : x === null ? 'null' : `${typeof x === 'object' ? 'an' : 'a'} ${typeof x}`;

/** `argument 1, blocks.0.weight` */
export const placeOf = ({ argument, path }: Pick<Leaf, 'argument' | 'path'>): string =>
  `argument ${argument + 1}${path ? `, ${path}` : ''}`;

/** What a spec's leaves and a call's leaves are compared by. */
type Leaves = ReadonlyMap<string, unknown>;
const leavesOf = (tree: unknown): Leaves => new Map(flatten(tree).map(({ path, leaf }) => [path, leaf]));

/** A leaf of an argument that no spec describes. */
const misplaced = (wanted: Leaves, path: string, leaf: unknown, place: string): never => {
  const below = [...wanted.keys()].find((w) => path === '' || w.startsWith(`${path}.`));
  if (below !== undefined) return wrong(place, `expected a tree with ${below}, got ${isTensor(leaf) ? 'a tensor' : article(leaf)}`);
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

/** The leaves of a traced program, in the order of its graph. FV0006: two inputs have one path. */
export const leavesOfProgram = (traced: Traced): { readonly inputs: readonly Leaf[]; readonly outputs: readonly Leaf[] } => {
  const { graph } = traced;
  const inputs = traced.inputs.map(({ path }, i): Leaf => {
    const [argument, ...rest] = path.split('.');
    return { argument: Number(argument), path: rest.join('.'), type: (graph.params[i] as Value).type };
  });
  const names = traced.inputs.map(({ path }) => path);
  const twice = inputs.find((_, i) => names.indexOf(names[i] as string) !== i);
  if (twice) throw new FoveaError('FV0006', `${placeOf(twice)}: two leaves have this path`, { hint: 'Use keys without dots.' });
  const outputs = traced.outputs.map(({ path }, o): Leaf => ({ argument: -1, path, type: (graph.results[o] as Value).type }));
  return { inputs, outputs };
};

/** What a program is called through. */
export interface Callee {
  readonly executable: Executable;
  /** The trees that its arguments are compared with. */
  readonly specs: readonly unknown[];
  readonly inputs: readonly Leaf[];
  readonly outputs: readonly Leaf[];
  /** The tree of results, with their numbers at the leaves. */
  readonly output: unknown;
  /** Of a backend that computes in float64. */
  readonly wide: boolean;
}
export interface Caller {
  readonly call: (...args: readonly unknown[]) => Promise<unknown>;
  readonly ahead: (argument: number, value: unknown) => void;
  readonly dispose: () => void;
}
type Numbers = (() => HostData) | undefined;

export const caller = ({ executable, specs, inputs, outputs, output: tree, wide }: Callee): Caller => {
  const wanted = specs.map(leavesOf);
  const program = {};
  let run = 0;
  let busy = false;
  /** What was written for the next call already, by input; and what is to be, as soon as the call under way has written its own. */
  const early = new Map<number, unknown>();
  let waiting: (() => void)[] | undefined;
  const result = (output: number): DeviceTensor => {
    const { dtype, shape } = executable.outputs[output] as TensorType;
    const mine = run;
    const read = async (): Promise<HostTensor> => {
      if (mine !== run)
        throw new FoveaError(
          'FV0304',
          `result ${(outputs[output] as Leaf).path || output + 1} was overwritten: its program has run again`,
          { loc: here(), hint: 'Read a result before the next call, or keep the copy that read() gives.' },
        );
      return { shape: shape.map(known), dtype, data: await executable.read(output) };
    };
    return { dtype, shape: shape.map(known), read, [leafMark]: { program, run, output } };
  };
  // the lazy tensor that lies in each input; what a result is written over is held no longer
  const held: (LazyTensor | undefined)[] = inputs.map(() => undefined);
  const shared = inputs.map((_, i) => executable.aliases.includes(i));
  /** What gives the numbers of input i when they are to be written; undefined where they lie there already. Checks all it can. A promise where a device has to be asked. */
  const source = (i: number, x: unknown): Numbers | Promise<Numbers> => {
    const type = executable.inputs[i] as TensorType;
    const where = placeOf(inputs[i] as Leaf);
    const checked = ({ shape, dtype, data }: HostTensor): (() => HostData) => {
      checkType({ shape, dtype }, type, where);
      const why = misfit(data, type, wide);
      return why ? wrong(where, why) : () => plainNumbers(data, dtype, wide);
    };
    if (isDeviceTensor(x)) {
      const from = x[leafMark];
      if (from.program === program && from.run === run && executable.aliases[from.output] === i) return undefined;
      return x.read().then(checked, (e) => {
        if (e instanceof FoveaError && e.code === 'FV0304')
          throw new FoveaError(e.code, `${where}: ${e.message}`, { loc: e.loc, hint: e.hint, cause: e });
        throw e;
      });
    }
    if (typeof x === 'number' && type.shape.length === 0) {
      const data = scalarNumbers(x, type.dtype, where);
      return () => data;
    }
    if (isLazyTensor(x)) {
      checkType(x, type, where);
      if (held[i] === x) return undefined;
      return () => {
        const data = x.load();
        const why = misfit(data, type, wide);
        if (why)
          throw new FoveaError('FV0306', `${where}: ${why}`, { hint: 'What load() gives has the shape and the dtype of its tensor.' });
        return plainNumbers(data, type.dtype, wide);
      };
    }
    return isHostTensor(x) ? checked(x) : wrong(where, `expected a tensor ${showType(type)}, got ${article(x)}`);
  };
  const notBusy = (hint: string): void => {
    if (busy) throw new FoveaError('FV0305', 'the program is still running', { hint });
  };
  /** What lay in input i before counts as gone from here on: a write may fail half way. */
  const put = (i: number, numbers: () => HostData): void => {
    held[i] = undefined;
    early.delete(i);
    executable.write(i, numbers());
  };
  const called = async (args: readonly unknown[]): Promise<unknown> => {
    notBusy('Await one call before the next.');
    busy = true;
    waiting = [];
    try {
      const leaves = given(args, wanted);
      const values = inputs.map(({ argument, path }) => leaves[argument]?.get(path));
      // everything is checked, and results are read, before anything is written: a result may be handed to an input that another
      // result's place depends on (two donated tensors that change places), and a refused call leaves the results of the last one as
      // they are. Only a lazy tensor can still fail; so the places of results, which then go stale, come last
      const asked: (Numbers | Promise<Numbers>)[] = [];
      for (const [i, x] of values.entries()) {
        const numbers = source(i, x);
        // another one may fail before it is waited for
        if (numbers instanceof Promise) numbers.catch(() => {});
        asked.push(numbers);
      }
      // without results to read the run begins before anybody else gets the thread: what a caller computes now, it computes beside it
      const sources = asked.some((n) => n instanceof Promise) ? await Promise.all(asked) : (asked as Numbers[]);
      const write = (i: number): void => {
        const [numbers, x] = [sources[i], values[i]];
        if (!numbers || (early.has(i) && Object.is(early.get(i), x))) return;
        put(i, numbers);
        if (isLazyTensor(x)) held[i] = x;
      };
      sources.forEach((_, i) => {
        if (!shared[i]) write(i);
      });
      run++;
      sources.forEach((_, i) => {
        if (shared[i]) write(i);
      });
      shared.forEach((over, i) => {
        if (over) held[i] = undefined;
      });
      early.clear();
      try {
        const [running, sends] = [executable.run(), waiting];
        waiting = undefined;
        await Promise.all([running, ...sends.map(async (send) => send())]);
      } catch (e) {
        // what was written may not have arrived
        held.fill(undefined);
        throw e;
      }
      return rebuild(
        tree,
        outputs.map((_, o) => result(o)),
      );
    } catch (e) {
      // what was written ahead was meant for this call
      early.clear();
      throw e;
    } finally {
      busy = false;
      waiting = undefined;
    }
  };
  /** What goes wrong in a call is told with the place of the call. */
  const call = (...args: readonly unknown[]): Promise<unknown> => {
    const place = callPlace();
    return called(args).catch((e) => {
      throw located(e, place());
    });
  };
  /** Writes the host tensors and numbers of an argument of the next call, where the executable takes them beside a run. FV0305: it has none such. */
  const ahead = (argument: number, value: unknown): void => {
    const place = callPlace();
    try {
      if (!Number.isInteger(argument) || !wanted[argument])
        wrong('ahead', `there is no argument ${String(argument)}: the program takes ${wanted.length}, counted from 0`);
      const leaves = leavesOf(value);
      inputs.forEach((input, i) => {
        const x = leaves.get(input.path);
        if (input.argument !== argument || shared[i] || !(isHostTensor(x) || typeof x === 'number')) return;
        const numbers = source(i, x) as () => HostData;
        if (!executable.ahead) return;
        const send = (): void => {
          put(i, numbers);
          early.set(i, x);
        };
        if (waiting) waiting.push(send);
        else send();
      });
    } catch (e) {
      throw located(e, place());
    }
  };
  const dispose = (): void => {
    notBusy('Await the call, then dispose of the program.');
    executable.dispose();
    held.fill(undefined);
  };
  return { call, ahead, dispose };
};
