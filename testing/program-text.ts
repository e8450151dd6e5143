/**
 * A program as text: its IR, then a line of numbers for each argument. What `fovea fuzz` prints, and what a regression test keeps.
 *
 *   graph (%0 x0: f32[2]) {
 *     %1: f32[2] = exp(%0)
 *     return %1
 *   }
 *   %0 = [0, -0.5]
 */
import { FoveaError } from '../compiler/error.ts';
import { parse } from '../compiler/graph/parse.ts';
import { print } from '../compiler/graph/print.ts';
import { tensor64 } from '../compiler/graph/tensor64.ts';
import { verify } from '../compiler/graph/verify.ts';
import type { Program } from './program.ts';

const number = (x: number): string => (Object.is(x, -0) ? '-0' : `${x}`);

export const printProgram = ({ graph, inputs }: Program): string =>
  [
    print(graph, { meta: false }).trimEnd(),
    ...inputs.map((t, i) => `%${graph.params[i]?.id} = [${Array.from(t.data, number).join(', ')}]`),
    '',
  ].join('\n');

/** The program of a text. FV0102 where it cannot be read or lacks an argument, FV0101 where the graph is malformed. */
export const parseProgram = (text: string): Program => {
  const end = text.search(/^\}$/m) + 1;
  const graph = parse(text.slice(0, end));
  verify(graph);
  const lines = new Map([...text.slice(end).matchAll(/^%(\d+) = \[(.*)\]$/gm)].map((m) => [Number(m[1]), m[2] as string]));
  const inputs = graph.params.map(({ id, type }) => {
    const line = lines.get(id);
    if (line === undefined)
      throw new FoveaError('FV0102', `there is no argument for %${id}`, { hint: `After the graph stands a line such as %${id} = [0, 1].` });
    return tensor64(type, line === '' ? [] : line.split(', ').map(Number));
  });
  return { graph, inputs };
};
