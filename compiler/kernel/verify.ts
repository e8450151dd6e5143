/**
 * The rules of K. verifyKernel throws FV0201 with the statement at fault; a kernel that passes can be printed for every
 * target. Checked: names bound before use and never shadowed; dtypes and lanes of every expression; f16 and bf16 only
 * between memory, names, casts and dot2; buffers accessed as declared; stores and sets of the right type; barriers, and what warps and warp groups do
 * together, only where all of them arrive (meetings.ts).
 *
 *   FV0201: kernel add, 'set i = 3': i is not a variable
 */
import { FoveaError } from '../error.ts';
import { bytesOf, dtypes } from '../graph/types.ts';
import { binaryTypes, bitcastLanes, operands, unaryTypes } from './expr.ts';
import { fragmentType, sumsType, warp } from './matrix.ts';
import { meetings } from './meetings.ts';
import { printExpr, printStatements } from './print.ts';
import type { Expr, Kernel, KLines, KMatrix, KPhase, KType, Stmt } from './types.ts';
import { lineLength, warpGroup } from './wgmma.ts';

interface Type {
  readonly dtype: KType;
  readonly lanes: number;
}
type Bound =
  | (Type & { readonly is: 'value' | 'variable' | 'loop' })
  | {
      readonly is: 'place';
      readonly dtype: KType;
      readonly read: boolean;
      readonly write: boolean;
      readonly space: 'buffer' | 'shared' | 'register';
    }
  | { readonly is: 'tensor'; readonly of: Stmt & { readonly s: 'tensorMap' } }
  | { readonly is: 'mbarrier' };
type Scope = Map<string, Bound>;

/** Words of the text form, which no name may be. */
export const reserved: ReadonlySet<string> = new Set<string>([
  ...dtypes,
  ...Object.keys(unaryTypes),
  ...Object.keys(binaryTypes),
  ...[
    'kernel',
    'for',
    'to',
    'step',
    'unroll',
    'if',
    'else',
    'let',
    'var',
    'set',
    'alloc',
    'store',
    'load',
    'prefetch',
    'barrier',
    'exchange',
    'by',
    'register',
    'shared',
    'fragment',
    'turned',
    'mma',
    'copy',
    'of',
    'commit',
    'wait',
    'tensorMap',
    'box',
    'mbarrier',
    'arrive',
    'expect',
    'await',
    'parity',
    'fetch',
    'on',
    'wgmma',
    'fence',
    'registers',
  ],
  ...[
    'block',
    'thread',
    'place',
    'index',
    'select',
    'fma',
    'dot2',
    'cast',
    'bitcast',
    'splat',
    'ramp',
    'lane',
    'zip',
    'across',
    'eq',
    'ne',
    'lt',
    'le',
    'gt',
    'ge',
    'nan',
    'inf',
  ],
]);
const numbers: readonly KType[] = ['f32', 'i32', 'u32', 'index'];
/** Expressions over f16 and bf16. */
const takesHalf: ReadonlySet<Expr['k']> = new Set<Expr['k']>(['cast', 'bitcast', 'splat', 'zip', 'dot2']);
const isHalf = (t: KType): boolean => t === 'f16' || t === 'bf16';
const power = (n: number): boolean => Number.isInteger(n) && n >= 1 && n <= 256 && (n & (n - 1)) === 0;
const say = (t: Type): string => (t.lanes === 1 ? t.dtype : `${t.dtype}.${t.lanes}`);

const like = (x: Expr, y: Expr): boolean => x.lanes === y.lanes;
const same = (x: Expr, y: Expr): boolean => x.lanes === y.lanes && x.dtype === y.dtype;

