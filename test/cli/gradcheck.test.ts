/** `fovea gradcheck`: what it prints, which exports it takes, its exit status, and where the file that it checks may come from. */
import { spawnSync } from 'node:child_process';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { expect, test } from 'vitest';
import { gradcheckCommand } from '../../cli/gradcheck.ts';
import { fovea, scratch } from './command.ts';
import { installed } from './package.ts';

const source = (file: string): string => JSON.stringify(pathToFileURL(join(import.meta.dirname, '../..', file)).href);
/** A file of another project that takes the language from these sources. */
const file = (name: string, text: string, type = 'module'): string => {
  const dir = scratch();
  const path = join(dir, name);
  writeFileSync(join(dir, 'package.json'), JSON.stringify({ type }));
  writeFileSync(
    path,
    `import { einsum, floor, fn, gather, log, module, param, rearrange, sin, stopGradient, sum, tanh } from ${source('dsl/index.ts')};\n${text}`,
  );
  return path;
};
const gradcheck = (...args: string[]) => fovea(['gradcheck', '--directions', '1', ...args], { fromSources: true });
const refused = async (code: string, ...args: string[]): Promise<string> => {
  const { status, stderr } = await gradcheck(...args);
  expect({ status, stderr }).toMatchObject({ status: 1, stderr: expect.stringMatching(new RegExp(`^fovea: ${code}: `)) });
  return stderr;
};

test('a function, what a function returns, and refusals', { timeout: 240_000 }, async () => {
  const good = await gradcheck('models/layers.ts#layerNorm(4)', '--order', '2');
  expect(good).toMatchObject({ status: 0, stderr: '' });
  expect(good.stdout).toMatch(/^layerNorm\(4\) \[\.\.\. D\] with [\s\S]*\n {2}forward .* pass\n[\s\S]*symmetry .* pass\n/);
  expect(good.stdout).toMatch(/\n {2}pass: 7 laws hold\n\n$/);
  const sized = await gradcheck('models/losses.ts#koleoLoss', '--dims', 'B=4,D=3');
  expect(sized.stdout).toContain('koleoLoss [B D] with B=4, D=3\n');

  expect(await refused('FV0503', 'models/losses.ts#nope')).toContain("has no export 'nope'");
  expect(await refused('FV0005', 'models/losses.ts#koleoLoss', '--dims', 'X=3')).toContain('there is no size X');
  expect(await refused('FV0103', 'models/losses.ts#nearestOther')).toContain('no float result');
  expect(await refused('FV0503', 'models/losses.ts#dinoLoss')).toContain("as in '#dinoLoss(");
  expect(await refused('FV0596', 'models/vit/block.ts#block()')).toContain('block() throws TypeError: ');
  const broken = join(scratch(), 'broken.mjs');
  writeFileSync(broken, 'export const f = ;');
  expect(await refused('FV0402', broken)).toContain(`cannot load ${broken}`);
});

test('the help says which sizes are not tried', () => {
  expect(gradcheckCommand().helpInformation().replace(/\s+/g, ' ')).toContain('from 2 to 5, never 0 or 1: try B=1');
});

test('options that cannot be meant are refused before anything is loaded', async () => {
  for (const [option, value, message] of [
    ['--order', '3', '--order 3: expected 1 or 2'],
    ['--range', '2', '--range 2: expected two numbers, the smaller first'],
    ['--range', '2,1', '--range 2,1: expected two numbers, the smaller first'],
    ['--dims', 'B=2,N', "--dims B=2,N: 'N' is no size"],
    ['--directions', '0', '--directions 0: expected a whole number from 1'],
  ] as const) {
    const given = gradcheckCommand().exitOverride().parseAsync(['none.ts', option, value], { from: 'user' });
    await expect(given).rejects.toMatchObject({ code: 'FV0503', message: expect.stringContaining(message) });
  }
});

