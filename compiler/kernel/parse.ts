/**
 * Reads what print.ts writes: parseKernel(printKernel(k)) equals k. Nodes are made as written, nothing is folded, and the
 * result is not verified (verify.ts does that), so that tests can write down wrong kernels. Text that is not a kernel is
 * refused with FV0102 and its line.
 *
 *   parseKernel('kernel nop() grid=[1 1 1] threads=1 {\n}\n')
 */
import { FoveaError } from '../error.ts';
import type { Compare, DType } from '../graph/types.ts';
import { dtypes } from '../graph/types.ts';
import { binaryTypes, bitcastLanes, unaryTypes } from './expr.ts';
import type { Expr, KBinary, KBuffer, Kernel, KLines, KPhase, KReduce, KType, KUnary, Stmt } from './types.ts';

interface Type {
  readonly dtype: KType;
  readonly lanes: number;
}
interface Token {
  readonly text: string;
  readonly line: number;
}
type Scope = ReadonlyMap<string, Type>;

const comparisons: readonly string[] = ['eq', 'ne', 'lt', 'le', 'gt', 'ge'];
const isUnary = (s: string): s is KUnary => Object.hasOwn(unaryTypes, s);
const isBinary = (s: string): s is KBinary => Object.hasOwn(binaryTypes, s);
const isCompare = (s: string): s is Compare => comparisons.includes(s);

const tokens = (text: string): Token[] => {
  const out: Token[] = [];
  text.split('\n').forEach((l, i) => {
    const line = i + 1;
    // a number, a word with an optional .suffix, or one sign
    for (const m of l.matchAll(/\s*(-?(?:inf|nan|\d[\d.]*(?:e[-+]?\d+)?)(?![\w.])|[A-Za-z_]\w*(?:\.\w+)?|%\d+|[-+()[\]{}:,=]|\S)/g))
      out.push({ text: m[1] as string, line });
  });
  return out;
};

