/**
 * The functions of the driver library that the backend calls, by their exported names, each as one that throws where the driver says no. Handles and
 * addresses are bigints; an out-parameter is what a call returns.
 *
 *   const cu = bind(loadDriver());   cu.cuInit(0);   const stream = cu.cuStreamCreate(1);
 */

import { FoveaError } from '../../compiler/error.ts';
import { koffi } from '../native/koffi.ts';
import type { loadDriver } from './libraries.ts';

/** Parameters, and the type of what comes back through the first or last of them. */
const table = {
  cuInit: ['uint flags'],
  cuDriverGetVersion: ['@int'],
  cuDeviceGetCount: ['@int'],
  cuDeviceGet: ['@int', 'int ordinal'],
  cuDeviceGetName: ['void *name', 'int length', 'int device'],
  cuDeviceGetAttribute: ['@int', 'int attribute', 'int device'],
  cuDeviceTotalMem_v2: ['@size_t', 'int device'],
  cuDevicePrimaryCtxRetain: ['@uintptr_t', 'int device'],
  cuDevicePrimaryCtxRelease_v2: ['int device'],
  cuDevicePrimaryCtxReset_v2: ['int device'],
  cuCtxSetCurrent: ['uintptr_t context'],
  cuMemGetInfo_v2: ['void *free', 'void *total'],
  cuMemAlloc_v2: ['@uint64_t', 'size_t bytes'],
  cuMemFree_v2: ['uint64_t at'],
  cuMemAllocAsync: ['@uint64_t', 'size_t bytes', 'uintptr_t stream'],
  cuMemFreeAsync: ['uint64_t at', 'uintptr_t stream'],
  cuDeviceGetDefaultMemPool: ['@uintptr_t', 'int device'],
  cuMemPoolSetAttribute: ['uintptr_t pool', 'int attribute', 'void *value'],
  cuMemPoolGetAttribute: ['uintptr_t pool', 'int attribute', 'void *value'],
  cuMemPoolTrimTo: ['uintptr_t pool', 'size_t keep'],
  cuMemHostAlloc: ['@uintptr_t', 'size_t bytes', 'uint flags'],
  cuMemFreeHost: ['uintptr_t at'],
  cuMemcpyHtoDAsync_v2: ['uint64_t to', 'uintptr_t from', 'size_t bytes', 'uintptr_t stream'],
  cuMemcpyDtoHAsync_v2: ['uintptr_t to', 'uint64_t from', 'size_t bytes', 'uintptr_t stream'],
  cuMemsetD32Async: ['uint64_t to', 'uint value', 'size_t words', 'uintptr_t stream'],
  cuModuleLoadData: ['@uintptr_t', 'void *image'],
  cuModuleUnload: ['uintptr_t module'],
  cuModuleGetFunction: ['@uintptr_t', 'uintptr_t module', 'str name'],
  cuFuncSetAttribute: ['uintptr_t function', 'int attribute', 'int value'],
  cuLaunchKernel: [
    'uintptr_t function',
    ...['gx', 'gy', 'gz', 'bx', 'by', 'bz', 'shared'].map((n) => `uint ${n}`),
    'uintptr_t stream',
    'void *parameters',
    'uintptr_t extra',
  ],
  cuTensorMapEncodeTiled: [
    'uintptr_t tensor',
    'int type',
    'uint rank',
    'uint64_t at',
    ...['sizes', 'strides', 'box', 'steps'].map((n) => `void *${n}`),
    ...['interleave', 'swizzle', 'promotion', 'fill'].map((n) => `int ${n}`),
  ],
  cuStreamCreate: ['@uintptr_t', 'uint flags'],
  cuStreamDestroy_v2: ['uintptr_t stream'],
  cuStreamWaitEvent: ['uintptr_t stream', 'uintptr_t event', 'uint flags'],
  cuEventCreate: ['@uintptr_t', 'uint flags'],
  cuEventDestroy_v2: ['uintptr_t event'],
  cuEventRecord: ['uintptr_t event', 'uintptr_t stream'],
  cuEventQuery: ['uintptr_t event'],
  cuEventElapsedTime: ['@float', 'uintptr_t from', 'uintptr_t to'],
  cuStreamBeginCapture_v2: ['uintptr_t stream', 'int mode'],
  cuStreamEndCapture: ['uintptr_t stream', '@uintptr_t'],
  cuGraphInstantiateWithFlags: ['@uintptr_t', 'uintptr_t graph', 'uint64_t flags'],
  cuGraphLaunch: ['uintptr_t graph', 'uintptr_t stream'],
  cuGraphExecDestroy: ['uintptr_t graph'],
  cuGraphDestroy: ['uintptr_t graph'],
} as const satisfies Readonly<Record<string, readonly string[]>>;

