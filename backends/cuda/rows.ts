/** The one parameter of a launch: a row for each of its parts. Printers and loaders agree on it; a loader needs no printer for that. */
import type { Kernel } from '../../compiler/kernel/types.ts';

/** Bytes of a launch's parameters: what every driver takes. */
const parameterBytes = 4096;
/** Of a row of parts: where it ends, and a pointer for each buffer. */
const rowBytes = (k: Kernel): number => 8 * (1 + k.buffers.length);
/** Parts that one launch of a kernel may have at most. */
export const mostParts = (k: Kernel): number => 2 ** Math.floor(Math.log2(parameterBytes / rowBytes(k)));
