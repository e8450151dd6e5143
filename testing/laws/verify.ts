/**
 * verify takes what the builder makes and refuses damaged graphs. Each mutation is made at one node or value; most are wrong by
 * construction. A swap of operands may happen to be legal: then the mutant is another program, and it must run and give what its types
 * say.
 */
import { FoveaError } from '../../compiler/error.ts';
import { eqType, infer } from '../../compiler/graph/infer.ts';
import { interpret } from '../../compiler/graph/interpret.ts';
import { binaryFns } from '../../compiler/graph/interpret-pointwise.ts';
import { print } from '../../compiler/graph/print.ts';
import { countOf } from '../../compiler/graph/tensor64.ts';
import type { DType, Graph, Node, Op, TensorType, Value } from '../../compiler/graph/types.ts';
import { verify } from '../../compiler/graph/verify.ts';
import { numbers } from '../numbers.ts';
import type { Law } from './law.ts';

const other = (t: DType): DType => (t === 'f32' ? 'i32' : 'f32');
const wider = (t: TensorType): TensorType => ({ ...t, shape: t.shape.length === 0 ? [2] : [Number(t.shape[0]) + 1, ...t.shape.slice(1)] });

/** The graph with node k replaced; a value of it under a new type is seen by those that read it. */
const replaced = (g: Graph, k: number, n: Node): Graph => ({ ...g, nodes: g.nodes.map((m, i) => (i === k ? n : m)) });
const retyped = (g: Graph, k: number, type: (t: TensorType) => TensorType): Graph => {
  const old = g.nodes[k]?.outputs[0] as Value;
  const made: Value = { ...old, type: type(old.type) };
  const at = (v: Value): Value => (v === old ? made : v);
  return {
    params: g.params,
    nodes: g.nodes.map((n) => ({ ...n, inputs: n.inputs.map(at), outputs: n.outputs.map(at) })),
    results: g.results.map(at),
  };
};

/** The operation with an axis that its operand (or, if it has none, its result) does not have. */
const beyond = (n: Node): Op | undefined => {
  const rank = (n.inputs[0] ?? (n.outputs[0] as Value)).type.shape.length;
  switch (n.op.prim) {
    case 'iota':
    case 'concat':
    case 'gather':
    case 'scatterAdd':
    case 'argmax':
    case 'cumsum':
      return { ...n.op, axis: rank };
    case 'reverse':
    case 'reduceSum':
    case 'reduceMax':
    case 'reduceMin':
      return { ...n.op, axes: [...n.op.axes.slice(1), rank] };
    default:
      return undefined;
  }
};

const elementwise: ReadonlySet<string> = new Set([...Object.keys(binaryFns), 'compare']);

/** Damages node k; undefined where this mutation has nothing to damage there. */
type Mutation = (g: Graph, k: number, n: Node) => Graph | undefined;

