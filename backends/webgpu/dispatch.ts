/**
 * The launches of a plan as dispatches: pipelines, bound slices of the arena, counts of blocks. A launch is one dispatch a part; more where tensors are so large
 * that a dispatch cannot bind all of them.
 */
import { FoveaError } from '../../compiler/error.ts';
import { bytesOf } from '../../compiler/graph/types.ts';
import { reach } from '../../compiler/kernel/reach.ts';
import type { KBuffer, Kernel } from '../../compiler/kernel/types.ts';
import type { Launch, Part, Plan } from '../../compiler/plan/types.ts';
import { type Arena, type Piece, type Sizes, up16 } from './arena.ts';
import type { Places } from './bindings.ts';
import type { Life } from './life.ts';
import { type Asks, labelOf, type Pipelines } from './pipelines.ts';
import { counted, lineOfBlocks } from './print.ts';

/** Bytes of a place that are bound, from a multiple of the device's unit on. */
type Window = readonly [from: number, to: number];
/** A place of the arena that buffers of a kernel lie in. */
interface Spot {
  readonly offset: number;
  readonly windows: readonly Window[];
}

/** The places of a part's buffers, in order of their first ones; `windowsOf` says what of a buffer is bound. */
const spotsOf = (
  k: Kernel,
  { offsets, sizes }: Part,
  windowsOf: (b: KBuffer, bytes: number) => readonly Window[],
): { readonly places: readonly number[]; readonly spots: readonly Spot[] } => {
  const numbers = new Map<number, number>();
  const spots: { readonly offset: number; windows: readonly Window[] }[] = [];
  const places = k.buffers.map((b, i) => {
    const windows = windowsOf(b, Math.max(16, up16((sizes[i] as number) * bytesOf[b.dtype])));
    const offset = offsets[i] as number;
    // a buffer without elements lies nowhere
    const key = b.size === 0 ? -1 - i : offset;
    const known = numbers.get(key) ?? spots.push({ offset, windows: [] }) - 1;
    numbers.set(key, known);
    const spot = spots[known] as (typeof spots)[number];
    spot.windows = [...spot.windows, ...windows];
    return known;
  });
  return { places, spots: spots.map(({ offset, windows }) => ({ offset, windows: joined(windows) })) };
};

/** Windows in order, those that touch each other as one. What is not touched at all takes a binding of a few bytes. */
const joined = (windows: readonly Window[]): readonly Window[] => {
  const out: Window[] = [];
  for (const [from, to] of [...windows].sort(([a], [b]) => a - b)) {
    const last = out.at(-1);
    if (last && from <= last[1]) out[out.length - 1] = [last[0], Math.max(last[1], to)];
    else out.push([from, to]);
  }
  return out.length > 0 ? out : [[0, 16]];
};

interface Bound<P> {
  readonly places: Places;
  readonly pieces: readonly P[];
}
/** What is bound, and the same as places: the bytes from a window's start on, in as many pieces as the arena makes of them. */
const bound = <P extends Pick<Piece, 'bytes'>>(
  places: readonly number[],
  spots: readonly Spot[],
  piecesOf: (offset: number, bytes: number) => readonly P[],
): Bound<P> => {
  const pieces: P[] = [];
  const cuts = spots.map(({ offset, windows }) =>
    windows.flatMap(([from, to]) => {
      let at = from / 4;
      return piecesOf(offset + from, to - from).map((p) => {
        pieces.push(p);
        at += p.bytes / 4;
        return at - p.bytes / 4;
      });
    }),
  );
  return { places: { places, cuts }, pieces };
};
/** All of a part's buffers. */
const whole = <P extends Pick<Piece, 'bytes'>>(
  k: Kernel,
  part: Part,
  piecesOf: (offset: number, bytes: number) => readonly P[],
): Bound<P> => {
  const { places, spots } = spotsOf(k, part, (_, bytes) => [[0, bytes]]);
  return bound(places, spots, piecesOf);
};
/** What `count` blocks from `first` on touch: one window around all that they touch of a place, or one for each of their loads and stores, if that is less. */
const some = (k: Kernel, part: Part, arena: Arena, unit: number, first: number, count: number): Bound<Piece> => {
  const { spans } = reach(k, first, count);
  const { places, spots } = spotsOf(k, part, (b, bytes) =>
    (spans.get(b.name) ?? []).flatMap(({ from, to }): readonly Window[] => {
      const each = bytesOf[b.dtype];
      const window: Window = [Math.floor((from * each) / unit) * unit, Math.min(bytes, up16(to * each))];
      return window[0] < window[1] ? [window] : [];
    }),
  );
  const around = spots.map(
    ({ offset, windows }): Spot => ({ offset, windows: [[(windows[0] as Window)[0], (windows.at(-1) as Window)[1]]] }),
  );
  const fewest = spots.map((s, i): Spot => {
    const wide = around[i] as Spot;
    const count = ({ offset, windows }: Spot): number =>
      windows.reduce((n, [from, to]) => n + arena.pieces(offset + from, to - from).length, 0);
    return count(wide) <= count(s) ? wide : s;
  });
  const made = bound(places, fewest, arena.pieces);
  return first > 0 ? { ...made, places: { ...made.places, first } } : made;
};

