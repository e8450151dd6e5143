/**
 * The loader of a program that was exported for WebGPU, in a browser or, with the package `webgpu`, in Node. The kernels are WGSL that was
 * printed when the program was exported; nothing of the compiler is in it.
 *
 *   const step = await load();
 */
import { ofBrowser } from '../backends/webgpu/adapter.ts';
import type { Places } from '../backends/webgpu/bindings.ts';
import { openDevice } from '../backends/webgpu/device.ts';
import { load as loadPlan } from '../backends/webgpu/runtime.ts';
import { FoveaError } from '../compiler/error.ts';
import { caller, toHost } from '../program.ts';
import { type Loaded, loaded, openExport } from './document.ts';

/** wgsl.json: a text for each kernel and the places of its buffers. */
export interface Printed {
  readonly kernel: number;
  readonly places: Places;
  readonly text: string;
}
const keyOf = (kernel: number, places: Places): string => `${kernel} ${JSON.stringify(places)}`;

/** An instance is kept: Dawn's devices live as long as it does. */
let instance: Promise<GPU> | undefined;
/** Dawn, outside of the bundle. */
const ofNode = async (): Promise<GPU> => {
  try {
    const dawn = 'webgpu';
    const { create, globals } = await import(dawn);
    Object.assign(globalThis, globals);
    return create(['enable-dawn-features=disable_workgroup_init']);
  } catch (cause) {
    throw new FoveaError('FV0307', 'there is no WebGPU here', {
      hint: 'Take a browser that has it; in Node, install the package webgpu.',
      cause,
    });
  }
};

export { FoveaError, toHost };

/** FV0204, FV0205, FV0307; FV0202: no memory for the arena. */
export const load = async (): Promise<Loaded> => {
  const { manifest, document, plan, text } = await openExport(import.meta.url, 'webgpu');
  const printed = new Map((JSON.parse(await text('wgsl.json')) as readonly Printed[]).map((p) => [keyOf(p.kernel, p.places), p.text]));
  instance ??= Promise.resolve(ofBrowser() ?? ofNode());
  const opened = await openDevice(await instance);
  const limits = opened.device.limits as unknown as Readonly<Record<string, number>>;
  // an alignment must divide, everything else must reach
  const lacking = Object.entries(manifest.needs.limits ?? {}).find(([name, n]) =>
    /Alignment$/.test(name) ? n % (limits[name] as number) !== 0 : (limits[name] as number) < n,
  );
  if (lacking)
    throw new FoveaError('FV0205', `the program needs a device with ${lacking[0]} ${lacking[1]}, and this one has ${limits[lacking[0]]}`, {
      hint: 'Use a smaller batch, or export for this device.',
    });
  const textOf = (kernel: number, places: Places): string => {
    const found = printed.get(keyOf(kernel, places));
    if (found === undefined)
      throw new FoveaError('FV0205', 'the arena lies otherwise on this device than when the program was exported', {
        hint: 'Export the program for this device.',
      });
    return found;
  };
  const executable = await loadPlan(opened, plan, textOf);
  return loaded(caller({ executable, wide: false, ...document }));
};
