/** Rows of what has a body, of random bits and of what a mesh knows. */
import type { Builder } from '../../compiler/graph/builder.ts';
import { isFloat, type Op, type Placement, type Prim, type TensorType, type Value } from '../../compiler/graph/types.ts';
import { composites, randoms } from '../words.ts';
import { all, type Grow, type Row, rank, size } from './grow.ts';

const inner: readonly Prim[] = [
  'add',
  'mul',
  'sin',
  'tanh',
  'sub',
  'neg',
  'max',
  'select',
  'compare',
  'reshape',
  'transpose',
  'reduceSum',
  'broadcast',
  'call',
  'cast',
  'exp',
  'dot',
];

type Argument = { readonly type: TensorType; readonly bound: number };
const of = (g: Grow, v: Value): Argument => ({ type: v.type, bound: g.boundOf(v) });
const grown = (g: Grow, args: readonly Argument[], steps: number): Grow => {
  const s = g.sub(args);
  for (let i = 0; i < steps; i++) s.step(s.depth < 3 ? inner : inner.filter((p) => p !== 'call'));
  return s;
};

const region =
  (op: (body: ReturnType<Builder['build']>, g: Grow) => Op): Row =>
  (g) => {
    if (g.depth >= 3) return [];
    const args = g.pick(2) === 0 ? [g.any(all)] : [g.any(all), g.any(all)];
    const s = grown(
      g,
      args.map((v) => of(g, v)),
      1 + g.pick(3),
    );
    const results = s.pool.slice(-1 - g.pick(2));
    const outs = g.b.emit(op(s.b.build(results), g), args);
    return outs.map((o, i) => [o, s.boundOf(results[i] as Value)]);
  };

const placements: readonly Placement[] = ['R', 'P', { split: 0 }, { split: 1 }];
const tags = ['softmax', 'checkpoint', 'odd "tag"', 'gelu'];

const ownCall = region((body, g) => ({ prim: 'call', tag: tags[g.pick(4)] as string, body }));

export const regions = {
  randomBits: (g) => {
    if (g.depth === 0 && g.pick(2) === 1) return (randoms[g.pick(randoms.length)] as Row)(g);
    const key = g.where(
      (v) => v.type.dtype === 'u32' && rank(v) === 1 && size(v, 0) === 2,
      () => g.b.one({ prim: 'array', data: [g.pick(9), g.pick(9)], shape: [2], dtype: 'u32' }, []),
    );
    const shape = g.shape();
    return g.fits(shape) ? [[g.b.one({ prim: 'randomBits', shape }, [key]), 1]] : [];
  },
  // at the top level, every second call is one of the language's own composites
  call: (g) => (g.depth === 0 && g.pick(2) === 1 ? (composites[g.pick(composites.length)] as Row)(g) : ownCall(g)),
  scan: (g) => {
    if (g.depth >= 2) return [];
    // mostly a tensor as it is, so that its slices differ and their order matters
    const made = (): Value => g.settle(g.b.one({ prim: 'array', data: [1, -0.5, 0.25], shape: [3], dtype: 'f32' }, []), 1);
    const x = g.where((v) => rank(v) > 0 && size(v, 0) <= 3, made);
    const length = size(x, 0);
    const [carry, constant] = [g.any(all), g.any(all)];
    const slice = { type: { dtype: x.type.dtype, shape: x.type.shape.slice(1) }, bound: g.boundOf(x) };
    const s = grown(g, [of(g, carry), of(g, constant), slice], 1 + g.pick(3));
    const y = s.pool[s.pool.length - 1] as Value;
    const next = s.where(
      (v) => v.type.dtype === carry.type.dtype && `${v.type.shape}` === `${carry.type.shape}`,
      () => s.pool[0] as Value,
    );
    const b = s.b;
    const inner = s.pool[2] as Value;
    /** Half of the old carry and a number from the slice: the order of steps matters. */
    const mixed = (): Value => {
      const wide = b.cast(inner, 'f32');
      const total = b.sum(
        wide,
        wide.type.shape.map((_, i) => i),
      );
      const term = b.cast(total, next.type.dtype);
      const { shape } = next.type;
      return b.add(b.mul(next, b.fill(0.5, next.type)), shape.length === 0 ? term : b.broadcast(term, shape, []));
    };
    const float = isFloat(next.type.dtype);
    const mixes = float && g.pick(2) === 1;
    // the bound of a carry must hold for every step
    const bounded =
      !mixes && s.boundOf(next) <= g.boundOf(carry)
        ? next
        : float
          ? b.mul(b.tanh(mixes ? mixed() : next), b.fill(Math.min(1, g.boundOf(carry)), next.type))
          : next;
    if (!g.fits([length, ...y.type.shape])) return [];
    const op: Op = { prim: 'scan', length, carries: 1, constants: 1, reverse: g.pick(2) === 1, body: b.build([bounded, y]) };
    const outs = g.b.emit(op, [carry, constant, x]);
    return [
      [outs[0] as Value, Math.max(1, g.boundOf(carry))],
      [outs[1] as Value, s.boundOf(y)],
    ];
  },
  reshard: (g) => {
    const x = g.any(all);
    const [from, to] = [placements[g.pick(4)] as Placement, placements[g.pick(4)] as Placement];
    return [[g.b.one({ prim: 'reshard', axis: 'data', from, to }, [x]), g.boundOf(x)]];
  },
  axisIndex: (g) => [[g.b.one({ prim: 'axisIndex', axis: 'data' }, []), 1]],
  perShard: (g) => {
    if (g.depth >= 2) return [];
    const made = (): Value => g.settle(g.b.one({ prim: 'array', data: [1, -0.5, 0.25], shape: [3], dtype: 'f32' }, []), 1);
    const x = g.where((v) => rank(v) > 0 && size(v, 0) <= 4, made);
    const y = g.where(
      (v) => rank(v) > 0 && size(v, 0) === size(x, 0),
      () => x,
    );
    const own = (v: Value): Argument => ({ type: { dtype: v.type.dtype, shape: v.type.shape.slice(1) }, bound: g.boundOf(v) });
    const s = grown(g, [own(x), own(y)], 1 + g.pick(3));
    const results = s.pool.slice(-1 - g.pick(2));
    if (!g.fits(...results.map((r) => [size(x, 0), ...r.type.shape]))) return [];
    const outs = g.b.emit({ prim: 'perShard', axis: 'data', body: s.b.build(results) }, [x, y]);
    return outs.map((o, i) => [o, s.boundOf(results[i] as Value)]);
  },
  // of programs for one rank: shard makes them
  collective: () => [],
  start: () => [],
  wait: () => [],
} satisfies { readonly [P in Prim]?: Row };
