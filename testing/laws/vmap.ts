/** Example k of vmap(f)(xs) is f(x_k), bit for bit in the interpreter, whichever arguments are batched. */
import { interpret, type Tensor64, tensor64 } from '../../compiler/graph/interpret.ts';
import { countOf } from '../../compiler/graph/tensor64.ts';
import type { Value } from '../../compiler/graph/types.ts';
import { verify } from '../../compiler/graph/verify.ts';
import type { Program } from '../program.ts';
import { exposed, vmapGraph } from '../transforms.ts';
import { type Law, sameBits } from './law.ts';

const size = 3;

/** Example k of an argument: its numbers moved round by k places, so that examples differ and stay in range. */
const example = (t: Tensor64, k: number): Tensor64 => {
  const n = countOf(t.type);
  return tensor64(
    t.type,
    Array.from({ length: n }, (_, i) => t.data[(i + k) % n] as number),
  );
};
const stacked = (ts: readonly Tensor64[]): Tensor64 => {
  const { type } = ts[0] as Tensor64;
  return tensor64(
    { ...type, shape: [ts.length, ...type.shape] },
    ts.flatMap((t) => Array.from(t.data)),
  );
};

/** Every example of a batch against the program itself, as a sentence where they differ. */
export const loop = ({ graph: g, inputs }: Program, batched: readonly boolean[]): string | undefined => {
  const { graph, out } = vmapGraph(g, batched, size);
  verify(graph);
  const examples = Array.from({ length: size }, (_, k) => inputs.map((t, i) => (batched[i] ? example(t, k) : t)));
  const got = interpret(
    graph,
    inputs.map((t, i) => (batched[i] ? stacked(examples.map((e) => e[i] as Tensor64)) : t)),
  );
  for (const [k, e] of examples.entries()) {
    const mine = got.map((y, r): Tensor64 => {
      const { type } = g.results[r] as Value;
      const n = countOf(type);
      return { type, data: out[r] ? y.data.subarray(k * n, (k + 1) * n) : y.data };
    });
    const wrong = sameBits(interpret(g, e), mine);
    if (wrong !== undefined) return `example ${k}, arguments batched ${batched.join(' ')}: ${wrong}`;
  }
  return undefined;
};

export const vmapLaws: readonly Law[] = [
  {
    name: 'vmap',
    says: 'vmap is a loop over examples, for every value of the program',
    check: ({ graph, inputs }, { seed }) => {
      const p = { graph: exposed(graph), inputs };
      const some = graph.params.map((_, i) => ((seed >> (i % 8)) & 1) === 0);
      // what one choice batches the other does not
      return (
        loop(p, some) ??
        loop(
          p,
          some.map((is) => !is),
        )
      );
    },
  },
];
