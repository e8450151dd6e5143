/**
 * Kernels for NEON on a machine that is no Arm: compiled by GCC for aarch64, run by QEMU's user emulation, held against float64 as on every other
 * machine. A program of C calls the kernels in the plan's order on an arena that it reads and writes.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { printC } from '../../backends/cpu/index.ts';
import { cpuTarget, levels } from '../../backends/cpu/machine.ts';
import { kernelFlags } from '../../backends/cpu/toolchain.ts';
import { passesFor } from '../../compiler/compile.ts';
import { type HostData, hostArrays } from '../../compiler/graph/types.ts';
import { hostData } from '../../compiler/kernel/scalar.ts';
import { buildPlan } from '../../compiler/plan/build.ts';
import type { Plan, Slot } from '../../compiler/plan/types.ts';
import { encode } from '../../testing/host.ts';
import type { Program } from '../../testing/program.ts';
import { together } from '../../testing/together.ts';
import { layer, programs, wrongIn } from './programs.ts';

const [gcc, qemu] = ['aarch64-linux-gnu-gcc', 'qemu-aarch64'];
const missing = [gcc, qemu].filter((c) => spawnSync(c, ['--version']).status !== 0);
if (missing.length > 0)
  console.log(
    `NEON is not run: no ${missing.join(', no ')} (Debian: apt-get install qemu-user gcc-aarch64-linux-gnu libc6-dev-arm64-cross)`,
  );

const arch = { march: 'armv8-a', ...levels['armv8-a'] };
const target = cpuTarget(1, arch);
const folder = mkdtempSync(join(tmpdir(), 'fovea-arm-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const call = (command: string, args: readonly string[], input?: Buffer): Buffer => {
  const r = spawnSync(command, args, { input, cwd: folder, maxBuffer: 1 << 30 });
  expect(r.stderr.toString()).toBe('');
  expect(r.status).toBe(0);
  return r.stdout;
};

/** Reads the arena from standard input, runs the launches, writes it to standard output. */
const main = ({ kernels, launches, arenaBytes }: Plan): string => `#include <stdio.h>
${kernels.map((_, i) => `void k${i}(void *const *bufs, long long lo, long long hi);`).join('\n')}
static char a[${arenaBytes}] __attribute__((aligned(64)));
int main(void) {
  if (fread(a, 1, sizeof a, stdin) != sizeof a) return 1;
${launches
  .flatMap(({ kernel, parts }) =>
    parts.map(
      ({ offsets, blocks }) => `  { void *const b[] = {${offsets.map((o) => `a + ${o}`).join(', ')}}; k${kernel}(b, 0, ${blocks}); }`,
    ),
  )
  .join('\n')}
  return fwrite(a, 1, sizeof a, stdout) != sizeof a;
}
`;

const slotOf = (arena: Buffer, { type, offset }: Slot): HostData =>
  new hostArrays[type.dtype](
    arena.buffer as ArrayBuffer,
    arena.byteOffset + offset,
    type.shape.reduce<number>((n, d) => n * Number(d), 1),
  );

const run = (some: readonly Program[], precision: 'f32' | 'bf16' | 'f16'): readonly string[] => {
  const graph = passesFor(precision).reduce((g, [, pass]) => pass(g), together(some.map((p) => p.graph)));
  const plan = buildPlan(graph, target, { donated: graph.results.map(() => -1), maxBytes: Number.POSITIVE_INFINITY });
  plan.kernels.forEach((k, i) => {
    writeFileSync(join(folder, `k${i}.c`), printC(k, `k${i}`));
  });
  writeFileSync(join(folder, 'main.c'), main(plan));
  const flags = kernelFlags({ command: gcc, args: [], version: '' }, arch).filter((f) => f !== '-fno-plt');
  call(gcc, [...flags, '-static', '-o', 'run', 'main.c', ...plan.kernels.map((_, i) => `k${i}.c`), '-lm']);
  const arena = Buffer.from(new ArrayBuffer(plan.arenaBytes));
  new Uint32Array(arena.buffer).fill(0x7fc0dead);
  for (const { slot, data } of plan.constants) slotOf(arena, slot).set(hostData(slot.type.dtype, data) as never);
  const inputs = some.flatMap((p) => p.inputs);
  plan.inputs.forEach((slot, i) => slotOf(arena, slot).set(encode(inputs[i] as (typeof inputs)[number]) as never));
  const after = Buffer.from(new Uint8Array(call(qemu, ['run'], arena)).buffer);
  return wrongIn(
    some,
    plan.outputs.map((slot) => slotOf(after, slot)),
    precision,
  );
};

it.skipIf(missing.length > 0)('NEON computes what float64 says', { timeout: 240_000 }, () => {
  expect(target).toMatchObject({ vectorBytes: 16, registers: 32 });
  expect(run([layer(), ...programs], 'f32')).toEqual([]);
});
it.skipIf(missing.length > 0).each(['bf16', 'f16'] as const)('NEON computes with %s operands', { timeout: 120_000 }, (precision) => {
  expect(run([layer()], precision)).toEqual([]);
});