test('a whole file: what has a derivative is checked, the rest is listed; the status tells what is undecided', {
  timeout: 240_000,
}, async () => {
  const mixed = file(
    'mixed.ts',
    `export const count = fn(['N:i32'], (n) => n.add(1));
     export const held = fn(['N'], (x) => stopGradient(sin(x)));
     export const good = fn(['N M'], (x) => sin(x));
     export const maker = (k: number) => fn(['N'], (x) => x.mul(k));
     export const steps = fn(['N'], (x) => floor(x.mul(1e9)).mul(x));
     export const size = 3;`,
  );
  const all = await gradcheck(mixed, '--dims', 'M=1,N=2');
  expect(all).toMatchObject({ status: 0, stderr: '' });
  expect(all.stdout).toMatch(/^good \[N M\] with N=2, M=1\n[\s\S]*\nsteps \[N\] with N=2\n[\s\S]*floor at .*mixed\.ts:6:\d+/);
  expect(all.stdout).toContain('\n    forward: a kink in every direction\n\n  pass: 2 laws hold, 1 undecided\n');
  expect(all.stdout).toMatch(
    /\nNot checked:\n {2}count: the function has no float result\n {2}held: .* depends on a float argument\n {2}maker: it does not say .*'#maker\(\.\.\.\)' checks that\n\n2 pass, 0 fail, 0 undecided, 0 with an error, 3 not checked\n$/,
  );
  expect(await gradcheck(mixed, '--strict')).toMatchObject({ status: 2, stderr: '' });
  expect(await gradcheck(`${mixed}#good`, '--strict')).toMatchObject({ status: 0 });
  expect(await refused('FV0005', mixed, '--dims', 'K=2')).toContain('has a size K');

  // log of negative numbers, and a view that three rows do not have: the other export is checked all the same
  const hard = file(
    'hard.ts',
    `export const halves = fn(['B'], (x) => rearrange('(h b) -> h b', x, { h: 2 }));
     export const root = fn(['N'], (x) => log(x));`,
  );
  const thrown = await gradcheck(file('own fault.ts', 'export const f = fn([], () => sum("n ->", [][0].x));'), '--debug');
  expect(thrown.stdout).toMatch(/^f\n\n {2}ERROR FV0596: f throws TypeError: [\s\S]*1 with an error/);
  expect(thrown.stderr).toMatch(/\n +at .*own(%20| )fault\.ts:2:\d+/);
  const undecided = await gradcheck(`${hard}#root`, '--range', '-2,-1');
  expect(undecided).toMatchObject({ status: 2, stderr: '' });
  expect(undecided.stdout).toMatch(/\n {2}UNDECIDED: forward\n\n$/);
  const failing = await gradcheck(hard, '--dims', 'B=3', '--range', '0.5,2');
  expect(failing).toMatchObject({ status: 1, stderr: '' });
  expect(failing.stdout).toMatch(
    /^halves\n\n {2}ERROR FV0001: .*\n[\s\S]*\nroot \[N\] [\s\S]* pass: 3 laws hold\n\n1 pass, 0 fail, 0 undecided, 1 with/,
  );

  const nothing = file('nothing.ts', "export const count = fn(['N:i32'], (n) => n.add(1));");
  expect(await refused('FV0503', nothing)).toMatch(/exports nothing that can be checked\n {4}count: the function has no float result\n/);
});

test('what a target says too much, too little, or wrongly', { timeout: 240_000 }, async () => {
  const target = file(
    'layers.ts',
    `interface Erased {
       readonly a: string;
     }
     export const linear = (i: number, o: number) =>
       module({ I: i, O: o }, () => ({ w: param('O I') }), ['... I'], (p, x) => einsum('... i, o i -> ... o', x, p.w));
     export const fixed = linear(2, 3);
     export const energy = fn(['B D'], (x) => sum('b d ->', tanh(x)));
     export const number = 3;
     export const boom = fn(['N'], (x) => {
       if (x) throw new RangeError('mine' satisfies string);
       return x;
     });
     export const rows = fn(['V D', 'B:i32'], (x, i) => gather(x, i));
     export const loose = fn(['N'], (x) => stopGradient(sum('n ->', x)).mul(x));`,
  );
  const name = await refused('FV0005', `${target}#linear("a", 2)`);
  expect(name).toMatch(/the size I of the module: 'a' is not a size\n {2}at .*layers\.ts:6:8\n {2}A size with a name is size\('a'\)\.\n/);
  expect(await refused('FV0005', `${target}#linear(2)`)).toContain('the size O of the module: undefined is not a size\n');
  for (const of of ['energy', 'fixed']) {
    const given = await refused('FV0503', `${target}#${of}(1)`);
    expect(given).toMatch(new RegExp(`layers\\.ts: the export ${of} says what its arguments are\n {2}Write #${of}\\.\n$`));
  }
  for (const of of ['number', 'number(1)'])
    expect(await refused('FV0503', `${target}#${of}`)).toContain('the export number is no function and no module\n');
  const thrown = await refused('FV0596', `${target}#boom`);
  expect(thrown).toMatch(/boom throws RangeError: mine\n {2}at .*layers\.ts:11:21\n/);

  // sizes by the names that are printed, and by no others
  const dots = await gradcheck(`${target}#fixed`, '--dims', '...0=1,...1=4');
  expect(dots).toMatchObject({ status: 0, stdout: expect.stringMatching(/^fixed \[\.\.\. I\] with \.\.\.0=1, \.\.\.1=4\n/) });
  for (const unknown of ['_axis0', '...2'])
    expect(await refused('FV0005', `${target}#fixed`, '--dims', `${unknown}=1`)).toContain(
      `there is no size ${unknown}\n  The sizes that can be given are ...0, ...1.\n`,
    );

  const nothing = await gradcheck(`${target}#rows`, '--dims', 'B=0,V=0');
  expect(nothing).toMatchObject({
    status: 2,
    stderr: '',
    stdout: expect.stringMatching(/\n {2}UNDECIDED: forward, duality, checkpoint\n/),
  });
  const held = await gradcheck(`${target}#loose`);
  expect(held.stdout).toMatch(/\n\n {2}held constant by stopGradient at .*layers\.ts:15:44\n\n {2}pass: 3 laws hold\n/);
});

