/**
 * Composites against their definitions: both derivatives through a `call` are those through its body. That holds of itself while the rule
 * of call is the derivative of the body, and is what a rule of its own for a tag (a softmax that saves its result) has to keep.
 *
 *   composites(g, xs, next)  ->  [{ place: { prim: 'call', tag: 'gelu', loc, ... }, verdict: { status: 'ok', ... } }]
 *
 * A composite is met where it runs, with the values that it sees there: in the body of another, and in the first and the last step of a
 * loop.
 */
import { builder } from '../compiler/graph/builder.ts';
import { known } from '../compiler/graph/dim.ts';
import { interpret, type Tensor64, tensor64 } from '../compiler/graph/interpret.ts';
import { type Graph, isFloat, type Node, type OpOf } from '../compiler/graph/types.ts';
import { type Place, ruleOf } from './gradients-blame.ts';
import { equal, type Verdict } from './gradients-laws.ts';
import { watch } from './gradients-run.ts';
import { drawLike } from './numbers.ts';
import { floats, jvpGraph, single, vjpGraph } from './transforms.ts';

export interface Composite {
  readonly place: Place;
  readonly verdict: Verdict;
}

/** The graph of a call's body in place of the call. */
const defined = (n: Node, body: Graph): Graph => {
  const b = builder();
  return b.build(
    b.inline(
      body,
      n.inputs.map((v) => b.param(v.type)),
    ),
  );
};

const compared = (n: Node, op: OpOf<'call'>, operands: readonly Tensor64[], next: () => number): Verdict => {
  const [one, body] = [single(n), defined(n, op.body)];
  const tangents = floats(one).map((i) => drawLike((n.inputs[i] as (typeof n.inputs)[number]).type, next));
  const cotangents = n.outputs.map((o) => drawLike(o.type, next));
  const forward = equal(jvpGraph(one), jvpGraph(body), [...operands, ...tangents], false);
  if (forward.status !== 'ok' && forward.status !== 'empty') return forward;
  const reverse = equal(vjpGraph(one), vjpGraph(body), [...operands, ...cotangents], false);
  return reverse.status === 'empty' ? forward : reverse;
};

/** Element i along the first axis. */
const row = ({ type, data }: Tensor64, i: number): Tensor64 => {
  const shape = type.shape.slice(1);
  const size = shape.reduce<number>((n, d) => n * known(d), 1);
  return tensor64({ ...type, shape }, data.slice(i * size, (i + 1) * size));
};
/** What the body of a loop is given in its first step and in its last. */
const ends = (op: OpOf<'scan'>, ins: readonly Tensor64[]): readonly (readonly Tensor64[])[] => {
  const length = known(op.length);
  const constants = ins.slice(op.carries, op.carries + op.constants);
  const xs = ins.slice(op.carries + op.constants);
  const met: (readonly Tensor64[])[] = [];
  let carries = ins.slice(0, op.carries);
  for (let step = 0; step < length; step++) {
    const args = [...carries, ...constants, ...xs.map((x) => row(x, op.reverse ? length - 1 - step : step))];
    if (step === 0 || step === length - 1) met.push(args);
    carries = interpret(op.body, args).slice(0, op.carries);
  }
  return met;
};

/** Times that a composite, which is a tag at a source line, is compared. */
const most = 2;

/** Every composite that runs, for each tag and source line twice at most. */
export const composites = (g: Graph, xs: readonly Tensor64[], next: () => number): readonly Composite[] => {
  const found: Composite[] = [];
  const times = new Map<string, number>();
  const meet = (n: Node, op: OpOf<'call'>, operands: readonly Tensor64[]): void => {
    const place = ruleOf(n);
    const key = `${op.tag} ${place.loc?.file}:${place.loc?.line}`;
    const before = times.get(key) ?? 0;
    if (before >= most || !n.inputs.some((v) => isFloat(v.type.dtype)) || !n.outputs.every((o) => isFloat(o.type.dtype))) return;
    times.set(key, before + 1);
    found.push({ place, verdict: compared(n, op, operands, next) });
  };
  const visit = (inner: Graph, args: readonly Tensor64[]): void => {
    watch(inner, args, (n, operands, outs) => {
      const { op } = n;
      if (op.prim === 'call') meet(n, op, operands);
      if (op.prim === 'call' || op.prim === 'perShard') visit(op.body, operands);
      if (op.prim === 'scan') for (const each of ends(op, operands)) visit(op.body, each);
      return outs;
    });
  };
  visit(g, xs);
  return found;
};
