/** The backends that the command knows, by name. Only here does a name stand for a backend. */
import { cpu } from '../backends/cpu/index.ts';
import { reference } from '../backends/reference/index.ts';
import { FoveaError } from '../compiler/error.ts';
import type { Backend } from '../index.ts';

const backends: Readonly<Record<string, () => Backend>> = { cpu: () => cpu(), reference: () => reference };

export const backendNames: readonly string[] = Object.keys(backends);

export const backendOf = (name: string): Backend => {
  const make = Object.hasOwn(backends, name) ? backends[name] : undefined;
  if (!make) throw new FoveaError('FV0303', `unknown backend '${name}'`, { hint: `Known backends: ${backendNames.join(', ')}.` });
  return make();
};
