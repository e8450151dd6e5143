/** Views, as the passes that move collectives see them: elements of a tensor in another order or shape, without arithmetic. */
import type { Prim } from '../graph/types.ts';

/** Each element is one of the operand's: to cast the operand is to cast the view. */
export const cuts: ReadonlySet<Prim> = new Set<Prim>(['reshape', 'slice', 'transpose']);
/** Made wherever they are read: they have no time of their own. */
export const views: ReadonlySet<Prim> = new Set<Prim>([...cuts, 'broadcast', 'pad', 'reverse']);
