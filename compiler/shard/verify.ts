/**
 * The last pass: is the schedule of a program for one rank sound? Every start is waited for once, later, by a wait that names its results and its
 * operands; what is under way is read by nobody; no collective is left that was not split; ranks of a group are those of the mesh; no term of a
 * sum leaves the program. Throws FV0703 at the first node that is wrong.
 */
import { FoveaError } from '../error.ts';
import { printNode } from '../graph/print.ts';
import type { Graph, GroupName, Node, OpOf, Placement, Value } from '../graph/types.ts';
import { isPartial, type Mesh } from './placement.ts';

const fail = (n: Node, why: string): never => {
  throw new FoveaError('FV0703', `${printNode(n)}: ${why}`, { loc: n.meta.loc, scope: n.meta.scope });
};

type Start = Node & { readonly op: OpOf<'start'> };

export const verifySchedule = (g: Graph, { ranks, shard }: Mesh): void => {
  const sizes: { readonly [G in GroupName]: number } = { world: ranks, shard, replica: ranks / shard };
  const pending = new Map<Value, Start>();
  const open = new Set<Start>();
  for (const n of g.nodes) {
    if (n.op.prim === 'collective') fail(n, 'was not split into a start and a wait');
    if (n.op.prim === 'wait') {
      const half = n.inputs.length / 2;
      const start = pending.get(n.inputs[0] as Value) ?? fail(n, 'waits for nothing that was started');
      if (!open.has(start)) fail(n, 'waits a second time');
      const named = [...start.outputs, ...start.inputs];
      if (named.length !== 2 * half || !named.every((v, i) => v === n.inputs[i]))
        fail(n, 'does not name the results and operands of its start');
      open.delete(start);
      continue;
    }
    for (const v of n.inputs) if (pending.has(v)) fail(n, `%${v.id} is still under way`);
    if (n.op.prim !== 'start') continue;
    if (n.op.ranks !== sizes[n.op.group]) fail(n, `the group ${n.op.group} has ${sizes[n.op.group]} ranks`);
    const start = n as Start;
    open.add(start);
    for (const o of n.outputs) pending.set(o, start);
  }
  const [left] = open;
  if (left) fail(left, 'is never waited for');
  for (const r of g.results) if (pending.has(r)) fail(pending.get(r) as Start, 'leaves the program while it is under way');
};

/** What leaves a placed graph must be whole, or the part of a rank. */
export const verifyResults = (g: Graph, placement: ReadonlyMap<Value, Placement>): void => {
  g.results.forEach((r, i) => {
    const p = placement.get(r);
    if (p === undefined || isPartial(p))
      throw new FoveaError('FV0703', `result ${i} is ${p ?? 'nowhere'} on the ranks: only one term of what is meant`);
  });
};
