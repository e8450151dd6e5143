/** What blocks may touch: figures of some kernels, and that kernels of generated programs touch no more, nor compute a larger address, than their text says. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { builder } from '../../compiler/graph/builder.ts';
import type { HostData } from '../../compiler/graph/types.ts';
import { interpretKernel } from '../../compiler/kernel/interpret.ts';
import { parseKernel } from '../../compiler/kernel/parse.ts';
import { reach } from '../../compiler/kernel/reach.ts';
import type { Kernel } from '../../compiler/kernel/types.ts';
import { verifyKernel } from '../../compiler/kernel/verify.ts';
import { programOf } from '../../testing/fuzz.ts';
import { runKernels } from '../../testing/kernels.ts';
import { compiled } from '../../testing/stages.ts';
import { exposed } from '../../testing/transforms.ts';
import { cpu, gpu } from '../fuse/run.ts';
import { kernels, memoryOf } from './kernels.ts';

const kernel = (body: string, grid = '25 1 1', threads = 1): Kernel =>
  verifyKernel(
    parseKernel(
      `kernel t(x: f32[100000] read, n: i32[4] read, y: f32[100000] write) grid=[${grid}] threads=${threads} {\n${body.replaceAll('; ', '\n')}\n}`,
    ),
  );
const said = (k: Kernel, first: number, count: number): string => {
  const { spans, largest } = reach(k, first, count);
  return `${[...spans].map(([name, all]) => `${name} ${all.map((s) => `${s.from}..${s.to}`).join(' ')}`).join(', ')}; ${largest}`;
};

describe('of blocks 2 to 4', () => {
  const rows = 'for i = mul(block.0, 4096) to min(add(mul(block.0, 4096), 4096), 100000) step 1 {; store y[i] = load x[sub(99999, i)]; }';
  it.each([
    ['a row, backwards', kernel(rows), 'x 79520..91808, y 8192..20480; 100000'],
    ['the last ones', kernel(rows.replaceAll('100000', '12000')), 'x 88000..91808, y 8192..12000; 99999'],
    [
      'threads, vectors',
      kernel('store y[add(mul(block.0, 256), mul(thread, 4))] = load.4 x[8]', '25 1 1', 64),
      'x 8..12, y 512..1280; 1276',
    ],
    ['columns of 5', kernel('store y[add(mul(rem(block.0, 5), 10), div(block.0, 5))] = load x[block.1]', '5 5 1'), 'x 0..1, y 20..41; 40'],
    ['the second axis', kernel('store y[block.1] = load x[block.0]', '2 25 1'), 'x 0..2, y 1..3; 2'],
    ['a table', kernel('store y[block.0] = load x[cast.index(load n[1])]'), 'x 0..100000, n 1..2, y 2..5; 4'],
    ['what never runs', kernel('if lt(block.0, 2) {; store y[0] = load x[9]; } else {; store y[block.0] = 0:f32; }'), 'y 2..5; 4'],
    [
      'guards, which narrow what they compare',
      kernel(
        'for i = mul(block.0, 10) to add(mul(block.0, 10), 10) step 1 {; let c: bool = lt(i, 35); store y[i] = add(load x[select(c, i, 0)], load x[select(not(c), sub(i, 35), 99)]); }',
      ),
      'x 20..35 0..1 0..15 99..100, y 20..50; 99',
    ],
    [
      'a guard that never holds',
      kernel('store y[block.0] = load x[select(and(lt(block.1, 1), gt(block.0, 9)), 5000, 7)]'),
      'x 7..8, y 2..5; 5000',
    ],
    [
      'a variable, which may have changed since it was compared',
      kernel('var v: index = 3; let c: bool = lt(v, 10); set v = 500; store y[block.0] = load x[select(c, v, 1)]'),
      'x 0..100000 1..2, y 2..5; 10',
    ],
    [
      'a loop that starts at a loaded number',
      kernel('for i = cast.index(load n[1]) to 100 step 1 {; store y[i] = load x[i]; }'),
      'n 1..2, x 0..100000, y 0..100000; 100',
    ],
    ['masked lanes', kernel('store y[mul(block.0, 49999)] = load x[sub(block.0, 4) if lt(block.0, 3)]'), 'x 0..1, y 99998..100000; 199996'],
  ])('%s', (_, k, wanted) => {
    expect(said(k, 2, 3)).toBe(wanted);
  });
});

/** The elements that blocks [0, n) touch, in order, by buffer. */
const touched = (k: Kernel, data: Readonly<Record<string, HostData>>, n: number): readonly (readonly [buffer: string, i: number])[] => {
  const out: [string, number][] = [];
  const watched = Object.fromEntries(
    Object.entries(data).map(([name, d]) => {
      const seen = (i: string | symbol): void => {
        if (typeof i === 'string' && /^\d+$/.test(i)) out.push([name, Number(i)]);
      };
      const get = (t: HostData, i: string | symbol): unknown => {
        seen(i);
        return Reflect.get(t, i);
      };
      const set = (t: HostData, i: string | symbol, v: unknown): boolean => {
        seen(i);
        return Reflect.set(t, i, v);
      };
      return [name, new Proxy(d.slice() as HostData, { get, set })];
    }),
  );
  interpretKernel(k, watched, { blocks: n });
  return out;
};

