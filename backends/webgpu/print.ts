/**
 * Prints a kernel as one WGSL module: statements, and what stands around them (expressions.ts, access.ts). A dispatch is of blocks in a row, of which a
 * line has at most 65,535; the last block of kernels that may need more is a uniform.
 *
 *   store c[at] = add(load.4 a[at], load.4 b[at])
 *   let t0 = (a[at >> 2u] + b[at >> 2u]); c[at >> 2u] = t0;                                 at a multiple of 4
 *   let t0 = (vec4<f32>(a[at], a[at + 1], ...) + vec4<f32>(b[at], ...)); c[at] = t0.x; ...  elsewhere
 */
import { bytesOf, type DType } from '../../compiler/graph/types.ts';
import { learn } from '../../compiler/kernel/divisors.ts';
import { identifiers } from '../../compiler/kernel/names.ts';
import type { Kernel, KType, Stmt } from '../../compiler/kernel/types.ts';
import { block, blockOf, branch, line, statement, withLocals } from '../../compiler/kernel/written.ts';
import { stores } from './access.ts';
import { apart, bindingsOf, type Places } from './bindings.ts';
import type { Context } from './context.ts';
import { type Dialect, plain } from './dialect.ts';
import { literal, text } from './expressions.ts';
import { elements } from './memory.ts';
import { legal } from './names.ts';
import { prelude, registerOf, vectorOf } from './prelude.ts';
import { vectorsOf } from './vectors.ts';

/** Blocks of a line of a dispatch. */
export const lineOfBlocks = 65535;
/** Whether a dispatch may have more lines than one, so that the kernel must know how many blocks there are. */
export const counted = (k: Kernel): boolean => k.grid[0] * k.grid[1] * k.grid[2] > lineOfBlocks;

interface Printer extends Context {
  /** Extensions of the language. */
  readonly uses: Set<string>;
  /** Declarations of shared arrays. */
  readonly shared: string[];
  /** Elements of the vectors that memory is made of. */
  readonly vectors: ReadonlyMap<string, number>;
}

const printStmt = (s: Stmt, c: Printer): void => {
  learn(s, c.divisors);
  switch (s.s) {
    case 'let':
    case 'var':
      statement(c, [s.value], ([v]) => line(c, `${s.s} ${c.name(s.name)} = ${v};`));
      break;
    case 'set':
      statement(c, [s.value], ([v]) => line(c, `${c.name(s.name)} = ${v};`));
      break;
    case 'alloc': {
      const [name, type] = [c.name(s.name), registerOf(s.dtype, c.dialect)];
      if (s.space === 'register') line(c, `var ${name}: array<${type}, ${Math.max(1, s.size)}>;`);
      else {
        const n = c.vectors.get(s.name) ?? 1;
        c.shared.push(`var<workgroup> ${name}: array<${vectorOf(type, n)}, ${Math.max(1, Math.ceil(s.size / n))}>;`);
        c.memory.set(s.name, elements(type, n, { get: (i) => `${name}[${i}]`, set: (i, x) => `${name}[${i}] = ${x};` }));
      }
      break;
    }
    case 'store':
      withLocals(c, s.mask ? [s.index, s.value, s.mask] : [s.index, s.value], () => stores(s, c));
      break;
    case 'for':
      statement(c, [s.from, s.to], ([from, to]) => {
        const i = c.name(s.name);
        // the bound is evaluated once: the body may write what it reads
        const end = s.to.k === 'const' || s.to.k === 'ref' ? to : `${i}_end`;
        if (end !== to) line(c, `let ${end} = ${to};`);
        line(c, `for (var ${i} = ${from}; ${i} < ${end}; ${i} += ${literal(s.step, s.from.dtype, c)}) {`);
        block(c, s.body);
        line(c, '}');
      });
      break;
    case 'if':
      branch(c, s);
      break;
    case 'prefetch':
      break;
    case 'barrier':
      line(c, 'workgroupBarrier();');
      break;
    case 'fragment':
    case 'mma':
    case 'copy':
    case 'commit':
    case 'wait':
    case 'tensorMap':
    case 'mbarrier':
    case 'arrive':
    case 'expect':
    case 'await':
    case 'fetch':
    case 'wgmma':
    case 'fence':
    case 'registers':
      throw new Error('internal: matrix units in WGSL');
    case 'exchange':
      statement(c, [s.value], ([v]) => line(c, `let ${c.name(s.name)} = subgroupShuffleXor(${v}, ${s.by}u);`));
      c.uses.add('subgroups');
      break;
  }
};

/** The memory that a buffer or shared array lies in: the first buffer of its place. */
const memoryNames = (k: Kernel, { places }: Places): ((name: string) => string) => {
  const first = new Map(k.buffers.map((b, i) => [b.name, (k.buffers[places.indexOf(places[i] as number)] ?? b).name]));
  return (name) => first.get(name) ?? name;
};

/** `places`: where the buffers lie, each in a place of its own unless given. Entry point `main`. */
export const printWgsl = (k: Kernel, places: Places = apart(k), dialect: Dialect = plain): string => {
  const name = identifiers(legal, 'x');
  const packed = (dtype: KType): boolean => dtype !== 'index' && bytesOf[dtype] < 4 && !(dialect.f16 && dtype === 'f16');
  const of = memoryNames(k, places);
  const vectors = vectorsOf(k, of, packed);
  const scalar = (dtype: DType): string | undefined => (packed(dtype) ? undefined : registerOf(dtype, dialect));
  const bindings = bindingsOf(k, places, { name, scalar, vector: (b) => vectors.get(b) ?? 1 });
  const c: Printer = {
    dialect,
    name,
    fns: prelude(),
    memory: new Map(bindings.of),
    divisors: new Map(),
    vectors,
    uses: new Set(dialect.f16 ? ['f16'] : []),
    shared: [],
    lines: [],
    locals: new Map(),
    indent: 1,
    count: 0,
    text: (e) => text(e, c),
    declare: () => 'let',
    statement: (s) => printStmt(s, c),
  };
  const many = counted(k);
  const first = places.first ?? 0;
  line(c, `let b_all = ${first > 0 ? `${first} + ` : ''}i32(fv_block.x${many ? ` + fv_block.y * ${lineOfBlocks}u` : ''});`);
  if (many) line(c, 'if (b_all >= i32(fv_blocks)) { return; }');
  blockOf(k, 'b_all').forEach((b, axis) => line(c, `let b_${axis} = ${b};`));
  line(c, 'let b_thread = i32(fv_thread);');
  c.indent--;
  block(c, k.body);
  return [
    ...[...c.uses].map((u) => `enable ${u};`),
    ...bindings.declared,
    ...(many ? [`@group(0) @binding(${bindings.count}) var<uniform> fv_blocks: u32;`] : []),
    c.fns.text(),
    ...bindings.functions(),
    ...c.shared,
    `@compute @workgroup_size(${k.threads})`,
    'fn main(@builtin(workgroup_id) fv_block: vec3<u32>, @builtin(local_invocation_index) fv_thread: u32) {',
    ...c.lines,
    '}',
    '',
  ]
    .filter((s, i, all) => s !== '' || i === all.length - 1)
    .join('\n');
};
