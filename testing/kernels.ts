/**
 * Runs a graph the way a backend would: fuse, lower, verify, and execute every kernel with the kernel interpreter. Buffers between
 * kernels are memory that starts as zeros; a kernel that reads what no other wrote is refused.
 */
import { fuse } from '../compiler/fuse/fuse.ts';
import { isEmpty, type Tensor64 } from '../compiler/graph/tensor64.ts';
import type { Graph, HostData, Node, Value } from '../compiler/graph/types.ts';
import { interpretKernel } from '../compiler/kernel/interpret.ts';
import type { Kernel } from '../compiler/kernel/types.ts';
import { verifyKernel } from '../compiler/kernel/verify.ts';
import { withElements } from '../compiler/plan/build.ts';
import type { Schedules, Target } from '../compiler/target.ts';
import { sizeOf } from '../compiler/tile/emit.ts';
import { lower } from '../compiler/tile/lower.ts';
import { decode, encode, hostArray } from './host.ts';

type Memory = ReadonlyMap<Value, HostData>;
/** Told of each kernel and its buffers by name, before it runs. */
export type Watch = (kernel: Kernel, named: Readonly<Record<string, HostData>>) => void;

/** What `lower` takes beside the target, and who is told of each kernel. */
interface How {
  readonly schedules?: Schedules;
  readonly watch?: Watch;
}
const execute = (g: Graph, target: Target, inputs: Memory, { schedules, watch }: How = {}): readonly HostData[] => {
  const f = fuse(g, target);
  const memory = new Map<Value, HostData>(g.params.map((p) => [p, inputs.get(p) as HostData]));
  for (const c of f.constants) memory.set(c.value, encode({ type: c.value.type, data: Float64Array.from(c.data) }));
  for (const group of f.groups) {
    const { kernel, buffers } = lower(group, target, schedules);
    verifyKernel(kernel);
    if (buffers.length > target.maxBuffers && group.nodes.length > 1)
      throw new Error(`${buffers.length} buffers: ${group.nodes.map((n) => n.op.prim).join(' ')}`);
    const named: Record<string, HostData> = {};
    buffers.forEach((v, i) => {
      const old = memory.get(v);
      if (!old && i < group.inputs.length && !isEmpty(v.type)) throw new Error(`%${v.id} is read before it is written`);
      const data = old ?? hostArray(v.type.dtype, sizeOf(v));
      memory.set(v, data);
      named[`b${i}`] = data;
    });
    watch?.(kernel, named);
    // blocks may run in any order, so also in this one
    interpretKernel(kernel, named, { order: 'reverse' });
  }
  return f.results.map((r) => memory.get(r) as HostData);
};

/** Results as numbers, none where a value has no elements. */
const decoded = (g: Graph, dataOf: (v: Value) => HostData | undefined): readonly ArrayLike<number>[] =>
  g.results.map((v) => (isEmpty(v.type) ? [] : decode(v.type.dtype, dataOf(v) as HostData)));

const memoryOf = (g: Graph, args: readonly Tensor64[]): Map<Value, HostData> =>
  new Map(g.params.map((p, i) => [p, encode(args[i] as Tensor64)]));

/** Results of the fused kernels of a graph that went through the passes, as numbers. */
export const runKernels = (g: Graph, target: Target, args: readonly Tensor64[], how: How = {}): readonly ArrayLike<number>[] => {
  const some = withElements(g);
  const outs = execute(some, target, memoryOf(g, args), how);
  return decoded(g, (v) => outs[some.results.indexOf(v)]);
};

const lone = (n: Node): Graph => {
  const params = [...new Set(n.inputs)];
  return { params, nodes: [n], results: n.outputs };
};
/** As runKernels, with a kernel for each node: nothing is fused. */
export const runUnfused = (g: Graph, target: Target, args: readonly Tensor64[]): readonly ArrayLike<number>[] => {
  const memory = memoryOf(g, args);
  for (const n of withElements(g).nodes) {
    const outs = execute(lone(n), target, memory);
    n.outputs.forEach((o, i) => memory.set(o, outs[i] as HostData));
  }
  return decoded(g, (v) => memory.get(v));
};
