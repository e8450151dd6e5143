/**
 * A cursor over IR text: skips white space, matches sticky patterns, and turns every surprise into FV0102 with the line
 * and what was expected. Shared by the readers of parse.ts.
 *
 *   cursor('axis=1').key('axis').int()   ->   1
 *   cursor('axes=1').key('axis')         ->   FV0102: line 1: expected 'axis=', found 'axes=1'
 */
import { FoveaError } from '../error.ts';
import { type Dim, parseDim } from './dim.ts';
import { type DType, dtypes } from './types.ts';

export interface Cursor {
  /** True and moves past `text` if it comes next. */
  eat(text: string): boolean;
  /** True if `text` comes next; stays. */
  peek(text: string): boolean;
  expect(text: string): void;
  /** The text that matches a sticky pattern, or FV0102. */
  match(pattern: RegExp, what: string): string;
  /** `name=`, then the value follows: `c.key('axis').int()`. */
  key(name: string): Cursor;
  int(): number;
  number(): number;
  dim(): Dim;
  /** A bare word or a quoted string. */
  name(): string;
  quoted(): string;
  dtype(): DType;
  oneOf<T extends string>(words: readonly T[], what: string): T;
  /** `[a b c]`. */
  list<T>(item: () => T): T[];
  done(): boolean;
  fail(expected: string): never;
}

const mono = '[A-Za-z_]\\w*(?:\\*[A-Za-z_]\\w*)*';
const factor = `(?:\\d+|[A-Za-z_]\\w*|\\(${mono}/(?:[A-Za-z_]\\w*|\\(${mono}\\))\\))`;
const term = `-?${factor}(?:\\*${factor})*`;
/** Sizes exactly as they are printed: a sum of products. Products of sums would let short text expand without bound. */
const dimText = new RegExp(`${term}(?:[+-]${term})*`, 'y');
/** Longest size that is read; the adding up of its terms is quadratic. */
const dimLimit = 1000;

export const cursor = (text: string): Cursor => {
  let pos = 0;
  const space = /\s*/y;
  const skip = (): void => {
    space.lastIndex = pos;
    space.exec(text);
    pos = space.lastIndex;
  };
  const fail = (expected: string): never => {
    skip();
    const line = text.slice(0, pos).split('\n').length;
    const found = pos >= text.length ? 'the end' : `'${text.slice(pos, pos + 30).split('\n')[0]}'`;
    throw new FoveaError('FV0102', `line ${line}: expected ${expected}, found ${found}`);
  };
  const eat: Cursor['eat'] = (s) => {
    skip();
    if (!text.startsWith(s, pos)) return false;
    pos += s.length;
    return true;
  };
  const match: Cursor['match'] = (pattern, what) => {
    skip();
    pattern.lastIndex = pos;
    const m = pattern.exec(text);
    if (!m || m[0] === '') return fail(what);
    pos = pattern.lastIndex;
    return m[0];
  };
  /** Reads with `read`; if the value does not pass, the complaint points at its beginning. */
  const checked = <T>(read: () => T, ok: (t: T) => boolean, what: string): T => {
    skip();
    const at = pos;
    const t = read();
    if (ok(t)) return t;
    pos = at;
    return fail(what);
  };
  const quoted = (): string => {
    const what = 'a quoted string';
    return checked(
      () => {
        try {
          return JSON.parse(match(/"(?:[^"\\\n]|\\.)*"/y, what)) as string;
        } catch (e) {
          if (e instanceof FoveaError) throw e;
          return undefined;
        }
      },
      (s) => s !== undefined,
      what,
    ) as string;
  };
  const c: Cursor = {
    eat,
    peek: (s) => {
      skip();
      return text.startsWith(s, pos);
    },
    expect: (s) => {
      if (!eat(s)) fail(`'${s}'`);
    },
    match,
    key: (name) => {
      if (!eat(`${name}=`)) fail(`'${name}='`);
      return c;
    },
    int: () => checked(() => Number(match(/-?\d+/y, 'an integer')), Number.isSafeInteger, 'an integer below 2^53'),
    number: () => Number(match(/-?(?:Infinity|\d+(?:\.\d+)?(?:e[+-]?\d+)?)|NaN/y, 'a number')),
    dim: () =>
      checked(
        () => {
          const t = match(dimText, 'a size');
          return t.length > dimLimit ? undefined : parseDim(t);
        },
        (d) => d !== undefined && (typeof d !== 'number' || Number.isSafeInteger(d)),
        `a size of at most ${dimLimit} characters, below 2^53`,
      ) as Dim,
    name: () => {
      skip();
      return text[pos] === '"' ? quoted() : match(/[A-Za-z_][\w.$/-]*/y, 'a name');
    },
    quoted,
    dtype: () => c.oneOf(dtypes, 'a dtype'),
    oneOf: (words, what) => {
      const found = checked(
        () => match(/[\w-]+/y, what),
        (w) => (words as readonly string[]).includes(w),
        what,
      );
      return found as (typeof words)[number];
    },
    list: (item) => {
      c.expect('[');
      const out = [];
      while (!eat(']')) out.push(item());
      return out;
    },
    done: () => {
      skip();
      return pos >= text.length;
    },
    fail,
  };
  return c;
};
