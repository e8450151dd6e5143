/**
 * Group ssl_train: whole training runs. Batches are formula images and masks drawn from the case's random stream; every step's losses,
 * norms and schedules are compared, the targets and gradients of the first step, and parameters and centers after some of them.
 */
import { FoveaError } from '../../../compiler/error.ts';
import { flatten, type HostTensor, host, type Input, toHost } from '../../../index.ts';
import { collateMasks, maskRecipe } from '../../data/index.ts';
import { type Batch, gradients, type Hyper, hyperAt, initState, network, type State, update } from '../../dinov2.ts';
import { rates } from '../../optimizer.ts';
import { recipeFromConfig } from '../../recipes/config.ts';
import { geometry } from '../../recipes/geometry.ts';
import { batchRecipe } from '../../recipes/inputs.ts';
import type { Recipe } from '../../recipes.ts';
import { schedules } from '../../schedules.ts';
import { settle } from '../../sinkhorn.ts';
import { type Case, malformed } from '../catalogue.ts';
import type { Numbers } from '../compare.ts';
import { type Context, filled, numbers, parameters, type Runner, reshaped } from '../context.ts';
import { stream } from '../formula.ts';
import { keepOf, permutations } from './backbone.ts';
import { scheduleNames } from './schedule.ts';

/** Steps of the run: the length of what is recorded once a step. */
const stepsOf = (c: Case): number => {
  const steps = c.outputs.find((o) => o.name === 'n_masked')?.shape[0];
  if (steps === undefined) throw malformed(`case ${c.id}`, 'it has no output n_masked, one number a step');
  return steps;
};

/** The factors on learning rate and decay of every parameter, against those that the case lists. FV0406. */
const checkGroups = (c: Case, r: Recipe): void => {
  const rate = rates(r);
  const wrong = Object.entries(c.param_groups ?? {}).filter(([path, [lr, decay, last]]) => {
    const ours = rate(path);
    // powers of the layer decay, a few roundings apart
    return !(Math.abs(ours.lr - lr) <= 1e-12 * lr && ours.decay === decay && ours.lastLayer === last);
  });
  if (wrong.length > 0)
    throw new FoveaError('FV0406', `case ${c.id}: other factors than recorded for ${wrong.map(([path]) => path).join(', ')}`, {
      hint: 'The factors follow from the names of parameters and the configuration.',
    });
};

/** The state before the first step: student and teacher from the formula, everything else zero. */
const startOf = (c: Case, r: Recipe): Input<State> => {
  const student = parameters(c, network(r));
  return { ...initState(r, 0), student, teacher: student };
};

/** Batches and what collation made of the random stream, step by step. */
const batchesOf = (c: Case, r: Recipe) => {
  const { kept, entries, rates: dropRates, sizes } = geometry(r);
  const draw = permutations(c);
  return (step: number) => {
    const s = stream(`${c.formula_prefix}rng/step${step}`);
    const m = collateMasks(maskRecipe(batchRecipe(r)), s.random);
    const batch: Input<Batch> = {
      global: filled(c, `step${step}/global`),
      local: r.crops.locals > 0 ? filled(c, `step${step}/local`) : host(new Float32Array(0), [0, 3, r.crops.localSize, r.crops.localSize]),
      masks: host(m.masks, [2 * r.batch, sizes.N], 'bool'),
      maskIndices: host(m.indices, [m.indices.length]),
      maskWeights: host(m.weights, [m.weights.length]),
      maskCount: m.count,
      ...(kept.some((list) => list.length > 0) ? { keep: keepOf(dropRates, entries, draw) } : {}),
    };
    return { batch, masks: m, drawn: s.drawn() };
  };
};

/** Everything that a step computes and a case may record. */
const observed = (r: Recipe) => (state: State, batch: Batch, hyper: Hyper) => {
  const learned = gradients(r)(state, batch, hyper);
  const { cls, patches } = learned.targets;
  return {
    ...update(r)(state, learned, hyper),
    grads: learned.grads,
    // a loss without weight has no targets
    targets: { ...(cls ? { cls } : {}), ...(patches ? { patch: patches } : {}) },
  };
};

