/**
 * The TypeScript compiler. It is a CommonJS file of 9 MB, and `import` would have Node read all of it first for the names that it exports, which
 * takes longer than running it; `require` does not. Its types are imported as usual, so files here say `ts.Node` and `tsc.isCallExpression`.
 */
import { createRequire } from 'node:module';
import type ts from 'typescript';

export const tsc = createRequire(import.meta.url)('typescript') as typeof ts;
