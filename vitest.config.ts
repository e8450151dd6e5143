import { availableParallelism } from 'node:os';
import { defineConfig } from 'vitest/config';
import { softwareVulkan } from './test/webgpu/vulkan.ts';

// workers inherit it
Object.assign(process.env, softwareVulkan());

// properties run hundreds of programs; on a busy machine that can take longer than vitest's 5 seconds.
// One worker a processor: vitest leaves one to itself, which on two processors is half of the machine.
// No plan of an earlier run is taken: the tests are there to run the compiler
export default defineConfig({
  test: { include: ['test/**/*.test.ts'], testTimeout: 120_000, maxWorkers: availableParallelism(), env: { FOVEA_PLANS: 'off' } },
});
