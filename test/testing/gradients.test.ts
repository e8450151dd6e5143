/** checkGradients accepts what is right, names what is wrong, and tells kinks from failures. */
import { readFileSync } from 'node:fs';
import { afterEach, expect, test } from 'vitest';
import type { Value } from '../../compiler/graph/types.ts';
import { type AnySite, scale } from '../../compiler/transform/dual.ts';
import { type JvpRule, jvpRules } from '../../compiler/transform/jvp.ts';
import { transposeRules } from '../../compiler/transform/transpose.ts';
import {
  abs,
  argmax,
  checkpoint,
  cumsum,
  exp,
  type F32,
  floor,
  gather,
  gelu,
  host,
  layerNorm,
  log,
  max,
  relu,
  type Scalar,
  scan,
  sin,
  softmax,
  spec,
  sqrt,
  stopGradient,
  sum,
  type Tensor,
  tanh,
  where,
  zeros,
} from '../../dsl/index.ts';
import {
  type Check,
  type CheckOptions,
  checkGradients,
  formatReport,
  type GradientReport,
  type GradientLaw as Law,
} from '../../testing/index.ts';

const restore: (() => void)[] = [];
/** Puts another rule in the place of one, until the test ends. */
const patch = <K extends string>(table: { readonly [P in K]: unknown }, prim: K, rule: unknown): void => {
  const open = table as { [P in K]: unknown };
  const saved = open[prim];
  restore.push(() => {
    open[prim] = saved;
  });
  open[prim] = rule;
};
afterEach(() => {
  // the last first: a table patched twice goes back to what it was before both
  for (const r of restore.splice(0).reverse()) r();
});
/** The jvp rule of a primitive with its tangents doubled, where `when` says so. */
const doubled = (prim: 'tanh' | 'call' | 'scan', when: (s: AnySite) => boolean = () => true): void => {
  const right = jvpRules[prim] as JvpRule<never>;
  patch(jvpRules, prim, (s: AnySite) => {
    const dual = right(s as never);
    return when(s) ? { ...dual, tangents: dual.tangents.map((t) => t && scale(s.b, t, 2)) } : dual;
  });
};

/** Marks a line of this file by a name that no other line has. */
const noted = <X>(_: string, x: X): X => x;
const written = readFileSync(import.meta.filename, 'utf8').split('\n');
/** The number of a marked line, as it is written: what runs has other lines. */
const marked = (mark: string): number => {
  const lines = written.flatMap((l, i) => (l.includes(`noted('${mark}', `) ? [i + 1] : []));
  expect(lines, mark).toHaveLength(1);
  return lines[0] as number;
};

const accepted = (r: GradientReport): void => expect([r.ok, r.undecided], formatReport(r)).toEqual([true, []]);
const firstFailure = (r: GradientReport, law: Law): Check => {
  const found = r.failures.find((c) => c.law === law);
  expect(r.ok).toBe(false);
  return found ?? expect.fail(`no failure of ${law}:\n${formatReport(r)}`);
};

type Matrix = F32<'B D'>;
const args = [spec('B D')] as const;
const dims = { B: 3, D: 4 };

test('right derivatives of all kinds are accepted, of both orders', () => {
  const f = (x: Matrix, w: F32<'D'>, i: Tensor<'B', 'i32'>) => {
    const y = layerNorm(gelu(x), w, w);
    const [last, rows] = scan((c: F32<'D'>, r: F32<'D'>) => [tanh(c.add(r)), c.mul(r)], w, y);
    const z = softmax(cumsum('b *d', rows));
    return { z, t: [tanh(z).mul(sin(y)), exp(last.neg())], n: argmax('b d -> b', x), i };
  };
  const report = checkGradients(f, { args: [spec('B D'), spec('D'), spec('B', 'i32')], dims, order: 2, directions: 2 });
  accepted(report);
  expect(new Set(report.checks.map((c) => c.law)).size).toBe(7);
  expect(report).toEqual(checkGradients(f, { args: [spec('B D'), spec('D'), spec('B', 'i32')], dims, order: 2, directions: 2 }));
});

