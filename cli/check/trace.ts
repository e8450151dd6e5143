/**
 * The dynamic half of `fovea check`: every export that says what it takes is traced over named sizes, as `compile` would, and what the tracer
 * refuses becomes a finding at the user's line. It sees what types cannot: sizes from options, unknown shapes, claims of `.as`.
 */
import { inspect } from 'node:util';
import type { Finding } from '../../compiler/frontend/findings.ts';
import { declared, examplesOf, graphSizes, isDeclared } from '../../dsl/declared.ts';
import { placeIn } from '../../dsl/location.ts';
import { FoveaError, trace } from '../../index.ts';
import { leavesOfProgram } from '../../program.ts';
import { exportPlace } from '../export-place.ts';
import { type Exports, load, named, readyFor, usersOwn } from '../exports.ts';
import { filesOf, type Target } from './targets.ts';
import type { Doing, Traced } from './tracer.ts';

/** A finding, whatever was thrown: the other exports are to be heard of too. */
const findingOf = (e: unknown, file: string, name: string | undefined): Finding => {
  const known = e instanceof FoveaError ? e : undefined;
  const loc = known ? known.loc : e instanceof Error ? placeIn(e.stack ?? '') : undefined;
  const spot = loc ? { file: loc.file, line: loc.line, col: loc.col, endLine: loc.line, endCol: loc.col + 1 } : exportPlace(file, name);
  const [where, hint] = [name === undefined ? '' : ` (tracing ${name})`, known?.hint ? `. ${known.hint}` : ''];
  const message = known?.message ?? `Fovea itself fails: ${e instanceof Error ? e.message : inspect(e)}`;
  return { ...spot, code: known?.code ?? 'FV0596', severity: 'error', message: `${message}${hint}${where}`, related: [] };
};

/** What the trace is at, told before it begins. */
type Tell = (doing: string) => Promise<void> | void;

/** Of one file the exports that say what they take, or what `names` say alone. */
export const traceFile = async (
  file: string,
  names: readonly string[] = [],
  tell: Tell = () => {},
): Promise<{ readonly findings: readonly Finding[]; readonly traced: readonly string[]; readonly left: readonly string[] }> => {
  const findings: Finding[] = [];
  const traced: string[] = [];
  const attempt = async (name: string | undefined, f: () => unknown): Promise<void> => {
    await tell(name === undefined ? 'loading it' : `tracing ${name}`);
    try {
      await f();
      if (name !== undefined) traced.push(name);
    } catch (e) {
      findings.push(findingOf(e, file, name));
    }
  };
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
      const { run, args, dims } = declared(usersOwn(name, file, make));
      // leaves with one name are refused by whoever compiles it
      return leavesOfProgram(
        usersOwn(name, file, () => trace(run as (...xs: unknown[]) => unknown, args as unknown[], { dims: graphSizes(dims) })),
      );
    });
  const left =
    names.length > 0
      ? []
      : all.flatMap(([name, value]) => (typeof value === 'function' && !isDeclared(value) && examplesOf(value).length === 0 ? [name] : []));
  return { findings, traced, left };
};

/** The tracing process itself: gets ready, waits for the word, says what it found, and ends. */
export const traceWhenTold = async (targets: readonly Target[]): Promise<void> => {
  const files = filesOf(targets);
  await readyFor(files[0] as string);
  // whoever started this process has ended
  process.on('disconnect', () => process.exit());
  const say = (m: Traced | Doing): Promise<void> => new Promise((sent) => process.send?.(m, () => sent()));
  await new Promise((told) => process.once('message', told));
  try {
    const findings: Finding[] = [];
    const all: Traced['files'][number][] = [];
    for (const file of files) {
      const own = targets.filter((t) => t.file === file);
      // a file that is given whole too is traced whole
      const names = own.some((t) => t.name === undefined) ? [] : own.flatMap((t) => t.name ?? []);
      const { findings: more, ...which } = await traceFile(file, names, (doing) => say({ file, doing }));
      findings.push(...more);
      all.push({ file, ...which });
    }
    await say({ findings, files: all });
  } finally {
    process.disconnect?.();
  }
};
