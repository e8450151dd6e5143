/** Every expression of K, printed as C, against the kernel interpreter. */
import { describe, expect, test } from 'vitest';
import { differences } from '../kernel/expressions.ts';
import { runC } from './helper.ts';

describe('expressions in C are those of the interpreter', () => {
  for (const lanes of [1, 2, 4, 8, 16, 32])
    test(`${lanes} lanes`, async () => {
      expect((await differences(lanes, runC, true)).slice(0, 20)).toEqual([]);
    }, 60_000);
});
