/**
 * A plan's arena on the device: one buffer, or as many as the device's largest buffer makes necessary. A slot that lies across two of them, or
 * is larger than one binding may be, is bound in pieces (bindings.ts).
 */
import { FoveaError } from '../../compiler/error.ts';

/** What a device takes at most. */
export interface Sizes {
  /** Bytes, multiples of `unit`. */
  readonly buffer: number;
  readonly binding: number;
  /** Of one kernel. */
  readonly bindings: number;
  /** Bytes that offsets of bindings are multiples of. */
  readonly unit: number;
}
export interface Piece {
  readonly buffer: GPUBuffer;
  readonly offset: number;
  readonly bytes: number;
}
export interface Arena {
  /** What bytes [offset, offset + bytes) are bound as, in order. */
  pieces(offset: number, bytes: number): readonly Piece[];
  /** Whole words. */
  write(offset: number, data: Uint8Array): void;
  /** To the bytes of `to` from `at` on. */
  copyTo(encoder: GPUCommandEncoder, offset: number, bytes: number, to: GPUBuffer, at: number): void;
  destroy(): void;
}

/** Bytes that the largest vectors of a kernel fill: bindings are whole ones, so that the last is not cut off. */
export const up16 = (n: number): number => Math.ceil(n / 16) * 16;
/** Bytes in whole words. */
export const up4 = (n: number): number => Math.ceil(n / 4) * 4;
const gib = (n: number): string => `${(n / 2 ** 30).toFixed(2)} GiB`;

/** FV0202: the device has no room; `hint` says what would make it enough. */
export const arenaOf = async (device: GPUDevice, bytes: number, sizes: Pick<Sizes, 'buffer' | 'binding'>, hint: string): Promise<Arena> => {
  const buffers: GPUBuffer[] = [];
  const destroy = (): void => {
    for (const b of buffers) b.destroy();
  };
  // one after another: after the first that is refused, none is asked for
  for (let at = 0; at === 0 || at < bytes; at += sizes.buffer) {
    device.pushErrorScope('out-of-memory');
    const buffer = device.createBuffer({
      size: Math.max(256, Math.min(sizes.buffer, up16(bytes) - at)),
      usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST,
      label: `arena ${buffers.length}`,
    });
    buffers.push(buffer);
    if (await device.popErrorScope()) {
      destroy();
      throw new FoveaError('FV0202', `the device has no ${gib(bytes)} for the arena: it refuses ${gib(buffer.size)} after ${gib(at)}`, {
        hint,
      });
    }
  }
  const cut = (offset: number, bytes: number, most: number): readonly Piece[] => {
    const out: Piece[] = [];
    for (let at = offset; at < offset + bytes; ) {
      const inside = at % sizes.buffer;
      const taken = Math.min(offset + bytes - at, sizes.buffer - inside, most);
      out.push({ buffer: buffers[Math.floor(at / sizes.buffer)] as GPUBuffer, offset: inside, bytes: taken });
      at += taken;
    }
    return out;
  };
  return {
    pieces: (offset, bytes) => cut(offset, bytes, sizes.binding),
    write: (offset, data) => {
      let done = 0;
      for (const p of cut(offset, data.byteLength, Number.POSITIVE_INFINITY)) {
        device.queue.writeBuffer(p.buffer, p.offset, data as Uint8Array<ArrayBuffer>, done, p.bytes);
        done += p.bytes;
      }
    },
    copyTo: (encoder, offset, bytes, to, at) => {
      let done = at;
      for (const p of cut(offset, bytes, Number.POSITIVE_INFINITY)) {
        encoder.copyBufferToBuffer(p.buffer, p.offset, to, done, p.bytes);
        done += p.bytes;
      }
    },
    destroy,
  };
};
