/**
 * Tracing functions of trees into closed sub-graphs: flatten the tensors of the arguments, trace, flatten the tensors of the result. What
 * the function uses from outside becomes further parameters (context.ts). Everything that takes a function is built on this.
 *
 *   subgraph([params, x], (p, y) => loss(p, y))  ->  { graph, args: values of p, y and of what loss captured, rebuild }
 */
import type { Graph, Value } from '../compiler/graph/types.ts';
import { close, current, fail, isTensor, lift, type Trace } from './context.ts';
import { wrap } from './tensor.ts';
import { flatten, rebuild, walk } from './tree.ts';

export interface Subgraph {
  readonly graph: Graph;
  /** Values of the running trace for the graph's parameters: the argument's leaves, then what was captured. */
  readonly args: readonly Value[];
  /** The result tree with new values in place of the graph's results. */
  rebuild(values: readonly Value[]): unknown;
}

export interface TensorLeaf {
  readonly path: string;
  readonly value: Value;
}
/** The tensors of a tree, in order. Other leaves are static. */
export const tensorsOf = (tree: unknown): TensorLeaf[] =>
  flatten(tree).flatMap(({ path, leaf }) => (isTensor(leaf) ? [{ path, value: lift(leaf) }] : []));
/** The tensors of `tree`, in the order in which `like` has its own, whatever the order of keys; FV0006 where the two trees differ. */
export const tensorsLike = (like: unknown, tree: unknown, op: string): TensorLeaf[] => {
  const found: TensorLeaf[] = [];
  const visit = (path: string, a: unknown, b: unknown): void => {
    if (isTensor(a) !== isTensor(b))
      fail(
        'FV0006',
        `${op}: ${path || 'it'} is ${isTensor(a) ? 'a tensor' : 'no tensor'} in one tree and ${isTensor(b) ? 'a tensor' : 'none'} in the other`,
      );
    if (isTensor(b)) found.push({ path, value: lift(b) });
  };
  walk(visit, '', like, tree);
  return found;
};
/** The tree with its tensors replaced, in order, by tensors of the running trace. */
export const withValues = (tree: unknown, values: readonly Value[]): unknown => {
  let i = 0;
  return walk((_, leaf) => (isTensor(leaf) ? wrap(values[i++] as Value) : leaf), '', tree);
};

/** The result tree as numbers of results; static leaves stay. */
const outline = (tree: unknown): { readonly values: Value[]; readonly shape: unknown; readonly tensors: ReadonlySet<unknown> } => {
  const values: Value[] = [];
  const tensors = new Set<unknown>();
  const shape = walk(
    (_, leaf) => {
      if (!isTensor(leaf)) return leaf;
      const mark = Symbol(String(values.push(lift(leaf)) - 1));
      tensors.add(mark);
      return mark;
    },
    '',
    tree,
  );
  return { values, shape, tensors };
};

/** Traces f at the trees `args`. `inside`: f is code of the language, whose operations keep the location of the call. */
export const subgraph = (args: readonly unknown[], f: (...args: never[]) => unknown, inside = false): Subgraph => {
  const lead = tensorsOf(args).map((l) => l.value);
  let out: ReturnType<typeof outline> | undefined;
  const closed = close(
    lead.map((v) => v.type),
    [],
    inside,
    (_: Trace, params) => {
      out = outline(f(...(withValues(args, params) as never[])));
      return out.values;
    },
  );
  const { shape, tensors } = out ?? fail('FV0101', 'the function was not traced');
  return {
    graph: closed.graph,
    args: [...lead, ...closed.captured],
    rebuild: (values) => {
      let i = 0;
      return rebuild(
        shape,
        flatten(shape).map(({ leaf }) => (tensors.has(leaf) ? wrap(values[i++] as Value) : leaf)),
      );
    },
  };
};

/** A `call` node: f as a named region whose meaning is its body. */
export const region = (tag: string, args: readonly unknown[], f: (...args: never[]) => unknown, inside = false): unknown => {
  const s = subgraph(args, f, inside);
  return s.rebuild(current().builder.emit({ prim: 'call', tag, body: s.graph }, s.args));
};
