/**
 * Plans as text, to keep them and to carry them elsewhere. The first line has the version of the format and a checksum of the rest, which
 * is one JSON document; kernels are in it as print.ts of compiler/kernel writes them. parsePlan(printPlan(p)) equals p, numbers included
 * (NaN, -0, infinities). Text that is damaged, cut off or of another version is refused with FV0203.
 *
 *   fovea plan 2 5f0c3a9be2117d40
 *   {"key":"9b1c...","nodes":8183,"arenaBytes":4096,"inputs":[{"type":{"dtype":"f32","shape":[4]},"offset":0,...
 *
 * Kernels are most of the text, and who runs a plan whose kernels are compiled never looks at them: they are parsed when they are asked for.
 * The checksum finds damage, it proves no origin: a plan is as trusted as the folder it lies in.
 */
import { FoveaError } from '../error.ts';
import { parseKernel } from '../kernel/parse.ts';
import { printKernel } from '../kernel/print.ts';
import type { Kernel } from '../kernel/types.ts';
import type { Plan } from './types.ts';

/** Raised with every change of the format. */
const version = 2;
const title = 'fovea plan';

/** A plan and what it was made of. */
export interface SavedPlan {
  readonly plan: Plan;
  /** Its name: key.ts. */
  readonly key: string;
  /** Of the graph that was lowered: what the report says beside the plan. */
  readonly nodes: number;
}

/** 64 bits of all characters and their order, in hexadecimal. */
const checksum = (text: string): string => {
  let [a, b] = [0x811c9dc5, 0x9747b28c];
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i);
    a = Math.imul(a ^ c, 0x01000193);
    b = Math.imul((b ^ c) + (b << 13), 0x5bd1e995) ^ (b >>> 15);
  }
  return [a, b].map((x) => (x >>> 0).toString(16).padStart(8, '0')).join('');
};

// what JSON has no numbers for stands in quotes
const written = (x: number): number | string => (Number.isFinite(x) && !Object.is(x, -0) ? x : Object.is(x, -0) ? '-0' : String(x));

/** A plan as it stands in the document. */
type Flat = Omit<Plan, 'kernels' | 'constants'> & {
  readonly key: string;
  readonly nodes: number;
  readonly kernels: readonly string[];
  readonly constants: readonly { readonly slot: Plan['constants'][number]['slot']; readonly data: readonly (number | string)[] }[];
};

export const printPlan = ({ plan, key, nodes }: SavedPlan): string => {
  // in this order, whoever made the plan: equal plans are equal texts
  const flat: Flat = {
    key,
    nodes,
    arenaBytes: plan.arenaBytes,
    inputs: plan.inputs,
    outputs: plan.outputs,
    aliases: plan.aliases,
    launches: plan.launches.map(({ loc: _, ...l }) => l),
    collectives: plan.collectives,
    events: plan.events,
    constants: plan.constants.map(({ slot, data }) => ({ slot, data: data.map(written) })),
    lifetimes: plan.lifetimes,
    chosen: plan.chosen,
    kernels: plan.kernels.map(printKernel),
  };
  const text = JSON.stringify(flat);
  return `${title} ${version} ${checksum(text)}\n${text}\n`;
};

const refuse = (why: string): never => {
  throw new FoveaError('FV0203', `plan text: ${why}`, { hint: 'Compile the program again.' });
};

/** Throws FV0203. */
export const parsePlan = (text: string): SavedPlan => {
  const end = text.indexOf('\n');
  const [, of, sum] =
    /^fovea plan (\d+) ([0-9a-f]{16})$/.exec(text.slice(0, Math.max(0, end))) ?? refuse(`it does not begin with '${title}'`);
  if (Number(of) !== version) refuse(`it is of version ${of}, this is version ${version}`);
  const body = text.slice(end + 1, -1);
  if (!text.endsWith('\n') || checksum(body) !== sum) refuse('it is damaged: its checksum does not fit');
  const { key, nodes, kernels: texts, constants, ...rest } = JSON.parse(body) as Flat;
  let kernels: readonly Kernel[] | undefined;
  const plan: Plan = {
    ...rest,
    constants: constants.map(({ slot, data }) => ({ slot, data: data.map(Number) })),
    get kernels() {
      kernels ??= texts.map(parseKernel);
      return kernels;
    },
  };
  return { plan, key, nodes };
};
