/**
 * Random kernels that are right by construction: every index is a remainder of a bounded one, every block writes its own
 * part of the outputs, local arrays are filled before they are read. The generator is driven by a list of numbers, so
 * that fast-check shrinks kernels by shrinking the list.
 */
import fc from 'fast-check';
import { body } from '../../compiler/kernel/build.ts';
import * as e from '../../compiler/kernel/expr.ts';
import type { Expr, Kernel } from '../../compiler/kernel/types.ts';

const grid = [2, 3, 1] as const;
const part = 64;
const inputs = { x: 'f32', n: 'i32', u: 'u32', h: 'bf16', g: 'f16', c: 'bool' } as const;
const size = 96;

export const generate = (choices: readonly number[]): Kernel => {
  let at = 0;
  const pick = (n: number): number => (choices[at++ % choices.length] as number) % n;
  const one = <T>(xs: readonly T[]): T => xs[pick(xs.length)] as T;
  const k = body([...Object.keys(inputs), 'y', 'z']);
  const home = e.mul(e.add(e.mul(e.block(1), grid[0]), e.block(0)), part);
  /** Names in scope, loops and lets of index; all values are below 2^12. */
  let indices: Expr[] = [];
  let floats: Expr[] = [];
  let integers: Expr[] = [];

  const small = (depth: number): Expr => {
    if (depth === 0 || pick(3) === 0)
      return pick(3) === 0 || indices.length === 0 ? one([e.block(0), e.block(1), e.index(pick(9))]) : one(indices);
    const [a, b] = [small(depth - 1), e.index(1 + pick(8))];
    return [
      () => e.rem(e.add(a, small(depth - 1)), e.index(64)),
      () => e.rem(e.mul(a, b), e.index(1 + pick(90))),
      () => e.div(a, b),
      () => e.rem(a, b),
      () => e.add(e.mul(e.div(a, b), b), e.rem(a, b)),
      () => e.min(a, b),
      () => e.max(a, b),
      () => e.rem(e.add(e.mul(a, 8), e.rem(small(depth - 1), 8)), 256),
      () => e.div(e.add(e.mul(a, 8), e.rem(small(depth - 1), 8)), 8),
    ][pick(9)]?.() as Expr;
  };
  const address = (limit: number): Expr => e.rem(small(2), limit);
  const float = (lanes: number, depth: number): Expr => {
    if (depth === 0) {
      const known = floats.filter((x) => x.lanes === lanes);
      if (known.length && pick(2)) return one(known);
      const input = one(['x', 'h', 'g'] as const);
      const read = e.cast(e.load({ name: input, dtype: inputs[input] }, address(size - lanes + 1), lanes), 'f32');
      const gathered = e.cast(
        e.load({ name: input, dtype: inputs[input] }, e.rem(e.ramp(address(64), lanes), e.splat(e.index(13), lanes)), lanes),
        'f32',
      );
      const masked = e.load({ name: 'x', dtype: 'f32' }, address(size - 2), lanes, e.lt(e.ramp(address(4), lanes), 3));
      return one([read, gathered, e.f32(pick(7) / 4, lanes), masked, read]);
    }
    const x = float(lanes, depth - 1);
    return [
      () => e.add(x, float(lanes, depth - 1)),
      () => e.mul(x, float(lanes, depth - 1)),
      () => e.fma(x, float(lanes, depth - 1), x),
      () => e.unary(one(['neg', 'abs', 'floor', 'sign', 'tanh', 'erf', 'exp'] as const), x),
      () => e.select(e.compare(one(['lt', 'le', 'eq', 'ge'] as const), x, 1), x, e.max(x, float(lanes, depth - 1))),
      () => e.select(e.load({ name: 'c', dtype: 'bool' }, address(size - lanes + 1), lanes), x, e.neg(x)),
      () => e.cast(integer(lanes, depth - 1), 'f32'),
      () => (lanes === 1 ? e.across(one(['add', 'max', 'min'] as const), float(4, depth - 1)) : e.splat(float(1, depth - 1), lanes)),
      () => (lanes === 1 ? e.lane(float(4, depth - 1), pick(4)) : e.cast(e.cast(x, 'bf16'), 'f32')),
      () => {
        const pairs = (n: number): Expr => e.load({ name: 'h', dtype: 'bf16' }, address(size - n + 1), n);
        const words = e.bitcast(e.bitcast(pairs(2 * lanes), 'u32'), 'bf16');
        return e.dot2(pick(2) ? pairs(2) : k.let('pairs', pairs(2 * lanes)), words, x);
      },
      () => (lanes === 1 ? e.neg(x) : e.zip(one(['low', 'high'] as const), x, float(lanes, depth - 1))),
    ][pick(11)]?.() as Expr;
  };
  const integer = (lanes: number, depth: number): Expr => {
    if (depth === 0) {
      const known = integers.filter((x) => x.lanes === lanes);
      return known.length && pick(2) ? one(known) : e.load({ name: 'n', dtype: 'i32' }, address(size - lanes + 1), lanes);
    }
    const x = integer(lanes, depth - 1);
    const words = e.cast(x, 'u32');
    return [
      () => e.add(x, integer(lanes, depth - 1)),
      () => e.mul(x, integer(lanes, depth - 1)),
      () => e.div(x, 1 + pick(5)),
      () => e.rem(x, 1 + pick(5)),
      () =>
        e.cast(
          e.binary(
            one(['shiftLeft', 'shiftRight', 'xor', 'and', 'or'] as const),
            words,
            e.load({ name: 'u', dtype: 'u32' }, address(8), lanes),
          ),
          'i32',
        ),
      () => e.not(x),
    ][pick(6)]?.() as Expr;
  };

  const statements = (count: number, depth: number): void => {
    const saved = [indices, floats, integers] as const;
    for (let i = 0; i < count; i++) statement(depth);
    [indices, floats, integers] = saved as [Expr[], Expr[], Expr[]];
  };
  const statement = (depth: number): void => {
    const lanes = one([1, 1, 4, 8]);
    switch (pick(depth > 0 ? 8 : 5)) {
      case 0:
        indices = [...indices, k.let('at', small(3))];
        return;
      case 1:
        floats = [...floats, k.let('f', float(lanes, 2))];
        return;
      case 2:
        integers = [...integers, k.let('i', integer(lanes, 2))];
        return;
      case 3: {
        const v = k.var('v', float(lanes, 1));
        k.for('j', 0, e.rem(small(1), 5), 1, () => k.set(v, e.mul(e.add(v, float(lanes, 1)), 0.5)));
        floats = [...floats, v];
        return;
      }
      case 4:
        if (pick(2)) {
          const at = e.add(home, address(part - lanes + 1));
          k.store({ name: 'y', dtype: 'f32' }, at, float(lanes, 2), pick(2) ? e.lt(e.ramp(address(9), lanes), 5) : undefined);
          return;
        }
        k.store({ name: 'z', dtype: 'bf16' }, e.add(home, address(part - lanes + 1)), e.cast(float(lanes, 2), 'bf16'));
        return;
      case 5: {
        const from = pick(3);
        k.for(
          'r',
          from,
          from + one([0, 1, 2, 5]),
          1 + pick(2),
          (r) => {
            const saved = indices;
            indices = [...indices, r];
            statements(2, depth - 1);
            indices = saved;
          },
          pick(2) ? 'serial' : 'unroll',
        );
        return;
      }
      case 6:
        k.if(e.lt(small(2), pick(20)), () => statements(2, depth - 1), pick(2) ? () => statements(1, depth - 1) : undefined);
        return;
      default: {
        const array = k.alloc('local', 'register', 'f32', 8);
        k.for('w', 0, 8, 1, (w) => k.store(array, w, e.cast(e.cast(w, 'i32'), 'f32')));
        k.prefetch(pick(2) ? array : { name: 'x', dtype: 'f32' }, e.add(small(1), 1e6 * pick(2)));
        k.store(array, address(5), float(4, 1));
        floats = [...floats, k.let('f', e.load(array, address(5), 4))];
      }
    }
  };
  statements(3 + pick(5), 2);
  const buffers = (Object.keys(inputs) as (keyof typeof inputs)[]).map((name) => ({
    name,
    dtype: inputs[name],
    size,
    access: 'read' as const,
  }));
  const outputs = [
    { name: 'y', dtype: 'f32' as const },
    { name: 'z', dtype: 'bf16' as const },
  ].map((o) => ({ ...o, size: part * 6, access: 'readwrite' as const }));
  return { name: 'random', buffers: [...buffers, ...outputs], grid, threads: 1, body: k.done() };
};