export const mutations: { readonly [name: string]: Mutation } = {
  'swapped operands': (g, k, n) => {
    const [a, b] = n.inputs;
    return a && b && !eqType(a.type, b.type) ? replaced(g, k, { ...n, inputs: [b, a, ...n.inputs.slice(2)] }) : undefined;
  },
  'another dtype of a result': (g, k) => retyped(g, k, (t) => ({ ...t, dtype: other(t.dtype) })),
  'another shape of a result': (g, k) => retyped(g, k, wider),
  'an operand of no node': (g, k, n) => {
    const [a] = n.inputs;
    return a && replaced(g, k, { ...n, inputs: [{ ...a, id: 1_000_000 }, ...n.inputs.slice(1)] });
  },
  'an operand of a later node': (g, k, n) => {
    const own = n.outputs[0];
    return n.inputs.length > 0 && own ? replaced(g, k, { ...n, inputs: [own, ...n.inputs.slice(1)] }) : undefined;
  },
  'an operand too many': (g, k, n) =>
    n.op.prim === 'concat' ? undefined : replaced(g, k, { ...n, inputs: [...n.inputs, n.outputs[0] as Value] }),
  'a value of two nodes': (g, k, n) => ({ ...g, nodes: [...g.nodes.slice(0, k), n, ...g.nodes.slice(k)] }),
  'a node gone': (g, _, n) => {
    const used = g.results.concat(g.nodes.flatMap((m) => m.inputs));
    return n.outputs.some((o) => used.includes(o)) ? { ...g, nodes: g.nodes.filter((m) => m !== n) } : undefined;
  },
  'a region without its last parameter': (g, k, n) =>
    'body' in n.op && n.op.body.params.length > 0
      ? replaced(g, k, { ...n, op: { ...n.op, body: { ...n.op.body, params: n.op.body.params.slice(0, -1) } } })
      : undefined,
  'a region with a parameter more': (g, k, n) =>
    'body' in n.op
      ? replaced(g, k, {
          ...n,
          op: { ...n.op, body: { ...n.op.body, params: [...n.op.body.params, { id: 1_000_000, type: { dtype: 'f32', shape: [] } }] } },
        })
      : undefined,
  'a region with an operand of no node': (g, k, n) => {
    if (!('body' in n.op)) return undefined;
    const { body } = n.op;
    const inner = body.nodes.findIndex((m) => m.inputs.length > 0);
    const damaged = inner < 0 ? undefined : mutations['an operand of no node']?.(body, inner, body.nodes[inner] as Node);
    return damaged && replaced(g, k, { ...n, op: { ...n.op, body: damaged } });
  },
  'a carry that leaves with another type': (g, k, n) => {
    if (n.op.prim !== 'scan' || n.op.carries === 0) return undefined;
    const { body } = n.op;
    const [carry, ...rest] = body.results as [Value, ...Value[]];
    const other = [...body.params, ...body.nodes.flatMap((m) => m.outputs)].find((v) => !eqType(v.type, carry.type));
    // the result of the node goes with it, so that only the rule of scan is broken
    return other && retyped(replaced(g, k, { ...n, op: { ...n.op, body: { ...body, results: [other, ...rest] } } }), k, () => other.type);
  },
  'a region with an operand of another type': (g, k, n) => {
    const [a] = n.inputs;
    const before = [...g.params, ...g.nodes.slice(0, k).flatMap((m) => m.outputs)];
    const other = 'body' in n.op && a ? before.find((v) => !eqType(v.type, a.type)) : undefined;
    return other && replaced(g, k, { ...n, inputs: [other, ...n.inputs.slice(1)] });
  },
  'an axis that is not there': (g, k, n) => {
    const op = beyond(n);
    return op && replaced(g, k, { ...n, op });
  },
  'a second operand of another shape': (g, k, n) => {
    const [a, b] = n.inputs;
    if (!a || !b || !elementwise.has(n.op.prim)) return undefined;
    const before = [...g.params, ...g.nodes.slice(0, k).flatMap((m) => m.outputs)];
    const fits = (v: Value): boolean => v.type.dtype === b.type.dtype && v.type.shape.length === b.type.shape.length;
    const other = before.find((v) => fits(v) && !eqType(v.type, b.type));
    return other && replaced(g, k, { ...n, inputs: [a, other, ...n.inputs.slice(2)] });
  },
  'axes of a broadcast the other way round': (g, k, n) =>
    n.op.prim === 'broadcast' && n.op.axes.length > 1
      ? replaced(g, k, { ...n, op: { ...n.op, axes: [...n.op.axes].reverse() } })
      : undefined,
  'a constant of another dtype': (g, k, n) =>
    n.op.prim === 'const' || n.op.prim === 'array' ? replaced(g, k, { ...n, op: { ...n.op, dtype: other(n.op.dtype) } }) : undefined,
};

/** Why verify refuses g, or undefined. */
const refusal = (g: Graph): string | undefined => {
  try {
    verify(g);
    return undefined;
  } catch (e) {
    if (e instanceof FoveaError && e.code === 'FV0101') return e.message;
    throw e;
  }
};

/** Operands that were swapped may fit too: every node's types are those of its rule, so it is a program. */
const legal = (g: Graph): boolean =>
  g.nodes.every((n) => {
    const types = infer(
      n.op,
      n.inputs.map((v) => v.type),
    );
    return types.length === n.outputs.length && types.every((t, i) => eqType(t, (n.outputs[i] as Value).type));
  });

export const verifyLaws: readonly Law[] = [
  {
    name: 'verify',
    says: 'verify takes every program and refuses its mutants',
    check: ({ graph, inputs }, { seed, note }) => {
      const why = refusal(graph);
      if (why !== undefined) return `verify refuses a program: ${why}`;
      const next = numbers(seed);
      for (const [name, mutate] of Object.entries(mutations)) {
        if (graph.nodes.length === 0) continue;
        // the first node that it can damage, from one on that is drawn
        const from = Math.floor(next() * graph.nodes.length);
        const order = [...graph.nodes.keys()].map((i) => (from + i) % graph.nodes.length);
        let mutant: Graph | undefined;
        for (const k of order) {
          mutant = mutate(graph, k, graph.nodes[k] as Node);
          if (mutant) break;
        }
        if (!mutant) continue;
        if (refusal(mutant) !== undefined) {
          note?.('mutants refused', 1);
          continue;
        }
        const works =
          name === 'swapped operands' &&
          legal(mutant) &&
          interpret(mutant, inputs).every((t, i) => t.data.length === countOf((graph.results[i] as Value).type));
        if (!works) return `verify takes a mutant with ${name}:\n${print(mutant, { meta: false })}`;
        note?.('mutants that are programs', 1);
      }
      return undefined;
    },
  },
];
