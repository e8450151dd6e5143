/**
 * What a program is explained for. A device that is here is asked what it can; where there is none, kernels can be planned and printed all the
 * same, for the processor itself, for the limits that every device of WebGPU has, or for a GPU like the A100.
 */
import { cpu } from '../../backends/cpu/index.ts';
import { gpus } from '../../backends/cuda/gpus.ts';
import { cudaText } from '../../backends/cuda/index.ts';
import { webgpuParts } from '../../backends/webgpu/export.ts';
import { printWgsl } from '../../backends/webgpu/index.ts';
import { FoveaError } from '../../compiler/error.ts';
import type { Backend } from '../../index.ts';
import { backendOf } from '../backends.ts';

export type PlanBackend = Extract<Backend, { kind: 'plan' }>;

/** As much of a backend as its kernels can be looked at with. */
export type Shown = Pick<PlanBackend, 'name' | 'target' | 'source'> & {
  /** What stands in for the device, where there is none. */
  readonly instead?: string;
};

/** FV0503: a backend that interprets the graph makes no kernels to look at. FV0301, FV0307, FV0310, FV0311: it is not there. */
export const planBackend = async (name: string, emulate: boolean): Promise<PlanBackend & Shown> => {
  const backend = await backendOf(name, { emulate });
  if (backend.kind === 'plan') return name === 'cuda' ? { ...backend, source: cudaText } : backend;
  throw new FoveaError('FV0503', `--backend ${name}: it interprets the graph and makes no kernels`, { hint: 'Take --backend cpu.' });
};

const paper: Readonly<Record<string, () => Shown>> = {
  cpu: () => cpu(),
  webgpu: () => ({ name: 'webgpu', target: webgpuParts().target, source: (k) => printWgsl(k), instead: 'any device of WebGPU' }),
  cuda: () => ({ name: 'cuda', target: gpus.sm_80, source: cudaText, instead: 'sm_80' }),
};
const missing: ReadonlySet<string> = new Set(['FV0301', 'FV0307', 'FV0310', 'FV0311']);

/** The backend that is here, or as much as can be said without. */
export const shownBackend = async (name: string, emulate: boolean): Promise<Shown> => {
  try {
    return await planBackend(name, emulate);
  } catch (e) {
    const make = paper[name];
    if (!make || emulate || !(e instanceof FoveaError && missing.has(e.code))) throw e;
    return make();
  }
};
