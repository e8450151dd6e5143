/** A kernel of two warp groups, one that fetches and one that multiplies: what the tests of K and of its printers share. */
import { bitsOf, numberOf } from '../../compiler/kernel/scalar.ts';
import type { KMatrix } from '../../compiler/kernel/types.ts';

/** Sizes that no box divides: what lies outside is 0. */
export const sizes = { m: 56, n: 30, k: 136 } as const;

/**
 * y = a b, 64 x 32 at a time, by panels of 64 products of which two are on their way. a lies by rows or, turned, by products; b by columns or by products.
 * Sums go through shared memory, sixteen rows a warp, so that each thread stores others than it made.
 */
export const pipeline = (of: KMatrix, turned = false): string => {
  const { m, n, k } = sizes;
  const line = (x: number): number => Math.ceil(x / 8) * 8;
  const matrix = (name: string, x: number): string =>
    turned
      ? `tensorMap ${name}s = ${name}[0] of ${x} by 1 box 64, ${k} by ${line(x)} box 64`
      : `tensorMap ${name}s = ${name}[0] of ${k} by 1 box 64, ${x} by ${line(k)} box ${name === 'a' ? 64 : 32}`;
  const at = turned ? ['0, kp', '0, kp'] : ['kp, 0', 'kp, 0'];
  const step = turned ? 'mul(part, 1024)' : 'mul(part, 16)';
  const lines = turned ? ' turned 4096' : '';
  // turned lines have 64 columns, of which the last 32 are not stored
  const sums = turned ? ['s0', 's1', 's2', 's3'] : ['s0', 's1'];
  return `kernel pipeline(a: ${of}[${turned ? k * line(m) : m * line(k)}] read, b: ${of}[${turned ? k * line(n) : n * line(k)}] read, y: f32[2048] write) grid=[1 1 1] threads=256 {
  alloc left: ${of}[8192] shared
  alloc right: ${of}[${turned ? 8192 : 4096}] shared
  mbarrier full[2] of 1
  mbarrier empty[2] of 4
  alloc tile: f32[2048] shared
  ${matrix('a', m)}
  ${matrix('b', n)}
  let role: index = div(thread, 128)
  barrier
  if eq(role, 0) {
    registers 24
    if eq(thread, 0) {
      for kp = 0 to ${k} step 64 {
        let panel: index = div(kp, 64)
        let slot: index = rem(panel, 2)
        await empty[slot] parity sub(1, rem(div(panel, 2), 2))
        expect full[slot] ${turned ? 16384 : 12288}
        fetch left[mul(slot, 4096)] = as[${at[0]}] on full[slot]
        fetch right[mul(slot, ${turned ? 4096 : 2048})] = bs[${at[1]}] on full[slot]
      }
    }
  } else {
    registers 240
${sums.map((s) => `    var ${s}: f32.8 = 0:f32.8\n`).join('')}    for kq = 0 to ${k} step 64 {
      let panel_1: index = div(kq, 64)
      let slot_1: index = rem(panel_1, 2)
      await full[slot_1] parity rem(div(panel_1, 2), 2)
      fence
      for part = 0 to 4 step 1 unroll {
        wgmma.${of} ${sums.join(' ')} = left[add(mul(slot_1, 4096), ${step})]${lines}, right[add(mul(slot_1, ${turned ? 4096 : 2048}), ${step})]${lines}
      }
      commit.products
      wait.products 0
      arrive empty[slot_1]
    }
    let own: index = rem(thread, 32)
    let warp: index = rem(div(thread, 32), 4)
    let places: index.8 = add(add(mul(place.row, 32:index.8), place.column), splat.8(mul(warp, 512)))
    store tile[places] = s0
    store tile[add(places, 16:index.8)] = s1
    barrier.warp
    for r = 0 to 16 step 1 {
      store y[add(add(mul(warp, 512), mul(r, 32)), own)] = load tile[add(add(mul(warp, 512), mul(r, 32)), own)]
    }
  }
}`;
};

/** What was fetched, read by threads: y = a, for chunk c of line l lies where chunk (c xor l mod 8) would. */
export const fetched = `kernel fetched(a: bf16[1024] read, y: f32[1024] write) grid=[1 1 1] threads=128 {
  alloc left: bf16[1024] shared
  mbarrier full[1] of 1
  tensorMap as = a[0] of 64 by 1 box 64, 16 by 64 box 16
  barrier
  if eq(thread, 0) {
    expect full[0] 2048
    fetch left[0] = as[0, 0] on full[0]
  }
  await full[0] parity 0
  for i = thread to 1024 step 128 {
    let line: index = div(i, 64)
    let number: index = cast.index(xor(cast.u32(rem(i, 64)), cast.u32(mul(rem(line, 8), 8))))
    store y[i] = cast.f32(load left[add(mul(line, 64), number)])
  }
}`;

const number = (i: number, salt: number): number => Math.fround(((((i + 1) * 2654435761 + salt) % 4093) - 2000) / 300);
/** Bits of a and b. */
export const operandsOf = (of: KMatrix, turned = false) => {
  const { m, n, k } = sizes;
  const line = (x: number): number => Math.ceil(x / 8) * 8;
  const host = (x: number, salt: number) =>
    Uint16Array.from({ length: turned ? k * line(x) : x * line(k) }, (_, i) => bitsOf(number(i, salt), of));
  return { a: host(m, 1), b: host(n, 2) };
};

