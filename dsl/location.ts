/**
 * The user's source line of the operation that is being traced.
 *
 * The V8 stack is asked once per operation (about 10 microseconds); frames of this room, of the compiler, of `compile` and of what
 * runs functions of users (testing, cli) are skipped, so the place is the call in the model, the layer or the test. On engines without V8's structured stack there is no place, and
 * messages carry the scope alone. Loaders that erase types in place (amaro, native stripping) keep these numbers exact; those that
 * rewrite (tsx) bring a source map, which Node keeps where source maps are switched on, and which leads back to the user's text.
 *
 *   here()  ->  { file: '/home/me/model.ts', line: 12, col: 15 }
 */
import type { Loc } from '../compiler/error.ts';

const plain = (file: string): string => (file.startsWith('file://') ? decodeURIComponent(file.slice('file://'.length)) : file);
const own = plain(import.meta.url).replace(/location\.[jt]s.*$/, '');
const skipped = [own, ...['compiler/', 'index.', 'testing/', 'cli/'].map((room) => own.replace(/dsl\/$/, room))];

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

/** The place in the text that the user wrote, of a place in the text that runs. */
const original = (name: string, loc: Loc): Loc => {
  const entry = library?.findSourceMap(name)?.findEntry(loc.line - 1, loc.col - 1);
  if (entry?.originalSource === undefined || entry.originalLine === undefined || entry.originalColumn === undefined) return loc;
  return { file: plain(entry.originalSource), line: entry.originalLine + 1, col: entry.originalColumn + 1 };
};

interface Frame {
  getFileName(): string | null | undefined;
  getLineNumber(): number | null;
  getColumnNumber(): number | null;
}

/** The user's place among the innermost `limit` frames. */
const among = (limit: number): Loc | undefined => {
  const holder = Error as unknown as { prepareStackTrace?: unknown; stackTraceLimit: number };
  const saved = [holder.prepareStackTrace, holder.stackTraceLimit] as const;
  holder.stackTraceLimit = limit;
  holder.prepareStackTrace = (_: Error, frames: readonly Frame[]) => frames;
  // with the hook above, `stack` is the list of frames instead of text
  const frames = new Error().stack as unknown as readonly Frame[] | string | undefined;
  [holder.prepareStackTrace, holder.stackTraceLimit] = saved;
  if (!Array.isArray(frames)) return undefined;
  for (const f of frames as readonly Frame[]) {
    const name = f.getFileName();
    if (!name || name.startsWith('node:')) continue;
    const file = plain(name);
    if (!skipped.some((s) => file.startsWith(s)))
      return original(name, { file, line: f.getLineNumber() ?? 1, col: f.getColumnNumber() ?? 1 });
  }
  return undefined;
};

/** Frames cost time each, and few lie between a call and here; operations that are made of others have more. */
export const here = (): Loc | undefined => among(8) ?? among(20);
