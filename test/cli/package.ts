/**
 * A project of a user's that has Fovea installed: the sources as JavaScript, as `npm run build` makes them (without the type check), where
 * npm puts a package.
 *
 *   const { project, command } = installed(scratch());
 *   spawnSync(process.execPath, [command, 'gradcheck', 'losses.ts'], { cwd: project });
 */
import { copyFileSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import ts from 'typescript';
import { sources } from '../../docs/house.ts';

const root = join(import.meta.dirname, '../..');

export interface Installed {
  readonly project: string;
  /** The `fovea` of the project. */
  readonly command: string;
  /** Packages that Fovea finds, as links: one that is removed is not installed. */
  readonly packages: string;
}

export const installed = (dir: string): Installed => {
  const [own, project] = [join(dir, 'fovea'), join(dir, 'project')];
  for (const file of sources(root)) {
    const { outputText } = ts.transpileModule(readFileSync(join(root, file), 'utf8'), {
      fileName: file,
      compilerOptions: {
        target: ts.ScriptTarget.ES2023,
        module: ts.ModuleKind.ESNext,
        verbatimModuleSyntax: true,
        rewriteRelativeImportExtensions: true,
      },
    });
    const to = join(own, 'dist', file.replace(/\.ts$/, '.js'));
    mkdirSync(dirname(to), { recursive: true });
    writeFileSync(to, outputText);
  }
  copyFileSync(join(root, 'package.json'), join(own, 'package.json'));
  const packages = join(own, 'node_modules');
  mkdirSync(packages);
  for (const name of readdirSync(join(root, 'node_modules')))
    if (!name.startsWith('.')) symlinkSync(join(root, 'node_modules', name), join(packages, name));
  mkdirSync(join(project, 'node_modules'), { recursive: true });
  writeFileSync(join(project, 'package.json'), '{ "type": "module" }');
  symlinkSync(own, join(project, 'node_modules/fovea'));
  return { project, command: join(project, 'node_modules/fovea/dist/cli/main.js'), packages };
};
