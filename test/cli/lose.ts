/**
 * Loaded in front of the command by lost.test.ts: the first device of the process is taken away while it runs, once there is a file at LOSE_WHEN. What is lost
 * is a real device.
 */
import { existsSync } from 'node:fs';
import { globals } from 'webgpu';

interface Adapters {
  readonly GPUAdapter: { readonly prototype: GPUAdapter };
}
const { prototype } = (globals as unknown as Adapters).GPUAdapter;
const request = prototype.requestDevice;
let first = true;
prototype.requestDevice = async function (this: GPUAdapter, ...asked: Parameters<typeof request>): Promise<GPUDevice> {
  const device = await request.apply(this, asked);
  if (first) {
    first = false;
    const timer = setInterval(() => {
      if (!existsSync(process.env['LOSE_WHEN'] as string)) return;
      clearInterval(timer);
      device.destroy();
    }, 20).unref();
  }
  return device;
};
