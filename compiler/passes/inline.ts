/**
 * Regions become plain nodes: call (but for those that `keep` names) by their bodies, scan by one copy of its body a step and perShard by one a
 * shard; a perShard that `keep` names stays, for the passes that place it on ranks.
 * Sharding primitives take their meaning on one device (reshard is the identity, axisIndex is 0), and stopGradient, whose work is done
 * once a function is differentiated, disappears.
 *
 *   %1 = call softmax(%0) { ... }        ->        %1 = reduceMax(%0) ...   %5 = div(%3, %4)
 */
import { inParts } from '../graph/attention.ts';
import { type Builder, builder } from '../graph/builder.ts';
import { known } from '../graph/dim.ts';
import type { Graph, Meta, Node, OpOf, Value } from '../graph/types.ts';

/** What a node of a region takes from the node that held the region: the phase and the checkpoint it runs in, missing places. */
const within =
  (site: Meta) =>
  (m: Meta): Meta => ({
    scope: m.scope || site.scope,
    phase: site.phase === 'fwd' ? m.phase : site.phase,
    loc: m.loc ?? site.loc,
    remat: site.remat ?? m.remat,
  });

type Outer = (m: Meta) => Meta;
interface Inline {
  /** Whether stopGradient stays, for who still differentiates, or asks which values a derivative holds. */
  readonly stops: 'keep' | 'drop';
  /** Calls that a template computes as they are. */
  readonly keep: (op: OpOf<'call'>) => boolean;
  readonly shards: 'keep' | 'unroll';
}

const expand = (b: Builder, g: Graph, args: readonly Value[], outer: Outer, how: Inline): readonly Value[] => {
  const env = new Map<Value, Value>(g.params.map((p, i) => [p, args[i] as Value]));
  for (const n of g.nodes) {
    const meta = outer(n.meta);
    const ins = n.inputs.map((v) => env.get(v) as Value);
    const outs = b.at(meta, () => expandNode(b, n, ins, meta, how));
    n.outputs.forEach((o, i) => env.set(o, outs[i] as Value));
  }
  return g.results.map((r) => env.get(r) as Value);
};

const expandNode = (b: Builder, n: Node, ins: readonly Value[], meta: Meta, how: Inline): readonly Value[] => {
  switch (n.op.prim) {
    case 'call':
      return how.keep(n.op) ? b.emit(n.op, ins, meta) : (inParts(b, n.op, ins, how.keep) ?? expand(b, n.op.body, ins, within(meta), how));
    case 'perShard':
      return how.shards === 'keep' ? b.emit(n.op, ins, meta) : eachShard(b, n.op, ins, meta, how);
    case 'scan':
      return unroll(b, n.op, ins, meta, n.outputs, how);
    case 'stopGradient':
      return how.stops === 'keep' ? b.emit(n.op, ins, meta) : ins;
    case 'reshard':
      return ins;
    case 'axisIndex':
      return [b.constant(0, 'i32')];
    default:
      return b.emit(n.op, ins, meta);
  }
};

/** x[i] */
const entry = (b: Builder, x: Value, i: number): Value => {
  const [, ...rest] = x.type.shape;
  return b.reshape(b.slice(x, [i, ...rest.map(() => 0)], [i + 1, ...rest]), rest);
};

const unroll = (
  b: Builder,
  op: OpOf<'scan'>,
  ins: readonly Value[],
  meta: Meta,
  outputs: readonly Value[],
  how: Inline,
): readonly Value[] => {
  const length = known(op.length);
  const constants = ins.slice(op.carries, op.carries + op.constants);
  const xs = ins.slice(op.carries + op.constants);
  let carries = ins.slice(0, op.carries);
  const ys: Value[][] = outputs.slice(op.carries).map(() => []);
  for (let step = 0; step < length; step++) {
    const i = op.reverse ? length - 1 - step : step;
    const outs = expand(b, op.body, [...carries, ...constants, ...xs.map((x) => entry(b, x, i))], within(meta), how);
    carries = outs.slice(0, op.carries);
    outs.slice(op.carries).forEach((y, k) => {
      (ys[k] as Value[])[i] = b.reshape(y, [1, ...y.type.shape]);
    });
  }
  const stacked = ys.map((rows, k) => (rows.length === 0 ? b.fill(0, (outputs[op.carries + k] as Value).type) : b.concat(rows, 0)));
  return [...carries, ...stacked];
};

const eachShard = (b: Builder, op: OpOf<'perShard'>, ins: readonly Value[], meta: Meta, how: Inline): readonly Value[] => {
  const shards = known(ins[0]?.type.shape[0] ?? 0);
  const own = Array.from({ length: shards }, (_, i) =>
    expand(
      b,
      op.body,
      ins.map((x) => entry(b, x, i)),
      within(meta),
      how,
    ),
  );
  return op.body.results.map((r, k) =>
    own.length === 0
      ? b.fill(0, { ...r.type, shape: [0, ...r.type.shape] })
      : b.concat(
          own.map((ys) => b.reshape(ys[k] as Value, [1, ...r.type.shape])),
          0,
        ),
  );
};

export const inline = (
  g: Graph,
  stops: Inline['stops'] = 'drop',
  keep: Inline['keep'] = () => false,
  shards: Inline['shards'] = 'unroll',
): Graph => {
  const b = builder();
  const params = g.params.map((p) => b.param(p.type, p.name));
  return b.build(expand(b, g, params, (m) => m, { stops, keep, shards }));
};