/** Dtypes and lanes of an expression, given its operands; what names and memory hold is a matter of scope. */
const typed = (x: Expr): boolean => {
  switch (x.k) {
    case 'const':
      return numbers.includes(x.dtype) || isHalf(x.dtype) || x.value === 0 || x.value === 1;
    case 'ref':
    case 'load':
      return true;
    case 'block':
    case 'thread':
      return x.dtype === 'index' && x.lanes === 1;
    case 'place':
      return x.dtype === 'index' && x.lanes === sumsType.lanes;
    case 'unary':
      return same(x, x.x) && unaryTypes[x.op].includes(x.dtype);
    case 'binary':
      return same(x, x.x) && same(x, x.y) && binaryTypes[x.op].includes(x.dtype);
    case 'compare': {
      const ordered = numbers.includes(x.x.dtype) || (x.x.dtype === 'bool' && (x.cmp === 'eq' || x.cmp === 'ne'));
      return x.dtype === 'bool' && like(x, x.x) && same(x.x, x.y) && ordered;
    }
    case 'select':
      return same(x, x.x) && same(x, x.y) && x.c.dtype === 'bool' && like(x, x.c);
    case 'fma':
      return same(x, x.x) && same(x, x.y) && same(x, x.z) && x.dtype === 'f32';
    case 'dot2': {
      const pairs = x.y.lanes === 2 * x.lanes && (x.x.lanes === 2 || x.x.lanes === 2 * x.lanes);
      return x.dtype === 'f32' && same(x, x.z) && x.x.dtype === 'bf16' && x.y.dtype === 'bf16' && pairs;
    }
    case 'cast':
      return like(x, x.x);
    case 'bitcast':
      return bitcastLanes(x.x, x.dtype) === x.lanes;
    case 'splat':
      return x.x.lanes === 1 && x.lanes > 1 && x.x.dtype === x.dtype;
    case 'ramp':
      return x.base.lanes === 1 && x.lanes > 1 && x.base.dtype === x.dtype && (x.dtype === 'index' || x.dtype === 'i32');
    case 'lane':
      return x.lanes === 1 && x.x.dtype === x.dtype && Number.isInteger(x.i) && x.i >= 0 && x.i < x.x.lanes && x.x.lanes > 1;
    case 'zip':
      return same(x, x.x) && same(x, x.y) && x.lanes > 1;
    case 'across':
      return x.lanes === 1 && x.x.lanes > 1 && x.x.dtype === x.dtype && numbers.includes(x.dtype);
  }
};

