/**
 * Static memory: every buffer gets an offset in one arena before anything runs. Buffers whose lives do not overlap share
 * bytes. Walks the launches once, in order, with a free list (best fit, neighbours merged), so it is near-linear; the
 * arena grows only when nothing fits.
 *
 *   a lives [0, 2], b lives [1, 3], c lives [3, 4], each 64 bytes   ->   a at 0, b at 64, c at 0; arena 128
 */

/** A buffer that needs `bytes` from launch `first` to launch `last`, both included. */
export interface Need {
  readonly bytes: number;
  readonly first: number;
  readonly last: number;
}

interface Hole {
  readonly offset: number;
  readonly bytes: number;
}

const roundUp = (n: number, to: number): number => Math.ceil(n / to) * to;

/** Offsets in the order of `needs`, multiples of `alignment`, and the bytes of the whole arena. */
export const placeBuffers = (
  needs: readonly Need[],
  alignment: number,
): { readonly offsets: readonly number[]; readonly bytes: number } => {
  const offsets = new Array<number>(needs.length).fill(0);
  const size = needs.map((n) => roundUp(Math.max(n.bytes, 1), alignment));
  const starting = needs.map((_, i) => i).sort((a, b) => need(a).first - need(b).first || size[b]! - size[a]! || a - b);
  const ending = needs.map((_, i) => i).sort((a, b) => need(a).last - need(b).last || a - b);
  function need(i: number): Need {
    return needs[i] as Need;
  }
  let holes: Hole[] = [];
  let end = 0;
  const release = (hole: Hole): void => {
    const at = holes.findIndex((h) => h.offset > hole.offset);
    const i = at < 0 ? holes.length : at;
    let [offset, bytes] = [hole.offset, hole.bytes];
    const [before, after] = [holes[i - 1], holes[i]];
    const joinsBefore = before !== undefined && before.offset + before.bytes === offset;
    const joinsAfter = after !== undefined && offset + bytes === after.offset;
    if (joinsBefore) [offset, bytes] = [before.offset, bytes + before.bytes];
    if (joinsAfter) bytes += after.bytes;
    holes.splice(joinsBefore ? i - 1 : i, (joinsBefore ? 1 : 0) + (joinsAfter ? 1 : 0), { offset, bytes });
  };
  const take = (bytes: number): number => {
    let best = -1;
    holes.forEach((h, i) => {
      if (h.bytes >= bytes && (best < 0 || h.bytes < (holes[best] as Hole).bytes)) best = i;
    });
    if (best >= 0) {
      const h = holes[best] as Hole;
      if (h.bytes === bytes) holes.splice(best, 1);
      else holes[best] = { offset: h.offset + bytes, bytes: h.bytes - bytes };
      return h.offset;
    }
    // nothing fits: grow, from the start of a hole at the very end if there is one
    const tail = holes.at(-1);
    const start = tail !== undefined && tail.offset + tail.bytes === end ? tail.offset : end;
    if (start !== end) holes = holes.slice(0, -1);
    end = start + bytes;
    return start;
  };
  let e = 0;
  for (const i of starting) {
    while (e < ending.length && need(ending[e] as number).last < need(i).first) {
      const d = ending[e++] as number;
      release({ offset: offsets[d] as number, bytes: size[d] as number });
    }
    offsets[i] = take(size[i] as number);
  }
  return { offsets, bytes: end };
};
