/** Conversions of floating types against the compiler's own, which round one number at a time by arithmetic. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type Float, fromF32, fromF64, nonFinite, toF32 } from '../../compiler/graph/floats.ts';
import { bitsOf, numberOf, toBf16, toF16 } from '../../compiler/kernel/scalar.ts';

const sixteen = ['f16', 'bf16'] as const;
const rounded = { f16: toF16, bf16: toBf16 } as const;
const one = (x: number, to: Float): number => fromF64(Float64Array.of(x), to)[0] as number;

test('every 16-bit pattern has its value, and comes back', () => {
  const all = Uint16Array.from({ length: 65536 }, (_, i) => i);
  for (const type of sixteen) {
    const wide = toF32(all, type);
    const none = new Uint16Array(0);
    expect(all.filter((h) => !Object.is(wide[h], numberOf(h, type)) && !Number.isNaN(numberOf(h, type)))).toEqual(none);
    expect(all.filter((h) => Number.isNaN(wide[h]) !== Number.isNaN(numberOf(h, type)))).toEqual(none);
    const back = fromF32(wide, type) as Uint16Array;
    expect(all.filter((h) => !Number.isNaN(wide[h]) && back[h] !== h)).toEqual(none);
    // NaN stays NaN, whatever its payload
    expect(all.filter((h) => Number.isNaN(wide[h]) && nonFinite(back.subarray(h, h + 1), type) !== 0)).toEqual(none);
    expect(toF32(back, type).filter((x, h) => Number.isNaN(x) !== Number.isNaN(wide[h]))).toEqual(new Float32Array(0));
  }
});

test('f32 is rounded to nearest even', () => {
  const bits = new Uint32Array(1);
  const f = new Float32Array(bits.buffer);
  const check = (b: number): void => {
    bits[0] = b;
    const x = f[0] as number;
    if (Number.isNaN(x)) return;
    for (const type of sixteen) expect({ b, bits: fromF32(f, type)[0] }).toEqual({ b, bits: bitsOf(rounded[type](x), type) });
  };
  fc.assert(fc.property(fc.integer({ min: 0, max: 2 ** 32 - 1 }), check), { seed: 3, numRuns: 20_000 });
  // halfway points of f16 and one bit to each side, in every binade, subnormal ones too
  for (let e = 95; e < 146; e++)
    for (const m of [0, 0x0fff, 0x1000, 0x1001, 0x2fff, 0x3000, 0x3001, 0x7fefff, 0x7ff000, 0x7fffff]) check(e * 2 ** 23 + m);
  for (const m of [0x7fff, 0x8000, 0x8001, 0x17fff, 0x18000, 0x18001]) check(0x3f800000 + m);
});

test('doubles are rounded once', () => {
  // just above a halfway point of f16: as f32 it is the halfway point, and would go down to even
  const above = 1 + 2 ** -11 + 2 ** -40;
  expect(one(above, 'f16')).toBe(0x3c01);
  expect(fromF32(Float32Array.of(above), 'f16')[0]).toBe(0x3c00);
  expect(one(1 + 2 ** -8 + 2 ** -40, 'bf16')).toBe(0x3f81);
  expect(one(1 - 2 ** -12 - 2 ** -40, 'f16')).toBe(0x3bff);
  expect(one(1e300, 'f16')).toBe(0x7c00);
  expect(one(-1e-300, 'f16')).toBe(0x8000);
  expect(one(Number.NaN, 'bf16') & 0x7fff).toBeGreaterThan(0x7f80);
  expect(one(0.1, 'f32')).toBe(Math.fround(0.1));
  fc.assert(
    fc.property(fc.double({ noNaN: true, min: -1e5, max: 1e5 }), (x) => {
      expect(one(x, 'f16')).toBe(bitsOf(toF16(x), 'f16'));
    }),
    { seed: 4, numRuns: 5000 },
  );
});

test('the first infinity or NaN', () => {
  expect(nonFinite(Float32Array.of(1, 3.4e38, Number.NaN), 'f32')).toBe(2);
  expect(nonFinite(Float32Array.of(1, Number.NEGATIVE_INFINITY), 'f32')).toBe(1);
  expect(nonFinite(Uint16Array.of(0x7bff, 0xfc00), 'f16')).toBe(1);
  expect(nonFinite(Uint16Array.of(0x7f7f, 0x7bff, 0x7f80), 'bf16')).toBe(2);
  expect(nonFinite(new Float32Array(3), 'f32')).toBe(-1);
});
