/**
 * A mutant is the project with one seeded fault: in one file the text `from`, which must stand there exactly once, is `to`. A test that
 * holds for the mutant as it does for the project says nothing about that fault.
 *
 *   { name: 'cos without its sign', fault: 'sign', file: 'compiler/transform/jvp-pointwise.ts',
 *     from: 'b.mul(t, b.neg(b.sin(x)))', to: 'b.mul(t, b.sin(x))' }
 *
 * A fault that changes nothing anyone could observe (a slower kernel, say) does not belong in the table.
 */
export const faults = [
  'sign',
  'swapped operand',
  'dropped term',
  'off by one',
  'missing cast',
  'wrong axis',
  'wrong constant',
  'wrong order',
  'dropped check',
  'stale value',
] as const;
export type Fault = (typeof faults)[number];

/** What is mutated, in the order of the compiler. */
export const areas = [
  'jvp',
  'transpose',
  'batching',
  'shape rules',
  'passes',
  'fusion',
  'planning',
  'kernels',
  'attention',
  'groups',
  'tuning',
  'C',
  'WGSL',
  'CUDA',
  'sharding',
  'text',
  'interpreter',
] as const;
export type Area = (typeof areas)[number];

export interface Row {
  readonly name: string;
  readonly fault: Fault;
  readonly file: string;
  readonly from: string;
  readonly to: string;
  /** A test file to try where no law notices, because generated programs do not reach the place. */
  readonly test?: string;
}
export interface Mutant extends Row {
  readonly area: Area;
}

/** Rows that one test file is to notice. */
export const noticedBy = (test: string, rows: readonly Omit<Row, 'test'>[]): readonly Row[] => rows.map((row) => ({ ...row, test }));

/** The text of the file with the fault. Throws where `from` does not stand there exactly once: then the table is out of date. */
export const mutated = (text: string, { name, file, from, to }: Row): string => {
  const times = text.split(from).length - 1;
  if (times !== 1) throw new Error(`mutant '${name}': its text stands ${times} times in ${file}, not once: ${from}`);
  return text.replace(from, () => to);
};
