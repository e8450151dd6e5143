/** The static half of `fovea check`: types and purity of the files that were asked for and of what they import of the user's. */
import type ts from 'typescript';
import type { Finding } from './findings.ts';
import { type Project, project } from './project.ts';
import { purity } from './purity.ts';
import { findingOf } from './sentences.ts';
import { userFiles } from './tensors.ts';

/** Of tsc: operands that an operator does not take. */
const operators: ReadonlySet<string> = new Set(['TS2362', 'TS2363', 'TS2365']);

export interface Checker {
  /** What is wrong with the files as they are now. */
  readonly check: () => { readonly findings: readonly Finding[]; readonly files: readonly string[] };
  readonly changed: Project['changed'];
}

export const checker = (asked: readonly string[]): Checker => {
  const p = project(asked);
  return {
    changed: p.changed,
    check: () => {
      const program = p.program();
      const files = userFiles(program, asked);
      const types = program.getTypeChecker();
      const diagnostics: readonly ts.Diagnostic[] = [
        ...p.faults,
        ...program.getOptionsDiagnostics(),
        ...files.flatMap((f) => [...program.getSyntacticDiagnostics(f), ...program.getSemanticDiagnostics(f)]),
      ];
      const found = diagnostics.flatMap((d) => findingOf(types, d) ?? []);
      const impure = purity(program, files);
      // tsc does not know why an operator does not fit a tensor
      const told = new Set(impure.filter((f) => f.code === 'FV0903').map((f) => `${f.file}:${f.line}:${f.col}`));
      const rest = found.filter((f) => !(operators.has(f.code) && told.has(`${f.file}:${f.line}:${f.col}`)));
      return { findings: [...rest, ...impure], files: files.map((f) => f.fileName) };
    },
  };
};
