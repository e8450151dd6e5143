/**
 * Random bits are sound: words of keys that split and fold derive are uniform, and independent of their neighbours and of each other's
 * keys. Each statistic is a sum of many independent bits, normal with known mean and variance; a z of 7 has probability 3e-12, so one
 * in ten million programs may fail by chance. That all backends give the same bits is part of the law `backend`.
 */
import { interpret, tensor64 } from '../../compiler/graph/interpret.ts';
import type { Graph } from '../../compiler/graph/types.ts';
import { random, spec, trace } from '../../dsl/index.ts';
import type { Law } from './law.ts';

const words = 512;
const limit = 7;
const graph: Graph = trace(
  (key) => {
    const [a, b] = random.split(key as never, 2);
    return [random.bits(a, `${words}`), random.bits(b, `${words}`), random.bits(random.fold(key as never, 1), `${words}`)];
  },
  [spec('2', 'u32')],
).graph;

const ones = (x: number): number => {
  let [n, v] = [0, x];
  for (; v !== 0; v &= v - 1) n++;
  return n;
};
/** Bits that are 1, of n fair ones: how many standard deviations from half. */
const z = (count: number, n: number): number => Math.abs(count - n / 2) / Math.sqrt(n / 4);
const total = (xs: Uint32Array): number => xs.reduce((n, x) => n + ones(x), 0);
const mixed = (xs: Uint32Array, ys: Uint32Array): Uint32Array => xs.map((x, i) => x ^ (ys[i] as number));
const turned = (xs: Uint32Array, by: number): Uint32Array => xs.map((x) => (x >>> by) | (x << (32 - by)));

export const randomLaws: readonly Law[] = [
  {
    name: 'random',
    seedOnly: true,
    every: 6,
    says: 'random bits are uniform and independent, within a word, between words and between keys',
    check: (_, { seed }) => {
      const streams = interpret(graph, [tensor64({ dtype: 'u32', shape: [2] }, [seed >>> 0, words])]).map((t) => t.data as Uint32Array);
      const tests: (readonly [what: string, bits: Uint32Array])[] = streams.flatMap((s, k) => [
        [`bits of stream ${k}`, s] as const,
        [`neighbouring bits of stream ${k}`, mixed(s, turned(s, 1))] as const,
        [`neighbouring words of stream ${k}`, mixed(s.subarray(1), s.subarray(0, -1))] as const,
        [`streams ${k} and ${(k + 1) % 3}`, mixed(s, streams[(k + 1) % 3] as Uint32Array)] as const,
      ]);
      for (const [what, bits] of tests) {
        const off = z(total(bits), 32 * bits.length);
        if (off > limit) return `${what}: ${off.toFixed(1)} standard deviations from fair`;
      }
      for (let place = 0; place < 32; place++) {
        const off = z(
          streams.reduce((n, s) => n + s.reduce((m, x) => m + ((x >>> place) & 1), 0), 0),
          words * streams.length,
        );
        if (off > limit) return `bit ${place} of the words: ${off.toFixed(1)} standard deviations from fair`;
      }
      return undefined;
    },
  },
];
