/** What simplify does, as text in and text out. That it keeps every bit is a law, tested on random kernels. */
import { describe, expect, it } from 'vitest';
import { parseKernel } from '../../compiler/kernel/parse.ts';
import { printKernel } from '../../compiler/kernel/print.ts';
import { simplifyKernel } from '../../compiler/kernel/simplify.ts';
import { verifyKernel } from '../../compiler/kernel/verify.ts';

const head = 'kernel t(x: f32[4096] read, y: f32[4096] write) grid=[4 2 1] threads=1 {';
const indent = (s: string): string => s.trim().replace(/^ {4}/gm, '');
const simplified = (body: string): string => {
  const k = verifyKernel(simplifyKernel(verifyKernel(parseKernel(`${head}\n${body}\n}`))));
  return printKernel(k)
    .split('\n')
    .slice(1, -2)
    .map((l) => l.slice(2))
    .join('\n');
};
const gives = (body: string, expected: string): void => expect(simplified(body)).toBe(indent(expected));

describe('simplify', () => {
  it('divides out multiples, by the range of what is left', () => {
    gives(
      `for j = 0 to 64 step 1 {
        for i = 0 to 64 step 1 {
          let at: index = add(mul(j, 64), i)
          store y[add(mul(rem(at, 64), 64), div(at, 64))] = load x[at]
        }
      }`,
      `for j = 0 to 64 step 1 {
      let at0: index = mul(j, 64)
      for i = 0 to 64 step 1 {
        store y[add(mul(i, 64), j)] = load x[add(at0, i)]
      }
    }`,
    );
  });
  it('puts a quotient and its remainder together again', () => {
    gives(
      `for i = 0 to 4096 step 1 {
        store y[add(mul(div(i, 48), 48), rem(i, 48))] = load x[add(mul(div(i, 48), 48), rem(i, 48))]
      }`,
      `for i = 0 to 4096 step 1 {
      store y[i] = load x[i]
    }`,
    );
  });
  it('keeps a division that the range does not decide', () => {
    const body = `for i = 0 to 4096 step 1 {
  store y[rem(i, 65)] = load x[div(i, 65)]
}`;
    expect(simplified(body)).toBe(body);
  });
  it('drops masks, branches and bounds that always hold, and loops of one round', () => {
    gives(
      `for b = 0 to 1 step 1 {
        for i = 0 to min(1024, 4096) step 16 {
          let m: bool.16 = lt(ramp.16(i), 1024:index.16)
          if lt(add(i, 15), 1024) {
            store y[add(i, b) if m] = load.16 x[i if m]
          } else {
            store y[i] = load x[0]
          }
        }
      }`,
      `for i = 0 to 1024 step 16 {
      store y[i] = load.16 x[i]
    }`,
    );
  });
  it('keeps the mask of a last vector', () => {
    const body = `for i = 0 to 1000 step 16 {
  let s0: bool.16 = lt(ramp.16(i), 1000:index.16)
  store y[i if s0] = load.16 x[i if s0]
}`;
    expect(simplified(body.replaceAll('s0', 'm')).replaceAll('is0', 's0')).toBe(body);
  });
  it('names what is used twice, and moves nothing out of branches', () => {
    gives(
      `for i = 0 to 64 step 1 {
        if lt(i, 9) {
          store y[add(mul(block.0, 64), i)] = exp(mul(load x[i], load x[i]))
          store y[add(add(mul(block.0, 64), i), 99)] = load x[rem(mul(block.1, 77), 50)]
        }
      }`,
      `for i = 0 to 64 step 1 {
      if lt(i, 9) {
        let s0: f32 = load x[i]
        let at1: index = add(mul(block.0, 64), i)
        store y[at1] = exp(mul(s0, s0))
        store y[add(at1, 99)] = load x[rem(mul(block.1, 77), 50)]
      }
    }`,
    );
  });
  it('does not move a load over a store', () => {
    const body = `alloc a: f32[4] register
store a[0] = 1:f32.4
let v: f32 = load a[0]
store a[0] = 2:f32
store y[0] = add(v, load a[0])`;
    expect(simplified(body)).toBe(body);
  });
  it('removes what nobody reads, and what only that read', () => {
    gives(
      `alloc a: f32[4] register
      let u: f32 = load x[1]
      store a[0] = u
      var w: f32 = 0:f32
      for i = 0 to 4 step 1 {
        set w = load x[i]
      }
      store y[0] = load x[0]`,
      'store y[0] = load x[0]',
    );
  });
  it('keeps equal names of sister bodies apart', () => {
    gives(
      `for i = 0 to 4 step 1 {
        store y[i] = load x[i]
      }
      for i = 0 to 4 step 1 {
        store y[add(i, 4)] = load x[add(mul(i, 2), 1)]
      }`,
      `for i = 0 to 4 step 1 {
      store y[i] = load x[i]
    }
    for i_1 = 0 to 4 step 1 {
      store y[add(i_1, 4)] = load x[add(mul(i_1, 2), 1)]
    }`,
    );
  });
});
