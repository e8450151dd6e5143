/**
 * `fovea profile FILE#export`: one step as a trace that chrome://tracing and ui.perfetto.dev open: a bar for each launch, with the line it
 * comes from, on one row a phase, and the memory that is held beside it.
 *
 *   fovea profile examples/dinov2.ts#step --out step.trace.json
 *
 * Times of launches are measured one by one, each at its fastest of several runs, and stand one after the other: gaps between launches
 * and the other programs of the machine are not in it.
 */
import { writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { Command, Option } from 'commander';
import { FoveaError } from '../compiler/error.ts';
import { cannotWrite } from '../models/weights/index.ts';
import { backendNames } from './backends.ts';
import { type Facts, factsOf, showPlace } from './explain/facts.ts';
import { ms } from './explain/text.ts';
import { planBackend } from './explain.ts';
import { path, sizesOption } from './options.ts';
import { userProgram } from './program.ts';

interface ProfileOptions {
  readonly backend: string;
  readonly dims: Readonly<Record<string, number>>;
  readonly out: string;
  readonly precision: 'f32' | 'bf16' | 'f16';
}

export const profileCommand = (): Command =>
  new Command('profile')
    .description('measure a step, launch by launch, as a Chrome trace')
    .argument('<file[#export]>', "a module of yours; '#name' for one export, '#name(1, 2)' for what it returns")
    .option('--backend <name>', `one of ${backendNames.join(', ')}`, 'cpu')
    .option('--dims <sizes>', 'sizes by name, as in B=8,N=256', sizesOption('--dims'), {})
    .addOption(new Option('--precision <type>', 'operands of contractions').choices(['f32', 'bf16', 'f16']).default('f32'))
    .option('--out <file>', 'the trace', path('--out'), 'trace.json')
    .option('--debug', 'print the stack of an error')
    .action(runProfile);

const rows = { fwd: 1, bwd: 2, opt: 3 } as const;
const names = { fwd: 'forward', bwd: 'backward', opt: 'optimizer' } as const;

/** The trace-event format: times in microseconds. */
export const traceOf = ({ program, backend, launches, explanation }: Facts): object => {
  let at = 0;
  const events = launches.flatMap((l) => {
    const [from, dur] = [at, 1e6 * l.time];
    at += dur;
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
      { ph: 'X', name: l.label, cat: l.template, pid: 1, tid: rows[l.phase], ts: from, dur, args },
      { ph: 'C', name: 'memory', pid: 1, ts: from, args: { held: explanation.held[l.number] } },
    ];
  });
  const meta = (name: string, tid: number, value: string) => ({ ph: 'M', name, pid: 1, tid, args: { name: value } });
  return {
    displayTimeUnit: 'ms',
    traceEvents: [
      meta('process_name', 0, `${program.shown}#${program.name} on ${backend.name}`),
      ...Object.entries(rows).map(([phase, tid]) => meta('thread_name', tid, names[phase as keyof typeof names])),
      ...events,
    ],
  };
};

async function runProfile(target: string, { backend: name, dims, out, precision }: ProfileOptions): Promise<void> {
  const facts = await factsOf(await userProgram(target, { dims }), await planBackend(name), { precision, measure: true });
  if (facts.measured === undefined || facts.launches.length === 0)
    throw new FoveaError('FV0503', `${target}: there are no launches to measure`, { hint: 'A program that computes nothing has none.' });
  const file = resolve(out);
  try {
    writeFileSync(file, `${JSON.stringify(traceOf(facts))}\n`);
  } catch (e) {
    throw cannotWrite(file, e);
  }
  console.log(`${facts.program.shown}#${facts.program.name}: ${facts.launches.length} launches, ${ms(facts.time)}; written: ${out}`);
}
