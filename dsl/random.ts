/**
 * Random numbers as pure functions of a key: the same key gives the same numbers, on every backend, because the bits are those of
 * Threefry-2x32 in counter mode. Nothing is consumed: derive a key for each use with split or fold.
 *
 *   const [a, b] = random.split(random.key(seed), 2);
 *   random.normal(a, 'B N'), random.bernoulli(b, 0.1, 'B 1')
 *
 * split(key, n): row i is words 2i, 2i+1 of the bits of `key xor splitDomain`. fold(key, i): bits of (bits of key xor foldDomain) xor i.
 * The constants keep derived keys apart from the numbers drawn from the key itself; fold hashes twice, because neighbouring seeds xor
 * neighbouring numbers would collide. uniform is the upper 24 bits times 2^-24; normal is sqrt(2) erfinv of 23 bits and a half.
 */
import type { Builder } from '../compiler/graph/builder.ts';
import type { TensorType, Value } from '../compiler/graph/types.ts';
import { fail, type Handle, isTensor, lift, located, shapeOf } from './context.ts';
import { erfinvFar, erfinvNear, seedWords } from './init.ts';
import { stretch } from './pointwise.ts';
import { type F32, type Key, type Scalar, type Tensor, unwrap, wrap } from './tensor.ts';

const splitDomain = [0x5bd1e995, 0x9e3779b9] as const;
const foldDomain = [0x27d4eb2f, 0x165667b1] as const;

const words = (b: Builder, w: readonly number[]): Value => b.one({ prim: 'array', data: [...w], shape: [w.length], dtype: 'u32' }, []);
const bitsOf = (b: Builder, key: Value, shape: TensorType['shape']): Value => b.one({ prim: 'randomBits', shape }, [key]);
const keyOf = (op: string, key: unknown): Value => {
  const k = unwrap(op, key);
  if (k.type.dtype !== 'u32' || k.type.shape.length !== 1 || k.type.shape[0] !== 2)
    fail('FV0002', `${op}: the key is ${k.type.dtype}[${k.type.shape.join(' ')}], not u32[2]`, 'Make one with random.key(seed).');
  return k;
};

/** A key from a seed: a whole number, 0 or more, or a u32 scalar that is an input of the program. */
const key = (seed: number | Tensor<'', 'u32'>): Key =>
  located((b) => {
    if (isTensor(seed)) return wrap(b.concat([words(b, [0]), b.reshape(lift(seed), [1])], 0));
    if (typeof seed !== 'number' || !Number.isSafeInteger(seed) || seed < 0)
      return fail('FV0005', `random.key: the seed ${String(seed)} is not a whole number, 0 or more`);
    return wrap(words(b, seedWords(seed)));
  });

type Keys<N extends number, R extends Key[] = []> = number extends N ? Key[] : R['length'] extends N ? R : Keys<N, [...R, Key]>;
/** n independent keys. */
const split = <const N extends number>(k: Key, n: N): Keys<N> =>
  located((b) => {
    const rows = bitsOf(b, b.xor(keyOf('random.split', k), words(b, splitDomain)), [n, 2]);
    const keys = Array.from({ length: n }, (_, i) => wrap<Key>(b.reshape(b.slice(rows, [i, 0], [i + 1, 2]), [2])));
    return keys as unknown as Keys<N>; // a tuple where n is a literal
  });

/** The key of step i: i is an i32 or u32 scalar, or a number. */
const fold = (k: Key, i: number | Tensor<'', 'i32'> | Tensor<'', 'u32'>): Key =>
  located((b) => {
    const n = typeof i === 'number' ? b.constant(i >>> 0, 'u32') : b.cast(unwrap('random.fold', i), 'u32');
    if (n.type.shape.length !== 0) fail('FV0001', `random.fold: the number is [${n.type.shape.join(' ')}], not a scalar`);
    const inner = bitsOf(b, b.xor(keyOf('random.fold', k), words(b, foldDomain)), [2]);
    return wrap(bitsOf(b, b.xor(inner, b.concat([words(b, [0]), b.reshape(n, [1])], 0)), [2]));
  });

/** Uniform 32-bit words. */
const bits = <const S extends string>(k: Key, shape: S): Tensor<S, 'u32'> =>
  located((b) => wrap(bitsOf(b, keyOf('random.bits', k), shapeOf(shape))));

const shifted = (b: Builder, x: Value, by: number): Value => b.cast(b.shiftRight(x, b.fill(by, x.type)), 'f32');
const scaled = (b: Builder, x: Value, by: number): Value => b.mul(x, b.fill(by, x.type));
const plus = (b: Builder, x: Value, c: number): Value => b.add(x, b.fill(c, x.type));
const unit = (b: Builder, k: Value, shape: TensorType['shape']): Value => scaled(b, shifted(b, bitsOf(b, k, shape), 8), 2 ** -24);
/** In [0, 1), multiples of 2^-24. */
const uniform = <const S extends string>(k: Key, shape: S): F32<S> =>
  located((b) => wrap(unit(b, keyOf('random.uniform', k), shapeOf(shape))));

const horner = (b: Builder, cs: readonly number[], w: Value): Value =>
  cs.slice(1).reduce((p, c) => plus(b, b.mul(p, w), c), b.fill(cs[0] as number, w.type));
/** erfinv on (-1, 1): the two polynomials of Giles (see init.ts). */
const erfinv = (b: Builder, x: Value): Value => {
  const one = b.fill(1, x.type);
  const w = b.neg(b.log(b.mul(b.sub(one, x), b.add(one, x))));
  const near = horner(b, erfinvNear, plus(b, w, -2.5));
  const far = horner(b, erfinvFar, plus(b, b.sqrt(w), -3));
  return b.mul(x, b.select(b.compare('lt', w, b.fill(5, w.type)), near, far));
};
/** Strictly between -1 and 1, symmetric about 0. */
const symmetric = (b: Builder, k: Value, shape: TensorType['shape']): Value =>
  plus(b, scaled(b, plus(b, shifted(b, bitsOf(b, k, shape), 9), 0.5), 2 ** -22), -1);

/** Standard normal; the largest value is about 5.3. */
const normal = <const S extends string>(k: Key, shape: S): F32<S> =>
  located((b) => wrap(scaled(b, erfinv(b, symmetric(b, keyOf('random.normal', k), shapeOf(shape))), Math.SQRT2)));
/** erf(sqrt 2): the mass of a normal within two standard deviations. */
const twoSigma = 0.9544997361036416;
/** Standard normal, cut off at two standard deviations (not rescaled). */
const truncatedNormal = <const S extends string>(k: Key, shape: S): F32<S> =>
  located((b) =>
    wrap(scaled(b, erfinv(b, scaled(b, symmetric(b, keyOf('random.truncatedNormal', k), shapeOf(shape)), twoSigma)), Math.SQRT2)),
  );
/** true with probability p, a number or a scalar. */
const bernoulli = <const S extends string>(k: Key, p: number | Scalar, shape: S): Tensor<S, 'bool'> =>
  located((b) => {
    const u = unit(b, keyOf('random.bernoulli', k), shapeOf(shape));
    const limit = typeof p === 'number' ? b.fill(p, u.type) : stretch(b, lift(p as unknown as Handle), u.type.shape);
    return wrap(b.compare('lt', u, limit));
  });

export const random = { key, split, fold, bits, uniform, normal, truncatedNormal, bernoulli } as const;
