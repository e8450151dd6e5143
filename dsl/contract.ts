/**
 * einsum and matmul. A contraction of two operands is one `dot`, with at most one transpose after it: letters that only one operand
 * has and the output lacks are summed first, the rest are batch (both operands and output), contracted (both operands) or free.
 * With nothing to contract it is a broadcast product.
 *
 *   einsum('b n d, e d -> b n e', x, w)
 *     %2: f32[B N E] = dot(%0, %1) batch=[][] contract=[2][1]
 */
import type { Builder } from '../compiler/graph/builder.ts';
import { type Dim, eqDim, eqShape } from '../compiler/graph/dim.ts';
import type { DType, Value } from '../compiler/graph/types.ts';
import { fail, located } from './context.ts';
import { bindLetters, letters, parsePattern, spread } from './parse.ts';
import { bare, broadcastShape, stretch } from './pointwise.ts';
import { type Tensor, unwrap, wrap } from './tensor.ts';
import type { Checked, Einsum, MatMul, Shape } from './types/einops.ts';

interface Named {
  readonly value: Value;
  readonly names: readonly string[];
}
const same = (a: readonly string[], b: readonly string[]): boolean => a.length === b.length && a.every((x, i) => x === b[i]);
const permuted = (b: Builder, x: Named, to: readonly string[]): Value =>
  same(x.names, to)
    ? x.value
    : b.transpose(
        x.value,
        to.map((n) => x.names.indexOf(n)),
      );
const summed = (b: Builder, x: Named, keep: (n: string) => boolean): Named => ({
  value: b.sum(
    x.value,
    x.names.flatMap((n, i) => (keep(n) ? [] : [i])),
  ),
  names: x.names.filter(keep),
});

/** x with its axes at their places in the output; axes that it lacks are stretched. */
const spreadOut = (b: Builder, x: Named, out: readonly string[], shape: readonly Dim[]): Value => {
  const mine = out.filter((n) => x.names.includes(n));
  const v = permuted(b, x, mine);
  return mine.length === out.length
    ? v
    : b.broadcast(
        v,
        shape,
        mine.map((n) => out.indexOf(n)),
      );
};

const contract2 = (b: Builder, x: Named, y: Named, out: readonly string[]): Value => {
  const contract = x.names.filter((n) => y.names.includes(n) && !out.includes(n));
  const batch = out.filter((n) => x.names.includes(n) && y.names.includes(n));
  const order = (p: Named, q: Named): string[] => [
    ...batch,
    ...p.names.filter((n) => !q.names.includes(n)),
    ...q.names.filter((n) => !p.names.includes(n)),
  ];
  // the operand order whose result needs no transpose, if there is one
  const [p, q] = !same(order(x, y), out) && same(order(y, x), out) ? [y, x] : [x, y];
  const at = (z: Named, names: readonly string[]): number[] => names.map((n) => z.names.indexOf(n));
  const value = b.one(
    { prim: 'dot', batch: [at(p, batch), at(q, batch)], contract: [at(p, contract), at(q, contract)], dtype: p.value.type.dtype },
    [p.value, q.value],
  );
  return permuted(b, { value, names: order(p, q) }, out);
};

/** The operand without the axes that the pattern writes as 1: they have no letter to meet in another operand. */
const lettered = (b: Builder, value: Value, names: readonly string[]): Named => {
  const kept = value.type.shape.filter((_, i) => names[i] !== '1');
  return { value: kept.length === names.length ? value : b.reshape(value, kept), names: names.filter((n) => n !== '1') };
};

/** The contraction, its axes as `out` lists them: letters only. */
const combine = (b: Builder, x: Named, y: Named | undefined, out: readonly string[], env: ReadonlyMap<string, Dim>): Value => {
  if (y === undefined)
    return permuted(
      b,
      summed(b, x, (n) => out.includes(n)),
      out,
    );
  const p = summed(b, x, (n) => out.includes(n) || y.names.includes(n));
  const q = summed(b, y, (n) => out.includes(n) || x.names.includes(n));
  if (p.names.some((n) => q.names.includes(n) && !out.includes(n))) return contract2(b, p, q, out);
  const shape = out.map((n) => env.get(n) as Dim);
  return b.mul(spreadOut(b, p, out, shape), spreadOut(b, q, out, shape));
};

