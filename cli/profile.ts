/**
 * `fovea profile FILE#export`: one step as a trace that chrome://tracing and ui.perfetto.dev open: a bar for each launch, with the line it
 * comes from, on one row a phase, and the memory that is held beside it; below, what each thread did of it, or the queue of the device.
 *
 *   fovea profile examples/dinov2.ts#step --out step.trace.json
 *
 * Times of launches are measured one by one, each at its fastest of several runs, and stand one after the other: gaps between launches
 * and the other programs of the machine are not in it.
 */
import type { Command } from 'commander';
import { FoveaError } from '../compiler/error.ts';
import { backendNames } from './backends.ts';
import { type Facts, factsOf, showPlace } from './explain/facts.ts';
import { planBackend } from './explain/paper.ts';
import { ms } from './explain/units.ts';
import { emulateOption, path } from './options.ts';
import { ownFile, type ProgramOptions, programCommand, userProgram, written } from './program.ts';

interface ProfileOptions extends ProgramOptions {
  readonly backend: string;
  readonly emulate?: boolean;
  readonly out: string;
}

export const profileCommand = (): Command =>
  programCommand('profile', 'measure a step, launch by launch, as a Chrome trace')
    .option('--backend <name>', `one of ${backendNames.join(', ')}`, 'cpu')
    .addOption(emulateOption())
    .option('--out <file>', 'the trace', path('--out'), 'trace.json')
    .action(runProfile);

const rows = { fwd: 1, bwd: 2, opt: 3 } as const;
const names = { fwd: 'forward', bwd: 'backward', opt: 'optimizer' } as const;

/** By which a trace of ours is known. */
export const traceBegins = '{"displayTimeUnit":"ms","traceEvents":[{"ph":"M"';

/** The trace-event format: times in microseconds. */
export const traceOf = ({ program, backend, launches, explanation, measured }: Facts): object => {
  let at = 0;
  const starts = launches.map((l) => {
    const from = at;
    at += 1e6 * l.time;
    return from;
  });
  const bars = launches.flatMap((l, i) => {
    const [ts, dur] = [starts[i] as number, 1e6 * l.time];
    const args = {
      from: l.places.map(showPlace).join(', '),
      scope: l.scope,
      'ends because': l.reason,
      'bound by': l.bound,
      'of roof': l.ofRoof,
      flops: l.flops,
      bytes: l.bytes,
      kernel: explanation.plan.kernels[l.kernel]?.name,
      launch: l.number,
    };
    return [
      { ph: 'X', name: l.label, cat: l.template, pid: 1, tid: rows[l.phase], ts, dur, args },
      { ph: 'C', name: 'memory', pid: 1, ts, args: { held: explanation.held[l.number] } },
    ];
  });
  const spans = measured?.spans ?? [];
  const threads = Math.max(1, ...spans.map((s) => s.length));
  const work = launches.flatMap((l, i) => {
    const [main] = l.places;
    const own = {
      ph: 'X',
      name: l.label,
      cat: l.template,
      pid: 2,
      args: { launch: l.number, scope: l.scope, from: main ? showPlace(main) : '' },
    };
    const each = spans[i] ?? [{ from: 0, seconds: l.time }];
    return each.flatMap((s, t) =>
      s.seconds > 0 ? [{ ...own, tid: t, ts: (starts[i] as number) + 1e6 * s.from, dur: 1e6 * s.seconds }] : [],
    );
  });
  const meta = (name: string, pid: number, tid: number, value: string) => ({ ph: 'M', name, pid, tid, args: { name: value } });
  return {
    displayTimeUnit: 'ms',
    traceEvents: [
      meta('process_name', 1, 0, `${program.shown}#${program.name} on ${backend.name}`),
      ...Object.entries(rows).map(([phase, tid]) => meta('thread_name', 1, tid, names[phase as keyof typeof names])),
      meta('process_name', 2, 0, spans.length > 0 ? `threads of ${backend.name}` : `queue of ${backend.name}`),
      ...Array.from({ length: threads }, (_, t) => meta('thread_name', 2, t, spans.length > 0 ? `thread ${t}` : 'queue')),
      ...bars,
      ...work,
    ],
  };
};

async function runProfile(target: string, { backend: name, emulate = false, dims, out, precision }: ProfileOptions): Promise<void> {
  ownFile('--out', out, traceBegins);
  const program = await userProgram(target, { dims });
  const backend = await planBackend(name, emulate);
  const facts = await factsOf(program, backend, { precision, measure: backend });
  if (facts.measured === undefined || facts.launches.length === 0)
    throw new FoveaError('FV0503', `${target}: there are no launches to measure`, { hint: 'A program that computes nothing has none.' });
  written(out, `${JSON.stringify(traceOf(facts))}\n`);
  console.log(`${facts.program.shown}#${facts.program.name}: ${facts.launches.length} launches, ${ms(facts.time)}; written: ${out}`);
}
