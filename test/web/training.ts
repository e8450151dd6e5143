/**
 * A worker that trains, for faults.test.ts: x goes up its gradient, which is 1, so that x is the number of steps that were made. It keeps a copy of x on the
 * host now and then, and goes on from that on another device when its own is lost. faults.test.ts bundles it.
 */
import { compile, type DeviceTensor, type F32, FoveaError, grad, type HostTensor, spec, sum, toHost, webgpu } from '../../web.ts';

declare const postMessage: (message: Told) => void;

/** What the worker has to tell, more of it from message to message. */
export interface Told {
  readonly step: number;
  /** Milliseconds, of this worker. */
  readonly at: number;
  readonly devices: number;
  /** Code and hint of the program that is too large. */
  readonly refused: string;
  /** x after the last step. */
  readonly end?: readonly number[];
  readonly failed?: string;
}
const [steps, between, pause] = [150, 10, 20];
let told: Told = { step: 0, at: 0, devices: 0, refused: '' };
const tell = (more: Partial<Told>): void => {
  told = { ...told, ...more, at: performance.now() };
  postMessage(told);
};

const up = (x: F32<'4'>) => x.add(grad((y: F32<'4'>) => sum('i ->', y))(x));
let copy: { readonly step: number; readonly x: HostTensor } = { step: 0, x: { dtype: 'f32', shape: [4], data: new Float32Array(4) } };

const train = async (): Promise<void> => {
  const backend = await webgpu({ patience: 2 });
  tell({ devices: told.devices + 1 });
  const step = await compile(up, [spec('4')], { backend, donate: [0] });
  if (told.devices === 1) {
    const large = compile((x: F32<'268435456'>) => x.neg(), [spec('268435456')], { backend });
    await large.catch((e) => tell({ refused: e instanceof FoveaError ? `${e.code} ${e.hint}` : String(e) }));
  }
  let x: HostTensor | DeviceTensor<'4'> = copy.x;
  for (let n = copy.step; n < steps; ) {
    x = await step(x);
    if (++n % between === 0) copy = { step: n, x: await x.read() };
    tell({ step: n });
    await new Promise((resolve) => setTimeout(resolve, pause));
  }
  tell({ end: Array.from((await toHost(x)).data as Float32Array) });
};
const again = (e: unknown): Promise<void> | void => {
  if (e instanceof FoveaError && e.code === 'FV0308' && told.devices < 3) return train().catch(again);
  tell({ failed: String(e) });
};
train().catch(again);
