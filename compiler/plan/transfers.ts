/**
 * Starts and waits in a plan. To what orders and places steps they are steps that read and write like others; in the plan they stand between launches,
 * and each start is a collective with places in the arena.
 *
 *   start(x) -> y  ..  wait(y, x)        ->        collectives [{ send: at x, receive: at y }]   events start before 3, wait before 7
 */
import type { Collective, PlanEvent } from '../collectives.ts';
import { countOf } from '../graph/tensor64.ts';
import type { Node, OpOf, Value } from '../graph/types.ts';
import type { Group } from '../tile/group.ts';
import type { Step } from './join.ts';

/** The step of a group of the template `transfer`. */
export const transferOf = ({ nodes, scope, phase, reason }: Group, root: (v: Value) => Value): Step => {
  const node = nodes.find((n) => n.op.prim === 'start' || n.op.prim === 'wait') as Node;
  const reads = node.inputs.map(root);
  // what a wait hands on lies where it was received: as if it wrote it there, so that its readers come after it
  const transfer = { node, reads, writes: node.op.prim === 'start' ? node.outputs : reads.slice(0, reads.length / 2) };
  return { kernel: -1, parts: [], scope, phase, label: node.op.prim, reason, flops: 0, bytes: 0, transfer };
};

/** `at`: where a value lies. */
export const collectivesOf = (
  steps: readonly Step[],
  at: (v: Value) => number,
): { readonly collectives: readonly Collective[]; readonly events: readonly PlanEvent[] } => {
  const collectives: Collective[] = [];
  const events: PlanEvent[] = [];
  const numbers = new Map<Value, number>();
  let before = 0;
  for (const { transfer, scope, phase } of steps) {
    if (!transfer) {
      before++;
      continue;
    }
    const { node, reads, writes } = transfer;
    if (node.op.prim === 'wait') {
      events.push({ what: 'wait', collective: numbers.get(reads[0] as Value) as number, before });
      continue;
    }
    const { kind, group, reduction } = node.op as OpOf<'start'>;
    numbers.set(writes[0] as Value, collectives.length);
    events.push({ what: 'start', collective: collectives.length, before });
    collectives.push({
      kind,
      group,
      dtype: (node.inputs[0] as Value).type.dtype,
      reduction,
      segments: node.inputs.map((v, i) => ({
        send: at(reads[i] as Value),
        receive: at(writes[i] as Value),
        count: countOf((kind === 'reduce-scatter' ? (node.outputs[i] as Value) : v).type),
      })),
      scope,
      phase,
    });
  }
  return { collectives, events };
};
