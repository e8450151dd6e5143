/**
 * A device of the driver: what it can do, as the record that schedules read, and its context. Contexts are the driver's "primary" ones, which
 * all libraries of a process share: a kernel that fails takes all that lies there. Nothing of a lost context is called any more, but by who
 * opens the device anew, for whom it is reset.
 */
import { FoveaError } from '../../compiler/error.ts';
import type { Target } from '../../compiler/target.ts';
import { bind, type Driver } from './driver.ts';
import { lanesOf, matrixOf, wgmmaOf } from './gpus.ts';
import type { loadDriver } from './libraries.ts';

export interface Device {
  readonly cu: Driver;
  readonly ordinal: number;
  readonly context: bigint;
  readonly name: string;
  /** 90 = compute capability 9.0. */
  readonly capability: number;
  readonly target: Target;
  /** Memory comes from a pool of the driver, which keeps what is given back. */
  readonly pooled: boolean;
  /** Bytes that are free now for this process, what its pool keeps among them, and all. */
  memory(): { readonly free: number; readonly total: number };
  /** Gives back what the pool keeps and no program has. */
  trim(): void;
  /** What to throw: a kernel failed on it (FV0313), in this program or another one of the process, in the words of the first who noticed. */
  lost(): FoveaError | undefined;
  /** Throws the error again. After an FV0313 the device is lost. */
  lose(e: unknown): never;
}

/** A time between two resets of a context. */
interface Life {
  lost: FoveaError | undefined;
}
/** Of each context that this process has. */
const lives = new Map<bigint, Life>();

/** Numbers of CUdevice_attribute. */
const attribute = {
  maxThreads: 1,
  clock: 13,
  processors: 16,
  memoryClock: 36,
  busWidth: 37,
  l2: 38,
  major: 75,
  minor: 76,
  sharedOptin: 97,
  pools: 115,
};
/** Numbers of CUmemPool_attribute. */
const poolAttribute = { threshold: 4, reserved: 5, used: 7 };
/** cp.async, ldmatrix and mma of bf16 are there from 8.0 on. */
const oldest = 80;
/** Drivers of CUDA 12: graphs, pools and functions by the names that are called here. */
const oldestDriver = 12000;

const words = (e: unknown): string => (e instanceof Error ? e.message.replace(/^FV\d+: /, '') : String(e));
const versionText = (v: bigint): string => `${v / 1000n}.${(v % 1000n) / 10n}`;

/** FV0311: no GPU, an old driver, a GPU that is too old, or one that is taken. FV0313: a kernel failed on it, and the driver does not reset it. */
export const openDevice = (lib: ReturnType<typeof loadDriver>, ordinal: number): Device => {
  const cu = bind(lib);
  const refused = (message: string, hint: string, cause?: unknown): never => {
    throw new FoveaError('FV0311', message, { hint, cause });
  };
  try {
    cu.cuInit(0);
  } catch (e) {
    refused(`the driver finds no GPU: ${words(e)}`, 'See whether nvidia-smi lists one.', e);
  }
  const version = cu.cuDriverGetVersion();
  if (version < oldestDriver)
    refused(
      `the NVIDIA driver is of CUDA ${versionText(version)}, and kernels need one of ${versionText(BigInt(oldestDriver))}`,
      'Install a newer driver.',
    );
  const count = Number(cu.cuDeviceGetCount());
  if (!(ordinal >= 0 && ordinal < count))
    refused(`there is no GPU ${ordinal}: the driver has ${count}`, 'GPUs count from 0; CUDA_VISIBLE_DEVICES may hide some.');
  const device = Number(cu.cuDeviceGet(ordinal));
  const label = Buffer.alloc(128);
  cu.cuDeviceGetName(label, label.length, device);
  const name = label.toString('utf8').replace(/\0.*$/s, '');
  const get = (a: number): number => Number(cu.cuDeviceGetAttribute(a, device));
  const capability = 10 * get(attribute.major) + get(attribute.minor);
  if (capability < oldest)
    refused(
      `GPU ${ordinal} (${name}) has compute capability ${(capability / 10).toFixed(1)}, and kernels need ${oldest / 10}.0`,
      'Ampere and newer have it; or use the webgpu backend.',
    );
  const retained = (): bigint => {
    const context = cu.cuDevicePrimaryCtxRetain(device);
    cu.cuCtxSetCurrent(context);
    return context;
  };
  let context: bigint;
  let before: FoveaError | undefined;
  try {
    context = retained();
    before = lives.get(context)?.lost;
    if (before) {
      cu.cuDevicePrimaryCtxReset_v2(device);
      context = retained();
    }
  } catch (e) {
    if (before || (e instanceof FoveaError && e.code === 'FV0313'))
      throw new FoveaError('FV0313', `GPU ${ordinal} (${name}) cannot be used again in this process: ${words(before ?? e)}`, {
        hint: 'Start the program anew: what the driver keeps of a process whose kernel failed ends with it.',
        cause: e,
      });
    return refused(`GPU ${ordinal} (${name}) is taken: ${words(e)}`, 'Another process has it for itself (nvidia-smi shows which).', e);
  }
  const life: Life = (!before && lives.get(context)) || { lost: undefined };
  lives.set(context, life);
  const processors = get(attribute.processors);
  const pooled = get(attribute.pools) === 1;
  const pool = pooled ? cu.cuDeviceGetDefaultMemPool(device) : undefined;
  if (pool !== undefined) cu.cuMemPoolSetAttribute(pool, poolAttribute.threshold, BigUint64Array.of(2n ** 64n - 1n));
  const inPool = (a: number): number => {
    const bytes = new BigUint64Array(1);
    if (pool !== undefined) cu.cuMemPoolGetAttribute(pool, a, bytes);
    return Number(bytes[0]);
  };
  // kHz; a product and a sum a lane each cycle
  const flops = processors * lanesOf(capability) * 2 * get(attribute.clock) * 1e3;
  const bytes = (get(attribute.memoryClock) * 1e3 * 2 * get(attribute.busWidth)) / 8 || 1e12;
  return {
    cu,
    ordinal: device,
    context,
    name,
    capability,
    pooled,
    memory: () => {
      const [free, total] = [new BigUint64Array(1), new BigUint64Array(1)];
      cu.cuMemGetInfo_v2(free, total);
      const kept = inPool(poolAttribute.reserved) - inPool(poolAttribute.used);
      return { free: Number(free[0]) + kept, total: Number(total[0]) };
    },
    trim: () => {
      if (pool !== undefined) cu.cuMemPoolTrimTo(pool, 0);
    },
    lost: () => life.lost,
    lose: (e) => {
      if (e instanceof FoveaError && e.code === 'FV0313') life.lost ??= e;
      throw e;
    },
    target: {
      name: 'cuda',
      workers: processors,
      maxThreads: get(attribute.maxThreads),
      subgroup: 32,
      vectorBytes: 16,
      registers: 255,
      bf16Dot: false,
      matrix: matrixOf(capability),
      ...wgmmaOf(capability),
      sharedBytes: get(attribute.sharedOptin),
      maxBuffers: 64,
      alignment: 256,
      cacheBytes: { l1: 128 << 10, l2: get(attribute.l2) },
      peak: { flops, bytes },
    },
  };
};
