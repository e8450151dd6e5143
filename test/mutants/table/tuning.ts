/** Faults of the tuner and of what is kept of it. */
import { noticedBy, type Row } from '../mutant.ts';

const tune = 'compiler/plan/tune.ts';
const schedules = 'compiler/tile/schedules.ts';

export const tuning: readonly Row[] = noticedBy('test/plan/tune.test.ts', [
  {
    name: 'tuner: a schedule of other bits may win',
    fault: 'dropped check',
    file: tune,
    from: 'if (same(reference, await race.results(i))) runners.push(i);',
    to: 'if (same(reference, await race.results(0))) runners.push(i);',
  },
  {
    name: 'tuner: the slowest wins',
    fault: 'swapped operand',
    file: tune,
    from: 'const winner = last.reduce((a, b) => (time(b) < time(a) ? b : a));',
    to: 'const winner = last.reduce((a, b) => (time(b) < time(a) ? a : b));',
  },
  {
    name: 'tuner: a hair is enough to win',
    fault: 'wrong constant',
    file: tune,
    from: 'time(winner) < (1 - margin) * time(0)',
    to: 'time(winner) < time(0)',
  },
  {
    name: 'tuner: the reference is not in the race',
    fault: 'off by one',
    file: tune,
    from: 'return [head, ...turns.filter((s) => s !== undefined)].slice(0, most);',
    to: 'return turns.filter((s) => s !== undefined).slice(0, most);',
  },
  {
    name: 'tuner: what has a record is measured again',
    fault: 'dropped check',
    file: tune,
    from: 'if (ignored !== undefined || !known.has(key)) open.set',
    to: 'if (known !== undefined) open.set',
  },
  {
    name: 'schedules: a record is taken unread',
    fault: 'dropped check',
    file: schedules,
    from: 'const found = record && read(record);',
    to: 'const found = record && (read({ ...record }), record as unknown as S);',
  },
]);