/** What y has to be, in float64, and how far float32 may be from it: one rounding a step of sixteen products. */
export const expected = (of: KMatrix, turned = false) => {
  const { m, n, k } = sizes;
  const { a, b } = operandsOf(of, turned);
  const line = (x: number): number => Math.ceil(x / 8) * 8;
  const at = (host: Uint16Array, x: number, r: number, p: number): number =>
    numberOf(host[turned ? p * line(x) + r : r * line(k) + p] as number, of);
  return Array.from({ length: 2048 }, (_, i) => {
    const [r, c] = [i >> 5, i % 32];
    let [y, all] = [0, 0];
    for (let p = 0; r < m && c < n && p < k; p++) {
      const product = at(a, m, r, p) * at(b, n, c, p);
      y += product;
      all += Math.abs(product);
    }
    return { y, bound: all * 12 * 2 ** -24 };
  });
};

/** Kernels that are wrong in one way, and what the interpreter and the emulator say of them. */
export const faults: readonly (readonly [name: string, from: string, to: string, says: RegExp])[] = [
  [
    'no wait for what is fetched',
    '      await full[slot_1] parity rem(div(panel_1, 2), 2)\n',
    '',
    /left\[0\].*, where a copy of thread 0 is under way/,
  ],
  [
    'a wait for the other parity',
    'parity rem(div(panel_1, 2), 2)',
    'parity sub(1, rem(div(panel_1, 2), 2))',
    /left\[0\].*, where a copy of thread 0 is under way/,
  ],
  [
    'no wait for an empty place',
    '        await empty[slot] parity sub(1, rem(div(panel, 2), 2))\n',
    '',
    /thread 0: arrives at full\[0\], where all have arrived/,
  ],
  [
    'a wait for the other parity of an empty place',
    'parity sub(1, rem(div(panel, 2), 2))',
    'parity rem(div(panel, 2), 2)',
    /waits for the phase of parity 0 of (empty|full)\[0\], which lacks \d arrivals and 0 bytes/,
  ],
  [
    'more bytes announced than come',
    'expect full[slot] 12288',
    'expect full[slot] 12800',
    /which lacks (0 arrivals and 512|4 arrivals and 0) bytes/,
  ],
  [
    'fewer bytes announced than come',
    'expect full[slot] 12288',
    'expect full[slot] 8192',
    /thread 0: fetches 4096 bytes on full\[0\], where 0 are announced/,
  ],
  ['no fence', '      fence\n', '', /products begin without a fence since the last group of them/],
  ['no group of products', '      commit.products\n', '', /left\[0\].*, which products of warp \d read/],
  ['no wait for products', '      wait.products 0\n', '', /left\[0\].*, which products of warp \d read/],
  ['a wait for too few products', 'wait.products 0', 'wait.products 1', /left\[0\].*, which products of warp \d read/],
  [
    'a place given back while products read it',
    '      wait.products 0\n      arrive empty[slot_1]\n',
    '      arrive empty[slot_1]\n      wait.products 0\n',
    /left\[0\].*, which products of warp \d read/,
  ],
  [
    'a place that nobody gives back',
    '      arrive empty[slot_1]\n',
    '',
    /waits for the phase of parity \d of (empty|full)\[0\], which lacks \d arrivals and 0 bytes/,
  ],
  ['more arrivals than warps', 'empty[2] of 4', 'empty[2] of 5', /which lacks 1 arrivals and 0 bytes/],
  ['fewer arrivals than warps', 'empty[2] of 4', 'empty[2] of 3', /left\[0\].*, which products of warp \d read/],
  ['mbarriers before they are made', '  barrier\n', '', /(full|empty)\[0\] is used before a barrier/],
  [
    'lines that are no atoms',
    'fetch left[mul(slot, 4096)]',
    'fetch left[add(mul(slot, 4096), 64)]',
    /fetches to left\[64\], which is no start of an atom of 512 elements/,
  ],
  ['past the end of a panel', 'fetch left[mul(slot, 4096)]', 'fetch left[add(mul(slot, 4096), 8192)]', /left\[(8192|12287)\]/],
  [
    'sums set while products are added to them',
    '      wait.products 0\n',
    '      set s0 = 1:f32.8\n      wait.products 0\n',
    /set while products (are|were) added to/,
  ],
  [
    'products that nobody waits for',
    '    let own: index',
    '    fence\n    wgmma.bf16 s0 s1 = left[0], right[0]\n    commit.products\n    let own: index',
    /of products under way|ends while products are under way|has no value/,
  ],
  ['fetches that nobody waits for', 'for kq = 0 to 136', 'for kq = 0 to 64', /ends while fetches( to left)? are under way/],
  [
    'a warp that does not meet',
    '    barrier.warp\n',
    '',
    /tile\[\d+\]( of shared memory, which nobody wrote| reads an element that was never written)/,
  ],
];
