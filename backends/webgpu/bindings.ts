/**
 * How buffers of a kernel look in WGSL. Storage has no types of 8 or 16 bits, so those lie packed in words. A part of a word is written by an
 * atomic AND of its own bits and an atomic OR: neighbours in the word may be written by other threads, each element by one alone. And two
 * buffers in one place of the arena (a result over its operand) must be one binding, which is of words where their types differ.
 *
 *   b2: bf16[10] write     ->     var<storage, read_write> b2: array<atomic<u32>>;   fv_put16_b2(i, bits)
 */
import { bytesOf, type DType } from '../../compiler/graph/types.ts';
import type { Kernel } from '../../compiler/kernel/types.ts';

export interface Binding {
  /** Its name in the text: that of its first buffer. */
  readonly name: string;
  /** What an element of the array is; `word` for numbers of other types, or parts of words. */
  readonly element: 'f32' | 'i32' | 'u32' | 'word';
  /** Words that are written in parts. */
  readonly atomic: boolean;
}

/** The binding of each buffer; `places` numbers the places that buffers lie in, equal numbers for one place. */
export const bindingsOf = (k: Kernel, places: readonly number[], nameOf: (buffer: string) => string): readonly Binding[] => {
  const made = new Map<number, Binding>();
  return k.buffers.map((_, i) => {
    const place = places[i] as number;
    const old = made.get(place);
    if (old) return old;
    const here = k.buffers.filter((_, j) => places[j] === place);
    const [dtype] = here.map((b) => b.dtype) as [DType];
    const plain = bytesOf[dtype] === 4 && here.every((b) => b.dtype === dtype);
    const binding: Binding = {
      name: nameOf((here[0] as (typeof here)[number]).name),
      element: plain ? (dtype as 'f32' | 'i32' | 'u32') : 'word',
      atomic: here.some((b) => bytesOf[b.dtype] < 4 && b.access !== 'read'),
    };
    made.set(place, binding);
    return binding;
  });
};

export const declared = (b: Binding, n: number): string => {
  const element = b.element === 'word' ? (b.atomic ? 'atomic<u32>' : 'u32') : b.element;
  return `@group(0) @binding(${n}) var<storage, read_write> ${b.name}: array<${element}>;`;
};

/** Word `i` of a binding of words. */
export const word = (b: Binding, i: string): string => (b.atomic ? `atomicLoad(&${b.name}[${i}])` : `${b.name}[${i}]`);

/** The bits of element `i`, of 8 or 16, of a binding of words. */
export const partOf = (b: Binding, bytes: 1 | 2, i: string): string =>
  bytes === 2
    ? `((${word(b, `${i} >> 1u`)} >> ((u32(${i}) & 1u) << 4u)) & 0xffffu)`
    : `((${word(b, `${i} >> 2u`)} >> ((u32(${i}) & 3u) << 3u)) & 0xffu)`;

/** Functions that write elements `i` and following, of 8 or 16 bits: one, or as many as fill a word, at once if they lie in one. */
export const writers = (b: Binding, bytes: 1 | 2): { readonly one: string; readonly all: string; readonly text: string } => {
  const [bits, shift] = [8 * bytes, bytes === 2 ? 1 : 2];
  const [n, mask] = [4 / bytes, bytes === 2 ? '0xffffu' : '0xffu'];
  const [one, all] = [`fv_put${bits}_${b.name}`, `fv_put${bits}s_${b.name}`];
  const lane = ['x', 'y', 'z', 'w'].slice(0, n);
  const whole = lane.map((c, k) => (k === 0 ? `v.${c}` : `(v.${c} << ${k * bits}u)`)).join(' | ');
  const text = `fn ${one}(i: i32, v: u32) {
  let at = i >> ${shift}u;
  let by = (u32(i) & ${n - 1}u) * ${bits}u;
  atomicAnd(&${b.name}[at], ~(${mask} << by));
  atomicOr(&${b.name}[at], v << by);
}
fn ${all}(i: i32, v: vec${n}<u32>) {
  if ((i & ${n - 1}) == 0) { atomicStore(&${b.name}[i >> ${shift}u], ${whole}); return; }
  ${lane.map((c, k) => `${one}(i + ${k}, v.${c});`).join(' ')}
}`;
  return { one, all, text };
};
