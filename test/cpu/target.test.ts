/**
 * Kernels for a level below this machine's: other vectors, other register tiles, bf16 without its instruction. What they compute
 * is held against float64 with the bound of the program, as everything else.
 */
import { spawnSync } from 'node:child_process';
import { afterEach, describe, expect, it, test, vi } from 'vitest';
import { architecture, type CpuTarget, cpu, printC } from '../../backends/cpu/index.ts';
import { machine } from '../../backends/cpu/machine.ts';
import { findCompiler } from '../../backends/cpu/toolchain.ts';
import { compileGraph } from '../../compiler/compile.ts';
import { FoveaError } from '../../compiler/error.ts';
import * as e from '../../compiler/kernel/expr.ts';
import type { Expr, Stmt } from '../../compiler/kernel/types.ts';
import { encode, results } from '../../testing/host.ts';
import type { Program } from '../../testing/program.ts';
import { together } from '../../testing/together.ts';
import { layer, programs, wrongIn } from './programs.ts';

afterEach(() => {
  vi.unstubAllEnvs();
});

const wrong = async (some: readonly Program[], target: CpuTarget, precision: 'f32' | 'bf16' | 'f16'): Promise<readonly string[]> => {
  const { executable } = await compileGraph(together(some.map((p) => p.graph)), { backend: cpu({ target, unit: 16 }), precision });
  try {
    some.flatMap((p) => p.inputs).forEach((x, i) => executable.write(i, encode(x)));
    await executable.run();
    return wrongIn(some, await results(executable), precision);
  } finally {
    executable.dispose();
  }
};

/** Levels that this machine runs; a machine of another kind has none, and says so. */
const runs = (target: CpuTarget): boolean => {
  try {
    architecture(target);
    return true;
  } catch {
    console.log(`${target}: not on this machine`);
    return false;
  }
};
describe.each((['armv8-a', 'x86-64-v3', 'x86-64-v4'] as const).filter(runs))('%s', (target) => {
  it('computes what float64 says', { timeout: 120_000 }, async () => {
    expect(await wrong([layer(), ...programs], target, 'f32')).toEqual([]);
  });
  it.each(['bf16', 'f16'] as const)('computes with %s operands', { timeout: 60_000 }, async (precision) => {
    expect(await wrong([layer()], target, precision)).toEqual([]);
  });
});

test('what only some machines have stands behind a guard: the text compiles for the oldest x86-64 too', async () => {
  const lanes = [1, 4, 8, 16];
  const at = e.index(0);
  const load = (name: string, dtype: 'f32' | 'bf16' | 'f16', n: number): Expr => e.load({ name, dtype }, at, n);
  const body: Stmt[] = lanes.flatMap((n): Stmt[] => [
    { s: 'store', to: 'y', index: at, value: e.dot2(load('h', 'bf16', 2 * n), load('h', 'bf16', 2 * n), load('x', 'f32', n)) },
    { s: 'store', to: 'y', index: at, value: e.fma(load('x', 'f32', n), e.cast(load('g', 'f16', n), 'f32'), load('x', 'f32', n)) },
    { s: 'store', to: 'b', index: at, value: e.cast(load('x', 'f32', n), 'bf16') },
    { s: 'store', to: 'f', index: at, value: e.cast(load('x', 'f32', n), 'f16') },
  ]);
  const buffer = (name: string, dtype: 'f32' | 'bf16' | 'f16', access: 'read' | 'readwrite') =>
    ({ name, dtype, size: 64, access }) as const;
  const buffers = [buffer('x', 'f32', 'read'), buffer('h', 'bf16', 'read'), buffer('g', 'f16', 'read')];
  const outputs = [buffer('y', 'f32', 'readwrite'), buffer('b', 'bf16', 'readwrite'), buffer('f', 'f16', 'readwrite')];
  const text = printC({ name: 'guards', buffers: [...buffers, ...outputs], grid: [1, 1, 1], threads: 1, body }, 'guards');
  const { command, args } = await findCompiler();
  const march = process.arch === 'x64' ? ['-march=x86-64'] : [];
  const r = spawnSync(command, [...args, ...march, '-O1', '-w', '-Wno-psabi', '-x', 'c', '-c', '-o', '/dev/null', '-'], { input: text });
  expect(r.stderr.toString()).toBe('');
  expect(r.status).toBe(0);
});

test('records', () => {
  const native = architecture();
  expect(native).toMatchObject({ march: 'native', vectorBytes: machine().vectorBytes });
  if (!runs('x86-64-v3')) return;
  expect(architecture('x86-64-v3')).toMatchObject({ march: 'x86-64-v3', vectorBytes: 32, vectorRegisters: 16, bf16Dot: false });
  expect(cpu({ target: 'x86-64-v3' }).target).toMatchObject({ vectorBytes: 32, registers: 16, bf16Dot: false });
  vi.stubEnv('FOVEA_TARGET', 'x86-64-v3');
  expect(architecture().vectorBytes).toBe(32);
  // what is asked for goes before the environment
  expect(architecture('native').march).toBe('native');
});

test('an unknown name is refused', () => {
  const refusal = (f: () => unknown): FoveaError => {
    try {
      f();
    } catch (e) {
      if (e instanceof FoveaError) return e;
    }
    throw new Error('not refused');
  };
  expect(refusal(() => cpu({ target: 'x86-64-v9' as never }))).toMatchObject({ code: 'FV0616', message: "unknown target 'x86-64-v9'" });
  const foreign = process.arch === 'arm64' ? 'x86-64-v3' : 'armv8-a';
  expect(refusal(() => cpu({ target: foreign })).message).toBe(`target ${foreign}: this is a ${process.arch} machine`);
  vi.stubEnv('FOVEA_TARGET', 'toString');
  expect(refusal(() => cpu()).hint).toBe('Known targets: native, armv8-a, x86-64-v3, x86-64-v4.');
});
