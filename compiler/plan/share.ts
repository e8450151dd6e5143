/**
 * One kernel for many tensors. The optimizer does the same to every parameter, but for the number of elements and a factor on the
 * learning rate; kernels that differ in numbers only are compiled once, and each launch brings its numbers in two small tables:
 *
 *   for i0 = mul(block.0, 8192) to min(add(mul(block.0, 8192), 8192), 98688)      in the kernel of 98688 elements
 *   let q0: index = cast(load b11[0])
 *   for i0 = mul(block.0, 8192) to min(add(mul(block.0, 8192), 8192), q0)         in the kernel of all of them
 *
 * Numbers that are equal in all kernels stay where they are. Of the 84 kernels of AdamW in a step of ViT-S 4 are left.
 */
import * as e from '../kernel/expr.ts';
import { exprs, mapOwn } from '../kernel/exprs.ts';
import { own } from '../kernel/key.ts';
import type { Expr, Kernel, KType, Stmt } from '../kernel/types.ts';

/** A kernel that stands for several, and what each of those would put in its tables. */
export interface Shared {
  readonly kernel: Kernel;
  readonly numbers: ReadonlyMap<Kernel, Tables>;
}
export interface Tables {
  readonly f32: readonly number[];
  readonly i32: readonly number[];
}

type Const = e.ExprOf<'const'>;
/** In the order in which they follow the kernel's own buffers; a table without numbers is left out. */
export const tables = ['f32', 'i32'] as const;
const prefix = { f32: 'p', i32: 'q' } as const;

/** The kernel with its expressions replaced by `f`, in the order in which `shapeOf` meets them. */
const mapExprs = (body: readonly Stmt[], f: (x: Expr) => Expr): readonly Stmt[] =>
  body.map((s): Stmt => {
    const own = mapOwn(s, f);
    if (own.s === 'for') return { ...own, body: mapExprs(own.body, f) };
    return own.s === 'if' ? { ...own, body: mapExprs(own.body, f), otherwise: mapExprs(own.otherwise, f) } : own;
  });

/** Most nodes of a kernel, as a tree: more are not worth the walk. */
const most = 4000;

/** Everything but the numbers, as text, and the numbers; undefined for kernels that cannot be shared. */
const shapeOf = (k: Kernel): { readonly text: string; readonly numbers: readonly Const[] } | undefined => {
  const numbers: Const[] = [];
  const parts: string[] = [];
  let nodes = 0;
  const visit = (x: Expr): void => {
    if (++nodes > most) return;
    if (x.k === 'const') {
      numbers.push(x);
      parts.push(`#${x.dtype}.${x.lanes}`);
      return;
    }
    parts.push(`${x.k} ${own(x)} ${x.dtype}.${x.lanes}(`);
    e.operands(x).forEach(visit);
    parts.push(')');
  };
  const head = k.buffers.map((b) => `${b.name}: ${b.dtype} ${b.access}`).join();
  const statement = (s: Stmt): void => {
    parts.push(
      `${s.s} ${'name' in s ? s.name : ''}${s.s === 'store' ? s.to : s.s === 'prefetch' ? s.from : ''}${s.s === 'for' ? `${s.step}${s.kind}` : ''}${s.s === 'alloc' ? `${s.space} ${s.dtype} ${s.size}` : ''};`,
    );
    exprs(s).forEach(visit);
    if (s.s === 'for' || s.s === 'if') {
      parts.push('{');
      s.body.forEach(statement);
      if (s.s === 'if') {
        parts.push('}{');
        s.otherwise.forEach(statement);
      }
      parts.push('}');
    }
  };
  k.body.forEach(statement);
  if (nodes > most || k.grid[1] * k.grid[2] !== 1 || k.threads !== 1) return undefined;
  return { text: `${head}|${parts.join('')}`, numbers };
};

const tableOf: { readonly [T in KType]?: keyof Tables } = { f32: 'f32', index: 'i32', i32: 'i32' };
const fits = (x: Const): boolean => x.dtype === 'f32' || (tableOf[x.dtype] !== undefined && Math.abs(x.value) < 2 ** 31);

/** The kernel of one class: `numbers[k][i]` is number i of kernel k. */
const shared = (kernels: readonly Kernel[], numbers: readonly (readonly Const[])[]): Shared | undefined => {
  const first = kernels[0] as Kernel;
  const columns = (numbers[0] as readonly Const[]).map((_, i) => numbers.map((row) => row[i] as Const));
  const differs = columns.map((column) => column.some((x) => !Object.is(x.value, (column[0] as Const).value)));
  if (!columns.every((column, i) => !differs[i] || column.every(fits))) return undefined;
  // equal columns are one entry: the number of elements stands in several places
  const entries = { f32: [] as string[], i32: [] as string[] };
  const rows = { f32: kernels.map((): number[] => []), i32: kernels.map((): number[] => []) };
  const places = columns.map((column, i): { readonly table: keyof Tables; readonly at: number } | undefined => {
    if (!differs[i]) return undefined;
    const table = tableOf[(column[0] as Const).dtype] as keyof Tables;
    const key = column.map((x) => (Object.is(x.value, -0) ? '-0' : x.value)).join();
    const old = entries[table].indexOf(key);
    if (old >= 0) return { table, at: old };
    column.forEach((x, k) => rows[table][k]?.push(x.value));
    return { table, at: entries[table].push(key) - 1 };
  });
  const buffers = first.buffers.map((b, i) => ({ ...b, size: Math.max(...kernels.map((k) => k.buffers[i]?.size ?? 0)) }));
  const lets: Stmt[] = [];
  for (const table of tables) {
    const size = entries[table].length;
    if (size === 0) continue;
    const place = { name: `b${buffers.length}`, dtype: table } as const;
    buffers.push({ name: place.name, dtype: table, size, access: 'read' });
    entries[table].forEach((_, i) => {
      lets.push({ s: 'let', name: `${prefix[table]}${i}`, value: e.load(place, i) });
    });
  }
  let next = 0;
  const replace = (x: Expr): Expr => {
    if (x.k !== 'const') return e.rebuild(x, replace);
    const place = places[next++];
    if (!place) return x;
    const name = e.ref(`${prefix[place.table]}${place.at}`, place.table);
    return e.splat(e.cast(name, x.dtype), x.lanes);
  };
  const body = mapExprs(first.body, replace);
  const grid = [Math.max(...kernels.map((k) => k.grid[0])), 1, 1] as const;
  return {
    kernel: { ...first, buffers, grid, body: [...lets, ...body] },
    numbers: new Map(kernels.map((k, i) => [k, { f32: rows.f32[i] as number[], i32: rows.i32[i] as number[] }])),
  };
};

/** For kernels that differ from others in numbers only: the kernel to run in their place. Their buffers are its first ones, its tables follow. */
export const shareKernels = (kernels: readonly Kernel[]): ReadonlyMap<Kernel, Shared> => {
  const classes = new Map<string, { readonly kernel: Kernel; readonly numbers: readonly Const[] }[]>();
  for (const kernel of new Set(kernels)) {
    const shape = shapeOf(kernel);
    if (!shape) continue;
    const members = classes.get(shape.text) ?? [];
    members.push({ kernel, numbers: shape.numbers });
    classes.set(shape.text, members);
  }
  const found = new Map<Kernel, Shared>();
  for (const members of classes.values()) {
    if (members.length < 2) continue;
    const made = shared(
      members.map((m) => m.kernel),
      members.map((m) => m.numbers),
    );
    if (made) for (const m of members) found.set(m.kernel, made);
  }
  return found;
};
