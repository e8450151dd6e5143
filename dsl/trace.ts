/**
 * From a user's function to a graph: arguments are specs, every tensor leaf becomes a parameter named by its path, every tensor leaf of
 * the result a result.
 *
 *   trace((p, x) => apply(linear, p)(x), [paramSpecs(linear), spec('B 384')], { dims: { B: 8 } })
 *   ->  { graph, inputs: [{ path: '0.weight', ... }, { path: '0.bias', ... }, { path: '1', ... }], outputs: [{ path: '', ... }], output: 0 }
 */
import { FoveaError } from '../compiler/error.ts';
import { bindDim, type Dim } from '../compiler/graph/dim.ts';
import type { DType, Graph, TensorType, Value } from '../compiler/graph/types.ts';
import { current, fail, isTensor, lift, tracing, userCode } from './context.ts';
import { isSpec, type TensorOf } from './params.ts';
import { wrap } from './tensor.ts';
import { foreignIn, walk } from './tree.ts';

export interface IoLeaf {
  /** Keys from the root, joined by dots; inputs start with the number of the argument. */
  readonly path: string;
  readonly shape: readonly Dim[];
  readonly dtype: DType;
}
export interface Traced<R = unknown> {
  readonly graph: Graph;
  /** In the order of the graph's parameters. */
  readonly inputs: readonly IoLeaf[];
  /** In the order of the graph's results. */
  readonly outputs: readonly IoLeaf[];
  /** The result tree with the number of an output at each leaf; `rebuild(output, values)` puts values in their places. */
  readonly output: unknown;
  /** The result's type: in the types only. */
  readonly $?: R;
}
export interface TraceOptions {
  /** Sizes by name; names that are not given stay symbols until the graph is bound. */
  readonly dims?: Readonly<Record<string, number>> | undefined;
  /** Is given each function that is differentiated, as it was written: of the derivative, attention is found and constants are gone already. */
  readonly differentiated?: ((g: Graph) => void) | undefined;
}

const ioLeaf = (path: string, t: TensorType): IoLeaf => ({ path, shape: t.shape, dtype: t.dtype });

/**
 * What another copy of the library throws at a tensor of this one says nothing of what is wrong: neither knows the tensors of the other.
 * FV0595 instead.
 */
const ofThisCopy = <R>(f: () => R): R => {
  try {
    return f();
  } catch (e) {
    if (!(e instanceof Error && e.name === 'FoveaError') || e instanceof FoveaError) throw e;
    // the first frame is one of the room that threw
    const other = /(?:\(|at )(?:file:\/\/)?([^\s()]+)\/(?:dsl|compiler)\/[^()]*:\d+:\d+/.exec(e.stack ?? '')?.[1];
    const own = /^(?:file:\/\/)?(.*)\/dsl\//.exec(import.meta.url)?.[1];
    // as CommonJS and as ECMAScript modules the same files are loaded twice
    const twice = other === own;
    throw new FoveaError(
      'FV0595',
      twice
        ? `the function uses another instance of Fovea than the one that traces it, both from ${own}`
        : `the function uses the copy of Fovea in ${other ?? 'another place'}, and that in ${own} traces it`,
      {
        hint: twice
          ? 'A file that is loaded as CommonJS gets its own: add "type": "module" to its package.json, or name it .mts.'
          : 'Let both come from one: npx fovea in the project of the function, and one version there (npm ls fovea).',
        cause: e,
      },
    );
  }
};

/** FV0904 for a result that is still to come, FV0006 for another that is no tree: its keys would be those of an empty one. */
const refuseForeign = (tree: unknown): void => {
  const found = foreignIn(tree);
  if (!found) return;
  const { path, value } = found;
  const result = `result ${path || 'of the function'}`;
  // what it throws later is thrown by a program that is refused
  if (value instanceof Promise) value.catch(() => {});
  const late = 'then' in value ? 'a promise' : 'next' in value ? 'a generator' : undefined;
  if (late)
    fail(
      'FV0904',
      `${result} is ${late}, and a function is traced in one go`,
      'Return the tensors themselves, and wait for what it needs before it is traced.',
    );
  const name = (value.constructor as { readonly name?: string } | undefined)?.name ?? 'object';
  fail(
    'FV0006',
    `${result} is of type ${name}, not a tree of tensors`,
    'A traced function returns a tensor, or records and lists of them.',
  );
};

/** Traces f once over the given arguments. Numbers, strings and booleans in the arguments are static: they become part of the program. */
export const trace = <const Sp extends readonly unknown[], R>(
  f: (...args: TensorOf<Sp>) => R,
  specs: Sp,
  options: TraceOptions = {},
): Traced<R> => {
  const sizes = new Map<string, Dim>(Object.entries(options.dims ?? {}));
  for (const [name, n] of sizes)
    if (!(Number.isInteger(n) && (n as number) >= 0)) fail('FV0005', `the size ${name} = ${n} is not a whole number, 0 or more`);
  return tracing({ sizes, differentiated: options.differentiated }, false, ({ builder }) => {
    const inputs: IoLeaf[] = [];
    const args = walk(
      (path, leaf) => {
        if (isTensor(leaf)) return fail('FV0004', `argument ${path} is a traced tensor; a program takes specs`);
        if (!isSpec(leaf)) return leaf;
        const type: TensorType = { dtype: leaf.dtype, shape: leaf.dims.map((d) => bindDim(d, sizes)) };
        inputs.push(ioLeaf(path, type));
        return wrap(builder.param(type, path));
      },
      '',
      specs,
    ) as TensorOf<Sp>;
    const tree = ofThisCopy(() => userCode(current().names, () => f(...args)));
    refuseForeign(tree);
    const outputs: IoLeaf[] = [];
    const results: Value[] = [];
    const output = walk(
      (path, leaf) => {
        if (!isTensor(leaf))
          return fail(
            'FV0006',
            `result ${path || 'of the function'} is ${leaf === null ? 'null' : typeof leaf}, not a tensor`,
            'A traced function returns a tree of tensors; scalar(n) makes one of a number.',
          );
        const v = lift(leaf);
        outputs.push(ioLeaf(path, v.type));
        return results.push(v) - 1;
      },
      '',
      tree,
    );
    return { graph: builder.build(results), inputs, outputs, output };
  });
};
