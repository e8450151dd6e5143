/** What must hold of targets and losses whatever the numbers. Recorded values and gradients are checked in test/parity. */
import { describe, expect, it } from 'vitest';
import { cpu } from '../../backends/cpu/index.ts';
import {
  apply,
  type F32,
  gather,
  grad,
  type Params,
  rearrange,
  type Scalar,
  size,
  spec,
  sum,
  type Tensor,
  valueAndGrad,
} from '../../dsl/index.ts';
import { compile, host, toHost } from '../../index.ts';
import { dinoHead } from '../../models/heads.ts';
import { crossEntropy, ibotLoss, ibotLossUnpacked, maskWeights } from '../../models/losses.ts';
import { sinkhorn } from '../../models/sinkhorn.ts';
import { allNumbers, evaluate, type Numbers, numbers } from './evaluate.ts';
import { stream } from './random.ts';

const random = (name: string, ...shape: readonly number[]): Numbers =>
  numbers(
    stream(
      name,
      shape.reduce((a, b) => a * b, 1),
    ).map((u) => 2 * u - 1),
    shape,
  );
const data = (x: unknown): number[] => Array.from((x as Numbers).data);
const one = (x: number): Numbers => numbers([x], []);

describe('Sinkhorn-Knopp', () => {
  const targets = (logits: Numbers, valid: readonly number[]): number[] =>
    data(
      evaluate(
        (t: F32<'M K'>, v: F32<'M'>, temperature: Scalar) => sinkhorn(temperature)(t, v),
        [logits, numbers(valid, [valid.length]), one(0.07)],
      ),
    );
  it('is blind to rows of padding', () => {
    const logits = random('teacher', 8, 64);
    const more = numbers([...data(logits), ...data(random('rest', 3, 64)).map((x) => 2 * x)], [11, 64]);
    const [q, padded] = [targets(logits, new Array(8).fill(1)), targets(more, [...new Array(8).fill(1), 0, 0, 0])];
    // another constant is subtracted before exp: it cancels, but for a rounding of each factor
    q.forEach((x, i) => expect(Math.abs((padded[i] as number) - x)).toBeLessThanOrEqual(64 * 2 ** -52 * x));
    expect(padded.slice(8 * 64)).toEqual(new Array(3 * 64).fill(0));
    // exp(-100 / 0.07) is 0 in float64: a constant taken from the padding would leave nothing of the valid rows
    const far = numbers([...data(logits), ...new Array(64).fill(100)], [9, 64]);
    expect(targets(far, [...new Array(8).fill(1), 0]).slice(0, 8 * 64)).toEqual(q);
  });
  it('is finite with no valid row at all, and with a prototype that all rows are too far from', () => {
    const targets = (valid: readonly number[]): number[] =>
      Array.from(
        data(
          evaluate(
            (t: F32<'M K'>, v: F32<'M'>, temperature: Scalar) => sinkhorn(temperature)(t, v),
            [
              // exp(-1 / 0.001) is 0 in float64: nobody is near prototype 2
              numbers([1, 0.9995, 0, 0.9995, 1, 0], [2, 3]),
              numbers(valid, [2]),
              one(0.001),
            ],
          ),
        ),
      );
    expect(targets([0, 0])).toEqual([0, 0, 0, 0, 0, 0]);
    const [a, b, c, d, e, f] = targets([1, 1]) as [number, number, number, number, number, number];
    expect([c, f]).toEqual([0, 0]);
    // symmetric logits; a row is rounded once for each of its two terms
    expect([a + b, d + e].every((x) => Math.abs(x - 1) <= 2 ** -52)).toBe(true);
    expect(a).toBeGreaterThan(b);
  });
});

