/**
 * Schedules of collectives, damaged in every way that leaves a program of the same kind: each start and each wait in turn is left out, doubled, moved,
 * or made to name something else. What verify takes anyway is a hole in it.
 */
import { FoveaError } from '../../compiler/error.ts';
import type { Graph, GroupName, Node, OpOf, Value } from '../../compiler/graph/types.ts';
import { verify } from '../../compiler/graph/verify.ts';
import type { Mesh } from '../../compiler/shard/placement.ts';
import { verifySchedule } from '../../compiler/shard/verify.ts';

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
  const other = (['world', 'shard', 'replica'] as readonly GroupName[]).find(
    (name) => ({ world: ranks, shard, replica: ranks / shard })[name] !== n.op.ranks,
  );
  const wait = g.nodes.findIndex((m) => m.op.prim === 'wait' && m.inputs[0] === n.outputs[0]);
  const whole: Node = { ...n, op: { ...n.op, prim: 'collective' } };
  return [
    { how: 'a start among other ranks', graph: instead(g, i, [{ ...n, op: { ...n.op, ranks: n.op.ranks + 1 } }]) },
    ...(other ? [{ how: `a start in the group ${other}`, graph: instead(g, i, [{ ...n, op: { ...n.op, group: other } }]) }] : []),
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

/** Whether a damaged program is refused. */
export const refused = (g: Graph, mesh: Mesh): boolean => {
  try {
    verify(g);
    verifySchedule(g, mesh);
    return false;
  } catch (e) {
    if (e instanceof FoveaError) return true;
    throw e;
  }
};
