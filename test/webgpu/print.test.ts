/** Memory that is made of vectors: where that is right, where it would be a race, and how it reads. */
import { describe, expect, test } from 'vitest';
import { printWgsl } from '../../backends/webgpu/index.ts';
import { parseKernel } from '../../compiler/kernel/parse.ts';

const head = 'kernel k(a: f32[64] read, b: f32[64] write, h: bf16[64] read) grid=[1 1 1] threads=2';
/** Lines of the printed kernel that have `name` in them. */
const linesOf = (body: string, name: string): readonly string[] =>
  printWgsl(parseKernel(`${head} {\n${body}\n}`))
    .split('\n')
    .map((l) => l.trim())
    .filter((l) => new RegExp(`\\b${name}\\b`).test(l));

describe('vectors in memory', () => {
  test('what is read and written at multiples of four is an array of vectors', () => {
    const body = 'for i = 0 to 32 step 4 {\nlet at: index = add(mul(thread, 32), i)\nstore b[at] = neg(load.4 a[at])\n}';
    expect(linesOf(body, 'a')).toEqual([
      '@group(0) @binding(0) var<storage, read_write> a: array<vec4<f32>>;',
      expect.stringContaining('(-a[at >> 2u])'),
    ]);
    expect(linesOf(body, 'b')).toEqual([
      '@group(0) @binding(1) var<storage, read_write> b: array<vec4<f32>>;',
      expect.stringMatching(/^b\[at >> 2u\] = t\d+;$/),
    ]);
  });
  test('single elements are read out of vectors; two lanes of four are', () => {
    const body = 'store b[0] = load.4 a[0]\nstore b[4] = splat.4(load a[thread])\nstore b[mul(thread, 32)] = splat.4(lane.1(load.2 a[2]))';
    expect(linesOf(body, 'a')[2]).toMatch(/a\[t\d+ >> 2u\]\[t\d+ & 3\]/);
    expect(linesOf(body, 'b')[0]).toContain('array<vec4<f32>>');
  });
  test.each([
    ['one element is written alone', 'store b[0] = load.4 a[0]\nstore b[add(thread, 4)] = 0:f32'],
    ['a place is no multiple', 'store b[add(thread, 1)] = load.4 a[0]'],
    ['a lane may be left out', 'store b[0 if splat.4(lt(thread, 1))] = load.4 a[0]'],
  ])('no vectors where %s: another thread may have written beside it', (_, body) => {
    expect(linesOf(body, 'b')[0]).toContain('b: array<f32>');
    expect(linesOf(body, 'a')[0]).toContain('a: array<vec4<f32>>');
  });
  test('shared memory and halves', () => {
    const body =
      'alloc s: f32[8] shared\nstore s[mul(thread, 4)] = cast.f32(load.4 h[mul(thread, 4)])\nbarrier\nstore b[thread] = load s[thread]';
    expect(linesOf(body, 's')).toEqual([
      'var<workgroup> s: array<vec4<f32>, 2>;',
      expect.stringMatching(/^s\[t\d+ >> 2u\] = t\d+;$/),
      expect.stringMatching(/s\[t\d+ >> 2u\]\[t\d+ & 3\]/),
    ]);
    expect(linesOf(body, 'h')).toEqual([
      '@group(0) @binding(2) var<storage, read_write> h: array<vec2<u32>>;',
      expect.stringMatching(/^let t\d+ = h\[t\d+ >> 2u\];$/),
    ]);
  });
});
