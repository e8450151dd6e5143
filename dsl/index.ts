/**
 * The language, in one place. Models import from here and from nowhere else.
 *
 *   import { einsum, module, param, softmax, type DimArg } from '../dsl/index.ts';
 */
export { composite, gelu, layerNorm, logSoftmax, relu, sigmoid, silu, softmax } from './composites.ts';
export { phase, scope } from './context.ts';
export { einsum, matmul } from './contract.ts';
export { constant, expand, full, iota, oneHot, ones, scalar, zeros } from './create.ts';
export { abs, cos, erf, exp, floor, gather, log, rsqrt, scatterAdd, sign, sin, sqrt, stopGradient, tanh, where } from './functions.ts';
export { type HostData, type HostOf, type HostTensor, host, isHostTensor, isLazyTensor, type LazyTensor } from './host.ts';
export { type Init, initializers } from './init.ts';
export { apply, fn, isModule, type Module, module, type Param, type Params, param, repeat, signatureOf } from './module.ts';
export { init, type Leaf, leaves, mask, paramSpecs, pathTree, type SpecOf, spec, type TensorOf, type TensorSpec } from './params.ts';
export { concat, pad, slice, split, stack, unbind } from './parts.ts';
export { argmax, cumsum, max, mean, min, rearrange, reverse, sum } from './patterns.ts';
export { random } from './random.ts';
export { perShard } from './shards.ts';
export { type DimArg, minus, over, plus, type Size, size, times } from './sizes.ts';
export type { AnyTensor, DType, F32, Key, Operand, Scalar, ShapeOf, Tensor } from './tensor.ts';
export { type IoLeaf, type Traced, type TraceOptions, trace } from './trace.ts';
export { checkpoint, grad, jvp, scan, valueAndGrad, vmap } from './transforms.ts';
export { flatten, type Leafwise, leafMark, type Paths, rebuild, type Tree, treeLeaves, treeMap, treeMapWithPath } from './tree.ts';
export type { Callable } from './types/signature.ts';
