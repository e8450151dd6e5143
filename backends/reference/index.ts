/**
 * The reference backend: the float64 interpreter of graphs. Slow, plain, and the truth that every other backend is tested
 * against. Floats are computed and returned in float64, whatever their dtype.
 */
import { FoveaError } from '../../compiler/error.ts';
import { showType } from '../../compiler/graph/infer.ts';
import { interpret } from '../../compiler/graph/interpret.ts';
import { countOf, type Tensor64, tensor64 } from '../../compiler/graph/tensor64.ts';
import { type DType, type Graph, type HostData, isFloat, type TensorType } from '../../compiler/graph/types.ts';
import type { Backend, Executable } from '../../compiler/target.ts';

/** Any width of float array will do for a float, bits only for the dtype whose bits they are. */
const accepts = (dtype: DType, data: HostData): boolean => {
  if (isFloat(dtype))
    return data instanceof Float64Array || data instanceof Float32Array || (dtype !== 'f32' && data instanceof Uint16Array);
  return dtype === 'i32' ? data instanceof Int32Array : dtype === 'u32' ? data instanceof Uint32Array : data instanceof Uint8Array;
};

const fromBits = (dtype: DType, bits: number): number => {
  const sign = bits & 0x8000 ? -1 : 1;
  const [exponentBits, bias] = dtype === 'f16' ? [5, 15] : [8, 127];
  const fractionBits = 15 - exponentBits;
  const top = 2 ** exponentBits - 1;
  const exponent = (bits >> fractionBits) & top;
  const fraction = (bits & (2 ** fractionBits - 1)) / 2 ** fractionBits;
  if (exponent === top) return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  return sign * (exponent === 0 ? fraction * 2 ** (1 - bias) : (1 + fraction) * 2 ** (exponent - bias));
};

const prepare = (graph: Graph, aliases: readonly number[]): Executable => {
  const inputs = graph.params.map((p) => p.type);
  const outputs = graph.results.map((r) => r.type);
  const held: (Tensor64 | undefined)[] = inputs.map(() => undefined);
  let results: readonly Tensor64[] | undefined;
  let disposed = false;
  const alive = (): void => {
    if (disposed) throw new FoveaError('FV0304', 'the program was disposed');
  };
  return {
    inputs,
    outputs,
    aliases,
    write: (i, data) => {
      alive();
      const type = inputs[i];
      if (!type) throw new FoveaError('FV0305', `there is no input ${i + 1}, only ${inputs.length}`);
      if (!accepts(type.dtype, data) || data.length !== countOf(type))
        throw new FoveaError(
          'FV0305',
          `input ${i + 1}: expected ${showType(type)}, got ${data.length} elements of ${data.constructor.name}`,
        );
      held[i] = tensor64(type, data instanceof Uint16Array ? Float64Array.from(data, (bits) => fromBits(type.dtype, bits)) : data);
    },
    run: async () => {
      alive();
      const args = held.map((t, i) => {
        if (!t) throw new FoveaError('FV0305', `input ${i + 1}, ${showType(inputs[i] as TensorType)}, was never written`);
        return t;
      });
      results = interpret(graph, args);
      aliases.forEach((input, o) => {
        if (input >= 0) held[input] = (results as readonly Tensor64[])[o];
      });
    },
    read: (o) => {
      alive();
      const r = results?.[o];
      if (!r) throw new FoveaError('FV0304', 'the program has not run yet');
      return r.data.slice();
    },
    dispose: () => {
      disposed = true;
      results = undefined;
      held.fill(undefined);
    },
  };
};

export const reference: Backend = { kind: 'graph', name: 'reference', prepare: async (graph, aliases) => prepare(graph, aliases) };
