/** Faults of the memory plan: lives, places, sharing of kernels and of memory. */
import { noticedBy, type Row } from '../mutant.ts';

const build = 'compiler/plan/build.ts';
const places = 'compiler/plan/places.ts';
const arena = 'compiler/plan/arena.ts';
const stores = 'compiler/plan/stores.ts';
const inplace = 'compiler/kernel/inplace.ts';
const donated = 'test/plan/donated.test.ts';

export const planning: readonly Row[] = [
  {
    name: 'a buffer freed one launch early',
    fault: 'stale value',
    file: build,
    from: 'outputs.has(v) ? end : (last.get(v) as number)',
    to: 'outputs.has(v) ? end : (last.get(v) as number) - 1',
  },
  {
    name: 'outputs freed after their last read',
    fault: 'stale value',
    file: build,
    from: 'outputs.has(v) ? end : (last.get(v) as number)',
    to: 'last.get(v) as number',
  },
  {
    name: 'inputs freed after their last read',
    fault: 'stale value',
    file: build,
    from: 'for (const p of g.params) need(p, -1, end);',
    to: 'for (const p of g.params) need(p, -1, last.get(p) ?? -1);',
  },
  {
    name: 'constants freed after their last read',
    fault: 'stale value',
    file: build,
    from: 'for (const c of constants) need(c.value, -1, end);',
    to: 'for (const c of constants) need(c.value, -1, last.get(c.value) ?? -1);',
  },
  {
    name: 'a buffer freed by the launch that reads it',
    fault: 'off by one',
    file: arena,
    from: 'placed.meeting(first - start, last - start)',
    to: 'placed.meeting(first - start + 1, last - start)',
  },
  {
    name: 'a gap begins at the bottom',
    fault: 'dropped term',
    file: arena,
    from: 'const gap = from - top;',
    to: 'const gap = from - bottom;',
  },
  {
    name: 'the last range is the highest',
    fault: 'dropped check',
    file: arena,
    from: 'top = Math.max(top, to);',
    to: 'top = to;',
  },
  {
    name: 'lives within another life are not met',
    fault: 'dropped check',
    file: arena,
    from: '      take(below[node]);\n',
    to: '',
  },
  {
    name: 'lives around another life are not met',
    fault: 'dropped check',
    file: arena,
    from: 'for (let up = node; up > 0; up >>= 1) take(whole[up]);',
    to: 'take(whole[node]);',
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
    file: places,
    from: 'read < at || (read === at && inPlace(',
    to: 'read <= at || (read === at && inPlace(',
    test: donated,
  },
  {
    name: 'a donated input is written before it is read',
    fault: 'stale value',
    file: places,
    from: 'if (read < at || (read === at && inPlace(',
    to: 'if ((inPlace(',
    test: donated,
  },
  {
    name: 'a value in the place of one that is read later',
    fault: 'stale value',
    file: places,
    from: 'between(v) && last.get(v) === i && producer.get(v) !== i',
    to: 'between(v) && producer.get(v) !== i',
  },
  {
    name: 'a value in the place of one that its kernel reads elsewhere',
    fault: 'dropped check',
    file: places,
    from: 'fits(u) && inPlace(s, kernels, v, u)',
    to: 'fits(u)',
    test: 'test/plan/donated.test.ts',
  },
  {
    name: 'a value dies before the one in its place',
    fault: 'stale value',
    file: build,
    from: 'Math.max(last.get(place(v)) ?? 0, last.get(v) as number)',
    to: 'last.get(place(v)) ?? 0',
  },
  {
    name: 'in place with another index',
    fault: 'dropped check',
    file: inplace,
    from: 'b.where === a.where && ',
    to: '',
    test: 'test/kernel/inplace.test.ts',
  },
  ...noticedBy('test/cpu/nontemporal.test.ts', [
    {
      name: 'past the caches what is written over an operand',
      fault: 'dropped check',
      file: stores,
      from: 'place(v) !== place(p.buffers[i] as Value)',
      to: 'true',
    },
    {
      name: 'past the caches whatever its size',
      fault: 'dropped check',
      file: stores,
      from: ' >= least &&',
      to: ' >= 0 &&',
    },
  ]),
];
