/** Rule by rule: what `fovea check` finds in a traced body of a few lines, and what it lets pass. */
import { relative } from 'node:path';
import { expect, test } from 'vitest';
import { checker, impuritiesOf } from '../../compiler/frontend/check.ts';
import { inOrder } from '../../compiler/frontend/findings.ts';
import { projectOf } from './project.ts';

/** Code and underlined text of what is found in files of one project, the first of which is asked for. */
const findings = (files: Readonly<Record<string, string>>): readonly string[] => {
  const at = projectOf(files);
  const found = checker([at(Object.keys(files)[0] as string)])
    .round()
    .findings();
  return inOrder(found).map((f) => {
    const line = (files[relative(at('.'), f.file)] as string).split('\n')[f.line - 1] as string;
    return `${f.code} ${line.slice(f.col - 1, f.line === f.endLine ? f.endCol - 1 : undefined)}`;
  });
};

test('a helper may call functions of a module that is imported as one name', { timeout: 60_000 }, () => {
  const ops =
    "import type { F32 } from 'fovea';\nexport const add = (x: F32<'N'>, y: F32<'N'>) => x.add(y);\nexport const seen: number[] = [];\n";
  const model = `import { type F32, fn } from 'fovea';
import * as ops from './ops.ts';
const twice = (x: F32<'N'>) => ops.add(x, x);
const noted = (x: F32<'N'>) => {
  ops.seen.push(1);
  return x;
};
export const f = fn(['N'], (x) => noted(ops.add(twice(x), x)));
`;
  expect(findings({ 'model.ts': model, 'ops.ts': ops })).toEqual(['FV0901 ops.seen.push(1)']);
});

test('whether a method changes what it is called on is known by the type that declares it', { timeout: 60_000 }, () => {
  const body = `
const own = { add: (n: number) => n + 1, set: (n: number) => n };
const list: number[] = [], map = new Map<string, number>(), weak = new WeakSet<object>(), bytes = new Uint8Array(4), day = new Date(0);
const state = { n: 0, list };
export const f = fn(['N'], (x) => {
  const mine: number[] = [];
  mine.push(own.add(2), own.set(3), Object.keys(state).length);
  Object.assign(mine, state);
  list.push(1);
  map.set('a', 1);
  weak.add(state);
  bytes.fill(1);
  bytes.set([1]);
  day.setFullYear(2000);
  state.list.sort();
  Reflect.set(state, 'n', 1);
  Object.assign(state, { n: 2 });
  return x;
});
`;
  expect(findings({ 'model.ts': `import { fn } from 'fovea';${body}` })).toEqual([
    'FV0901 list.push(1)',
    "FV0901 map.set('a', 1)",
    'FV0901 weak.add(state)',
    'FV0901 bytes.fill(1)',
    'FV0901 bytes.set([1])',
    'FV0901 day.setFullYear(2000)',
    'FV0901 state.list.sort()',
    "FV0901 Reflect.set(state, 'n', 1)",
    'FV0901 Object.assign(state, { n: 2 })',
  ]);
});

test('functions given to scope, phase and treeMap run in the trace around them, and may change what it declares', {
  timeout: 60_000,
}, () => {
  const model = `import { type F32, fn, grad, phase, scope, sum, treeMap } from 'fovea';
let all = 0;
export const f = fn(['N'], (x) => {
  let n = 0;
  let kept: F32<'N'> | undefined;
  const leaves: unknown[] = [];
  scope('a', () => { n += 1; all += 1; });
  phase('opt', () => leaves.push(n));
  treeMap((t) => { leaves.push(t); return t; }, { x });
  const g = grad((y: F32<'N'>) => { kept = y; return sum('n ->', y); })(x);
  return kept ? x : g;
});
`;
  expect(findings({ 'model.ts': model })).toEqual(['FV0901 all', 'FV0901 kept']);
});

test('what is asked has another reason than what is done', { timeout: 60_000 }, () => {
  const at = projectOf({
    'model.ts': `import { fn } from 'fovea';
export const f = fn(['N'], (x) => {
  console.log(x.shape);
  process.chdir('x');
  return x.mul(performance.now());
});
`,
  });
  const found = inOrder(
    checker([at('model.ts')])
      .round()
      .findings(),
  );
  expect(found.filter((f) => f.code === 'FV0902').map((f) => f.message)).toEqual([
    "'console.log' is done once, when the body is traced, and is in no program",
    "'process.chdir' is done once, when the body is traced, and is in no program",
    "'performance.now' is asked once, when the body is traced: every run of the program has what it said then",
  ]);
});