export const kernels = fc.array(fc.nat({ max: 0xffff }), { minLength: 4, maxLength: 60 }).map(generate);

/**
 * Kernels that are all index arithmetic: sums of multiples, quotients and remainders of loops, blocks and one another, with
 * small numbers so that ranges often end exactly where a division decides. Every round stores the values it computed.
 */
export const indexKernel = (choices: readonly number[]): Kernel => {
  let at = 0;
  const pick = (n: number): number => (choices[at++ % choices.length] as number) % n;
  const k = body(['y', 'z']);
  const value = (leaves: readonly Expr[], depth: number): Expr => {
    const leaf = (): Expr => leaves[pick(leaves.length)] as Expr;
    if (depth === 0) return leaf();
    const x = value(leaves, depth - 1);
    const c = [2, 3, 4, 6, 8][pick(5)] as number;
    return [
      () => e.add(e.mul(x, c), leaf()),
      () => e.add(e.add(e.mul(leaf(), c), x), pick(4)),
      () => e.div(e.add(x, pick(4)), c),
      () => e.rem(e.add(x, pick(4)), c),
      () => e.add(e.mul(e.div(x, c), c), e.rem(x, c)),
      () => e.add(e.mul(e.div(x, c), 2 * c), e.rem(x, c)),
      () => e.div(e.add(e.mul(value(leaves, depth - 1), c), e.rem(x, c + pick(2))), c),
      () => e.rem(e.add(e.mul(value(leaves, depth - 1), c), e.rem(x, c + pick(2))), c),
      () => e.sub(e.add(x, 1), e.rem(leaf(), 2)),
      () => e.select(e.compare((['lt', 'le', 'ge', 'gt', 'eq', 'ne'] as const)[pick(6)] as 'lt', x, pick(9)), leaf(), x),
      () => e.min(x, c),
      () => e.max(x, c),
    ][pick(12)]?.() as Expr;
  };
  const [from, step] = [1 + pick(3), 1 + pick(3)];
  k.for('i', from, from + 1 + pick(7), step, (i) =>
    k.for('j', 1, 2 + pick(7), 1, (j) => {
      const leaves = [e.block(0), e.index(3), i, j, i, j];
      const home = e.mul(e.add(e.mul(e.add(e.mul(e.block(0), 10), i), 9), j), 4);
      const first = k.let('a', value(leaves, 2));
      const values = [first, value([...leaves, first], 3), value([...leaves, first], 2), value(leaves, 4)];
      values.forEach((v, n) => k.store({ name: 'y', dtype: 'i32' }, e.add(home, n), e.cast(v, 'i32')));
    }),
  );
  return {
    name: 'indices',
    buffers: [{ name: 'y', dtype: 'i32', size: 1500, access: 'write' }],
    grid: [3, 1, 1],
    threads: 1,
    body: k.done(),
  };
};

export const indexKernels = fc.array(fc.nat({ max: 0xffff }), { minLength: 8, maxLength: 60 }).map(indexKernel);

/** Fresh contents of every buffer: inputs with numbers of all kinds, outputs zero. */
export const memoryOf = () => {
  const f = (i: number): number => Math.fround((((i * 7919 + 13) % 257) - 128) / 16);
  const half = (i: number): number => ((i * 31) % 0x3f00) | (i % 2 ? 0x8000 : 0);
  return {
    x: Float32Array.from({ length: size }, (_, i) => f(i)),
    n: Int32Array.from({ length: size }, (_, i) => Math.imul(i + 1, 0x9e3779b1) >> (i % 29)),
    u: Uint32Array.from({ length: size }, (_, i) => (i * 37) % 41),
    h: Uint16Array.from({ length: size }, (_, i) => half(i)),
    g: Uint16Array.from({ length: size }, (_, i) => half(i)),
    c: Uint8Array.from({ length: size }, (_, i) => (i % 3 === 0 ? 1 : 0)),
    y: new Float32Array(part * 6),
    z: new Uint16Array(part * 6),
  };
};
