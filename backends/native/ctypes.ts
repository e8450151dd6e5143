/**
 * How K's dtypes look in C. A value of `lanes` > 1 is a GCC / Clang vector; a bool is an int (0 or 1) as a scalar, an int
 * vector of 0 and -1 as a vector, and a byte in memory; bf16 and f16 are their 16 bits everywhere, arithmetic converts.
 *
 *   ctype('f32', 16)  ->  f32x16        ctype('bool', 16)  ->  i32x16        element('bool')  ->  u8
 */
import { bitsOf, toBf16, toF16 } from '../../compiler/kernel/scalar.ts';
import type { KType } from '../../compiler/kernel/types.ts';

export type CType = 'f32' | 'f64' | 'i32' | 'u32' | 'i64' | 'u16' | 'u8';

const registers: { readonly [T in KType]: CType } = {
  f32: 'f32',
  f16: 'u16',
  bf16: 'u16',
  i32: 'i32',
  u32: 'u32',
  bool: 'i32',
  index: 'i64',
};

/** Type of a value in a register, without its lanes. */
export const scalarOf = (dtype: KType): CType => registers[dtype];
export const ctype = (dtype: KType, lanes: number): string => (lanes === 1 ? scalarOf(dtype) : `${scalarOf(dtype)}x${lanes}`);
/** Type of an element in memory. */
export const element = (dtype: KType): CType => (dtype === 'bool' ? 'u8' : scalarOf(dtype));

const sizes: { readonly [T in CType]: number } = { f32: 4, f64: 8, i32: 4, u32: 4, i64: 8, u16: 2, u8: 1 };

/** Typedefs of the scalars; `long` has 64 bits on every system that this backend runs on. */
export const scalarTypes = [
  'typedef float f32; typedef double f64; typedef int i32; typedef unsigned u32; typedef long i64; typedef unsigned long u64;',
  'typedef unsigned short u16; typedef unsigned char u8;',
].join('\n');

/** Typedefs of all vectors of `lanes` lanes; the `u` ones may lie at any element's address. */
export const vectorTypes = (lanes: number): string =>
  (Object.keys(sizes) as CType[])
    .map((t) => {
      const bytes = sizes[t] * lanes;
      return `typedef ${t} ${t}x${lanes} __attribute__((vector_size(${bytes}))); typedef ${t} ${t}x${lanes}u __attribute__((vector_size(${bytes}), aligned(${sizes[t]}), may_alias));`;
    })
    .join('\n');

/** Shortest decimal that reads back as the same float. */
const float = (x: number): string => {
  if (Number.isNaN(x)) return '__builtin_nanf("")';
  if (Math.abs(x) === Number.POSITIVE_INFINITY) return x > 0 ? '__builtin_inff()' : '(-__builtin_inff())';
  if (x === 0) return Object.is(x, -0) ? '(-0.0f)' : '0.0f';
  let digits = 1;
  while (Math.fround(Number(x.toPrecision(digits))) !== x) digits++;
  const text = String(Number(x.toPrecision(digits)));
  const literal = `${/[.e]/.test(text) ? text : `${text}.0`}f`;
  return x < 0 ? `(${literal})` : literal;
};

const integer = (x: number, suffix: string): string => (x < 0 ? `(${x}${suffix})` : `${x}${suffix}`);

/** A scalar constant. */
export const literal = (value: number, dtype: KType): string => {
  switch (dtype) {
    case 'f32':
      return float(Math.fround(value));
    case 'bf16':
      return `(u16)${bitsOf(toBf16(Math.fround(value)), 'bf16')}`;
    case 'f16':
      return `(u16)${bitsOf(toF16(Math.fround(value)), 'f16')}`;
    case 'i32':
      return value === -2147483648 ? '(-2147483647 - 1)' : integer(Math.trunc(value) | 0, '');
    case 'u32':
      return `${Math.trunc(value) >>> 0}u`;
    case 'bool':
      return value === 0 ? '0' : '1';
    case 'index':
      return integer(Math.trunc(value), 'L');
  }
};