/** Holds what a range of blocks touches, by the interpreter, against what the text says; the number of accesses. */
const inside = (k: Kernel, data: Readonly<Record<string, HostData>>): number => {
  const all = k.grid[0] * k.grid[1] * k.grid[2];
  const [first, count] = [Math.floor(all / 3), Math.max(1, Math.floor(all / 2))];
  const trace = touched(k, data, first + count).slice(touched(k, data, first).length);
  const { spans } = reach(k, first, count);
  for (const [name, i] of trace) {
    const own = spans.get(name) ?? [];
    if (!own.some((s) => i >= s.from && i < s.to))
      expect.fail(`${name}[${i}] of blocks ${first} + ${count} is not in ${JSON.stringify(own)}`);
  }
  return trace.length;
};

describe('nothing else is touched', () => {
  it('by random kernels', () => {
    let elements = 0;
    fc.assert(
      fc.property(kernels, (k) => {
        elements += inside(k, memoryOf());
      }),
      { seed: 3, numRuns: 100 },
    );
    expect(elements).toBeGreaterThan(5000);
  });
  it('by concatenations, whose parts are read under guards', () => {
    let elements = 0;
    for (const target of [cpu, gpu])
      for (const [axis, shapes] of [
        [0, [[9001], [7003]]],
        [
          1,
          [
            [90, 101],
            [90, 60],
            [90, 33],
          ],
        ],
      ] as const) {
        const b = builder();
        const data = shapes.map((shape: readonly number[]) => ({
          type: { dtype: 'f32' as const, shape },
          data: Float64Array.from({ length: shape.reduce((x, y) => x * y) }, (_, i) => i % 97),
        }));
        const parts = shapes.map((shape) => b.param({ dtype: 'f32', shape }));
        runKernels(b.build([b.neg(b.one({ prim: 'concat', axis }, parts))]), target, data, {
          watch: (k, memory) => {
            elements += inside(k, memory);
          },
        });
      }
    expect(elements).toBeGreaterThan(10_000);
  });
  it('by kernels of generated programs, of which a range of blocks writes a part', { timeout: 120_000 }, () => {
    let [several, whole, elements] = [0, 0, 0];
    for (const target of [cpu, gpu])
      for (let seed = 4000; seed < 4040; seed++) {
        const { graph, inputs } = programOf(seed);
        runKernels(compiled(exposed(graph)), target, inputs, {
          watch: (k, data) => {
            elements += inside(k, data);
            if (k.grid[0] * k.grid[1] * k.grid[2] < 3) return;
            several++;
            const { spans } = reach(k, 0, 1);
            if (k.buffers.some((b) => b.access !== 'read' && spans.get(b.name)?.some((s) => s.to === b.size))) whole++;
          },
        });
      }
    expect(elements).toBeGreaterThan(10_000);
    expect(several).toBeGreaterThan(10);
    expect(whole / several).toBeLessThan(0.4);
  });
});
