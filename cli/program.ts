/**
 * What a command is given as `FILE#export`: the export loaded, its sizes chosen, traced. `explain`, `compile` and `profile` start here.
 *
 *   const p = await userProgram('examples/vit.ts#step', { dims: { B: 64 } });
 *   p.traced.graph, p.dims, p.donated
 */
import { closeSync, existsSync, openSync, readSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { relative, resolve } from 'node:path';
import { Command, Option } from 'commander';
import { FoveaError } from '../compiler/error.ts';
import { bindGraph } from '../compiler/graph/bind.ts';
import type { Graph } from '../compiler/graph/types.ts';
import { type Callable, type Declared, declared, graphSizes, isDeclared, knownSizes, sizeNames, sizesFit } from '../dsl/declared.ts';
import { type Traced, trace } from '../index.ts';
import { cannotWrite } from '../models/weights/index.ts';
import { donations, type Leaf, leavesOfProgram } from '../program.ts';
import { atExport } from './export-place.ts';
import { type Exports, load, named, usersOwn } from './exports.ts';
import { guarded } from './guarded.ts';
import { sizesOption } from './options.ts';

export interface ProgramOptions {
  readonly dims: Readonly<Record<string, number>>;
  readonly precision: 'f32' | 'bf16' | 'f16';
}

/** A command on `FILE#export`, with the options that all of them have. */
export const programCommand = (name: string, description: string): Command =>
  new Command(name)
    .description(description)
    .argument('<file[#export]>', "a module of yours; '#name' for one export, '#name(1, 2)' for what it returns")
    .option('--dims <sizes>', 'sizes by name, as in B=8,N=256', sizesOption('--dims'), {})
    .addOption(new Option('--precision <type>', 'operands of contractions').choices(['f32', 'bf16', 'f16']).default('f32'))
    .option('--debug', 'print the stack of an error');

/** FV0407: cannot be written. */
export const written = (file: string, text: string): void => {
  const path = resolve(file);
  try {
    writeFileSync(path, text);
  } catch (e) {
    throw cannotWrite(path, e);
  }
};

/**
 * FV0407: a file is there that is not of this command, as all are that begin otherwise than what it writes; it would be lost. To be asked before a
 * program is compiled and measured.
 */
export const ownFile = (option: string, file: string, begins: string): void => {
  const path = resolve(file);
  if (!statSync(path, { throwIfNoEntry: false })?.isFile()) return;
  const there = Buffer.alloc(Buffer.byteLength(begins));
  const from = openSync(path, 'r');
  const length = readSync(from, there);
  closeSync(from);
  if (length === 0 || there.toString('utf8') === begins) return;
  throw new FoveaError('FV0407', `${option} ${file}: another file is there, that this command did not write`, {
    hint: 'Give a new file, or one that it wrote before.',
  });
};

/** Tries out a file that is to be written at the end of minutes; what it holds stays. FV0407. */
export const writable = (file: string): void => {
  const path = resolve(file);
  const there = existsSync(path);
  try {
    closeSync(openSync(path, 'a'));
    if (!there) rmSync(path);
  } catch (e) {
    throw cannotWrite(path, e);
  }
};

/** What a size is that nobody gives. */
const assumedSize = 16;

export interface UserProgram {
  /** As the user wrote it, without the file. */
  readonly name: string;
  /** Absolute, and as it is shown. */
  readonly file: string;
  readonly shown: string;
  readonly declared: Declared;
  /** Every size by the name that the user writes; those that nobody gave are in `assumed` too. */
  readonly dims: Readonly<Record<string, number>>;
  readonly assumed: readonly string[];
  readonly traced: Traced;
  /** Sizes bound. */
  readonly graph: Graph;
  /** Functions that it differentiates, as they were written; sizes bound. */
  readonly written: readonly Graph[];
  readonly inputs: readonly Leaf[];
  readonly outputs: readonly Leaf[];
  readonly donated: readonly number[];
}

/** FV0503 where the file alone does not say which export is meant. */
const only = (exports: Exports, file: string): string => {
  const names = Object.keys(exports).filter((n) => isDeclared(exports[n]));
  if (names.length === 1) return names[0] as string;
  const hint =
    names.length === 0
      ? "Export a fn(['B D'], ...), a module, or a function with args: [spec(...)]."
      : `Say which one: ${names.map((n) => `#${n}`).join(', ')}.`;
  throw new FoveaError('FV0503', `${file} exports ${names.length === 0 ? 'nothing' : `${names.length} values`} that can be compiled`, {
    hint,
  });
};

const programOf = async (file: string, wanted: string | undefined, given: Readonly<Record<string, number>>): Promise<UserProgram> => {
  const exports = await load(file);
  const name = wanted ?? only(exports, file);
  const value = named(exports, name, file);
  const here = <R>(run: () => R): R => atExport(name, file, run);
  const own = here(() => declared(value));
  knownSizes(own.sizes, given);
  const assumed = sizeNames(own.sizes).filter((n) => !(n in own.dims) && !(n in given));
  const dims = { ...own.dims, ...given, ...Object.fromEntries(assumed.map((n) => [n, assumedSize])) };
  if (!sizesFit(own.sizes, dims))
    throw new FoveaError('FV0005', `${name}: the sizes ${Object.entries(dims).map(([n, d]) => `${n}=${d}`)} do not fit its shapes`, {
      hint: 'Give them with --dims, as in --dims B=8,N=16.',
    });
  const sizes = graphSizes(dims);
  const written: Graph[] = [];
  const bind = (g: Graph): Graph => bindGraph(g, new Map(Object.entries(sizes)));
  const traced = here(() =>
    usersOwn(name, file, () =>
      trace(own.run as Callable, own.args as never[], { dims: sizes, differentiated: (g) => written.push(bind(g)) }),
    ),
  );
  const { inputs, outputs } = here(() => leavesOfProgram(traced));
  return {
    name,
    file,
    shown: relative(process.cwd(), file),
    declared: own,
    dims,
    assumed,
    traced,
    graph: bind(traced.graph),
    written,
    inputs,
    outputs,
    donated: here(() => donations(inputs, outputs, own.donate, own.args.length)),
  };
};

/** FV0402, FV0503: no such file or export; FV0005: sizes that do not fit; FV0596 and whatever tracing throws. */
export const userProgram = async (
  target: string,
  { dims: given = {} }: { readonly dims?: Readonly<Record<string, number>> } = {},
): Promise<UserProgram> => {
  const at = target.indexOf('#');
  const file = resolve(at < 0 ? target : target.slice(0, at));
  return guarded(file, () => programOf(file, at < 0 ? undefined : target.slice(at + 1), given));
};
