/** Loads and stores of K as WGSL: whole vectors where memory is made of them and the address is a multiple, lane by lane elsewhere. */
import { divisor } from '../../compiler/kernel/divisors.ts';
import type { Expr, Stmt } from '../../compiler/kernel/types.ts';
import { line, local, named, print } from '../../compiler/kernel/written.ts';
import { type Context, register, typeOf, vector } from './context.ts';
import { components } from './names.ts';

type Load = Expr & { readonly k: 'load' };
type Store = Stmt & { readonly s: 'store' };

/** Index of each lane. Indices of masked-off lanes may lie anywhere: reading there is defined, and gives something. */
const places = (index: Expr, lanes: number, c: Context): readonly string[] => {
  const at = local(index, c);
  if (lanes === 1) return [at];
  return Array.from({ length: lanes }, (_, k) => (index.lanes > 1 ? `${at}.${components[k]}` : k === 0 ? at : `(${at} + ${k})`));
};

/** Whether the lanes are a vector of memory, if that has vectors of so many. */
const whole = (index: Expr, lanes: number, c: Context): boolean => index.lanes === 1 && divisor(index, c.divisors) % lanes === 0;

const value = (e: Load, c: Context): string => {
  const memory = c.memory.get(e.from);
  const { lanes, index } = e;
  if (lanes === 1) {
    const i = memory?.twice ? local(index, c) : print(index, c);
    return memory ? memory.load(i) : `${c.name(e.from)}[${i}]`;
  }
  const all = whole(index, lanes, c) ? memory?.loadAll(local(index, c), lanes, (x) => named(x, 'let', c)) : undefined;
  if (all !== undefined) return all;
  const parts = places(index, lanes, c).map((i) => (memory ? memory.load(i) : `${c.name(e.from)}[${i}]`));
  return vector(e.dtype, parts, c);
};

export const loaded = (e: Load, c: Context): string => {
  if (!e.mask) return value(e, c);
  const zero = `${typeOf(e.dtype, e.lanes, c)}(${register(e.dtype, c) === 'bool' ? 'false' : '0'})`;
  return `select(${zero}, ${value(e, c)}, ${print(e.mask, c)})`;
};

/** The bits of a value that is stored in a part of a word. */
const bits = (v: Expr, c: Context): string => {
  const u = typeOf('u32', v.lanes, c);
  return v.dtype === 'bool' ? `select(${u}(0u), ${u}(1u), ${print(v, c)})` : print(v, c);
};

const storeParts = (
  { value: v, index, mask }: Store,
  to: { readonly one: string; readonly all: string },
  each: number,
  c: Context,
): void => {
  const { lanes } = v;
  const at = local(index, c);
  const raw = lanes === 1 ? bits(v, c) : named(bits(v, c), 'let', c);
  if (lanes % each === 0 && index.lanes === 1 && !mask) {
    for (let k = 0; k < lanes; k += each)
      line(c, `${to.all}(${at} + ${k}, ${lanes === each ? raw : `${raw}.${components.slice(k, k + each).join('')}`});`);
    return;
  }
  const on = mask && (lanes === 1 ? print(mask, c) : local(mask, c));
  const pick = (x: string, n: number, k: number): string => (n === 1 ? x : `${x}.${components[k]}`);
  for (let k = 0; k < lanes; k++) {
    const done = `${to.one}(${index.lanes > 1 ? pick(at, lanes, k) : `${at} + ${k}`}, ${pick(raw, lanes, k)});`;
    line(c, on === undefined ? done : `if (${pick(on, lanes, k)}) { ${done} }`);
  }
};

/** Statements that store lanes at places. */
export const stores = (s: Store, c: Context): void => {
  const { value: v, index, mask } = s;
  const { lanes } = v;
  const memory = c.memory.get(s.to);
  if (memory?.parts) {
    storeParts(s, memory.parts(), v.dtype === 'bool' ? 4 : 2, c);
    return;
  }
  const assign = (i: string, x: string): string => memory?.store(i, x) ?? `${c.name(s.to)}[${i}] = ${x};`;
  if (lanes === 1) {
    const done = assign(print(index, c), print(v, c));
    line(c, mask ? `if (${print(mask, c)}) { ${done} }` : done);
    return;
  }
  if (!mask && whole(index, lanes, c)) {
    const x = memory?.storeAll(local(index, c), local(v, c), lanes);
    if (x) {
      for (const one of x) line(c, one);
      return;
    }
  }
  const [at, x, on] = [places(index, lanes, c), local(v, c), mask && local(mask, c)];
  at.forEach((i, k) => {
    const done = assign(i, `${x}.${components[k]}`);
    line(c, on === undefined ? done : `if (${on}.${components[k]}) { ${done} }`);
  });
};