const einsumOn = (b: Builder, pattern: string, values: readonly Value[]): Value => {
  const { ins, out: outGroups } = parsePattern('einsum', pattern);
  if (ins.length !== values.length)
    fail('FV0003', `einsum: pattern has ${ins.length > values.length ? 'more' : 'fewer'} operands than tensors given`);
  if (values.length > 2) fail('FV0003', `einsum: takes one or two tensors, got ${values.length}`, 'Contract two at a time.');
  const env = new Map<string, Dim>();
  const operands = ins.map((groups, k): Named => {
    const value = values[k] as Value;
    const what = `operand ${k + 1} ${bare(value.type.shape)}`;
    if (value.type.dtype === 'bool') fail('FV0002', `einsum: ${what} is bool`, "Use .cast('f32') or .cast('i32') first.");
    const names = letters('einsum', groups, value.type.shape.length, what);
    bindLetters('einsum', names, value, env, what);
    return lettered(b, value, names);
  });
  const dots = operands.map((o) => o.names.filter((n) => n.startsWith('...')).length);
  if (ins.every((g) => g.includes('...')) && new Set(dots).size > 1)
    fail('FV0001', `einsum: ... stands for ${dots.join(' and ')} axes in '${pattern}'`);
  const [x, y] = operands as [Named, Named | undefined];
  const [t, u] = values.map((v) => v.type.dtype);
  if (y && t !== u) fail('FV0002', `einsum: dtypes differ: ${t} vs ${u} (use .cast())`);
  const out = spread('einsum', ins, outGroups, env);
  const value = combine(
    b,
    x,
    y,
    out.filter((n) => n !== '1'),
    env,
  );
  const shape = out.map((n) => (n === '1' ? 1 : (env.get(n) as Dim)));
  return eqShape(value.type.shape, shape) ? value : b.reshape(value, shape);
};

interface EinsumF {
  <const P extends string, A extends string, T extends DType>(
    pattern: Checked<Einsum<P, [A]>, P>,
    a: Tensor<A, T>,
  ): Tensor<Shape<Einsum<P, [A]>>, T>;
  <const P extends string, A extends string, B extends string, T extends DType>(
    pattern: Checked<Einsum<P, [A, B]>, P>,
    a: Tensor<A, T>,
    b: Tensor<B, NoInfer<T>>,
  ): Tensor<Shape<Einsum<P, [A, B]>>, T>;
}
/**
 * Sums of products over named axes, of one or two tensors of one dtype, not bool: letters that the output lacks are summed; `1` is an axis
 * of size 1, `...` a run of axes. FV0003 for the pattern, FV0001 where a letter has two sizes, FV0002 for dtypes.
 */
export const einsum: EinsumF = (pattern: unknown, ...xs: unknown[]) =>
  located((b) =>
    wrap<never>(
      einsumOn(
        b,
        pattern as string,
        xs.map((x) => unwrap('einsum', x)),
      ),
    ),
  ); // the overloads say what the types know

/** [... m k] @ [... k n] -> [... m n]; batch axes broadcast, as in add. FV0001 where sizes differ, FV0002 for dtypes. */
export const matmul = <A extends string, B extends string, T extends DType>(
  x: Tensor<A, T>,
  y: Checked<MatMul<A, B>, Tensor<B, NoInfer<T>>>,
): Tensor<Shape<MatMul<A, B>>, T> =>
  located((b) => {
    const [p, q] = [unwrap('matmul', x), unwrap('matmul', y)];
    const [s, t] = [p.type.shape, q.type.shape];
    if (s.length < 2 || t.length < 2)
      fail('FV0001', `matmul: ${s.length < 2 ? 'left' : 'right'} operand ${bare(s.length < 2 ? s : t)} needs rank >= 2`);
    const [k, k2] = [s.at(-1) as Dim, t.at(-2) as Dim];
    if (!eqDim(k, k2)) fail('FV0001', `matmul: inner dims differ: ${bare(s)} @ ${bare(t)}: ${k} vs ${k2}`);
    if (p.type.dtype === 'bool') fail('FV0002', `matmul: the left operand ${bare(s)} is bool`, "Use .cast('f32') or .cast('i32') first.");
    if (p.type.dtype !== q.type.dtype) fail('FV0002', `matmul: dtypes differ: ${p.type.dtype} vs ${q.type.dtype} (use .cast())`);
    const lead = broadcastShape('matmul', s.slice(0, -2), t.slice(0, -2));
    // a plain right matrix needs no batch: its axes are free
    const batched = t.length > 2;
    const left = batched ? stretch(b, p, [...lead, ...s.slice(-2)]) : p;
    const right = batched ? stretch(b, q, [...lead, ...t.slice(-2)]) : q;
    const batch = batched ? lead.map((_, i) => i) : [];
    return wrap(
      b.one({ prim: 'dot', batch: [batch, batch], contract: [[left.type.shape.length - 1], [batch.length]], dtype: left.type.dtype }, [
        left,
        right,
      ]),
    );
  });
