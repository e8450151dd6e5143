/**
 * Kernels as text, the format of pass tests, bug reports and cache keys. parse.ts reads it back exactly. A bare number is
 * an index; other constants carry their type, `0.5:f32.16`. Types of names are written where they are bound.
 *
 *   kernel scale(x: f32[100] read, y: f32[100] write) grid=[1 1 1] threads=1 {
 *     for i = 0 to 100 step 16 {
 *       let m: bool.16 = lt(ramp.16(i), 100:index.16)
 *       store y[i if m] = mul(load.16 x[i if m], 0.5:f32.16)
 *     }
 *   }
 */
import { operands } from './expr.ts';
import type { Expr, Kernel, KLines, KPhase, KType, Stmt } from './types.ts';

const number = (v: number): string =>
  Number.isNaN(v) ? 'nan' : Object.is(v, -0) ? '-0' : v === Infinity ? 'inf' : v === -Infinity ? '-inf' : String(v);
const typeText = (t: { readonly dtype: KType; readonly lanes: number }): string => (t.lanes === 1 ? t.dtype : `${t.dtype}.${t.lanes}`);
const lanes = (x: Expr): string => (x.lanes === 1 ? '' : `.${x.lanes}`);

/** Statements whose expressions, written out as trees, stay below this many nodes are written out. */
const longest = 400;

/**
 * Prints the expressions of one statement, in order. Long ones name what they use twice where it first stands (`%0=`), so
 * that the text of a DAG is never exponential.
 */
const printer = (roots: readonly Expr[]): ((x: Expr) => string) => {
  const sizes = new Map<Expr, number>();
  const uses = new Map<Expr, number>();
  const size = (x: Expr): number => {
    uses.set(x, (uses.get(x) ?? 0) + 1);
    const old = sizes.get(x);
    if (old !== undefined) return old;
    const n = operands(x).reduce((sum, y) => sum + size(y), 1);
    sizes.set(x, n);
    return n;
  };
  const long = roots.reduce((sum, x) => sum + size(x), 0) > longest;
  const names = new Map<Expr, string>();
  const print = (x: Expr): string => {
    if (!long || operands(x).length === 0 || (uses.get(x) as number) < 2) return text(x, print);
    const old = names.get(x);
    if (old) return old;
    const written = text(x, print);
    const name = `%${names.size}`;
    names.set(x, name);
    return `${name}=${written}`;
  };
  return print;
};

export const printExpr = (x: Expr): string => printer([x])(x);

const access = (a: { readonly index: Expr; readonly mask?: Expr }, print: (x: Expr) => string): string =>
  `[${print(a.index)}${a.mask ? ` if ${print(a.mask)}` : ''}]`;

const text = (x: Expr, print: (x: Expr) => string): string => {
  switch (x.k) {
    case 'const':
      return x.dtype === 'index' && x.lanes === 1 ? number(x.value) : `${number(x.value)}:${typeText(x)}`;
    case 'ref':
      return x.name;
    case 'block':
      return `block.${x.axis}`;
    case 'thread':
      return 'thread';
    case 'place':
      return `place.${x.axis}`;
    case 'unary':
      return `${x.op}(${print(x.x)})`;
    case 'binary':
      return `${x.op}(${print(x.x)}, ${print(x.y)})`;
    case 'compare':
      return `${x.cmp}(${print(x.x)}, ${print(x.y)})`;
    case 'select':
      return `select(${print(x.c)}, ${print(x.x)}, ${print(x.y)})`;
    case 'fma':
    case 'dot2':
      return `${x.k}(${print(x.x)}, ${print(x.y)}, ${print(x.z)})`;
    case 'cast':
    case 'bitcast':
      return `${x.k}.${x.dtype}(${print(x.x)})`;
    case 'splat':
      return `splat.${x.lanes}(${print(x.x)})`;
    case 'ramp':
      return `ramp.${x.lanes}(${print(x.base)})`;
    case 'lane':
      return `lane.${x.i}(${print(x.x)})`;
    case 'zip':
      return `zip.${x.half}(${print(x.x)}, ${print(x.y)})`;
    case 'across':
      return `across.${x.op}(${print(x.x)})`;
    case 'load':
      return `load${lanes(x)} ${x.from}${access(x, print)}`;
  }
};

const phase = ({ name, index }: KPhase, print = printExpr): string => `${name}[${print(index)}]`;

