/**
 * How long each launch of a step takes: by the device's own clock, a pass of its own for each launch, where it has one (`timestamp-query`), otherwise
 * by waiting for one launch after another, which adds the way there and back.
 */
import { alone, dispatchAll, type Ready } from './dispatch.ts';
import type { Life } from './life.ts';

/** Queries of a set at most. */
const most = 4096;

const byClock = async (device: GPUDevice, launches: readonly Ready[]): Promise<Float64Array> => {
  const count = 2 * launches.length;
  const sets = Array.from({ length: Math.ceil(count / most) }, (_, n) =>
    device.createQuerySet({ type: 'timestamp', count: Math.min(most, count - n * most) }),
  );
  const [resolved, mapped] = [
    GPUBufferUsage.QUERY_RESOLVE | GPUBufferUsage.COPY_SRC,
    GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST,
  ].map((usage) => device.createBuffer({ size: Math.max(8, 8 * count), usage })) as [GPUBuffer, GPUBuffer];
  try {
    const encoder = device.createCommandEncoder();
    launches.forEach(({ label, dispatches }, i) => {
      const at = (2 * i) % most;
      const querySet = sets[Math.floor((2 * i) / most)] as GPUQuerySet;
      const pass = encoder.beginComputePass({
        label,
        timestampWrites: { querySet, beginningOfPassWriteIndex: at, endOfPassWriteIndex: at + 1 },
      });
      dispatchAll(pass, dispatches);
      pass.end();
    });
    sets.forEach((set, n) => encoder.resolveQuerySet(set, 0, set.count, resolved, 8 * n * most));
    encoder.copyBufferToBuffer(resolved, 0, mapped, 0, 8 * count);
    device.queue.submit([encoder.finish()]);
    await mapped.mapAsync(GPUMapMode.READ);
    const ns = new BigUint64Array(mapped.getMappedRange());
    return Float64Array.from(launches, (_, i) => Number((ns[2 * i + 1] as bigint) - (ns[2 * i] as bigint)) / 1e9);
  } finally {
    for (const set of sets) set.destroy();
    resolved.destroy();
    mapped.destroy();
  }
};

const byWaiting = async (device: GPUDevice, life: Life, launches: readonly Ready[]): Promise<Float64Array> => {
  const seconds = new Float64Array(launches.length);
  for (const [i, launch] of launches.entries()) {
    const started = performance.now();
    device.queue.submit([alone(device, launch)]);
    await life.wait('profile', device.queue.onSubmittedWorkDone());
    seconds[i] = (performance.now() - started) / 1e3;
  }
  return seconds;
};

/** Seconds. Runs the step once. */
export const launchTimes = (device: GPUDevice, life: Life, launches: readonly Ready[]): Promise<Float64Array> =>
  launches.length > 0 && device.features.has('timestamp-query') ? byClock(device, launches) : byWaiting(device, life, launches);
