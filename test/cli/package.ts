/**
 * A project of a user's that has Fovea installed: the sources as JavaScript, where npm puts a package.
 *
 *   const { project, command } = installed(scratch());
 *   spawnSync(process.execPath, [command, 'gradcheck', 'losses.ts'], { cwd: project });
 */
import { cpSync, mkdirSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { compiled } from './compiled.ts';

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
  cpSync(compiled(), own, { recursive: true });
  const packages = join(own, 'node_modules');
  mkdirSync(packages);
  for (const name of readdirSync(join(root, 'node_modules')))
    if (!name.startsWith('.')) symlinkSync(join(root, 'node_modules', name), join(packages, name));
  mkdirSync(join(project, 'node_modules'), { recursive: true });
  writeFileSync(join(project, 'package.json'), '{ "type": "module" }');
  symlinkSync(own, join(project, 'node_modules/fovea'));
  return { project, command: join(project, 'node_modules/fovea/dist/cli/main.js'), packages };
};
