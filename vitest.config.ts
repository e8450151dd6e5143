import { defineConfig } from 'vitest/config';

// properties run hundreds of programs; on a busy machine that can take longer than vitest's 5 seconds
export default defineConfig({ test: { include: ['test/**/*.test.ts'], testTimeout: 120_000 } });
