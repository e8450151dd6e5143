/** What a rule of placement sees, and what it says (rules.ts). */
import type { OpOf, Placement, Prim, TensorType } from '../graph/types.ts';
import type { Mesh } from './placement.ts';

export interface Site<P extends Prim = Prim> {
  readonly op: OpOf<P>;
  readonly types: readonly TensorType[];
  readonly out: readonly TensorType[];
  readonly from: readonly Placement[];
  readonly mesh: Mesh;
  /** Where the first result, and each operand, arrives through operations of one shape, if that is a parameter, a moment or an average. */
  readonly wanted: 'flat' | 'R' | undefined;
  readonly wantedIn: readonly ('flat' | 'R' | undefined)[];
  /** Parts of axes that were concatenated, by their length: of several ways to take a padded axis apart the one that fits its neighbours. */
  readonly known: readonly (readonly number[])[];
  /** Whether a tensor has the shape of an input that is flat. */
  readonly stored: (t: TensorType) => boolean;
  /** Where the results of a region lie if its parameters lie so; undefined if something would have to be moved inside. */
  readonly region: (ins: readonly Placement[]) => readonly Placement[] | undefined;
}

export interface Choice {
  readonly ins: readonly Placement[];
  readonly outs: readonly Placement[];
}
export type Rule<P extends Prim> = (s: Site<P>) => Choice;

export const whole = (s: Pick<Site, 'types' | 'out'>): Choice => ({ ins: s.types.map(() => 'R'), outs: s.out.map(() => 'R') });
