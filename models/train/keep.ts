/**
 * What a run leaves behind: a line of metrics per step (appended, so that a killed run keeps what it had) and the loss curve.
 */
import { closeSync, existsSync, ftruncateSync, openSync, readFileSync, writeSync } from 'node:fs';
import { lineChart, trailingMean } from '../plot/index.ts';
import { cannotWrite, writeAtomic } from '../weights/index.ts';
import type { StepMetrics } from './run.ts';

export interface MetricsLog {
  readonly all: readonly StepMetrics[];
  add(m: StepMetrics): void;
  close(): void;
}

/** Whole lines of a log up to a step. */
const linesUpTo = (file: string, step: number): readonly StepMetrics[] => {
  const all: StepMetrics[] = [];
  for (const line of existsSync(file) ? readFileSync(file, 'utf8').split('\n') : []) {
    try {
      const m = JSON.parse(line) as StepMetrics;
      if (m.step <= step) all.push(m);
    } catch {
      // the half line of a run that was killed
    }
  }
  return all;
};

const lineOf = (m: StepMetrics): Uint8Array => Buffer.from(`${JSON.stringify(m)}\n`);

/**
 * Starts `file` anew, with what it has up to step `from` of a run that goes on from there: a kill meanwhile leaves the old file or the new one. Then
 * lines are appended. FV0407: cannot be written; the file then ends with the last whole line.
 */
export const metricsLog = (file: string, from = 0): MetricsLog => {
  const guarded = <T>(f: () => T): T => {
    try {
      return f();
    } catch (e) {
      throw cannotWrite(file, e);
    }
  };
  const all: StepMetrics[] = from > 0 ? [...guarded(() => linesUpTo(file, from))] : [];
  const kept = Buffer.concat(all.map(lineOf));
  if (from > 0) writeAtomic(file, [kept]);
  const fd = guarded(() => openSync(file, from > 0 ? 'a' : 'w'));
  let end = kept.length;
  const append = (line: Uint8Array): void => {
    try {
      for (let done = 0; done < line.length; ) done += writeSync(fd, line, done, line.length - done);
    } catch (e) {
      try {
        ftruncateSync(fd, end);
      } catch {
        // the first error is the one that matters
      }
      throw e;
    }
    end += line.length;
  };
  return {
    all,
    add: (m) => {
      guarded(() => append(lineOf(m)));
      all.push(m);
    },
    close: () => closeSync(fd),
  };
};

/** Loss terms over steps, averaged over a twentieth of the run, as PNG. */
export const lossCurve = (all: readonly StepMetrics[]): Promise<Uint8Array> => {
  const window = Math.max(1, Math.floor(all.length / 20));
  const of = (name: string, value: (m: StepMetrics) => number) => ({
    name,
    points: trailingMean(
      all.map((m) => [m.step, value(m)] as const),
      window,
    ),
  });
  return lineChart({
    title: 'DINOv2 training loss',
    x: 'step',
    y: `loss, mean of ${window} steps`,
    series: [
      of('total', (m) => m.losses.loss),
      of('dino, local crops', (m) => m.losses.dino_local_crops_loss),
      of('dino, global crops', (m) => m.losses.dino_global_crops_loss),
      of('ibot', (m) => m.losses.ibot_loss),
      of('koleo', (m) => m.losses.koleo_loss),
    ],
  });
};
