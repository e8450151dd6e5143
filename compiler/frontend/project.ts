/**
 * A user's files as a program of the TypeScript compiler: the options of the nearest tsconfig.json, and a host that keeps every file it has
 * read, so that checking again after an edit parses one file and checks what depends on it.
 *
 *   const p = project(['model.ts']);
 *   p.program()                 // then, after an edit: p.changed('model.ts'); p.program()
 */
import { dirname } from 'node:path';
import ts from 'typescript';

export interface Project {
  /** The program of the files as they are now. */
  readonly program: () => ts.Program;
  readonly changed: (file: string) => void;
  /** Faults of the configuration itself. */
  readonly faults: readonly ts.Diagnostic[];
}

const fallback: ts.CompilerOptions = {
  target: ts.ScriptTarget.ES2023,
  lib: ['lib.es2023.d.ts'],
  module: ts.ModuleKind.NodeNext,
  moduleResolution: ts.ModuleResolutionKind.NodeNext,
  strict: true,
  skipLibCheck: true,
  allowImportingTsExtensions: true,
};

const optionsFor = (file: string): { readonly options: ts.CompilerOptions; readonly faults: readonly ts.Diagnostic[] } => {
  const config = ts.findConfigFile(dirname(file), ts.sys.fileExists);
  if (!config) return { options: fallback, faults: [] };
  const read = ts.readConfigFile(config, ts.sys.readFile);
  // its list of files is of no interest: reading the folders would take longer than checking
  const { options, errors } = ts.parseJsonConfigFileContent({ ...read.config, files: [file], include: [] }, ts.sys, dirname(config));
  return { options, faults: [...(read.error ? [read.error] : []), ...errors] };
};

export const project = (files: readonly string[]): Project => {
  const { options: own, faults } = optionsFor(files[0] as string);
  const options: ts.CompilerOptions = { ...own, noEmit: true, skipLibCheck: true, incremental: false, composite: false };
  const host = ts.createCompilerHost(options);
  const read = host.getSourceFile.bind(host);
  const kept = new Map<string, ts.SourceFile | undefined>();
  host.getSourceFile = (file, how) => {
    if (!kept.has(file)) kept.set(file, read(file, how));
    return kept.get(file);
  };
  let last: ts.Program | undefined;
  return {
    program: () => {
      last = ts.createProgram([...files], options, host, last);
      return last;
    },
    changed: (file) => kept.delete(file),
    faults,
  };
};
