/** Laws of K on random kernels: text reads back, the order of blocks does not matter, shared parts cost once. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import * as e from '../../compiler/kernel/expr.ts';
import { mayAlias } from '../../compiler/kernel/inplace.ts';
import { interpretKernel } from '../../compiler/kernel/interpret.ts';
import { parseKernel } from '../../compiler/kernel/parse.ts';
import { printKernel } from '../../compiler/kernel/print.ts';
import type { Expr, Kernel } from '../../compiler/kernel/types.ts';
import { verifyKernel } from '../../compiler/kernel/verify.ts';
import { kernels, memoryOf } from './kernels.ts';

const run = (k: Kernel, order: 'forward' | 'reverse' | { seed: number } = 'forward') => {
  const m = memoryOf();
  interpretKernel(k, m, { order });
  return m;
};

describe('shared parts', () => {
  // as a tree it has 2^60 nodes
  const shared = (x: Expr): Expr => {
    let y = x;
    for (let i = 0; i < 60; i++) y = e.mul(e.add(y, y), 0.5);
    return y;
  };
  const kernel = (at: Expr): Kernel => ({
    name: 'dag',
    buffers: [
      { name: 'a', dtype: 'f32', size: 4, access: 'read' },
      { name: 'b', dtype: 'f32', size: 4, access: 'write' },
    ],
    grid: [1, 1, 1],
    threads: 1,
    body: [
      {
        s: 'for',
        name: 'i',
        from: e.index(0),
        to: e.index(4),
        step: 1,
        kind: 'serial',
        body: [{ s: 'store', to: 'b', index: at, value: shared(e.load({ name: 'a', dtype: 'f32' }, at)) }],
      },
    ],
  });
  const i = e.ref('i', 'index');
  it('are verified, printed, read back and computed once', () => {
    const k = verifyKernel(kernel(i));
    const text = printKernel(k);
    expect(text.length).toBeLessThan(4000);
    expect(text).toContain('%1=mul(add(%0=load a[i], %0), 0.5:f32)');
    const again = verifyKernel(parseKernel(text));
    expect(printKernel(again)).toBe(text);
    for (const x of [k, again]) {
      const b = new Float32Array(4);
      interpretKernel(x, { a: Float32Array.of(1, 2, 3, 4), b });
      expect([...b]).toEqual([1, 2, 3, 4]);
    }
  });
  it('are compared once, in indices too', () => {
    let at = i;
    for (let n = 0; n < 60; n++) at = e.sub(e.add(at, at), at);
    expect(mayAlias(kernel(at), 'a', 'b')).toBe(true);
  });
  it('do not slow the search for barriers down', () => {
    const k = kernel(i);
    const cond = e.lt(shared(e.load({ name: 'a', dtype: 'f32' }, e.thread)), 0);
    expect(() =>
      verifyKernel({ ...k, threads: 4, body: [{ s: 'if', cond, body: [{ s: 'barrier', of: 'block' }], otherwise: [] }] }),
    ).toThrow(/depends on the thread/);
  });
});

describe('random kernels', () => {
  it('are well formed, and their text reads back', () => {
    fc.assert(
      fc.property(kernels, (k) => {
        verifyKernel(k);
        const text = printKernel(k);
        const again = parseKernel(text);
        expect(again).toEqual(k);
        expect(printKernel(again)).toBe(text);
      }),
      { seed: 1, numRuns: 200 },
    );
  });
  it('compute the same in every order of blocks', () => {
    fc.assert(
      fc.property(kernels, fc.nat(), (k, seed) => {
        const forward = run(k);
        expect(run(k, 'reverse')).toEqual(forward);
        expect(run(k, { seed })).toEqual(forward);
      }),
      { seed: 2, numRuns: 60 },
    );
  });
  it('leave something to check: most of them store numbers', () => {
    const busy = fc.sample(kernels, { seed: 4, numRuns: 100 }).filter((k) => run(k).y.some((v) => v !== 0 && Number.isFinite(v)));
    expect(busy.length).toBeGreaterThan(20);
  });
});
