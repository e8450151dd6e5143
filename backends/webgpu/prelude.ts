/**
 * The part of the WGSL prelude that one kernel uses. `use(name, lanes)` asks for a function, adds it and what it calls, and returns its name.
 *
 *   use('exp', 4)  ->  'fv_exp_x4', and text() defines fv_isnan_x4 and fv_exp_x4
 */
import type { KType } from '../../compiler/kernel/types.ts';
import type { Dialect } from './dialect.ts';
import { functions, type WgslFunction } from './math.ts';
import { components } from './names.ts';

export type Register = 'f32' | 'f16' | 'i32' | 'u32' | 'bool';
const registers: { readonly [T in KType]: Register } = {
  f32: 'f32',
  f16: 'u32',
  bf16: 'u32',
  i32: 'i32',
  u32: 'u32',
  bool: 'bool',
  index: 'i32',
};
/** Type of a value in a register, without its lanes. bf16 are their bits, and so are f16 where a device has no such type. */
export const registerOf = (dtype: KType, { f16 }: Dialect): Register => (f16 && dtype === 'f16' ? 'f16' : registers[dtype]);
export const vectorOf = (t: Register, lanes: number): string => (lanes === 1 ? t : `vec${lanes}<${t}>`);

export interface Prelude {
  use(name: string, lanes: number): string;
  text(): string;
}

const letters = { F: 'f32', I: 'i32', U: 'u32', B: 'bool' } as const;
const names = ['x', 'y', 'z'];
const suffix = (lanes: number): string => (lanes === 1 ? '' : `_x${lanes}`);

// a variable, so that what is made of it is no constant: WGSL refuses constants that are not finite
const special = 'var<private> fv_special: vec2<u32> = vec2<u32>(0x7f800000u, 0x7fc00000u);';

export const prelude = (): Prelude => {
  const made = new Map<string, string>();
  const use = (name: string, lanes: number): string => {
    const id = `fv_${name}${suffix(lanes)}`;
    if (made.has(id)) return id;
    const fn = functions[name] as WgslFunction;
    const inner = fn.each ? 1 : lanes;
    for (const used of fn.uses ?? []) use(used, functions[used]?.each ? 1 : inner);
    const type = (l: keyof typeof letters, n: number): string => vectorOf(letters[l], n);
    const head = (n: number): string =>
      `fn fv_${name}${suffix(n)}(${fn.args.map((a, i) => `${names[i]}: ${type(a, n)}`).join(', ')}) -> ${type(fn.result, n)}`;
    const body = (n: number): string =>
      fn.body
        .replace(/\b([FIUB])\b(?=[(>])/g, (_, l: keyof typeof letters) => type(l, n))
        .replace(/\bfv_(\w+)\(/g, (_, called: string) => `fv_${called}${functions[called]?.each ? '' : suffix(n)}(`);
    if (!fn.each || lanes === 1) made.set(id, `${head(inner)} {\n  ${body(inner)}\n}`);
    else {
      use(name, 1);
      const lane = (c: string | undefined): string => `fv_${name}(${fn.args.map((_, i) => `${names[i]}.${c}`).join(', ')})`;
      made.set(id, `${head(lanes)} { return ${type(fn.result, lanes)}(${components.slice(0, lanes).map(lane).join(', ')}); }`);
    }
    return id;
  };
  return { use, text: () => (made.size === 0 ? '' : [special, ...made.values()].join('\n')) };
};