test('sharp, small and large functions have verdicts', () => {
  accepted(checkGradients((x: Matrix) => softmax(x.mul(30)), { args, dims, order: 2, directions: 2 }));
  accepted(checkGradients((x: Matrix) => sin(x).mul(1e-9), { args, dims, order: 2, directions: 2 }));
  accepted(checkGradients((x: Matrix) => exp(x.mul(10)).mul(1e9), { args, dims, order: 2, directions: 2 }));
  accepted(checkGradients((x: Matrix) => log(x), { args, dims, range: [1e-3, 1e-2], order: 2, directions: 2 }));
});

test('stopGradient is a constant of the differences too', () => {
  const f = (x: Matrix) => x.mul(stopGradient(sin(x)));
  accepted(checkGradients(f, { args, dims, order: 2 }));
});

const wavy = (x: Matrix) => {
  const y = sin(x).mul(2);
  return tanh(noted('tanh', y)).mul(x);
};

test('a wrong jvp rule: the first primitive that is wrong, its file and the source line', () => {
  doubled('tanh');
  const report = checkGradients(wavy, { args, dims });
  const { place } = firstFailure(report, 'forward');
  expect(place).toMatchObject({
    prim: 'tanh',
    file: 'compiler/transform/jvp-pointwise.ts',
    loc: { file: import.meta.filename, line: marked('tanh') },
  });
  expect(formatReport(report)).toContain(`the rule of tanh in compiler/transform/jvp-pointwise.ts\n  at ${import.meta.filename}:`);
  expect(formatReport(report)).toMatch(/^law .*\nforward .*FAIL\n/);
  // both modes come from the one rule, so they agree on the wrong answer
  expect(report.failures.every((c) => c.law === 'forward')).toBe(true);
});

test('an error of one part in a million is found, one of rounding is not', () => {
  const right = jvpRules.tanh as JvpRule<never>;
  const by = (factor: number) => (s: AnySite) => {
    const dual = right(s as never);
    return { ...dual, tangents: dual.tangents.map((t) => t && scale(s.b, t, factor)) };
  };
  patch(jvpRules, 'tanh', by(1 + 1e-6));
  firstFailure(checkGradients(wavy, { args, dims, directions: 1 }), 'forward');
  patch(jvpRules, 'tanh', by(1 + 2 ** -52));
  accepted(checkGradients(wavy, { args, dims }));
});

test('a wrong rule inside a composite and inside a loop', () => {
  doubled('tanh');
  const inLoop = (x: Matrix) => scan((c: F32<'D'>, r: F32<'D'>) => [tanh(noted('loop', c.mul(r))), c], sum('b d -> d', x), x);
  const { place } = firstFailure(checkGradients(inLoop, { args, dims, directions: 1 }), 'forward');
  expect(place).toMatchObject({ prim: 'tanh', loc: { line: marked('loop') } });
});

test('a wrong rule of a loop whose body is right', () => {
  doubled('scan');
  const f = (x: Matrix) => scan((c: F32<'D'>, r: F32<'D'>) => [sin(c.mul(r)), c], sum('b d -> d', x), x);
  const { place } = firstFailure(checkGradients(f, { args, dims, directions: 1 }), 'forward');
  expect(place).toMatchObject({ prim: 'scan', file: 'compiler/transform/jvp-regions.ts' });
});

test('a wrong transposition rule breaks duality', () => {
  const right = transposeRules.reduceSum;
  patch(transposeRules, 'reduceSum', (s: Parameters<typeof right>[0]) => right(s).map((t) => t && s.b.neg(t)));
  const f = (x: Matrix) => {
    const y = x.mul(x);
    return sum('b d -> b', noted('sum', y));
  };
  const { place } = firstFailure(checkGradients(f, { args, dims, directions: 1 }), 'duality');
  expect(place).toMatchObject({
    prim: 'reduceSum',
    file: 'compiler/transform/transpose-structure.ts',
    loc: { line: marked('sum') },
  });
});

