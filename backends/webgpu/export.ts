/** A plan's kernels as text for any device of WebGPU: planned for the limits that all of them have, printed for an arena that is one buffer. */
import type { Kernel } from '../../compiler/kernel/types.ts';
import type { Plan } from '../../compiler/plan/types.ts';
import type { Target } from '../../compiler/target.ts';
import { up16 } from './arena.ts';
import { commonLimits, webgpuTarget } from './backend.ts';
import type { Places } from './bindings.ts';
import { placesOf } from './dispatch.ts';
import { printWgsl } from './print.ts';

export interface WebGpuParts {
  readonly printed: readonly { readonly kernel: number; readonly places: Places; readonly text: string }[];
  /** What a device must have. */
  readonly limits: Readonly<Record<string, number>>;
}

export const webgpuParts = (): { readonly target: Target; readonly parts: (plan: Plan) => WebGpuParts } => ({
  target: webgpuTarget({ limits: commonLimits as GPUSupportedLimits }),
  parts: (plan) => ({
    printed: placesOf(plan).map(({ kernel, places }) => ({ kernel, places, text: printWgsl(plan.kernels[kernel] as Kernel, places) })),
    limits: {
      ...commonLimits,
      maxBufferSize: up16(plan.arenaBytes),
      maxStorageBufferBindingSize: Math.max(16, ...plan.lifetimes.map((l) => up16(l.slot.bytes))),
    },
  }),
});
