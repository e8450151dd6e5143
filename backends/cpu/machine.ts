/**
 * What this machine offers, read once: the vector width from the processor's flags, caches from the system where it says,
 * and rough peaks. The peaks are estimates (clock times two fused vector units a core; a stream of 10 GB/s a core): they
 * rank schedules and give rooflines a scale, they are not measurements.
 */
import { readFileSync } from 'node:fs';
import { availableParallelism, cpus } from 'node:os';
import { FoveaError } from '../../compiler/error.ts';
import type { Target } from '../../compiler/target.ts';

export interface Machine {
  readonly model: string;
  readonly flags: readonly string[];
  readonly vectorBytes: 16 | 32 | 64;
  readonly vectorRegisters: 16 | 32;
  readonly cacheBytes: { readonly l1: number; readonly l2: number };
  /** Of the cache that all cores share. */
  readonly lastCacheBytes: number;
}

const text = (path: string): string => {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
};

const cacheSize = (index: number, otherwise: number): number => {
  const m = /^(\d+)([KM]?)/.exec(text(`/sys/devices/system/cpu/cpu0/cache/index${index}/size`));
  return m ? Number(m[1]) * (m[2] === 'M' ? 1 << 20 : m[2] === 'K' ? 1 << 10 : 1) : otherwise;
};

/** Reads /proc/cpuinfo; elsewhere, and on ARM, 16-byte vectors. An emulated processor may see the file of the one below it. */
export const machine = (): Machine => {
  const info = text('/proc/cpuinfo');
  const field = (name: RegExp): string => name.exec(info)?.[1]?.trim() ?? '';
  const flags = field(process.arch === 'arm64' ? /^Features\s*:(.*)$/m : /^flags\s*:(.*)$/m)
    .split(/\s+/)
    .filter(Boolean);
  const has = (f: string): boolean => flags.includes(f);
  const vectorBytes = has('avx512f') ? 64 : has('avx2') && has('fma') ? 32 : 16;
  return {
    model: field(/^model name\s*:(.*)$/m) || cpus()[0]?.model || process.arch,
    flags,
    vectorBytes,
    vectorRegisters: vectorBytes === 64 || process.arch === 'arm64' ? 32 : 16,
    cacheBytes: { l1: cacheSize(0, 32 << 10), l2: cacheSize(2, 1 << 20) },
    lastCacheBytes: cacheSize(3, 32 << 20),
  };
};

/** What kernels are compiled for: the record that schedules read, and the compiler's flag for the same. */
export interface Architecture {
  /** The compiler's name for it. */
  readonly march: string;
  readonly vectorBytes: 16 | 32 | 64;
  readonly vectorRegisters: 16 | 32;
  readonly bf16Dot: boolean;
}

/** Levels that machines have in common, with the flags in /proc/cpuinfo of which each must be there to run it. NEON is in all of arm64. */
export const levels = {
  'armv8-a': { arch: 'arm64', vectorBytes: 16, vectorRegisters: 32, bf16Dot: false, needs: [] },
  'x86-64-v3': { arch: 'x64', vectorBytes: 32, vectorRegisters: 16, bf16Dot: false, needs: ['avx2', 'fma', 'f16c', 'bmi2', 'movbe'] },
  'x86-64-v4': {
    arch: 'x64',
    vectorBytes: 64,
    vectorRegisters: 32,
    bf16Dot: false,
    needs: ['avx2', 'fma', 'f16c', 'bmi2', 'movbe', 'avx512f', 'avx512bw', 'avx512cd', 'avx512dq', 'avx512vl'],
  },
} as const;
export type CpuTarget = 'native' | keyof typeof levels;

/**
 * `option`, else FOVEA_TARGET, else this machine. Throws FV0616 for a name that is none, and for a level whose instructions this machine
 * lacks: kernels run where they are compiled.
 */
export const architecture = (option?: CpuTarget): Architecture => {
  const name: string = option ?? (process.env['FOVEA_TARGET'] || 'native');
  const m = machine();
  if (name === 'native') return { march: 'native', ...m, bf16Dot: m.flags.includes('avx512_bf16') };
  const level = Object.hasOwn(levels, name) ? levels[name as keyof typeof levels] : undefined;
  if (!level)
    throw new FoveaError('FV0616', `unknown target '${name}'`, { hint: `Known targets: native, ${Object.keys(levels).join(', ')}.` });
  const { arch, needs, ...record } = level;
  const hint = 'Choose a level that it has, or native.';
  if (arch !== process.arch) throw new FoveaError('FV0616', `target ${name}: this is a ${process.arch} machine`, { hint });
  const missing = needs.filter((f) => !m.flags.includes(f));
  if (missing.length > 0) throw new FoveaError('FV0616', `target ${name}: this machine has no ${missing.join(', ')}`, { hint });
  return { march: name, ...record };
};

/** Instructions that a compiler may use because the flags say that the processor has them. */
const instructions =
  /^(sse|ssse3|pni|avx|fma|f16c|bmi|abm|popcnt|movbe|adx|aes|vaes|pclmulqdq|vpclmulqdq|sha_ni|gfni|amx|rdseed|rdrand|fsgsbase|asimd|sve|fp$|fphp|crc32|atomics|bf16|i8mm)/;
/** Flags that a processor must have to run what was compiled for an architecture: of this very machine, all that a compiler may use. */
export const instructionsOf = (a: Architecture): readonly string[] => {
  if (a.march === 'native') return machine().flags.filter((f) => instructions.test(f));
  return Object.hasOwn(levels, a.march) ? levels[a.march as keyof typeof levels].needs : [];
};

/** The capability record of this machine, or of a level that it has, with `threads` workers. */
export const cpuTarget = (threads: number, arch: Architecture = architecture()): Target => {
  const m = machine();
  // the highest clock: the present one differs from call to call, and the record is part of the names of plans
  const hertz = Number(text('/sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq')) * 1e3 || 2.5e9;
  return {
    name: 'cpu',
    workers: threads,
    maxThreads: 1,
    subgroup: 1,
    vectorBytes: arch.vectorBytes,
    registers: arch.vectorRegisters,
    bf16Dot: arch.bf16Dot,
    // arrays of a block are locals: a quarter of a pool thread's stack
    sharedBytes: 4 << 20,
    maxBuffers: 256,
    alignment: 64,
    cacheBytes: m.cacheBytes,
    nontemporalBytes: m.lastCacheBytes,
    peak: { flops: threads * hertz * (arch.vectorBytes / 4) * 2 * 2, bytes: threads * 10e9 },
  };
};

/** `option`, else FOVEA_THREADS, else the processors this process may use; at least 1, at most 256. */
export const threadCount = (option?: number): number => {
  const wanted = option ?? Number(process.env['FOVEA_THREADS'] || availableParallelism());
  return Number.isInteger(wanted) && wanted >= 1 ? Math.min(wanted, 256) : availableParallelism();
};