test('a second derivative that a rule has lost', () => {
  patch(jvpRules, 'tanh', ({ b, op, x, t: [t] }: AnySite) => {
    const y = b.one(op, x);
    return { results: [y], tangents: [t && b.mul(t, b.stopGradient(b.sub(b.fill(1, y.type), b.mul(y, y))))] };
  });
  accepted(checkGradients(wavy, { args, dims, order: 1 }));
  expect(firstFailure(checkGradients(wavy, { args, dims, order: 2 }), 'gradient-forward').place?.loc?.line).toBe(marked('tanh'));
  // in a function that has stops of its own too
  const stopped = (x: Matrix) => softmax(wavy(x));
  firstFailure(checkGradients(stopped, { args, dims, order: 2 }), 'gradient-forward');
});

test('second derivatives that are not symmetric', () => {
  // as if the slope at a row depended on the rows before it
  patch(jvpRules, 'cos', ({ b, op, x, t: [t] }: AnySite) => {
    const shifted = t && b.one({ prim: 'cumsum', axis: 0 }, [t]);
    return { results: b.emit(op, x), tangents: [shifted && b.neg(b.mul(shifted, b.sin(x[0] as Value)))] };
  });
  firstFailure(
    checkGradients((x: Matrix) => sin(x), { args, dims, order: 2, directions: 1 }),
    'symmetry',
  );
});

test('a composite whose rule differs from its definition', () => {
  doubled('call', (s) => s.op.prim === 'call' && s.op.tag === 'gelu');
  const f = (x: Matrix) => sin(gelu(noted('gelu', x)));
  const { place } = firstFailure(checkGradients(f, { args, dims, directions: 1 }), 'definition');
  expect(place).toMatchObject({ prim: 'call', tag: 'gelu', file: 'compiler/transform/jvp-regions.ts', loc: { line: marked('gelu') } });
});

test('a composite inside a loop whose rule differs from its definition', () => {
  // the rule is wrong below 0 only, where the last step is and the first is not
  const right = jvpRules.call;
  patch(jvpRules, 'call', (s: Parameters<typeof right>[0]) => {
    const dual = right(s);
    const [x] = s.x as [Value];
    const wrong = (t: Value): Value => s.b.select(s.b.compare('lt', x, s.b.fill(0, x.type)), scale(s.b, t, 2), t);
    return s.op.tag === 'gelu' ? { ...dual, tangents: dual.tangents.map((t) => t && wrong(t)) } : dual;
  });
  const f = (x: Matrix) => scan((c: F32<'D'>, r: F32<'D'>) => [gelu(noted('carry', c)), r], sum('b d -> d', x), x);
  const loop = (reverse: boolean) => (x: F32<'B'>) =>
    scan((c: Scalar, r: Scalar) => [r, gelu(noted('step', c.add(r)))], stopGradient(sum('b ->', x)).mul(0), x, { reverse });
  accepted(checkGradients(loop(true), { args: [host([-1, 2, 3], [3])], directions: 1 }));
  const named = (r: GradientReport) => firstFailure(r, 'definition').place;
  const [last, first] = [checkGradients(loop(false), { args: [host([1, 2, -3], [3])], directions: 1 }), checkGradients(f, { args, dims })];
  expect(named(last)).toMatchObject({ prim: 'call', tag: 'gelu', loc: { line: marked('step') } });
  expect(named(first)).toMatchObject({ prim: 'call', tag: 'gelu', loc: { line: marked('carry') } });
});

test('recomputation that changes a bit: from which primitive on', () => {
  accepted(checkGradients((x: Matrix) => checkpoint((y: Matrix) => sin(y).mul(y))(x), { args, dims, order: 2 }));
  const right = jvpRules.call;
  patch(jvpRules, 'call', (s: Parameters<typeof right>[0]) => {
    const dual = right(s);
    const met = s.op.tag === 'checkpoint' && s.op.body.nodes.some((n) => n.op.prim === 'tanh');
    return met ? { ...dual, tangents: dual.tangents.map((t) => t && scale(s.b, t, 1 + 2 ** -52)) } : dual;
  });
  const report = checkGradients(wavy, { args, dims, directions: 1 });
  expect(firstFailure(report, 'checkpoint').place).toMatchObject({
    prim: 'tanh',
    file: 'compiler/transform/remat.ts',
    loc: { line: marked('tanh') },
  });
  expect(report.failures.map((c) => c.law)).toEqual(['checkpoint']);
  expect(formatReport(report)).toMatch(/\ncheckpoint .* [\d.e-]+ \/ 0 .* FAIL\n/);
  expect(formatReport(report)).toMatch(
    /\n {2}from tanh on; compiler\/transform\/remat\.ts recomputes\n {2}at .*\n\nFAIL: checkpoint \(seed 0\)$/,
  );
});

