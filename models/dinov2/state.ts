/**
 * Shapes and first values of what a training step takes: specs for tracing and compiling, host arrays for the first step. The
 * teacher starts as a copy of the student; moments and centers start at zero.
 *
 *   trace(trainStep(r), [stateSpec(r), batchSpec(r), hyperSpec()], { dims: geometry(r).sizes })
 *   let state = initState(r, 0);
 */
import { type HostOf, type SpecOf, host, init, paramSpecs, spec, treeMap } from '../../dsl/index.ts';
import type { Recipe } from '../recipes.ts';
import { geometry } from '../recipes/geometry.ts';
import { type Batch, type Hyper, type State, network } from './types.ts';
