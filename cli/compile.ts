/**
 * `fovea compile FILE#export --out DIR`: a program that runs with no compiler and no TypeScript where it goes: kernels, plan, a loader with
 * types, a manifest with hashes.
 *
 *   fovea compile examples/vit.ts#step --out step          import { load } from './step/index.js'; in Node, with no package
 *   fovea compile model.ts#step --backend webgpu --out web        the same in a page; the folder is served as it is
 *   fovea compile model.ts#step --target x86-64-v3 --out step     for any processor with AVX2
 *   fovea compile model.ts#step --backend cuda --target sm_80 --out gpu    for GPUs like the A100, on a machine that has NVRTC
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { type Command, Option } from 'commander';
import { FoveaError } from '../compiler/error.ts';
import type { Manifest } from '../export/document.ts';
import { findPackageFile } from '../models/data/package.ts';
import { cannotWrite } from '../models/weights/index.ts';
import { number } from './bench/print.ts';
import { artefact, exportBackend, exportBackends } from './compile/artefact.ts';
import { startOf } from './compile/start.ts';
import { warnOfImpure } from './impure.ts';
import { emulateOption, path, whole } from './options.ts';
import { type ProgramOptions, programCommand, userProgram } from './program.ts';

interface CompileOptions extends ProgramOptions {
  readonly backend: (typeof exportBackends)[number];
  readonly out: string;
  readonly target?: string;
  readonly threads?: number;
  readonly emulate?: boolean;
}

export const compileCommand = (): Command =>
  programCommand('compile', 'compile a function ahead of time, to a folder that runs without Fovea')
    .requiredOption('--out <dir>', 'the folder to write', path('--out'))
    .addOption(new Option('--backend <name>', 'what it runs on').choices(exportBackends).default('cpu'))
    .option(
      '--target <level>',
      'of cpu: native, or a level that machines share, as x86-64-v3; of cuda: sm_80 or sm_90a, where there is no GPU',
    )
    .option('--threads <n>', 'of cpu: threads that schedules are made for', whole('--threads', 1))
    .addOption(emulateOption())
    .action(runCompile);

const kib = (n: number): string => `${number(n / 1024)} KiB`;

/** The files of a program that was exported to a folder; undefined where its manifest, a web page's for example, is not one of ours. */
const exported = (folder: string): readonly string[] | undefined => {
  try {
    const { fovea, files } = JSON.parse(readFileSync(join(folder, 'manifest.json'), 'utf8')) as Partial<Manifest>;
    return fovea !== undefined && files !== undefined ? Object.keys(files).filter((f) => basename(f) === f) : undefined;
  } catch {
    return undefined;
  }
};

/** The files of an earlier program there. FV0407: files of somebody else, which would be lost or lie between the program's. */
const ownFolder = (folder: string, out: string): readonly string[] => {
  if (!existsSync(folder) || !statSync(folder).isDirectory()) return [];
  const there = readdirSync(folder);
  const before = exported(folder);
  if (there.length === 0 || before) return before ?? [];
  throw new FoveaError('FV0407', `--out ${out}: other files are there, ${there.slice(0, 3).join(', ')}${there.length > 3 ? ', ...' : ''}`, {
    hint: 'Give an empty folder, a new one, or one that holds an exported program.',
  });
};

async function runCompile(
  target: string,
  { backend: name, out, dims, precision, target: level, threads, emulate }: CompileOptions,
): Promise<void> {
  const folder = resolve(out);
  const before = ownFolder(folder, out);
  const program = await userProgram(target, { dims });
  await warnOfImpure(program);
  const { version } = JSON.parse(readFileSync(findPackageFile('package.json'), 'utf8')) as { version: string };
  const files = await artefact(program, await exportBackend(name, { target: level, threads, emulate }), precision, version);
  try {
    mkdirSync(folder, { recursive: true });
    for (const file of before) if (!files.has(file)) rmSync(join(folder, file), { force: true });
    for (const [file, data] of files) writeFileSync(join(folder, file), data);
  } catch (e) {
    throw cannotWrite(folder, e);
  }
  const sizes = [...files].map(([file, data]) => [file, typeof data === 'string' ? Buffer.byteLength(data) : data.length] as const);
  const total = sizes.reduce((n, [, size]) => n + size, 0);
  console.log(`${program.shown}#${program.name} for ${name}: ${sizes.length} files, ${kib(total)}, in ${out}`);
  for (const [file, size] of sizes) console.log(`  ${file.padEnd(14)} ${kib(size)}`);
  const start = name === 'cpu' ? startOf(folder) : undefined;
  if (start)
    console.log(
      `from the start of Node to the end of the first step ${start.done.toFixed(0)} ms: Node ${start.node.toFixed(0)}, loading ${(start.loaded - start.node).toFixed(0)}, the step ${(start.done - start.loaded).toFixed(0)}`,
    );
}
