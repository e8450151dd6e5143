/**
 * How long the launches of a plan take here, each at its fastest of several runs, and the two peaks of this machine, measured too. The
 * numbers that go in are small and made up: no kernel's time depends on them.
 */
import { FoveaError } from '../../compiler/error.ts';
import { bytesOf, type HostData, hostArrays, type TensorType } from '../../compiler/graph/types.ts';
import type { Span } from '../../compiler/target.ts';
import type { Backend, Plan } from '../../index.ts';
import { peaks } from '../bench/peaks.ts';

type PlanBackend = Extract<Backend, { kind: 'plan' }>;

export interface MeasuredPlan {
  /** Of each launch. */
  readonly seconds: readonly number[];
  /** Measured, a second: fused multiply-adds counted as two, bytes of a large copy. */
  readonly peak: { readonly flops: number; readonly bytes: number };
  /** Of one whole run, without what starts the launches: the fastest. */
  readonly run: number;
  /** Of each launch, in the run in which it was fastest: what each thread did. Empty where launches have one queue and no threads to tell apart. */
  readonly spans: readonly (readonly Span[])[];
}

interface Run {
  readonly seconds: Float64Array;
  readonly spans: readonly (readonly Span[])[];
}

/** Small numbers of a type; integers are 0, an index that every table has. */
const made = ({ dtype, shape }: TensorType): HostData => {
  const n = shape.reduce<number>((p, d) => p * Number(d), 1);
  const data = new hostArrays[dtype](n);
  if (dtype === 'f32') for (let i = 0; i < n; i++) data[i] = ((i * 37) % 101) / 101 - 0.5;
  return data;
};

export const runPlan = async (backend: PlanBackend, plan: Plan, runs: number): Promise<readonly Run[]> => {
  const executable = await backend.prepare(plan);
  try {
    const { profile } = executable;
    if (!profile) throw new FoveaError('FV0305', `the backend ${backend.name} does not measure launches`, { hint: 'Take --backend cpu.' });
    plan.inputs.forEach((s, i) => {
      if (s.bytes >= bytesOf[s.type.dtype]) executable.write(i, made(s.type));
    });
    await executable.run();
    const out: Run[] = [];
    for (let i = 0; i < runs; i++) {
      const seconds = await profile();
      out.push({ seconds, spans: executable.spans?.() ?? [] });
    }
    return out;
  } finally {
    executable.dispose();
  }
};

/** More than any cache holds. */
const large = 256e6;

export const measurePlan = async (backend: PlanBackend, plan: Plan, runs = 10): Promise<MeasuredPlan> => {
  const roof = peaks(backend);
  const times = await runPlan(backend, plan, runs);
  const fastest = plan.launches.map((_, i) =>
    times.reduce((best, t) => ((t.seconds[i] as number) < (best.seconds[i] as number) ? t : best), times[0] as Run),
  );
  const seconds = fastest.map((t, i) => t.seconds[i] as number);
  const sum = (t: ArrayLike<number>): number => Array.from(t).reduce((a, b) => a + b, 0);
  return {
    seconds,
    peak: { flops: (await roof?.flops('f32')) ?? backend.target.peak.flops, bytes: (await roof?.copy(large)) ?? backend.target.peak.bytes },
    run: Math.min(...times.map((t) => sum(t.seconds))),
    spans: fastest.flatMap((t, i) => (t.spans[i] ? [t.spans[i]] : [])),
  };
};
