/** Faults of the memory plan: lives, places, sharing of kernels and of memory. */
import type { Row } from '../mutant.ts';

const build = 'compiler/plan/build.ts';
const arena = 'compiler/plan/arena.ts';
const inplace = 'compiler/kernel/inplace.ts';
const donated = 'test/plan/donated.test.ts';

export const planning: readonly Row[] = [
  {
    name: 'a buffer freed one launch early',
    fault: 'stale value',
    file: build,
    from: 'outputs.has(v) ? end : (lastRead.get(v) as number)',
    to: 'outputs.has(v) ? end : (lastRead.get(v) as number) - 1',
  },
  {
    name: 'outputs freed after their last read',
    fault: 'stale value',
    file: build,
    from: 'outputs.has(v) ? end : (lastRead.get(v) as number)',
    to: 'lastRead.get(v) as number',
  },
  {
    name: 'inputs freed after their last read',
    fault: 'stale value',
    file: build,
    from: 'for (const p of g.params) need(p, -1, end);',
    to: 'for (const p of g.params) need(p, -1, lastRead.get(p) ?? -1);',
  },
  {
    name: 'constants freed after their last read',
    fault: 'stale value',
    file: build,
    from: 'for (const c of constants) need(c.value, -1, end);',
    to: 'for (const c of constants) need(c.value, -1, lastRead.get(c.value) ?? -1);',
  },
  {
    name: 'a buffer freed by the launch that reads it',
    fault: 'off by one',
    file: arena,
    from: '.last < need(i).first',
    to: '.last <= need(i).first',
  },
  {
    name: 'what is left of a hole begins where the hole did',
    fault: 'dropped term',
    file: arena,
    from: '{ offset: h.offset + bytes, bytes: h.bytes - bytes }',
    to: '{ offset: h.offset, bytes: h.bytes - bytes }',
  },
  {
    name: 'the last hole is at the end',
    fault: 'dropped check',
    file: arena,
    from: 'tail !== undefined && tail.offset + tail.bytes === end ? tail.offset : end',
    to: 'tail !== undefined ? tail.offset : end',
  },
  {
    name: 'holes that meet at any place are one',
    fault: 'dropped check',
    file: arena,
    from: 'before !== undefined && before.offset + before.bytes === offset',
    to: 'before !== undefined',
  },
  {
    name: 'sizes are not rounded up',
    fault: 'dropped term',
    file: arena,
    from: 'roundUp(Math.max(n.bytes, 1), alignment)',
    to: 'Math.max(n.bytes, 1)',
  },
  {
    name: 'kernels of one name are one',
    fault: 'dropped check',
    file: build,
    from: "const text = printKernel({ ...kernel, name: 'k' });",
    to: 'const text = kernel.name;',
  },
  {
    name: 'a donated input is written while it is read',
    fault: 'stale value',
    file: build,
    from: 'last < at || (last === at && inPlace())',
    to: 'last <= at',
    test: donated,
  },
  {
    name: 'a donated input is written before it is read',
    fault: 'stale value',
    file: build,
    from: 'if (last < at || (last === at && inPlace())) shares.set(out, input);',
    to: 'if (inPlace()) shares.set(out, input);',
    test: donated,
  },
  {
    name: 'in place with another index',
    fault: 'dropped check',
    file: inplace,
    from: 'b.where === a.where && ',
    to: '',
    test: 'test/kernel/inplace.test.ts',
  },
];
