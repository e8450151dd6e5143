/**
 * The file of measured schedules: JSON lines, one record a line, so that it can be read, compared, edited and shipped, and a damaged line
 * costs only itself. A record counts on a machine like the one that it was measured on, with the same compiler and version of the
 * templates. Other records stay in the file and are not used, damaged lines go when it is next written; a notice on standard error says so once.
 *
 *   {"version":1,"target":"AMD EPYC, 512-bit vectors, ...","key":"gemm 1536x384x2056 f32[1 1536] f32[1 384]",
 *    "schedule":{"bm":504,...},"ms":23.1,"model":{"bm":1540,...},"model_ms":26.3,"tried":24,"when":"2026-05-01T10:00:00.000Z"}
 */
import { randomUUID } from 'node:crypto';
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { z } from 'zod';
import type { Measured, Schedules, Target, Tuner } from '../../compiler/target.ts';
import { scheduleVersion } from '../../compiler/tile/schedules.ts';
import { cacheFolder } from '../native/cache.ts';
import { machine } from './machine.ts';
import { findCompiler } from './toolchain.ts';

const schedule = z.record(z.string(), z.number());
const entry = z.object({
  version: z.number(),
  target: z.string(),
  key: z.string(),
  schedule,
  ms: z.number(),
  model: schedule,
  model_ms: z.number(),
  tried: z.number(),
  when: z.string(),
});
type Entry = z.infer<typeof entry>;

/** What decides, of a machine and what compiles for it, which schedule is fast. */
const describe = async ({ vectorBytes, registers, bf16Dot, cacheBytes: { l1, l2 }, workers }: Target): Promise<string> =>
  [
    machine().model,
    `${8 * vectorBytes}-bit vectors`,
    `${registers} registers`,
    ...(bf16Dot ? ['bf16 pairs'] : []),
    `caches ${l1 >> 10} and ${l2 >> 10} KiB`,
    `${workers} thread${workers === 1 ? '' : 's'}`,
    (await findCompiler()).version,
  ].join(', ');

/** The entry of a line, or what is wrong with it. */
const parse = (line: string): Entry | string => {
  try {
    const { success, data } = entry.safeParse(JSON.parse(line));
    return success ? data : 'not a record';
  } catch {
    return 'not JSON';
  }
};

const linesOf = async (path: string): Promise<readonly string[]> => {
  try {
    return (await readFile(path, 'utf8')).split('\n').filter((l) => l.trim() !== '');
  } catch (e) {
    if ((e as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw e;
  }
};

const why = (e: unknown): string => (e instanceof Error ? e.message : String(e));
const counted = (reasons: readonly string[]): string =>
  [...new Set(reasons)].map((r) => `${reasons.filter((x) => x === r).length} ${r}`).join(', ');

/** Everything of a tuner but the race. `path`, else FOVEA_SCHEDULES, else schedules.jsonl in the kernel cache. */
export const schedulesFile = (target: Target, path?: string): Omit<Tuner, 'race'> => {
  const place = async (): Promise<string> => path ?? (process.env['FOVEA_SCHEDULES'] || join(await cacheFolder(), 'schedules.jsonl'));
  const said = new Set<string>();
  const notice = (text: string): void => {
    if (said.has(text)) return;
    said.add(text);
    process.stderr.write(`fovea: ${text}\n`);
  };
  const known = async (): Promise<Schedules> => {
    const [at, own] = [await place(), await describe(target)];
    let lines: readonly string[] = [];
    try {
      lines = await linesOf(at);
    } catch (e) {
      notice(`${at} is not used: ${why(e)}`);
    }
    const found = new Map<string, Entry['schedule']>();
    const faults: string[] = [];
    let foreign = 0;
    for (const line of lines) {
      const e = parse(line);
      if (typeof e === 'string') faults.push(e);
      else if (e.version !== scheduleVersion) faults.push(`of version ${e.version}, not ${scheduleVersion}`);
      else if (e.target !== own) foreign++;
      else found.set(e.key, e.schedule);
    }
    // records for other machines are in order where there are some for this one
    if (found.size === 0 && foreign > 0) faults.push(...Array.from({ length: foreign }, () => `for other targets than ${own}`));
    if (faults.length > 0) notice(`${at}: ${faults.length} of ${lines.length} schedules are not used: ${counted(faults)}`);
    return found;
  };
  /** Adds to what stands in the file now: another process may have added to it. A record takes the place of an older one of its key. */
  const keep = async (measured: readonly Measured[]): Promise<void> => {
    const [at, own] = [await place(), await describe(target)];
    const temporary = `${at}.${randomUUID()}.tmp`;
    const ms = (s: number): number => Number((1e3 * s).toPrecision(4));
    try {
      const older = await linesOf(at);
      const lines = measured.map(({ key, schedule, seconds, model, modelSeconds, tried }) => {
        const when = new Date().toISOString();
        const e: Entry = {
          version: scheduleVersion,
          target: own,
          key,
          schedule,
          ms: ms(seconds),
          model,
          model_ms: ms(modelSeconds),
          tried,
          when,
        };
        return JSON.stringify(e);
      });
      const keys = new Set(measured.map((m) => m.key));
      const rest = older.filter((line) => {
        const e = parse(line);
        return typeof e !== 'string' && !(e.target === own && keys.has(e.key));
      });
      await mkdir(dirname(at), { recursive: true });
      await writeFile(temporary, [...rest, ...lines, ''].join('\n'));
      await rename(temporary, at);
    } catch (e) {
      // what was measured is used all the same
      notice(`cannot write ${at}: ${why(e)}`);
    } finally {
      await rm(temporary, { force: true });
    }
  };
  return { known, keep, notice };
};
