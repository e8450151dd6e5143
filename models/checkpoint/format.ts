/**
 * A checkpoint of a run on one rank or many: a folder for each step that was kept, with one file a rank and a marker that is written last.
 *
 *   checkpoints/step-000400/part-0-of-2.safetensors     the pieces that rank 0 holds
 *                           part-1-of-2.safetensors
 *                           complete.json               sizes and SHA-256 of the parts; without it the folder counts as nothing
 *
 * A piece is a run of elements of a tensor in row-major order. Which run it is stands in the metadata of the part, so that any number of ranks
 * reads what any other number has written.
 */
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';

export const markerName = 'complete.json';
export const partName = (rank: number, ranks: number): string => `part-${rank}-of-${ranks}.safetensors`;
export const stepName = (step: number): string => `step-${String(step).padStart(6, '0')}`;

const count = z.number().int().nonnegative();

export const marker = z.object({
  format: z.literal('fovea checkpoint 1'),
  step: count,
  /** What the run wants to know of itself: recipe, seed. */
  run: z.record(z.string(), z.string()),
  parts: z
    .array(z.object({ file: z.string().regex(/^part-\d+-of-\d+\.safetensors$/), bytes: count, sha256: z.string().length(64) }))
    .min(1),
});
export type Marker = z.infer<typeof marker>;

/** Of every tensor of a part: the shape of the whole, and the number of the first element that lies in the part. */
export const pieces = z.record(z.string(), z.object({ shape: z.array(count), from: count }));
export type Pieces = z.infer<typeof pieces>;

/** Steps of which there is a folder, complete or what a killed run has left; none where there is no such folder. */
export const stepsIn = (folder: string): readonly number[] => {
  const names = (): readonly string[] => {
    try {
      return readdirSync(folder);
    } catch (e) {
      if (['ENOENT', 'ENOTDIR'].includes((e as NodeJS.ErrnoException).code ?? '')) return [];
      throw e;
    }
  };
  return names()
    .filter((name) => /^step-\d{6,}$/.test(name))
    .map((name) => Number(name.slice('step-'.length)))
    .sort((a, b) => a - b);
};

/** Steps that are complete, the newest last. */
export const completeSteps = (folder: string): readonly number[] =>
  stepsIn(folder).filter((step) => existsSync(join(folder, stepName(step), markerName)));
