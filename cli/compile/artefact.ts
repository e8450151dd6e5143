/** The files of an exported program: what each backend has to say, and what is the same for all. */
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { extname, join } from 'node:path';
import { addonSource } from '../../backends/cpu/addon.ts';
import { type CpuTarget, cpu } from '../../backends/cpu/index.ts';
import { buildAddon } from '../../backends/cpu/toolchain.ts';
import { cudaExport } from '../../backends/cuda/export.ts';
import { webgpuParts } from '../../backends/webgpu/export.ts';
import { FoveaError } from '../../compiler/error.ts';
import { explain } from '../../compiler/explain/explain.ts';
import type { Declaration, Shapes } from '../../compiler/frontend/declare.ts';
import { bindDim } from '../../compiler/graph/dim.ts';
import type { TensorType, Value } from '../../compiler/graph/types.ts';
import { printPlan } from '../../compiler/plan/serialise.ts';
import { graphSizes } from '../../dsl/declared.ts';
import { isSpec } from '../../dsl/params.ts';
import { isLeaf, walk } from '../../dsl/tree.ts';
import { type Manifest, type ProgramDocument, version } from '../../export/document.ts';
import { type Plan, type Precision, type Target, trace } from '../../index.ts';
import { findPackageFile } from '../../models/data/package.ts';
import type { Leaf } from '../../program.ts';
import type { UserProgram } from '../program.ts';

export type Files = ReadonlyMap<string, string | Uint8Array>;

interface Parts {
  readonly files: Files;
  readonly needs: Manifest['needs'];
}
export interface ExportBackend {
  readonly name: Manifest['backend'];
  readonly target: Target;
  readonly parts: (plan: Plan) => Promise<Parts>;
  readonly options: string;
  /** What has to be installed where the program goes. */
  readonly packages?: Readonly<Record<string, string>>;
}

/** As this package asks for it. */
const koffiVersion = (): string =>
  (JSON.parse(readFileSync(findPackageFile('package.json'), 'utf8')) as { dependencies: { koffi: string } }).dependencies.koffi;

const cpuExport = (level: CpuTarget | undefined, threads: number | undefined): ExportBackend => {
  const backend = cpu({ ...(level ? { target: level } : {}), ...(threads ? { threads } : {}) });
  return {
    name: 'cpu',
    target: backend.target,
    options: '{ readonly threads?: number }',
    parts: async (plan) => {
      const { library, symbols, source, needs } = await backend.exported(plan);
      const folder = mkdtempSync(join(tmpdir(), 'fovea-export-'));
      try {
        await buildAddon(addonSource, join(folder, 'native.node'));
        const files = new Map<string, string | Uint8Array>([
          ['kernels.so', library],
          ['kernels.c', source],
          ['symbols.json', JSON.stringify(symbols)],
          ['native.node', readFileSync(join(folder, 'native.node'))],
        ]);
        return { files, needs: { platform: process.platform, arch: process.arch, flags: needs } };
      } finally {
        rmSync(folder, { recursive: true, force: true });
      }
    },
  };
};

const webgpuExport = (): ExportBackend => {
  const { target, parts } = webgpuParts();
  return {
    name: 'webgpu',
    target,
    options: 'Record<never, never>',
    parts: async (plan) => {
      const { printed, limits } = parts(plan);
      return { files: new Map([['wgsl.json', JSON.stringify(printed)]]), needs: { limits } };
    },
  };
};

const cudaBackend = async (architecture: string | undefined, emulate: boolean): Promise<ExportBackend> => {
  const { target, parts } = await cudaExport(architecture, emulate);
  return {
    name: 'cuda',
    target,
    options: '{ readonly device?: number }',
    packages: { koffi: koffiVersion() },
    parts: async (plan) => {
      const { kernels, images, source, architecture: made } = await parts(plan);
      const files = new Map<string, string | Uint8Array>([['kernels.json', JSON.stringify(kernels)], ['kernels.cu', source], ...images]);
      return { files, needs: { architecture: made, sharedBytes: Math.max(0, ...kernels.map((k) => k.sharedBytes)) } };
    },
  };
};

export interface ExportOptions {
  /** Of cpu: native or a level of processors; of cuda: an architecture. */
  readonly target?: string | undefined;
  readonly threads?: number | undefined;
  /** Of cuda: code for the emulator. */
  readonly emulate?: boolean | undefined;
}
export const exportBackends = ['cpu', 'webgpu', 'cuda'] as const;
/** FV0503, FV0616: no such target. FV0301, FV0310, FV0311: nothing to compile with, or for. */
export const exportBackend = async (
  name: (typeof exportBackends)[number],
  { target, threads, emulate = false }: ExportOptions = {},
): Promise<ExportBackend> => {
  if (emulate && name !== 'cuda')
    throw new FoveaError('FV0503', `--emulate: the ${name} backend has no emulator`, { hint: 'Add --backend cuda.' });
  if (target !== undefined && name === 'webgpu')
    throw new FoveaError('FV0503', `--target ${target}: WGSL is compiled by the device that runs it`, { hint: 'Leave --target out.' });
  if (threads !== undefined && name !== 'cpu')
    throw new FoveaError('FV0503', `--threads ${threads}: the ${name} backend has no threads of the processor`, {
      hint: 'Leave --threads out, or add --backend cpu.',
    });
  return {
    cpu: async () => cpuExport(target as CpuTarget | undefined, threads),
    webgpu: async () => webgpuExport(),
    cuda: () => cudaBackend(target, emulate),
  }[name]();
};

