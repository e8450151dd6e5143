/** A short run of the fuzzer; `npx tsx test/weights/fuzz.ts 100000` is the long one. */
import { expect, test } from 'vitest';
import { fuzz } from './fuzz.ts';

test('mutated files give tensors or an error with a code', async () => {
  const { counts, failures, tensors } = await fuzz(4200, 7);
  expect(failures).toEqual([]);
  // the mutations reach what they are meant for: every kind has cases that are read, but for pickles of chance in a row
  for (const [kind, ends] of Object.entries(counts)) {
    if (!kind.startsWith('legacy, program')) expect(ends.read, kind).toBeGreaterThan(0);
    expect(Object.keys(ends).length, kind).toBeGreaterThan(1);
  }
  expect(tensors).toBeGreaterThan(200);
});
