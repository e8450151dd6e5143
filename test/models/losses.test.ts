import { describe, expect, it } from 'vitest';
import { type F32, rearrange, type Scalar, softmax, unbind, valueAndGrad } from '../../dsl/index.ts';
import { crossEntropy, dinoLoss, ibotLoss, koleoLoss, nearestOther, unit } from '../../models/losses.ts';
import { batchMean, type Center, centeredSoftmax, settle, sinkhorn } from '../../models/sinkhorn.ts';
import { evaluate, filled, type Numbers, numbers } from './evaluate.ts';
import { type Case, check, golden, recorded } from './goldens.ts';

const input = (c: Case, name: string): Numbers => filled(c.inputs.find((i) => i.name === name) as Case['inputs'][number]);
const joined = (parts: readonly Numbers[]): Numbers =>
  numbers(Float64Array.from(parts.flatMap((p) => Array.from(p.data))), [parts.length, ...(parts[0]?.shape ?? [])]);
const data = (x: unknown): ArrayLike<number> => (x as Numbers).data;
const one = (x: number): Numbers => numbers([x], []);

describe('DINO loss', () => {
  const c = golden('loss_dino');
  it('equals the recorded loss over pairs and its gradients', () => {
    const student = joined([0, 1, 2, 3].map((i) => input(c, `student${i}`)));
    const teacher = joined([0, 1].map((i) => input(c, `teacher_logits${i}`)));
    const f = (s: F32<'S B K'>, t: F32<'T B K'>) => valueAndGrad((x: F32<'S B K'>) => dinoLoss(0.1)(x, softmax(t.div(0.07))))(s);
    const [value, grad] = evaluate(f, [student, teacher]) as [Numbers, Numbers];
    check(c, 'loss', value.data);
    const n = grad.data.length / 4;
    for (const i of [0, 1, 2, 3]) check(c, `grad/student${i}`, Array.from(grad.data).slice(i * n, (i + 1) * n));
  });
  it('equals the recorded loss of one set of rows', () => {
    const teacher = joined([0, 1].map((i) => input(c, `teacher_logits${i}`)));
    const f = (s: F32<'B K'>, t: F32<'T U K'>) =>
      valueAndGrad((x: F32<'B K'>) => crossEntropy(0.1)(x, softmax(rearrange('t u k -> (t u) k', t).as('B K').div(0.07))))(s);
    const [value, grad] = evaluate(f, [input(c, 'student_global'), teacher], { B: 8, K: 64 }) as [Numbers, Numbers];
    check(c, 'loss_global', value.data);
    check(c, 'grad/student_global', grad.data);
  });
});

