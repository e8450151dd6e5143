/**
 * Training steps made of generated programs: a batch of examples goes through the program and a head, the loss is a mean over the batch, and one step of
 * descent with momentum moves the weights: some float arguments of the program, and those of the head. So what W ranks do with B rows each is, by
 * definition, what one does with W B rows.
 *
 *   (w..., m..., t, x...) -> (w - 0.1 m'..., m' = 0.9 m + gradient..., t' = 0.9 t + 0.1 u', loss)      x: what is no weight, with an axis of rows in front
 *   loss of a row = sum of the results + mean of (h u - h t - y)^2      h: the last float result, and z; u, t: student's and teacher's head; y, z: rows
 *
 * A program may do what leaves no row on a rank of its own. Rows of y and z are always split, so the head is a product of matrices, and the gradient of u a
 * term of a sum where it meets the momentum, which is flat: reduce and scatter. Of some steps the gradients are scaled by their norm, as clipping does,
 * and rows of u and t by theirs, as weight normalisation does.
 */
import { type Builder, builder } from '../compiler/graph/builder.ts';
import { countOf, type Tensor64, tensor64 } from '../compiler/graph/tensor64.ts';
import { type Graph, isFloat, type TensorType, type Value } from '../compiler/graph/types.ts';
import { valueAndGrad } from '../compiler/transform/grad.ts';
import type { Program } from './program.ts';
import { floatResults, floats, vmapGraph } from './transforms.ts';

export interface Step {
  readonly graph: Graph;
  /** donated[o]: the parameter whose place result o takes, or -1. */
  readonly donated: readonly number[];
  /** Whether results are linear in the gradients: not where those are clipped. */
  readonly linear: boolean;
}

const allAxes = (v: Value): number[] => v.type.shape.map((_, i) => i);
const f32 = (...shape: number[]): TensorType => ({ dtype: 'f32', shape });
const total = (b: Builder, v: Value): Value => b.sum(b.cast(v, 'f32'), allAxes(v));

const extra = 2;

/** Each row over the root of one and its squares: ranks whose pieces are whole rows need nobody for it. */
const normed = (b: Builder, w: Value): Value => {
  const squares = b.sum(b.mul(w, w), [1]);
  return b.mul(w, b.broadcast(b.rsqrt(b.add(squares, b.fill(1, squares.type))), w.type.shape, [0]));
};

/** (the program's parameters, u, t, y, z) -> the loss of a row. */
const rowLoss = (g: Graph, { columns, norm }: Pick<Drawn, 'columns' | 'norm'>): Graph => {
  const b = builder();
  const results = b
    .inline(
      g,
      g.params.map((p) => b.param(p.type, p.name)),
    )
    .filter((v) => isFloat(v.type.dtype));
  const last = results.at(-1) as Value;
  const n = countOf(last.type);
  const [u, t] = [b.param(f32(n + extra, columns)), b.param(f32(n + extra, columns))];
  const [y, z] = [b.param(f32(columns)), b.param(f32(extra))];
  const h = b.concat([b.reshape(b.cast(last, 'f32'), [n]), z], 0);
  const by = (w: Value): Value => b.one({ prim: 'dot', batch: [[], []], contract: [[0], [0]], dtype: 'f32' }, [h, w]);
  const [own, other] = norm ? [normed(b, u), normed(b, t)] : [u, t];
  const off = b.sub(b.sub(by(own), by(other)), y);
  const squares = b.sum(b.mul(off, off), [0]);
  const terms = [...results.map((v) => total(b, v)), b.div(squares, b.fill(columns, squares.type))];
  return b.build([terms.reduce((x, v) => b.add(x, v))]);
};

/** The mean over rows. */
const rowMean = (g: Graph, batched: readonly boolean[], rows: number): Graph => {
  const { graph, out } = vmapGraph(g, batched, rows);
  if (!out[0]) throw new Error('internal: labels are rows');
  const b = builder();
  const [each] = b.inline(
    graph,
    graph.params.map((p) => b.param(p.type, p.name)),
  ) as [Value];
  const sum = total(b, each);
  return b.build([b.div(sum, b.fill(rows, sum.type))]);
};

/** Gradients over the root of one and the sum of all squares. */
const clipped = (b: Builder, grads: readonly Value[]): readonly Value[] => {
  const squares = grads.map((x) => total(b, b.mul(x, x))).reduce((x, v) => b.add(x, v));
  const scale = b.rsqrt(b.add(squares, b.fill(1, squares.type)));
  return grads.map((x) => b.mul(x, b.broadcast(scale, x.type.shape, [])));
};

