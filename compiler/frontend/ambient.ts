/**
 * Whether a program needs the types of Node. They are two thirds of all text that a check would read, and a model of tensors mentions none of them, so
 * a project whose tsconfig.json names them is read without them first, and a file without a project also without the browser's. It is read again with them if an import leads nowhere, if a file
 * declares something for all files, belongs to a package that may rely on them, or mentions a name below; and if TypeScript
 * finds fault with anything but a shape (check.ts), for what it misses may be theirs. They add declarations and take none away.
 */
import type ts from 'typescript';
import type { Disk } from './disk.ts';
import { isOfFovea } from './tensors.ts';
import { tsc } from './typescript.ts';

/** `options` without the types of Node; undefined where there is nothing to leave out, or what they name is not installed, which is a fault. */
export const withoutNode = (options: ts.CompilerOptions, disk: Disk, from: string): ts.CompilerOptions | undefined => {
  if (options.types?.length !== 1 || options.types[0] !== 'node') return undefined;
  const { resolvedTypeReferenceDirective: found } = tsc.resolveTypeReferenceDirective('node', from, options, disk);
  return found && { ...options, types: [] };
};

/** The names that people mention most, so that their files are not read twice; any other is found missing by TypeScript. */
const common = [
  ...['process', 'Buffer', 'NodeJS', 'console', 'require', 'performance', 'fetch', 'crypto', 'structuredClone', 'URL', 'TextEncoder'],
  ...['TextDecoder', 'setTimeout', 'setInterval', 'setImmediate', 'queueMicrotask', 'AbortController', 'globalThis', 'WebAssembly'],
];
const forAll = /\bimport\.meta\b|\bdeclare\s+(?:global|module)\b|^\s*\/\/\/\s*<reference/m;

/** Every name in a file; not in the declarations of TypeScript, whose version is fixed in package.json. */
type Inside = ts.SourceFile & { readonly identifiers?: ReadonlyMap<string, string> };

export const mentionsNode = (program: ts.Program): boolean => {
  const ofFovea = isOfFovea(program);
  return program.getSourceFiles().some((f) => {
    if (program.isSourceFileDefaultLibrary(f)) return false;
    const { identifiers } = f as Inside;
    if (ofFovea(f.fileName)) return identifiers?.has('Buffer') || identifiers?.has('NodeJS') || false;
    return (
      f.isDeclarationFile || !tsc.isExternalModule(f) || !identifiers || common.some((name) => identifiers.has(name)) || forAll.test(f.text)
    );
  });
};
