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
import { phase, scope, valueAndGrad } from '../dsl/index.ts';
import { objective } from './dinov2/objective.ts';
import { targets } from './dinov2/targets.ts';
import type { Batch, Metrics, Network, State } from './dinov2/types.ts';
import { adamw, average, clipByNorm, type Hyper, rates } from './optimizer.ts';
import type { Recipe } from './recipes.ts';

export { batchSpec, hyperAt, hyperSpec, initState, stateSpec } from './dinov2/state.ts';
export type { Batch, Metrics, Network, State } from './dinov2/types.ts';
export { network } from './dinov2/types.ts';
export type { Hyper } from './optimizer.ts';

/** Gradients of every sub-network clipped by its own norm. */
const clip = (grads: Network, limit: number | null) => {
  const backbone = clipByNorm(grads.backbone, limit);
  const dino = clipByNorm(grads.dino_head, limit);
  const ibot = grads.ibot_head && clipByNorm(grads.ibot_head, limit);
  const clipped: Network = { backbone: backbone.clipped, dino_head: dino.clipped, ...(ibot ? { ibot_head: ibot.clipped } : {}) };
  return { clipped, grad_norm: { backbone: backbone.norm, dino_head: dino.norm, ...(ibot ? { ibot_head: ibot.norm } : {}) } };
};

export const trainStep =
  (recipe: Recipe) =>
  (state: State, batch: Batch, hyper: Hyper): { readonly state: State; readonly metrics: Metrics } => {
    const wanted = scope('teacher', () => targets(recipe, state.teacher, batch, hyper.teacherTemp, state.centers));
    const [, losses, grads] = valueAndGrad((student: Network) => objective(recipe, student, batch, wanted), { hasAux: true })(
      state.student,
    );
    return phase('opt', () => {
      const { clipped, grad_norm } = scope('clip', () => clip(grads, recipe.optim.clip));
      const { params: student, moments } = scope('adamw', () =>
        adamw(recipe.optim, rates(recipe))(state.student, clipped, state.moments, hyper),
      );
      const teacher = scope('average', () => average(state.teacher, student, hyper.momentum));
      const step = scope('count', () => state.step.add(1));
      const next: State = { student, teacher, moments, step, ...(wanted.centers ? { centers: wanted.centers } : {}) };
      return { state: next, metrics: { ...losses, grad_norm } };
    });
  };
