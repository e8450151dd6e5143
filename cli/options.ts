/** Readers of option values: what cannot be meant is refused here, before anything is loaded. */
import { Option } from 'commander';
import { FoveaError } from '../compiler/error.ts';
import type { Tune } from '../index.ts';

const max = 1e9;

/** A whole number from `min` on. FV0503. */
export const whole =
  (name: string, min: number) =>
  (text: string): number => {
    const n = /^\d+$/.test(text) ? Number(text) : Number.NaN;
    if (!(n >= min && n <= max))
      throw new FoveaError('FV0503', `${name} ${text || "''"}: expected a whole number from ${min} to ${max}`, {
        hint: `For example: ${name} 100.`,
      });
    return n;
  };

/** A number above 0, a decimal too. FV0503. */
export const positive =
  (name: string) =>
  (text: string): number => {
    const n = /^(\d+(\.\d*)?|\.\d+)$/.test(text) ? Number(text) : Number.NaN;
    if (!(n > 0 && n <= max))
      throw new FoveaError('FV0503', `${name} ${text || "''"}: expected a number above 0, at most ${max}`, {
        hint: `For example: ${name} 12.5.`,
      });
    return n;
  };

/** A path; an empty one (an unset variable of a shell) would silently be the current folder. FV0503. */
export const path =
  (name: string) =>
  (text: string): string => {
    if (text.trim() === '' || text.includes('\0'))
      throw new FoveaError('FV0503', `${name}: expected a path, got '${text.replaceAll('\0', '\\0')}'`, {
        hint: 'The current folder is called . (a dot).',
      });
    return text;
  };

/** All of them; as a table, so that the compiler, which is long to load, need not be asked. */
const tunes: Readonly<Record<Tune, true>> = { never: true, cached: true, measure: true };

/** Where the schedules of kernels come from, as `compile` takes it. */
export const tuneOption = (): Option =>
  new Option('--tune <how>', 'schedules: chosen by the model, cached ones of earlier measurements, or measure what has none')
    .choices(Object.keys(tunes))
    .default('never');

/** `B=8,N=16`. FV0503. */
export const sizesOption =
  (option: string) =>
  (text: string): Record<string, number> => {
    const sizes: Record<string, number> = {};
    for (const part of text.split(',')) {
      const [, name, n] = part.trim().match(/^(\.\.\.\d+|[A-Za-z_]\w*)=(\d+)$/) ?? [];
      if (name === undefined)
        throw new FoveaError('FV0503', `${option} ${text}: '${part}' is no size`, { hint: `For example: ${option} B=2,N=3.` });
      if (name in sizes)
        throw new FoveaError('FV0503', `${option} ${text}: ${name} is given twice`, { hint: `For example: ${option} B=2,N=3.` });
      sizes[name] = Number(n);
    }
    return sizes;
  };

export const emulateOption = (): Option =>
  new Option('--emulate', 'with --backend cuda: its kernels on the processor, with every access checked');
