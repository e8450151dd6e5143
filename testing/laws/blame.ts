/**
 * Whom a counterexample of a derivative law blames: the first node of the program that breaks the law by itself, at the values that it
 * saw and in directions that the seed draws. Of a region, the primitive inside of it.
 *
 *   blamed('forward', p, seed)  ->  the rule of tanh in compiler/transform/jvp-pointwise.ts, at %5
 */
import type { Tensor64 } from '../../compiler/graph/tensor64.ts';
import { isFloat, type Node, type TensorType, type Value } from '../../compiler/graph/types.ts';
import { blameDuality, blameForward, type Place } from '../gradients-blame.ts';
import { watch } from '../gradients-run.ts';
import { drawLike, numbers } from '../numbers.ts';
import type { Program } from '../program.ts';
import { single } from '../transforms.ts';

type Blame = (n: Node, ins: readonly Tensor64[], next: () => number) => Place | undefined;
const blames: { readonly [L in 'forward' | 'duality']: Blame } = {
  forward: (n, ins, next) => blameForward(single(n), ins, next),
  duality: (n, ins, next) => {
    const types = n.inputs.flatMap((v): TensorType[] => (isFloat(v.type.dtype) ? [v.type] : []));
    return blameDuality(
      single(n),
      ins,
      types.map((t) => drawLike(t, next)),
      next,
    );
  },
};

/** The end of a sentence that says what is wrong. */
export const blamed = (law: keyof typeof blames, { graph, inputs }: Program, seed: number): string => {
  const next = numbers(seed);
  let found: string | undefined;
  watch(graph, inputs, (n, ins, outs) => {
    const place = found === undefined ? blames[law](n, ins, next) : undefined;
    if (place)
      found = `the rule of ${place.tag ? `${place.prim} ${place.tag}` : place.prim} in ${place.file}, at %${(n.outputs[0] as Value).id}`;
    return outs;
  });
  return found ?? 'every node is right by itself: the fault is in how rules are put together';
};