/** The loader, bundled from where this file lies: sources or what they were built to. */
const bundle = async (name: Manifest['backend']): Promise<string> => {
  const { build } = await import('esbuild');
  const entry = join(import.meta.dirname, `../../export/${name}${extname(import.meta.filename)}`);
  const { outputFiles } = await build({
    entryPoints: [entry],
    bundle: true,
    write: false,
    format: 'esm',
    target: 'es2022',
    platform: name === 'webgpu' ? 'browser' : 'node',
    external: ['node:*', 'webgpu', 'koffi'],
    minifySyntax: true,
    minifyWhitespace: true,
    legalComments: 'none',
    logLevel: 'silent',
  });
  return outputFiles[0]?.text ?? '';
};

/** The trees of the arguments as they stand in program.json: sizes are numbers. */
const documentOf = ({ declared, traced, graph, inputs, outputs, dims }: UserProgram): ProgramDocument => {
  const sizes = new Map(Object.entries(graphSizes(dims)));
  const typed = (leaves: readonly Leaf[], values: readonly Value[]): Leaf[] =>
    leaves.map((l, i) => ({ ...l, type: (values[i] as Value).type }));
  const plain = walk((_, leaf) => (isSpec(leaf) ? { ...leaf, dims: leaf.dims.map((d) => bindDim(d, sizes)) } : leaf), '', declared.args);
  return {
    specs: plain as readonly unknown[],
    inputs: typed(inputs, graph.params),
    outputs: typed(outputs, graph.results),
    output: traced.output,
  };
};

const shapesOf = (tree: unknown, leaf: (x: unknown) => Shapes): Shapes => {
  if (isLeaf(tree)) return leaf(tree);
  if (Array.isArray(tree)) return { tree: tree.map((t) => shapesOf(t, leaf)) };
  return { tree: Object.fromEntries(Object.entries(tree as object).map(([k, t]) => [k, shapesOf(t, leaf)])) };
};
const typeShape = ({ shape, dtype }: TensorType): Shapes => ({ shape: shape.map(String).join(' '), dtype });

/** Shapes of the results in names, where the function can be traced over names; in numbers otherwise. */
const resultShapes = ({ declared, traced, graph }: UserProgram): Shapes => {
  const types = graph.results.map((v) => v.type);
  try {
    const named = trace(declared.run as (...xs: unknown[]) => unknown, declared.args as unknown[]);
    if (named.outputs.length === types.length) return shapesOf(traced.output, (i) => typeShape(named.outputs[i as number] as TensorType));
  } catch {
    // it needs the numbers
  }
  return shapesOf(traced.output, (i) => typeShape(types[i as number] as TensorType));
};

const declarationOf = async (program: UserProgram, options: string): Promise<string> => {
  const { declarations, parameterNames } = await import('../../compiler/frontend/declare.ts');
  const { declared: d } = program;
  const names = parameterNames(String(d.module?.body ?? d.run));
  const sizes = Object.entries(program.dims).map(([n, v]) => `${n} = ${v}`);
  // of a pattern, and not what another argument is called
  const unnamed = (i: number): string => {
    let name = `arg${i}`;
    while (names.includes(name)) name = `_${name}`;
    return name;
  };
  const declaration: Declaration = {
    about: `${program.shown}#${program.name}${sizes.length > 0 ? `, with ${sizes.join(', ')}` : ''}. Written by fovea compile.`,
    args: d.args.map((a, i) => ({
      name: names.length === d.args.length ? (names[i] ?? unnamed(i)) : unnamed(i),
      shapes: shapesOf(a, (x) => (isSpec(x) ? { shape: x.shape, dtype: x.dtype } : { fixed: x })),
    })),
    result: resultShapes(program),
    options,
  };
  return declarations(declaration);
};

/** Every file of the exported program, by name. */
export const artefact = async (program: UserProgram, backend: ExportBackend, precision: Precision, fovea: string): Promise<Files> => {
  const { plan } = explain(program.graph, { target: backend.target, donated: program.donated, precision });
  const { files, needs } = await backend.parts(plan);
  const bare: Plan = { ...plan, kernels: plan.kernels.map((k) => ({ ...k, body: [] })), lifetimes: [], chosen: [] };
  const all = new Map<string, string | Uint8Array>([
    ['program.json', JSON.stringify(documentOf(program))],
    ['plan.txt', printPlan({ plan: bare, key: '', nodes: 0 })],
    ...files,
    ['index.js', await bundle(backend.name)],
    ['index.d.ts', await declarationOf(program, backend.options)],
    [
      'package.json',
      `${JSON.stringify({ type: 'module', main: 'index.js', types: 'index.d.ts', private: true, ...(backend.packages ? { dependencies: backend.packages } : {}) })}\n`,
    ],
  ]);
  const manifest: Manifest = {
    fovea,
    version,
    name: program.name,
    backend: backend.name,
    files: Object.fromEntries([...all].map(([name, data]) => [name, createHash('sha256').update(data).digest('hex')])),
    needs,
  };
  return new Map<string, string | Uint8Array>([['manifest.json', `${JSON.stringify(manifest, null, 2)}\n`], ...all]);
};
