/**
 * The sources as JavaScript, as `npm run build` makes them (without the type check): what users run, and what starts three times as
 * fast as the sources do. Made once for each state of the sources, in a folder from which Node finds this checkout's packages.
 */
import { createHash } from 'node:crypto';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import ts from 'typescript';
import { sources } from '../../docs/house.ts';

const root = join(import.meta.dirname, '../..');
const kept = join(root, 'node_modules/.cache/fovea-compiled');

const compile = (to: string, texts: readonly (readonly [file: string, text: string])[]): void => {
  for (const [file, text] of texts.filter(([f]) => f.endsWith('.ts'))) {
    const { outputText, sourceMapText = '' } = ts.transpileModule(text, {
      fileName: join(root, file),
      compilerOptions: {
        target: ts.ScriptTarget.ES2023,
        module: ts.ModuleKind.ESNext,
        verbatimModuleSyntax: true,
        rewriteRelativeImportExtensions: true,
        sourceMap: true,
        sourceRoot: '',
      },
    });
    const js = join(to, 'dist', file.replace(/\.ts$/, '.js'));
    mkdirSync(dirname(js), { recursive: true });
    writeFileSync(js, outputText);
    writeFileSync(`${js}.map`, sourceMapText);
  }
  copyFileSync(join(root, 'package.json'), join(to, 'package.json'));
};

/** A folder with package.json and dist/ of the sources as they are now. */
export const compiled = (): string => {
  const texts = [...sources(root), 'package.json'].map((file) => [file, readFileSync(join(root, file), 'utf8')] as const);
  const folder = join(kept, createHash('sha256').update(JSON.stringify(texts)).digest('hex').slice(0, 16));
  if (existsSync(folder)) return folder;
  mkdirSync(kept, { recursive: true });
  const made = mkdtempSync(join(kept, 'new-'));
  compile(made, texts);
  try {
    renameSync(made, folder);
  } catch (e) {
    // another worker was quicker: what it made is the same
    rmSync(made, { recursive: true });
    if (!existsSync(folder)) throw e;
  }
  // states of the sources that nobody tests any more
  for (const name of readdirSync(kept)) {
    const old = join(kept, name);
    if (Date.now() - statSync(old).mtimeMs > 24 * 3600 * 1000) rmSync(old, { recursive: true, force: true });
  }
  return folder;
};
