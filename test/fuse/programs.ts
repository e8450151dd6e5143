/**
 * Random programs for fusion: a list of small numbers read as instructions over the values made so far. Any list is a
 * program, so fast-check can shrink one freely. Shapes are small but cover whole vectors, remainders and single elements.
 */
import fc from 'fast-check';
import { builder } from '../../compiler/graph/builder.ts';
import type { DType, Graph, Op, Value } from '../../compiler/graph/types.ts';
import { sizeOf } from '../../compiler/tile/emit.ts';

export type Instruction = readonly [op: number, a: number, b: number, c: number];

const shapes: readonly (readonly number[])[] = [[6, 16], [3, 20], [70], [2, 37], [2, 3, 8], [4, 1, 9], [24], [5], [2, 17, 2], []];
const shape = (v: Value): number[] => v.type.shape as number[];

export const programOf = (code: readonly Instruction[], outputs: number): Graph => {
  const b = builder();
  const values: Value[] = [
    b.param({ dtype: 'f32', shape: shapes[(code[0]?.[1] ?? 0) % shapes.length] as number[] }),
    b.param({ dtype: 'f32', shape: shapes[(code[0]?.[2] ?? 1) % shapes.length] as number[] }),
  ];
  const pick = (n: number, ok: (v: Value) => boolean): Value | undefined => {
    const fit = values.filter(ok);
    return fit.length === 0 ? undefined : fit[fit.length - 1 - (n % fit.length)];
  };
  const float = (v: Value): boolean => v.type.dtype === 'f32';
  const like =
    (x: Value) =>
    (v: Value): boolean =>
      v.type.dtype === x.type.dtype && shape(v).join() === shape(x).join();
  const axisOf = (v: Value, c: number): number => c % shape(v).length;
  const small = (v: Value | undefined): Value | undefined => (v && sizeOf(v) <= 600 ? v : undefined);
  const unary = ['neg', 'exp', 'tanh', 'abs', 'sin', 'erf'] as const;
  const binary = ['add', 'sub', 'mul', 'max', 'min'] as const;
  /** x and y brought to one shape: y is reduced or broadcast, or a constant stands in. */
  const mate = (x: Value, n: number): Value => pick(n, like(x)) ?? x;
  const step = ([op, n, m, c]: Instruction): Value | undefined => {
    const x = pick(n, float) as Value;
    const rank = shape(x).length;
    switch (op % 24) {
      case 0:
      case 1:
        return b.one({ prim: unary[c % unary.length] as 'neg' }, [op % 24 === 0 && c % 6 === 1 ? b.min(x, b.fill(2, x.type)) : x]);
      case 2:
      case 3:
      case 4:
        return b.one({ prim: binary[c % binary.length] as 'add' }, [x, mate(x, m)]);
      case 5:
        return b.mul(x, b.fill(((c % 17) - 8) / 8, x.type));
      case 6: {
        // a value broadcast to the shape of another, along the axes that fit
        const y = pick(m, (v) => float(v) && shape(v).length === 1 && shape(v)[0] === shape(x)[rank - 1]);
        return y && b.add(x, b.broadcast(y, shape(x), [rank - 1]));
      }
      case 7: {
        if (rank === 0) return undefined;
        const axis = axisOf(x, c);
        const r = b.one({ prim: (['reduceSum', 'reduceMax', 'reduceMin'] as const)[m % 3] as 'reduceSum', axes: [axis] }, [x]);
        values.push(r);
        return b.sub(
          x,
          b.broadcast(
            r,
            shape(x),
            shape(x)
              .map((_, i) => i)
              .filter((i) => i !== axis),
          ),
        );
      }
      case 8:
        return rank === 0
          ? undefined
          : b.one({ prim: (['reduceSum', 'reduceMax', 'reduceMin'] as const)[m % 3] as 'reduceSum', axes: [axisOf(x, c)] }, [x]);
      case 9:
        return b.sum(
          x,
          shape(x).flatMap((_, i) => ((c >> i) & 1 ? [i] : [])),
        );
      case 10:
        return rank < 2
          ? undefined
          : b.transpose(
              x,
              [...shape(x).keys()].map((i) => (i + 1 + (c % (rank - 1))) % rank),
            );
      case 11: {
        const size = sizeOf(x);
        const d = [2, 3, 4, 5, 6, 8].find((k, i) => i >= c % 6 && size % k === 0);
        return b.reshape(x, d ? [d, size / d] : [size]);
      }
      case 12: {
        if (rank === 0) return undefined;
        const axis = axisOf(x, c);
        const length = shape(x)[axis] as number;
        if (length < 2) return undefined;
        const start = m % (length - 1);
        return b.slice(
          x,
          shape(x).map((_, i) => (i === axis ? start : 0)),
          shape(x).map((s, i) =>
            i === axis ? start + Math.max(1, length >> 1) - (start + (length >> 1) > length ? start + (length >> 1) - length : 0) : s,
          ),
        );
      }
      case 13: {
        const axis = rank === 0 ? 0 : axisOf(x, c);
        return rank === 0
          ? undefined
          : small(
              b.pad(
                x,
                shape(x).map((_, i) => (i === axis ? m % 3 : 0)),
                shape(x).map((_, i) => (i === axis ? n % 4 : 0)),
                (m % 5) / 4,
              ),
            );
      }
      case 14:
        return rank === 0 ? undefined : small(b.concat(m % 2 ? [x, mate(x, m)] : [mate(x, n), x, x], axisOf(x, c)));
      case 15:
        return rank === 0 ? undefined : b.one({ prim: 'reverse', axes: [axisOf(x, c)] }, [x]);
      case 16: {
        if (rank === 0) return undefined;
        const axis = axisOf(x, c);
        const list = b.one({ prim: 'array', dtype: 'i32', shape: [4], data: [m % 7, 0, n % 5, (c % 9) - 1] }, []);
        return b.gather(x, list, axis);
      }
      case 17: {
        if (rank === 0) return undefined;
        const axis = axisOf(x, c);
        const list = b.one({ prim: 'array', dtype: 'i32', shape: [3], data: [m % 4, n % 4, (c % 5) - 1] }, []);
        return b.scatterAdd(x, list, b.gather(x, list, axis), axis);
      }
      case 18:
        return rank === 0 ? undefined : b.one({ prim: 'cumsum', axis: axisOf(x, c) }, [x]);
      case 19: {
        const y = mate(x, m);
        return b.select(b.compare((['lt', 'ge', 'eq'] as const)[c % 3] as 'lt', x, y), b.mul(x, y), y);
      }
      case 20: {
        // a contraction over some axis that two values have in common
        if (rank === 0) return undefined;
        const axis = axisOf(x, c);
        const y = pick(m, (v) => float(v) && shape(v).includes(shape(x)[axis] as number)) as Value;
        const other = shape(y).indexOf(shape(x)[axis] as number);
        const free = (sizeOf(x) / (shape(x)[axis] as number)) * (sizeOf(y) / (shape(x)[axis] as number));
        if (free > 600) return undefined;
        const batched = axis > 0 && other > 0 && shape(x)[0] === shape(y)[0] && m % 2 === 0;
        const op: Op = { prim: 'dot', batch: batched ? [[0], [0]] : [[], []], contract: [[axis], [other]], dtype: 'f32' };
        return b.one(op, [x, y]);
      }
      case 21: {
        // softmax over the last axis
        if (rank === 0) return undefined;
        const kept = [...shape(x).keys()].slice(0, -1);
        const max = b.one({ prim: 'reduceMax', axes: [rank - 1] }, [x]);
        const ex = b.exp(b.sub(x, b.broadcast(max, shape(x), kept)));
        values.push(max);
        return b.div(ex, b.broadcast(b.sum(ex, [rank - 1]), shape(x), kept));
      }
      case 22: {
        // normalisation over one or two of the last axes, and the pieces that a backward pass would keep
        if (rank === 0) return undefined;
        const axes = [...shape(x).keys()].slice(rank > 2 && c % 2 ? -2 : -1);
        const kept = [...shape(x).keys()].slice(0, rank - axes.length);
        const n = axes.reduce((p, i) => p * (shape(x)[i] as number), 1);
        const mean = b.sum(b.mul(x, b.fill(1 / n, x.type)), axes);
        const d = b.sub(x, b.broadcast(mean, shape(x), kept));
        const variance = b.sum(b.mul(b.mul(d, d), b.fill(1 / n, x.type)), axes);
        const scale = b.rsqrt(b.add(variance, b.fill(0.5, variance.type)));
        values.push(scale);
        return b.mul(d, b.broadcast(scale, shape(x), kept));
      }
      default: {
        const t = (['bf16', 'f16', 'i32'] as const)[c % 3] as DType;
        return t === 'i32'
          ? b.cast(b.one({ prim: 'iota', shape: shape(x).length === 0 ? [1] : shape(x), axis: 0, dtype: 'i32' }, []), 'f32')
          : b.cast(b.cast(x, t), 'f32');
      }
    }
  };
  for (const instruction of code) {
    const v = step(instruction);
    if (v && sizeOf(v) > 0) values.push(v);
  }
  const last = values.slice(-4);
  const results = last.filter((_, i) => (outputs >> i) & 1);
  return b.build(results.length > 0 ? results : [values.at(-1) as Value]);
};

const small = fc.nat({ max: 40 });
export const programs: fc.Arbitrary<Graph> = fc
  .tuple(fc.array(fc.tuple(small, small, small, small), { minLength: 1, maxLength: 14 }), fc.nat({ max: 15 }))
  .map(([code, outputs]) => programOf(code, outputs));
