/**
 * Transformations of functions, while they are traced: grad, valueAndGrad, jvp, checkpoint, scan, vmap. They take and give plain functions of
 * trees, so they compose with each other and with themselves. The function is traced into a closed sub-graph, which compiler/transform
 * differentiates; tensors that it uses from outside are constants of the derivative.
 *
 *   const step = (p: Model, batch: Batch) => {
 *     const [loss, logs, g] = valueAndGrad(lossOf, { hasAux: true })(p, batch);
 *     return treeMap((w, dw) => w.sub(dw.mul(lr)), p, g);
 *   };
 */

import { type Dim, eqDim } from '../compiler/graph/dim.ts';
import { eqType, showType } from '../compiler/graph/infer.ts';
import { type DType, isFloat, type TensorType, type Value } from '../compiler/graph/types.ts';
import { repeated } from '../compiler/transform/batched.ts';
import { valueAndGrad as gradGraph } from '../compiler/transform/grad.ts';
import { jvp as jvpGraph } from '../compiler/transform/jvp.ts';
import { vmap as vmapGraph } from '../compiler/transform/vmap.ts';
import { region, subgraph, tensorsLike, tensorsOf, withValues } from './closure.ts';
import { close, current, fail, isTensor, lift, located } from './context.ts';
import type { Scalar, Tensor } from './tensor.ts';
import type { Join, Words } from './types/words.ts';

type Body = (...a: never[]) => unknown;
/** Value, aux and gradients with respect to the first argument of `args`. */
const differentiate = (
  name: string,
  f: Body,
  args: readonly unknown[],
  hasAux: boolean,
): { readonly value: unknown; readonly aux: unknown; readonly grads: unknown } =>
  located((b) => {
    const wrt = tensorsOf(args[0]);
    const whole = wrt.find((l) => !isFloat(l.value.type.dtype));
    if (whole)
      fail(
        'FV0103',
        `${name}: ${whole.path || 'the first argument'} is ${showType(whole.value.type)}`,
        'Only float tensors have gradients: pass the others in a later argument.',
      );
    const s = subgraph(args, (...xs: never[]) => {
      const r = f(...xs);
      const pair = hasAux && Array.isArray(r) ? (r as readonly unknown[]) : [r];
      if (hasAux && pair.length !== 2) fail('FV0006', `${name}: with hasAux the function returns [loss, aux]`);
      if (!isTensor(pair[0]))
        fail('FV0103', `${name}: the function returns ${pair[0] === null ? 'null' : typeof pair[0]}, not a scalar tensor`);
      const loss = lift(pair[0] as never).type;
      if (loss.shape.length !== 0 || !isFloat(loss.dtype))
        fail('FV0103', `${name}: the function returns ${showType(loss)}, not one float scalar`, 'Reduce it to a scalar, by sum or mean.');
      return pair;
    });
    current().differentiated?.(s.graph);
    const { results, grads } = gradGraph(
      b,
      s.graph,
      s.args,
      wrt.map((_, i) => i),
    );
    const [value, aux] = s.rebuild(results) as [unknown, unknown];
    return { value, aux, grads: withValues(args[0], grads) };
  });

/**
 * The gradient of a scalar function with respect to its first argument, a tree of floats: a tree of the same shapes, zeros where the loss does
 * not depend on a leaf. FV0103 for a result that is no float scalar and for a leaf that is not float.
 */
export const grad =
  <P, A extends readonly unknown[]>(f: (p: P, ...a: A) => Scalar) =>
  (p: P, ...a: A): P =>
    differentiate('grad', f as unknown as Body, [p, ...a], false).grads as P;

interface ValueAndGrad {
  <P, A extends readonly unknown[], X>(
    f: (p: P, ...a: A) => readonly [Scalar, X],
    options: { readonly hasAux: true },
  ): (p: P, ...a: A) => [value: Scalar, aux: X, grads: P];
  <P, A extends readonly unknown[]>(f: (p: P, ...a: A) => Scalar): (p: P, ...a: A) => [value: Scalar, grads: P];
}
/** The value with the gradient (see grad); with hasAux the function returns [loss, aux] and aux, any tree, is passed on. */
export const valueAndGrad: ValueAndGrad =
  (f: unknown, options?: { readonly hasAux: true }) =>
  // the overloads say what is in the list
  (...args: readonly unknown[]): never => {
    const { value, aux, grads } = differentiate('valueAndGrad', f as Body, args, options?.hasAux ?? false);
    return (options?.hasAux ? [value, aux, grads] : [value, grads]) as never;
  };

