/**
 * Property tests, for any test runner: gradients of functions of the language; random programs that shrink, the error bound of a
 * program, and the laws that hold the compiler itself.
 *
 *   import { arbitraryProgram } from 'fovea/testing';
 *   fc.assert(fc.property(arbitraryProgram(), (p) => ...));
 */
export { type Bounded, bounded, type Comparison, compare, type Precision } from './bound.ts';
export { type Failure, type FuzzOptions, type FuzzReport, fuzz, programOf, tryProgram } from './fuzz.ts';
export { type ArgsOf, checkGradients, type GradientOptions } from './gradients.ts';
export type { Place } from './gradients-blame.ts';
export type { Check, CheckOptions, GradientReport, Law as GradientLaw } from './gradients-check.ts';
export { checkDeclared, type DeclaredOptions, type DeclaredReport, declaredSizes } from './gradients-declared.ts';
export { formatReport } from './gradients-report.ts';
export { laws } from './laws/index.ts';
export type { Context, Law } from './laws/law.ts';
export { type Observation, observe, type Variants } from './observe.ts';
export {
  type ArbitraryOptions,
  allPrims,
  arbitraryGraph,
  arbitraryInputs,
  arbitraryProgram,
  type Program,
  smoothPrims,
  transforms,
} from './program.ts';
export { parseProgram, printProgram } from './program-text.ts';
export {
  arbitraryShape,
  arbitraryShapes,
  arbitraryTensor,
  type ShapeOptions,
  type Shapes,
  type Sizes,
  type TensorOptions,
} from './tensors.ts';