test('a rule that only the derivative of a gradient transposes', () => {
  // the gradient of gather is scatterAdd, which nothing but that gradient has
  const right = transposeRules.scatterAdd;
  patch(transposeRules, 'scatterAdd', (s: Parameters<typeof right>[0]) => right(s).map((t) => t && s.b.neg(t)));
  const f = (x: Matrix, i: Tensor<'3', 'i32'>) => sin(gather(x, i));
  const report = checkGradients(f, { args: [spec('B D'), host(Int32Array.of(0, 2, 0), [3])], dims, order: 2, directions: 2 });
  expect(firstFailure(report, 'gradient-duality').place).toMatchObject({
    prim: 'scatterAdd',
    file: 'compiler/transform/transpose-structure.ts',
  });
  expect(new Set(report.failures.map((c) => c.law))).toEqual(new Set(['gradient-duality']));
});

const ties = {
  max: (x: F32<'4'>) => x.max(x.mul(2)),
  min: (x: F32<'4'>) => x.min(0),
  abs: (x: F32<'4'>) => abs(x),
  relu: (x: F32<'4'>) => relu(x),
  floor: (x: F32<'4'>) => floor(x).mul(x),
  where: (x: F32<'4'>) => where(x.lt(0), x, x.mul(3)),
  reduceMax: (x: F32<'4'>) => max('n ->', x),
  argmax: (x: F32<'4'>) => argmax('n ->', x).cast('f32').mul(sum('n ->', x)),
};
test.each(Object.entries(ties))('%s at a tie or a jump is a kink, not a failure', (name, f) => {
  const at = (modes: readonly ('fwd' | 'rev')[]): GradientReport =>
    checkGradients(f as (x: F32<'4'>) => Scalar, { args: [host([0, 0, -1, -2], [4])], modes, directions: 2 });
  const report = at(['fwd', 'rev']);
  expect([report.verdict, report.undecided, report.kinks.length > 0], formatReport(report)).toEqual(['pass', ['forward'], true]);
  const prims: Readonly<Record<string, string>> = { relu: 'compare', where: 'compare' };
  expect(report.kinks[0]?.place).toMatchObject({ prim: prims[name] ?? name, loc: { file: import.meta.filename } });
  expect(formatReport(report)).toMatch(/Kinks, which are no failures.*\n {2}\w+ at .*gradients\.test\.ts:\d+:\d+/);
  expect(formatReport(report)).toMatch(/\n {2}forward: a kink in every direction\n\npass: \d laws? holds?, 1 undecided$/);
  // without duality nothing is left that says anything about the derivative
  const alone = at(['fwd']);
  expect([alone.verdict, alone.ok, alone.failures, alone.undecided]).toEqual(['undecided', false, [], ['forward']]);
  expect(formatReport(alone)).toMatch(/\nUNDECIDED: forward$/);
});

test('kinks near some points: other points are taken, and there the derivative is right', () => {
  const f = (x: F32<'N'>) => relu(x).mul(x.sub(floor(x.mul(40)).mul(0.01)));
  const report = checkGradients(f, { args: [spec('N')], dims: { N: 60 }, directions: 6 });
  accepted(report);
  expect(report.checks.filter((c) => c.law === 'forward' && c.status === 'ok').length).toBe(6);
});

