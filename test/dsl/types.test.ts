/** What the types compute, and what they refuse. tsc checks this file; vitest runs it to see that the traced shapes are the typed ones. */
import { expect, expectTypeOf, test } from 'vitest';
import * as d from '../../dsl/index.ts';
import { block, linear, vit } from './models.ts';

/** Runs f while tracing, so that its tensors exist. */
const traced = (f: () => void): void => {
  d.trace(() => {
    f();
    return d.scalar(0);
  }, []);
};
const t = <const S extends string>(shape: S): d.F32<S> => d.full(0, shape);
const is = <S extends string>(x: d.Tensor<S, d.DType>, shape: S): void => {
  expect(x.as(shape).shape).toEqual(x.shape);
};

test('shapes of results', () => {
  traced(() => {
    const x = t('B N 384');
    expectTypeOf(x.add(t('384'))).toEqualTypeOf<d.F32<'B N 384'>>();
    expectTypeOf(t('384').add(x)).toEqualTypeOf<d.F32<'B N 384'>>();
    expectTypeOf(x.mul(2).lt(t('1 N 1'))).toEqualTypeOf<d.Tensor<'B N 384', 'bool'>>();
    const cat = d.concat('b * d', t('B 1 384'), t('B 4 384'), x);
    expectTypeOf(cat).toEqualTypeOf<d.F32<'B N+5 384'>>();
    is(cat, 'B N+5 384');
    const back = d.slice('b 5: d', cat);
    expectTypeOf(back).toEqualTypeOf<d.F32<'B N 384'>>();
    is(back, 'B N 384');
    expectTypeOf(d.slice('b 0 d', x)).toEqualTypeOf<d.F32<'B 384'>>();
    expectTypeOf(d.slice('b 1: d', x)).toEqualTypeOf<d.F32<'B N-1 384'>>();
    expectTypeOf(d.pad('b 1:n: d', x)).toEqualTypeOf<d.F32<'B N+1 384'>>();
    const heads = d.rearrange('b n (t h k) -> t b h n k', t('B N 3*D'), { t: 3, h: d.size('H') });
    expectTypeOf(heads).toEqualTypeOf<d.F32<'3 B H N D/H'>>();
    is(heads, '3 B H N D/H');
    const merged = d.rearrange('t b h n k -> b n (t h k)', heads);
    is(merged, 'B N 3*D');
    const image = d.rearrange('b c (h p) (w q) -> b (h w) (p q c)', t('B 3 224 224'), { p: 14, q: 14 });
    expectTypeOf(image).toEqualTypeOf<d.F32<'B 256 588'>>();
    const doubled = d.rearrange('a n d -> (a n) d', t('2 N+1 D'));
    expectTypeOf(doubled).toEqualTypeOf<d.F32<'2*N+2 D'>>();
    is(doubled, '2*N+2 D');
    expectTypeOf(d.argmax('b n -> b', t('B N'))).toEqualTypeOf<d.Tensor<'B', 'i32'>>();
    expectTypeOf(d.unbind(t('2 N'))).toEqualTypeOf<[d.F32<'N'>, d.F32<'N'>]>();
    expectTypeOf(d.split(x, 3)[1]).toEqualTypeOf<d.F32<'B N 128'>>();
    expectTypeOf(d.gather(t('P D'), d.zeros('B N', 'i32'))).toEqualTypeOf<d.F32<'B N D'>>();
    expectTypeOf(d.oneHot(d.zeros('B', 'i32'), 10)).toEqualTypeOf<d.F32<'B 10'>>();
    expectTypeOf(d.where(d.zeros('B N 1', 'bool'), t('384'), x)).toEqualTypeOf<d.F32<'B N 384'>>();
    expectTypeOf(d.where(x.gt(0), x, 0)).toEqualTypeOf<d.F32<'B N 384'>>();
    expectTypeOf(d.stack([t('N'), t('N')])).toEqualTypeOf<d.F32<'2 N'>>();
    expectTypeOf(d.random.split(d.random.key(0), 2)).toEqualTypeOf<[d.Key, d.Key]>();
    expectTypeOf(d.einsum('... i, o i -> ... o', x, t('E 384'))).toEqualTypeOf<d.F32<'B N E'>>();
  });
});

test('modules are polymorphic in the names of their signature and fixed in their sizes', () => {
  const m = block(384, 6);
  const model = vit(d.size('D', 384), 6, 2);
  expectTypeOf<d.Params<typeof m>['attn']['qkv']['weight']>().toEqualTypeOf<d.F32<'1152 384'>>();
  expectTypeOf<d.Params<typeof model>['blocks'][number]['mlp']['fc1']['weight']>().toEqualTypeOf<d.F32<'4*D D'>>();
  expectTypeOf<'blocks.0.attn.qkv.weight'>().toExtend<d.Paths<d.Params<typeof model>>>();
  expectTypeOf<'blocks.0.attn.qvk.weight'>().not.toExtend<d.Paths<d.Params<typeof model>>>();
  const t2 = d.trace(
    (p, x) => {
      const y = d.apply(m, p)(x);
      expectTypeOf(y).toEqualTypeOf<d.F32<'2*B N+5 384'>>();
      expectTypeOf(d.checkpoint(d.apply(m, p))(x)).toEqualTypeOf<d.F32<'2*B N+5 384'>>();
      const loss = (q: typeof p): d.Scalar => d.sum('b n d ->', d.apply(m, q)(x));
      expectTypeOf(d.grad(loss)(p)).toEqualTypeOf<typeof p>();
      expectTypeOf(d.treeMap((w, g) => w.sub(g.mul(0.1)), p, d.grad(loss)(p))).toEqualTypeOf<typeof p>();
      return y;
    },
    [d.paramSpecs(m), d.spec('2*B N+5 384')],
  );
  expect(t2.outputs[0]?.shape.join(' ')).toBe('2*B N+5 384');
  expectTypeOf<(typeof t2)['$']>().toEqualTypeOf<d.F32<'2*B N+5 384'> | undefined>();
});

