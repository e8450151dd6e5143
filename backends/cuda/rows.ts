/**
 * The parameters of a launch: a row for each of its parts, and, of kernels that fetch, the tensors of each. Printers and loaders agree on them; a loader needs
 * no printer for that.
 */
import type { Kernel, Stmt } from '../../compiler/kernel/types.ts';

export type TensorMap = Stmt & { readonly s: 'tensorMap' };

/** All statements, those in loops and branches too. */
export const flat = (body: readonly Stmt[]): readonly Stmt[] =>
  body.flatMap((s) => (s.s === 'for' ? [s, ...flat(s.body)] : s.s === 'if' ? [s, ...flat(s.body), ...flat(s.otherwise)] : [s]));
/** Tensors of which a kernel fetches boxes: in front of everything else that it does. */
export const tensorsOf = (k: Kernel): readonly TensorMap[] => k.body.filter((s) => s.s === 'tensorMap');

/** Bytes of a launch's parameters: what every driver takes, but for what lies between rows and tensors. */
const parameterBytes = 4096 - 64;
/** Of a tensor, as the driver describes it. */
export const tensorBytes = 128;
/** Of a row of parts: where it ends, and a pointer for each buffer; and its tensors. */
const rowBytes = (k: Kernel): number => 8 * (1 + k.buffers.length) + tensorBytes * tensorsOf(k).length;
/** Parts that one launch of a kernel may have at most. */
export const mostParts = (k: Kernel): number => 2 ** Math.floor(Math.log2(parameterBytes / rowBytes(k)));
