/**
 * What a dispatch binds: the slices of its buffers, those of one place once. A launch is one dispatch a part; where its tensors are more pieces than there are
 * bindings it becomes several, each of as many blocks as touch few enough of them, and binds windows around what those touch.
 *
 *   y = neg(x), 1 GiB each, bindings of 128 MiB, 8 of them      blocks [0, 32768): x and y in 4 pieces each; then the other half
 */
import { FoveaError } from '../../compiler/error.ts';
import { bytesOf } from '../../compiler/graph/types.ts';
import { reach } from '../../compiler/kernel/reach.ts';
import type { KBuffer, Kernel } from '../../compiler/kernel/types.ts';
import type { Launch, Part } from '../../compiler/plan/types.ts';
import { type Arena, type Piece, type Sizes, up16 } from './arena.ts';
import type { Places } from './bindings.ts';

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

export interface Bound<P> {
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
export const whole = <P extends Pick<Piece, 'bytes'>>(
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
export interface Cut extends Bound<Piece> {
  readonly first: number;
  readonly end: number;
}

/**
 * A part as one dispatch, or, where its tensors are more pieces than there are bindings, as several, each of as many blocks as touch few enough of them. FV0202: a
 * single block touches more.
 */
export const cut = (k: Kernel, part: Part, arena: Arena, { bindings, unit }: Sizes, launch: Launch): readonly Cut[] => {
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
