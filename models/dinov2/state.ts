/**
 * Shapes and first values of what a training step takes: specs for tracing and compiling, host arrays for the first step. The
 * teacher starts as a copy of the student; moments and centers start at zero.
 *
 *   trace(trainStep(r), [stateSpec(r), batchSpec(r), hyperSpec()], { dims: geometry(r).sizes })
 *   let state = initState(r, 0);
 */
import {
  type HostOf,
  type HostTensor,
  host,
  init,
  leaves,
  paramSpecs,
  type SpecOf,
  spec,
  treeMap,
  treeMapWithPath,
} from '../../dsl/index.ts';
import type { Hyper } from '../optimizer.ts';
import { geometry } from '../recipes/geometry.ts';
import type { Recipe } from '../recipes.ts';
import { initLossScale, lossScaleSpec } from '../scaling.ts';
import { type Schedules, schedules } from '../schedules.ts';
import type { VitParams } from '../vit.ts';
import { type Batch, type Network, network, type State } from './types.ts';

/** Shapes of the state of a run. */
export const stateSpec = (r: Recipe): SpecOf<State> => {
  const params = paramSpecs(network(r));
  return {
    student: params,
    teacher: params,
    moments: { first: params, second: params, weight: { first: spec(''), second: spec('') } },
    step: spec('', 'i32'),
    ...(r.centering === 'softmax'
      ? { centers: { dino: { value: spec('1 K'), pending: spec('1 K') }, ibot: { value: spec('1 J'), pending: spec('1 J') } } }
      : {}),
    ...(r.optim.lossScale === 'dynamic' ? { scaling: lossScaleSpec() } : {}),
  };
};

/** Shapes of a batch, over the names of geometry(r).sizes. */
export const batchSpec = (r: Recipe): SpecOf<Batch> => ({
  global: spec('2*B 3 S S'),
  local: spec('L*B 3 Z Z'),
  masks: spec('2*B N', 'bool'),
  maskIndices: spec('U', 'i32'),
  maskWeights: spec('U'),
  maskCount: spec(''),
  ...(r.dropPath.rate > 0
    ? {
        keep: geometry(r).kept.map((counts) => {
          const lists = counts.map((n) => spec(`${n}` as string, r.dropPath.form === 'mask' ? 'f32' : 'i32'));
          return { attn: lists, ffn: lists };
        }),
      }
    : {}),
});

export const hyperSpec = (): SpecOf<Hyper> => ({
  lr: spec(''),
  lastLayerLr: spec(''),
  weightDecay: spec(''),
  momentum: spec(''),
  teacherTemp: spec(''),
});

/** As treeMap, which is typed for traced tensors, on trees of host tensors. */
const mapHosts = <P>(f: (x: HostTensor) => HostTensor, tree: P): P => treeMap(f as never, tree);

/** First values as the modules declare them, linear layers and positions spread as the recipe says. */
const startOf = (r: Recipe, seed: number): HostOf<Network> => {
  const net = network(r);
  const declared = new Map(leaves(net).map((l) => [l.path, l.init]));
  const spread = (path: string, x: HostTensor): HostTensor => {
    const first = declared.get(path);
    if (first?.kind !== 'truncNormal') return x;
    const factor = (path.endsWith('pos_embed') ? r.start.positions : r.start.linear) / first.std;
    return { ...x, data: Float32Array.from(x.data, (v) => v * factor) };
  };
  return treeMapWithPath<HostOf<Network>, HostTensor, HostTensor>(spread, init(net, seed)) as HostOf<Network>;
};

/**
 * The state before the first step; the same bits on every machine for a seed. `backbone`: parameters that the student starts from, and
 * so the teacher, in place of first values.
 */
export const initState = (r: Recipe, seed: number, { backbone }: { readonly backbone?: HostOf<VitParams> } = {}): HostOf<State> => {
  const fresh = startOf(r, seed);
  const student = backbone ? { ...fresh, backbone } : fresh;
  const copy = (x: HostTensor): HostTensor => ({ ...x, data: x.data.slice() });
  const zero = (x: HostTensor): HostTensor => host(new Float32Array(x.data.length), x.shape);
  const scalar = (): HostTensor => host(new Float32Array(1), []);
  const { K, J } = geometry(r).sizes;
  const center = (k: number) => ({ value: host(new Float32Array(k), [1, k]), pending: host(new Float32Array(k), [1, k]) });
  return {
    student,
    teacher: mapHosts(copy, student),
    moments: { first: mapHosts(zero, student), second: mapHosts(zero, student), weight: { first: scalar(), second: scalar() } },
    step: host(new Int32Array(1), [], 'i32'),
    ...(r.centering === 'softmax' ? { centers: { dino: center(K), ibot: center(J) } } : {}),
    ...(r.optim.lossScale === 'dynamic' ? { scaling: initLossScale() } : {}),
  };
};

/** The scalars of one step of a run. */
export const hyperAt = (r: Recipe, devices = 1): ((iteration: number) => HostOf<Hyper>) => {
  const s: Schedules = schedules(r, devices);
  const scalar = (x: number): HostTensor => host(Float32Array.of(x), []);
  return (i) => ({
    lr: scalar(s.lr(i)),
    lastLayerLr: scalar(s.lastLayerLr(i)),
    weightDecay: scalar(s.weightDecay(i)),
    momentum: scalar(s.momentum(i)),
    teacherTemp: scalar(s.teacherTemp(i)),
  });
};
