/**
 * Checks of what declares its own arguments: a `fn` or a module by its signature, any other function by a property `args`, a list
 * of specs. Nothing has to be given, because a signature says all that a function may assume: sizes are drawn from 2 to 5 and numbers at
 * random; parameters of a module are drawn around their initial values, which may be degenerate (a bias of zeros, a scale of 1e-5).
 *
 *   checkDeclared(koleoLoss, { seed: 1 })                                    fn(['B D'], ...)
 *   checkDeclared(attention(8, 2), { dims: { N: 3 } })                       module(..., ['B N D'], ...)
 *   checkDeclared(Object.assign(f, { args: [spec('B D')] }))
 */
import { FoveaError } from '../compiler/error.ts';
import type { Dim } from '../compiler/graph/dim.ts';
import { tensor64 } from '../compiler/graph/interpret.ts';
import { declared, graphSizes, knownSizes, sizeNames, sizesFit } from '../dsl/declared.ts';
import { type HostTensor, init, trace, treeLeaves } from '../dsl/index.ts';
import { type CheckOptions, checkGraph, type Draw, drawn, type GradientReport, settings } from './gradients-check.ts';
import { drawIn, numbers } from './numbers.ts';

export interface DeclaredOptions extends CheckOptions {
  /** Sizes by name, `...0` and `...1` for the axes of `...`; the others are drawn. */
  readonly dims?: Readonly<Record<string, number>>;
}
export interface DeclaredReport extends GradientReport {
  /** As declared. */
  readonly signature: readonly string[];
  /** The sizes that were drawn or given. */
  readonly dims: Readonly<Record<string, number>>;
}

/** Names of the sizes that `dims` may give. FV0503 where f declares no arguments. */
export const declaredSizes = (f: unknown): readonly string[] => sizeNames(declared(f).sizes);

/** Numbers for the names of `wanted`, 2 to 5 where `given` has none, such that every size is a whole number from 0 on. FV0005 if there are none. */
const sizesFor = (wanted: readonly Dim[], given: Readonly<Record<string, number>>, next: () => number): Record<string, number> => {
  knownSizes(wanted, given);
  const names = sizeNames(wanted);
  for (let attempt = 0; attempt < 1000; attempt++) {
    const sizes = Object.fromEntries(names.map((n) => [n, given[n] ?? 2 + Math.floor(4 * next())]));
    if (sizesFit(wanted, sizes)) return sizes;
  }
  throw new FoveaError('FV0005', `no sizes from 2 to 5 fit ${wanted.map(String).join(', ')}`, { hint: 'Give the sizes.' });
};

/** Within a quarter of an initial value, so that zeros and tiny scales take part. */
const around =
  (t: HostTensor): Draw =>
  (type, next) => {
    const off = drawIn(type, -0.25, 0.25, next);
    return tensor64(
      type,
      Array.from(t.data, (x, i) => x + (off.data[i] as number)),
    );
  };

/**
 * Checks the derivatives of f with respect to all float arguments, and parameters if it is a module. The report is that of checkGradients.
 * Throws FV0503 where f declares no arguments and for options, FV0005 where sizes do not fit, FV0103 where there is nothing to
 * differentiate, and whatever tracing f throws.
 */
export const checkDeclared = (f: unknown, options: DeclaredOptions = {}): DeclaredReport => {
  const chosen = settings('checkDeclared', options);
  const { run, args, module, sizes: wanted, signature, dims } = declared(f);
  const sizes = sizesFor(wanted, { ...dims, ...options.dims }, numbers(chosen.seed));
  const { graph } = trace(run as (...xs: unknown[]) => unknown, args as unknown[], { dims: graphSizes(sizes) });
  const starts = module ? treeLeaves<HostTensor>(init(module, chosen.seed, graphSizes(sizes))).map(around) : [];
  const draws = [...starts, ...graph.params.slice(starts.length).map(() => drawn(chosen.range))];
  return { ...checkGraph(graph, draws, chosen), signature, dims: sizes };
};
