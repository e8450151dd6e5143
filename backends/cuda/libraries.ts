/**
 * Where the driver library, NVRTC and NCCL are looked for: what the environment names, what the system's loader finds, then the usual folders. The
 * driver comes with the driver; NVRTC with the CUDA toolkit, or with Python's package nvidia-cuda-nvrtc, of which PyTorch brings one, as it does of NCCL.
 *
 *   FOVEA_CUDA_DRIVER=/opt/lib/libcuda.so.1 FOVEA_NVRTC=/opt/cuda/lib64/libnvrtc.so.12 fovea demo --backend cuda
 */
import { readdirSync } from 'node:fs';
import { homedir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { FoveaError } from '../../compiler/error.ts';
import { koffi } from '../native/koffi.ts';

type Loaded = ReturnType<typeof koffi.load>;

const list = (folder: string): readonly string[] => {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
};
/** Paths that match, where * is any name: /usr/local/cuda-*\/lib64. */
const expand = (pattern: string): readonly string[] =>
  pattern
    .split('/')
    .slice(1)
    .reduce<readonly string[]>(
      (found, part) =>
        part.includes('*')
          ? found.flatMap((f) => {
              const [before = '', after = ''] = part.split('*');
              return list(f || '/')
                .filter((n) => n.startsWith(before) && n.endsWith(after))
                .map((n) => `${f}/${n}`);
            })
          : found.map((f) => `${f}/${part}`),
      [''],
    );

const windows = process.platform === 'win32';
const driverFolders = [
  '/usr/lib/x86_64-linux-gnu',
  '/usr/lib/aarch64-linux-gnu',
  '/usr/lib64',
  '/usr/lib/wsl/lib',
  '/usr/local/nvidia/lib64',
];
const python = ['cu*/lib', 'cuda_nvrtc/lib', 'nccl/lib'].flatMap((end) =>
  [
    '/usr/local/lib/python3*',
    '/usr/lib/python3',
    '/opt/conda/lib/python3*',
    `${homedir()}/.local/lib/python3*`,
    `${process.env['VIRTUAL_ENV'] ?? '/venv'}/lib/python3*`,
  ].flatMap((root) => ['site-packages', 'dist-packages'].map((p) => `${root}/${p}/nvidia/${end}`)),
);
const toolkitFolders = [
  '/usr/local/cuda/lib64',
  '/usr/local/cuda-*/lib64',
  '/usr/local/cuda/targets/*/lib',
  '/opt/cuda/lib64',
  ...driverFolders,
  ...python,
];

interface Wanted {
  readonly what: string;
  readonly variable: string;
  readonly names: readonly string[];
  readonly folders: readonly string[];
  /** How a file of it is named. */
  readonly file: RegExp;
  /** What to do where there is none. */
  readonly install: string;
}
const driver: Wanted = {
  what: "NVIDIA's driver library",
  variable: 'FOVEA_CUDA_DRIVER',
  names: windows ? ['nvcuda.dll'] : ['libcuda.so.1', 'libcuda.so'],
  folders: driverFolders,
  file: /^libcuda\.so(\.1)?$/,
  install: 'install the NVIDIA driver',
};
const nvrtc: Wanted = {
  what: 'NVRTC',
  variable: 'FOVEA_NVRTC',
  names: windows ? ['nvrtc64_130_0.dll', 'nvrtc64_120_0.dll'] : ['libnvrtc.so.13', 'libnvrtc.so.12', 'libnvrtc.so'],
  folders: toolkitFolders,
  file: /^libnvrtc\.so(\.1[23])?$/,
  install: "install the CUDA toolkit 12 or newer, or Python's package nvidia-cuda-nvrtc-cu12",
};
const nccl: Wanted = {
  what: 'NCCL',
  variable: 'FOVEA_NCCL',
  names: ['libnccl.so.2', 'libnccl.so'],
  folders: toolkitFolders,
  file: /^libnccl\.so(\.2)?$/,
  install: "install the package libnccl2, or Python's package nvidia-nccl-cu12",
};

const load = ({ what, variable, names, folders, file, install }: Wanted): Loaded => {
  const named = process.env[variable]?.trim();
  const places = folders.flatMap(expand);
  const candidates = named
    ? [named]
    : [
        ...names,
        ...places.flatMap((f) =>
          list(f)
            .filter((n) => file.test(n))
            .map((n) => join(f, n)),
        ),
      ];
  const failed: string[] = [];
  for (const path of candidates) {
    try {
      // NVRTC opens its library of built-in functions by its bare name: it has to be there already
      if (path.includes('/'))
        for (const f of list(dirname(path))) if (/^libnvrtc-builtins\.so/.test(f)) koffi.load(join(dirname(path), f), { global: true });
      // one that is named may be the emulator, whose kernels find its functions among those of the process
      return koffi.load(path, { global: named !== undefined });
    } catch (e) {
      failed.push(`${basename(path)}: ${e instanceof Error ? e.message : String(e)}`);
    }
  }
  throw new FoveaError(
    'FV0310',
    named ? `${variable} is ${named}, which does not load: ${failed[0]}` : `${what} is not found: ${install}`,
    {
      hint: `Looked for ${names.join(', ')} where the system looks, and in ${folders.join(', ')}. ${variable} names another file.`,
    },
  );
};

/** FV0310. The emulator is both, and its kernels find its functions among those of the process. */
const emulator = (path: string): Loaded => koffi.load(path, { global: true });
export const loadDriver = (emulated?: string): Loaded =>
  emulated === undefined ? load({ ...driver, install: `${driver.install}, or try without a GPU (--emulate)` }) : emulator(emulated);
/** FV0310. Of a program that was exported: there is no emulator beside it. */
export const loadDriverAlone = (): Loaded => load(driver);
export const loadNvrtc = (emulated?: string): Loaded => (emulated === undefined ? load(nvrtc) : emulator(emulated));
/** FV0310. */
export const loadNccl = (): Loaded => load(nccl);
