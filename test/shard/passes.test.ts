/** The passes of sharding, text in and text out. */
import { describe, expect, test } from 'vitest';
import { parse } from '../../compiler/graph/parse.ts';
import { print } from '../../compiler/graph/print.ts';
import type { Graph, Placement, Value } from '../../compiler/graph/types.ts';
import { bucket } from '../../compiler/shard/bucket.ts';
import { castFirst } from '../../compiler/shard/cast-first.ts';
import { localise } from '../../compiler/shard/localise.ts';
import { type Placed, propagate } from '../../compiler/shard/propagate.ts';
import { schedule, split } from '../../compiler/shard/schedule.ts';
import { verifySchedule } from '../../compiler/shard/verify.ts';
import { verifyTerms } from '../../compiler/shard/verify-terms.ts';

const mesh = { ranks: 2, shard: 2 };
const text = (g: Graph): string => print(g, { meta: false });
/** One layer, its loss and a step of gradient descent: x is the batch. */
const step = parse(`graph (%0 x: f32[4 2], %1 w: f32[2 3]) {
  %2: f32[4 3] = dot(%0, %1) batch=[][] contract=[1][0] dtype=f32
  %3: f32[2 3] = dot(%0, %2) batch=[][] contract=[0][0] dtype=f32 ; phase=bwd
  %4: f32[2 3] = sub(%1, %3) ; phase=opt
  return %4
}`);
const place = (inputs: readonly Placement[], on = mesh): Placed =>
  propagate(step, on, {
    inputs,
    outputs: [inputs[1] as Placement],
    inputUnits: ['', 'w'],
    outputUnits: ['w'],
    regather: () => true,
    reduceAs: () => 'f32',
  });

describe('FSDP from placements', () => {
  test('a flat weight is gathered, its gradient is reduced and scattered, the optimizer stays on the rank', () => {
    expect(text(place([{ split: 0 }, 'flat']).graph)).toMatchInlineSnapshot(`
      "graph (%0 x: f32[4 2], %1 w: f32[2 3]) {
        %2: f32[2 3] = reshard(%1) axis=data from=flat to=R unit=w
        %3: f32[4 3] = dot(%0, %2) batch=[][] contract=[1][0] dtype=f32
        %4: f32[2 3] = dot(%0, %3) batch=[][] contract=[0][0] dtype=f32
        %5: f32[2 3] = reshard(%4) axis=data from=P to=flat unit=w
        %6: f32[2 3] = sub(%1, %5)
        return %6
      }
      "
    `);
  });

  test('data parallelism is the same with whole weights', () => {
    expect(text(place([{ split: 0 }, 'R']).graph)).toMatchInlineSnapshot(`
      "graph (%0 x: f32[4 2], %1 w: f32[2 3]) {
        %2: f32[4 3] = dot(%0, %1) batch=[][] contract=[1][0] dtype=f32
        %3: f32[2 3] = dot(%0, %2) batch=[][] contract=[0][0] dtype=f32
        %4: f32[2 3] = reshard(%3) axis=data from=P to=R unit=w
        %5: f32[2 3] = sub(%1, %4)
        return %5
      }
      "
    `);
  });

  test('the program of one rank', () => {
    expect(text(localise(place([{ split: 0 }, 'flat']), mesh))).toMatchInlineSnapshot(`
      "graph (%0 x: f32[2 2], %1 w: f32[3], %2 rank: i32[]) {
        %3: f32[2 3] = collective(%1) kind=all-gather group=shard ranks=2 reduction=sum unit=w
        %4: f32[6] = reshape(%3) shape=[6]
        %5: f32[2 3] = reshape(%4) shape=[2 3]
        %6: f32[2 3] = dot(%0, %5) batch=[][] contract=[1][0] dtype=f32
        %7: f32[2 3] = dot(%0, %6) batch=[][] contract=[0][0] dtype=f32
        %8: f32[6] = reshape(%7) shape=[6]
        %9: f32[2 3] = reshape(%8) shape=[2 3]
        %10: f32[3] = collective(%9) kind=reduce-scatter group=shard ranks=2 reduction=sum unit=w
        %11: f32[3] = sub(%1, %10)
        return %11
      }
      "
    `);
  });
});

