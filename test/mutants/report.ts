/** The results as tables in Markdown: for the terminal and for docs/mutants.md. */
import type { Kill } from './kill.ts';
import { areas, type Mutant } from './mutant.ts';

export interface Result {
  readonly mutant: Mutant;
  /** Absent where the mutant survives. */
  readonly kill?: Kill;
}

const table = (head: readonly string[], rows: readonly (readonly string[])[]): string =>
  [head, head.map(() => '---'), ...rows].map((cells) => `| ${cells.map((c) => c.replaceAll('|', '\\|')).join(' | ')} |`).join('\n');

const counted = (names: readonly string[]): readonly (readonly [string, number])[] =>
  [...new Set(names)]
    .map((n): [string, number] => [n, names.filter((m) => m === n).length])
    .sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1));

export const killer = ({ kill }: Result): string => kill?.law ?? 'nothing: SURVIVES';

/** One line a mutant. */
export const fullTable = (results: readonly Result[]): string =>
  table(
    ['area', 'mutant', 'fault', 'file', 'noticed by', 'seed', 'programs'],
    results.map((r) => {
      const ofLaw = r.kill !== undefined && r.kill.programs > 0;
      const { area, name, fault, file } = r.mutant;
      return [area, name, fault, file, killer(r), ofLaw ? `${r.kill?.seed}` : '', ofLaw ? `${r.kill?.programs}` : ''];
    }),
  );

export const byArea = (results: readonly Result[]): string =>
  table(
    ['area', 'mutants', 'survive', 'noticed by'],
    areas.flatMap((area) => {
      const own = results.filter((r) => r.mutant.area === area);
      const by = counted(own.flatMap((r) => (r.kill ? [r.kill.law] : []))).map(([law, n]) => `${law} ${n}`);
      return own.length === 0 ? [] : [[area, `${own.length}`, `${own.filter((r) => !r.kill).length}`, by.join(', ')]];
    }),
  );

export const byLaw = (results: readonly Result[]): string =>
  table(
    ['noticed by', 'mutants'],
    counted(results.map(killer)).map(([law, n]) => [law, `${n}`]),
  );

/** docs/mutants.md. */
export const page = (
  results: readonly Result[],
  { programs, seed }: { readonly programs: number; readonly seed: number },
): string => `# Do the laws notice?

\`npm run mutants -- --write\` made this page: ${results.length} faults, seeded one at a time, and what noticed each. A mutant goes through the laws
of \`fovea fuzz\` (docs/testing.md) on up to ${programs} programs, seeds from ${seed}, until one does not hold. \`programs\` says how many it took.
\`programs\` as what noticed means that drawing a program threw already, \`crash\` that loading the laws did (one of them traces a
program), \`test/...\` that generated programs do not reach the place and that test does.

## By area

${byArea(results)}

## By law

${byLaw(results)}

## All

${fullTable(results)}
`;
