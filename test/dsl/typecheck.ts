/** Type-checks sources that exist only in memory, as if they stood in this folder, through the compiler API. */
import { dirname, join } from 'node:path';
import ts from 'typescript';

const folder = import.meta.dirname;
const root = join(folder, '../..');
const config = ts.parseJsonConfigFileContent(ts.readConfigFile(join(root, 'tsconfig.json'), ts.sys.readFile).config, ts.sys, root).options;
const parsed = new Map<string, ts.SourceFile | undefined>();

export interface Checked {
  readonly program: ts.Program;
  readonly file: ts.SourceFile;
  readonly diagnostics: readonly ts.Diagnostic[];
}
export const check = (name: string, source?: string): Checked => {
  const path = join(folder, name);
  const host = ts.createCompilerHost(config);
  const read = host.getSourceFile.bind(host);
  host.getSourceFile = (file, options) => {
    if (file === path && source !== undefined) return ts.createSourceFile(file, source, options);
    if (!parsed.has(file)) parsed.set(file, read(file, options));
    return parsed.get(file);
  };
  host.fileExists = (file) => file === path || ts.sys.fileExists(file);
  host.getCurrentDirectory = () => dirname(path);
  const program = ts.createProgram([path], { ...config, types: [], noEmit: true }, host);
  const file = program.getSourceFile(path) as ts.SourceFile;
  return { program, file, diagnostics: [...program.getSyntacticDiagnostics(file), ...program.getSemanticDiagnostics(file)] };
};

/** The sentence that a user reads: the string that stands as parameter type, or else the first line of the message. */
export const sentence = (d: ts.Diagnostic): string => {
  const text = ts.flattenDiagnosticMessageText(d.messageText, '\n');
  return /to parameter of type '"(.*)"'\.$/.exec(text.split('\n')[0] as string)?.[1] ?? (text.split('\n')[0] as string);
};
export const lineOf = (c: Checked, d: ts.Diagnostic): number => c.file.getLineAndCharacterOfPosition(d.start ?? 0).line;
