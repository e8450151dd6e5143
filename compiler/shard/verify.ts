/**
 * The last pass: is the schedule of a program for one rank sound? Every start is waited for once, later, by a wait that names its results and its
 * operands; what is under way is read by nobody; no collective is left that was not split; ranks of a group are those of the mesh. And it still
 * means what the program before meant: which values are terms of sums is known where placements are (verify-terms.ts), the collectives follow
 * from that (move.ts), and every node since then computes from the parameters, through collectives of the same kind, group and reduction, what
 * some node of that program does.
 *
 *   %5 = wait(start(%4) sum), %6 = exp(%5)   means   exp(collective(%4) sum);   exp(%4), and exp(wait(start(%4) max)), nobody asked for
 *
 * Throws FV0703 at the first node that is wrong.
 */
import { FoveaError } from '../error.ts';
import { identity, opKey } from '../graph/identity.ts';
import { printNode } from '../graph/print.ts';
import type { Graph, GroupName, Node, OpOf, Value } from '../graph/types.ts';
import type { Mesh } from './placement.ts';

const fail = (n: Node, why: string): never => {
  throw new FoveaError('FV0703', `${printNode(n)}: ${why}`, { loc: n.meta.loc, scope: n.meta.scope });
};

type Start = Node & { readonly op: OpOf<'start'> };

/** A number for each expression of the parameters. */
type Numbers = (text: string) => number;
/** What results are, as numbers: the same for a collective, alone or in a bucket, and for its start and wait. `made` sees every node's. */
const meanings = (g: Graph, number: Numbers, made: (n: Node, is: readonly number[]) => void): readonly number[] => {
  const of = new Map<Value, number>();
  const regions = new Map<Graph, string>();
  const region = (r: Graph): string => {
    const text = regions.get(r) ?? identity(r);
    regions.set(r, text);
    return text;
  };
  g.params.forEach((p, i) => {
    of.set(p, number(`${i}`));
  });
  for (const n of g.nodes) {
    const { op } = n;
    const ins = n.inputs.map((v) => of.get(v) as number);
    const each = op.prim === 'start' || op.prim === 'collective';
    const text = opKey(each ? { ...op, prim: 'collective' } : op, region);
    const is = n.outputs.map((_, i) => (op.prim === 'wait' ? (ins[i] as number) : number(`${text} ${each ? ins[i] : `${ins} ${i}`}`)));
    n.outputs.forEach((o, i) => {
      of.set(o, is[i] as number);
    });
    made(n, is);
  }
  return g.results.map((r) => of.get(r) as number);
};

const verifyMeaning = (g: Graph, before: Graph): void => {
  const numbers = new Map<string, number>();
  const number = (text: string): number => {
    const n = numbers.get(text) ?? numbers.size;
    numbers.set(text, n);
    return n;
  };
  const meant = meanings(before, number, () => undefined);
  const known = numbers.size;
  const now = meanings(g, number, (n, is) => {
    if (is.some((x) => x >= known)) fail(n, 'computes what nothing did before collectives were split');
  });
  meant.forEach((x, i) => {
    if (now[i] !== x) throw new FoveaError('FV0703', `result ${i} is another than before collectives were split`);
  });
};

/** `before`: the program whose collectives have become starts and waits. */
export const verifySchedule = (g: Graph, { ranks, shard }: Mesh, before: Graph): void => {
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
  verifyMeaning(g, before);
};
