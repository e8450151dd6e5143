/**
 * The dynamic half of `fovea check`: every export that says what it takes is traced over named sizes, as `compile` would, and what the tracer
 * refuses becomes a finding at the user's line. It sees what types cannot: sizes from options, unknown shapes, claims of `.as`.
 */
import type { Finding } from '../../compiler/frontend/findings.ts';
import { declared, graphSizes, isDeclared } from '../../dsl/declared.ts';
import { FoveaError, trace } from '../../index.ts';
import { leavesOfProgram } from '../../program.ts';
import { load, usersOwn } from '../exports.ts';
import { fileStart } from './tracer.ts';

const findingOf = (e: FoveaError, file: string, name: string | undefined): Finding => {
  const { loc } = e;
  const spot = loc ? { file: loc.file, line: loc.line, col: loc.col, endLine: loc.line, endCol: loc.col + 1 } : fileStart(file);
  const [where, hint] = [name === undefined ? '' : ` (tracing ${name})`, e.hint ? `. ${e.hint}` : ''];
  return { ...spot, code: e.code, severity: 'error', message: `${e.message}${hint}${where}`, related: [] };
};

/** Names of what was traced, and what is wrong. */
export const traceFile = async (file: string): Promise<{ readonly findings: readonly Finding[]; readonly traced: readonly string[] }> => {
  const findings: Finding[] = [];
  const traced: string[] = [];
  const attempt = <T>(name: string | undefined, f: () => T): T | undefined => {
    try {
      return f();
    } catch (e) {
      if (!(e instanceof FoveaError)) throw e;
      findings.push(findingOf(e, file, name));
      return undefined;
    }
  };
  let exports: Readonly<Record<string, unknown>> = {};
  try {
    exports = await load(file);
  } catch (e) {
    if (!(e instanceof FoveaError)) throw e;
    findings.push(findingOf(e, file, undefined));
  }
  for (const [name, value] of Object.entries(exports)) {
    if (!isDeclared(value)) continue;
    const d = declared(value);
    attempt(name, () =>
      // leaves with one name are refused by whoever compiles it
      leavesOfProgram(
        usersOwn(name, file, () => trace(d.run as (...xs: unknown[]) => unknown, d.args as unknown[], { dims: graphSizes(d.dims) })),
      ),
    ) && traced.push(name);
  }
  return { findings, traced };
};
