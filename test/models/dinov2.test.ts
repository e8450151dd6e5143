import { describe, expect, it } from 'vitest';
import { leaves } from '../../dsl/index.ts';
import { network, trainStep } from '../../models/dinov2.ts';
import { rates } from '../../models/optimizer.ts';
import { recipeFromConfig } from '../../models/recipes/config.ts';
import { geometry } from '../../models/recipes/geometry.ts';
import { schedules } from '../../models/schedules.ts';
import { type Compiled, compileFor, filled, mapNumbers, type Numbers, numbers, parameters } from './evaluate.ts';
import type { Case } from './goldens.ts';
import { check, golden, recorded } from './goldens.ts';

/** The arguments of a recorded run: state before the first step, batches, scalars. */
const runOf = (c: Case) => {
  const r = recipeFromConfig(c.config);
  const g = geometry(r);
  const saved = recorded(c.file);
  const student = parameters(c.params);
  const zeros = mapNumbers((x) => numbers(new Float64Array(x.data.length), x.shape), student);
  const center = (k: number) => ({ value: numbers(new Float64Array(k), [1, k]), pending: numbers(new Float64Array(k), [1, k]) });
  const scalar = (x: number): Numbers => numbers([x], []);
  const state = {
    student,
    teacher: student,
    moments: { first: zeros, second: zeros, weight: { first: scalar(0), second: scalar(0) } },
    step: numbers([0], [], 'i32'),
    ...(r.centering === 'softmax' ? { centers: { dino: center(g.sizes.K), ibot: center(g.sizes.J) } } : {}),
  };
  const input = (name: string): Numbers => filled(c.inputs.find((i) => i.name === name) as Case['inputs'][number]);
  const U = g.maskRows;
  const padded = (x: ArrayLike<number>, dtype: 'f32' | 'i32'): Numbers =>
    numbers(
      Array.from({ length: U }, (_, i) => x[i] ?? 0),
      [U],
      dtype,
    );
  const perms = [...(c.permutations?.list ?? [])];
  const keep = () =>
    g.kept.map(([a, b]) => {
      const branch = () =>
        a === undefined ? [] : [a, b as number].map((m) => numbers((perms.shift() as (typeof perms)[number])[2].slice(0, m), [m], 'i32'));
      return { attn: branch(), ffn: branch() };
    });
  const masks = saved.get('masks')?.data as ArrayLike<number>;
  const count = 2 * r.batch * g.globalTokens;
  const batch = (t: number) => ({
    global: input(`step${t}/global`),
    local: input(`step${t}/local`),
    masks: numbers(Array.from(masks).slice(t * count, (t + 1) * count), [2 * r.batch, g.globalTokens], 'bool'),
    maskIndices: padded(saved.get(`mask_indices/step${t}`)?.data as ArrayLike<number>, 'i32'),
    maskWeights: padded(saved.get(`masks_weight/step${t}`)?.data as ArrayLike<number>, 'f32'),
    maskCount: scalar(saved.get('n_masked')?.data[t] as number),
    ...(r.dropPath.rate > 0 ? { keep: keep() } : {}),
  });
  const s = schedules(r);
  const hyper = (t: number) => ({
    lr: scalar(s.lr(t)),
    lastLayerLr: scalar(s.lastLayerLr(t)),
    weightDecay: scalar(s.weightDecay(t)),
    momentum: scalar(s.momentum(t)),
    teacherTemp: scalar(s.teacherTemp(t)),
  });
  return { r, g, state, batch, hyper, steps: saved.get('n_masked')?.data.length as number };
};

const flat = (tree: unknown): Map<string, Numbers> => {
  const m = new Map<string, Numbers>();
  mapNumbers((x, path) => m.set(path, x), tree);
  return m;
};

describe('whole training runs', () => {
  it.each(['ssl_sk_sep', 'ssl_center_shared', 'ssl_droppath'])('%s: losses, norms and parameters as recorded over all steps', (id) => {
    const c = golden(id);
    const { r, g, batch, hyper, steps, ...start } = runOf(c);
    let state: unknown = start.state;
    let step: Compiled | undefined;
    const metrics: Record<string, number[]> = {};
    for (let t = 0; t < steps; t++) {
      const args = [state, batch(t), hyper(t)];
      step ??= compileFor(trainStep(r) as (...xs: never[]) => unknown, args, g.sizes);
      const out = step.run(...args) as { state: { student: unknown; teacher: unknown }; metrics: unknown };
      state = out.state;
      for (const [k, v] of flat(out.metrics)) {
        metrics[k] ??= [];
        metrics[k].push(v.data[0] as number);
      }
      for (const side of ['student', 'teacher'] as const) {
        const now = flat(out.state[side]);
        for (const o of c.outputs.filter((x) => x.name.startsWith(`${side}_after${t + 1}/`)))
          check(c, o.name, now.get(o.name.split('/')[1] as string)?.data ?? []);
      }
    }
    check(c, 'objective', metrics.loss ?? []);
    for (const name of ['dino_local_crops_loss', 'dino_global_crops_loss', 'koleo_loss', 'ibot_loss'])
      check(c, `loss/${name}`, metrics[name] ?? []);
    for (const o of c.outputs.filter((x) => x.name.startsWith('grad_norm/'))) check(c, o.name, metrics[o.name.replace('/', '.')] ?? []);
  });
});

describe('parameter groups', () => {
  it.each(['ssl_sk_sep', 'ssl_center_shared', 'ssl_droppath'])('%s: factors on learning rate and decay as recorded', (id) => {
    const c = golden(id);
    const r = recipeFromConfig(c.config);
    const ours = Object.fromEntries(leaves(network(r)).map(({ path }) => [path, rates(r)(path)]));
    expect(Object.keys(ours)).toEqual(c.params.map((p) => p.name));
    for (const [path, [lr, decay, lastLayer]] of Object.entries(c.param_groups ?? {})) {
      expect(ours[path]?.lr).toBeCloseTo(lr, 12);
      expect([path, ours[path]?.decay, ours[path]?.lastLayer]).toEqual([path, decay, lastLayer]);
    }
  });
});