test('a parameter is used under its name, however that is written', { timeout: 60_000 }, () => {
  const body = `
const net = (body: 'all') => body;
export const all = module({}, () => ({ 'a b"\\n': param('4'), "it's": param('4'), ['c d']: param('4'), 7: param('4'), left: param('4') }), ['4'], (p, x) =>
  x.mul(p['a b"\\n']).mul(p["it's"]).mul(p['c d']).mul(p['7']));
export const taken = module({}, () => ({ 'a b"\\n': param('4'), 'left out': param('4') }), ['4'], ({ 'a b"\\n': w }, x) => x.mul(w));
export const n = net('all');
`;
  expect(findings({ 'model.ts': `import { module, param } from 'fovea';${body}` }).filter((f) => f.startsWith('FV'))).toEqual([
    'FV0906 left',
    "FV0906 'left out'",
  ]);
});

test('a parameter under the name of a size is told where it is declared', { timeout: 60_000 }, () => {
  const model = `import { module, param } from 'fovea';
export const a = module({ N: 4, M: 2 }, ({ N }) => ({ w: param('N'), N: param('N') }), ['N'], ({ w, N }, x) => (N ? x.mul(w) : x));
export const b = module({ N: 4 }, () => ({ n: param('N') }), ['N'], ({ n }, x) => x.mul(n));
`;
  expect(findings({ 'model.ts': model }).filter((f) => f.startsWith('FV0007'))).toEqual(['FV0007 N']);
});

test('a body may take its parameters apart, with a rest', { timeout: 60_000 }, () => {
  const model = `import { module, param } from 'fovea';
export const one = module({}, () => ({ w: param('4'), v: param('4') }), ['4'], ({ w, ...more }, x) => x.mul(w).add(more.v));
export const list = module({ N: 4 }, () => ({ w: param('N'), parts: [one, one] }), ['4'], ({ w, ...more }, x) => more.parts.reduce((y, f) => f(y), x));
export const wrong = module({ N: 4 }, () => ({ w: param('N'), v: param('N 2') }), ['N'], ({ w, ...more }, x) => x.mul(w).add(more.v));
`;
  expect(findings({ 'model.ts': model })).toEqual(['FV0001 more.v']);
});

test('each rule, in the forms of syntax that it knows', { timeout: 60_000 }, () => {
  const model = `import { readFileSync } from 'node:fs';
import { type F32, fn } from 'fovea';
const state: { n?: number } = {};
export const asked = fn(['N'], (x) => {
  readFileSync('sizes.json');
  fetch('http://localhost');
  console.log('traced');
  return x.mul(Number(process.env.SCALE));
});
export const written = fn(['N'], (x) => {
  delete state.n;
  state['n'] = 1;
  return x;
});
class Scaled {
  by = 2;
  run(x: F32<'N'>) {
    return x.mul(this.by);
  }
}
const scaled = new Scaled();
export const doubled = fn(['N'], (x) => scaled.run(x));
export const parts = Object.assign(function* (x: F32<'N'>) {
  yield x;
}, { args: [] });
type S = F32<''>;
export const decided = (x: F32<'N'>, inWhile: S, inDo: S, inFor: S, inOf: S, inSwitch: S, and: S, or: S, not: S, choice: S, inText: S) => {
  while (inWhile) break;
  do break; while (inDo);
  for (; inFor; ) break;
  for (const part of inOf) if (part) break;
  switch (inSwitch) { default: }
  const all = [and && 1, or || 2, !not, choice ? 1 : 2, \`\${inText}\`, -x];
  x[0] = 1;
  return x.mul(all.length);
};
`;
  expect(findings({ 'model.ts': model }).filter((f) => f.startsWith('FV'))).toEqual([
    "FV0902 readFileSync('sizes.json')",
    "FV0902 fetch('http://localhost')",
    'FV0902 console.log',
    'FV0902 process.env',
    'FV0901 delete state.n',
    "FV0901 state['n']",
    'FV0901 this',
    'FV0904 yield x',
    ...['inWhile', 'inDo', 'inFor', 'inOf', 'inSwitch', 'and', 'or', 'not', 'choice', 'inText', '-x'].map((t) => `FV0903 ${t}`),
    'FV0901 x[0]',
  ]);
});

test('what is asked or changed under another name, and assignments that take apart', { timeout: 60_000 }, () => {
  const model = `import { fn } from 'fovea';
const { random } = Math;
const now = Date.now;
let last = 0, first = 0, rest: number[] = [];
const state = { n: 0 };
export const f = fn(['N'], (x) => {
  let mine = 0;
  [mine, last, ...rest] = [1, 2, 3];
  ({ n: state.n, first, mine = 4 } = { n: 3, first: 1 } as { n: number; first: number; mine?: number });
  const all = { mine, first };
  return x.mul(random()).mul(Math['random']()).mul(globalThis.Math.random()).mul(now()).mul(all.mine);
});
`;
  expect(findings({ 'model.ts': model })).toEqual([
    'FV0901 last',
    'FV0901 rest',
    'FV0901 state.n',
    'FV0901 first',
    'FV0902 random()',
    "FV0902 Math['random']()",
    'FV0902 globalThis.Math.random()',
    'FV0902 now()',
  ]);
});

