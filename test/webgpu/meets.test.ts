/**
 * Where threads may meet in WGSL: what verify takes for a target that proves it by the text (`Target.proves`), Dawn takes too, on a table of cases at
 * which the two notions part, and on generated control flow.
 */
import fc from 'fast-check';
import { beforeAll, expect, test } from 'vitest';
import { openDevice } from '../../backends/webgpu/device.ts';
import { dawn, printWgsl } from '../../backends/webgpu/index.ts';
import { FoveaError } from '../../compiler/error.ts';
import { parseKernel } from '../../compiler/kernel/parse.ts';
import type { Kernel } from '../../compiler/kernel/types.ts';
import { verifyKernel } from '../../compiler/kernel/verify.ts';

/** Kept: devices live as long as the instance that they are of. */
const gpu = dawn();
let device: GPUDevice;
beforeAll(async () => {
  ({ device } = await openDevice(await gpu));
});
const exchanges = (): boolean => device.features.has('subgroups');

const kernel = (body: string): Kernel =>
  parseKernel(
    `kernel t(x: f32[64] read, n: i32[4] read, y: f32[64] readwrite) grid=[2 1 1] threads=64 {
alloc s: f32[64] shared
var v: index = 0
${body}
}`,
  );
/** What is wrong with it, in Dawn's words; undefined if nothing is. */
const refused = async (k: Kernel): Promise<string | undefined> => {
  device.pushErrorScope('validation');
  const { messages } = await device.createShaderModule({ code: printWgsl(k) }).getCompilationInfo();
  await device.popErrorScope();
  return messages.find((m) => m.type === 'error')?.message;
};
const taken = (k: Kernel, strict: boolean): boolean => {
  try {
    verifyKernel(k, strict);
    return true;
  } catch (e) {
    if (e instanceof FoveaError && e.code === 'FV0201') return false;
    throw e;
  }
};

const [loop, part] = ['for i = 0 to cast.index(load n[0]) step 1 {', 'if eq(div(thread, 32), 0) {'];
const exchange = 'exchange e: f32 = load x[thread] by 1';
test.each([
  ['a barrier in a loop to a number that is read', `${loop}\nbarrier\n}`, false],
  ['one behind such a loop', `${loop}\nset v = add(v, 1)\n}\nbarrier`, true],
  ['one behind a branch on what such a loop has counted', `${loop}\nset v = add(v, 1)\n}\nif lt(v, 2) {\nbarrier\n}`, false],
  ['an exchange in a warp of its own', `${part}\n${exchange}\n}`, false],
  ['an exchange of all', exchange, true],
  ['a barrier under a branch on the block', 'if lt(block.0, 1) {\nbarrier\n}', true],
  ['a barrier under a branch on shared memory', 'if lt(load s[0], 1:f32) {\nbarrier\n}', false],
] as const)('%s', async (_, body, strict) => {
  const k = kernel(body);
  expect(taken(k, true)).toBe(strict);
  // what is the same in a warp, or is read only, is enough for the other targets
  if (/n\[0\]|div/.test(body)) expect(taken(k, false)).toBe(true);
  if (body.includes('exchange') && !exchanges()) console.warn('exchanges are not shown to Dawn: this device has no subgroups');
  else expect((await refused(k)) === undefined).toBe(strict);
});

/** Bodies of loops, branches and sets over values that are the same in a block or are not, with places to meet; driven by numbers, so that they shrink. */
const drawn = (choices: readonly number[]): string => {
  let [at, names] = [0, 0];
  const pick = (n: number): number => (choices[at++ % choices.length] as number) % n;
  const one = (...xs: readonly string[]): string => xs[pick(xs.length)] as string;
  const value = (): string =>
    one('1', '3', 'v', 'block.0', 'thread', 'div(thread, 32)', 'div(thread, 16)', 'cast.index(load n[1])', 'cast.index(load s[0])');
  const some = (depth: number): string => Array.from({ length: 1 + pick(3) }, () => statement(depth)).join('\n');
  const statement = (depth: number): string => {
    const kind = pick(depth === 0 ? 4 : 8);
    if (kind < 2) return 'barrier';
    if (kind === 2) return exchanges() ? `exchange e${names++}: f32 = load x[thread] by ${one('1', '2')}` : 'barrier';
    if (kind === 3) return `set v = rem(add(v, ${value()}), 7)`;
    if (kind < 6) return `if lt(${value()}, ${one('2', 'v')}) {\n${some(depth - 1)}\n} else {\n${some(depth - 1)}\n}`;
    return `for i${names++} = ${one('0', 'block.0')} to ${value()} step 1 {\n${some(depth - 1)}\n}`;
  };
  return some(3);
};

test('what is taken, Dawn takes', { timeout: 60_000 }, async () => {
  const bodies = fc.sample(fc.array(fc.nat(1000), { minLength: 20, maxLength: 60 }), { seed: 11, numRuns: 1600 }).map(drawn);
  const all = bodies.map(kernel);
  const strict = all.filter((k) => taken(k, true));
  const looser = all.filter((k) => taken(k, false) && !taken(k, true));
  for (const k of strict) expect(await refused(k), printWgsl(k)).toBeUndefined();
  // most have control flow, and some of the others are refused indeed
  expect(strict.filter((k) => k.body.some((s) => s.s === 'if' || s.s === 'for')).length).toBeGreaterThan(60);
  let few = 0;
  for (const k of looser.slice(0, 40)) if ((await refused(k)) !== undefined) few++;
  expect(few).toBeGreaterThan(20);
});
