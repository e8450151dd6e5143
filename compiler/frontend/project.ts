/**
 * A user's files as a program of the TypeScript compiler, by the options of config.ts, and a host that keeps every file it has
 * read. After an edit one file is parsed, and checked are those files alone whose findings may be others: what depends on what is the
 * bookkeeping of `tsc --watch`.
 *
 *   const p = project(setting, surroundings);
 *   p.now().diagnosticsOf(file)           // then, after an edit: p.changed('model.ts'); p.now()
 */
import type ts from 'typescript';
import { mentionsNode } from './ambient.ts';
import type { Setting } from './config.ts';
import { outOfStack } from './depth.ts';
import type { Disk } from './disk.ts';
import { tsc } from './typescript.ts';

export interface Now {
  readonly program: ts.Program;
  /** To be called before diagnosticsOf: the compiler looks at what changed, in files that `mine` says. */
  readonly settle: (mine: (f: ts.SourceFile) => boolean) => void;
  readonly diagnosticsOf: (f: ts.SourceFile) => readonly ts.Diagnostic[];
  /** Files whose types were looked at anew, of those that diagnosticsOf was asked for: what is known of others is still true. */
  readonly anew: ReadonlySet<string>;
  /** Whether the types of Node were left out. */
  readonly lean: boolean;
}
export interface Project {
  /** The files as they are now. */
  readonly now: () => Now;
  readonly changed: (file: string) => void;
  /** From now on nothing is left out. */
  readonly complete: () => void;
  /**
   * Takes these files for changed. What a file declares is compared from its second look on, and after the first one every edit of it would have
   * all checked that import it.
   */
  readonly again: (files: readonly string[]) => void;
  /** Files that were left out, with their bytes. */
  readonly tooLarge: ReadonlyMap<string, number>;
  /** Files that were left out, for the parser ran out of stack. */
  readonly tooDeep: ReadonlySet<string>;
  /** Forgets everything: what threw in the middle of the compiler leaves files that it knows by half. */
  readonly afresh: () => void;
}

/** Bytes of the largest file that is read: what people write is smaller by far, and what programs write can take all memory. */
export const largest = 8 << 20;

/** What a program is read from. */
export interface Surroundings {
  readonly disk: Disk;
  /** The file that stands for one that is imported by another: Fovea's own where there are two copies. */
  readonly standIn: (file: string, from: string) => string;
}

/** The disk as it is, and no second copy of anything. */
export const plain: Surroundings = {
  disk: {
    fileExists: tsc.sys.fileExists,
    directoryExists: tsc.sys.directoryExists,
    getDirectories: tsc.sys.getDirectories,
    realpath: (path) => tsc.sys.realpath?.(path) ?? path,
    readFile: tsc.sys.readFile,
  },
  standIn: (file) => file,
};

/** By what a builder asks for the types of a file; not in the declarations of TypeScript, whose version is fixed in package.json. */
type Inside = { getBindAndCheckDiagnostics?: (f: ts.SourceFile, ...rest: unknown[]) => readonly ts.Diagnostic[] };

const forced: ts.CompilerOptions = { noEmit: true, skipLibCheck: true, incremental: false, composite: false };

export const project = ({ files, options: own, least }: Setting, { disk, standIn }: Surroundings): Project => {
  const options: ts.CompilerOptions = { ...own, ...forced };
  const host = Object.assign(tsc.createCompilerHost(options), disk);
  // as tsc itself does: of comments only those that change what is an error
  host.jsDocParsingMode = tsc.JSDocParsingMode.ParseForTypeErrors;
  const read = host.getSourceFile.bind(host);
  const kept = new Map<string, ts.SourceFile | undefined>();
  const tooLarge = new Map<string, number>();
  const tooDeep = new Set<string>();
  const parse: ts.CompilerHost['getSourceFile'] = (file, how) => {
    try {
      tooDeep.delete(file);
      return read(file, how);
    } catch (e) {
      if (!outOfStack(e)) throw e;
      tooDeep.add(file);
      return tsc.createSourceFile(file, '', how);
    }
  };
  let turn = 0;
  host.getSourceFile = (file, how) => {
    if (!kept.has(file)) {
      const size = tsc.sys.getFileSize?.(file) ?? 0;
      if (size > largest) tooLarge.set(file, size);
      else tooLarge.delete(file);
      const source = size > largest ? tsc.createSourceFile(file, '', how) : parse(file, how);
      kept.set(file, source && Object.assign(source, { version: `${turn} ${tsc.sys.createHash?.(source.text) ?? source.text}` }));
    }
    return kept.get(file);
  };
  let last: ts.Program | undefined;
  const resolutions = () => tsc.createModuleResolutionCache(host.getCurrentDirectory(), host.getCanonicalFileName, options);
  let resolved = resolutions();
  let leadsNowhere = false;
  host.getModuleResolutionCache = () => resolved;
  host.resolveModuleNameLiterals = (names, from, redirected, by, file) =>
    names.map((name) => {
      const mode = tsc.getModeForUsageLocation(file, name, by);
      const found = tsc.resolveModuleName(name.text, from, by, host, resolved, redirected, mode);
      const its = found.resolvedModule;
      if (!its) leadsNowhere = true;
      const mine = its && standIn(its.resolvedFileName, from);
      if (!its || mine === its.resolvedFileName) return found;
      const extension = /\.d\.ts$/.test(mine as string) ? tsc.Extension.Dts : tsc.Extension.Ts;
      return { ...found, resolvedModule: { ...its, resolvedFileName: mine as string, extension } };
    });
  let built: ts.SemanticDiagnosticsBuilderProgram | undefined;
  let lean = least && { ...least, ...forced };
  const complete = (): void => {
    lean = undefined;
    last = undefined;
    built = undefined;
    resolved = resolutions();
  };
  const wanted = (): ts.Program => {
    leadsNowhere = false;
    const program = tsc.createProgram([...files], lean ?? options, host, last);
    if (!lean || !(leadsNowhere || mentionsNode(program))) return program;
    complete();
    return tsc.createProgram([...files], options, host, program);
  };
  return {
    now: () => {
      const program = wanted();
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
        lean: lean !== undefined,
      };
    },
    complete,
    changed: (file) => {
      // where a file appears or goes, what imports mean is asked anew
      if (!kept.get(file) || !disk.fileExists(file)) {
        last = undefined;
        resolved = resolutions();
      }
      kept.delete(file);
    },
    again: (all) => {
      turn++;
      for (const f of all) kept.delete(f);
    },
    tooLarge,
    tooDeep,
    afresh: () => {
      kept.clear();
      last = undefined;
      built = undefined;
      resolved = resolutions();
    },
  };
};
