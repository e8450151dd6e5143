/** Group schedule: single cosine schedules beyond their ends, and the five schedules of whole training configurations. */
import { z } from 'zod';
import { recipeFromConfig } from '../../recipes/config.ts';
import { cosine, type Schedules, schedules } from '../../schedules.ts';
import { configOf, malformed, sizeFrom } from '../catalogue.ts';
import type { Numbers } from '../compare.ts';
import { numbers, type Runner } from '../context.ts';

/** Iterations of a schedule; the longest published run has 625,000. */
const most = 1e7;
const whole = sizeFrom(0, most);
const config = z.object({
  settings: z
    .record(
      z.string(),
      z.object({
        base_value: z.number(),
        final_value: z.number(),
        total_iters: whole,
        warmup_iters: whole.default(0),
        start_warmup_value: z.number().default(0),
        freeze_iters: whole.default(0),
      }),
    )
    .default({}),
  configs: z
    .record(
      z.string(),
      z.object({
        optim: z.record(z.string(), z.unknown()),
        teacher: z.record(z.string(), z.unknown()),
        batch_size_per_gpu: whole,
        OFFICIAL_EPOCH_LENGTH: whole,
        /** A list of iterations, or 'all + 3 beyond the end'. */
        iterations: z.union([z.array(whole), z.string()]),
      }),
    )
    .default({}),
});

/** The original's name of each schedule. */
export const scheduleNames = {
  lr: 'lr',
  wd: 'weightDecay',
  momentum: 'momentum',
  teacher_temp: 'teacherTemp',
  last_layer_lr: 'lastLayerLr',
} as const satisfies Readonly<Record<string, keyof Schedules>>;

const upTo = (n: number): number[] => Array.from({ length: n }, (_, i) => i);
/** Single schedules are recorded for this many iterations beyond their end. */
const beyond = 3;

export const schedule: Runner = (c) => {
  const { settings, configs } = configOf(c, config);
  const made = new Map<string, Numbers>();
  const put = (name: string, f: (i: number) => number, at: readonly number[]): void => {
    made.set(name, numbers(Float64Array.from(at, f), [at.length]));
  };
  for (const [name, s] of Object.entries(settings)) {
    const rule = cosine({
      base: s.base_value,
      final: s.final_value,
      total: s.total_iters,
      warmup: s.warmup_iters,
      start: s.start_warmup_value,
      freeze: s.freeze_iters,
    });
    put(`cosine/${name}`, rule, upTo(s.total_iters + beyond));
  }
  for (const [name, s] of Object.entries(configs)) {
    const { optim, teacher, batch_size_per_gpu, OFFICIAL_EPOCH_LENGTH } = s;
    const all = schedules(recipeFromConfig({ optim, teacher, train: { batch_size_per_gpu, OFFICIAL_EPOCH_LENGTH } }));
    const through = (text: string): number[] => {
      const end = all.total + Number(/^all \+ (\d+) beyond the end$/.exec(text)?.[1] ?? Number.NaN);
      if (!(end <= most)) throw malformed(`case ${c.id}`, `config.configs.${name}.iterations: '${text}'`);
      return upTo(end);
    };
    const at = typeof s.iterations === 'string' ? through(s.iterations) : s.iterations;
    for (const [theirs, ours] of Object.entries(scheduleNames)) put(`${name}/${theirs}`, all[ours], at);
  }
  return made;
};
