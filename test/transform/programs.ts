/**
 * Random programs for the laws of differentiation. A program is a list of steps, each of which picks an operation and
 * operands among the values made so far, so that it shrinks to the few steps that matter. Every operation keeps its
 * values within a few units, and has no pole, so that the scale of rounding errors stays that of the arguments.
 */
import fc from 'fast-check';
import type { Builder } from '../../compiler/graph/builder.ts';
import type { Graph, Value } from '../../compiler/graph/types.ts';
import { type Arg, arg, trace } from './support.ts';

export interface Step {
  readonly op: number;
  readonly left: number;
  readonly right: number;
}
export interface Program {
  readonly args: readonly Arg[];
  readonly steps: readonly Step[];
}

export const args: readonly Arg[] = [arg([3], -1, 1), arg([3, 3], -1, 1), arg([3], 0.5, 1), arg([2], -1, 4, 'i32')];

/** An operation on vectors x, y of 3 numbers and a 3 x 3 matrix w. */
type Operation = (b: Builder, at: { readonly x: Value; readonly y: Value; readonly w: Value; readonly i: Value }) => Value;
const half = (b: Builder, x: Value): Value => b.mul(x, b.fill(0.5, x.type));
const square = (b: Builder, x: Value): Value => b.tanh(b.reshape(b.broadcast(x, [3, 3], [1]), [9]));
const smooth: readonly Operation[] = [
  (b, { x }) => b.sin(x),
  (b, { x }) => b.cos(x),
  (b, { x }) => b.tanh(x),
  (b, { x }) => b.erf(x),
  (b, { x, y }) => half(b, b.add(x, y)),
  (b, { x, y }) => half(b, b.sub(x, y)),
  (b, { x, y }) => b.mul(b.sin(x), b.cos(y)),
  (b, { x, y }) => b.div(x, b.add(b.mul(y, y), b.fill(1, y.type))),
  (b, { x }) => b.log(b.add(b.mul(x, x), b.fill(1, x.type))),
  (b, { x }) => b.exp(b.neg(b.mul(x, x))),
  (b, { x }) => b.rsqrt(b.add(b.mul(x, x), b.fill(1, x.type))),
  (b, { x, y }) => b.pow(b.add(b.mul(x, x), b.fill(1, x.type)), b.neg(b.mul(y, y))),
  (b, { x, w }) => b.tanh(b.one({ prim: 'dot', batch: [[], []], contract: [[1], [0]], dtype: 'f32' }, [w, x])),
  (b, { x, w }) => b.tanh(b.one({ prim: 'dot', batch: [[], []], contract: [[0], [0]], dtype: 'f32' }, [x, w])),
  (b, { x }) => b.slice(square(b, x), [2], [5]),
  (b, { x, y }) => b.slice(b.concat([x, y], 0), [2], [5]),
  (b, { x }) => b.pad(b.slice(x, [1], [3]), [1], [0], 0.5),
  (b, { x }) => b.one({ prim: 'reverse', axes: [0] }, [x]),
  (b, { x }) => half(b, b.one({ prim: 'cumsum', axis: 0 }, [x])),
  (b, { x }) => b.broadcast(b.tanh(b.sum(x, [0])), [3], []),
  (b, { x, i }) => b.pad(b.gather(x, i, 0), [1], [0]),
  (b, { x, i }) => half(b, b.scatterAdd(x, i, b.fill(1, { dtype: 'f32', shape: [2] }), 0)),
  (b, { x, i }) => half(b, b.scatterAdd(b.fill(0, x.type), i, b.slice(x, [0], [2]), 0)),
];
/** These are not differentiable everywhere, or not to differences. */
const kinked: readonly Operation[] = [
  (b, { x, y }) => b.mul(x, b.stopGradient(b.sin(y))),
  (b, { x }) => b.abs(x),
  (b, { x, y }) => b.max(x, y),
  (b, { x, y }) => b.min(x, y),
  (b, { x }) => b.max(x, b.fill(0, x.type)),
  (b, { x, y }) => b.select(b.compare('lt', x, y), b.sin(x), y),
  (b, { x }) => b.broadcast(b.one({ prim: 'reduceMax', axes: [0] }, [x]), [3], []),
  (b, { x, y }) => b.rem(x, b.add(b.abs(y), b.fill(1, y.type))),
];

/** The program as a graph of one vector; `inRegion` wraps every third step in a call of that tag. */
export const graphOf = (p: Program, options: { readonly kinks: boolean; readonly inRegion?: string }): Graph =>
  trace(p.args, (b, x0, w, x2, i) => {
    const operations = options.kinks ? [...smooth, ...kinked] : smooth;
    const pool = [x0 as Value, x2 as Value];
    for (const [k, s] of p.steps.entries()) {
      const pick = (n: number): Value => pool[n % pool.length] as Value;
      const operation = operations[s.op % operations.length] as Operation;
      const operands = [pick(s.left), pick(s.right), w as Value, i as Value];
      const run = (b: Builder, [x, y, w, i]: readonly Value[]): Value =>
        operation(b, { x: x as Value, y: y as Value, w: w as Value, i: i as Value });
      if (options.inRegion === undefined || k % 3 !== 0) pool.push(run(b, operands));
      else {
        const body = trace([arg([3]), arg([3]), arg([3, 3]), arg([2], 0, 1, 'i32')], (b, ...xs) => [run(b, [run(b, xs), ...xs.slice(1)])]);
        pool.push(b.one({ prim: 'call', tag: options.inRegion, body }, operands));
      }
    }
    return [pool.slice(-3).reduce((s, v) => b.add(s, v))];
  });

const number = fc.nat(60);
export const program: fc.Arbitrary<Program> = fc
  .array(fc.record({ op: number, left: number, right: number }), { minLength: 1, maxLength: 12 })
  .map((steps) => ({ args, steps }));
