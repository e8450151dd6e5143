/** The laws of the compiler, in the order in which a program meets them. */
import { backendLaws } from './backend.ts';
import { derivativeLaws } from './derivatives.ts';
import { fuseLaws } from './fuse.ts';
import type { Law } from './law.ts';
import { passLaws } from './passes.ts';
import { planLaws } from './plan.ts';
import { precisionLaws } from './precision.ts';
import { randomLaws } from './random.ts';
import { rematLaws } from './remat.ts';
import { shardLaws } from './shard.ts';
import { stepLaws } from './steps.ts';
import { textLaws } from './text.ts';
import { verifyLaws } from './verify.ts';
import { vmapLaws } from './vmap.ts';

export const laws: readonly Law[] = [
  ...verifyLaws,
  ...textLaws,
  ...passLaws,
  ...derivativeLaws,
  ...rematLaws,
  ...vmapLaws,
  ...shardLaws,
  ...stepLaws,
  ...fuseLaws,
  ...precisionLaws,
  ...planLaws,
  ...backendLaws,
  ...randomLaws,
];
