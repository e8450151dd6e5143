/**
 * What `explain` says of a program, in one record that its text, its page and `profile` are made of: the explanation of the compiler, with
 * times (measured, or by the roofline) and the user's lines that they belong to.
 */
import { readFileSync } from 'node:fs';
import { relative } from 'node:path';
import type { Shards } from '../../compiler/compile.ts';
import type { Loc } from '../../compiler/error.ts';
import { type ExplainedLaunch, type Explanation, explain, nodesInside, roofline } from '../../compiler/explain/explain.ts';
import { type Machine, stepCost } from '../../compiler/plan/cost.ts';
import type { Precision } from '../../index.ts';
import type { UserProgram } from '../program.ts';
import { type MeasuredPlan, measurePlan } from './measure.ts';
import type { PlanBackend, Shown } from './paper.ts';
import type { OnRanks } from './ranks.ts';

/** A launch with the time it is shown with. */
export interface TimedLaunch extends ExplainedLaunch {
  /** Seconds: measured where that was asked for, else what the roofline says. */
  readonly time: number;
  /** Of the roofline's time: 1 is a launch that touches its roof; undefined where nothing was measured. */
  readonly ofRoof: number | undefined;
}

/** All launches whose main place is one line, or that some of their nodes come from. */
export interface SourceLine {
  readonly file: string;
  readonly line: number;
  readonly text: string;
  readonly time: number;
  readonly launches: readonly number[];
  /** Launches that have other nodes of this line. */
  readonly besides: readonly number[];
}

export interface Facts {
  readonly program: UserProgram;
  readonly backend: Shown;
  readonly explanation: Explanation;
  readonly peak: { readonly flops: number; readonly bytes: number };
  readonly launches: readonly TimedLaunch[];
  readonly measured: MeasuredPlan | undefined;
  /** Seconds of all launches. */
  readonly time: number;
  /** By time, the most first. */
  readonly lines: readonly SourceLine[];
  /** Texts of the files that places are in, by absolute path. */
  readonly texts: ReadonlyMap<string, readonly string[]>;
  /** Where it is the program of one of several ranks. */
  readonly onRanks?: OnRanks;
}

const textOf = (file: string): readonly string[] => {
  try {
    return readFileSync(file, 'utf8').split('\n');
  } catch {
    return [];
  }
};

/** `vit/block.ts:42`, as seen from where the command runs. */
export const showPlace = ({ file, line }: Pick<Loc, 'file' | 'line'>): string => `${relative(process.cwd(), file)}:${line}`;

export interface FactOptions {
  readonly precision?: Precision;
  /** Runs it on this. */
  readonly measure?: PlanBackend;
  /** Bytes a second between ranks, and seconds that a transfer takes at least. */
  readonly shards?: Shards & Pick<Machine, 'link' | 'latency'> & Pick<OnRanks, 'how'>;
}

export const factsOf = async (program: UserProgram, backend: Shown, { precision, measure, shards }: FactOptions): Promise<Facts> => {
  const explanation = explain(program.graph, {
    target: backend.target,
    donated: program.donated,
    ...(precision === undefined ? {} : { precision }),
    ...(shards ? { shards } : {}),
  });
  const measured = measure ? await measurePlan(measure, explanation.plan) : undefined;
  const peak = measured?.peak ?? backend.target.peak;
  const launches = explanation.launches.map((l, i): TimedLaunch => {
    const limit = roofline(l, peak);
    const time = measured?.seconds[i] ?? limit.seconds;
    return { ...l, ...limit, time, ofRoof: measured && time > 0 ? limit.seconds / time : undefined };
  });
  const texts = new Map<string, readonly string[]>();
  const files = [
    program.file,
    ...[explanation.traced, ...program.written].flatMap((g) =>
      [...g.nodes, ...nodesInside(g.nodes)].flatMap((n) => n.meta.loc?.file ?? []),
    ),
    ...launches.flatMap((l) => l.places.map((p) => p.file)),
  ];
  for (const f of files) if (!texts.has(f)) texts.set(f, textOf(f));
  const lines = new Map<string, { readonly file: string; readonly line: number; time: number; launches: number[]; besides: number[] }>();
  for (const l of launches)
    for (const [i, { file, line }] of l.places.entries()) {
      const known = lines.get(`${file}:${line}`) ?? { file, line, time: 0, launches: [], besides: [] };
      lines.set(`${file}:${line}`, known);
      if (i === 0) known.time += l.time;
      const own = i === 0 ? known.launches : known.besides;
      // two places may be of one line
      if (known.launches.at(-1) !== l.number && own.at(-1) !== l.number) own.push(l.number);
    }
  const { mesh } = explanation;
  const onRanks = shards &&
    mesh && {
      ranks: mesh.ranks,
      how: shards.how,
      cost: stepCost(
        explanation.plan,
        { world: mesh.ranks, shard: mesh.shard, replica: mesh.ranks / mesh.shard },
        { flops: peak.flops, memory: peak.bytes, link: shards.link, latency: shards.latency },
      ),
    };
  return {
    ...(onRanks ? { onRanks } : {}),
    program,
    backend,
    explanation,
    peak,
    launches,
    measured,
    time: launches.reduce((t, l) => t + l.time, 0),
    lines: [...lines.values()].sort((a, b) => b.time - a.time).map((l) => ({ ...l, text: texts.get(l.file)?.[l.line - 1]?.trim() ?? '' })),
    texts,
  };
};
