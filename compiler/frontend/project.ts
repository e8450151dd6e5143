/**
 * A user's files as a program of the TypeScript compiler: the options of the nearest tsconfig.json, and a host that keeps every file it has
 * read. After an edit one file is parsed, and checked are those files alone whose findings may be others: what depends on what is the
 * bookkeeping of `tsc --watch`.
 *
 *   const p = project(['model.ts']);
 *   p.now().diagnosticsOf(file)           // then, after an edit: p.changed('model.ts'); p.now()
 */
import { dirname } from 'node:path';
import type ts from 'typescript';
import { tsc } from './typescript.ts';

export interface Now {
  readonly program: ts.Program;
  /** To be called before diagnosticsOf: the compiler looks at what changed, in files that `mine` says. */
  readonly settle: (mine: (f: ts.SourceFile) => boolean) => void;
  readonly diagnosticsOf: (f: ts.SourceFile) => readonly ts.Diagnostic[];
  /** Files whose types were looked at anew, of those that diagnosticsOf was asked for: what is known of others is still true. */
  readonly anew: ReadonlySet<string>;
}
export interface Project {
  /** The files as they are now. */
  readonly now: () => Now;
  readonly changed: (file: string) => void;
  /**
   * Takes these files for changed. What a file declares is compared from its second look on, and after the first one every edit of it would have
   * all checked that import it.
   */
  readonly again: (files: readonly string[]) => void;
  /** Faults of the configuration itself. */
  readonly faults: readonly ts.Diagnostic[];
  /** Files that were left out, with their bytes. */
  readonly tooLarge: ReadonlyMap<string, number>;
}

/** Bytes of the largest file that is read: what people write is smaller by far, and what programs write can take all memory. */
export const largest = 8 << 20;

const fallback: ts.CompilerOptions = {
  target: tsc.ScriptTarget.ES2023,
  lib: ['lib.es2023.d.ts'],
  module: tsc.ModuleKind.NodeNext,
  moduleResolution: tsc.ModuleResolutionKind.NodeNext,
  strict: true,
  skipLibCheck: true,
  allowImportingTsExtensions: true,
};

const optionsFor = (file: string): { readonly options: ts.CompilerOptions; readonly faults: readonly ts.Diagnostic[] } => {
  const config = tsc.findConfigFile(dirname(file), tsc.sys.fileExists);
  if (!config) return { options: fallback, faults: [] };
  const read = tsc.readConfigFile(config, tsc.sys.readFile);
  // its list of files is of no interest: reading the folders would take longer than checking
  const { options, errors } = tsc.parseJsonConfigFileContent({ ...read.config, files: [file], include: [] }, tsc.sys, dirname(config));
  return { options, faults: [...(read.error ? [read.error] : []), ...errors] };
};

/** By what a builder asks for the types of a file; not in the declarations of TypeScript, whose version is fixed in package.json. */
type Inside = { getBindAndCheckDiagnostics?: (f: ts.SourceFile, ...rest: unknown[]) => readonly ts.Diagnostic[] };

export const project = (files: readonly string[]): Project => {
  const { options: own, faults } = optionsFor(files[0] as string);
  const options: ts.CompilerOptions = { ...own, noEmit: true, skipLibCheck: true, incremental: false, composite: false };
  const host = tsc.createCompilerHost(options);
  // as tsc itself does: of comments only those that change what is an error
  host.jsDocParsingMode = tsc.JSDocParsingMode.ParseForTypeErrors;
  const read = host.getSourceFile.bind(host);
  const kept = new Map<string, ts.SourceFile | undefined>();
  const tooLarge = new Map<string, number>();
  let turn = 0;
  host.getSourceFile = (file, how) => {
    if (!kept.has(file)) {
      const size = tsc.sys.getFileSize?.(file) ?? 0;
      if (size > largest) tooLarge.set(file, size);
      else tooLarge.delete(file);
      const source = size > largest ? tsc.createSourceFile(file, '', how) : read(file, how);
      kept.set(file, source && Object.assign(source, { version: `${turn} ${tsc.sys.createHash?.(source.text) ?? source.text}` }));
    }
    return kept.get(file);
  };
  let last: ts.Program | undefined;
  let built: ts.SemanticDiagnosticsBuilderProgram | undefined;
  return {
    now: () => {
      const program = tsc.createProgram([...files], options, host, last);
      last = program;
      const anew = new Set<string>();
      const inside = program as Inside;
      const { getBindAndCheckDiagnostics: look } = inside;
      if (look)
        inside.getBindAndCheckDiagnostics = (f, ...rest) => {
          anew.add(f.fileName);
          return look(f, ...rest);
        };
      const builder = tsc.createSemanticDiagnosticsBuilderProgram(program, host, built);
      built = builder;
      return {
        program,
        settle: (mine) => {
          while (builder.getSemanticDiagnosticsOfNextAffectedFile(undefined, (f) => !mine(f)));
        },
        diagnosticsOf: (f) => {
          if (!look) anew.add(f.fileName);
          return builder.getSemanticDiagnostics(f);
        },
        anew,
      };
    },
    changed: (file) => {
      // where a file appears or goes, what imports mean is asked anew
      if (!kept.get(file) || !tsc.sys.fileExists(file)) last = undefined;
      kept.delete(file);
    },
    again: (all) => {
      turn++;
      for (const f of all) kept.delete(f);
    },
    faults,
    tooLarge,
  };
};