const lines = (body: readonly Stmt[], indent: string): string[] => body.flatMap((s) => stmt(s, indent));
const stmt = (s: Stmt, indent: string): string[] => {
  const inner = `${indent}  `;
  switch (s.s) {
    case 'let':
    case 'var':
      return [`${indent}${s.s} ${s.name}: ${typeText(s.value)} = ${printExpr(s.value)}`];
    case 'set':
      return [`${indent}set ${s.name} = ${printExpr(s.value)}`];
    case 'alloc':
      return [`${indent}alloc ${s.name}: ${s.dtype}[${s.size}] ${s.space}`];
    case 'store': {
      const print = printer(s.mask ? [s.index, s.mask, s.value] : [s.index, s.value]);
      return [`${indent}store ${s.to}${access(s, print)} = ${print(s.value)}`];
    }
    case 'for': {
      const print = printer([s.from, s.to]);
      const head = `for ${s.name} = ${print(s.from)} to ${print(s.to)} step ${s.step}${s.kind === 'unroll' ? ' unroll' : ''} {`;
      return [indent + head, ...lines(s.body, inner), `${indent}}`];
    }
    case 'if': {
      const otherwise = s.otherwise.length === 0 ? [] : [`${indent}} else {`, ...lines(s.otherwise, inner)];
      return [`${indent}if ${printExpr(s.cond)} {`, ...lines(s.body, inner), ...otherwise, `${indent}}`];
    }
    case 'prefetch':
      return [`${indent}prefetch ${s.from}[${printExpr(s.index)}]`];
    case 'barrier':
      return [indent + (s.of === 'warp' ? 'barrier.warp' : 'barrier')];
    case 'commit':
      return [indent + (s.of === 'products' ? 'commit.products' : 'commit')];
    case 'fence':
      return [indent + s.s];
    case 'registers':
      return [`${indent}registers ${s.count}`];
    case 'tensorMap': {
      const axes = s.sizes.map((n, i) => `${n} by ${s.strides[i]} box ${s.box[i]}`);
      return [`${indent}tensorMap ${s.name} = ${s.from}[${s.base}] of ${axes.join(', ')}`];
    }
    case 'mbarrier':
      return [`${indent}mbarrier ${s.name}[${s.size}] of ${s.arrivals}`];
    case 'arrive':
      return [`${indent}arrive ${phase(s.at)}`];
    case 'expect':
      return [`${indent}expect ${phase(s.at)} ${s.bytes}`];
    case 'await': {
      const print = printer([s.at.index, s.parity]);
      return [`${indent}await ${phase(s.at, print)} parity ${print(s.parity)}`];
    }
    case 'fetch': {
      const print = printer([s.at, ...s.index, s.on.index]);
      return [`${indent}fetch ${s.to}[${print(s.at)}] = ${s.from}[${s.index.map(print).join(', ')}] on ${phase(s.on, print)}`];
    }
    case 'wgmma': {
      const print = printer(['k' in s.x ? s.x : s.x.index, s.y.index]);
      const lines = (x: KLines | Expr): string =>
        'k' in x ? `of ${print(x)}` : `${x.from}[${print(x.index)}]${x.turned ? ` turned ${x.apart}` : ''}`;
      return [`${indent}wgmma.${s.of} ${s.names.join(' ')} = ${lines(s.x)}, ${lines(s.y)}`];
    }
    case 'fragment':
      return [`${indent}fragment ${s.name} = ${s.from}[${printExpr(s.index)}]${s.turned ? ' turned' : ''}`];
    case 'mma': {
      const print = printer([s.x, s.y]);
      return [`${indent}mma.${s.of} ${s.name} = ${print(s.x)}, ${print(s.y)}`];
    }
    case 'copy': {
      const print = printer(s.count ? [s.at, s.index, s.count] : [s.at, s.index]);
      const [at, from] = [print(s.at), print(s.index)];
      return [`${indent}copy.${s.lanes} ${s.to}[${at}] = ${s.from}[${from}${s.count ? ` of ${print(s.count)}` : ''}]`];
    }
    case 'wait':
      return [`${indent}${s.of === 'products' ? 'wait.products' : 'wait'} ${s.pending}`];
    case 'exchange':
      return [`${indent}exchange ${s.name}: ${typeText(s.value)} = ${printExpr(s.value)} by ${s.by}`];
  }
};

export const printStatements = (body: readonly Stmt[]): string => lines(body, '').join('\n');

export const printKernel = (k: Kernel): string => {
  const buffers = k.buffers.map((b) => `${b.name}: ${b.dtype}[${b.size}] ${b.access}${b.nontemporal ? ' nontemporal' : ''}`).join(', ');
  const head = `kernel ${k.name}(${buffers}) grid=[${k.grid.join(' ')}] threads=${k.threads} {`;
  return [head, ...lines(k.body, '  '), '}', ''].join('\n');
};
