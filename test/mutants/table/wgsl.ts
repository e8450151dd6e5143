/** Faults of the WGSL printer, the bindings and the WebGPU runtime. */
import { noticedBy, type Row } from '../mutant.ts';

const print = 'backends/webgpu/print.ts';
const written = 'compiler/kernel/written.ts';
const expressions = 'backends/webgpu/expressions.ts';
const access = 'backends/webgpu/access.ts';
const vectors = 'backends/webgpu/vectors.ts';
const bindings = 'backends/webgpu/bindings.ts';
const math = 'backends/webgpu/math.ts';
const run = 'test/webgpu/run.test.ts';
const functions = 'test/webgpu/math.test.ts';

export const wgsl: readonly Row[] = [
  ...noticedBy('test/webgpu/print.test.ts', [
    {
      name: 'WGSL: memory is of vectors although one element is written alone',
      fault: 'dropped check',
      file: vectors,
      from: 'list.every((a) => !a.writes || (whole(a, n) && !a.masked))',
      to: 'true',
    },
    {
      name: 'WGSL: vectors are taken from places that are no multiples',
      fault: 'dropped check',
      file: vectors,
      from: 'a.lanes % n === 0 && a.divisor > 0 && a.divisor % n === 0',
      to: 'a.lanes % n === 0',
    },
  ]),
  ...noticedBy(run, [
    {
      name: 'WGSL: select takes its values in the order of K',
      fault: 'swapped operand',
      file: expressions,
      from: 'return `select(${print(e.y, c)}, ${print(e.x, c)}, ${print(e.c, c)})`;',
      to: 'return `select(${print(e.x, c)}, ${print(e.y, c)}, ${print(e.c, c)})`;',
    },
    {
      name: 'WGSL: lanes of a load are one element',
      fault: 'off by one',
      file: access,
      from: '(index.lanes > 1 ? `${at}.${components[k]}` : k === 0 ? at : `(${at} + ${k})`)',
      to: '(index.lanes > 1 ? `${at}.${components[k]}` : at)',
    },
    {
      name: 'WGSL: a loop ends one step late',
      fault: 'off by one',
      file: print,
      from: '${i} < ${end}; ${i} +=',
      to: '${i} <= ${end}; ${i} +=',
    },
    {
      name: 'WGSL: blocks along y count as many as along x',
      fault: 'wrong axis',
      file: written,
      from: '`${b} / ${x}${suffix} % ${y}${suffix}`',
      to: '`${b} / ${y}${suffix} % ${x}${suffix}`',
    },
    {
      name: 'bindings: the neighbour in a word is cleared',
      fault: 'wrong constant',
      file: bindings,
      from: "${change('And', 'at', `~(${mask} << by)`)}",
      to: "${change('And', 'at', '0u')}",
    },
    {
      name: 'bindings: what the word held stays',
      fault: 'dropped term',
      file: bindings,
      from: "  ${change('And', 'at', `~(${mask} << by)`)}\n",
      to: '',
    },
    {
      name: 'bindings: a piece is read from its place on',
      fault: 'dropped term',
      file: bindings,
      from: '`i - ${start}`',
      to: '`i`',
    },
  ]),
  ...noticedBy(functions, [
    {
      name: 'WGSL math: log of 0 is NaN',
      fault: 'wrong constant',
      file: math,
      from: 'select(positive, F(fv_nan()), x < F(0.0)), F(-fv_inf()), x == F(0.0))',
      to: 'select(positive, F(fv_nan()), x < F(0.0)), F(fv_nan()), x == F(0.0))',
    },
    {
      name: 'WGSL math: the maximum loses a NaN',
      fault: 'dropped check',
      file: math,
      from: 'select(y, x, (x > y) | fv_isnan(x))',
      to: 'select(y, x, x > y)',
    },
    {
      name: 'WGSL math: a division by 0 is not 0',
      fault: 'dropped check',
      file: math,
      from: "div_u32: two('U', 'return select(x / y, U(0u), y == U(0u));')",
      to: "div_u32: two('U', 'return x / y;')",
    },
    {
      name: 'WGSL math: bf16 rounds halves up',
      fault: 'wrong constant',
      file: math,
      from: 'U(0x7fffu) + ((u >> U(16u)) & U(1u))',
      to: 'U(0x8000u)',
    },
  ]),
];
