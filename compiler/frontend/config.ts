/**
 * By which options of TypeScript a file is checked: those of the nearest tsconfig.json above it, as editors do, and not of the first file's. Where
 * there is none, the file is strict and may use what Node and browsers have.
 *
 *   settingsOf(['/app/model.ts', '/app/web/page.ts'], disk)      one of /app/tsconfig.json, one of /app/web/tsconfig.json
 */
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import type ts from 'typescript';
import { withoutNode } from './ambient.ts';
import type { Disk } from './disk.ts';
import { tsc } from './typescript.ts';

/** Files that are checked together. */
export interface Setting {
  readonly files: readonly string[];
  readonly options: ts.CompilerOptions;
  /** The same without what files mostly do not need, if anything (ambient.ts). */
  readonly least: ts.CompilerOptions | undefined;
  /** Faults of the configuration itself. */
  readonly faults: readonly ts.Diagnostic[];
}

/** Where the types of packages are that Fovea itself is installed with. */
const ownTypes = (): string | undefined => {
  try {
    return dirname(dirname(createRequire(import.meta.url).resolve('@types/node/package.json')));
  } catch {
    return undefined;
  }
};

/** Of files without a project. The types of Node are those of the nearest folder that has any, else Fovea's own: a global command is far from both. */
const alone = (folder: string, files: readonly string[], disk: Disk): Setting => {
  const nearest = (at: string): string | undefined => {
    const types = join(at, 'node_modules/@types');
    if (disk.directoryExists(join(types, 'node'))) return types;
    return dirname(at) === at ? undefined : nearest(dirname(at));
  };
  const found = nearest(folder) ?? ownTypes();
  const node = found === undefined ? { types: [] } : { types: ['node'], typeRoots: [found] };
  const least: ts.CompilerOptions = {
    target: tsc.ScriptTarget.ES2023,
    lib: ['lib.es2023.d.ts'],
    module: tsc.ModuleKind.NodeNext,
    moduleResolution: tsc.ModuleResolutionKind.NodeNext,
    strict: true,
    allowImportingTsExtensions: true,
    types: [],
  };
  const lib = ['lib.es2023.d.ts', 'lib.dom.d.ts', 'lib.dom.iterable.d.ts'];
  return { files, least, options: { ...least, lib, ...node }, faults: [] };
};

const read = (config: string, files: readonly string[], disk: Disk): Setting => {
  const { config: json, error } = tsc.readConfigFile(config, disk.readFile);
  const host: ts.ParseConfigHost = { ...tsc.sys, fileExists: disk.fileExists, readFile: disk.readFile };
  // its list of files is of no interest: reading the folders would take longer than checking
  const { options, errors } = tsc.parseJsonConfigFileContent({ ...json, files: [...files], include: [] }, host, dirname(config));
  const least = withoutNode(options, disk, files[0] as string);
  return { files, options, least, faults: [...(error ? [error] : []), ...errors] };
};

export const settingsOf = (files: readonly string[], disk: Disk): readonly Setting[] => {
  const configured = new Map<string, string[]>();
  const loose = new Map<string, string[]>();
  for (const f of files) {
    const config = tsc.findConfigFile(dirname(f), disk.fileExists);
    const [groups, key] = config === undefined ? [loose, dirname(f)] : [configured, config];
    groups.set(key, [...(groups.get(key) ?? []), f]);
  }
  return [
    ...[...configured].map(([config, own]) => read(config, own, disk)),
    ...[...loose].map(([folder, own]) => alone(folder, own, disk)),
  ];
};
