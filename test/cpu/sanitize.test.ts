/**
 * Plans of random programs under the address and undefined-behaviour sanitizers, in a process of their own. Each launch may touch
 * its own buffers and nothing else: the rest of the arena is poisoned, padding included. The arena starts filled with ones (NaN), so
 * that a read of what no launch has written shows, and blocks run from last to first. The bits have to equal the backend's. Where
 * the compiler has no sanitizers the program runs without them: the last three checks remain.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { cpu, printC } from '../../backends/cpu/index.ts';
import { findCompiler } from '../../backends/cpu/toolchain.ts';
import { compileGraph } from '../../compiler/compile.ts';
import type { DType, HostData } from '../../compiler/graph/types.ts';
import { bitsOf, foldCast } from '../../compiler/kernel/scalar.ts';
import type { Plan, Slot } from '../../compiler/plan/types.ts';
import { results } from '../../testing/host.ts';
import { allPrims, arbitraryProgram } from '../../testing/program.ts';
import { together } from '../../testing/together.ts';
import { programs as chains } from '../fuse/programs.ts';
import { sample } from '../fuse/run.ts';
import { hostArray } from './helper.ts';

const size: { readonly [T in DType]: number } = { f32: 4, i32: 4, u32: 4, f16: 2, bf16: 2, bool: 1 };
const half = (t: DType): t is 'f16' | 'bf16' => t === 'f16' || t === 'bf16';
const host = (dtype: DType, values: ArrayLike<number>): HostData => {
  const out = hostArray(dtype, values.length);
  for (let i = 0; i < out.length; i++) {
    const x = foldCast(values[i] as number, 'f64', dtype);
    out[i] = half(dtype) ? bitsOf(x, dtype) : x;
  }
  return out;
};
const bytes = (d: HostData): Buffer => Buffer.from(d.buffer, d.byteOffset, d.byteLength);

/** The plan as a C program that writes its outputs to stdout. */
const program = (plan: Plan, inputs: readonly HostData[]): string => {
  const put = (s: Slot, d: HostData): string =>
    `  { static const unsigned char d[] = {${[...bytes(d)].join()}}; memcpy(A + ${s.offset}, d, sizeof d); }`;
  const launches = plan.launches.flatMap((l) => {
    const { name, buffers } = plan.kernels[l.kernel] as Plan['kernels'][number];
    return l.parts.map(({ offsets, sizes, blocks }) => {
      const lengths = buffers.map((b, i) => (sizes[i] as number) * size[b.dtype]);
      return `  go(k${l.kernel}, (void *[]){${offsets.map((o) => `A + ${o}`).join()}}, (long[]){${lengths.join()}}, ${lengths.length}, ${blocks}, "${name}");`;
    });
  });
  const count = (s: Slot): number => s.type.shape.reduce<number>((n, d) => n * Number(d), size[s.type.dtype]);
  return [
    '#include <stdio.h>\n#include <string.h>',
    '#ifdef __SANITIZE_ADDRESS__\n#include <sanitizer/asan_interface.h>\n#else\n#define __asan_poison_memory_region(p, n)\n#define __asan_unpoison_memory_region(p, n)\n#endif',
    `static unsigned char A[${plan.arenaBytes + 64}] __attribute__((aligned(4096)));`,
    ...plan.kernels.map((_, i) => `void k${i}(void *const *, long, long);`),
    'static void go(void (*f)(void *const *, long, long), void **b, long *n, int count, long blocks, const char *name) {',
    '  fprintf(stderr, "%s\\n", name);',
    '  __asan_poison_memory_region(A, sizeof A);',
    '  for (int i = 0; i < count; i++) __asan_unpoison_memory_region(b[i], n[i]);',
    '  for (long x = blocks - 1; x >= 0; x--) f(b, x, x + 1);',
    '  __asan_unpoison_memory_region(A, sizeof A);\n}',
    'int main(void) {\n  memset(A, 0xff, sizeof A);',
    ...plan.inputs.map((s, i) => put(s, inputs[i] as HostData)),
    ...plan.constants.map((c) => put(c.slot, host(c.slot.type.dtype, c.data))),
    ...launches,
    ...plan.outputs.map((s) => `  fwrite(A + ${s.offset}, 1, ${count(s)}, stdout);`),
    '  return 0;\n}\n',
  ].join('\n');
};

const sanitizers = ['-fsanitize=address,undefined,float-cast-overflow', '-fno-sanitize-recover=all'];
const flags = [
  '-std=gnu11',
  '-O1',
  '-g0',
  '-ffp-contract=off',
  '-fno-math-errno',
  '-fno-trapping-math',
  '-fno-strict-aliasing',
  '-fwrapv',
  '-w',
  '-Wno-psabi',
];

test('plans of random programs touch only their buffers', async () => {
  const regions = new Set(['call', 'scan', 'perShard', 'reshard', 'axisIndex']);
  const prims = new Set([...allPrims].filter((p) => !regions.has(p)));
  const cases = [
    ...fc.sample(arbitraryProgram({ prims, maxNodes: 16 }), { seed: 51, numRuns: 16 }),
    ...fc.sample(chains, { seed: 52, numRuns: 8 }).map((graph) => ({ graph, inputs: graph.params.map((p, i) => sample(p.type, i)) })),
  ];
  const inputs = cases.flatMap((c) => c.inputs.map((x) => host(x.type.dtype, x.data)));
  const { executable, report } = await compileGraph(together(cases.map((c) => c.graph)), { backend: cpu({ threads: 2 }) });
  inputs.forEach((x, i) => executable.write(i, x));
  await executable.run();
  const want = Buffer.concat((await results(executable)).map(bytes));
  executable.dispose();

  const plan = report.plan as Plan;
  const folder = mkdtempSync(join(tmpdir(), 'fovea-test-'));
  try {
    writeFileSync(join(folder, 'main.c'), program(plan, inputs));
    plan.kernels.forEach((k, i) => writeFileSync(join(folder, `k${i}.c`), printC(k, `k${i}`)));
    const { command, args } = await findCompiler();
    const native = process.arch === 'x64' ? ['-march=native'] : [];
    const build = (extra: readonly string[]) =>
      spawnSync(
        command,
        [...args, ...flags, ...native, ...extra, '-o', 'program', 'main.c', ...plan.kernels.map((_, i) => `k${i}.c`), '-lm'],
        { cwd: folder },
      );
    if (build(sanitizers).status !== 0) expect(build([]).status).toBe(0);
    const r = spawnSync(join(folder, 'program'), [], { maxBuffer: 1 << 26, env: { ...process.env, ASAN_OPTIONS: 'detect_leaks=0' } });
    expect(
      r.stderr
        .toString()
        .split('\n')
        .filter((l) => /ERROR|runtime error|#[0-4] /.test(l)),
    ).toEqual([]);
    expect(r.status).toBe(0);
    expect(r.stdout.equals(want)).toBe(true);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}, 120_000);
