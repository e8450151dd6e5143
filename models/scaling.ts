/**
 * Dynamic loss scaling, for contractions of f16: their smallest number is 6e-8, and gradients are often smaller. The loss is multiplied
 * by a scale before it is differentiated and the gradients divided by it after, in float32. Where they are not finite the scale was too
 * large: the step is skipped and the scale halved; after 2000 good steps in a row it doubles. All of it is part of the compiled step: no
 * number is read back to decide. bf16 has the range of float32 and needs none of this.
 *
 *   const { value, grads } = scaledGrad(lossOf)(params, state.scaling);
 *   const finite = isNumber(globalNorm(grads));
 *   const moved = ifFinite(finite, update(params, grads), params);
 *   return { params: moved, scaling: nextScale(state.scaling, finite) };
 */
import { type HostOf, host, type Scalar, type SpecOf, spec, type Tensor, type Tree, treeMap, valueAndGrad, where } from '../dsl/index.ts';

/** State of the scaling from step to step. */
export interface LossScale {
  readonly scale: Scalar;
  /** Good steps since the scale last changed. */
  readonly streak: Tensor<'', 'i32'>;
}

export interface ScaleRule {
  readonly growth: number;
  readonly backoff: number;
  /** Good steps in a row after which the scale grows. */
  readonly interval: number;
}
/** The customary ones: those of PyTorch's GradScaler, which DINOv2 trains with. */
const customary: ScaleRule = { growth: 2, backoff: 0.5, interval: 2000 };
/** Beyond these a scale, or its reciprocal, would be no number that halving or doubling brings back. */
const [least, most] = [2 ** -126, 2 ** 126];

export const lossScaleSpec = (): SpecOf<LossScale> => ({ scale: spec(''), streak: spec('', 'i32') });
export const initLossScale = (scale = 65536): HostOf<LossScale> => ({
  scale: host(Float32Array.of(scale), []),
  streak: host(new Int32Array(1), [], 'i32'),
});

/** True unless x is infinite or NaN. */
export const isNumber = (x: Scalar): Tensor<'', 'bool'> => x.sub(x).eq(0); // infinity and NaN leave NaN

/** Leaf by leaf `next`, or `old` where a step is to be skipped. */
export const ifFinite = <P extends Tree>(finite: Tensor<'', 'bool'>, next: P, old: P): P =>
  treeMap((n, o) => where(finite, n, o), next, old);

/**
 * Value and gradients of f, differentiated under the scale and divided by it again; what f gives beside its value passes by. Where the
 * gradients are not finite they mean nothing.
 */
export const scaledGrad =
  <P extends Tree, A>(f: (params: P) => readonly [Scalar, A]) =>
  (params: P, { scale }: LossScale): { readonly value: Scalar; readonly aux: A; readonly grads: P } => {
    const scaled = (p: P): readonly [Scalar, readonly [Scalar, A]] => {
      const [value, aux] = f(p);
      return [value.mul(scale), [value, aux]];
    };
    const [, [value, aux], large] = valueAndGrad(scaled as never, { hasAux: true })(params as never) as unknown as [
      Scalar,
      readonly [Scalar, A],
      P,
    ];
    return { value, aux, grads: treeMap((g) => g.div(scale), large) };
  };

/** The scale of the next step. */
export const nextScale = ({ scale, streak }: LossScale, finite: Tensor<'', 'bool'>, rule: Partial<ScaleRule> = {}): LossScale => {
  const { growth, backoff, interval } = { ...customary, ...rule };
  const good = where(finite, streak.add(1), 0);
  const grows = good.ge(interval);
  return {
    scale: where(finite, where(grows, scale.mul(growth).min(most), scale), scale.mul(backoff).max(least)),
    streak: where(grows, 0, good),
  };
};