test('what has no verdict is told so', () => {
  const nan = checkGradients((x: Matrix) => sqrt(x.mul(x).neg().sub(1)), { args, dims, directions: 1 });
  expect([nan.ok, nan.verdict, nan.undecided]).toEqual([false, 'undecided', ['forward', 'duality', 'checkpoint']]);
  expect(formatReport(nan)).toMatch(/\n {2}duality: the function or its derivative is not finite\n[\s\S]*\nUNDECIDED: /);
  // finite, but not its derivative
  const slope = checkGradients((x: F32<'2'>) => sqrt(x), { args: [host([0, 0], [2])], modes: ['fwd'], directions: 1 });
  expect(slope.ok).toBe(false);
  // (x + 1e15) - 1e15 has no digit right
  const coarse = checkGradients((x: Matrix) => sin(x).add(1e15).sub(1e15), { args, dims, modes: ['fwd'], directions: 1 });
  expect(formatReport(coarse)).toMatch(/\n {2}forward: rounding is as large as what is compared\n/);
});

test('a derivative that is not finite where the function is: where that starts', () => {
  const norm = checkGradients((x: F32<'3'>) => sqrt(noted('square', sum('n ->', x.mul(x)))), { args: [host([0, 0, 0], [3])] });
  expect(firstFailure(norm, 'forward').place).toMatchObject({ prim: 'sqrt', fault: 'not finite', loc: { line: marked('square') } });
  // 0 times the infinity of the branch that is left out
  const left = checkGradients((x: F32<'2'>) => where(x.lt(1), exp(noted('exp', x.mul(1000))), 0), { args: [host([0, 2], [2])] });
  expect(left.failures.map((c) => c.law)).toContain('duality');
  expect(firstFailure(left, 'duality').place).toMatchObject({ prim: 'exp', fault: 'not finite', loc: { line: marked('exp') } });
  // no number stands for what is none
  for (const text of [formatReport(norm), formatReport(left)]) {
    expect(text).toMatch(/ is not finite, expected [-\d.e]+( \(tolerance \S+\))?\n/);
    expect(text).toMatch(/\n(forward|duality) .* not finite .* FAIL\n/);
    expect(text).not.toMatch(/NaN|Infinity/);
  }
  expect(formatReport(left)).toContain('\n  exp is the first that is not finite, or has no finite slope\n  at ');
});

test('a tie behind stopGradient is no kink', () => {
  accepted(checkGradients((x: F32<'3'>) => softmax(x), { args: [host([1, 1, 1], [3])] }));
  // beside it is one
  const f = (x: F32<'3'>) => x.sub(stopGradient(max('n -> 1', x))).mul(max('n -> 1', x));
  expect(checkGradients(f, { args: [host([1, 1, 1], [3])], directions: 1 }).undecided).toEqual(['forward']);
});

test('axes without elements and of one element', () => {
  const f = (x: Matrix, w: F32<'D'>) => softmax(cumsum('b *d', layerNorm(gelu(x), w, w)));
  const of = (B: number, D: number) => checkGradients(f, { args: [spec('B D'), spec('D')], dims: { B, D }, order: 2, directions: 2 });
  accepted(of(1, 1));
  // no result, but the gradient of w, which is zero, is one to check
  const rows = of(0, 3);
  expect([rows.verdict, rows.undecided], formatReport(rows)).toEqual(['pass', ['forward']]);
  expect(formatReport(rows)).toMatch(
    /\nforward .*nothing to compare\n[\s\S]*\n {2}forward: nothing to compare: there are no elements\n\npass: /,
  );
  // nothing at all
  const none = of(2, 0);
  expect([none.verdict, none.ok, new Set(none.undecided)]).toEqual(['undecided', false, new Set(none.checks.map((c) => c.law))]);
  expect(none.checks.every((c) => c.status === 'empty')).toBe(true);
  const rowsOf = (x: F32<'V D'>, i: Tensor<'B', 'i32'>) => gather(x, i);
  const empty = checkGradients(rowsOf, { args: [spec('V D'), spec('B', 'i32')], dims: { V: 0, B: 0, D: 3 } });
  expect(formatReport(empty)).toMatch(/\nUNDECIDED: forward, duality, checkpoint$/);
});

