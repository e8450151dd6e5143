/**
 * Three training steps on the C backend against the float64 interpreter, from one state and with the same batches.
 *
 * What may differ, with u = 2^-24. Losses and norms are sums of positive terms: 32 u relative (measured: 6). Clipped gradients g carry
 * the rounding of a forward and a backward pass: 128 u of their tensor's largest and 16 u of their network's largest element, called d below
 * (measured: a fourth of d at most). AdamW keeps averages of g and g^2, so moments are compared to d. Its step, lr m / sqrt(v), is the gradient
 * divided by its own size: an element whose true gradient is 0 (the bias of the attention's keys, which softmax cancels) moves by
 * +-lr whatever its rounding error was. Hence lr min(2.4, 4 d / sqrt(v)) for parameters, summed over the steps: tight where there is a
 * gradient, as large as the step where there is none. 2.4 is twice the largest |m| / sqrt(v) of three steps.
 */
import { beforeAll, expect, test } from 'vitest';
import { cpu } from '../../backends/cpu/index.ts';
import { reference } from '../../backends/reference/index.ts';
import { flatten, type HostTensor } from '../../index.ts';
import { compileTiny, hyper, type Outcome, tiny, train } from './tiny.ts';

const u = 2 ** -24;
const steps = 3;
const leaves = (tree: unknown): Map<string, HostTensor> => new Map(flatten(tree).map(({ path, leaf }) => [path, leaf as HostTensor]));
const of = (tree: ReadonlyMap<string, HostTensor>, path: string): ArrayLike<number> => (tree.get(path) as HostTensor).data;
const largest = (x: ArrayLike<number>): number => Array.from(x).reduce((m, v) => Math.max(m, Math.abs(v)), 0);
const scalar = (t: HostTensor): number => t.data[0] as number;

let native: readonly Outcome[];
let truth: readonly Outcome[];
beforeAll(async () => {
  native = await train(await compileTiny(cpu({ threads: 2 })), steps);
  truth = await train(await compileTiny(reference), steps);
}, 120_000);

/** Elements that deviate by more than their bound, the worst first. */
const beyond = (name: string, got: ArrayLike<number>, want: ArrayLike<number>, bound: (i: number) => number): string[] => {
  expect(got.length).toBe(want.length);
  const out: [excess: number, text: string][] = [];
  for (let i = 0; i < want.length; i++) {
    const [a, b] = [got[i] as number, want[i] as number];
    const error = Math.abs(a - b);
    if (!(error <= bound(i))) out.push([error / bound(i), `${name}[${i}]: ${a} is not ${b} within ${bound(i)}`]);
  }
  return out.sort((x, y) => y[0] - x[0]).map(([, text]) => text);
};

test('the step is compiled to kernels and trains', async () => {
  const [first, last] = [native[0], native.at(-1)] as [Outcome, Outcome];
  const report = (await compileTiny(cpu())).report;
  expect(report.plan?.launches.length).toBeGreaterThan(100);
  // every parameter of the student moves, and the teacher follows
  for (const path of leaves(first.state.student).keys())
    if (path !== 'backbone.mask_token')
      expect(of(leaves(first.state.student), path), path).not.toEqual(of(leaves(last.state.student), path));
  expect([scalar(first.state.step), scalar(last.state.step)]).toEqual([1, 3]);
});

test('losses and gradient norms', () => {
  for (let s = 0; s < steps; s++) {
    const [got, want] = [leaves(native[s]?.metrics), leaves(truth[s]?.metrics)];
    expect([...want.keys()]).toContain('grad_norm.backbone');
    for (const path of want.keys())
      expect(beyond(`step ${s}: ${path}`, of(got, path), of(want, path), (i) => 32 * u * Math.abs(of(want, path)[i] as number))).toEqual(
        [],
      );
  }
});

test('moments, parameters and teacher', () => {
  const { beta1, beta2 } = tiny.optim;
  let [lr, share] = [0, 0];
  for (let s = 0; s < steps; s++) {
    const t = s + 1;
    const h = hyper(s);
    lr += scalar(h.lr);
    share += 1 - scalar(h.momentum);
    const [got, want] = [native[s]?.state, truth[s]?.state].map((state) => ({
      student: leaves(state?.student),
      teacher: leaves(state?.teacher),
      first: leaves(state?.moments.first),
      second: leaves(state?.moments.second),
    })) as [
      Record<'student' | 'teacher' | 'first' | 'second', Map<string, HostTensor>>,
      Record<'student' | 'teacher' | 'first' | 'second', Map<string, HostTensor>>,
    ];
    const root = (v: ArrayLike<number>): number[] => Array.from(v, (x) => Math.sqrt(x / (1 - beta2 ** t)));
    const network = (path: string): string => path.split('.')[0] as string;
    const most = new Map<string, number>();
    for (const path of want.second.keys())
      most.set(network(path), Math.max(most.get(network(path)) ?? 0, largest(root(of(want.second, path)))));
    for (const path of want.student.keys()) {
      const size = root(of(want.second, path));
      const d = 128 * u * largest(size) + 16 * u * (most.get(network(path)) as number);
      const name = `step ${s}: ${path}`;
      expect(beyond(`${name}, first moment`, of(got.first, path), of(want.first, path), () => d * (1 - beta1 ** t))).toEqual([]);
      expect(beyond(`${name}, second moment`, root(of(got.second, path)), size, () => d)).toEqual([]);
      const own = of(want.student, path);
      const moved = (i: number): number => lr * Math.min(2.4, (4 * d) / Math.max(size[i] as number, 1e-30));
      expect(beyond(`${name}, student`, of(got.student, path), own, (i) => moved(i) + 4 * t * u * Math.abs(own[i] as number))).toEqual([]);
      const slow = of(want.teacher, path);
      expect(
        beyond(`${name}, teacher`, of(got.teacher, path), slow, (i) => share * moved(i) + 4 * t * u * Math.abs(slow[i] as number)),
      ).toEqual([]);
    }
  }
});

test('the bounds are tight enough to tell a wrong gradient', () => {
  // most elements have a gradient far above its rounding error: their bound is below a hundredth of the step
  const second = leaves(truth[0]?.state.moments.second);
  const sizes = [...second.keys()].map((path) => Array.from(of(second, path), (x) => Math.sqrt(x / (1 - tiny.optim.beta2))));
  const most = Math.max(...sizes.map(largest));
  const all = sizes.flatMap((size) => size.map((x) => (4 * (128 * u * largest(size) + 16 * u * most)) / x));
  expect(all.filter((b) => b < 1e-2).length / all.length).toBeGreaterThan(0.5);
});

test('the same bits on one, two, three and five threads, and again from the start', { timeout: 90_000 }, async () => {
  const bits = (all: readonly Outcome[]): string[] =>
    all.flatMap((o, s) =>
      [...leaves(o)].map(
        ([path, t]) => `${s} ${path} ${Buffer.from(t.data.buffer, t.data.byteOffset, t.data.byteLength).toString('base64')}`,
      ),
    );
  const want = bits(native);
  const differing = async (program: Awaited<ReturnType<typeof compileTiny>>): Promise<string[]> =>
    bits(await train(program, steps))
      .filter((b, i) => b !== want[i])
      .map((b) => b.slice(0, 80));
  for (const threads of [1, 3, 5]) {
    const program = await compileTiny(cpu({ threads, shareAll: true }));
    expect(await differing(program), `${threads} threads`).toEqual([]);
    if (threads === 1) expect(await differing(program)).toEqual([]);
    program.dispose();
  }
});
