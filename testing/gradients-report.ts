/**
 * A report of checkGradients as text: a line a law, then each failure with its place, then the kinks that were met, what is undecided,
 * and what stopGradient holds. Of a law the worst error is given in units of its tolerance, and the resolution: the part of the compared numbers below which no error is seen.
 *
 *   law      checks  not decided  error / tolerance  resolution  result
 *   forward       4            1              0.021     3.1e-11  pass
 *   duality       4            0            1.3e+13     1.7e-14  FAIL
 *
 *   duality, in 4 directions, worst: direction 2: <u, J v> is 1.25, expected 1.5 (tolerance 2.2e-14)
 *     the rule of mul in compiler/transform/transpose-structure.ts
 *     at model.ts:12:9 in blocks.0/attn
 *
 *   FAIL: duality (seed 0)
 */

import type { Place } from './gradients-blame.ts';
import type { Check, GradientReport, Law } from './gradients-check.ts';
import { ratio } from './gradients-laws.ts';

const number = (x: number): string => (x === 0 || (Math.abs(x) >= 0.001 && Math.abs(x) < 1000) ? x.toPrecision(3) : x.toExponential(1));
/** NaN and infinities are one to a reader: there is no number. */
const finite = (x: number, text: (x: number) => string = String): string => (Number.isFinite(x) ? text(x) : 'not finite');

const located = ({ loc, scope }: Place): string => `${loc ? ` at ${loc.file}:${loc.line}:${loc.col}` : ''}${scope ? ` in ${scope}` : ''}`;
const named = (place: Place): string => `${place.tag ? `${place.prim} ${place.tag}` : place.prim}${located(place)}`;

/** Who is to blame. */
const blamed = (place: Place | undefined): readonly string[] => {
  if (!place) return ['  every primitive is right by itself: the fault is in how rules are put together'];
  const { prim, tag, file, loc, fault } = place;
  const name = tag ? `${prim} ${tag}` : prim;
  const what = {
    rule: `  the rule of ${name} in ${file}`,
    recomputed: `  from ${name} on; ${file} recomputes`,
    'not finite': `  ${name} is the first that is not finite, or has no finite slope`,
  };
  return [what[fault ?? 'rule'], ...(loc ? [` ${located(place)}`] : [])];
};

/** What is wrong in the worst of these directions, which have one law and one place to blame. */
const failure = (mine: readonly Check[]): string => {
  const worst = mine.reduce((a, c) => (ratio(c) > ratio(a) ? c : a));
  const { law, direction, at, got, expected, tolerance, place } = worst;
  const where = mine.length === 1 ? `direction ${direction}` : `in ${mine.length} directions, worst: direction ${direction}`;
  const within = Number.isFinite(tolerance) ? ` (tolerance ${tolerance.toExponential(1)})` : '';
  return [`${law}, ${where}: ${at} is ${finite(got)}, expected ${finite(expected)}${within}`, ...blamed(place)].join('\n');
};
/** Failures by law and place. */
const grouped = (failures: readonly Check[]): readonly (readonly Check[])[] => {
  const groups = new Map<string, Check[]>();
  for (const c of failures) {
    const key = [c.law, ...blamed(c.place)].join('\n');
    groups.set(key, [...(groups.get(key) ?? []), c]);
  }
  return [...groups.values()];
};

/** Why none of these checks of a law was decided. */
const reasons = (mine: readonly Check[]): string =>
  [
    ['nothing to compare: there are no elements', mine.some((c) => c.status === 'empty')],
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
  const none = mine.every((c) => c.status === 'empty');
  const result = mine.some((c) => c.status === 'failed') ? 'FAIL' : decided.length > 0 ? 'pass' : none ? 'nothing to compare' : 'undecided';
  const [first, ...others] = decided;
  const worst = first && others.reduce((a, c) => (ratio(c) > ratio(a) ? c : a), first);
  const resolution = decided.reduce((m, c) => Math.max(m, c.resolution), 0);
  // of a law that allows no error there is no ratio
  const units = worst && (worst.tolerance === 0 && worst.error > 0 ? `${finite(worst.error, number)} / 0` : finite(ratio(worst), number));
  const seen = worst && Number.isFinite(resolution) ? number(resolution) : '-';
  return [law, String(decided.length), String(mine.length - decided.length), units ?? '-', seen, result];
};

/** The report for a person: table, failures, kinks, what is undecided and why, what stopGradient holds, and a last line `pass`, `FAIL` or `UNDECIDED`. */
export const formatReport = (report: GradientReport): string => {
  const { checks, failures, kinks, undecided, stopped, seed } = report;
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
    ...grouped(failures).map(failure),
    ...(met.length > 0 ? [`Kinks, which are no failures (another direction was tried):\n${met.map((m) => `  ${m}`).join('\n')}`] : []),
    ...(undecided.length > 0 ? [`Undecided (try other arguments):\n${undecided.map(why).join('\n')}`] : []),
    ...(stopped.length > 0 ? [stopped.map((p) => `held constant by stopGradient${located(p)}`).join('\n')] : []),
    `${summary(report)}${failures.length > 0 ? ` (seed ${seed})` : ''}`,
  ].join('\n\n');
};