describe('Sinkhorn-Knopp', () => {
  const c = golden('loss_sinkhorn');
  it.each([
    [0.04, 1],
    [0.04, 3],
    [0.07, 1],
    [0.07, 3],
  ])('equals the recorded targets at temperature %d after %d rounds', (temp, rounds) => {
    const teacher = input(c, 'teacher');
    const f = (t: F32<'M K'>, valid: F32<'M'>, temperature: Scalar) => sinkhorn(temperature, rounds)(t, valid);
    check(c, `q_temp${temp}_it${rounds}`, data(evaluate(f, [teacher, numbers(new Float64Array(8).fill(1), [8]), one(temp)])));
  });
  it('is blind to rows of padding', () => {
    const teacher = input(c, 'teacher');
    const padded = numbers(
      [
        ...Array.from(teacher.data),
        ...Array.from(teacher.data)
          .slice(0, 3 * 64)
          .map((x) => 2 * x),
      ],
      [11, 64],
    );
    const valid = numbers([1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0], [11]);
    const q = data(evaluate((t: F32<'M K'>, v: F32<'M'>, temperature: Scalar) => sinkhorn(temperature)(t, v), [padded, valid, one(0.07)]));
    check(c, 'q_temp0.07_it3', Array.from(q).slice(0, 8 * 64));
    expect(Array.from(q).slice(8 * 64)).toEqual(new Array(3 * 64).fill(0));
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
  const c = golden('loss_ibot');
  it('equals the recorded loss of padded rows and its gradient', () => {
    const rest = 4 * 48;
    const weights = recorded(c.file).get('masks_weight') as Numbers;
    const weight = numbers([...Array.from(weights.data), 0, 0, 0, 0], [20]);
    const teacher = numbers([...Array.from(input(c, 'teacher_masked').data), ...new Array<number>(rest).fill(0.5)], [20, 48]);
    const valid = numbers(
      Array.from(weight.data, (w) => Number(w > 0)),
      [20],
    );
    const f = (s: F32<'U K'>, t: F32<'U K'>, v: F32<'U'>, w: F32<'U'>, temp: Scalar) => {
      const target = sinkhorn(temp)(t, v).as('U K');
      return [target, valueAndGrad((x: F32<'U K'>) => ibotLoss(0.1)(x, target, w).div(6))(s)] as const;
    };
    const args = [input(c, 'student_masked'), teacher, valid, weight, one(0.07)];
    const [q, [value, grad]] = evaluate(f, args, { U: 20, K: 48 }) as [Numbers, [Numbers, Numbers]];
    check(c, 'teacher_q', Array.from(q.data).slice(0, 16 * 48));
    check(c, 'loss_padded', value.data);
    check(c, 'grad/student_padded', grad.data);
  });
});

describe('softmax centering', () => {
  it.each([
    ['loss_dino_centering', 1],
    ['loss_ibot_centering', 1],
  ])('%s: targets and centers lag by one step, as recorded', (id) => {
    const c = golden(id);
    const temps = c.config.teacher_temps as number[];
    const k = c.config.K as number;
    let center: { value: Numbers; pending: Numbers } = {
      value: numbers(new Float64Array(k), [1, k]),
      pending: numbers(new Float64Array(k), [1, k]),
    };
    const f = (t: F32<'M K'>, valid: F32<'M'>, old: Center, temp: Scalar) => {
      const now = settle()(old.value, old.pending);
      return { probs: centeredSoftmax(temp)(t, now), value: now, pending: batchMean(t, valid) };
    };
    temps.forEach((temp, step) => {
      const raw = input(c, c.inputs[step]?.name as string);
      const rows = raw.data.length / k;
      const out = evaluate(f, [numbers(raw.data, [rows, k]), numbers(new Float64Array(rows).fill(1), [rows]), center, one(temp)], {
        K: k,
      }) as {
        probs: Numbers;
        value: Numbers;
        pending: Numbers;
      };
      check(c, `probs${step}`, out.probs.data);
      check(c, `center_used${step}`, out.value.data);
      center = { value: out.value, pending: out.pending };
    });
    check(c, 'center_final', data(evaluate((x: Center) => settle()(x.value, x.pending), [center])));
  });
});

describe('KoLeo', () => {
  const c = golden('loss_koleo');
  it.each([0, 1])('equals the recorded loss, gradient and neighbours of input %d', (i) => {
    const f = (x: F32<'B D'>) => [valueAndGrad((y: F32<'B D'>) => koleoLoss(y))(x), nearestOther(unit(1e-8)(x))] as const;
    const [[value, grad], nearest] = evaluate(f, [input(c, `x${i}`)]) as [[Numbers, Numbers], Numbers];
    check(c, `loss${i}`, value.data);
    check(c, `grad/x${i}`, grad.data);
    check(c, `nn${i}`, nearest.data);
  });
  it('stays finite for equal rows', () => {
    const raw = Array.from(input(c, 'dup').data);
    const dup = numbers([...raw.slice(0, 24), ...raw.slice(0, 24), ...raw.slice(48)], [6, 24]);
    check(c, 'loss_dup', data(evaluate((x: F32<'B D'>) => koleoLoss(x), [dup])));
  });
  it('adds up over the two crops', () => {
    const f = (x: F32<'2*B D'>) =>
      valueAndGrad((y: F32<'2*B D'>) => {
        const [first, second] = unbind(rearrange('(v b) d -> v b d', y, { v: 2 }));
        return koleoLoss(first).add(koleoLoss(second)).mul(0.1);
      })(x);
    const [value, grad] = evaluate(f, [input(c, 'pair')], { B: 8, D: 32 }) as [Numbers, Numbers];
    check(c, 'loss_two_chunks', value.data);
    check(c, 'grad/pair', grad.data);
  });
});
