import { describe, expect, it } from 'vitest';
import { catalogue, fill, fnv1a, word } from './goldens.ts';

describe('the formula of the recorded cases', () => {
  it.each(catalogue.formula.vectors.map((v) => [v.name, v] as const))('reproduces the check vectors of %j', (name, v) => {
    expect(fnv1a(name)).toBe(v.fnv1a32);
    expect(v.u32_first6.map((_, i) => word(fnv1a(name), i))).toEqual(v.u32_first6);
    expect([...fill({ formula_name: name, shape: [6], offset: 1, scale: 0.2 })]).toEqual(v.values_first6_offset1_scale0p2);
  });
});