/** Centers at the end: as they are, with the last batch's mean still pending, and with it merged. */
const centersOf = async (state: Input<State>, context: Context): Promise<ReadonlyMap<string, Numbers>> => {
  const made = new Map<string, Numbers>();
  if (!state.centers) return made;
  for (const [name, { value, pending }] of Object.entries(await toHost(state.centers))) {
    made.set(`center_after/${name}`, value as HostTensor);
    made.set(`center_after_applied/${name}`, await context.run(settle(), [value, pending] as never));
  }
  return made;
};

export const sslTrain: Runner = async (c, context) => {
  const r = recipeFromConfig(c.config);
  checkGroups(c, r);
  const steps = stepsOf(c);
  const [batchAt, hyperOf, plan] = [batchesOf(c, r), hyperAt(r), schedules(r)];
  const made = new Map<string, Numbers>();
  const series = new Map<string, number[]>();
  const add = (name: string, x: number): void => void series.set(name, [...(series.get(name) ?? []), x]);
  const wanted = new Set(c.outputs.map((o) => o.name));
  const masks: number[] = [];

  let state: Input<State> = startOf(c, r);
  let step: Awaited<ReturnType<typeof compileStep>> | undefined;
  const compileStep = (batch: Input<Batch>, hyper: Input<Hyper>) => context.program(observed(r), [state, batch, hyper], geometry(r).sizes);
  for (let t = 0; t < steps; t++) {
    const { batch, masks: m, drawn } = batchAt(t);
    const hyper = hyperOf(t);
    step ??= await compileStep(batch, hyper);
    const out = await step(state, batch, hyper);
    masks.push(...m.masks);
    made.set(`mask_indices/step${t}`, numbers(m.indices.subarray(0, m.count), [m.count]));
    made.set(`masks_weight/step${t}`, numbers(m.weights.subarray(0, m.count), [m.count]));
    add('upperbound', m.indices.length);
    add('n_masked', m.count);
    add('rng_draws', drawn);
    for (const [theirs, ours] of Object.entries(scheduleNames)) add(`sched/${theirs}`, plan[ours](t));
    const { loss, total_loss, grad_norm, ...losses } = out.metrics;
    const read = async (x: { read(): Promise<HostTensor> }): Promise<number> => (await x.read()).data[0]!;
    add('objective', await read(loss));
    add('total_logged', await read(total_loss));
    for (const [name, x] of Object.entries(losses)) add(`loss/${name}`, await read(x));
    for (const [name, x] of Object.entries(grad_norm)) add(`grad_norm/${name}`, await read(x));
    const keep = async (prefix: string, tree: unknown): Promise<void> => {
      for (const { path, leaf } of flatten(tree))
        if (wanted.has(`${prefix}/${path}`)) made.set(`${prefix}/${path}`, await (leaf as { read(): Promise<HostTensor> }).read());
    };
    if (t === 0) {
      await keep('grad_step0', out.grads);
      const { cls, patch } = out.targets;
      if (cls) made.set('targets_step0/cls', await cls.read());
      if (patch) {
        const all = await patch.read();
        const k = all.shape[1]!;
        made.set('targets_step0/patch', numbers(all.data.subarray(0, m.count * k), [m.count, k]));
      }
    }
    await keep(`student_after${t + 1}`, out.state.student);
    await keep(`teacher_after${t + 1}`, out.state.teacher);
    state = out.state;
  }
  for (const [name, x] of await centersOf(state, context)) made.set(name, x);
  step?.dispose();
  made.set('masks', numbers(masks, [steps, 2 * r.batch, geometry(r).sizes.N]));
  for (const [name, list] of series) made.set(name, numbers(list, [list.length]));
  return new Map([...made].map(([name, x]) => [name, recordedShape(c, name, x)]));
};

/** The original keeps some tensors with axes of length 1 that ours lack. */
const recordedShape = (c: Case, name: string, x: Numbers): Numbers => {
  const want = c.outputs.find((o) => o.name === name)?.shape;
  const bare = (s: readonly number[]): string => s.filter((n) => n !== 1).join(' ');
  return want && bare(want) === bare(x.shape) ? reshaped(x, want) : x;
};