test('a rule that is wrong: the law, the rule, the line, and status 1', { timeout: 240_000 }, async () => {
  const wrong = file(
    'wrong.ts',
    `import { jvpRules } from ${source('compiler/transform/jvp.ts')};
     const right = jvpRules.tanh;
     jvpRules.tanh = (s) => {
       const { results, tangents } = right(s);
       return { results, tangents: tangents.map((t) => t && s.b.neg(t)) };
     };
     export const slope = fn(['N'], (x) => sum('n ->', tanh(x)));
     export const other = fn(['N'], (x) => sin(x));`,
  );
  const all = await gradcheck(wrong);
  expect(all).toMatchObject({ status: 1, stderr: '' });
  expect(all.stdout).toMatch(
    /forward .* FAIL\n[\s\S]*the rule of tanh in compiler\/transform\/jvp-pointwise\.ts\n {4}at .*wrong\.ts:8:\d+\n\n {2}FAIL: forward \(seed 0\)\n/,
  );
  expect(all.stdout).toMatch(/\n1 pass, 1 fail, 0 undecided, 0 with an error, 0 not checked\n$/);
});

test('in a project that has Fovea installed: its own command, another copy, and no tsx', { timeout: 240_000 }, async () => {
  const { project, command, packages } = installed(scratch());
  writeFileSync(
    join(project, 'losses.ts'),
    `import { fn, type F32, spec, sum, tanh } from 'fovea';
     export const energy = fn(['B D'], (x) => sum('b d ->', tanh(x).mul(x)));
     export const plain = Object.assign((x: F32<'3'>) => tanh(x), { args: [spec('3')] });`,
  );
  const own = () => spawnSync(process.execPath, [command, 'gradcheck', 'losses.ts'], { cwd: project, encoding: 'utf8' });
  expect(own()).toMatchObject({
    status: 0,
    stderr: '',
    stdout: expect.stringMatching(/^energy \[B D\][\s\S]*\nplain \[3\]\n[\s\S]*\n2 pass, 0 fail/),
  });

  // neither copy knows the other's tensors
  const foreign = await gradcheck(`${project}/losses.ts`);
  expect(foreign).toMatchObject({ status: 1, stderr: '' });
  const explained = `ERROR FV0595: the function uses the copy of Fovea in ${join(project, '../fovea/dist')}, and that in ${join(import.meta.dirname, '../..')} traces it\n    Let both come from one: `;
  expect(foreign.stdout.split(explained).length - 1).toBe(2);
  const twice = await refused('FV0595', `${file('common.ts', "export const f = fn(['N'], (x) => sin(x));", 'commonjs')}#f`);
  expect(twice).toMatch(/uses another instance of Fovea [\s\S]*\n {2}A file that is loaded as CommonJS gets its own: add "type": "module"/);
  writeFileSync(join(project, 'package.json'), '{ "type": "commonjs" }');
  expect(own().stderr).toMatch(/^fovea: FV0402: cannot load .*losses\.ts: it is loaded as CommonJS\n {2}Add "type": "module" /);
  writeFileSync(join(project, 'package.json'), '{ "type": "module" }');

  rmSync(join(packages, 'tsx'));
  const bare = own();
  // newer ones run TypeScript by themselves
  if ((process.features as { readonly typescript?: unknown }).typescript) expect(bare.status).toBe(0);
  else {
    expect(bare).toMatchObject({ status: 1, stdout: '' });
    expect(bare.stderr).toMatch(/^fovea: FV0402: cannot load .*losses\.ts: this Node does not run \.ts files\n {2}Install tsx /);
  }
});