test('sizes from a configuration are known to the trace', () => {
  const config: { dim: number } = { dim: 16 };
  const open = linear(config.dim, 4);
  expectTypeOf<d.Params<typeof open>['weight']>().toEqualTypeOf<d.F32<'4 ?'>>();
  expect(d.leaves(open)[0]?.shape).toEqual([4, 16]);
  expectTypeOf(d.times(3, d.size('D'))).toEqualTypeOf<d.Size<'3*D'>>();
  expectTypeOf(d.plus(d.over(d.size('D'), d.size('H')), 1)).toEqualTypeOf<d.Size<'D/H+1'>>();
});

test('what does not fit is refused', () => {
  const wrong: (() => void)[] = [
    // @ts-expect-error inner dims
    () => d.matmul(t('B 3'), t('4 5')),
    // @ts-expect-error broadcast
    () => t('B N').add(t('B M')),
    // @ts-expect-error dtypes
    () => t('B N').add(d.full(0, 'B N', 'i32')),
    // @ts-expect-error does not divide
    () => d.rearrange('b (h d) -> b h d', t('B 384'), { h: 5 }),
    // @ts-expect-error an axis is lost
    () => d.rearrange('b h d -> b h', t('B 6 64')),
    // @ts-expect-error unknown output axis
    () => d.einsum('b d, d e -> b f', t('B 3'), t('3 4')),
    // @ts-expect-error repeated letter
    () => d.einsum('b b -> b', t('3 3')),
    // @ts-expect-error too few axes
    () => d.slice('b d', t('B N D')),
    // @ts-expect-error out of range
    () => d.slice('3', t('3')),
    // @ts-expect-error wrong rank
    () => d.sum('b n -> b', t('B N D')),
    // @ts-expect-error weight of another width
    () => d.layerNorm(t('B 8'), t('9'), t('9')),
    // @ts-expect-error does not stretch
    () => d.expand(t('3'), '4'),
    // @ts-expect-error update rows of another width
    () => d.scatterAdd(t('5 3'), d.zeros('2', 'i32'), t('2 4')),
    // @ts-expect-error split
    () => d.split(t('B 7'), 2),
    // @ts-expect-error no axis to join along
    () => d.concat('a b', t('3 5'), t('3 5')),
    // @ts-expect-error two axes to join along
    () => d.concat('* *', t('3 5'), t('3 5')),
    // @ts-expect-error picks along one axis
    () => d.argmax('a b ->', t('3 5')),
    // @ts-expect-error picks along one axis
    () => d.argmax('a b -> a b', t('3 5')),
    // @ts-expect-error sums along one axis
    () => d.cumsum('*a *b', t('3 5')),
    // @ts-expect-error groups are for rearrange
    () => d.einsum('a (b c) -> a', t('3 4 5')),
    // @ts-expect-error groups are for rearrange
    () => d.sum('a (b c) -> a', t('3 4 5')),
    // @ts-expect-error 1 is an axis of size 1
    () => d.sum('a 1 -> a', t('3 4')),
    // @ts-expect-error 1 is an axis of size 1
    () => d.einsum('a 1 -> a', t('3 4')),
    // @ts-expect-error runs of axes
    () => d.rearrange('... d -> d ...', t('2 3')),
    // @ts-expect-error a size for no axis
    () => d.rearrange('a b -> b a', t('2 3'), { q: 7 }),
    // @ts-expect-error shapes differ
    () => d.stack([t('3'), t('4')]),
    // @ts-expect-error dtypes differ
    () => d.stack([t('3'), d.zeros('3', 'i32')]),
    // @ts-expect-error dtypes differ
    () => d.einsum('a b, b -> a', t('3 5'), d.zeros('5', 'i32')),
    // @ts-expect-error dtypes differ
    () => d.matmul(t('3 5'), d.zeros('5 2', 'i32')),
    // @ts-expect-error dtypes differ
    () => d.concat('* b', t('3 5'), d.zeros('3 5', 'i32')),
    // @ts-expect-error dtypes differ
    () => d.layerNorm(t('3 5'), t('5'), d.zeros('5', 'i32')),
    // @ts-expect-error of floats
    () => d.exp(d.zeros('3', 'i32')),
    // @ts-expect-error of floats
    () => d.mean('a ->', d.zeros('3', 'i32')),
    // @ts-expect-error of floats
    () => d.softmax(d.zeros('3', 'i32')),
    // @ts-expect-error of numbers
    () => d.sum('a ->', d.zeros('3', 'bool')),
    // @ts-expect-error of numbers
    () => d.cumsum('*a', d.zeros('3', 'bool')),
    // @ts-expect-error add: not defined for bool tensors (use .cast())
    () => d.zeros('3', 'bool').add(d.zeros('3', 'bool')),
    // @ts-expect-error no order
    () => d.zeros('3', 'bool').lt(d.zeros('3', 'bool')),
    // @ts-expect-error and: not defined for f32 tensors (use .cast())
    () => t('3').and(t('3')),
    // @ts-expect-error of floats
    () => d.zeros('3', 'i32').pow(2),
  ];
  for (const f of wrong) expect(() => traced(f), f.toString()).toThrow(/./);
});
