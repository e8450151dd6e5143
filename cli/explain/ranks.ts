/**
 * A step of one of several ranks, as `explain` shows it: its transfers, what starts before which launch and who waits for it, and the timeline that
 * follows from the rates of a machine (compiler/plan/cost.ts).
 *
 *   #  what        scope             group  type    sent     starts  waited  takes    stalls
 *   0  all-gather  student/blocks.0  shard  f32   1.2 MiB        0       3   0.25 ms  0.11 ms
 */
import type { Collective } from '../../compiler/collectives.ts';
import { FoveaError } from '../../compiler/error.ts';
import type { Span, StepCost } from '../../compiler/plan/cost.ts';
import { timelineSvg, timelineText } from '../../compiler/plan/timeline.ts';
import type { Plan } from '../../compiler/plan/types.ts';
import { type Cells, table } from '../bench/print.ts';
import type { Facts } from './facts.ts';
import { bytes, ms } from './units.ts';

/** A step of several ranks, what it costs, and on how many. */
export interface OnRanks {
  readonly ranks: number;
  /** Strategy and the rest of the plan, in words. */
  readonly how: string;
  readonly cost: StepCost;
}

/** FV0503: the program is that of one device. */
const onRanks = ({ onRanks: own }: Facts): OnRanks => {
  if (own) return own;
  throw new FoveaError('FV0503', '--stage shard: the program is that of one device', { hint: 'Say of how many: --ranks 8.' });
};

const rowsOf = ({ collectives, events }: Plan, { sentBy, spans }: StepCost): readonly Cells[] => {
  const before = (what: 'start' | 'wait', n: number): string =>
    `${events.find((e) => e.what === what && e.collective === n)?.before ?? ''}`;
  const seconds = (row: Span['row'], n: number): string => {
    const span = spans.find((s) => s.row === row && s.number === n);
    return span ? ms(span.to - span.from) : '';
  };
  return collectives.map(
    ({ kind, group, dtype, scope, phase }: Collective, n): Cells => [
      `${n}`,
      kind,
      scope || phase,
      group,
      dtype,
      bytes(Math.round(sentBy[n] ?? 0)),
      before('start', n),
      before('wait', n),
      seconds('transfer', n),
      seconds('stalled', n),
    ],
  );
};

export const timeline = (f: Facts): string => timelineText(onRanks(f).cost);

/** Every transfer, and the timeline. */
export const shardText = (f: Facts): string => {
  const { cost } = onRanks(f);
  const head = ['#', 'what', 'scope', 'group', 'type', 'sent', 'starts', 'waited', 'takes', 'stalls'];
  return `${table([head, ...rowsOf(f.explanation.plan, cost)], 5)}\n\n${timelineText(cost)}`;
};

export const titleOf = ({ program }: Facts, { ranks, how }: OnRanks): string => `${program.name} on ${ranks} ranks, ${how}`;
/** The timeline as a picture. */
export const picture = (f: Facts): string => {
  const own = onRanks(f);
  return timelineSvg(own.cost, titleOf(f, own));
};
