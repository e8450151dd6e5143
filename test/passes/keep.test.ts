/**
 * What waits for the backward phase in the type of its contractions: which values those are, that the forward phase goes on with float32, that
 * no float32 of their size waits any more, and that kernels compute what the rewritten graph says.
 */
import { describe, expect, it, test } from 'vitest';
import { cpuTarget } from '../../backends/cpu/index.ts';
import { passesFor } from '../../compiler/compile.ts';
import { interpret } from '../../compiler/graph/interpret.ts';
import type { Graph, Node, Value } from '../../compiler/graph/types.ts';
import { verify } from '../../compiler/graph/verify.ts';
import { keep } from '../../compiler/passes/keep.ts';
import type { Precision } from '../../compiler/passes/precision.ts';
import { buildPlan } from '../../compiler/plan/build.ts';
import { recompute } from '../../compiler/transform/recompute.ts';
import {
  abs,
  einsum,
  exp,
  type F32,
  gelu,
  grad,
  log,
  max,
  mean,
  min,
  rearrange,
  rsqrt,
  scope,
  softmax,
  spec,
  sum,
  trace,
} from '../../dsl/index.ts';
import { bounded, compare } from '../../testing/bound.ts';
import { runKernels } from '../../testing/kernels.ts';
import { draw } from '../tile/attention.ts';

type X = F32<'N D'>;
type W = F32<'D D'>;
type M = F32<'D H'>;
interface Params {
  readonly x: X;
  readonly q: W;
  readonly k: W;
  readonly v: W;
  readonly w: M;
  readonly u: M;
}
const rows = (x: X, w: W): X => einsum('n d, d e -> n e' as string, x, w) as never;
const normed = (x: X): X => {
  const row = (y: X): F32<'N 1'> => rearrange('n -> n 1', mean('n d -> n', y));
  const centred = x.sub(row(x));
  return centred.mul(rsqrt(row(centred.mul(centred)).add(1e-3)));
};
/** A transformer's block and a loss that is float32: attention, a residual stream, layer norms, an MLP. */
const loss = ({ x, q, k, v, w, u }: Params): F32<''> => {
  const y = scope('attn', () => {
    const n = normed(x);
    const weights = softmax(einsum('n d, m d -> n m' as string, rows(n, q), rows(n, k) as never).mul(0.3) as never);
    return x.add(rows(einsum('n m, m d -> n d' as string, weights as never, rows(n, v) as never) as never, v));
  });
  const z = scope('mlp', () => {
    const h = einsum('n d, d h -> n h', normed(y), w);
    return y.add(einsum('n h, d h -> n d', gelu(h), u));
  });
  return scope('loss', () => sum('n d ->', z.mul(z).mul(z)));
};
const block = (n: number, d: number, h: number): Graph =>
  trace(
    ((p: Params) => grad(loss as never)(p as never)) as never,
    [
      {
        x: spec(`${n} ${d}`),
        q: spec(`${d} ${d}`),
        k: spec(`${d} ${d}`),
        v: spec(`${d} ${d}`),
        w: spec(`${d} ${h}`),
        u: spec(`${d} ${h}`),
      },
    ] as never,
  ).graph;

const policy = { default: 'bf16', kept: true, scopes: { 'loss/**': 'f32' } } as const satisfies Precision;
const all = passesFor(policy);
const at = all.findIndex(([name]) => name === 'keep');
/** The graph before the pass, and after it and what follows, values of every size looked at. */
const staged = (g: Graph, p: Precision = policy): { readonly before: Graph; readonly after: Graph } => {
  const before = passesFor(p)
    .slice(0, at - 1)
    .concat([['recompute', recompute(0)]])
    .reduce((x, [, pass]) => pass(x), g);
  const after = all.slice(at + 1).reduce((x, [, pass]) => pass(x), keep(p, 0)(before));
  verify(after);
  return { before, after };
};
const waits = (g: Graph): readonly (readonly [Value, Node])[] => {
  const maker = new Map(g.nodes.flatMap((n) => n.outputs.map((o) => [o, n] as const)));
  const found = new Map<Value, Node>();
  for (const n of g.nodes)
    if (n.meta.phase === 'bwd')
      for (const v of n.inputs) {
        const m = maker.get(v);
        if (m?.meta.phase === 'fwd') found.set(v, m);
      }
  return [...found];
};

describe('of a block of a transformer', () => {
  const g = block(24, 16, 40);
  const { before, after } = staged(g);
  it('rounds what contractions made and leaves statistics and what the loss reads', () => {
    const text = (graph: Graph): string[] =>
      waits(graph)
        .map(([v, n]) => `${v.type.dtype}[${v.type.shape.join(' ')}] ${n.meta.scope}`)
        .sort();
    expect(text(before).filter((t) => t.startsWith('f32'))).toMatchInlineSnapshot(`
      [
        "f32[24 16] attn",
        "f32[24 16] attn",
        "f32[24 16] loss",
        "f32[24 1] attn",
        "f32[24 1] mlp",
        "f32[24 40] mlp",
        "f32[24] attn",
        "f32[24] attn",
        "f32[24] mlp",
      ]
    `);
    expect(text(after)).toMatchInlineSnapshot(`
      [
        "bf16[24 16] attn",
        "bf16[24 16] attn",
        "bf16[24 16] attn",
        "bf16[24 16] attn",
        "bf16[24 40] mlp",
        "f32[24 16] attn",
        "f32[24 16] loss",
        "f32[24 1] attn",
        "f32[24 1] mlp",
        "f32[24] attn",
        "f32[24] attn",
        "f32[24] mlp",
      ]
    `);
  });
  it('changes nothing without `kept`, and nothing small', () => {
    for (const p of ['bf16', { default: 'bf16' }, { default: 'bf16', kept: false }] as const) expect(keep(p, 0)(before)).toBe(before);
    expect(keep(policy, 1 << 18)(before)).toBe(before);
    expect(keep({ default: 'f32', kept: true }, 0)(before)).toBe(before);
  });
});