test.each(['flat', 'R'] as const)('a gradient that is clipped is reduced once, before its norm and its moment read it: %s', (lies) => {
  const clipped = parse(`graph (%0 x: f32[4 2], %1 w: f32[2 3], %2 m: f32[2 3]) {
    %3: f32[4 3] = dot(%0, %1) batch=[][] contract=[1][0] dtype=f32
    %4: f32[2 3] = dot(%0, %3) batch=[][] contract=[0][0] dtype=f32 ; phase=bwd
    %5: f32[2 3] = mul(%4, %4) ; phase=opt
    %6: f32[] = reduceSum(%5) axes=[0 1] ; phase=opt
    %7: f32[] = rsqrt(%6) ; phase=opt
    %8: f32[2 3] = broadcast(%7) shape=[2 3] axes=[] ; phase=opt
    %9: f32[2 3] = mul(%4, %8) ; phase=opt
    %10: f32[2 3] = add(%2, %9) ; phase=opt
    %11: f32[2 3] = sub(%1, %10) ; phase=opt
    return %11, %10
  }`);
  const { graph } = propagate(clipped, mesh, {
    inputs: [{ split: 0 }, lies, lies],
    outputs: [lies, lies],
    inputUnits: ['', 'w', 'w'],
    outputUnits: ['w', 'w'],
    regather: () => true,
    reduceAs: () => 'f32',
  });
  const sums = text(graph).match(/f32\[2 3\] = reshard\(.*from=P.*/g);
  expect(sums).toEqual([`f32[2 3] = reshard(%${lies === 'flat' ? 5 : 4}) axis=data from=P to=${lies} unit=w`]);
});

describe('weights whose rows have length 1', () => {
  /** Rows of w over their norm, times x; then w goes on by the gradient. */
  const norms = (rows: number): Graph =>
    parse(`graph (%0 x: f32[4 ${rows}], %1 w: f32[${rows} 3]) {
      %2: f32[${rows} 3] = mul(%1, %1)
      %3: f32[${rows}] = reduceSum(%2) axes=[1]
      %4: f32[${rows}] = rsqrt(%3)
      %5: f32[${rows} 1] = reshape(%4) shape=[${rows} 1]
      %6: f32[${rows} 3] = broadcast(%5) shape=[${rows} 3] axes=[0 1]
      %7: f32[${rows} 3] = mul(%1, %6)
      %8: f32[4 3] = dot(%0, %7) batch=[][] contract=[1][0] dtype=f32
      %9: f32[${rows} 3] = dot(%0, %8) batch=[][] contract=[0][0] dtype=f32 ; phase=bwd
      %10: f32[${rows} 3] = mul(%9, %1) ; phase=bwd
      %11: f32[${rows}] = reduceMax(%10) axes=[1] ; phase=bwd
      %12: f32[${rows} 3] = broadcast(%11) shape=[${rows} 3] axes=[0] ; phase=bwd
      %13: f32[${rows} 3] = sub(%9, %12) ; phase=bwd
      %14: f32[${rows} 3] = sub(%1, %13) ; phase=opt
      return %14
    }`);
  const placed = (rows: number): Placed =>
    propagate(norms(rows), mesh, {
      inputs: [{ split: 0 }, 'flat'],
      outputs: ['flat'],
      inputUnits: ['', 'w'],
      outputUnits: ['w'],
      regather: () => true,
      reduceAs: () => 'f32',
    });
  const moves = (p: Placed): readonly string[] => text(p.graph).match(/f32\[.*\] = reshard.*/g) ?? [];

  test('whole rows in a piece: what is gathered has been scaled, and its gradient is scattered once', () => {
    const p = placed(8);
    expect(moves(p)).toEqual([
      'f32[8 3] = reshard(%7) axis=data from=flat to=R unit=w',
      'f32[8 3] = reshard(%10) axis=data from=P to=flat unit=w',
    ]);
    expect(() => verifyTerms(p, mesh)).not.toThrow();
    expect(text(localise(p, mesh))).toMatchInlineSnapshot(`
      "graph (%0 x: f32[2 8], %1 w: f32[12], %2 rank: i32[]) {
        %3: f32[12] = mul(%1, %1)
        %4: f32[4 3] = reshape(%3) shape=[4 3]
        %5: f32[4] = reduceSum(%4) axes=[1]
        %6: f32[4] = rsqrt(%5)
        %7: f32[4 3] = broadcast(%6) shape=[4 3] axes=[0]
        %8: f32[12] = reshape(%7) shape=[12]
        %9: f32[12] = mul(%1, %8)
        %10: f32[2 12] = collective(%9) kind=all-gather group=shard ranks=2 reduction=sum unit=w
        %11: f32[24] = reshape(%10) shape=[24]
        %12: f32[8 3] = reshape(%11) shape=[8 3]
        %13: f32[2 3] = dot(%0, %12) batch=[][] contract=[1][0] dtype=f32
        %14: f32[8 3] = dot(%0, %13) batch=[][] contract=[0][0] dtype=f32
        %15: f32[24] = reshape(%14) shape=[24]
        %16: f32[2 12] = reshape(%15) shape=[2 12]
        %17: f32[12] = collective(%16) kind=reduce-scatter group=shard ranks=2 reduction=sum unit=w
        %18: f32[12] = mul(%17, %1)
        %19: f32[4 3] = reshape(%18) shape=[4 3]
        %20: f32[4] = reduceMax(%19) axes=[1]
        %21: f32[4 3] = broadcast(%20) shape=[4 3] axes=[0]
        %22: f32[12] = reshape(%21) shape=[12]
        %23: f32[12] = sub(%17, %22)
        %24: f32[12] = sub(%1, %23)
        return %24
      }
      "
    `);
  });

  test('a piece ends inside of a row: all of it is gathered for the norm', () => {
    expect(moves(placed(3))[0]).toBe('f32[3 3] = reshard(%2) axis=data from=flat to=R unit=w');
  });
});

test('where a mesh has copies, a gradient is added up within each and then over them', () => {
  const four = { ranks: 4, shard: 2 };
  expect(text(localise(place([{ split: 0 }, 'flat'], four), four))).toMatch(
    /kind=reduce-scatter group=shard ranks=2 reduction=sum unit=w\n.* = collective\(%10\) kind=all-reduce group=replica ranks=2 reduction=sum unit=w/,
  );
});

test('a gradient is narrow on its way to its weight, in pieces or whole, and nowhere else', () => {
  const narrow = localise(place([{ split: 0 }, 'flat']), mesh, (unit) => (unit === 'w' ? 'bf16' : 'f32'));
  expect(text(narrow)).toContain(`  %8: bf16[2 3] = cast(%7) dtype=bf16
  %9: bf16[6] = reshape(%8) shape=[6]
  %10: bf16[2 3] = reshape(%9) shape=[2 3]
  %11: bf16[3] = collective(%10) kind=reduce-scatter group=shard ranks=2 reduction=sum unit=w
  %12: f32[3] = cast(%11) dtype=f32
  %13: f32[3] = sub(%1, %12)
`);
  const copied = localise(place([{ split: 0 }, 'R']), mesh, () => 'bf16');
  expect(text(copied)).toContain(`  %5: bf16[2 3] = cast(%4) dtype=bf16
  %6: bf16[2 3] = collective(%5) kind=all-reduce group=world ranks=2 reduction=sum unit=w
  %7: f32[2 3] = cast(%6) dtype=f32
  %8: f32[2 3] = sub(%1, %7)
`);
});

describe('transfers', () => {
  const two = parse(`graph (%0 a: f32[3], %1 b: f32[5], %2 x: f32[6]) {
    %3: f32[2 3] = collective(%0) kind=all-gather group=shard ranks=2 reduction=sum unit=u
    %4: bf16[2 3] = cast(%3) dtype=bf16
    %5: f32[2 5] = collective(%1) kind=all-gather group=shard ranks=2 reduction=sum unit=u
    %6: f32[6] = exp(%2)
    %7: f32[2 5] = neg(%5)
    %8: f32[2 5] = collective(%7) kind=all-reduce group=world ranks=2 reduction=sum unit=v
    %9: f32[6] = sin(%6)
    return %4, %8, %9
  }`);

  test('what is read as bf16 travels as bf16', () => {
    expect(text(castFirst(two))).toMatchInlineSnapshot(`
      "graph (%0 a: f32[3], %1 b: f32[5], %2 x: f32[6]) {
        %3: bf16[3] = cast(%0) dtype=bf16
        %4: bf16[2 3] = collective(%3) kind=all-gather group=shard ranks=2 reduction=sum unit=u
        %5: f32[2 5] = collective(%1) kind=all-gather group=shard ranks=2 reduction=sum unit=u
        %6: f32[6] = exp(%2)
        %7: f32[2 5] = neg(%5)
        %8: f32[2 5] = collective(%7) kind=all-reduce group=world ranks=2 reduction=sum unit=v
        %9: f32[6] = sin(%6)
        return %4, %8, %9
      }
      "
    `);
  });

  test('one bucket a unit, a start and a wait, as far apart as their readers allow', () => {
    const g = schedule({ prefetch: 1, gatheredBytes: Number.POSITIVE_INFINITY })(split(bucket()(two)));
    expect(text(g)).toMatchInlineSnapshot(`
      "graph (%0 a: f32[3], %1 b: f32[5], %2 x: f32[6]) {
        %3: f32[2 3], %4: f32[2 5] = start(%0, %1) kind=all-gather group=shard ranks=2 reduction=sum unit=u
        %5: f32[2 3], %6: f32[2 5] = wait(%3, %4, %0, %1)
        %7: bf16[2 3] = cast(%5) dtype=bf16
        %8: f32[6] = exp(%2)
        %9: f32[2 5] = neg(%6)
        %10: f32[2 5] = start(%9) kind=all-reduce group=world ranks=2 reduction=sum unit=v
        %11: f32[6] = sin(%8)
        %12: f32[2 5] = wait(%10, %9)
        return %7, %12, %11
      }
      "
    `);
    expect(() => verifySchedule(g, mesh, two)).not.toThrow();
  });

  /** Three units forward and backward; what they give is read at the end, by the optimizer. */
  const units = (copies: boolean): Graph => {
    const [fwd, bwd, opt] = [[], [], []] as [string[], string[], string[]];
    const all = 'ranks=2 reduction=sum';
    for (const u of [0, 1, 2]) {
      fwd.push(`%${10 + u}: f32[2 3] = collective(%${u}) kind=all-gather group=shard ${all} unit=u${u} ; phase=fwd`);
      fwd.push(`%${20 + u}: f32[2 3] = mul(%${u === 0 ? 3 : 19 + u}, %${10 + u}) ; phase=fwd`);
    }
    for (const u of [2, 1, 0]) {
      bwd.push(`%${30 + u}: f32[2 3] = collective(%${u}) kind=all-gather group=shard ${all} unit=u${u} ; phase=bwd`);
      bwd.push(`%${40 + u}: f32[2 3] = mul(%${u === 2 ? 22 : 41 + u}, %${30 + u}) ; phase=bwd`);
      opt.push(`%${50 + u}: f32[3] = collective(%${40 + u}) kind=reduce-scatter group=shard ${all} unit=u${u} ; phase=opt`);
      const sum = copies ? `%${60 + u}: f32[3] = collective(%${50 + u}) kind=all-reduce group=replica ${all} unit=u${u} ; phase=opt` : '';
      if (copies) opt.push(sum);
      opt.push(`%${70 + u}: f32[3] = sub(%${u}, %${copies ? 60 + u : 50 + u}) ; phase=opt`);
    }
    return parse(
      `graph (%0: f32[3], %1: f32[3], %2: f32[3], %3: f32[2 3]) {\n${[...fwd, ...bwd, ...opt].join('\n')}\nreturn %70, %71, %72\n}`,
    );
  };
  /** `+gather 1` starts, `gather 1` has arrived; arithmetic by its unit, the backward one in brackets. */
  const timeline = (g: Graph): string => {
    const started = new Map<Value, string>();
    return g.nodes
      .map((n) => {
        if (n.op.prim === 'wait') return started.get(n.inputs[0] as Value);
        if (n.op.prim !== 'start') return `${n.op.prim}`;
        const what = `${{ 'all-gather': 'gather', 'reduce-scatter': 'scatter', 'all-reduce': 'sum' }[n.op.kind]} ${n.op.unit}`;
        started.set(n.outputs[0] as Value, what);
        return `+${what}`;
      })
      .join(' | ');
  };
  const scheduled = (copies: boolean, prefetch: number, gatheredBytes = Number.POSITIVE_INFINITY): string => {
    const whole = units(copies);
    const g = schedule({ prefetch, gatheredBytes })(split(bucket()(whole)));
    expect(() => verifySchedule(g, copies ? { ranks: 4, shard: 2 } : mesh, whole)).not.toThrow();
    return timeline(g);
  };

  test('gathers start as many ahead as they are told, within a phase', () => {
    expect(scheduled(false, 0)).toMatchInlineSnapshot(
      `"+gather u0 | gather u0 | mul | +gather u1 | gather u1 | mul | +gather u2 | gather u2 | mul | +gather u2 | gather u2 | mul | +scatter u2 | +gather u1 | gather u1 | mul | scatter u2 | +scatter u1 | +gather u0 | gather u0 | mul | scatter u1 | +scatter u0 | sub | sub | scatter u0 | sub"`,
    );
    expect(scheduled(false, 1)).toMatchInlineSnapshot(
      `"+gather u0 | +gather u1 | gather u0 | mul | +gather u2 | gather u1 | mul | gather u2 | mul | +gather u2 | +gather u1 | gather u2 | mul | +scatter u2 | +gather u0 | gather u1 | mul | scatter u2 | +scatter u1 | gather u0 | mul | scatter u1 | +scatter u0 | sub | sub | scatter u0 | sub"`,
    );
    expect(scheduled(false, 2)).toMatchInlineSnapshot(
      `"+gather u0 | +gather u1 | +gather u2 | gather u0 | mul | gather u1 | mul | gather u2 | mul | +gather u2 | +gather u1 | +gather u0 | gather u2 | mul | +scatter u2 | gather u1 | mul | scatter u2 | +scatter u1 | gather u0 | mul | scatter u1 | +scatter u0 | sub | sub | scatter u0 | sub"`,
    );
  });

  test('a gather for which there is no room yet starts later', () => {
    // one unit is 24 bytes
    expect(scheduled(false, 2, 48)).toMatchInlineSnapshot(
      `"+gather u0 | +gather u1 | gather u0 | mul | +gather u2 | gather u1 | mul | gather u2 | mul | +gather u2 | +gather u1 | gather u2 | mul | +scatter u2 | +gather u0 | gather u1 | mul | scatter u2 | +scatter u1 | gather u0 | mul | scatter u1 | +scatter u0 | sub | sub | scatter u0 | sub"`,
    );
    expect(scheduled(false, 2, 47)).toBe(scheduled(false, 0));
  });

  test('a sum over copies starts when the sums within them have landed', () => {
    expect(scheduled(true, 1)).toMatchInlineSnapshot(
      `"+gather u0 | +gather u1 | gather u0 | mul | +gather u2 | gather u1 | mul | gather u2 | mul | +gather u2 | +gather u1 | gather u2 | mul | +scatter u2 | +gather u0 | gather u1 | mul | scatter u2 | +sum u2 | +scatter u1 | gather u0 | mul | sum u2 | scatter u1 | +sum u1 | +scatter u0 | sub | sum u1 | sub | scatter u0 | +sum u0 | sum u0 | sub"`,
    );
  });

  test.each([
    ['a start without a wait', /return .*$/m, 'return %3'],
    ['a wait for what was sent', /wait\((%\d+), (%\d+)\)/, 'wait($2, $1)'],
    ['two waits', /^(.*)(%\d+)(: f32\[2\] = wait.*)$/m, '$1$2$3\n%90$3'],
  ])('%s is refused', (_, from, to) => {
    const good = `graph (%0: f32[2]) {
      %1: f32[2] = start(%0) kind=all-reduce group=world ranks=2 reduction=sum unit=u
      %2: f32[2] = wait(%1, %0)
      %3: f32[2] = exp(%0)
      return %2
    }`;
    expect(() => verifySchedule(parse(good), mesh, parse(good))).not.toThrow();
    const bad = _ === 'a start without a wait' ? good.replace(/.*wait.*\n/, '').replace(from, to) : good.replace(from, to);
    expect(() => verifySchedule(parse(bad), mesh, parse(good))).toThrow(/never waited for|waits for nothing|waits a second time/);
  });

  test.each([
    ['a sum left out', '%3: f32[2] = start(%2) kind=all-reduce group=shard ranks=2 reduction=sum unit=u\n %4: f32[2] = wait(%3, %2)\n', ''],
    ['a maximum instead', 'reduction=sum', 'reduction=max'],
    ['another group of as many ranks', 'group=shard', 'group=replica'],
    ['another operand', 'start(%2)', 'start(%0)'],
  ])('%s is refused', (_, from, to) => {
    const good = `graph (%0: f32[2], %1: f32[2]) {
      %2: f32[2] = mul(%0, %1)
      %3: f32[2] = start(%2) kind=all-reduce group=shard ranks=2 reduction=sum unit=u\n %4: f32[2] = wait(%3, %2)
      %5: f32[2] = exp(%4)
      return %5
    }`;
    const four = { ranks: 4, shard: 2 };
    const bad = good.replace(from, to).replace('wait(%3, %2)', `wait(%3, ${to.includes('%0') ? '%0' : '%2'})`);
    expect(() => verifySchedule(parse(good), four, parse(good))).not.toThrow();
    expect(() => verifySchedule(parse(to === '' ? bad.replace('exp(%4)', 'exp(%2)') : bad), four, parse(good))).toThrow(
      /computes what nothing did before/,
    );
  });
});

describe('terms of a sum', () => {
  const split = { split: 0 } as const;
  const placedAs = (text: string, ...where: readonly Placement[]): Placed => {
    const graph = parse(text);
    const values = [...graph.params, ...graph.nodes.flatMap((n) => n.outputs)];
    return { graph, placement: new Map(values.map((v, i) => [v, where[i] as Placement])) };
  };
  const sum = '%1: f32[2] = reduceSum(%0) axes=[0]';
  const graph = (rest: string): string => `graph (%0: f32[4 2]) {\n${sum}\n${rest}\n}`;

  test('pass through what is linear, and are brought together', () => {
    const good = graph('%2: f32[2] = neg(%1)\n%3: f32[2] = reshard(%2) axis=data from=P to=R\n%4: f32[2] = exp(%3)\nreturn %4');
    expect(() => verifyTerms(placedAs(good, split, 'P', 'P', 'R', 'R'), mesh)).not.toThrow();
  });

  test('are not made of whole rows, and are of parts of rows', () => {
    const rows = (n: number) => () =>
      verifyTerms(placedAs(`graph (%0: f32[${n} 2]) {\n%1: f32[${n}] = reduceSum(%0) axes=[1]\nreturn %1\n}`, 'flat', 'flat'), mesh);
    expect(rows(4)).not.toThrow();
    expect(rows(3)).toThrow(/reduceSum of flat: gives P, not flat/);
  });

  test.each([
    ['a function of one term', graph('%2: f32[2] = exp(%1)\nreturn %2'), ['P', 'R'], /exp of P: one term is read/],
    ['a product of terms', graph('%2: f32[2] = mul(%1, %1)\nreturn %2'), ['P', 'P'], /mul of P, P: one term is read/],
    ['a term as a result', graph('return %1'), ['P'], /result 0 is P/],
    ['a term taken for the sum', graph('return %1'), ['R'], /gives P, not R/],
    [
      'a sum taken for a maximum',
      graph('%2: f32[2] = reshard(%1) axis=data from=max to=R\nreturn %2'),
      ['P', 'R'],
      /moved as if it were max/,
    ],
  ] as const)('%s is refused', (_, text, where, says) => {
    expect(() => verifyTerms(placedAs(text, split, ...where), mesh)).toThrow(says);
  });
});
