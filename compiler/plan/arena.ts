/**
 * Static memory: every buffer gets an offset in one arena before anything runs. Buffers whose lives do not overlap share
 * bytes. The largest are placed first, each in the smallest gap that it fits among those that live with it, or else above them: what is
 * left for small buffers is gaps between large ones. On training steps this comes within a per cent of the most that is ever alive.
 * What lives all the time lies at the bottom and is in nobody's way.
 *
 *   a lives [0, 2], b lives [1, 3], c lives [3, 4], each 64 bytes   ->   a at 0, b at 64, c at 0; arena 128
 */

/** A buffer that needs `bytes` from launch `first` to launch `last`, both included. */
export interface Need {
  readonly bytes: number;
  readonly first: number;
  readonly last: number;
}

/**
 * Intervals of launches, and which of them meet another one: a segment tree. Each interval stands at the few nodes that make it up
 * (`whole`), and at all nodes above these (`below`), so that a question costs about as much as its answer is long.
 */
const intervals = (stop: number, count: number) => {
  let width = 1;
  // of each interval, the last question that it was an answer to
  const asked = new Int32Array(count);
  let question = 0;
  while (width < stop) width *= 2;
  const whole: number[][] = [];
  const below: number[][] = [];
  const put = (lists: number[][], node: number, i: number): void => {
    const list = lists[node];
    if (list) list.push(i);
    else lists[node] = [i];
  };
  /** The nodes that make up [first, last]. */
  const parts = (first: number, last: number): readonly number[] => {
    const found: number[] = [];
    for (let l = first + width, r = last + width + 1; l < r; l >>= 1, r >>= 1) {
      if (l & 1) found.push(l++);
      if (r & 1) found.push(--r);
    }
    return found;
  };
  return {
    add: (i: number, first: number, last: number): void => {
      const above = new Set<number>();
      for (const node of parts(first, last)) {
        put(whole, node, i);
        for (let up = node >> 1; up > 0 && !above.has(up); up >>= 1) above.add(up);
      }
      for (const node of above) put(below, node, i);
    },
    /** Each once. */
    meeting: (first: number, last: number): number[] => {
      const found: number[] = [];
      question++;
      const take = (list: readonly number[] | undefined): void => {
        for (const i of list ?? []) {
          if (asked[i] === question) continue;
          asked[i] = question;
          found.push(i);
        }
      };
      for (const node of parts(first, last)) {
        take(below[node]);
        for (let up = node; up > 0; up >>= 1) take(whole[up]);
      }
      return found;
    },
  };
};

const roundUp = (n: number, to: number): number => Math.ceil(n / to) * to;

/** The smallest gap for `bytes` between `taken` ranges, in order of their beginnings, above `bottom`; above all of them where there is none. */
const gapFor = (
  bytes: number,
  taken: readonly number[],
  range: (i: number) => readonly [from: number, to: number],
  bottom: number,
): number => {
  let top = bottom;
  let best = -1;
  let least = Number.POSITIVE_INFINITY;
  for (const i of taken) {
    const [from, to] = range(i);
    const gap = from - top;
    if (gap >= bytes && gap < least) [best, least] = [top, gap];
    top = Math.max(top, to);
  }
  return best >= 0 ? best : top;
};

/** Offsets in the order of `needs`, multiples of `alignment`, and the bytes of the whole arena. */
export const placeBuffers = (
  needs: readonly Need[],
  alignment: number,
): { readonly offsets: readonly number[]; readonly bytes: number } => {
  const rounded = needs.map((n): Need => ({ ...n, bytes: roundUp(Math.max(n.bytes, 1), alignment) }));
  const start = rounded.reduce((t, n) => Math.min(t, n.first), Number.POSITIVE_INFINITY);
  const stop = rounded.reduce((t, n) => Math.max(t, n.last), Number.NEGATIVE_INFINITY);
  const offsets = new Array<number>(needs.length).fill(0);
  let bottom = 0;
  const others: number[] = [];
  rounded.forEach((n, i) => {
    if (n.first > start || n.last < stop) {
      others.push(i);
      return;
    }
    offsets[i] = bottom;
    bottom += n.bytes;
  });
  const need = (i: number): Need => rounded[i] as Need;
  const from = (i: number): number => offsets[i] as number;
  others.sort((a, b) => need(b).bytes - need(a).bytes || need(a).first - need(b).first || a - b);
  const placed = intervals(stop - start + 1, needs.length);
  let end = bottom;
  for (const i of others) {
    const { bytes, first, last } = need(i);
    const taken = placed.meeting(first - start, last - start).sort((a, b) => from(a) - from(b));
    offsets[i] = gapFor(bytes, taken, (k) => [from(k), from(k) + need(k).bytes], bottom);
    end = Math.max(end, from(i) + bytes);
    placed.add(i, first - start, last - start);
  }
  return { offsets, bytes: end };
};