describe('iBOT loss', () => {
  const masks = numbers([0, 1, 1, 0, 0, 0, 0, 0, 1, 1, 1, 1], [3, 4], 'bool');
  it('gives every masked crop the weight 1, and none to a crop without a mask', () => {
    const w = data(evaluate((m: Tensor<'B N', 'bool'>) => maskWeights(m), [masks]));
    expect(w).toEqual([0, 0.5, 0.5, 0, 0, 0, 0, 0, 0.25, 0.25, 0.25, 0.25]);
  });
  it('is the same number for a list of masked patches and for all patches with a mask', () => {
    const [student, target] = [random('student', 3, 4, 5), random('target', 3, 4, 5)];
    const f = (s: F32<'B N K'>, t: F32<'B N K'>, m: Tensor<'B N', 'bool'>, at: Tensor<'M', 'i32'>) => {
      const rows = (x: F32<'B N K'>) => gather(rearrange('b n k -> (b n) k', x), at);
      const weights = gather(rearrange('b n -> (b n)', maskWeights(m)), at);
      return [ibotLoss(0.1)(rows(s), rows(t), weights).div(3), ibotLossUnpacked(0.1)(s, t, m)];
    };
    const [listed, whole] = evaluate(f, [student, target, masks, numbers([1, 2, 8, 9, 10, 11], [6], 'i32')]) as [Numbers, Numbers];
    // 30 products in another order, each below 25
    expect(Math.abs((listed.data[0] as number) - (whole.data[0] as number))).toBeLessThan(30 * 25 * 2 ** -52);
  });
});

it('cross-entropy over 65,536 prototypes, compiled, is the formula, and so is its gradient', { timeout: 60_000 }, async () => {
  const [B, K, temp] = [3, 65_536, 0.1];
  const student = Float32Array.from(data(random('wide student', B, K)));
  const target = Float32Array.from(data(random('wide target', B, K)), (x) => (1 + x) / K);
  const f = (s: F32<'B K'>, t: F32<'B K'>) => valueAndGrad((x: F32<'B K'>) => crossEntropy(temp)(x, t))(s);
  const program = await compile(f, [spec('B K'), spec('B K')], { backend: cpu(), dims: { B, K } });
  const [loss, grad] = (await toHost(await program(host(student, [B, K]), host(target, [B, K])))) as unknown as [Numbers, Numbers];
  program.dispose();
  let want = 0;
  // Sums of K numbers of one sign whose roundings are independent are off by about sqrt(K) u = 256 u of themselves, u = 2^-24; five times that.
  // An exponent of at most 20 is off by 20 u, and so is its exponential in relation to itself.
  const bound = (5 * 256 + 40) * 2 ** -24;
  let worst = 0;
  for (let b = 0; b < B; b++) {
    const [s, t] = [student, target].map((x) => Float64Array.from(x.subarray(b * K, (b + 1) * K))) as [Float64Array, Float64Array];
    const all = s.reduce((a, x) => a + Math.exp(x / temp), 0);
    const mass = t.reduce((a, x) => a + x, 0);
    s.forEach((x, k) => {
      const [p, q] = [Math.exp(x / temp) / all, t[k]!];
      want -= (q * Math.log(p)) / B;
      const exact = (p * mass - q) / temp / B;
      worst = Math.max(worst, (Math.abs(grad.data[b * K + k]! - exact) * temp * B) / (p * mass + q));
    });
  }
  expect(Math.abs(loss.data[0]! - want) / want).toBeLessThan(bound);
  expect(worst).toBeLessThan(bound);
  // log K = 11, and the spread of the logits
  expect(want).toBeGreaterThan(10);
});

describe('projection head', () => {
  const head = dinoHead(size('D', 6), size('K', 7), { prototypes: 7, hidden: 8, bottleneck: 5, layers: 3, bias: false });
  type Head = Params<typeof head>;
  it('maps a row of zeros to zeros, with a finite gradient', () => {
    const params = {
      mlp: { 0: { weight: random('a', 8, 6) }, 2: { weight: random('b', 8, 8) }, 4: { weight: random('c', 5, 8) } },
      last_layer: { weight_g: random('g', 7, 1), weight_v: random('v', 7, 5) },
    };
    const x = numbers([...new Array(6).fill(0), ...data(random('x', 1, 6))], [2, 6]);
    const out = data(evaluate((p: Head, y: F32<'B D'>) => apply(head, p)(y), [params, x]));
    expect(out.slice(0, 7)).toEqual(new Array(7).fill(0));
    expect(Math.max(...out.slice(7).map(Math.abs))).toBeGreaterThan(0);
    const f = (p: Head, y: F32<'B D'>) =>
      grad((t: { readonly p: Head; readonly y: F32<'B D'> }) => sum('b k ->', apply(head, t.p)(t.y)))({ p, y });
    for (const g of allNumbers(evaluate(f, [params, x]))) expect(data(g).every(Number.isFinite)).toBe(true);
  });
});