test('a second name for what is outside is still outside; a variable of the body may get another value', { timeout: 60_000 }, () => {
  const model = `import { fn } from 'fovea';
const log: number[] = [], logs = [log], state = { log, inner: { n: 0 } };
export const f = fn(['N'], (x) => {
  const l = log;
  l.push(1);
  log['push'](3);
  const { inner } = state, again = inner;
  again.n = 2;
  for (const each of logs) each.pop();
  let mine = state;
  mine = { log: [], inner: { n: 1 } };
  const own = [...log];
  own.push(mine.inner.n);
  Object.assign(l, [1]);
  return x;
});
`;
  expect(findings({ 'model.ts': model })).toEqual([
    'FV0901 l.push(1)',
    "FV0901 log['push'](3)",
    'FV0901 again.n',
    'FV0901 each.pop()',
    'FV0901 Object.assign(l, [1])',
  ]);
});

test('tensors that are compared, made numbers of, or cases of a switch', { timeout: 60_000 }, () => {
  const model = `import { type F32, fn } from 'fovea';
export const f = fn(['', ''], (x, y) => {
  const all = [x === y, x !== y, Number(x), Boolean(y), String(x), isNaN(y)];
  switch (true) {
    case x.gt(0):
      return y;
    case all.length > 2:
      return x;
  }
  switch (true as unknown) { case y: return y; }
  return x;
});
export const there = (x: F32<'N'>, bias?: F32<'N'>) => (bias === undefined || bias == null ? x : x.add(bias));
`;
  expect(findings({ 'model.ts': model })).toEqual([
    'FV0903 x === y',
    'FV0903 x !== y',
    'FV0903 x',
    'FV0903 y',
    'FV0903 x',
    'FV0903 y',
    'FV0903 x.gt(0)',
    'FV0903 y',
  ]);
});

test('tensors that a file keeps, by themselves or in objects, and what is said of each', { timeout: 60_000 }, () => {
  const files = {
    'model.ts': `import { type F32, fn, scalar } from 'fovea';
import { shared } from './shared.ts';
const one = scalar(1), all = { two: scalar(2), list: [scalar(3)] as const };
let memo: F32<'N'> | undefined;
export const f = fn(['N'], (x) => {
  const { two } = all, again = all;
  memo ??= x;
  return x.add(one).add(all.two).add(again.list[0]).add(two).add(shared.three).add(memo);
});
`,
    'shared.ts': "import { scalar } from 'fovea';\nexport const shared = { three: scalar(3) };\n",
  };
  expect(findings(files)).toEqual([
    'FV0907 two',
    'FV0901 memo',
    'FV0907 one',
    'FV0907 all.two',
    'FV0907 again.list[0]',
    'FV0907 shared.three',
    'FV0907 memo',
  ]);
  const at = projectOf(files);
  const said = (text: string): string => {
    const f = checker([at('model.ts')])
      .round()
      .findings()
      .find((f) => f.code === 'FV0907' && f.message.startsWith(`'${text}'`));
    return f?.message ?? '';
  };
  expect(said('all.two')).toMatch(/is a tensor that is made when its file is loaded/);
  expect(said('memo')).toMatch(/outlives the trace that put a tensor there/);
});

test('a function with args is a traced body, whatever its parameters are, and if it is named or in another file', {
  timeout: 60_000,
}, () => {
  const far = 'export const seen: unknown[] = [];\nexport const far = (x: any) => {\n  seen.push(x);\n  return x;\n};\n';
  const model = `import { spec } from 'fovea';
import { far } from './far.ts';
export const leak = Object.assign(
  (x: any) => {
    (globalThis as any).leak = x;
    return x;
  },
  { args: [spec('B')] },
);
let count = 0;
const near = (x: any) => {
  count++;
  return x;
};
export const named = Object.assign(near, { args: [spec('B')] });
export const other = Object.assign(far, { args: [spec('B')] });
export const none = Object.assign(() => { count = 0; }, { about: 'no function that is traced' });
export const whole = { named };
`;
  const files = { 'model.ts': model, 'far.ts': far };
  expect(findings(files)).toEqual(['FV0901 seen.push(x)', 'FV0901 (globalThis as any).leak', 'FV0901 count++']);
  const at = projectOf(files);
  const of = (name: string): readonly string[] => impuritiesOf(at('model.ts'), name).map((f) => `${relative(at('.'), f.file)}:${f.line}`);
  expect(of('leak')).toEqual(['model.ts:5']);
  expect(of('named')).toEqual(['model.ts:12']);
  expect(of('whole')).toEqual(['model.ts:12']);
  expect(of('none')).toEqual([]);
});

