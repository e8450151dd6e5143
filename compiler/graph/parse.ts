/**
 * Reads what print.ts writes. White space is free; everything else is exact. The result has the types that the text states:
 * verify.ts decides whether they are right. Text from anywhere is safe to parse: anything that does not fit is FV0102 with
 * the line and what was expected, nesting and the length of sizes are bounded, and every step consumes text.
 *
 *   parse('graph (%0: f32[2]) { %1: f32[2] = exp(%0) return %1 }').nodes[0].op   ->   { prim: 'exp' }
 *   parse('graph (%0: f32[2]) { return %7 }')   ->   FV0102: line 1: expected a value defined above, found '%7 }'
 */
import type { Loc } from '../error.ts';
import { type Cursor, cursor } from './scan-text.ts';
import {
  collectiveKinds,
  type Graph,
  groupNames,
  type Meta,
  type Node,
  type Op,
  type OpOf,
  type Placement,
  type Prim,
  reductions,
  type TensorType,
  type Transfer,
  type Value,
} from './types.ts';

type Attributes<P extends Prim> = Omit<OpOf<P>, 'prim' | 'body'>;
type Read<P extends Prim> = (c: Cursor) => Attributes<P>;

const ints = (c: Cursor): number[] => c.list(c.int);
const none = (): Record<never, never> => ({});
const axes = (c: Cursor) => ({ axes: ints(c.key('axes')) });
const axis = (c: Cursor) => ({ axis: c.key('axis').int() });
const dims = (c: Cursor, key: string) => c.key(key).list(c.dim);
const dtype = (c: Cursor) => c.key('dtype').dtype();
const pair = (c: Cursor, key: string): readonly [number[], number[]] => [ints(c.key(key)), ints(c)];
const flag = (c: Cursor, key: string): boolean => c.key(key).oneOf(['true', 'false'], 'true or false') === 'true';
const placement = (c: Cursor, key: string): Placement => {
  c.key(key);
  if (c.eat('S')) {
    const split = c.int();
    return c.peek('[') ? { split, parts: ints(c) } : { split };
  }
  return c.oneOf<Exclude<Placement, object>>(['R', 'P', 'max', 'min', 'flat'], 'R, P, max, min, flat or S with an axis');
};
const transfer = (c: Cursor): Transfer => ({
  kind: c.key('kind').oneOf(collectiveKinds, 'a kind of collective'),
  group: c.key('group').oneOf(groupNames, 'a group of ranks'),
  ranks: c.key('ranks').int(),
  reduction: c.key('reduction').oneOf(reductions, 'a reduction'),
  unit: c.key('unit').name(),
});
/** A number of any kind, or a size: `const` may hold either. */
const constant = (c: Cursor) => {
  c.key('value');
  const word = c.eat('NaN')
    ? Number.NaN
    : c.eat('Infinity')
      ? Number.POSITIVE_INFINITY
      : c.eat('-Infinity')
        ? Number.NEGATIVE_INFINITY
        : undefined;
  if (word !== undefined) return word;
  const text = c.match(/[^\s]+/y, 'a number or a size');
  const inner = cursor(text);
  const value = /^-?\d+(?:\.\d+)?(?:e[+-]?\d+)?$/.test(text) ? inner.number() : inner.dim();
  return inner.done() ? value : inner.fail('the end of the value');
};

/** Attributes of each primitive, in the order in which print.ts writes them. */
const reads: { readonly [P in Prim]: Read<P> } = {
  const: (c) => ({ value: constant(c), dtype: dtype(c) }),
  array: (c) => ({ data: c.key('data').list(c.number), shape: ints(c.key('shape')), dtype: dtype(c) }),
  iota: (c) => ({ shape: dims(c, 'shape'), ...axis(c), dtype: dtype(c) }),
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
  cast: (c) => ({ dtype: dtype(c) }),
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
  compare: (c) => ({ cmp: c.key('cmp').oneOf(['eq', 'ne', 'lt', 'le', 'gt', 'ge'], 'a comparison') }),
  select: none,
  broadcast: (c) => ({ shape: dims(c, 'shape'), ...axes(c) }),
  reshape: (c) => ({ shape: dims(c, 'shape') }),
  transpose: (c) => ({ perm: ints(c.key('perm')) }),
  slice: (c) => ({ start: dims(c, 'start'), limit: dims(c, 'limit') }),
  pad: (c) => ({ low: dims(c, 'low'), high: dims(c, 'high'), value: c.key('value').number() }),
  concat: axis,
  reverse: axes,
  gather: axis,
  scatterAdd: axis,
  dot: (c) => ({ batch: pair(c, 'batch'), contract: pair(c, 'contract'), dtype: dtype(c) }),
  reduceSum: axes,
  reduceMax: axes,
  reduceMin: axes,
  argmax: axis,
  cumsum: axis,
  randomBits: (c) => ({ shape: dims(c, 'shape') }),
  call: (c) => ({ tag: c.key('tag').name() }),
  scan: (c) => ({
    length: c.key('length').dim(),
    carries: c.key('carries').int(),
    constants: c.key('constants').int(),
    reverse: flag(c, 'reverse'),
  }),
  reshard: (c) => {
    const op = { axis: c.key('axis').name(), from: placement(c, 'from'), to: placement(c, 'to') };
    return c.eat('unit=') ? { ...op, unit: c.name() } : op;
  },
  axisIndex: (c) => ({ axis: c.key('axis').name() }),
  perShard: (c) => ({ axis: c.key('axis').name() }),
  collective: transfer,
  start: transfer,
  wait: none,
};
const prims = Object.keys(reads) as Prim[];
const withBody: ReadonlySet<Prim> = new Set<Prim>(['call', 'scan', 'perShard']);