/**
 * Value and directional derivative: jvp(f)(primals, tangents). Tangents are trees like the primals, key by key
 * (FV0006), of the same types (FV0001); those of integer leaves are ignored, those of integer results are zeros.
 */
export const jvp =
  <A extends readonly unknown[], R>(f: (...a: A) => R) =>
  (primals: A, tangents: A): [value: R, tangent: R] =>
    located((b) => {
      const moving = tensorsLike(primals, tangents, 'jvp: the tangents');
      const s = subgraph(primals, f as unknown as Body);
      const dots = s.args.map((x, i): Value | null => {
        const t = moving[i];
        if (!t || !isFloat(x.type.dtype)) return null;
        if (!eqType(x.type, t.value.type)) fail('FV0001', `jvp: ${t.path} is ${showType(x.type)}, its tangent ${showType(t.value.type)}`);
        return t.value;
      });
      const { results, tangents: out } = jvpGraph(b, s.graph, s.args, dots);
      const zero = (r: Value): Value => b.fill(0, r.type);
      return [s.rebuild(results) as R, s.rebuild(results.map((r, i) => out[i] ?? zero(r))) as R];
    });

/**
 * f, its inner values recomputed in the backward pass instead of saved: what enters and leaves f is kept, nothing else. Values and gradients
 * are those of f to the last bit; the type is f's own. A checkpoint inside a checkpoint belongs to the outer one.
 */
export const checkpoint = <F extends (...a: never) => unknown>(f: F): F =>
  // a generic callable stays generic: the wrapper passes its arguments through
  ((...args: unknown[]) => located(() => region('checkpoint', args, f as unknown as Body))) as unknown as F;

// ---- scan
type Rest<S extends string> = Words<S> extends readonly [string, ...infer R extends readonly string[]] ? Join<R> : string;
type First<S extends string> = Words<S> extends readonly [infer H extends string, ...string[]] ? H : never;
/** The tree with the first axis of every tensor gone. */
export type Rows<X> =
  X extends Tensor<infer S, infer T>
    ? Tensor<string extends S ? string : Rest<S>, T>
    : X extends object
      ? { [K in keyof X]: Rows<X[K]> }
      : X;
/** The size of the first axis, as a word. */
export type Length<X> =
  X extends Tensor<infer S, DType>
    ? First<S>
    : X extends readonly unknown[]
      ? Length<X[number]>
      : X extends object
        ? { [K in keyof X]: Length<X[K]> }[keyof X]
        : never;
export type Stacked<Y, L extends string> =
  Y extends Tensor<infer S, infer T>
    ? Tensor<string extends S ? string : S extends '' ? L : `${L} ${S}`, T>
    : Y extends object
      ? { [K in keyof Y]: Stacked<Y[K], L> }
      : Y;

/**
 * A loop in the graph: f(carry, x) -> [carry, y] over the first axis of the trees xs. Gives the last carry and the ys stacked. The body is
 * traced once, so the program does not grow with the length; `reverse` starts from the last element (the ys keep their places).
 * FV0001 where first axes differ or the carry changes its type, FV0006 where it changes its tree.
 */
