/**
 * A report of checkGradients as text: a line a law, then each failure with its place, then the kinks that were met. Of a law the
 * worst error is given in units of its tolerance, and the resolution: the part of the compared numbers below which no error is seen.
 *
 *   law      checks  not decided  error / tolerance  resolution  result
 *   forward       4            1              0.021     3.1e-11  pass
 *   duality       4            0            1.3e+13     1.7e-14  FAIL
 *
 *   duality, direction 2: <u, J v> is 1.25, expected 1.5 (tolerance 2.2e-14)
 *     the rule of mul in compiler/transform/transpose-structure.ts
 *     at model.ts:12:9 in blocks.0/attn
 */
import type { Check, GradientReport, Law } from './gradients.ts';
import type { Place } from './gradients-blame.ts';
import { ratio } from './gradients-laws.ts';

const number = (x: number): string => (x === 0 || (Math.abs(x) >= 0.001 && Math.abs(x) < 1000) ? x.toPrecision(3) : x.toExponential(1));

const named = ({ prim, tag, loc, scope }: Place): string => {
  const at = loc ? ` at ${loc.file}:${loc.line}:${loc.col}` : '';
  return `${tag ? `${prim} ${tag}` : prim}${at}${scope ? ` in ${scope}` : ''}`;
};

const failure = ({ law, direction, at, got, expected, tolerance, place }: Check): string =>
  [
    `${law}, direction ${direction}: ${at} is ${got}, expected ${expected} (tolerance ${tolerance.toExponential(1)})`,
    place
      ? `  the rule of ${place.tag ? `${place.prim} ${place.tag}` : place.prim} in ${place.file}`
      : '  every primitive is right by itself: the fault is in how rules are put together',
    ...(place?.loc ? [`  at ${place.loc.file}:${place.loc.line}:${place.loc.col}${place.scope ? ` in ${place.scope}` : ''}`] : []),
  ].join('\n');

/** The rows of the table: for each law how many checks there were, the worst of them, and what came of it. */
const rowOf = (law: Law, checks: readonly Check[]): readonly string[] => {
  const mine = checks.filter((c) => c.law === law);
  const decided = mine.filter((c) => c.status === 'ok' || c.status === 'failed');
  const result = mine.some((c) => c.status === 'failed') ? 'FAIL' : decided.length > 0 ? 'pass' : 'undecided';
  const worst = decided.reduce((m, c) => Math.max(m, ratio(c)), 0);
  const resolution = decided.reduce((m, c) => Math.max(m, c.resolution), 0);
  const some = (x: number): string => (decided.length > 0 ? number(x) : '-');
  return [law, String(decided.length), String(mine.length - decided.length), some(worst), some(resolution), result];
};

export const formatReport = ({ checks, failures, kinks, undecided, seed }: GradientReport): string => {
  const head = ['law', 'checks', 'not decided', 'error / tolerance', 'resolution', 'result'];
  const rows = [head, ...[...new Set(checks.map((c) => c.law))].map((l) => rowOf(l, checks))];
  const widths = head.map((_, i) => Math.max(...rows.map((r) => (r[i] as string).length)));
  const line = (r: readonly string[]): string =>
    r
      .map((c, i) => (i === 0 || i === r.length - 1 ? c.padEnd(widths[i] as number) : c.padStart(widths[i] as number)))
      .join('  ')
      .trimEnd();
  const met = [...new Set(kinks.flatMap((k) => (k.place ? [named(k.place)] : [])))];
  return [
    rows.map(line).join('\n'),
    ...failures.map(failure),
    ...(met.length > 0 ? [`Kinks, which are no failures (another direction was tried):\n${met.map((m) => `  ${m}`).join('\n')}`] : []),
    ...(undecided.length > 0 ? [`No verdict on: ${undecided.join(', ')}. Try other arguments.`] : []),
    ...(failures.length > 0 ? [`Repeat with seed ${seed}.`] : []),
  ].join('\n\n');
};