test('functions in objects, in classes, behind other names, in another file', { timeout: 60_000 }, () => {
  const far = `let count = 0;
export const opts = { rate: () => Math.random(), nested: { tick() { return ++count; } } };
export class Far {
  n = 1;
  static tick = () => --count;
  constructor(by = 2) {
    count += by;
  }
  get next() {
    return count++;
  }
  read() {
    return this.n;
  }
}
export const far = new Far();
export const text = (parts: TemplateStringsArray) => Date.now() + parts.length;
`;
  const model = `import { fn } from 'fovea';
import { Far, far, opts, text } from './far.ts';
let n = 0;
const noise = () => performance.now();
const own = { noise, ['a b']: noise, rate: () => Math.random() };
const { rate } = own, alias = noise;
class K { static tick = () => ++n; }
export const f = fn(['N'], (x) => {
  const mine = new Far();
  return x.mul(own.noise() + own.rate() + alias() + K.tick() + opts['rate']() + opts.nested.tick() + Far.tick() + mine.next + mine.read() + far.read() + text\`a\`);
});
export const g = fn(['N'], (x) => x.mul(rate()));
`;
  const files = { 'model.ts': model, 'far.ts': far };
  const all = [
    'FV0902 Math.random',
    'FV0901 ++count',
    'FV0901 --count',
    'FV0901 count',
    'FV0901 count++',
    'FV0901 this',
    'FV0902 Date.now',
    'FV0902 performance.now',
    'FV0902 Math.random',
    'FV0901 ++n',
  ];
  expect(findings(files)).toEqual(all);
  // of one export the same
  const at = projectOf(files);
  expect(inOrder(impuritiesOf(at('model.ts'), 'f')).map((f) => f.code)).toEqual(all.map((f) => f.slice(0, 6)));
  expect(impuritiesOf(at('model.ts'), 'g').map((f) => f.code)).toEqual(['FV0902']);
});

test('values that parameters have by themselves, and loops over variables of others', { timeout: 60_000 }, () => {
  const model = `import { type F32, fn } from 'fovea';
let n = 0;
const holder = { last: 0, key: '' };
const noisy = (x: F32<'N'>, k = Math.random(), { m = Date.now() } = {}) => x.mul(k).mul(m);
export const f = fn(['N'], (x) => {
  let mine = 0;
  for (n of [1, 2]) mine += n;
  for (holder.last of [1, 2]) mine += 1;
  for (holder.key in { a: 1 }) mine += 1;
  for (mine of [1, 2]) if (mine > 1) break;
  return noisy(x).mul(mine);
});
`;
  expect(findings({ 'model.ts': model })).toEqual([
    'FV0902 Math.random',
    'FV0902 Date.now',
    'FV0901 n',
    'FV0901 holder.last',
    'FV0901 holder.key',
  ]);
});

test('code from text, modules and connections, and an expression that remembers where it stopped', { timeout: 60_000 }, () => {
  const model = `import { Worker } from 'node:worker_threads';
import { fn } from 'fovea';
const all = /a/g, one = /a/;
export const f = fn(['N'], (x) => {
  const found = [all.test('a'), one.test('a'), /a/g.test('a')];
  void import('node:fs');
  new Worker('./a.js');
  new WebSocket('ws://localhost');
  return x.mul(new Function('return 1')()).mul(found.length);
});
`;
  expect(findings({ 'model.ts': model }).filter((f) => f.startsWith('FV'))).toEqual([
    "FV0901 all.test('a')",
    "FV0902 import('node:fs')",
    "FV0902 new Worker('./a.js')",
    "FV0902 new WebSocket('ws://localhost')",
    "FV0902 new Function('return 1')",
  ]);
});

test('helpers that yield to a loop of the body, and objects that it makes, are its own', { timeout: 60_000 }, () => {
  const model = `import { type F32, fn } from 'fovea';
function* upTo(k: number) { for (let i = 0; i < k; i++) yield i; }
function* times(x: F32<'N'>) { yield x; yield x.mul(2); }
class Counter {
  n = 0;
  by: number;
  constructor(by: number) { this.by = by; }
  next() { return this.again(); }
  again() { return (this.n += this.by); }
  scale(x: F32<'N'>) { return x.mul(this.n); }
}
export const f = fn(['N'], (x) => {
  const c = new Counter(2);
  class Inner { n = 0; up() { return this.more(); } more() { return ++this.n; } }
  function* own() { yield 1; }
  let y = x;
  for (const i of upTo(3)) y = y.mul(i + c.next() + new Inner().up());
  for (const i of own()) y = y.mul(i);
  for (const part of times(x)) y = y.add(part);
  return c.scale(y);
});
`;
  expect(findings({ 'model.ts': model })).toEqual([]);
});
