import { describe, expect, it } from 'vitest';
import { recipeFromConfig } from '../../models/recipes/config.ts';
import { cosine, type Schedules, schedules } from '../../models/schedules.ts';
import { check, golden, recorded } from './goldens.ts';

const c = golden('schedules');
const all = recorded(c.file);
const { settings, configs } = c.config as { settings: Record<string, Record<string, number>>; configs: Record<string, unknown> };
const length = (key: string): number => all.get(key)?.data.length ?? 0;

describe('cosine', () => {
  it.each(Object.entries(settings))('%s equals the recorded array, also beyond its end', (name, s) => {
    const rule = cosine({
      base: s.base_value as number,
      final: s.final_value as number,
      total: s.total_iters as number,
      warmup: s.warmup_iters ?? 0,
      start: s.start_warmup_value ?? 0,
      freeze: s.freeze_iters ?? 0,
    });
    check(
      c,
      `cosine/${name}`,
      Array.from({ length: length(`cosine/${name}`) }, (_, i) => rule(i)),
    );
  });
});

describe('the schedules of a run', () => {
  const names = { lr: 'lr', wd: 'weightDecay', momentum: 'momentum', teacher_temp: 'teacherTemp', last_layer_lr: 'lastLayerLr' } as const;
  it.each(Object.entries(configs))('%s equals the recorded arrays', (name, config) => {
    const o = config as Record<'optim' | 'teacher', unknown> & {
      batch_size_per_gpu: number;
      OFFICIAL_EPOCH_LENGTH: number;
      iterations: readonly number[] | string;
    };
    const { optim, teacher, batch_size_per_gpu, OFFICIAL_EPOCH_LENGTH } = o;
    const s: Schedules = schedules(recipeFromConfig({ optim, teacher, train: { batch_size_per_gpu, OFFICIAL_EPOCH_LENGTH } }));
    for (const [key, ours] of Object.entries(names)) {
      const id = `${name}/${key}`;
      expect(length(id)).toBeGreaterThan(0);
      const at = typeof o.iterations === 'string' ? Array.from({ length: length(id) }, (_, i) => i) : o.iterations;
      check(c, id, at.map(s[ours]));
    }
  });
});
