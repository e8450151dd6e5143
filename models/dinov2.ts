/**
 * One training step of DINOv2 (arXiv 2304.07193) as one pure function: (state, batch, hyper) -> { state, metrics }.
 *
 * The teacher, a moving average of the student, looks at the two global crops of every image. Its answers become targets: for
 * the student's class token on the other crops of the image (DINO), and for the patches that are masked in the student's view
 * (iBOT). AdamW moves the student, the average moves the teacher.
 *
 *   const step = trainStep(demo);
 *   trace(step, [stateSpec(demo), batchSpec(demo), hyperSpec()], { dims: geometry(demo).sizes })
 */
import { phase, type Scalar, scope, sqrt, type Tree, valueAndGrad } from '../dsl/index.ts';
import { objective } from './dinov2/objective.ts';
import { batchSpec, hyperSpec, stateSpec } from './dinov2/state.ts';
import { targets } from './dinov2/targets.ts';
import type { Batch, Metrics, Network, State } from './dinov2/types.ts';
import { adamw, average, clipTo, globalNorm, type Hyper, rates } from './optimizer.ts';
import { geometry } from './recipes/geometry.ts';
import { demo, type Recipe } from './recipes.ts';
import { ifFinite, isNumber, nextScale, scaledGrad } from './scaling.ts';

export { batchSpec, hyperAt, hyperSpec, initState, stateSpec } from './dinov2/state.ts';
export type { Batch, Metrics, Network, State } from './dinov2/types.ts';
export { network } from './dinov2/types.ts';
export type { Hyper } from './optimizer.ts';

/** Gradients clipped by the norm of their sub-network, or of all; and the norms before. */
const clip = (grads: Network, { clip: limit, clipBy = 'network' }: Recipe['optim']) => {
  const entries = Object.entries(grads) as [keyof Network, Tree][];
  const norms = entries.map(([name, tree]) => [name, globalNorm(tree)] as const);
  const all = sqrt(norms.map(([, n]) => n.mul(n)).reduce((a, b) => a.add(b)));
  const clipped = entries.map(([name, tree], i) => {
    const [, own] = norms[i] as readonly [string, Scalar];
    return [name, clipTo(tree, clipBy === 'all' ? all : own, limit)] as const;
  });
  return {
    clipped: Object.fromEntries(clipped) as unknown as Network,
    norm: all,
    grad_norm: Object.fromEntries(norms) as Metrics['grad_norm'],
  };
};

/** What a step learns from a batch, before anything moves: the student's losses and gradients, and the targets that they go by. */
export const gradients = (recipe: Recipe) => (state: State, batch: Batch, hyper: Hyper) => {
  const wanted = scope('teacher', () => targets(recipe, state.teacher, batch, hyper.teacherTemp, state.centers));
  const loss = (student: Network) => objective(recipe, student, batch, wanted);
  if (state.scaling) {
    const { aux: losses, grads } = scaledGrad(loss)(state.student, state.scaling);
    return { losses, grads, targets: wanted };
  }
  const [, losses, grads] = valueAndGrad(loss, { hasAux: true })(state.student);
  return { losses, grads, targets: wanted };
};

/** What a step does with them: clipping, AdamW, the teacher's average. */
export const update =
  (recipe: Recipe) =>
  (state: State, { losses, grads, targets: { centers } }: ReturnType<ReturnType<typeof gradients>>, hyper: Hyper): StepResult =>
    phase('opt', () => {
      const { clipped, norm, grad_norm } = scope('clip', () => clip(grads, recipe.optim));
      const { params: student, moments } = scope('adamw', () =>
        adamw(recipe.optim, rates(recipe))(state.student, clipped, state.moments, hyper),
      );
      const teacher = scope('average', () => average(state.teacher, student, hyper.momentum));
      const step = scope('count', () => state.step.add(1));
      const { scaling } = state;
      const moved: State = { student, teacher, moments, step, ...(centers ? { centers } : {}), ...(scaling ? { scaling } : {}) };
      if (recipe.optim.update !== 'finite' && !scaling) return { state: moved, metrics: { ...losses, grad_norm } };
      const finite = isNumber(losses.loss.add(norm));
      const kept = scope('finite', () => ifFinite(finite, moved as never, state as never) as State);
      const next = scaling ? { ...kept, scaling: scope('scaling', () => nextScale(scaling, finite)) } : kept;
      return { state: next, metrics: { ...losses, grad_norm } };
    });

export interface StepResult {
  readonly state: State;
  readonly metrics: Metrics;
}

/** For one recipe, with what it takes: it can be compiled, explained and checked as it is. */
export const trainStep = Object.assign(
  (recipe: Recipe) =>
    Object.assign(
      (state: State, batch: Batch, hyper: Hyper): StepResult => update(recipe)(state, gradients(recipe)(state, batch, hyper), hyper),
      { args: [stateSpec(recipe), batchSpec(recipe), hyperSpec()], dims: geometry(recipe).sizes, donate: [0] },
    ),
  // one block is as good as several to see whether all fits, and quicker
  { examples: [[{ ...demo, model: { ...demo.model, depth: 1 } }]] },
);
