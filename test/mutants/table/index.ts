/** All mutants, by area. */
import type { Area, Mutant, Row } from '../mutant.ts';
import { attention } from './attention.ts';
import { batching } from './batching.ts';
import { c } from './c.ts';
import { cuda } from './cuda.ts';
import { fusion } from './fusion.ts';
import { groups } from './groups.ts';
import { interpreter } from './interpreter.ts';
import { jvp } from './jvp.ts';
import { kernels } from './kernels.ts';
import { passes } from './passes.ts';
import { planning } from './planning.ts';
import { shapes } from './shapes.ts';
import { sharding } from './sharding.ts';
import { text } from './text.ts';
import { transpose } from './transpose.ts';
import { tuning } from './tuning.ts';
import { wgsl } from './wgsl.ts';

const tables: { readonly [A in Area]: readonly Row[] } = {
  jvp,
  transpose,
  batching,
  'shape rules': shapes,
  passes,
  fusion,
  planning,
  kernels,
  attention,
  groups,
  tuning,
  C: c,
  WGSL: wgsl,
  CUDA: cuda,
  sharding,
  text,
  interpreter,
};

export const mutants: readonly Mutant[] = Object.entries(tables).flatMap(([area, rows]) =>
  rows.map((row): Mutant => ({ ...row, area: area as Area })),
);