export const parseKernel = (text: string): Kernel => {
  const ts = tokens(text);
  let at = 0;
  const fail = (wanted: string): never => {
    const t = ts[at];
    throw new FoveaError(
      'FV0102',
      `kernel text, line ${t?.line ?? ts.at(-1)?.line ?? 1}: expected ${wanted}, got '${t?.text ?? 'the end'}'`,
    );
  };
  const peek = (): string => ts[at]?.text ?? '';
  const take = (): string => ts[at++]?.text ?? fail('more text');
  const eat = (s: string): void => {
    if (peek() !== s) fail(`'${s}'`);
    at++;
  };
  const word = (): string => (/^[A-Za-z_]\w*$/.test(peek()) ? take() : fail('a name'));
  const value = (): number => {
    const t = peek();
    const v = t === 'nan' ? NaN : t === 'inf' ? Infinity : t === '-inf' ? -Infinity : /^-?\d/.test(t) ? Number(t) : NaN;
    if (Number.isNaN(v) && t !== 'nan') fail('a number');
    at++;
    return v;
  };
  const count = (): number => (/^\d+$/.test(peek()) ? Number(take()) : fail('a count'));
  const dtypeOf = (t: string): KType => (t === 'index' || (dtypes as readonly string[]).includes(t) ? (t as KType) : fail('a dtype'));
  const type = (): Type => {
    const [t, n] = peek().split('.');
    const r = { dtype: dtypeOf(t as string), lanes: n === undefined ? 1 : Number(n) };
    at++;
    return r;
  };
  const stored = (): DType => {
    const t = type();
    return t.dtype === 'index' || t.lanes !== 1 ? fail('a dtype that memory holds') : t.dtype;
  };

  const access = (scope: Scope): { readonly index: Expr; readonly mask?: Expr } => {
    eat('[');
    const index = expr(scope);
    const masked = peek() === 'if';
    if (masked) at++;
    const r = masked ? { index, mask: expr(scope) } : { index };
    eat(']');
    return r;
  };
  /** Parts of the statement at hand that were given a name, `%0=`. */
  let named = new Map<string, Expr>();
  const expr = (scope: Scope): Expr => {
    const t = peek();
    if (t.startsWith('%')) {
      const known = named.get(t);
      at++;
      if (known) return known;
      if (peek() !== '=') return fail(`${t} = before its first use`);
      at++;
      const x = expr(scope);
      named.set(t, x);
      return x;
    }
    if (/^-?(\d|inf$|nan$)/.test(t)) {
      const v = value();
      if (peek() !== ':') return { k: 'const', value: v, dtype: 'index', lanes: 1 };
      at++;
      return { k: 'const', value: v, ...type() };
    }
    const [head = '', suffix = ''] = t.split('.');
    at++;
    if (head === 'block')
      return /^[012]$/.test(suffix)
        ? { k: 'block', axis: Number(suffix) as 0 | 1 | 2, dtype: 'index', lanes: 1 }
        : fail('block.0 to block.2');
    if (head === 'place')
      return suffix === 'row' || suffix === 'column'
        ? { k: 'place', axis: suffix, dtype: 'index', lanes: 8 }
        : fail('place.row or place.column');
    if (t === 'thread') return { k: 'thread', dtype: 'index', lanes: 1 };
    if (head === 'load') {
      const from = word();
      const place = scope.get(from) ?? fail('a buffer or array');
      return { k: 'load', from, ...access(scope), dtype: place.dtype, lanes: suffix === '' ? 1 : Number(suffix) };
    }
    if (peek() !== '(') {
      at--;
      const known = scope.get(t);
      if (!known) return fail('a name in scope');
      at++;
      return { k: 'ref', name: t, ...known };
    }
    const args: Expr[] = [];
    do {
      at++;
      args.push(expr(scope));
    } while (peek() === ',');
    eat(')');
    const [x, y, z] = args as [Expr, Expr, Expr];
    const arity = (n: number): void => {
      if (args.length !== n) fail(`${n} operands of ${t}`);
    };
    const of = (n: number, made: Expr): Expr => {
      arity(n);
      return made;
    };
    const { dtype, lanes } = x;
    if (isUnary(t)) return of(1, { k: 'unary', op: t, x, dtype, lanes });
    if (isBinary(t)) return of(2, { k: 'binary', op: t, x, y, dtype, lanes });
    if (isCompare(t)) return of(2, { k: 'compare', cmp: t, x, y, dtype: 'bool', lanes });
    if (t === 'select') return of(3, { k: 'select', c: x, x: y, y: z, dtype: y.dtype, lanes: y.lanes });
    if (t === 'fma') return of(3, { k: 'fma', x, y, z, dtype, lanes });
    if (t === 'dot2') return of(3, { k: 'dot2', x, y, z, dtype: z?.dtype ?? 'f32', lanes: z?.lanes ?? 1 });
    if (head === 'zip' && (suffix === 'low' || suffix === 'high')) return of(2, { k: 'zip', half: suffix, x, y, dtype, lanes });
    arity(1);
    if (head === 'cast') return { k: head, x, dtype: dtypeOf(suffix), lanes };
    if (head === 'bitcast') return { k: head, x, dtype: dtypeOf(suffix), lanes: bitcastLanes(x, suffix as KType) ?? lanes };
    if (head === 'splat') return { k: 'splat', x, dtype, lanes: Number(suffix) };
    if (head === 'ramp') return { k: 'ramp', base: x, dtype, lanes: Number(suffix) };
    if (head === 'lane') return { k: 'lane', x, i: Number(suffix), dtype, lanes: 1 };
    if (head === 'across' && (suffix === 'add' || suffix === 'max' || suffix === 'min'))
      return { k: 'across', op: suffix as KReduce, x, dtype, lanes: 1 };
    return fail('an operation');
  };

  const block = (outer: Scope): readonly Stmt[] => {
    const scope = new Map(outer);
    const out: Stmt[] = [];
    eat('{');
    while (peek() !== '}') out.push(stmt(scope));
    at++;
    return out;
  };
  /** `place[index]`, or `place[index of count]`. */
  const element = (scope: Scope): { readonly place: string; readonly index: Expr; readonly count?: Expr } => {
    const place = word();
    if (!scope.has(place)) fail('a buffer or array before this');
    eat('[');
    const index = expr(scope);
    const some = peek() === 'of';
    if (some) at++;
    const r = some ? { place, index, count: expr(scope) } : { place, index };
    eat(']');
    return r;
  };
  const listOf = <T>(one: () => T): readonly T[] => {
    const all = [one()];
    while (peek() === ',') {
      at++;
      all.push(one());
    }
    return all;
  };
  /** `name[index]` of an mbarrier. */
  const phase = (scope: Scope): KPhase => {
    const name = word();
    eat('[');
    const index = expr(scope);
    eat(']');
    return { name, index };
  };
  /** `place[index]`, or `place[index] turned apart`. */
  const lines = (scope: Scope): KLines => {
    const { place: from, index } = element(scope);
    if (peek() !== 'turned') return { from, index, turned: false, apart: 0 };
    at++;
    return { from, index, turned: true, apart: count() };
  };
  /** NAME: TYPE = VALUE */
  const bound = (scope: Map<string, Type>): { readonly name: string; readonly value: Expr } => {
    const name = word();
    eat(':');
    const t = type();
    eat('=');
    const value = expr(scope);
    scope.set(name, t);
    return value.dtype !== t.dtype || value.lanes !== t.lanes ? fail(`a value of the type of ${name} before this`) : { name, value };
  };
  const stmt = (scope: Map<string, Type>): Stmt => {
    const s = take();
    named = new Map();
    switch (s) {
      case 'let':
      case 'var':
        return { s, ...bound(scope) };
      case 'set': {
        const name = word();
        eat('=');
        return { s, name, value: expr(scope) };
      }
      case 'alloc': {
        const name = word();
        eat(':');
        const { dtype } = type();
        eat('[');
        const size = count();
        eat(']');
        const space = word();
        scope.set(name, { dtype, lanes: 1 });
        return space === 'register' || space === 'shared' ? { s, name, space, dtype, size } : fail('register or shared before this');
      }
      case 'store': {
        const to = word();
        const place = access(scope);
        eat('=');
        return { s, to, ...place, value: expr(scope) };
      }
      case 'for': {
        const name = word();
        eat('=');
        const from = expr(scope);
        eat('to');
        const to = expr(scope);
        eat('step');
        const step = count();
        const unroll = peek() === 'unroll';
        if (unroll) at++;
        const body = block(new Map(scope).set(name, { dtype: from.dtype, lanes: 1 }));
        return { s, name, from, to, step, kind: unroll ? 'unroll' : 'serial', body };
      }
      case 'if': {
        const cond = expr(scope);
        const body = block(scope);
        if (peek() !== 'else') return { s, cond, body, otherwise: [] };
        at++;
        return { s, cond, body, otherwise: block(scope) };
      }
      case 'prefetch': {
        const { place: from, index } = element(scope);
        return { s, from, index };
      }
      case 'barrier':
      case 'barrier.warp':
        return { s: 'barrier', of: s === 'barrier' ? 'block' : 'warp' };
      case 'commit':
      case 'commit.products':
        return { s: 'commit', of: s === 'commit' ? 'copies' : 'products' };
      case 'wait':
      case 'wait.products':
        return { s: 'wait', of: s === 'wait' ? 'copies' : 'products', pending: count() };
      case 'fence':
        return { s };
      case 'registers':
        return { s, count: count() };
      case 'tensorMap': {
        const name = word();
        eat('=');
        const from = word();
        eat('[');
        const base = count();
        for (const t of [']', 'of']) eat(t);
        const axes = listOf(() => {
          const size = count();
          eat('by');
          const stride = count();
          eat('box');
          return [size, stride, count()] as const;
        });
        scope.set(name, scope.get(from) ?? fail('a buffer before this'));
        return { s, name, from, base, sizes: axes.map((a) => a[0]), strides: axes.map((a) => a[1]), box: axes.map((a) => a[2]) };
      }
      case 'mbarrier': {
        const name = word();
        eat('[');
        const size = count();
        for (const t of [']', 'of']) eat(t);
        return { s, name, size, arrivals: count() };
      }
      case 'arrive':
        return { s, at: phase(scope) };
      case 'expect':
        return { s, at: phase(scope), bytes: count() };
      case 'await': {
        const at = phase(scope);
        eat('parity');
        return { s, at, parity: expr(scope) };
      }
      case 'fetch': {
        const { place: to, index: at } = element(scope);
        eat('=');
        const from = word();
        eat('[');
        const index = listOf(() => expr(scope));
        for (const t of [']', 'on']) eat(t);
        return { s, to, at, from, index, on: phase(scope) };
      }
      case 'wgmma.bf16':
      case 'wgmma.f16': {
        const names: string[] = [];
        while (peek() !== '=') names.push(word());
        eat('=');
        const own = peek() === 'of';
        if (own) at++;
        const x = own ? expr(scope) : lines(scope);
        eat(',');
        return { s: 'wgmma', names, of: s === 'wgmma.bf16' ? 'bf16' : 'f16', x, y: lines(scope) };
      }
      case 'fragment': {
        const name = word();
        eat('=');
        const { place: from, index } = element(scope);
        const turned = peek() === 'turned';
        if (turned) at++;
        scope.set(name, { dtype: 'u32', lanes: 4 });
        return { s, name, from, index, turned };
      }
      case 'mma.bf16':
      case 'mma.f16': {
        const name = word();
        eat('=');
        const x = expr(scope);
        eat(',');
        return { s: 'mma', name, of: s === 'mma.bf16' ? 'bf16' : 'f16', x, y: expr(scope) };
      }
      case 'copy.2':
      case 'copy.4':
      case 'copy.8':
      case 'copy.16': {
        const goal = element(scope);
        eat('=');
        const { place: from, index, count: few } = element(scope);
        return { s: 'copy', to: goal.place, at: goal.index, from, index, lanes: Number(s.slice(5)), ...(few && { count: few }) };
      }
      case 'exchange': {
        const { name, value } = bound(scope);
        eat('by');
        return { s, name, value, by: count() };
      }
      default:
        at--;
        return fail('a statement');
    }
  };

  const buffer = (): KBuffer => {
    const name = word();
    eat(':');
    const dtype = stored();
    eat('[');
    const size = count();
    eat(']');
    const access = word();
    if (access !== 'read' && access !== 'write' && access !== 'readwrite') return fail('read, write or readwrite before this');
    if (peek() !== 'nontemporal') return { name, dtype, size, access };
    eat('nontemporal');
    return { name, dtype, size, access, nontemporal: true };
  };
  eat('kernel');
  const name = word();
  const buffers: KBuffer[] = [];
  eat('(');
  while (peek() !== ')') {
    if (buffers.length) eat(',');
    buffers.push(buffer());
  }
  at++;
  for (const t of ['grid', '=', '[']) eat(t);
  const grid = [count(), count(), count()] as const;
  for (const t of [']', 'threads', '=']) eat(t);
  const threads = count();
  const body = block(new Map(buffers.map((b) => [b.name, { dtype: b.dtype, lanes: 1 }])));
  if (at < ts.length) fail('the end');
  return { name, buffers, grid, threads, body };
};