/** The greatest number up to `most` that fits, or 0; what is less than one that fits does, too. */
const greatest = (most: number, fits: (n: number) => boolean): number => {
  let [low, high] = [0, most + 1];
  // mostly all of the rest is the last dispatch
  for (let n = most; low + 1 < high; n = Math.floor((low + high) / 2)) {
    if (fits(n)) low = n;
    else high = n;
  }
  return low;
};

/** Blocks [first, end) of a part, and what is bound for them. */
interface Cut extends Bound<Piece> {
  readonly first: number;
  readonly end: number;
}

/**
 * A part as one dispatch, or, where its tensors are more pieces than there are bindings, as several, each of as many blocks as touch few enough of them. FV0202: a
 * single block touches more.
 */
const cut = (k: Kernel, part: Part, arena: Arena, { bindings, unit }: Sizes, launch: Launch): readonly Cut[] => {
  const all = whole(k, part, arena.pieces);
  if (all.pieces.length <= bindings) return [{ first: 0, end: part.blocks, ...all }];
  const of = (first: number, count: number): Cut => ({ first, end: first + count, ...some(k, part, arena, unit, first, count) });
  const cuts: Cut[] = [];
  for (let first = 0; first < part.blocks; ) {
    const count = greatest(part.blocks - first, (n) => of(first, n).pieces.length <= bindings);
    if (count === 0)
      throw new FoveaError(
        'FV0202',
        `kernel ${k.name} needs ${of(first, 1).pieces.length} bindings, of which this device has ${bindings}`,
        {
          scope: launch.scope,
          loc: launch.loc,
          hint: 'Its tensors are larger than one binding may be: use a smaller batch.',
        },
      );
    cuts.push(of(first, count));
    first += count;
  }
  return cuts;
};

export interface Dispatch {
  readonly pipeline: GPUComputePipeline;
  readonly group: GPUBindGroup;
  readonly blocks: readonly [number, number];
}
/** A launch that can be encoded. */
export interface Ready extends Asks {
  readonly label: string;
  readonly dispatches: readonly Dispatch[];
}
/** The kernels of a plan with the places of their buffers, each once: all that has to be printed where the arena is one buffer. */
export const placesOf = (plan: Plan): readonly { readonly kernel: number; readonly places: Places }[] => {
  const one = (offset: number, bytes: number) => [{ offset, bytes }];
  const found = plan.launches.flatMap(({ kernel, parts }) =>
    parts.map((p) => ({ kernel, places: whole(plan.kernels[kernel] as Kernel, p, one).places })),
  );
  return [...new Map(found.map((f) => [JSON.stringify(f), f])).values()];
};

/** The dispatches of each launch; buffers that they need go to `uniforms`. */
export const record = async (
  device: GPUDevice,
  plan: Plan,
  arena: Arena,
  pipelineOf: Pipelines,
  uniforms: GPUBuffer[],
  sizes: Sizes,
): Promise<readonly Ready[]> => {
  const dispatchOf = async (l: Launch, { first, end, places, pieces }: Cut): Promise<Dispatch> => {
    const k = plan.kernels[l.kernel] as Kernel;
    const { pipeline, layout } = await pipelineOf(l.kernel, places, l);
    const entries = pieces.map(
      (p, binding): GPUBindGroupEntry => ({ binding, resource: { buffer: p.buffer, offset: p.offset, size: p.bytes } }),
    );
    if (counted(k)) {
      const last = device.createBuffer({ size: 4, usage: GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST });
      device.queue.writeBuffer(last, 0, new Uint32Array([end]));
      uniforms.push(last);
      entries.push({ binding: pieces.length, resource: { buffer: last } });
    }
    const group = device.createBindGroup({ layout, entries, label: labelOf(k, l) });
    const count = end - first;
    return { pipeline, group, blocks: [Math.min(count, lineOfBlocks), Math.ceil(count / lineOfBlocks)] };
  };
  const ready = async (l: Launch): Promise<Ready> => {
    const k = plan.kernels[l.kernel] as Kernel;
    const cuts = l.parts.flatMap((p) => cut(k, p, arena, sizes, l));
    const dispatches = await Promise.all(cuts.map((c) => dispatchOf(l, c)));
    return { label: labelOf(k, l), scope: l.scope, loc: l.loc, dispatches: dispatches.filter((d) => d.blocks[0] > 0) };
  };
  return Promise.all(plan.launches.map(ready));
};

export const dispatchAll = (pass: GPUComputePassEncoder, dispatches: readonly Dispatch[]): void => {
  for (const { pipeline, group, blocks } of dispatches) {
    pass.setPipeline(pipeline);
    pass.setBindGroup(0, group);
    pass.dispatchWorkgroups(...blocks);
  }
};

/** A launch in a pass of its own. */
export const alone = (device: GPUDevice, { label, dispatches }: Ready): GPUCommandBuffer => {
  const encoder = device.createCommandEncoder({ label });
  const pass = encoder.beginComputePass({ label });
  dispatchAll(pass, dispatches);
  pass.end();
  return encoder.finish();
};

/** Of a step that the device refuses, the launch that it does not take: each is encoded alone, and none is submitted. */
export const refusedOf = async (device: GPUDevice, life: Life, launches: readonly Ready[]): Promise<Ready | undefined> => {
  for (const launch of launches) {
    device.pushErrorScope('validation');
    alone(device, launch);
    if (await life.wait(launch.label, device.popErrorScope())) return launch;
  }
  return undefined;
};