interface Drawn {
  /** Parameters of the program that learn. */
  readonly weights: readonly number[];
  /** Of the head. */
  readonly columns: number;
  /** Whether rows of the head have length 1 or less. */
  readonly norm: boolean;
  readonly clip: boolean;
}

/** The step of a program, whose loss of a row is `row`, for a batch of `rows`. */
const stepOf = (row: Graph, { weights, clip }: Drawn, rows: number): Step => {
  const b = builder();
  const [u, t] = [row.params.length - 4, row.params.length - 3];
  const learning = [...weights, u];
  const loss = rowMean(
    row,
    row.params.map((_, i) => i !== t && !learning.includes(i)),
    rows,
  );
  const at = (i: number): Value => loss.params[i] as Value;
  const ws = learning.map((i, k) => b.param(at(i).type, `0.w.${k}`));
  const ms = learning.map((i, k) => b.param({ dtype: 'f32', shape: at(i).type.shape }, `0.m.${k}`));
  const teacher = b.param(at(t).type, '0.t.0');
  const args = loss.params.map((p, i) => (i === t ? teacher : (ws[learning.indexOf(i)] ?? b.param(p.type, `1.x.${i}`))));
  const { results, grads } = valueAndGrad(b, loss, args, learning);
  const moved = b.at({ phase: 'opt' }, () => {
    const own = grads.map((x) => b.cast(x as Value, 'f32'));
    return (clip ? clipped(b, own) : own).map((g1, k) => {
      const [w, m] = [ws[k] as Value, ms[k] as Value];
      const next = b.add(b.mul(m, b.fill(0.9, m.type)), g1);
      return { next, w: b.cast(b.sub(b.cast(w, 'f32'), b.mul(next, b.fill(0.1, m.type))), w.type.dtype) };
    });
  });
  const student = moved.at(-1)?.w as Value;
  const average = b.at({ phase: 'opt' }, () => b.add(b.mul(teacher, b.fill(0.9, teacher.type)), b.mul(student, b.fill(0.1, student.type))));
  const n = learning.length;
  return {
    graph: b.build([...moved.map((x) => x.w), ...moved.map((x) => x.next), average, results[0] as Value]),
    donated: [...Array.from({ length: 2 * n + 1 }, (_, i) => i), -1],
    linear: !clip,
  };
};

/** Row k of an argument: its numbers moved round by k places, so that rows differ and stay in range. */
const rowOf = (t: Tensor64, k: number): readonly number[] => {
  const n = countOf(t.type);
  return Array.from({ length: n }, (_, i) => t.data[(i + k) % n] as number);
};

export interface Run {
  readonly step: Step;
  readonly args: readonly Tensor64[];
}

/** Numbers within 2 of 0, for what the program does not have. */
const numbersFor = (type: TensorType, pick: (n: number) => number): Tensor64 =>
  tensor64(
    type,
    Array.from({ length: countOf(type) }, () => (pick(257) - 128) / 64),
  );

/** The step of a program on rows [from, from + rows) of a stream of rows; undefined where nothing is a float. `pick(n)` is below n. */
export const stepsOf = (p: Program, pick: (n: number) => number): ((from: number, rows: number) => Run) | undefined => {
  if (floatResults(p.graph).length === 0) return undefined;
  const own = floats(p.graph);
  const some = own.filter(() => pick(3) > 0);
  const drawn: Drawn = {
    weights: some.length > 0 ? some : own.slice(0, 1),
    columns: [1, 2, 3, 8][pick(4)] as number,
    clip: pick(3) === 0,
    norm: pick(3) === 0,
  };
  const row = rowLoss(p.graph, drawn);
  const [u, t, ...labels] = row.params.slice(-4).map((v) => numbersFor(v.type, pick)) as [Tensor64, Tensor64, Tensor64, Tensor64];
  const weights = [...drawn.weights.map((i) => p.inputs[i] as Tensor64), u];
  const moments = weights.map(({ type, data }) =>
    tensor64(
      { dtype: 'f32', shape: type.shape },
      Array.from(data, (x) => x / 2),
    ),
  );
  const others = [...p.inputs.filter((_, i) => !drawn.weights.includes(i)), ...labels];
  return (from, rows) => {
    const batch = others.map((x) => {
      const data = Array.from({ length: rows }, (_, k) => rowOf(x, from + k)).flat();
      return tensor64({ ...x.type, shape: [rows, ...x.type.shape] }, data);
    });
    return { step: stepOf(row, drawn, rows), args: [...weights, ...moments, t, ...batch] };
  };
};
