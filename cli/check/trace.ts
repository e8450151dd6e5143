/**
 * The dynamic half of `fovea check`: every export that says what it takes is traced over named sizes, as `compile` would, and what the tracer
 * refuses becomes a finding at the user's line. It sees what types cannot: sizes from options, unknown shapes, claims of `.as`.
 */
import { inspect } from 'node:util';
import type { Finding } from '../../compiler/frontend/findings.ts';
import { declared, examplesOf, graphSizes, isDeclared } from '../../dsl/declared.ts';
import { placeIn } from '../../dsl/location.ts';
import { FoveaError, trace } from '../../index.ts';
import { donations, leavesOfProgram } from '../../program.ts';
import { exportPlace } from '../export-place.ts';
import { type Exports, load, named, readyFor, usersOwn } from '../exports.ts';
import { filesOf, type Target } from './targets.ts';
import { keyOf, type Said, type Step } from './tracer.ts';

/** A finding, whatever was thrown: the other exports are to be heard of too. */
const findingOf = (e: unknown, file: string, name: string | undefined): Finding => {
  const known = e instanceof FoveaError ? e : undefined;
  const loc = known ? known.loc : e instanceof Error ? placeIn(e.stack ?? '') : undefined;
  const spot = loc ? { file: loc.file, line: loc.line, col: loc.col, endLine: loc.line, endCol: loc.col + 1 } : exportPlace(file, name);
  const [where, hint] = [name === undefined ? '' : ` (tracing ${name})`, known?.hint ? `. ${known.hint}` : ''];
  const message = known?.message ?? `Fovea itself fails: ${e instanceof Error ? e.message : inspect(e)}`;
  return { ...spot, code: known?.code ?? 'FV0596', severity: 'error', message: `${message}${hint}${where}`, related: [] };
};

export interface FileTrace {
  readonly findings: readonly Finding[];
  readonly traced: readonly string[];
  readonly left: readonly string[];
}
/** Who hears of each step before it begins, for it may have no end, and when it is done. */
export interface Listener {
  readonly before: (step: Step) => Promise<void> | void;
  readonly after: (step: Step, findings: readonly Finding[]) => Promise<void> | void;
  readonly left: (file: string, names: readonly string[]) => Promise<void> | void;
  /** Steps that need not be taken, by `keyOf`. */
  readonly known: ReadonlySet<string>;
}
const nobody: Listener = { before: () => {}, after: () => {}, left: () => {}, known: new Set() };

/** Of one file the exports that say what they take, or what `names` say alone. */
export const traceFile = async (file: string, names: readonly string[] = [], listener: Listener = nobody): Promise<FileTrace> => {
  const findings: Finding[] = [];
  const traced: string[] = [];
  const attempt = async (name: string | undefined, f: () => unknown): Promise<void> => {
    const step = { file, name };
    if (listener.known.has(keyOf(step))) return;
    await listener.before(step);
    const own: Finding[] = [];
    try {
      await f();
      if (name !== undefined) traced.push(name);
    } catch (e) {
      own.push(findingOf(e, file, name));
    }
    findings.push(...own);
    await listener.after(step, own);
  };
  if (listener.known.has(keyOf({ file }))) return { findings, traced, left: [] };
  let exports: Exports = {};
  await attempt(undefined, async () => {
    exports = await load(file);
  });
  const all = Object.entries(exports);
  const whole = all.flatMap(([name, value]): (readonly [string, () => unknown])[] => {
    if (isDeclared(value)) return [[name, () => value]];
    return examplesOf(value).map((make, i, { length }) => [length > 1 ? `${name}, example ${i + 1}` : name, make]);
  });
  const asked = names.length > 0 ? names.map((name) => [name, () => named(exports, name, file)] as const) : whole;
  for (const [name, make] of findings.length > 0 ? [] : asked)
    await attempt(name, () => {
      const { run, args, dims, donate } = declared(usersOwn(name, file, make));
      const graph = usersOwn(name, file, () => trace(run as (...xs: unknown[]) => unknown, args as unknown[], { dims: graphSizes(dims) }));
      // leaves with one name, and donated ones without a result, are refused by whoever compiles it
      const { inputs, outputs } = leavesOfProgram(graph);
      donations(inputs, outputs, donate, args.length);
    });
  const left =
    names.length > 0
      ? []
      : all.flatMap(([name, value]) => (typeof value === 'function' && !isDeclared(value) && examplesOf(value).length === 0 ? [name] : []));
  await listener.left(file, left);
  return { findings, traced, left };
};

/** The tracing process itself: gets ready, waits for the word, says of each step what it found, and ends. */
export const traceWhenTold = async (targets: readonly Target[]): Promise<void> => {
  const files = filesOf(targets);
  await readyFor(files[0] as string);
  // whoever started this process has ended
  process.on('disconnect', () => process.exit());
  const say = (m: Said): Promise<void> => new Promise((sent) => process.send?.(m, () => sent()));
  const known = await new Promise<readonly string[]>((told) => process.once('message', told));
  const listener: Listener = {
    before: (step) => say({ about: 'before', step }),
    after: (step, findings) => say({ about: 'after', step, findings }),
    left: (file, names) => say({ about: 'left', file, names }),
    known: new Set(known),
  };
  try {
    for (const file of files) {
      const own = targets.filter((t) => t.file === file);
      // a file that is given whole too is traced whole
      const names = own.some((t) => t.name === undefined) ? [] : own.flatMap((t) => t.name ?? []);
      await traceFile(file, names, listener);
    }
    await say({ about: 'end' });
  } finally {
    process.disconnect?.();
  }
};