export type DriverFunction = keyof typeof table;
type Argument = number | bigint | string | ArrayBufferView | null;
/** Throws FV0312, FV0313 or FV0202; returns the out-parameter, else 0. */
export type Driver = { readonly [F in DriverFunction]: (...args: readonly Argument[]) => bigint } & {
  /** As cuEventQuery, whose "not ready" is no error. */
  readonly done: (event: bigint) => boolean;
};

/** Codes of the driver after which nothing of a context can be used. */
const fatal: ReadonlySet<number> = new Set([214, 220, 700, 702, 710, 714, 715, 716, 717, 718, 719, 721]);
const notReady = 600;

const message = (raw: Readonly<Record<string, (...args: never[]) => number>>, code: number): string => {
  const said = (f: string): string => {
    const out: [string | null] = [null];
    (raw[f] as (code: number, out: [string | null]) => number)(code, out);
    return out[0] ?? '';
  };
  const [name, text] = [said('cuGetErrorName'), said('cuGetErrorString')];
  return `${name || `error ${code}`} (${code})${text ? `: ${text}` : ''}`;
};

const errorOf = (f: string, code: number, text: string): FoveaError => {
  if (code === 2)
    return new FoveaError('FV0202', `the GPU has no room: ${f}: ${text}`, {
      hint: 'Use a smaller batch, or checkpoint() the largest modules.',
    });
  if (fatal.has(code))
    return new FoveaError('FV0313', `a kernel failed on the GPU: ${text}`, {
      hint: 'What lay on the device is gone. Compile again on a new cuda(), with { check: true } or FOVEA_CUDA_CHECK=1, to be told which kernel it was.',
    });
  return new FoveaError('FV0312', `${f}: ${text}`, { hint: 'Another program may hold the GPU, or the driver is too old for it.' });
};

export const bind = (lib: ReturnType<typeof loadDriver>): Driver => {
  const raw: Record<string, (...args: never[]) => number> = {};
  for (const f of ['cuGetErrorName', 'cuGetErrorString']) raw[f] = lib.func(`int ${f}(int code, _Out_ str *text)`) as never;
  const functions = Object.entries(table).map(([name, parameters]) => {
    const text = parameters.map((p, i) => (p.startsWith('@') ? `_Out_ ${p.slice(1)} *out${i}` : p)).join(', ');
    const out = parameters.findIndex((p) => p.startsWith('@'));
    const call = lib.func(`int ${name}(${text || 'void'})`) as unknown as (...args: unknown[]) => number;
    raw[name] = call as never;
    const f = (...args: readonly Argument[]): bigint | number => {
      const slot: [number | bigint] = [0];
      const code = out < 0 ? call(...args) : call(...args.slice(0, out), slot, ...args.slice(out));
      if (code !== 0) throw errorOf(name, code, message(raw, code));
      return typeof slot[0] === 'bigint' || Number.isInteger(slot[0]) ? BigInt(slot[0]) : slot[0];
    };
    return [name, f] as const;
  });
  const done = (event: bigint): boolean => {
    const code = (raw['cuEventQuery'] as (e: bigint) => number)(event);
    if (code !== 0 && code !== notReady) throw errorOf('cuEventQuery', code, message(raw, code));
    return code === 0;
  };
  return { ...Object.fromEntries(functions), done } as unknown as Driver;
};

/** The address of memory that outlives the call. */
export const addressOf = (view: ArrayBufferView): bigint => BigInt(koffi.address(view));
/** Memory at an address, as JavaScript sees it. */
export const memoryAt = (address: bigint, bytes: number): ArrayBuffer => koffi.view(address, bytes);
