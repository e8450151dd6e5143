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
import type { Expr, Kernel, KType, Stmt } from './types.ts';

const number = (v: number): string =>
  Number.isNaN(v) ? 'nan' : Object.is(v, -0) ? '-0' : v === Infinity ? 'inf' : v === -Infinity ? '-inf' : String(v);
const typeText = (t: { readonly dtype: KType; readonly lanes: number }): string => (t.lanes === 1 ? t.dtype : `${t.dtype}.${t.lanes}`);
const lanes = (x: Expr): string => (x.lanes === 1 ? '' : `.${x.lanes}`);

const access = (a: { readonly index: Expr; readonly mask?: Expr }): string =>
  `[${printExpr(a.index)}${a.mask ? ` if ${printExpr(a.mask)}` : ''}]`;

export const printExpr = (x: Expr): string => {
  switch (x.k) {
    case 'const':
      return x.dtype === 'index' && x.lanes === 1 ? number(x.value) : `${number(x.value)}:${typeText(x)}`;
    case 'ref':
      return x.name;
    case 'block':
      return `block.${x.axis}`;
    case 'thread':
      return 'thread';
    case 'unary':
      return `${x.op}(${printExpr(x.x)})`;
    case 'binary':
      return `${x.op}(${printExpr(x.x)}, ${printExpr(x.y)})`;
    case 'compare':
      return `${x.cmp}(${printExpr(x.x)}, ${printExpr(x.y)})`;
    case 'select':
      return `select(${printExpr(x.c)}, ${printExpr(x.x)}, ${printExpr(x.y)})`;
    case 'fma':
      return `fma(${printExpr(x.x)}, ${printExpr(x.y)}, ${printExpr(x.z)})`;
    case 'cast':
    case 'bitcast':
      return `${x.k}.${x.dtype}(${printExpr(x.x)})`;
    case 'splat':
      return `splat.${x.lanes}(${printExpr(x.x)})`;
    case 'ramp':
      return `ramp.${x.lanes}(${printExpr(x.base)})`;
    case 'lane':
      return `lane.${x.i}(${printExpr(x.x)})`;
    case 'across':
      return `across.${x.op}(${printExpr(x.x)})`;
    case 'load':
      return `load${lanes(x)} ${x.from}${access(x)}`;
  }
};

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
    case 'store':
      return [`${indent}store ${s.to}${access(s)} = ${printExpr(s.value)}`];
    case 'for': {
      const head = `for ${s.name} = ${printExpr(s.from)} to ${printExpr(s.to)} step ${s.step}${s.kind === 'unroll' ? ' unroll' : ''} {`;
      return [indent + head, ...lines(s.body, inner), `${indent}}`];
    }
    case 'if': {
      const otherwise = s.else.length === 0 ? [] : [`${indent}} else {`, ...lines(s.else, inner)];
      return [`${indent}if ${printExpr(s.cond)} {`, ...lines(s.then, inner), ...otherwise, `${indent}}`];
    }
    case 'barrier':
      return [`${indent}barrier`];
  }
};

export const printStatements = (body: readonly Stmt[]): string => lines(body, '').join('\n');

export const printKernel = (k: Kernel): string => {
  const buffers = k.buffers.map((b) => `${b.name}: ${b.dtype}[${b.size}] ${b.access}`).join(', ');
  const head = `kernel ${k.name}(${buffers}) grid=[${k.grid.join(' ')}] threads=${k.threads} {`;
  return [head, ...lines(k.body, '  '), '}', ''].join('\n');
};
