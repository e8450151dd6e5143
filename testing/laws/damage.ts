/**
 * Schedules of collectives, damaged in every way that leaves a program of the same kind: each start and each wait in turn is left out, doubled, moved,
 * or made to name something else; each pair is left out, made to reduce otherwise, and put into another group of as many ranks. Placed graphs, damaged
 * in where they bring terms together. What verify takes anyway is a hole in it.
 */
import { FoveaError } from '../../compiler/error.ts';
import { type Graph, groupNames, type Node, type OpOf, reductions, type Value } from '../../compiler/graph/types.ts';
import { verify } from '../../compiler/graph/verify.ts';
import { isPartial, type Mesh } from '../../compiler/shard/placement.ts';
import type { Placed } from '../../compiler/shard/propagate.ts';
import { verifySchedule } from '../../compiler/shard/verify.ts';
import { verifyTerms } from '../../compiler/shard/verify-terms.ts';

interface Damage {
  readonly how: string;
  readonly graph: Graph;
}
type Start = Node & { readonly op: OpOf<'start'> };
const isStart = (n: Node): n is Start => n.op.prim === 'start';

/** The graph with other nodes in the place of node i, and other values in the place of some. */
const instead = (g: Graph, i: number, nodes: readonly Node[], values: ReadonlyMap<Value, Value> = new Map()): Graph => {
  const to = (v: Value): Value => values.get(v) ?? v;
  const renamed = (n: Node): Node => ({ ...n, inputs: n.inputs.map(to) });
  return {
    ...g,
    nodes: g.nodes.flatMap((n, k) => (k === i ? nodes : [n])).map(renamed),
    results: g.results.map(to),
  };
};
/** n again, with results of its own. */
const twin = (n: Node): Node => ({ ...n, outputs: n.outputs.map((v, k) => ({ ...v, id: -1 - v.id - k })) });
const pairs = (from: readonly Value[], to: readonly Value[]): ReadonlyMap<Value, Value> => new Map(from.map((v, k) => [v, to[k] as Value]));

const ofStart = (g: Graph, i: number, n: Start, { ranks, shard }: Mesh): readonly Damage[] => {
  const sizes = { world: ranks, shard, replica: ranks / shard };
  const others = groupNames.filter((name) => name !== n.op.group);
  const as = (op: Partial<Start['op']>): Graph => instead(g, i, [{ ...n, op: { ...n.op, ...op } }]);
  const wait = g.nodes.findIndex((m) => m.op.prim === 'wait' && m.inputs[0] === n.outputs[0]);
  const whole: Node = { ...n, op: { ...n.op, prim: 'collective' } };
  return [
    { how: 'a start among other ranks', graph: as({ ranks: n.op.ranks + 1 }) },
    // of other ranks or, where the mesh has two groups of one size, of as many
    ...others.map((group) => ({ how: `a start in the group ${group}, of ${sizes[group]} ranks`, graph: as({ group }) })),
    ...reductions
      .filter((r) => n.op.kind !== 'all-gather' && r !== n.op.reduction)
      .map((reduction) => ({ how: `${n.op.kind} with ${reduction}`, graph: as({ reduction }) })),
    ...(n.op.kind === 'all-reduce'
      ? [{ how: 'an all-reduce left out', graph: instead(instead(g, wait, [], pairs((g.nodes[wait] as Node).outputs, n.inputs)), i, []) }]
      : []),
    { how: 'a start that nobody waits for', graph: instead(g, i, [n, twin(n)]) },
    { how: 'a start left out', graph: instead(g, i, []) },
    {
      how: 'a collective that was not split',
      graph: instead(instead(g, wait, [], pairs((g.nodes[wait] as Node).outputs, n.outputs)), i, [whole]),
    },
  ];
};

const ofWait = (g: Graph, i: number, n: Node): readonly Damage[] => {
  const half = n.inputs.length / 2;
  const [pending, sent] = [n.inputs.slice(0, half), n.inputs.slice(half)];
  const start = g.nodes.findIndex((m) => m.outputs[0] === pending[0]);
  const reader = g.nodes.findIndex((m) => m.inputs.some((v) => n.outputs.includes(v)));
  const others = g.nodes.filter(isStart).filter((m) => m.outputs[0] !== pending[0]);
  const early = pairs(n.outputs, pending);
  const read = g.nodes[reader];
  const first = { ...g, nodes: g.nodes.filter((_, k) => k !== i).flatMap((m, k) => (k === start ? [n, m] : [m])) };
  return [
    { how: 'a wait left out', graph: instead(g, i, [], early) },
    { how: 'a second wait', graph: instead(g, i, [n, twin(n)]) },
    { how: 'a wait for what was sent', graph: instead(g, i, [{ ...n, inputs: [...sent, ...pending] }]) },
    { how: 'a wait that names no operands', graph: instead(g, i, [{ ...n, inputs: pending }]) },
    ...others
      .slice(0, 2)
      .flatMap((m): Damage[] =>
        m.outputs.length === half
          ? [{ how: 'a wait for another start', graph: instead(g, i, [{ ...n, inputs: [...m.outputs, ...sent] }]) }]
          : [],
      ),
    { how: 'a wait in front of its start', graph: first },
    ...(read
      ? [
          {
            how: 'a reader of what is under way',
            graph: instead(g, reader, [{ ...read, inputs: read.inputs.map((v) => early.get(v) ?? v) }]),
          },
        ]
      : []),
  ];
};

export const damages = (g: Graph, mesh: Mesh): readonly Damage[] =>
  g.nodes.flatMap((n, i) => (isStart(n) ? ofStart(g, i, n, mesh) : n.op.prim === 'wait' ? ofWait(g, i, n) : []));

/** A placed graph in which each move of terms in turn is left out, or moves them as terms of something else. */
export const misplaced = ({ graph: g, placement }: Placed): readonly { readonly how: string; readonly placed: Placed }[] =>
  g.nodes.flatMap((n, i) => {
    const { op } = n;
    if (op.prim !== 'reshard' || !isPartial(op.from)) return [];
    const as = op.from === 'P' ? 'max' : 'P';
    const left = instead(g, i, [], pairs(n.outputs, n.inputs));
    // what nobody reads harms nobody
    const read = g.results.includes(n.outputs[0] as Value) || g.nodes.some((m) => m.inputs.includes(n.outputs[0] as Value));
    return [
      ...(read ? [{ how: `terms of ${op.from} that are not brought together`, placed: { graph: left, placement } }] : []),
      { how: `terms of ${op.from} taken for ${as}`, placed: { graph: instead(g, i, [{ ...n, op: { ...op, from: as } }]), placement } },
    ];
  });

const throws = (check: () => void): boolean => {
  try {
    check();
    return false;
  } catch (e) {
    if (e instanceof FoveaError) return true;
    throw e;
  }
};

/** Whether a damaged program is refused; `whole` is the one that it was. */
export const refused = (g: Graph, mesh: Mesh, whole: Graph): boolean =>
  throws(() => {
    verify(g);
    verifySchedule(g, mesh, whole);
  });
export const refusedTerms = (placed: Placed, mesh: Mesh): boolean => throws(() => verifyTerms(placed, mesh));
