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
 *
 *   FAIL: duality (seed 0)
 */

import type { Place } from './gradients-blame.ts';
import type { Check, GradientReport, Law } from './gradients-check.ts';
import { ratio } from './gradients-laws.ts';

const number = (x: number): string => (x === 0 || (Math.abs(x) >= 0.001 && Math.abs(x) < 1000) ? x.toPrecision(3) : x.toExponential(1));

const named = ({ prim, tag, loc, scope }: Place): string => {
  const at = loc ? ` at ${loc.file}:${loc.line}:${loc.col}` : '';
  return `${tag ? `${prim} ${tag}` : prim}${at}${scope ? ` in ${scope}` : ''}`;
};

/** Who is to blame. */
const blamed = (place: Place | undefined): readonly string[] => {
  if (!place) return ['  every primitive is right by itself: the fault is in how rules are put together'];
  const { prim, tag, file, loc, scope, fault } = place;
  const name = tag ? `${prim} ${tag}` : prim;
  const what = {
    rule: `  the rule of ${name} in ${file}`,
    recomputed: `  from ${name} on; ${file} recomputes`,
    'not finite': `  ${name} is the first that is not finite, or has no finite slope`,
  };
  return [what[fault ?? 'rule'], ...(loc ? [`  at ${loc.file}:${loc.line}:${loc.col}${scope ? ` in ${scope}` : ''}`] : [])];
};
const failure = ({ law, direction, at, got, expected, tolerance, place }: Check): string =>
  [
    `${law}, direction ${direction}: ${at} is ${got}, expected ${expected} (tolerance ${tolerance.toExponential(1)})`,
    ...blamed(place),
  ].join('\n');

/** Why none of these checks of a law was decided. */
const reasons = (mine: readonly Check[]): string =>
  [
    ['a kink in every direction', mine.some((c) => c.status === 'kink')],
    ['the function or its derivative is not finite', mine.some((c) => c.status === 'inconclusive' && !Number.isFinite(c.expected))],
    ['rounding is as large as what is compared', mine.some((c) => c.status === 'inconclusive' && Number.isFinite(c.expected))],
  ]
    .flatMap(([why, met]) => (met ? [why] : []))
    .join(', or ');

/** The last line: what is known now. */
const summary = ({ verdict, checks, failures, undecided }: GradientReport): string => {
  if (verdict === 'fail') return `FAIL: ${[...new Set(failures.map((c) => c.law))].join(', ')}`;
  if (verdict === 'undecided') return `UNDECIDED: ${undecided.join(', ')}`;
  const held = new Set(checks.map((c) => c.law)).size - undecided.length;
  return `pass: ${held} ${held === 1 ? 'law holds' : 'laws hold'}${undecided.length > 0 ? `, ${undecided.length} undecided` : ''}`;
};

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

/** The report for a person: table, failures, kinks, what is undecided and why, and a last line `pass`, `FAIL` or `UNDECIDED`. */
export const formatReport = (report: GradientReport): string => {
  const { checks, failures, kinks, undecided, seed } = report;
  const head = ['law', 'checks', 'not decided', 'error / tolerance', 'resolution', 'result'];
  const rows = [head, ...[...new Set(checks.map((c) => c.law))].map((l) => rowOf(l, checks))];
  const widths = head.map((_, i) => Math.max(...rows.map((r) => (r[i] as string).length)));
  const line = (r: readonly string[]): string =>
    r
      .map((c, i) => (i === 0 || i === r.length - 1 ? c.padEnd(widths[i] as number) : c.padStart(widths[i] as number)))
      .join('  ')
      .trimEnd();
  const met = [...new Set(kinks.flatMap((k) => (k.place ? [named(k.place)] : [])))];
  const why = (l: Law): string => `  ${l}: ${reasons(checks.filter((c) => c.law === l))}`;
  return [
    rows.map(line).join('\n'),
    ...failures.map(failure),
    ...(met.length > 0 ? [`Kinks, which are no failures (another direction was tried):\n${met.map((m) => `  ${m}`).join('\n')}`] : []),
    ...(undecided.length > 0 ? [`Undecided (try other arguments):\n${undecided.map(why).join('\n')}`] : []),
    `${summary(report)}${failures.length > 0 ? ` (seed ${seed})` : ''}`,
  ].join('\n\n');
};
