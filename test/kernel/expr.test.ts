/** Constructors of kernel expressions keep index ramps, so that loads stay runs of consecutive elements. */
import { expect, test } from 'vitest';
import * as e from '../../compiler/kernel/expr.ts';
import { printExpr } from '../../compiler/kernel/print.ts';

test('a number added to a ramp on either side moves its base', () => {
  const [i, j] = [e.ref('i', 'index'), e.ref('j', 'index')];
  expect(printExpr(e.add(e.ramp(i, 4), e.splat(j, 4)))).toBe('ramp.4(add(i, j))');
  expect(printExpr(e.add(e.splat(j, 4), e.ramp(i, 4)))).toBe('ramp.4(add(i, j))');
});