/** Regions within regions; deeper text is refused rather than let it exhaust the stack. */
const deepest = 100;

const readType = (c: Cursor): TensorType => ({ dtype: c.dtype(), shape: c.list(c.dim) });

const readMeta = (c: Cursor): Meta => {
  if (!c.eat(';')) return { scope: '', phase: 'fwd' };
  const scope = c.eat('scope=') ? c.quoted() : '';
  const phase = c.key('phase').oneOf(['fwd', 'bwd', 'opt'], 'a phase');
  let loc: Loc | undefined;
  if (c.eat('loc=')) {
    const file = c.quoted();
    c.expect(':');
    const line = c.int();
    c.expect(':');
    loc = { file, line, col: c.int() };
  }
  return { scope, phase, ...(loc && { loc }), ...(c.eat('remat=') && { remat: c.int() }) };
};

/** A region or a whole graph, from its parameter list to its `return`. */
const readGraph = (c: Cursor, openBody: boolean, depth: number): Graph => {
  if (depth > deepest) c.fail(`at most ${deepest} nested regions`);
  const env = new Map<number, Value>();
  const declare = (): Value => {
    const id = Number(c.match(/%\d{1,15}/y, 'a value, as in %3: f32[2]').slice(1));
    if (env.has(id)) c.fail(`a value other than %${id}, which exists`);
    const name = c.eat(':') ? undefined : c.name();
    if (name !== undefined) c.expect(':');
    const type = readType(c);
    return name === undefined ? { id, type } : { id, type, name };
  };
  const use = (): Value => {
    const id = c.match(/%\d{1,15}/y, 'a value defined above').slice(1);
    return env.get(Number(id)) ?? c.fail(`a value defined above, not %${id}, before this`);
  };
  const until = <T>(end: string, item: () => T): T[] => {
    const out: T[] = [];
    if (c.eat(end)) return out;
    do out.push(item());
    while (c.eat(','));
    c.expect(end);
    return out;
  };
  /** Values become visible only when their whole list is read, but ids within the list must differ. */
  const enter = (v: Value): Value => {
    env.set(v.id, v);
    return v;
  };
  c.expect('(');
  const params = until(')', () => enter(declare()));
  if (openBody) c.expect('{');
  const nodes: Node[] = [];
  while (!c.eat('return')) {
    const ids = new Set<number>();
    const outputs = until('=', () => {
      const v = declare();
      if (ids.has(v.id)) c.fail(`a value other than %${v.id}, which exists`);
      ids.add(v.id);
      return v;
    });
    const prim = c.oneOf(prims, 'a primitive');
    c.expect('(');
    const inputs = until(')', use);
    const attributes = reads[prim](c);
    const parts: Record<string, unknown> = { prim, ...attributes };
    if (withBody.has(prim)) {
      c.expect('{');
      parts.body = readGraph(c, false, depth + 1);
    }
    // the table gives every primitive its own attributes; the union of them cannot be expressed across the look-up
    nodes.push({ op: parts as unknown as Op, inputs, outputs, meta: readMeta(c) });
    for (const v of outputs) enter(v);
  }
  return { params, nodes, results: until('}', use) };
};

/** Reads one graph. Throws FV0102. */
export const parse = (text: string): Graph => {
  const c = cursor(text);
  c.expect('graph');
  const g = readGraph(c, true, 0);
  if (!c.done()) c.fail('the end');
  return g;
};
