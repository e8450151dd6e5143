/** Seconds that a rank waits for others before it gives up; a compilation may come between. One setting for all carriers. */
import { FoveaError } from '../../compiler/error.ts';

export const patienceOf = (): number => {
  const text = process.env['FOVEA_MPI_TIMEOUT'] ?? '600';
  const n = Number(text);
  if (n > 0) return n;
  throw new FoveaError('FV0503', `FOVEA_MPI_TIMEOUT is '${text}': expected seconds`, { hint: 'For example: 600.' });
};
