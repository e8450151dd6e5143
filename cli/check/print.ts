/** How the command prints findings: paths as seen from where it runs, versions and lines of files for the forms that want them. */
import { existsSync, readFileSync } from 'node:fs';
import { relative } from 'node:path';
import { type Finding, type Format, inOrder, printFindings } from '../../compiler/frontend/findings.ts';
import { findPackageFile } from '../../models/data/package.ts';

export interface PrintOptions {
  readonly format: Format;
  readonly pretty?: boolean;
}

/** A path as it is shown. */
export const shown = (file: string): string => relative(process.cwd(), file).replaceAll('\\', '/');

/** Prints findings in the form that was asked for. */
export const printer = (options: PrintOptions): ((found: readonly Finding[]) => void) => {
  const { version } = JSON.parse(readFileSync(findPackageFile('package.json'), 'utf8')) as { version: string };
  return (found) => {
    const texts = new Map<string, readonly string[]>();
    const lines = (file: string): readonly string[] => {
      const known = texts.get(file) ?? (existsSync(file) ? readFileSync(file, 'utf8').split(/\r?\n/) : []);
      texts.set(file, known);
      return known;
    };
    const pretty = options.pretty ?? process.stdout.isTTY === true;
    const text = printFindings(inOrder(found), options.format, { show: shown, lines, pretty, version });
    if (text !== '') console.log(text);
  };
};
