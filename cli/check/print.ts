/** How the command prints findings: paths as seen from where it runs, versions and lines of files for the forms that want them. */
import { existsSync, readFileSync } from 'node:fs';
import { relative } from 'node:path';
import { type Format, inOrder, printFindings } from '../../compiler/frontend/findings.ts';
import { findPackageFile } from '../../models/data/package.ts';
import type { Checked } from './once.ts';
import type { Traced } from './tracer.ts';

export interface PrintOptions {
  readonly format: Format;
  readonly pretty?: boolean;
}

/** A path as it is shown. */
export const shown = (file: string): string => relative(process.cwd(), file).replaceAll('\\', '/');

/** Which exports were traced, which not, and why. */
const traceText = (traced: Traced | undefined): string => {
  if (!traced) return 'Nothing was traced: a trace comes after types that fit.';
  const list = (which: 'traced' | 'left'): string =>
    traced.files.flatMap((f) => (f[which].length > 0 ? [`${f[which].join(', ')} (${shown(f.file)})`] : [])).join('; ');
  const [done, left] = [list('traced'), list('left')];
  return [
    `Traced: ${done || 'no export'}.`,
    ...(left ? [`Not traced, for they do not say what they take: ${left}. FILE#name(arguments) traces what a function returns.`] : []),
  ].join('\n');
};

/** Prints findings in the form that was asked for, and for people what was traced. */
export const printer = (options: PrintOptions): ((checked: Pick<Checked, 'findings' | 'traced'>) => void) => {
  const { version } = JSON.parse(readFileSync(findPackageFile('package.json'), 'utf8')) as { version: string };
  return ({ findings, traced }) => {
    const texts = new Map<string, readonly string[]>();
    const lines = (file: string): readonly string[] => {
      const known = texts.get(file) ?? (existsSync(file) ? readFileSync(file, 'utf8').split(/\r?\n/) : []);
      texts.set(file, known);
      return known;
    };
    const pretty = options.pretty ?? process.stdout.isTTY === true;
    const text = printFindings(inOrder(findings), options.format, { show: shown, lines, pretty, version });
    if (text !== '') console.log(text);
    if (options.format === 'text') console.log(traceText(traced));
  };
};
