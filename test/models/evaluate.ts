/**
 * Runs traced functions in the float64 interpreter, on host arrays: the judge of a model is the plainest program there is.
 *
 *   const { logits } = evaluate((p: Params<Head>, x: F32<'B D'>) => ({ logits: apply(head, p)(x) }), [params, x])
 */
import { interpret, tensor64 } from '../../compiler/graph/interpret.ts';
import { rebuild, spec, trace } from '../../dsl/index.ts';

/** Numbers on the host, read in float64. */
export interface Numbers {
  readonly shape: readonly number[];
  readonly dtype: 'f32' | 'i32' | 'bool';
  readonly data: ArrayLike<number>;
}
export const numbers = (data: ArrayLike<number>, shape: readonly number[], dtype: Numbers['dtype'] = 'f32'): Numbers => ({
  shape,
  dtype,
  data,
});

const isNumbers = (x: unknown): x is Numbers => typeof x === 'object' && x !== null && 'data' in x && 'shape' in x;
export const mapNumbers = (f: (x: Numbers, path: string) => unknown, tree: unknown, path = ''): unknown => {
  if (isNumbers(tree)) return f(tree, path);
  const below = (k: string | number): string => (path === '' ? `${k}` : `${path}.${k}`);
  if (Array.isArray(tree)) return tree.map((x, i) => mapNumbers(f, x, below(i)));
  return Object.fromEntries(Object.entries(tree as object).map(([k, v]) => [k, mapNumbers(f, v, below(k))]));
};
export const allNumbers = (tree: unknown): Numbers[] => {
  const list: Numbers[] = [];
  mapNumbers((x) => list.push(x), tree);
  return list;
};

export interface Compiled {
  /** Runs on trees of the structure of the examples; the result has the structure of the function's result. */
  readonly run: (...args: readonly unknown[]) => unknown;
  readonly nodes: number;
}

/** Traces f on trees like the examples (only shapes and dtypes are read); sizes by name where the function needs them. */
export const compileFor = (
  f: (...args: never[]) => unknown,
  examples: readonly unknown[],
  dims: Readonly<Record<string, number>> = {},
): Compiled => {
  const specs = examples.map((x) => mapNumbers((n) => spec(n.shape.join(' ') as string, n.dtype), x));
  const { graph, outputs, output } = trace(f as (...xs: unknown[]) => unknown, specs, { dims });
  return {
    nodes: graph.nodes.length,
    run: (...args) => {
      const leaves = allNumbers(args);
      const outs = interpret(
        graph,
        leaves.map((n, i) => tensor64((graph.params[i] as (typeof graph.params)[number]).type, n.data)),
      );
      const named = outputs.map((o, i) =>
        numbers((outs[i] as (typeof outs)[number]).data, o.shape as readonly number[], o.dtype as Numbers['dtype']),
      );
      return rebuild(output, named);
    },
  };
};

export const evaluate = (
  f: (...args: never[]) => unknown,
  args: readonly unknown[],
  dims: Readonly<Record<string, number>> = {},
): unknown => compileFor(f, args, dims).run(...args);

/** A flat list of named tensors as a nested tree: `blocks.0.norm1.weight` -> { blocks: [{ norm1: { weight } }] }. */
export const nest = <T>(entries: readonly (readonly [path: string, value: T])[]): unknown => {
  const root: Record<string, unknown> = {};
  for (const [path, value] of entries) {
    const keys = path.split('.');
    let at = root;
    for (const k of keys.slice(0, -1)) {
      at[k] ??= {};
      at = at[k] as Record<string, unknown>;
    }
    at[keys.at(-1) as string] = value;
  }
  const lists = (x: unknown, name = ''): unknown => {
    if (isNumbers(x) || typeof x !== 'object' || x === null) return x;
    const keys = Object.keys(x);
    const inner = (k: string): unknown => lists((x as Record<string, unknown>)[k], k);
    return name === 'blocks' ? keys.map(inner) : Object.fromEntries(keys.map((k) => [k, inner(k)]));
  };
  return lists(root);
};
