/**
 * Kernels that are bound by memory: what a step does besides contractions. Their bytes are those that they cannot do without, every
 * operand read once and every result written once, so a kernel that reads an operand twice is charged for it.
 *
 *   fovea bench reduce --model vits14 --batch 8       LayerNorm 2056x384, its backward, softmax 12336x257, cross-entropy 256x65536
 *   fovea bench map --shape 4096x1024                 GELU, residual + LayerScale, AdamW + EMA of one matrix
 */
import {
  einsum,
  type F32,
  gelu,
  grad,
  layerNorm,
  leaves,
  logSoftmax,
  type Scalar,
  softmax,
  spec,
  sum,
  type Tree,
  valueAndGrad,
} from '../../../index.ts';
import { adamw, average, type Moments, rates } from '../../../models/optimizer.ts';
import { geometry } from '../../../models/recipes/geometry.ts';
import type { Recipe } from '../../../models/recipes.ts';
import { vit } from '../../../models/vit.ts';
import { onInterpreter } from '../check.ts';
import { formula, type Prepare, prepare } from '../prepared.ts';
import type { Case } from '../types.ts';

export type Rows = readonly [rows: number, width: number];
type Matrix = F32<'R D'>;
type Row = F32<'D'>;

/** Rows that the interpreter computes: the first ones. */
const few = 16;

interface RowsCase {
  readonly name: string;
  readonly f: (...args: never) => unknown;
  /** Matrices [R D], then vectors [D], by name. */
  readonly matrices: readonly string[];
  readonly vectors?: readonly string[];
  /** Matrices read and written, each once. */
  readonly passes: number;
  readonly timed?: Case['timed'];
  /** The first argument is a tree of the first matrix and the vectors, the way gradients are asked for. */
  readonly tree?: boolean;
  /** Results that depend on all rows: compared for all rows, or left out of the comparison where those are too many. */
  readonly whole?: readonly string[];
}

const rowsCase = ([rows, width]: Rows, c: RowsCase): Case => {
  const { matrices, vectors = [], whole = [] } = c;
  const [matrix, vector] = [spec('R D'), spec('D')];
  const arrange = <X>(m: readonly X[], v: readonly X[]): readonly unknown[] =>
    c.tree ? [Object.fromEntries([['x', m[0]], ...vectors.map((name, i) => [name, v[i]] as const)]), ...m.slice(1)] : [...m, ...v];
  const of = (n: number): Prepare =>
    prepare(
      c.f,
      arrange<unknown>(
        matrices.map(() => matrix),
        vectors.map(() => vector),
      ),
      arrange(
        matrices.map((name) => formula(name, [n, width], 2)),
        vectors.map((name) => formula(name, [width], 0.5, 1)),
      ),
      { dims: { R: n, D: width } },
    );
  const all = whole.length > 0 && rows * width <= 2 ** 20;
  return {
    name: c.name,
    shape: `${rows}x${width}`,
    timed: c.timed ?? 'launches',
    bound: 'memory',
    bytes: 4 * rows * width * c.passes,
    prepare: of(rows),
    check: all
      ? onInterpreter(of(rows))
      : onInterpreter(of(Math.min(rows, few)), `float64 interpreter, first ${Math.min(rows, few)} rows`, (path) => !whole.includes(path)),
  };
};

const normed = (x: Matrix, w: Row, b: Row): Matrix => layerNorm(x, w, b, 1e-6);
const normGradient = (p: { readonly x: Matrix; readonly w: Row; readonly b: Row }, d: Matrix) =>
  grad((q: typeof p) => sum('r d ->', normed(q.x, q.w, q.b).mul(d)))(p);
/** Of every row, with the student's temperature. */
const entropies = (student: Matrix, target: Matrix): F32<'R'> => einsum('r k, r k -> r', logSoftmax(student.div(0.1)), target).neg();
const entropyGradient = (p: { readonly x: Matrix }, target: Matrix) =>
  valueAndGrad((q: typeof p) => sum('r ->', entropies(q.x, target)))(p)[1];

export const normCases = (shape: Rows): readonly Case[] => [
  rowsCase(shape, { name: 'LayerNorm', f: normed, matrices: ['x'], vectors: ['w', 'b'], passes: 2 }),
  rowsCase(shape, {
    name: 'LayerNorm backward',
    f: normGradient,
    matrices: ['x', 'cotangent'],
    vectors: ['w', 'b'],
    passes: 3,
    timed: 'backward launches',
    tree: true,
    whole: ['w', 'b'],
  }),
];
export const softmaxCase = (shape: Rows): Case =>
  rowsCase(shape, { name: 'softmax', f: (x: Matrix) => softmax(x), matrices: ['x'], passes: 2 });
