/** Where `bind` puts values: out of the loops they do not depend on, never away from the loop that may set what they read. */
import { expect, test } from 'vitest';
import * as e from '../../compiler/kernel/expr.ts';
import { printStatements } from '../../compiler/kernel/print.ts';
import { code } from '../../compiler/tile/code.ts';

test('what does not depend on a loop leaves it; what reads a variable stays', () => {
  const c = code();
  const acc = c.variable(e.f32(0));
  c.loop(e.index(0), e.index(8), 1, (i) => {
    const [fixed, x] = [e.unary('exp', e.load({ name: 'a', dtype: 'f32' }, 0)), e.load({ name: 'a', dtype: 'f32' }, i)];
    // neg(acc) alone depends on no index, and is used twice
    const read = e.neg(acc);
    const [y] = c.bind([e.add(e.mul(read, fixed), e.mul(read, x))]);
    c.set(acc, y as e.ExprOf<'binary'>);
  });
  expect(printStatements(c.done())).toMatchInlineSnapshot(`
    "var acc0: f32 = 0:f32
    let v1: f32 = exp(load a[0])
    for i0 = 0 to 8 step 1 {
      let v0: f32 = neg(acc0)
      set acc0 = add(mul(v0, v1), mul(v0, load a[i0]))
    }"
  `);
});
