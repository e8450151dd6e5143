/**
 * The user's source line of the operation that is being traced.
 *
 * The V8 stack is asked once per operation (about 10 microseconds); frames of this room, of the compiler, of `compile` and of what runs
 * functions of users (testing) are skipped, so the place is the call in the model, the layer or the test. On engines without V8's
 * structured stack there is no place, and messages carry the scope alone. Loaders that erase types in place (amaro, native stripping) keep
 * these numbers exact. Those that rewrite lead back to the user's text in one of two ways: tsx brings a source map, which Node keeps;
 * vitest puts a function of its own in Error.prepareStackTrace, in whose text the places are the user's.
 *
 *   here()  ->  { file: '/home/me/model.ts', line: 12, col: 15 }
 */
import type { Loc } from '../compiler/error.ts';

const plain = (file: string): string => (file.startsWith('file://') ? decodeURIComponent(file.slice('file://'.length)) : file);
const own = plain(import.meta.url).replace(/location\.[jt]s.*$/, '');
const room = (name: string): string => own.replace(/dsl\/$/, name);
/** In a bundle all of Fovea is one file. */
const whole = !own.endsWith('dsl/');
const skipped = whole ? [own] : [own, ...['compiler/', 'backends/', 'index.', 'program.', 'testing/'].map(room)];
/** Nobody's code stands outside of the command: what runs that is no place. */
const isOutermost = (file: string): boolean => !whole && file.startsWith(room('cli/'));

interface SourceMap {
  findEntry(
    line: number,
    column: number,
  ): { readonly originalSource?: string; readonly originalLine?: number; readonly originalColumn?: number };
}
interface ModuleLibrary {
  findSourceMap(file: string): SourceMap | undefined;
}
/** Node's module library where there is one; the browser has no source maps to ask. */
const library = (globalThis as { process?: { getBuiltinModule?: (name: string) => ModuleLibrary } }).process?.getBuiltinModule?.(
  'node:module',
);

interface Frame {
  getFileName(): string | null | undefined;
  getLineNumber(): number | null;
  getColumnNumber(): number | null;
}
type Hook = (error: Error, frames: readonly Frame[]) => unknown;

/** `    at f (file:///home/me/model.ts:12:15)`, the last line of a stack as text. */
const lastOf = (text: string): Loc | undefined => {
  const [, called, calledLine, calledCol, bare, bareLine, bareCol] =
    text.match(/ at (?:.*? \((.+):(\d+):(\d+)\)|(?:async )?(.+):(\d+):(\d+))$/) ?? [];
  const file = called ?? bare;
  return file === undefined ? undefined : { file: plain(file), line: Number(calledLine ?? bareLine), col: Number(calledCol ?? bareCol) };
};

/** The place in the text that the user wrote, of a place in the text that runs. */
const original = (frame: Frame, name: string, loc: Loc, error: Error, hook: unknown): Loc => {
  const entry = library?.findSourceMap(name)?.findEntry(loc.line - 1, loc.col - 1);
  if (entry?.originalSource !== undefined && entry.originalLine !== undefined && entry.originalColumn !== undefined)
    return { file: plain(entry.originalSource), line: entry.originalLine + 1, col: entry.originalColumn + 1 };
  const text = typeof hook === 'function' ? (hook as Hook)(error, [frame]) : undefined;
  return (typeof text === 'string' && lastOf(text)) || loc;
};

/** Places that were asked for, by those in the text that runs: a model of many layers comes to the same few again and again. */
const met = new Map<string, Loc>();
/** To be called before a program is traced: a loader may have put another text in the place of one since. */
export const forgetPlaces = (): void => met.clear();

/** The stack as it is now, `limit` frames of it; they are looked at when the place is asked for, which costs ten times as much. */
const captured = (limit: number): (() => Loc | undefined) => {
  const holder = Error as unknown as { prepareStackTrace?: unknown; stackTraceLimit: number };
  const before = holder.stackTraceLimit;
  holder.stackTraceLimit = limit;
  const error = new Error();
  holder.stackTraceLimit = before;
  return () => {
    const hook = holder.prepareStackTrace;
    holder.prepareStackTrace = (_: Error, frames: readonly Frame[]) => frames;
    // with the hook above, `stack` is the list of frames instead of text; it is made of what was captured when it is first asked for
    const frames = error.stack as unknown as readonly Frame[] | string | undefined;
    holder.prepareStackTrace = hook;
    return Array.isArray(frames) ? placeAmong(frames, error, hook) : undefined;
  };
};

/** The user's place: the innermost frame that is no part of Fovea or of Node. */
const placeAmong = (frames: readonly Frame[], error: Error, hook: unknown): Loc | undefined => {
  for (const f of frames) {
    const name = f.getFileName();
    if (!name || name.startsWith('node:')) continue;
    const file = plain(name);
    if (isOutermost(file)) return undefined;
    if (skipped.some((s) => file.startsWith(s))) continue;
    const loc = { file, line: f.getLineNumber() ?? 1, col: f.getColumnNumber() ?? 1 };
    const key = `${name}:${loc.line}:${loc.col}`;
    const known = met.get(key) ?? original(f, name, loc, error, hook);
    met.set(key, known);
    return known;
  }
  return undefined;
};

/** The user's place in the stack of an error that is not Fovea's: the first that is no part of Fovea, of Node or of an installed package. */
export const placeIn = (stack: string): Loc | undefined => {
  for (const line of stack.split('\n')) {
    const loc = /^ +at /.test(line) ? lastOf(line) : undefined;
    if (loc && isOutermost(loc.file)) return undefined;
    if (loc && !/^node:|[\\/]node_modules[\\/]/.test(loc.file) && !skipped.some((s) => loc.file.startsWith(s))) return loc;
  }
  return undefined;
};

/** Frames cost time each, and few lie between a call and here; operations that are made of others have more. */
export const here = (): Loc | undefined => captured(8)() ?? captured(20)();

/** The place of a call that may still go wrong later, for about a microsecond. */
export const callPlace = (): (() => Loc | undefined) => captured(12);
