/**
 * The reference backend: the float64 interpreter of graphs. Slow, plain, and the truth that every other backend is tested
 * against. Floats are computed and returned in float64, whatever their dtype.
 */
import { FoveaError } from '../../compiler/error.ts';
import { showType } from '../../compiler/graph/infer.ts';
import { interpret } from '../../compiler/graph/interpret.ts';
import { countOf, type Tensor64, tensor64 } from '../../compiler/graph/tensor64.ts';
import { type DType, type Graph, isFloat, type TensorType } from '../../compiler/graph/types.ts';
import type { Backend, Executable, HostData } from '../../compiler/target.ts';

const accepts = (dtype: DType, data: HostData): boolean => {
  if (isFloat(dtype)) return data instanceof Float64Array || data instanceof Float32Array;
  return dtype === 'i32' ? data instanceof Int32Array : dtype === 'u32' ? data instanceof Uint32Array : data instanceof Uint8Array;
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
      const type = inputs[i] as TensorType;
      if (!accepts(type.dtype, data) || data.length !== countOf(type))
        throw new FoveaError('FV0305', `input ${i + 1}: expected ${showType(type)}, got ${data.length} elements of ${data.constructor.name}`);
      held[i] = tensor64(type, data);
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
