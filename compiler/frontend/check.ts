/** The static half of `fovea check`: types and purity of the files that were asked for and of what they import of the user's. */
import type ts from 'typescript';
import { type Setting, settingsOf } from './config.ts';
import { deepest, outOfStack, unparsed } from './depth.ts';
import type { Finding } from './findings.ts';
import { largest, type Project, plain, project, type Surroundings } from './project.ts';
import { exportPurity, purity } from './purity.ts';
import { findingOf } from './sentences.ts';
import { userFiles } from './tensors.ts';

/** Of tsc: operands that an operator does not take, and cases and arguments that cannot be. */
const operators: ReadonlySet<string> = new Set(['TS2362', 'TS2363', 'TS2365', 'TS2367', 'TS2678', 'TS2345']);

/** The files as they are at one moment. */
export interface Round {
  readonly files: readonly string[];
  /** Whether they can be run at all. */
  readonly parses: boolean;
  /** What is wrong with them. */
  readonly findings: () => readonly Finding[];
  /** Of `files` those whose types were looked at for `findings`, after it was called. */
  readonly anew: () => ReadonlySet<string>;
}
export interface Checker {
  readonly round: () => Round;
  readonly changed: Project['changed'];
  /** Looks at everything once more, so that later rounds are quick. Takes about half as long as the first round. */
  readonly learn: () => void;
}

const mb = (bytes: number): string => `${(bytes / 1e6).toFixed(0)} MB`;
const left = (file: string, bytes: number): Finding => ({
  file,
  ...{ line: 1, col: 1, endLine: 1, endCol: 2, related: [] },
  code: 'FV0402',
  severity: 'error',
  message: `the file has ${mb(bytes)}, and files up to ${mb(largest)} are checked. Read large data when the program runs`,
});

/** The files of one project. */
const checkerOf = (setting: Setting, around: Surroundings): Checker => {
  const asked = setting.files;
  const p = project(setting, around);
  const impurities = purity();
  const round = (): Round => {
    const { program, settle, diagnosticsOf, anew: mine, lean } = p.now();
    let anew: ReadonlySet<string> = mine;
    const files = userFiles(program, asked);
    if (p.tooLarge.size + p.tooDeep.size > 0) {
      const findings = [...[...p.tooLarge].map(([file, bytes]) => left(file, bytes)), ...[...p.tooDeep].map(unparsed)];
      return { files: files.map((f) => f.fileName), parses: false, findings: () => findings, anew: () => mine };
    }
    const syntax = files.flatMap((f) => program.getSyntacticDiagnostics(f));
    const look = (): readonly Finding[] => {
      const own = new Set(files);
      settle((f) => own.has(f));
      const diagnostics: readonly ts.Diagnostic[] = [
        ...setting.faults,
        ...program.getOptionsDiagnostics(),
        ...syntax,
        ...files.flatMap(diagnosticsOf),
      ];
      const types = program.getTypeChecker();
      const found = diagnostics.flatMap((d) => findingOf(types, d) ?? []);
      if (lean && found.some((f) => f.code.startsWith('TS'))) {
        p.complete();
        const whole = round();
        const all = whole.findings();
        anew = whole.anew();
        return all;
      }
      const impure = impurities(program, files, anew);
      // tsc does not know why an operator does not fit a tensor
      const told = new Set(impure.filter((f) => f.code === 'FV0903').map((f) => `${f.file}:${f.line}:${f.col}`));
      const rest = found.filter((f) => !(operators.has(f.code) && told.has(`${f.file}:${f.line}:${f.col}`)));
      return [...rest, ...impure];
    };
    const findings = (): readonly Finding[] => {
      try {
        return look();
      } catch (e) {
        if (!outOfStack(e)) throw e;
        p.afresh();
        return deepest(files);
      }
    };
    return { files: files.map((f) => f.fileName), parses: syntax.length === 0, findings, anew: () => anew };
  };
  const learn = (): void => {
    p.again(round().files);
    round().findings();
  };
  return { changed: p.changed, round, learn };
};

/** `asked` are absolute. */
export const checker = (asked: readonly string[], around: Surroundings = plain): Checker => {
  const all = settingsOf(asked, around.disk).map((s) => checkerOf(s, around));
  return {
    changed: (file) => {
      for (const c of all) c.changed(file);
    },
    learn: () => {
      for (const c of all) c.learn();
    },
    round: () => {
      const rounds = all.map((c) => c.round());
      return {
        files: [...new Set(rounds.flatMap((r) => r.files))],
        parses: rounds.every((r) => r.parses),
        findings: () => rounds.flatMap((r) => r.findings()),
        anew: () => new Set(rounds.flatMap((r) => [...r.anew()])),
      };
    },
  };
};

/** What an export does that a traced body may not, without a check of types. */
export const impuritiesOf = (file: string, name: string, around: Surroundings = plain): readonly Finding[] =>
  settingsOf([file], around.disk).flatMap((setting) => {
    const p = project(setting, around);
    const { program } = p.now();
    const files = userFiles(program, [file]);
    if (p.tooDeep.size > 0) return [...p.tooDeep].map(unparsed);
    try {
      return exportPurity(program, files, file, name);
    } catch (e) {
      if (!outOfStack(e)) throw e;
      return deepest(files);
    }
  });