/** Statistics of what contractions make, each with a gradient that compares with the statistic or subtracts it. */
const statistics: Readonly<Record<string, (a: F32<'N H'>) => F32<string>>> = {
  'the largest of a row': (a) => max('n h -> n', a),
  'the smallest of a row': (a) => min('n h -> n', a),
  'the largest after GELU': (a) => max('n h -> n', gelu(a)),
  'a row over its largest': (a) => a.div(rearrange('n -> n 1', max('n h -> n', abs(a)))).mul(a),
  'a logarithm of sums, written out': (a) => {
    const top = max('n h -> n', a);
    return log(sum('n h -> n', exp(a.sub(rearrange('n -> n 1', top))))).add(top);
  },
  'a row less its mean, far from 0': (a) => {
    const far = a.add(1000);
    const centred = far.sub(rearrange('n -> n 1', mean('n h -> n', far)));
    const scale = rsqrt(mean('n h -> n', centred.mul(centred)).add(1e-3));
    return centred.mul(rearrange('n -> n 1', scale)).mul(a);
  },
  'a norm by einsum': (a) => {
    const norm = einsum('n h, n h -> n' as string, a, a as never) as F32<'N'>;
    return a.mul(rearrange('n -> n 1', rsqrt(norm.add(1)))).mul(a);
  },
};
describe('gradients stay gradients where a statistic meets what it was made of:', () => {
  it.each(Object.keys(statistics))('%s', (name) => {
    const f = (x: X, w: M) =>
      grad((v: M): F32<''> => sum('... ->' as string, statistics[name]?.(einsum('n d, d h -> n h', x, v)) as never) as F32<''>)(w);
    const g = trace(f as never, ['24 16', '16 40'].map((s) => spec(s)) as never).graph;
    const { before, after } = staged(g);
    const inputs = draw(g, 5);
    const [want, got] = [before, after].map((x) => interpret(x, inputs)[0]?.data as Float64Array) as [Float64Array, Float64Array];
    const size = Math.hypot(...want);
    // what is still rounded, to 8 bits, enters a gradient a few times
    expect(Math.hypot(...want.map((x, i) => x - (got[i] as number)))).toBeLessThan(2 ** -6 * size);
  });
});

test('f16 is not kept: the backward phase would overflow where the loss does not', () => {
  const { before } = staged(block(24, 16, 40), { ...policy, default: 'f16' });
  expect(keep({ ...policy, default: 'f16' }, 0)(before)).toBe(before);
});

test('is what kernels compute', { timeout: 60_000 }, () => {
  // short enough for bounds that say something, though every cast may fall to either side of a tie
  const layers = ([x, w, u]: readonly [X, M, M]): F32<''> => {
    const h = einsum('n d, d h -> n h', x, w);
    const z = x.add(einsum('n h, d h -> n d', gelu(h), u));
    return sum('n d ->', z.mul(z));
  };
  const f = (x: X, w: M, u: M) => grad(layers as never)([x, w, u] as never);
  const g = trace(f as never, ['37 20', '20 50', '20 50'].map((s) => spec(s)) as never).graph;
  const { after } = staged(g);
  expect(waits(after).filter(([v]) => v.type.dtype === 'bf16' && v.type.shape.join() === '37,50')).not.toEqual([]);
  const inputs = draw(after, 3);
  const want = bounded(after, inputs);
  for (const vectorBytes of [64, 16]) {
    const target = { ...cpuTarget(2), vectorBytes, registers: vectorBytes === 64 ? 32 : 16 };
    const seen = compare(want, runKernels(after, target, inputs));
    expect(seen.wrong).toBeUndefined();
    expect(seen.checked).toBe(seen.elements);
  }
});

test('what contractions made waits in half the bytes, and the arena is smaller', () => {
  const g = block(512, 256, 1024);
  const planOf = (p: Precision) => {
    const graph = passesFor(p).reduce((x, [, pass]) => pass(x), g);
    return buildPlan(graph, cpuTarget(2), { donated: graph.results.map(() => -1), maxBytes: Number.POSITIVE_INFINITY });
  };
  const [plain, kept] = [planOf({ ...policy, kept: false }), planOf(policy)];
  const waiting = ({ launches, lifetimes }: ReturnType<typeof planOf>): readonly string[] => {
    const end = launches.findLastIndex((l) => l.phase === 'fwd');
    return lifetimes
      .filter((l) => l.first > 0 && l.first <= end && l.last > end && l.slot.bytes >= 1 << 18)
      .map((l) => `${l.slot.type.dtype}[${l.slot.type.shape.join(' ')}] ${l.scope}`)
      .sort();
  };
  expect(waiting(plain).filter((t) => t.startsWith('f32')).length).toBeGreaterThan(1);
  // the float32 ones are what the loss's own gradient, in float32, is computed from again
  expect(waiting(kept)).toMatchInlineSnapshot(`
    [
      "bf16[512 1024] mlp",
      "bf16[512 256] attn",
      "bf16[512 256] attn",
      "bf16[512 256] attn",
      "bf16[512 256] attn",
      "f32[512 256] attn",
      "f32[512 256] mlp",
    ]
  `);
  expect(kept.arenaBytes).toBeLessThan(plain.arenaBytes);
});
