/**
 * How a step of a random program applies each primitive: one row a primitive, so that a new primitive without a row does not
 * compile. A row gives the new values with a bound on their size; an empty list means that nothing fits and the step is void.
 */
import type { Prim } from '../../compiler/graph/types.ts';
import { arrays } from './arrays.ts';
import type { Row } from './grow.ts';
import { pointwise } from './pointwise.ts';
import { regions } from './regions.ts';

/** A seed's program depends on the order: new rows go to the end. */
export const rows: { readonly [P in Prim]: Row } = { ...pointwise, ...arrays, ...regions };
