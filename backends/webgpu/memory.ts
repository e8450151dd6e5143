/**
 * Arrays of WGSL as elements of K. An array has units: elements, vectors of them, or words that hold several elements of 8 or 16 bits.
 *
 *   array<vec4<f32>>, element i             x[i >> 2u][i & 3]              four elements from i on      x[i >> 2u]
 *   array<u32> of bf16, element i           (x[i >> 1u] >> 16 (i & 1)) & 0xffff
 */
import { components } from './names.ts';

export interface Memory {
  /** Element `i`, as it is held in a register. `i` is a name where `twice` says that it occurs more than once. */
  load(i: string): string;
  readonly twice: boolean;
  /** `lanes` elements from `i` on, a multiple of `lanes`, if that is less than one by one; `name` gives names to what is used twice. */
  loadAll(i: string, lanes: number, name: (text: string) => string): string | undefined;
  /** The statement that writes element `i`. */
  store(i: string, x: string): string;
  /** Statements that write `lanes` elements from `i` on, a multiple of `lanes`, if that is less than one by one. */
  storeAll(i: string, x: string, lanes: number): readonly string[] | undefined;
  /** Where elements are parts of words that are written: names of functions that write one, and as many as fill a word, at once if they lie in one. */
  readonly parts?: () => { readonly one: string; readonly all: string };
}

/** How units are read and written. */
export interface Units {
  get(i: string): string;
  set(i: string, x: string): string;
}

const plus = (i: string, n: number): string => (n === 0 ? i : `${i} + ${n}`);

/** Units of `n` elements, of the scalar type `type`. */
export const elements = (type: string, n: number, { get, set }: Units): Memory => {
  if (n === 1) return { load: get, twice: false, loadAll: () => undefined, store: set, storeAll: () => undefined };
  const shift = Math.log2(n);
  const unit = (i: string, u: number): string => plus(u === 0 ? `${i} >> ${shift}u` : `(${i} >> ${shift}u)`, u);
  return {
    load: (i) => `${get(`${i} >> ${shift}u`)}[${i} & ${n - 1}]`,
    twice: true,
    loadAll: (i, lanes) => {
      if (lanes % n !== 0) return undefined;
      const units = Array.from({ length: lanes / n }, (_, u) => get(unit(i, u)));
      return units.length === 1 ? units[0] : `vec${lanes}<${type}>(${units.join(', ')})`;
    },
    store: () => {
      throw new Error('internal: memory of vectors is written by vectors');
    },
    storeAll: (i, x, lanes) => {
      if (lanes % n !== 0) return undefined;
      const some = (u: number): string => (lanes === n ? x : `${x}.${components.slice(u * n, u * n + n).join('')}`);
      return Array.from({ length: lanes / n }, (_, u) => set(unit(i, u), some(u)));
    },
  };
};

/** Elements of so many bytes in words, of which a unit has `n`; their bits, or bool for bytes. */
export const packed = (bytes: 1 | 2, n: number, { get, set }: Units, parts?: Memory['parts']): Memory => {
  const [bits, shift] = [8 * bytes, bytes === 2 ? 1 : 2];
  const [each, mask] = [4 / bytes, bytes === 2 ? '0xffffu' : '0xffu'];
  const word = (i: string): string => (n === 1 ? get(`${i} >> ${shift}u`) : `${get(`${i} >> ${shift + 1}u`)}[(${i} >> ${shift}u) & 1]`);
  const wordsOf = (i: string, count: number, name: (text: string) => string): readonly string[] => {
    if (n === count) {
      const unit = name(get(`${i} >> ${shift + n - 1}u`));
      return n === 1 ? [unit] : [`${unit}.x`, `${unit}.y`];
    }
    return Array.from({ length: count }, (_, w) => name(word(w === 0 ? i : `(${i} + ${w * each})`)));
  };
  return {
    load: (i) => {
      const part = `((${word(i)} >> ((u32(${i}) & ${each - 1}u) << ${Math.log2(bits)}u)) & ${mask})`;
      return bytes === 2 ? part : `(${part} != 0u)`;
    },
    twice: true,
    loadAll: (i, lanes, name) => {
      if (lanes % each !== 0) return undefined;
      const part = (w: string, k: number): string => {
        const moved = k === 0 ? w : `${w} >> ${k * bits}u`;
        return k === each - 1 ? moved : `${k === 0 ? moved : `(${moved})`} & ${mask}`;
      };
      const all = wordsOf(i, lanes / each, name).flatMap((w) => Array.from({ length: each }, (_, k) => part(w, k)));
      const vector = `vec${lanes}<u32>(${all.join(', ')})`;
      return bytes === 2 ? vector : `(${vector} != vec${lanes}<u32>(0u))`;
    },
    store: set,
    storeAll: () => undefined,
    ...(parts ? { parts } : {}),
  };
};
