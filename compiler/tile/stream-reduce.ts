/**
 * A contraction whose result is only reduced along its columns: the nearest other row (KoLeo), the best match. The matrix of
 * products is never made: as in attention, vectors run along a panel of rows, the other operand's rows stream by, and what their products become
 * on the way (a mask, a scale) goes into one state a lane, so that neither lanes nor threads have to meet.
 *
 *   argmax(where(i = j, -1, dot(x, x)), rows)
 *     panel = rows of x, turned
 *     for rows j of x                     sums = x[j] panel                                 weigh (stream-parts.ts)
 *       best, at = larger of (best, at) and (i = j ? -1 : sums, j)                          the monoid's combination
 *     store at
 *
 * A state takes rows in their order, so its bits depend on nothing else.
 */
import type { Node, OpOf, Value } from '../graph/types.ts';
import { body } from '../kernel/build.ts';
import * as e from '../kernel/expr.ts';
import type { Expr } from '../kernel/types.ts';
import { type Affine, add, type Indices, indices, linear, scale, shift } from './affine.ts';
import { startOf, unflatten } from './batch.ts';
import { code } from './code.ts';
import { indexOf, rounded, shapeOf } from './emit.ts';
import type { Lowering } from './gemm-spec.ts';
import { emitterOf, type Given, type Job, storeAll } from './job.ts';
import { monoidOf } from './monoid.ts';
import { elementState, identityOf, type State } from './reduce-state.ts';
import { isReduction, position, reductionSpace } from './space.ts';
import { type Rows, turn, weigh } from './stream-parts.ts';
import { streamChooser } from './stream-schedule.ts';
import { operandStrides } from './strides.ts';

const list = (n: number): readonly number[] => Array.from({ length: n }, (_, i) => i);
const product = (ns: readonly number[]): number => ns.reduce((a, b) => a * b, 1);

/** Operand `side` of a contraction as rows of what is summed. */
const rowsOf = (job: Job, node: Node, op: OpOf<'dot'>, side: 0 | 1): Rows => {
  const v = node.inputs[side] as Value;
  const s = operandStrides(v, op.batch[side], op.contract[side], job.maker);
  const place = s && job.place(s.root);
  if (!s || !place) throw new Error(`internal: operand ${side} of a contraction has no rows in memory`);
  const shape = shapeOf(v);
  const count = product(shape.filter((_, a) => !op.batch[side].includes(a) && !op.contract[side].includes(a)));
  const width = product(op.contract[side].map((a) => shape[a] as number));
  return { place, base: s.base, batch: s.batch, row: s.outer, element: s.inner, count, width };
};

export const lowerStreamReduce = (job: Job): Lowering => {
  const node = job.group.nodes.find((n) => n.op.prim === 'dot') as Node & { readonly op: OpOf<'dot'> };
  const reduction = job.group.nodes.find(isReduction) as Node;
  const [dot, operand, result] = [node.outputs[0], reduction.inputs[0], reduction.outputs[0]] as [Value, Value, Value];
  const space = reductionSpace(reduction);
  const monoid = monoidOf(reduction);
  const batch = node.op.batch[0].map((a) => shapeOf(node.inputs[0] as Value)[a] as number);
  const [x, y] = [rowsOf(job, node, node.op, 0), rowsOf(job, node, node.op, 1)];
  // nothing is mixed and there are no parts: of attention's schedules only the tile of sums counts, and the model's first has the best
  const s = streamChooser(job, batch, x.count, [x, y]).first();
  const { lanes } = s;
  const wide = s.tn * lanes;

  const k = body([...job.group.inputs, ...job.group.outputs].map((_, i) => `b${i}`));
  const at = unflatten(e.block(1), batch).map((i) => k.let('batch', i));
  const [startX, startY] = [startOf(k, x, at), startOf(k, y, at)];
  const panel = k.alloc('panel', 'register', s.atOnce === 2 ? 'bf16' : 'f32', Math.ceil(x.width / s.atOnce) * s.atOnce * wide);
  let calls = 0;
  /** Code at `active` rows from `row` on, which lies in 0 .. last in steps of a panel: `o` is their place among the results. */
  const atRows = (
    row: Expr,
    last: number,
    v: number,
    active: number,
    emit: (c: ReturnType<typeof code>, ix: Indices, o: Affine) => void,
  ): void => {
    const c = code(`${k.fresh('e')}_${calls++}_`);
    const ix = indices(lanes, new Map(), active);
    const b = linear(
      at.map((i, axis) => ix.atom(i, 0, (batch[axis] as number) - 1)),
      batch,
    );
    const own = add(shift(ix.atom(row, 0, last, wide), v * lanes), ix.lane);
    emit(c, ix, add(scale(b, x.count), own));
    k.push(...c.done());
  };
  /** One panel, of which vector v has `active[v]` rows. */
  const rows = (first: Expr, last: number, active: readonly number[]): void => {
    const tn = active.length;
    turn(k, s, x, startX, first, panel, tn * lanes);
    const states = active.map((): State => identityOf(monoid, lanes).map((z) => k.var('state', z)));
    weigh(k, s, { rows: y, start: startY, first: e.index(0), count: e.index(y.count), step: y.count, panel, tn }, (i, tile) => {
      tile.forEach((sums, r) => {
        const j = k.let('j', e.add(i, r));
        sums.forEach((sum, v) =>
          atRows(first, last, v, active[v] as number, (c, ix, o) => {
            const column = ix.atom(j, 0, y.count - 1);
            const p = position(ix, space, o, column);
            const given: Given = (value, where) => {
              if (value !== dot) return undefined;
              if (linear(where, shapeOf(dot)).key !== p.key)
                throw new Error(`internal: the contraction %${dot.id} is read at another place`);
              return rounded(sum, dot.type.dtype);
            };
            const [found] = c.bind([emitterOf(job, ix, given).at(operand, indexOf(ix, operand, p))]) as [Expr];
            const state = states[v] as State;
            const next = monoid.combine(state, elementState(monoid, ix, found, column, lanes)).map((z) => c.name(z));
            next.forEach((z, part) => {
              c.set(state[part] as Expr, z);
            });
          }),
        );
      });
    });
    states.forEach((state, v) => {
      const made = k.let('made', monoid.result(state));
      atRows(first, last, v, active[v] as number, (c, ix, o) => {
        const em = emitterOf(job, ix, (value) => (value === result ? made : undefined));
        storeAll(
          c,
          ix,
          em,
          job.outputs.map((out) => ({ ...out, ix: indexOf(ix, out.value, o) })),
        );
      });
    });
  };
  const whole = x.count - (x.count % wide);
  const left = list(Math.ceil((x.count - whole) / lanes)).map((v) => Math.min(lanes, x.count - whole - v * lanes));
  const first = e.mul(e.block(0), wide);
  const full = (): void =>
    rows(
      k.let('first', first),
      whole - wide,
      list(s.tn).map(() => lanes),
    );
  const rest = (): void => rows(e.index(whole), whole, left);
  if (left.length === 0) full();
  else if (whole === 0) rest();
  else k.if(e.lt(first, whole), full, rest);
  return { grid: [Math.ceil(x.count / wide), product(batch), 1], threads: 1, body: k.done() };
};