test('what stopGradient holds is told, each line once, but not what a composite stops', () => {
  const scaled = (x: F32<'N'>) => x.div(stopGradient(noted('held', sqrt(sum('n ->', x.mul(x))))));
  const f = (x: F32<'N'>) =>
    scan((c: Scalar, r: Scalar) => [c, stopGradient(noted('inner', r)).mul(r)], sum('n ->', x), softmax(scaled(x)));
  const twice = (x: F32<'N'>) => [checkpoint((y: F32<'N'>) => f(scaled(y)))(x), stopGradient(sum('n ->', x).lt(0)).cast('f32')];
  const report = checkGradients(twice, { args: [spec('N')], dims: { N: 3 }, directions: 1 });
  accepted(report);
  expect(report.stopped.map((p) => p.loc?.line)).toEqual([marked('held'), marked('inner')]);
  const lines = [marked('held'), marked('inner')].map((l) => `held constant by stopGradient at ${import.meta.filename}:${l}:\\d+`);
  expect(formatReport(report)).toMatch(new RegExp(`\n\n${lines.join('\n')}\n\npass: `));
  expect(checkGradients((x: Matrix) => softmax(x), { args, dims, directions: 1 }).stopped).toEqual([]);
});

test('failures of one law at one place are one paragraph, with the worst of them', () => {
  doubled('tanh');
  const report = checkGradients(wavy, { args, dims });
  expect(report.failures.length).toBe(4);
  const worst = report.failures.reduce((a, c) => (c.error / c.tolerance > a.error / a.tolerance ? c : a));
  const text = formatReport(report);
  expect(text.split('the rule of tanh').length - 1).toBe(1);
  expect(text).toContain(
    `\n\nforward, in 4 directions, worst: direction ${worst.direction}: ${worst.at} is ${worst.got}, expected ${worst.expected} (tolerance `,
  );
  expect(formatReport(checkGradients(wavy, { args, dims, directions: 1 }))).toMatch(/\n\nforward, direction 0: result /);
});

test('refusals', () => {
  const f = (x: Matrix) => x.mul(x);
  expect(() => checkGradients(f, { args })).toThrow(/size of argument 0 is \[B D\]/);
  expect(() => checkGradients((x: Matrix) => x.lt(0), { args, dims })).toThrow(/no float result/);
  expect(() => checkGradients((x: Tensor<'2', 'i32'>) => x.cast('f32'), { args: [spec('2', 'i32')] })).toThrow(/no float argument/);
  // a size that neither an argument nor `dims` has a number for, also where only a loop sees it
  const wide = (x: Matrix) => [x, zeros('B K' as 'B D')];
  expect(() => checkGradients(wide, { args, dims })).toThrow(
    expect.objectContaining({ code: 'FV0005', message: 'no argument has the size K, so it has no number' }),
  );
  const inLoop = (x: Matrix) => scan((c: F32<'D'>, r: F32<'D'>) => [c.add(sum('k d -> d', zeros('K D' as 'D D'))), r], zeros('D'), x);
  expect(() => checkGradients(inLoop, { args, dims })).toThrow('no argument has the size K');
  accepted(checkGradients(wide, { args, dims: { ...dims, K: 2 } }));
  expect(() => checkGradients((x: Matrix) => stopGradient(f(x)), { args, dims })).toThrow(
    /no float result that depends on a float argument/,
  );
  const wrong: readonly (readonly [CheckOptions, RegExp])[] = [
    [{ directions: 0 }, /directions 0: expected a whole number from 1 on/],
    [{ modes: [] }, /modes \[\]: expected/],
    [{ order: 3 as 2 }, /order 3: expected 1 or 2/],
    [{ range: [1, 0] }, /range \[1,0\]: expected two numbers/],
    [{ range: [0, Number.NaN] }, /range/],
    [{ seed: 0.5 }, /seed 0.5: expected a whole number/],
  ];
  for (const [options, message] of wrong) expect(() => checkGradients(f, { args, dims, ...options })).toThrow(message);
  const inThisFile = expect.objectContaining({ code: 'FV0006', loc: expect.objectContaining({ file: import.meta.filename }) });
  expect(() => checkGradients(() => 3, { args, dims })).toThrow(inThisFile);
  expect(() => checkGradients(f, { args, dims, dtype: 'f32' as 'f64' })).toThrow(/dtype f32: expected f64/);
});
