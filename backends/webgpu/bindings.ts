/**
 * How buffers of a kernel look in WGSL. Storage has no types of 8 or, on most devices, 16 bits, so those lie packed in words. A part of a word is
 * written by an atomic AND of its own bits and an atomic OR: neighbours in the word may be written by other threads, each element by one alone.
 * Two buffers in one place of the arena (a result over its operand, of the same type) must be one binding. And a
 * buffer that is larger than a binding may be, or lies across two buffers of the device, is several bindings, told apart by the index, or only a part
 * of it is bound, if the blocks of a dispatch touch no more (dispatch.ts).
 *
 *   b2: bf16[10] write      ->     var<storage, read_write> b2: array<atomic<u32>>;   fv_put16_b2(i, bits)
 *   b0, cut at word 64      ->     b0, b0_1   fn fv_get_b0(i: i32) -> f32 { if (i < 64) { return b0[i]; } return b0_1[i - 64]; }
 */
import { bytesOf, type DType } from '../../compiler/graph/types.ts';
import type { Kernel } from '../../compiler/kernel/types.ts';
import { elements, type Memory, packed, type Units } from './memory.ts';
import { components } from './names.ts';

/** Where the buffers of a kernel lie: equal numbers for one place, numbered from 0 in order of their first buffers. */
export interface Places {
  readonly places: readonly number[];
  /** Of each place, the words at which its bindings start; the first at 0, unless the dispatch touches no word before. */
  readonly cuts: readonly (readonly number[])[];
  /** Of the dispatch, where it is not the first of its launch: the number of its first block. */
  readonly first?: number;
}
export const apart = (k: Kernel): Places => ({ places: k.buffers.map((_, i) => i), cuts: k.buffers.map(() => [0]) });

export interface Bindings {
  /** By the name of the buffer. */
  readonly of: ReadonlyMap<string, Memory>;
  /** Declarations, to be asked for last: of the bindings, and of the functions that were used. */
  readonly declared: readonly string[];
  readonly count: number;
  functions(): readonly string[];
}

export interface BindingOptions {
  readonly name: (buffer: string) => string;
  /** Scalar type of an array of such elements; undefined where they are parts of words. */
  readonly scalar: (dtype: DType) => string | undefined;
  /** Elements of a vector, of the first buffer of a place. */
  readonly vector: (buffer: string) => number;
}

export const bindingsOf = (k: Kernel, { places, cuts }: Places, { name: nameOf, scalar, vector }: BindingOptions): Bindings => {
  const made = new Map<number, Memory>();
  const declared: string[] = [];
  const functions = new Map<string, string>();
  const memoryOf = (place: number): Memory => {
    const here = k.buffers.filter((_, j) => places[j] === place);
    const [first] = here as [(typeof here)[number]];
    const name = nameOf(first.name);
    const own = scalar(first.dtype);
    const bytes = bytesOf[first.dtype];
    const atomic = own === undefined && here.some((b) => b.access !== 'read');
    const n = own === undefined ? Math.max(1, (vector(first.name) * bytes) / 4) : vector(first.name);
    const unit = n === 1 ? (own ?? 'u32') : `vec${n}<${own ?? 'u32'}>`;
    const unitBytes = n * (own === undefined ? 4 : bytes);
    const starts = (cuts[place] as readonly number[]).map((word) => (4 * word) / unitBytes);
    const pieces = starts.map((_, p) => (p === 0 ? name : `${name}_${p}`));
    for (const piece of pieces)
      declared.push(`@group(0) @binding(${declared.length}) var<storage, read_write> ${piece}: array<${atomic ? 'atomic<u32>' : unit}>;`);
    /** A function `fv_WHAT_NAME` whose body does something with unit i, wherever that lies. */
    const called = (what: string, args: string, result: string, body: (word: string) => string): string => {
      const id = `fv_${what}_${name}`;
      const lines = starts.map((start, p) => {
        const inner = body(`${pieces[p]}[${start === 0 ? 'i' : `i - ${start}`}]`);
        const next = starts[p + 1];
        return next === undefined ? `  ${inner}` : `  if (i < ${next}) { ${inner} }`;
      });
      functions.set(id, `fn ${id}(i: i32${args})${result} {\n${lines.join('\n')}\n}`);
      return id;
    };
    const one = pieces.length === 1 && starts[0] === 0;
    const units: Units = {
      get: (i) => {
        const read = (w: string): string => (atomic ? `atomicLoad(&${w})` : w);
        return one ? read(`${name}[${i}]`) : `${called('get', '', ` -> ${unit}`, (w) => `return ${read(w)};`)}(${i})`;
      },
      set: (i, x) => {
        const write = (w: string, v: string): string => (atomic ? `atomicStore(&${w}, ${v});` : `${w} = ${v};`);
        return one ? write(`${name}[${i}]`, x) : `${called('set', `, v: ${unit}`, '', (w) => `${write(w, 'v')} return;`)}(${i}, ${x});`;
      },
    };
    if (own !== undefined) return elements(own, n, units);
    const change = (op: 'And' | 'Or', i: string, x: string): string =>
      one
        ? `atomic${op}(&${name}[${i}], ${x});`
        : `${called(op.toLowerCase(), ', v: u32', '', (w) => `atomic${op}(&${w}, v); return;`)}(${i}, ${x});`;
    const parts = (): { readonly one: string; readonly all: string } => {
      const [bits, shift] = [8 * bytes, bytes === 2 ? 1 : 2];
      const [n, mask] = [4 / bytes, bytes === 2 ? '0xffffu' : '0xffu'];
      const names = { one: `fv_put${bits}_${name}`, all: `fv_put${bits}s_${name}` };
      const lane = components.slice(0, n);
      const whole = lane.map((c, k) => (k === 0 ? `v.${c}` : `(v.${c} << ${k * bits}u)`)).join(' | ');
      const text = `fn ${names.one}(i: i32, v: u32) {
  let at = i >> ${shift}u;
  let by = (u32(i) & ${n - 1}u) * ${bits}u;
  ${change('And', 'at', `~(${mask} << by)`)}
  ${change('Or', 'at', 'v << by')}
}
fn ${names.all}(i: i32, v: vec${n}<u32>) {
  if ((i & ${n - 1}) == 0) { ${units.set(`i >> ${shift}u`, whole)} return; }
  ${lane.map((c, k) => `${names.one}(i + ${k}, v.${c});`).join(' ')}
}`;
      functions.set(names.one, text);
      return names;
    };
    return packed(bytes as 1 | 2, n, units, atomic ? parts : undefined);
  };
  const of = new Map(
    k.buffers.map((b, i) => {
      const place = places[i] as number;
      const memory = made.get(place) ?? memoryOf(place);
      made.set(place, memory);
      return [b.name, memory] as const;
    }),
  );
  return { of, declared, count: declared.length, functions: () => [...functions.values()] };
};
