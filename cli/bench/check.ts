/**
 * Comparison with float64. Where a program is small enough the interpreter runs it, or a part of it whose results are the first ones of
 * the whole (rows that do not see each other, images, parameters); contractions are recomputed at some places of the result only.
 */
import type { HostData } from '../../index.ts';
import type { Prepare } from './prepared.ts';
import type { Check, Checked, Outputs } from './types.ts';

/** The largest difference over the largest value, both among the first numbers of `ours` that `theirs` has. */
export const worst = (ours: ArrayLike<number>, theirs: ArrayLike<number>): number => {
  let [difference, size] = [0, 0];
  for (let i = 0; i < theirs.length; i++) {
    const [x, y] = [ours[i] as number, theirs[i] as number];
    // a NaN is no smaller than anything: Math.max keeps it
    difference = Math.max(difference, Math.abs(x - y));
    size = Math.max(size, Math.abs(y));
  }
  return difference === 0 ? 0 : difference / (size || 1);
};

/** Runs `part` on the interpreter: its results are the first numbers of the results of the same paths. */
export const onInterpreter = (part: Prepare, against = 'float64 interpreter', reads: Check['reads'] = () => true): Check => ({
  reads,
  run: async (outputs, reference) => {
    const p = await part(reference);
    try {
      await p.call();
      const wanted = p.paths().flatMap((path, o) => (reads(path) ? [{ path, o }] : []));
      const errors = await Promise.all(wanted.map(async ({ path, o }) => worst(outputs(path), await p.executable.read(o))));
      return { error: Math.max(...errors), against };
    } finally {
      p.dispose();
    }
  },
});

/** Nothing is compared, for the reason given. */
export const unchecked = (why: string): Check => ({ reads: () => false, run: async () => ({ error: null, against: why }) });

/** `f` computes what some places of the results should hold. */
export const atPlaces = (
  against: string,
  f: () => ReadonlyMap<string, readonly (readonly [at: number, value: number])[]>,
  reads: Check['reads'] = () => true,
): Check => ({
  reads,
  run: async (outputs: Outputs): Promise<Checked> => {
    const errors = [...f()].map(([path, places]) => {
      const ours: HostData = outputs(path);
      return worst(
        places.map(([at]) => ours[at] as number),
        places.map(([, value]) => value),
      );
    });
    return { error: Math.max(...errors), against };
  },
});

/** `n` different whole numbers below `below`, spread evenly, the first and the last among them. */
export const spread = (n: number, below: number): readonly number[] => [
  ...new Set(Array.from({ length: n }, (_, i) => Math.round((i * (below - 1)) / Math.max(1, n - 1)))),
];
