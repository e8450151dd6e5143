/**
 * Results on their way to the host. Small ones, numbers like a loss, come back with every step: its own commands copy them to a buffer that is mapped when
 * the step ends, so that reading them asks the device for nothing. What else is read in one turn of the event loop is one submission, through a
 * buffer that is kept for the next; a long list goes through two of them by turns, the next part under way while one is copied.
 *
 *   const { loss, state } = await step(..);   loss.read()   0 submissions;   toHost(state)   1 for every 32 MiB
 */
import { FoveaError } from '../../compiler/error.ts';
import { type Arena, up4 } from './arena.ts';
import type { Life } from './life.ts';

/** Bytes of a buffer that results pass through, and of results that come back with the step, at most. */
const [most, little] = [2 ** 25, 64];

const staging = (device: GPUDevice, size: number, label: string): GPUBuffer =>
  device.createBuffer({ size, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST, label });

interface Asked {
  readonly into: Uint8Array;
  left: number;
  readonly done: () => void;
  readonly fail: (e: unknown) => void;
}
/** Bytes [offset, offset + bytes) of the arena, which are those of the result from `from` on. */
interface Stretch {
  readonly of: Asked;
  readonly offset: number;
  readonly from: number;
  readonly bytes: number;
}

export interface Readback {
  /** `bytes` from `offset` on, whole words, as they are now. FV0202: the device has no room for them to pass through. */
  read(offset: number, bytes: number): Promise<Uint8Array>;
  /** To be called before the arena changes: submits what was asked for before. */
  flush(): void;
  destroy(): void;
}

export const readback = (device: GPUDevice, life: Life, arena: Arena, largest: number): Readback => {
  const part = Math.min(most, largest);
  let queue: Stretch[] = [];
  let [flying, over] = [0, false];
  const idle: GPUBuffer[] = [];
  const take = (bytes: number): GPUBuffer => {
    const known = idle.pop();
    if (known && known.size >= bytes) return known;
    known?.destroy();
    return staging(device, Math.min(part, Math.max(4096, 2 ** Math.ceil(Math.log2(bytes)))), 'results');
  };
  /** The head of the queue, as much as one buffer takes. */
  const next = (): { readonly list: readonly Stretch[]; readonly bytes: number } => {
    const list: Stretch[] = [];
    let bytes = 0;
    while (bytes < part) {
      const [first, ...rest] = queue;
      if (!first) break;
      const taken = Math.min(first.bytes, part - bytes);
      list.push({ ...first, bytes: taken });
      bytes += taken;
      const { offset, from } = first;
      queue =
        taken === first.bytes ? rest : [{ ...first, offset: offset + taken, from: from + taken, bytes: first.bytes - taken }, ...rest];
    }
    return { list, bytes };
  };
  const arrived = async (
    buffer: GPUBuffer,
    bytes: number,
    list: readonly Stretch[],
    refused: Promise<(GPUError | null)[]>,
  ): Promise<void> => {
    life.check('read');
    const [error] = (await life.wait('read', refused)).filter((e) => e !== null);
    if (error) throw new FoveaError('FV0202', `read: the device has no ${bytes} bytes to copy results through: ${error.message}`);
    await life.wait('read', buffer.mapAsync(GPUMapMode.READ, 0, bytes));
    const all = new Uint8Array(buffer.getMappedRange(0, bytes));
    let at = 0;
    for (const { of, from, bytes: n } of list) {
      of.into.set(all.subarray(at, at + n), from);
      at += n;
      of.left -= n;
      if (of.left === 0) of.done();
    }
  };
  const send = (): void => {
    const { list, bytes } = next();
    flying++;
    device.pushErrorScope('out-of-memory');
    device.pushErrorScope('validation');
    const buffer = take(bytes);
    const encoder = device.createCommandEncoder({ label: 'read' });
    let at = 0;
    for (const { offset, bytes: n } of list) {
      arena.copyTo(encoder, offset, n, buffer, at);
      at += n;
    }
    device.queue.submit([encoder.finish()]);
    const refused = Promise.all([device.popErrorScope(), device.popErrorScope()]);
    arrived(buffer, bytes, list, refused)
      .then(
        () => {
          buffer.unmap();
          if (over || idle.length > 1) buffer.destroy();
          else idle.push(buffer);
        },
        (e) => {
          buffer.destroy();
          for (const { of } of list) of.fail(e);
        },
      )
      .finally(() => {
        flying--;
        pump(2);
      });
  };
  const pump = (most: number): void => {
    while (queue.length > 0 && flying < most) send();
  };
  return {
    read: (offset, bytes) =>
      new Promise((resolve, reject) => {
        const into = new Uint8Array(bytes);
        // whoever asks for more in this turn gets it by the same commands
        if (queue.length === 0) queueMicrotask(() => pump(2));
        queue.push({ of: { into, left: bytes, done: () => resolve(into), fail: reject }, offset, from: 0, bytes });
      }),
    flush: () => pump(Number.POSITIVE_INFINITY),
    destroy: () => {
      over = true;
      for (const b of idle) b.destroy();
    },
  };
};

export interface Numbers {
  /** Adds the copies to the commands of a step. */
  copy(encoder: GPUCommandEncoder): void;
  /** Once the step is submitted: they have come when this has. */
  come(): Promise<void>;
  /** Of result `o` after the last step that has ended well; undefined for one that is not small. */
  of(o: number): Uint8Array | undefined;
  /** What has come counts, or does not. */
  settle(well: boolean): void;
  destroy(): void;
}

/** The results that come back with every step, of those at `slots`. */
export const numbersOf = (
  device: GPUDevice,
  arena: Arena,
  slots: readonly { readonly offset: number; readonly bytes: number }[],
): Numbers => {
  const places = new Map<number, { readonly offset: number; readonly bytes: number; readonly at: number }>();
  let size = 0;
  slots.forEach(({ offset, bytes }, o) => {
    if (bytes === 0 || bytes > little) return;
    places.set(o, { offset, bytes: up4(bytes), at: size });
    size += up4(bytes);
  });
  const buffer = size > 0 ? staging(device, size, 'numbers of the step') : undefined;
  let last: Uint8Array | undefined;
  return {
    copy: (encoder) => {
      if (buffer) for (const { offset, bytes, at } of places.values()) arena.copyTo(encoder, offset, bytes, buffer, at);
    },
    come: async () => {
      await buffer?.mapAsync(GPUMapMode.READ);
    },
    of: (o) => {
      const p = places.get(o);
      return p && last?.slice(p.at, p.at + p.bytes);
    },
    settle: (well) => {
      last = well && buffer?.mapState === 'mapped' ? new Uint8Array(buffer.getMappedRange()).slice() : undefined;
      buffer?.unmap();
    },
    destroy: () => buffer?.destroy(),
  };
};
