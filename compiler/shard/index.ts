/**
 * FSDP as passes. `place` turns a bound, differentiated step for one device into the program of one rank; the passes of the compiler run on that
 * program as on any other; `transfers` turns its collectives into starts and waits. The table of contents:
 *
 *   plan.ts        what the user says -> where each input and result lies
 *   propagate.ts   where every value lies: one rule a primitive (rules.ts), reshards where rules disagree
 *   localise.ts    shapes of one rank; reshards become collectives (move.ts)
 *   cast-first.ts  what is read as bf16 is gathered as bf16
 *   bucket.ts      collectives of a unit become one
 *   schedule.ts    starts and waits, moved apart
 *   verify-terms.ts, verify.ts   no term of a sum is taken for the sum; the schedule is sound, and means what it did
 */

import type { Graph } from '../graph/types.ts';
import { verify } from '../graph/verify.ts';
import { bucket } from './bucket.ts';
import { castFirst } from './cast-first.ts';
import { localise } from './localise.ts';
import type { Mesh } from './placement.ts';
import type { Placing, ShardPlan } from './plan.ts';
import { propagate } from './propagate.ts';
import { schedule, split } from './schedule.ts';
import { verifySchedule } from './verify.ts';
import { verifyTerms } from './verify-terms.ts';

/** Regions must be inlined, but for attention and perShard. The program of one rank; its last parameter is the rank's number. */
export const place = (g: Graph, { mesh, layout }: Placing): Graph => {
  const placed = propagate(g, mesh, layout);
  verifyTerms(placed, mesh);
  const own = localise(placed, mesh, layout.reduceAs);
  verify(own);
  return own;
};

/** The passes that end the pipeline of a program for one rank. */
export const transfers = (mesh: Mesh, { prefetch = 1, gatheredBytes = Number.POSITIVE_INFINITY, bucketBytes }: ShardPlan) =>
  [
    ['cast first', castFirst],
    [
      'transfers',
      (g: Graph): Graph => {
        const made = [bucket(bucketBytes), split, schedule({ prefetch, gatheredBytes })].reduce((x, pass) => pass(x), g);
        verifySchedule(made, mesh, g);
        return made;
      },
    ],
  ] as const;
