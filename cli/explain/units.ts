/** Bytes and seconds as `explain` shows them. */
import { number } from '../bench/print.ts';

export const bytes = (n: number): string =>
  n < 1024 ? `${n} B` : n < 2 ** 20 ? `${number(n / 1024)} KiB` : n < 2 ** 30 ? `${number(n / 2 ** 20)} MiB` : `${number(n / 2 ** 30)} GiB`;
export const ms = (seconds: number): string => `${number(1e3 * seconds)} ms`;
