/** Checkpoints of runs on one rank or many: written by all ranks together, read by any number of them. */
export { completeSteps, stepName } from './format.ts';
export { type Checkpoint, openCheckpoint } from './read.ts';
export { alone, type Peers, type Piece, writeCheckpoint } from './write.ts';
