/**
 * Text form of graphs: what pass tests compare, bug reports carry and `explain` shows. Every value has its type, so a node
 * can be read alone; regions are indented. parse(print(g)) equals g, numbers included (NaN, -0, infinities); large arrays
 * are printed whole.
 *
 *   graph (%0 x: f32[B 384], %1 "odd name": f32[N 384]) {
 *     %2: f32[B N] = dot(%0, %1) batch=[][] contract=[1][1] dtype=f32 ; scope="head" phase=fwd loc="model.ts":12:8
 *     return %2
 *   }
 *
 * What follows `;` is the node's meta. scope is left out where empty, loc and remat where absent.
 */
import { showType } from './infer.ts';
import type { Graph, Meta, Node, Op, OpOf, Placement, Prim, Value } from './types.ts';

export interface PrintOptions {
  /** Print where each node comes from; false gives the short form, which parses to scope '' and phase fwd. Default true. */
  readonly meta?: boolean;
}

/** A name that needs no quotes: words joined by dots and the like, never beginning with a digit or `%`. */
const plain = /^[A-Za-z_][\w.$/-]*$/;
const showName = (name: string): string => (plain.test(name) ? name : JSON.stringify(name));
/** Shortest text that reads back as the same number; -0 keeps its sign. */
const showNumber = (x: number): string => (Object.is(x, -0) ? '-0' : String(x));

const list = (xs: readonly unknown[]): string => `[${xs.map(String).join(' ')}]`;
const numbers = (xs: readonly number[]): string => `[${xs.map(showNumber).join(' ')}]`;
/** S0, or S0[4 4] with parts. */
export const placement = (p: Placement): string => (typeof p === 'string' ? p : `S${p.split}${p.parts ? numbers(p.parts) : ''}`);

type Show<P extends Prim> = (op: OpOf<P>) => readonly (readonly [key: string, text: string])[];
type AnyShow = (op: Op) => readonly (readonly [string, string])[];
const none: AnyShow = () => [];
const axes: Show<'reverse' | 'reduceSum' | 'reduceMax' | 'reduceMin'> = (op) => [['axes', list(op.axes)]];
const axis: Show<'concat' | 'gather' | 'scatterAdd' | 'argmax' | 'cumsum'> = (op) => [['axis', `${op.axis}`]];

const transfer: Show<'collective' | 'start'> = (op) => [
  ['kind', op.kind],
  ['group', op.group],
  ['ranks', `${op.ranks}`],
  ['reduction', op.reduction],
  ['unit', showName(op.unit)],
];

