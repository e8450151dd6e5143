/**
 * checkGradients: are the derivatives of a function of the language what its values say they are?
 *
 *   const report = checkGradients((x, w) => sum('b o ->', gelu(einsum('b i, o i -> b o', x, w))), {
 *     args: [spec('B 4'), spec('3 4')], dims: { B: 2 }, order: 2,
 *   });
 *   expect(report.ok, formatReport(report)).toBe(true);
 *
 * The function is traced once and evaluated in float64, whatever its dtypes. Everything is fixed by `seed`. Which laws are run and when
 * stands in gradients-check.ts, the laws in gradients-laws.ts; a failure names the primitive, the file of its rule and the source line
 * (gradients-blame.ts).
 */
import { FoveaError } from '../compiler/error.ts';
import { tensor64 } from '../compiler/graph/interpret.ts';
import {
  type HostTensor,
  isHostTensor,
  type Tensor,
  type TensorOf,
  type TensorSpec,
  trace,
  treeLeaves,
  treeMapWithPath,
} from '../dsl/index.ts';
import { type CheckOptions, checkGraph, type Draw, drawn, type GradientReport, settings } from './gradients-check.ts';

/** What f takes for these arguments. The types know nothing of a host tensor's sizes, so f may say what it likes there. */
export type ArgsOf<P> = P extends HostTensor
  ? never
  : P extends TensorSpec<infer S, infer T>
    ? Tensor<S, T>
    : P extends object
      ? { [K in keyof P]: ArgsOf<P[K]> }
      : P;

export interface GradientOptions<Sp extends readonly unknown[]> extends CheckOptions {
  /** A tree for each argument: specs, whose numbers are drawn, and host tensors, which are taken as they are. Other leaves are static. */
  readonly args: Sp;
  /** Sizes by name, whole numbers from 0 on. */
  readonly dims?: Readonly<Record<string, number>>;
  /** All arithmetic is in float64. */
  readonly dtype?: 'f64';
}

const given = (t: HostTensor): Draw => {
  if (t.dtype === 'f16' || t.dtype === 'bf16')
    throw new FoveaError('FV0002', `checkGradients: a ${t.dtype} tensor is given by its bits`, {
      hint: 'Give its numbers as f32, or a spec.',
    });
  return (type) => tensor64(type, t.data);
};

const specOf = (t: HostTensor): TensorSpec => ({ kind: 'spec', shape: t.shape.join(' '), dtype: t.dtype, dims: t.shape });

/**
 * Checks the derivatives of f, which may return any tree of tensors, with respect to all float tensors of its arguments. A wrong derivative
 * is no error but a report whose `verdict` is 'fail'. Throws FV0005 for a size without a number, FV0103 where there is nothing to
 * differentiate (no float argument, no float result, or none that depends on an argument), FV0503 for options, and whatever tracing f throws.
 */
export const checkGradients = <const Sp extends readonly unknown[]>(
  f: (...args: ArgsOf<Sp>) => unknown,
  options: GradientOptions<Sp>,
): GradientReport => {
  const { args, dims = {}, dtype = 'f64' } = options;
  const chosen = settings('checkGradients', options);
  if (dtype !== 'f64')
    throw new FoveaError('FV0503', `checkGradients: dtype ${dtype}: expected f64`, {
      hint: 'Differences need float64; f32 tensors of the function are computed in it too.',
    });
  const specs = treeMapWithPath<readonly unknown[], unknown, unknown>((_, leaf) => (isHostTensor(leaf) ? specOf(leaf) : leaf), args);
  // host tensors stand for their specs: the types of the arguments are those of f
  const { graph } = trace(f as unknown as (...a: TensorOf<readonly unknown[]>) => unknown, specs as readonly unknown[], { dims });
  const bad = graph.params.find((p) => p.type.shape.some((d) => typeof d !== 'number'));
  if (bad)
    throw new FoveaError('FV0005', `checkGradients: the size of argument ${bad.name} is [${bad.type.shape.join(' ')}]`, {
      hint: 'Give a number for each name, as in dims: { B: 2 }.',
    });
  const tensors = treeLeaves<unknown>(args).filter((l) => isHostTensor(l) || (l as { kind?: unknown } | null)?.kind === 'spec');
  const draws = tensors.map((l) => (isHostTensor(l) ? given(l) : drawn(chosen.range)));
  return checkGraph(graph, draws, chosen);
};