export const scan = <C, XS, Y>(
  f: (carry: C, x: Rows<XS>) => readonly [C, Y],
  init: C,
  xs: XS,
  options: { readonly reverse?: boolean } = {},
): [carry: C, ys: Stacked<Y, Length<XS>>] =>
  located((b) => {
    const carries = tensorsOf(init);
    const rows = tensorsOf(xs);
    const length: Dim =
      rows[0]?.value.type.shape[0] ??
      fail('FV0001', 'scan: xs has no tensor with a first axis', "Scan over iota('12') to repeat 12 times.");
    const rowTypes = rows.map(({ path, value: { type } }) =>
      type.shape.length === 0
        ? fail('FV0001', `scan: ${path || 'xs'} is a scalar; its first axis should be ${length}`)
        : { dtype: type.dtype, shape: type.shape.slice(1) },
    );
    let ys: unknown;
    const closed = close(
      carries.map((c) => c.value.type),
      rowTypes,
      false,
      (_, params) => {
        const out = f(withValues(init, params.slice(0, carries.length)) as C, withValues(xs, params.slice(carries.length)) as Rows<XS>);
        if (!Array.isArray(out) || out.length !== 2) fail('FV0006', 'scan: the function returns [carry, y]');
        const next = tensorsLike(init, out[0], 'scan: the carry that leaves');
        next.forEach((n, i) => {
          const c = carries[i] as { path: string; value: Value };
          if (!eqType(n.value.type, c.value.type))
            fail('FV0001', `scan: carry ${c.path} enters as ${showType(c.value.type)} and leaves as ${showType(n.value.type)}`);
        });
        ys = out[1]; // its tensors end with this trace; their places are filled with the results below
        return [...next.map((n) => n.value), ...tensorsOf(ys).map((y) => y.value)];
      },
    );
    const results = b.emit(
      {
        prim: 'scan',
        length,
        carries: carries.length,
        constants: closed.captured.length,
        reverse: options.reverse ?? false,
        body: closed.graph,
      },
      [...carries.map((c) => c.value), ...closed.captured, ...rows.map((r) => r.value)],
    );
    return [
      withValues(init, results.slice(0, carries.length)) as C,
      withValues(ys, results.slice(carries.length)) as Stacked<Y, Length<XS>>,
    ];
  });

// ---- vmap
/** The tree with a first axis before those of every tensor. */
export type Examples<X> =
  X extends Tensor<infer S, infer T>
    ? Tensor<string extends S ? string : S extends '' ? string : `${string} ${S}`, T>
    : X extends object
      ? { [K in keyof X]: Examples<X[K]> }
      : X;

/**
 * f for a batch of examples: every tensor of the arguments has a new first axis, all of one size, and so has every tensor of the result.
 * What f uses from outside is the same for all examples. The program does not grow with the batch, and composes with the other
 * transformations: vmap(grad(f)) are the gradients of single examples, grad of a sum over vmap(f) is that of the batch.
 * FV0001 where first axes differ or an argument is a scalar, FV0006 where there is no tensor to map over.
 *
 *   vmap((x: F32<'D'>) => sum('d ->', x.mul(x)))(rows)      rows: F32<'B D'>  ->  F32<'B'>
 */
export const vmap =
  <P extends readonly unknown[], R>(f: (...example: P) => R) =>
  <A extends Examples<P>>(...args: A): Stacked<R, Length<A>> =>
    located((b) => {
      const leaves = tensorsOf(args);
      const size: Dim =
        leaves[0]?.value.type.shape[0] ??
        fail('FV0006', 'vmap: the arguments have no tensor with a first axis', 'Give at least one tensor of examples.');
      const examples = leaves.map(({ path, value: { type } }): TensorType => {
        const [first, ...shape] = type.shape;
        if (first === undefined || !eqDim(first, size))
          fail(
            'FV0001',
            `vmap: argument ${path} is ${showType(type)}; its first axis should be ${size}`,
            'Use what is shared by all examples from outside f.',
          );
        return { dtype: type.dtype, shape };
      });
      let out: unknown;
      const closed = close(examples, [], false, (_, params) => {
        out = f(...(withValues(args, params) as P));
        return tensorsOf(out).map((y) => y.value);
      });
      const operands = [...leaves.map((l) => l.value), ...closed.captured];
      const { values, batched } = vmapGraph(
        b,
        closed.graph,
        operands,
        operands.map((_, i) => i < leaves.length),
        size,
      );
      // a result that depends on no example is the same for all
      return withValues(
        out,
        values.map((v, i) => repeated(b, v, batched[i] as boolean, size)),
      ) as Stacked<R, Length<A>>;
    });