/** Attributes of each primitive, in the order in which they are printed. Regions are printed apart. */
const shows: { readonly [P in Prim]: Show<P> } = {
  const: (op) => [
    ['value', typeof op.value === 'number' ? showNumber(op.value) : `${op.value}`],
    ['dtype', op.dtype],
  ],
  array: (op) => [
    ['data', numbers(op.data)],
    ['shape', list(op.shape)],
    ['dtype', op.dtype],
  ],
  iota: (op) => [
    ['shape', list(op.shape)],
    ['axis', `${op.axis}`],
    ['dtype', op.dtype],
  ],
  neg: none,
  exp: none,
  log: none,
  sin: none,
  cos: none,
  tanh: none,
  sqrt: none,
  rsqrt: none,
  erf: none,
  abs: none,
  sign: none,
  floor: none,
  not: none,
  cast: (op) => [['dtype', op.dtype]],
  stopGradient: none,
  add: none,
  sub: none,
  mul: none,
  div: none,
  pow: none,
  max: none,
  min: none,
  rem: none,
  and: none,
  or: none,
  xor: none,
  shiftLeft: none,
  shiftRight: none,
  compare: (op) => [['cmp', op.cmp]],
  select: none,
  broadcast: (op) => [
    ['shape', list(op.shape)],
    ['axes', list(op.axes)],
  ],
  reshape: (op) => [['shape', list(op.shape)]],
  transpose: (op) => [['perm', list(op.perm)]],
  slice: (op) => [
    ['start', list(op.start)],
    ['limit', list(op.limit)],
  ],
  pad: (op) => [
    ['low', list(op.low)],
    ['high', list(op.high)],
    ['value', showNumber(op.value)],
  ],
  concat: axis,
  reverse: axes,
  gather: axis,
  scatterAdd: axis,
  dot: (op) => [
    ['batch', op.batch.map(list).join('')],
    ['contract', op.contract.map(list).join('')],
    ['dtype', op.dtype],
  ],
  reduceSum: axes,
  reduceMax: axes,
  reduceMin: axes,
  argmax: axis,
  cumsum: axis,
  randomBits: (op) => [['shape', list(op.shape)]],
  call: (op) => [['tag', showName(op.tag)]],
  scan: (op) => [
    ['length', `${op.length}`],
    ['carries', `${op.carries}`],
    ['constants', `${op.constants}`],
    ['reverse', `${op.reverse}`],
  ],
  reshard: (op) => [
    ['axis', showName(op.axis)],
    ['from', placement(op.from)],
    ['to', placement(op.to)],
    ...(op.unit === undefined ? [] : [['unit', showName(op.unit)] as const]),
  ],
  axisIndex: (op) => [['axis', showName(op.axis)]],
  perShard: (op) => [['axis', showName(op.axis)]],
  collective: transfer,
  start: transfer,
  wait: none,
};

/** Attributes of an op as printed: ` axis=1 dtype=i32`. The key of cse, too: equal text, equal attributes. */
const printAttrs = (op: Op): string =>
  (shows[op.prim] as AnyShow)(op)
    .map(([k, v]) => ` ${k}=${v}`)
    .join('');

const printMeta = (m: Meta): string => {
  const loc = m.loc && `loc=${JSON.stringify(m.loc.file)}:${m.loc.line}:${m.loc.col}`;
  const parts = [m.scope && `scope=${JSON.stringify(m.scope)}`, `phase=${m.phase}`, loc, m.remat !== undefined && `remat=${m.remat}`];
  return ` ; ${parts.filter(Boolean).join(' ')}`;
};

const ref = (v: Value): string => `%${v.id}`;
const declare = (v: Value): string => `${ref(v)}${v.name === undefined ? '' : ` ${showName(v.name)}`}: ${showType(v.type)}`;

const lines = (g: Graph, indent: string, meta: boolean, out: string[]): void => {
  for (const n of g.nodes) {
    const left = n.outputs.map(declare).join(', ');
    const head = `${indent}${left}${left && ' '}= ${n.op.prim}(${n.inputs.map(ref).join(', ')})${printAttrs(n.op)}`;
    const tail = meta ? printMeta(n.meta) : '';
    if (!('body' in n.op)) {
      out.push(head + tail);
      continue;
    }
    out.push(`${head} {`, `${indent}  (${n.op.body.params.map(declare).join(', ')})`);
    lines(n.op.body, `${indent}  `, meta, out);
    out.push(`${indent}}${tail}`);
  }
  out.push(`${indent}return${g.results.length ? ' ' : ''}${g.results.map(ref).join(', ')}`);
};

/** The text of a graph, ending in a newline. */
export const print = (g: Graph, options: PrintOptions = {}): string => {
  const out = [`graph (${g.params.map(declare).join(', ')}) {`];
  lines(g, '  ', options.meta ?? true, out);
  return [...out, '}', ''].join('\n');
};

/** One node as `print` shows it, without its meta and region: for error messages. */
export const printNode = (n: Node): string =>
  `${n.outputs.map(declare).join(', ')} = ${n.op.prim}(${n.inputs.map(ref).join(', ')})${printAttrs(n.op)}${'body' in n.op ? ' { ... }' : ''}`;
