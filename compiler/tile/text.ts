/**
 * Text form of groups: the header that says what kernel it is and why it ends, and its nodes as a graph from what it reads to what it writes.
 * parse(print(g)) equals g.
 *
 *   group reduce reason="read by a contraction" scope="block/norm1" phase=fwd
 *   graph (%4: f32[257 384]) {
 *     %5: f32[257] = reduceSum(%4) axes=[1]
 *     return %5
 *   }
 */
import { FoveaError } from '../error.ts';
import { parse } from '../graph/parse.ts';
import { type PrintOptions, print } from '../graph/print.ts';
import type { Phase } from '../graph/types.ts';
import { type Group, type Template, templates } from './group.ts';

export const printGroup = ({ template, nodes, inputs, outputs, reason, scope, phase }: Group, options: PrintOptions = {}): string =>
  `group ${template} reason=${JSON.stringify(reason)} scope=${JSON.stringify(scope)} phase=${phase}\n${print({ params: inputs, nodes, results: outputs }, options)}`;

const quoted = String.raw`"(?:[^"\\]|\\.)*"`;
const header = new RegExp(String.raw`^group (\S+) reason=(${quoted}) scope=(${quoted}) phase=(fwd|bwd|opt)\n`);

/** Reads one group. Throws FV0102. */
export const parseGroup = (text: string): Group => {
  const [all, template, reason, scope, phase] = header.exec(text) ?? [];
  if (all === undefined || !templates.includes(template as Template))
    throw new FoveaError('FV0102', `line 1: expected a group, as in: group map reason="output of the step" scope="" phase=fwd`, {
      hint: `Templates are ${templates.join(', ')}.`,
    });
  const { params, nodes, results } = parse(text.slice(all.length));
  return {
    template: template as Template,
    nodes,
    inputs: params,
    outputs: results,
    reason: JSON.parse(reason as string) as string,
    scope: JSON.parse(scope as string) as string,
    phase: phase as Phase,
  };
};