export const entropyCases = (shape: Rows): readonly Case[] => [
  rowsCase(shape, { name: 'cross-entropy', f: entropies, matrices: ['x', 'target'], passes: 2 }),
  rowsCase(shape, { name: 'cross-entropy gradient', f: entropyGradient, matrices: ['x', 'target'], passes: 3, tree: true }),
];
export const geluCase = (shape: Rows): Case => rowsCase(shape, { name: 'GELU', f: (x: Matrix) => gelu(x), matrices: ['x'], passes: 2 });
export const residualCase = (shape: Rows): Case =>
  rowsCase(shape, {
    name: 'residual + LayerScale',
    f: (x: Matrix, y: Matrix, gamma: Row) => x.add(y.mul(gamma)),
    matrices: ['x', 'y'],
    vectors: ['gamma'],
    passes: 3,
  });

type Parameters = Readonly<Record<string, readonly number[]>>;

/** One step of AdamW and of the teacher's average over parameters of these paths and shapes. */
export const updateCase = (r: Recipe, shapes: Parameters): Case => {
  const count = (s: readonly number[]): number => s.reduce((a, b) => a * b, 1);
  const elements = Object.values(shapes).reduce((n, s) => n + count(s), 0);
  interface State {
    readonly params: Tree;
    readonly moments: Moments<Tree>;
    readonly teacher: Tree;
  }
  interface Scalars {
    readonly lr: Scalar;
    readonly lastLayerLr: Scalar;
    readonly weightDecay: Scalar;
    readonly momentum: Scalar;
  }
  const update = ({ params, moments, teacher }: State, grads: Tree, hyper: Scalars) => {
    const next = adamw(r.optim, rates(r))(params, grads, moments, hyper);
    return { ...next, teacher: average(teacher, next.params, hyper.momentum) };
  };
  const over = (paths: readonly string[]): Prepare => {
    const each = <X>(f: (path: string, shape: readonly number[]) => X) =>
      Object.fromEntries(paths.map((p) => [p, f(p, shapes[p] as readonly number[])]));
    const specs = each((_, s) => spec(s.join(' ')));
    const numbers = (name: string, scale: number, offset = 0) => each((path, s) => formula(`${name} ${path}`, s, scale, offset));
    const weight = spec('');
    return prepare(
      update,
      [
        { params: specs, moments: { first: specs, second: specs, weight: { first: weight, second: weight } }, teacher: specs },
        specs,
        { lr: weight, lastLayerLr: weight, weightDecay: weight, momentum: weight },
      ],
      [
        {
          params: numbers('param', 0.05),
          moments: { first: numbers('first', 1e-3), second: numbers('second', 5e-7, 6e-7), weight: { first: 0.5, second: 0.1 } },
          teacher: numbers('teacher', 0.05),
        },
        numbers('grad', 1e-3),
        { lr: 1e-3, lastLayerLr: 1e-3, weightDecay: 0.04, momentum: 0.99 },
      ],
      { donate: [0] },
    );
  };
  const paths = Object.keys(shapes);
  // the smallest tensors that are there, as many as the interpreter takes in a moment
  const sizes = paths.map((p) => [p, count(shapes[p] as readonly number[])] as const).sort((a, b) => a[1] - b[1]);
  let room = 2 ** 20;
  const some = sizes.filter(([, n], i) => {
    room -= n;
    return i === 0 || room >= 0;
  });
  return {
    name: 'AdamW + EMA',
    shape: paths.length === 1 ? (Object.values(shapes)[0] as readonly number[]).join('x') : `${elements} in ${paths.length} tensors`,
    timed: 'launches',
    bound: 'memory',
    // parameter, both moments and teacher read and written, gradient read
    bytes: 9 * 4 * elements,
    prepare: over(paths),
    check: onInterpreter(
      over(some.map(([p]) => p)),
      some.length < paths.length ? `float64 interpreter, ${some.length} of ${paths.length} tensors` : undefined,
    ),
  };
};

/** Sizes as they occur in a model: tokens of the global crops, heads x tokens rows of scores, rows of the head. */
const modelRows = (r: Recipe, images: number, tokens: number) => ({
  features: [images * tokens, r.model.width] as const,
  hidden: [images * tokens, r.model.width * (r.model.mlpRatio ?? 4)] as const,
  scores: [images * r.model.heads * tokens, tokens] as const,
  logits: [geometry(r).maskRows, r.dino.prototypes] as const,
});

export const mapCases = (r: Recipe, images: number, tokens: number): readonly Case[] => {
  const { features, hidden } = modelRows(r, images, tokens);
  const parameters = leaves(vit(r.model)).map(({ path, shape }) => [`backbone.${path}`, shape.map(Number)] as const);
  return [geluCase(hidden), residualCase(features), updateCase(r, Object.fromEntries(parameters))];
};

export const reduceCases = (r: Recipe, images: number, tokens: number): readonly Case[] => {
  const { features, scores, logits } = modelRows(r, images, tokens);
  return [...normCases(features), softmaxCase(scores), ...entropyCases(logits)];
};
