/**
 * The stack of traces: the only state of the language, alive only while a function is being traced.
 *
 * A trace builds one graph. Tracing inside a trace (a composite, grad, checkpoint, scan) builds a closed sub-graph: a tensor of
 * an enclosing trace that the inner function uses becomes a further parameter of the sub-graph (closure conversion), and the
 * caller passes the outer value for it. A tensor of a trace that has ended is an error, FV0004.
 *
 *   trace(x => checkpoint(y => y.mul(x))(x), ...)      // the inner graph has parameters y and, captured, x
 */
import { type Code, FoveaError } from '../compiler/error.ts';
import { type Builder, builder } from '../compiler/graph/builder.ts';
import { bindDim, type Dim, parseDim } from '../compiler/graph/dim.ts';
import type { Graph, Phase, TensorType, Value } from '../compiler/graph/types.ts';
import { forgetPlaces, here } from './location.ts';

export interface Trace {
  readonly builder: Builder;
  readonly parent: Trace | undefined;
  /** Value of the parent trace -> parameter of this one. */
  readonly captures: Map<Value, Value>;
  /** Sizes given to the whole program by name. */
  readonly sizes: ReadonlyMap<string, Dim>;
  /** Who is told of the functions that are differentiated. */
  readonly differentiated: ((g: Graph) => void) | undefined;
  /** Names that are in force in the running body: the program's sizes and what a signature has bound. */
  names: ReadonlyMap<string, Dim>;
  /** True while an operation of the language runs: operations that it is made of keep its source location. */
  inside: boolean;
}

/** Where a tensor object keeps its value and its trace. */
export const slot: unique symbol = Symbol('tensor');
export interface Handle {
  readonly [slot]: { readonly value: Value; readonly trace: Trace };
}
export const isTensor = (x: unknown): x is Handle => typeof x === 'object' && x !== null && slot in x;

let top: Trace | undefined;

/** Throws a FoveaError with the current source line and scope. Between operations the line is the user's, not that of the last one. */
export const fail = (code: Code, message: string, hint?: string): never => {
  throw new FoveaError(code, message, { loc: (top?.inside && top.builder.meta.loc) || here(), scope: top?.builder.meta.scope, hint });
};

/** The running trace. */
export const current = (): Trace =>
  top ??
  fail(
    'FV0004',
    'a tensor operation ran outside a trace',
    'Tensors exist while a function is traced: put the operation into a function and compile that.',
  );

/** The value of a tensor in trace `t`, captured from an enclosing trace where necessary. */
const valueIn = (t: Trace | undefined, h: Handle): Value => {
  const { value, trace } = h[slot];
  if (t === undefined)
    return fail(
      'FV0004',
      `a tensor of shape [${value.type.shape.join(' ')}] was used outside the trace that made it`,
      'Return it from the traced function, or pass it in as an argument: nothing of a trace is left when it ends.',
    );
  if (t === trace) return value;
  const outer = valueIn(t.parent, h);
  const known = t.captures.get(outer);
  if (known) return known;
  const param = t.builder.param(outer.type, outer.name);
  t.captures.set(outer, param);
  return param;
};
export const lift = (h: Handle): Value => valueIn(current(), h);

/** Runs one operation of the language on the builder; its nodes carry the user's source line. */
export const located = <T>(f: (b: Builder) => T): T => {
  const t = current();
  if (t.inside) return f(t.builder);
  t.inside = true;
  try {
    return t.builder.at({ loc: here() }, () => f(t.builder));
  } finally {
    t.inside = false;
  }
};

/** Runs a body that the user wrote: its operations have locations of their own. */
export const userCode = <T>(names: ReadonlyMap<string, Dim>, f: () => T): T => {
  const t = current();
  const saved = [t.names, t.inside] as const;
  [t.names, t.inside] = [names, false];
  try {
    return f();
  } finally {
    [t.names, t.inside] = saved;
  }
};

/** Runs f in a new trace on top of the running one, or in a first one, which `first` is for. `inside`: f is code of the language, not of the user. */
export const tracing = <T>(first: Partial<Pick<Trace, 'sizes' | 'differentiated'>>, inside: boolean, f: (t: Trace) => T): T => {
  const parent = top;
  const { sizes = new Map<string, Dim>(), differentiated } = parent ?? first;
  if (!parent) forgetPlaces();
  const meta = parent?.builder.meta;
  const names = parent?.names ?? sizes;
  const t: Trace = {
    builder: meta ? builder(meta) : builder(),
    parent,
    captures: new Map(),
    sizes,
    differentiated,
    names,
    inside,
  };
  top = t;
  try {
    return f(t);
  } finally {
    top = parent;
  }
};

export interface Closed {
  readonly graph: Graph;
  /** Values of the enclosing trace, in the order of the parameters that stand for them. */
  readonly captured: readonly Value[];
}
/**
 * Traces f, given handles on its parameters as values, into a closed graph with parameters `lead`, captured values, `trail`.
 * The graph is rebuilt in that order, so that parameters are numbered before nodes.
 */
export const close = (
  lead: readonly TensorType[],
  trail: readonly TensorType[],
  inside: boolean,
  f: (t: Trace, params: readonly Value[]) => readonly Value[],
): Closed =>
  tracing({}, inside, (t) => {
    const params = [...lead, ...trail].map((type) => t.builder.param(type));
    const g = t.builder.build(f(t, params));
    const captured = [...t.captures];
    if (captured.length === 0) return { graph: g, captured: [] };
    const order = [...params.slice(0, lead.length), ...captured.map(([, p]) => p), ...params.slice(lead.length)];
    const b = builder();
    const fresh = new Map(order.map((p) => [p, b.param(p.type, p.name)]));
    return {
      graph: b.build(
        b.inline(
          g,
          g.params.map((p) => fresh.get(p) as Value),
        ),
      ),
      captured: captured.map(([outer]) => outer),
    };
  });

/** Everything that f computes stands under `name` in reports, profiles and precision policies: `student/blocks.3/attn`. */
export const scope = <T>(name: string, f: () => T): T => {
  const b = current().builder;
  return b.at({ scope: b.meta.scope === '' ? name : `${b.meta.scope}/${name}` }, f);
};
/** Everything that f computes belongs to this phase of a step. */
export const phase = <T>(p: Phase, f: () => T): T => current().builder.at({ phase: p }, f);

/** A size with the names replaced that the running program has numbers for: a size may be declared before, and outside of, any trace. */
export const bound = (d: Dim): Dim => (top && typeof d !== 'number' ? bindDim(d, top.sizes) : d);

export const words = (shape: string): string[] => shape.split(/\s+/).filter(Boolean);
/** One written dim under the names in force: `N+1`, `3*D`, `384`. */
export const dimOf = (word: string, names: ReadonlyMap<string, Dim>): Dim => {
  try {
    return parseDim(word, names);
  } catch {
    return fail(
      'FV0003',
      `'${word}' is not a size`,
      "A dim is a number, a name, or an expression without spaces such as 'N+1', '3*D', 'D/H'.",
    );
  }
};
/** A written shape under the names in force in the running body. */
export const shapeOf = (shape: string): Dim[] => words(shape).map((w) => dimOf(w, current().names));
