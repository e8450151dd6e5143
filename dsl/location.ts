/**
 * The user's source line of the operation that is being traced.
 *
 * The V8 stack is asked once per operation (about 10 microseconds); frames of this room, of the compiler and of `compile` are skipped, so the
 * place is the call in the model, the layer or the test. On engines without V8's structured stack there is no place, and
 * messages carry the scope alone. Loaders that erase types in place (amaro, native stripping) keep these numbers exact.
 *
 *   here()  ->  { file: '/home/me/model.ts', line: 12, col: 15 }
 */
import type { Loc } from '../compiler/error.ts';

const plain = (file: string): string => (file.startsWith('file://') ? decodeURIComponent(file.slice('file://'.length)) : file);
const own = plain(import.meta.url).replace(/location\.[jt]s.*$/, '');
const skipped = [own, own.replace(/dsl\/$/, 'compiler/'), own.replace(/dsl\/$/, 'index.')];

interface Frame {
  getFileName(): string | null | undefined;
  getLineNumber(): number | null;
  getColumnNumber(): number | null;
}

export const here = (): Loc | undefined => {
  const holder = Error as unknown as { prepareStackTrace?: unknown; stackTraceLimit: number };
  const saved = [holder.prepareStackTrace, holder.stackTraceLimit] as const;
  holder.stackTraceLimit = 16;
  holder.prepareStackTrace = (_: Error, frames: readonly Frame[]) => frames;
  // with the hook above, `stack` is the list of frames instead of text
  const frames = new Error().stack as unknown as readonly Frame[] | string | undefined;
  [holder.prepareStackTrace, holder.stackTraceLimit] = saved;
  if (!Array.isArray(frames)) return undefined;
  for (const f of frames as readonly Frame[]) {
    const name = f.getFileName();
    if (!name || name.startsWith('node:')) continue;
    const file = plain(name);
    if (!skipped.some((s) => file.startsWith(s))) return { file, line: f.getLineNumber() ?? 0, col: f.getColumnNumber() ?? 0 };
  }
  return undefined;
};