/** `strict` for targets that prove by the text that threads meet (`Target.proves`). */
export const verifyKernel = (kernel: Kernel, strict = false): Kernel => {
  let at: Stmt | undefined;
  const fail = (message: string): never => {
    const where = at ? printStatements([at]).split('\n')[0] : 'header';
    throw new FoveaError('FV0201', `kernel ${kernel.name}, '${where}': ${message}`);
  };
  const check = (ok: boolean, message: () => string): void => {
    if (!ok) fail(message());
  };

  const legal = (name: string): void => {
    check(/^[A-Za-z_]\w*$/.test(name) && !reserved.has(name), () => `${name} cannot be a name`);
  };
  const bind = (scope: Scope, name: string, b: Bound): void => {
    legal(name);
    check(!scope.has(name), () => `${name} is already bound`);
    scope.set(name, b);
  };
  const place = (scope: Scope, name: string): Extract<Bound, { is: 'place' }> => {
    const b = scope.get(name);
    return b?.is === 'place' ? b : fail(`${name} is not a buffer or array in scope`);
  };

  const seen = new WeakMap<Expr, Scope>();
  /** Checks an expression; `half` says whether its user (a cast, a splat, a zip, a dot2, a let or a store) may take f16 and bf16. */
  const expr = (scope: Scope, x: Expr, half = false): void => {
    if (!power(x.lanes)) fail(`${x.lanes} lanes`);
    if (!half && isHalf(x.dtype)) fail(`${printExpr(x)} is ${say(x)}: only casts, stores and dot2 take it`);
    // names are never shadowed, so what held in this scope still holds
    if (seen.get(x) === scope) return;
    seen.set(x, scope);
    for (const o of operands(x)) expr(scope, o, takesHalf.has(x.k));
    if (!typed(x)) fail(`${printExpr(x)} is ill-typed: ${operands(x).map(say).join(', ')} -> ${say(x)}`);
    if (x.k === 'ref') {
      const b = scope.get(x.name);
      const known = b && 'lanes' in b ? b : fail(`${x.name} is not a value in scope`);
      check(known.dtype === x.dtype && known.lanes === x.lanes, () => `${x.name} is ${say(known)}, used as ${say(x)}`);
    } else if (x.k === 'load') {
      const p = place(scope, x.from);
      check(p.read, () => `${x.from} is written only`);
      check(p.dtype === x.dtype, () => `${x.from} holds ${p.dtype}, loaded as ${x.dtype}`);
      access(x.lanes, x.index, x.mask);
    }
  };
  const access = (n: number, i: Expr, mask: Expr | undefined): void => {
    check(i.dtype === 'index' && (i.lanes === 1 || i.lanes === n), () => `${printExpr(i)} (${say(i)}) is not an address for ${n} lanes`);
    check(!mask || (mask.dtype === 'bool' && mask.lanes === n), () => `the mask is not bool.${n}`);
  };
  const scalar = (scope: Scope, x: Expr, dtype: KType): void => {
    expr(scope, x);
    check(x.dtype === dtype && x.lanes === 1, () => `${printExpr(x)} is ${say(x)}, not ${dtype}`);
  };

  /** Shared halves of `of`, in lines. */
  const lines = (scope: Scope, { from, index }: KLines, of: KMatrix): void => {
    const p = place(scope, from);
    check(p.space === 'shared' && p.dtype === of, () => `${from} is no shared array of ${of}`);
    scalar(scope, index, 'index');
  };
  const phase = (scope: Scope, { name, index }: KPhase): void => {
    check(scope.get(name)?.is === 'mbarrier', () => `${name} is no mbarrier`);
    scalar(scope, index, 'index');
  };
  const groups = (): void => check(kernel.threads % warpGroup === 0, () => `${kernel.threads} threads are no whole number of warp groups`);
  const whole = (): void => check(kernel.threads % warp === 0, () => `${kernel.threads} threads are no whole number of warps`);

  const block = (outer: Scope, body: readonly Stmt[]): void => {
    const scope: Scope = new Map(outer);
    for (const s of body) {
      at = s;
      stmt(scope, s);
      at = s;
    }
  };
  const stmt = (scope: Scope, s: Stmt): void => {
    switch (s.s) {
      case 'let':
      case 'var':
        expr(scope, s.value, s.s === 'let');
        bind(scope, s.name, { is: s.s === 'let' ? 'value' : 'variable', dtype: s.value.dtype, lanes: s.value.lanes });
        return;
      case 'set': {
        expr(scope, s.value);
        const found = scope.get(s.name);
        const b = found?.is === 'variable' ? found : fail(`${s.name} is not a variable`);
        check(b.dtype === s.value.dtype && b.lanes === s.value.lanes, () => `${s.name} is ${say(b)}, not ${say(s.value)}`);
        return;
      }
      case 'alloc':
        check(Number.isInteger(s.size) && s.size > 0, () => `size ${s.size}`);
        bind(scope, s.name, { is: 'place', dtype: s.dtype, read: true, write: true, space: s.space });
        return;
      case 'store': {
        expr(scope, s.index);
        expr(scope, s.value, true);
        if (s.mask) expr(scope, s.mask);
        const p = place(scope, s.to);
        check(p.write, () => `${s.to} is read only`);
        check(p.dtype === s.value.dtype, () => `${s.to} holds ${p.dtype}, not ${s.value.dtype}`);
        access(s.value.lanes, s.index, s.mask);
        return;
      }
      case 'for': {
        scalar(scope, s.from, 'index');
        scalar(scope, s.to, 'index');
        check(Number.isInteger(s.step) && s.step > 0, () => `step ${s.step}`);
        const inner: Scope = new Map(scope);
        bind(inner, s.name, { is: 'loop', dtype: 'index', lanes: 1 });
        block(inner, s.body);
        return;
      }
      case 'if':
        scalar(scope, s.cond, 'bool');
        block(scope, s.body);
        block(scope, s.otherwise);
        return;
      case 'prefetch':
        place(scope, s.from);
        scalar(scope, s.index, 'index');
        return;
      case 'barrier':
        if (s.of === 'warp') whole();
        return;
      case 'commit':
        if (s.of === 'products') groups();
        return;
      case 'wait':
        if (s.of === 'products') groups();
        check(Number.isInteger(s.pending) && s.pending >= 0, () => `${s.pending} groups`);
        return;
      case 'fragment': {
        const p = place(scope, s.from);
        whole();
        check(p.space === 'shared' && isHalf(p.dtype), () => `${s.from} is no shared array of bf16 or f16`);
        scalar(scope, s.index, 'index');
        bind(scope, s.name, { is: 'value', ...fragmentType });
        return;
      }
      case 'mma': {
        const b = scope.get(s.name);
        whole();
        check(b?.is === 'variable' && say(b) === say(sumsType), () => `${s.name} is no variable of ${say(sumsType)}`);
        for (const x of [s.x, s.y]) {
          expr(scope, x);
          check(say(x) === say(fragmentType), () => `${printExpr(x)} is ${say(x)}, not a fragment`);
        }
        return;
      }
      case 'copy': {
        const [to, from] = [place(scope, s.to), place(scope, s.from)];
        check(to.space === 'shared', () => `${s.to} is no shared array`);
        check(from.space === 'buffer' && !from.write, () => `${s.from} is no buffer that is read only`);
        check(to.dtype === from.dtype, () => `${s.to} holds ${to.dtype}, and ${s.from} ${from.dtype}`);
        const bytes = from.dtype === 'index' ? 0 : s.lanes * bytesOf[from.dtype];
        check([4, 8, 16].includes(bytes), () => `${s.lanes} elements of ${from.dtype} are not 4, 8 or 16 bytes`);
        for (const x of [s.at, s.index, ...(s.count ? [s.count] : [])]) scalar(scope, x, 'index');
        return;
      }
      case 'tensorMap': {
        const p = place(scope, s.from);
        check(p.space === 'buffer' && !p.write && isHalf(p.dtype), () => `${s.from} is no buffer of bf16 or f16 that is read only`);
        const rank = s.sizes.length;
        check(
          rank >= 2 && rank <= 5 && s.strides.length === rank && s.box.length === rank,
          () => `${rank} axes: a tensor of boxes has 2 to 5`,
        );
        const [first, ...others] = s.strides;
        const sixteen = [s.base, ...others].every((n) => Number.isInteger(n) && n >= 0 && n % 8 === 0);
        const lying = s.sizes[1] === 1 || (others[0] as number) >= (s.sizes[0] as number);
        check(
          first === 1 && sixteen && lying && others.every((n) => n > 0 && n < 2 ** 39),
          () => `strides ${s.strides.join(' ')} from ${s.base}`,
        );
        check(
          s.box[0] === lineLength && s.box.every((n) => Number.isInteger(n) && n >= 1 && n <= 256),
          () => `a box of ${s.box.join(' x ')}: lines have ${lineLength} elements, and there are 1 to 256 along an axis`,
        );
        bind(scope, s.name, { is: 'tensor', of: s });
        return;
      }
      case 'mbarrier':
        check(s.size >= 1 && s.arrivals >= 1, () => `${s.size} of ${s.arrivals}`);
        bind(scope, s.name, { is: 'mbarrier' });
        return;
      case 'arrive':
        whole();
        phase(scope, s.at);
        return;
      case 'expect':
        phase(scope, s.at);
        check(s.bytes > 0 && s.bytes < 2 ** 20, () => `${s.bytes} bytes`);
        return;
      case 'await':
        phase(scope, s.at);
        scalar(scope, s.parity, 'index');
        return;
      case 'fetch': {
        const [to, from] = [place(scope, s.to), scope.get(s.from)];
        const map = from?.is === 'tensor' ? from.of : fail(`${s.from} is no tensor of boxes`);
        const dtype = place(scope, map.from).dtype;
        check(to.space === 'shared' && to.dtype === dtype, () => `${s.to} is no shared array of ${dtype}`);
        check(s.index.length === map.box.length, () => `${s.index.length} indices for ${map.box.length} axes`);
        for (const x of [s.at, ...s.index]) scalar(scope, x, 'index');
        phase(scope, s.on);
        return;
      }
      case 'wgmma':
        groups();
        check([1, 2, 4, 8, 16].includes(s.names.length), () => `${16 * s.names.length} columns`);
        check(new Set(s.names).size === s.names.length, () => 'a variable stands twice');
        for (const name of s.names) {
          const b = scope.get(name);
          check(b?.is === 'variable' && say(b) === say(sumsType), () => `${name} is no variable of ${say(sumsType)}`);
        }
        if ('k' in s.x) {
          expr(scope, s.x);
          check(say(s.x) === say(fragmentType), () => `${printExpr(s.x as Expr)} is ${say(s.x as Expr)}, not a fragment`);
        } else lines(scope, s.x, s.of);
        lines(scope, s.y, s.of);
        check(
          !s.y.turned || (16 * s.names.length) % lineLength === 0,
          () => `${16 * s.names.length} columns of turned lines, which have ${lineLength} each`,
        );
        return;
      case 'fence':
        groups();
        return;
      case 'registers':
        groups();
        check(s.count % 8 === 0 && s.count >= 24 && s.count <= 256, () => `${s.count} registers: a multiple of 8 from 24 to 256`);
        return;
      case 'exchange':
        expr(scope, s.value);
        check(
          s.value.lanes === 1 && s.value.dtype !== 'index' && numbers.includes(s.value.dtype),
          () => `${printExpr(s.value)} is ${say(s.value)}: f32, i32 and u32 are exchanged`,
        );
        check(
          power(s.by) && s.by <= 16 && kernel.threads % (2 * s.by) === 0,
          () => `an exchange by ${s.by} among ${kernel.threads} threads`,
        );
        bind(scope, s.name, { is: 'value', dtype: s.value.dtype, lanes: 1 });
        return;
    }
  };

  legal(kernel.name);
  check(
    kernel.grid.every((g) => Number.isInteger(g) && g >= 1),
    () => `grid [${kernel.grid.join(' ')}]`,
  );
  check(Number.isInteger(kernel.threads) && kernel.threads >= 1, () => `${kernel.threads} threads`);
  const top: Scope = new Map();
  for (const b of kernel.buffers) {
    check(Number.isInteger(b.size) && b.size >= 0, () => `${b.name} has size ${b.size}`);
    check(!b.nontemporal || b.access === 'write', () => `${b.name} is nontemporal and not write`);
    bind(top, b.name, {
      is: 'place',
      dtype: b.dtype,
      read: b.access !== 'write',
      write: b.access !== 'read',
      space: 'buffer',
    });
  }
  block(top, kernel.body);
  if (kernel.threads > 1) meetings(kernel, strict, fail);
  return kernel;
};
