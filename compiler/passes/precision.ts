/**
 * Which contractions take bf16 or f16 operands. A policy gives each scope a precision; the pass casts the float32 operands of the
 * contractions that it says so of, and changes nothing else: they still accumulate in float32 and give float32, and everything between
 * them (statistics, softmax, losses, the optimizer) stays what it was. A contraction that is no product of matrices, because one side
 * has no axis of its own or nothing is summed, reads each number once: it would gain nothing and is left alone. Attention is contractions:
 * its rows are cast, and its definition becomes that of their type.
 *
 * A cast stands where the value is made, in front of the views on its way to contractions, so that one cast serves all of them, forward
 * and backward, weights too. Where nothing else reads the value, fusion computes the bf16 numbers in the kernel that makes it and never
 * writes the float32: what backward keeps of the forward phase are then the very numbers that its contractions read.
 *
 * With `results`, what contractions of a scope give is rounded once, and everything reads that: logits of a head that are as large as all else together
 * take half the bytes, and so does their gradient, which takes their place.
 *
 * The pass runs after simplify and cse, which make equal operands one value, and before remat, so that the casts inside a checkpoint
 * region are recomputed with it. It works on the joint graph: derivatives are taken in float32, of the function as it was written.
 *
 *   %2: f32[8 3] = transpose(%1) perm=[1 0]                        %2: bf16[3 8] = cast(%1)   %3: bf16[8 3] = transpose(%2)
 *   %3: f32[4 3] = dot(%0, %2) contract=[1][0] dtype=f32     ->    %4: bf16[4 8] = cast(%0)   %5: f32[4 3] = dot(%4, %3)
 */
import { FoveaError } from '../error.ts';
import { attention, isAttention, placesIn, type StreamOp, tiled } from '../graph/attention.ts';
import { type Builder, builder } from '../graph/builder.ts';
import { known } from '../graph/dim.ts';
import type { FloatType, Graph, Meta, Node, Op, OpOf, Prim, Value } from '../graph/types.ts';

/**
 * The precision of contractions: one for all, or by scope. A pattern names a path of scopes: `*` stands for one of them, `**` for any
 * number. Where several match, the last one holds.
 *
 *   'bf16'      { default: 'bf16', scopes: { 'loss/**': 'f32', 'student/*_head/**': 'f32' } }
 */
export type Precision =
  | FloatType
  | {
      readonly default: FloatType;
      readonly scopes?: Readonly<Record<string, FloatType>>;
      /**
       * The type that what contractions of bf16 or f16 give, forward, is rounded to before anything reads it, by scope: as of layers that give their own type.
       * Default f32. Contractions of float32 and attention keep theirs.
       */
      readonly results?: Readonly<Record<string, FloatType>>;
      /** Whether the backward phase reads what contractions of bf16 made as bf16 (passes/keep.ts), which halves what waits for it. Default false: float32. */
      readonly kept?: boolean;
    };
type Low = Exclude<FloatType, 'f32'>;

const words = ['default', 'scopes', 'results', 'kept'];
const checked = (p: unknown, where: string): FloatType => {
  if (p === 'f32' || p === 'bf16' || p === 'f16') return p;
  throw new FoveaError('FV0615', `precision${where}: ${JSON.stringify(p) ?? String(p)} is no precision`, {
    hint: "There are 'f32', 'bf16' and 'f16'.",
  });
};

/** `a/**` as a regular expression; it matches `a` too. */
const matcher = (pattern: string): RegExp => {
  const parts = pattern.split('/').map((p) => (p === '**' ? p : p.replace(/[.+?^${}()|[\]\\]/g, '\\$&').replace(/\*+/g, '[^/]*')));
  // every part ends with a slash, and so does the path that is looked at
  return new RegExp(`^${parts.map((p) => (p === '**' ? '(?:[^/]*/)*' : `${p}/`)).join('')}$`);
};

/** The precision of a scope. Throws FV0615 for a policy that is none. */
export const policyOf = (precision: Precision): ((scope: string) => FloatType) => {
  if (typeof precision !== 'object' || precision === null) {
    const all = checked(precision, '');
    return () => all;
  }
  const odd = Object.keys(precision).find((k) => !words.includes(k));
  const record = (x: unknown): boolean => x === undefined || (typeof x === 'object' && x !== null && !Array.isArray(x));
  const bad = (['scopes', 'results'] as const).find((k) => !record(precision[k]));
  if (odd !== undefined || bad !== undefined || !['undefined', 'boolean'].includes(typeof precision.kept))
    throw new FoveaError(
      'FV0615',
      `precision: '${odd ?? bad ?? 'kept'}' is ${odd === undefined ? 'not what it should be' : 'no word of a policy'}`,
      {
        hint: "For example: { default: 'bf16', scopes: { 'loss/**': 'f32' }, results: { 'head/*': 'bf16' }, kept: true }.",
      },
    );
  return byScope(checked(precision.default, ', default'), precision.scopes ?? {});
};

const byScope = (otherwise: FloatType, scopes: Readonly<Record<string, FloatType>>): ((scope: string) => FloatType) => {
  const rules = Object.entries(scopes).map(([p, t]) => [matcher(p), checked(t, `, '${p}'`)] as const);
  const found = new Map<string, FloatType>();
  return (scope) => {
    const old = found.get(scope);
    if (old) return old;
    const t = rules.findLast(([pattern]) => pattern.test(`${scope}/`))?.[1] ?? otherwise;
    found.set(scope, t);
    return t;
  };
};

/** A product of matrices: rows, columns and products, more than one of each. */
export const isProduct = (op: OpOf<'dot'>, inputs: readonly Value[]): boolean => {
  const size = (side: 0 | 1, which: (axis: number) => boolean): number =>
    (inputs[side] as Value).type.shape.reduce<number>((n, d, axis) => (which(axis) ? n * known(d) : n), 1);
  const free = (side: 0 | 1): number => size(side, (a) => !op.batch[side].includes(a) && !op.contract[side].includes(a));
  return free(0) > 1 && free(1) > 1 && size(0, (a) => op.contract[0].includes(a)) > 1;
};

/** Attention of more than one query, key and value, none of one number. */
const isStream = (op: OpOf<'call'>): op is StreamOp =>
  Object.hasOwn(tiled, op.tag) && op.body.params.slice(1, 4).every((p) => p.type.shape.slice(-2).every((d) => known(d) > 1));

/** The operands that may be cast, by primitive: the contractions. */
const operandsOf: { readonly [P in Prim]?: (op: OpOf<P>, inputs: readonly Value[]) => readonly number[] } = {
  call: (op) => (isStream(op) ? tiled[op.tag] : []),
  dot: (op, inputs) => (op.dtype === 'f32' && isProduct(op, inputs) ? [0, 1] : []),
};
/** Views of one operand: a cast may as well stand in front. Those of the first kind read everything that the operand has. */
const whole: ReadonlySet<Prim> = new Set<Prim>(['reshape', 'transpose', 'reverse', 'broadcast', 'stopGradient']);
const partial: ReadonlySet<Prim> = new Set<Prim>(['slice']);

/** The type that contractions want some of their operands in, by their positions. */
interface Wish {
  readonly type: Low;
  readonly at: readonly number[];
}
interface Demand {
  /** The types in which contractions want a value, beside its own. */
  readonly wanted: ReadonlyMap<Value, ReadonlySet<Low>>;
  /** Of a view, the types that it is wanted in and takes from its operand. */
  readonly through: ReadonlyMap<Node, ReadonlySet<Low>>;
}

const isView = (n: Node): boolean => whole.has(n.op.prim) || partial.has(n.op.prim);

/** The contractions that a policy casts. */
const chosen = (g: Graph, policy: (scope: string) => FloatType): ReadonlyMap<Node, Wish> => {
  const found = new Map<Node, Wish>();
  for (const n of g.nodes) {
    const t = policy(n.meta.scope);
    const at = (operandsOf[n.op.prim] as ((op: Op, ins: readonly Value[]) => readonly number[]) | undefined)?.(n.op, n.inputs) ?? [];
    if (t !== 'f32' && at.length > 0 && at.every((i) => n.inputs[i]?.type.dtype === 'f32')) found.set(n, { type: t, at });
  }
  return found;
};

/** What all readers of a value want, through views: one low type, or float32 among others. */
const readersOf = (g: Graph, casts: ReadonlyMap<Node, Wish>): ReadonlyMap<Value, FloatType> => {
  const readers = new Map<Value, FloatType>(g.results.map((r) => [r, 'f32']));
  for (const n of [...g.nodes].reverse()) {
    const wish = casts.get(n);
    n.inputs.forEach((v, i) => {
      const t = wish?.at.includes(i) ? wish.type : isView(n) ? readers.get(n.outputs[0] as Value) : 'f32';
      if (t) readers.set(v, (readers.get(v) ?? t) === t ? t : 'f32');
    });
  }
  return readers;
};

const demand = (g: Graph, casts: ReadonlyMap<Node, Wish>): Demand => {
  const readers = readersOf(g, casts);
  const wanted = new Map<Value, Set<Low>>();
  const through = new Map<Node, Set<Low>>();
  const want = (v: Value, t: Low): void => {
    wanted.set(v, (wanted.get(v) ?? new Set()).add(t));
  };
  for (const n of [...g.nodes].reverse()) {
    const wish = casts.get(n);
    for (const i of wish?.at ?? []) want(n.inputs[i] as Value, (wish as Wish).type);
    if (!isView(n)) continue;
    const [x] = n.inputs as [Value];
    for (const t of wanted.get(n.outputs[0] as Value) ?? []) {
      // a part of a value that others read as it is: cast the part
      if (partial.has(n.op.prim) && readers.get(x) !== t) continue;
      through.set(n, (through.get(n) ?? new Set()).add(t));
      want(x, t);
    }
  }
  return { wanted, through };
};

/** Casts the operands of contractions to what `precision` says of their scope. The types of parameters and results stay. */
export const precision = (choice: Precision): ((g: Graph) => Graph) => {
  const policy = policyOf(choice);
  const resultOf = byScope('f32', typeof choice === 'string' ? {} : (choice.results ?? {}));
  return (g) => {
    const casts = chosen(g, policy);
    if (casts.size === 0) return g;
    const { wanted, through } = demand(g, casts);
    const b = builder();
    const env = new Map<Value, Value>(g.params.map((p) => [p, b.param(p.type, p.name)]));
    const lows = { bf16: new Map<Value, Value>(), f16: new Map<Value, Value>() };
    /** Value v as type t; a parameter is cast where it is first read, and once, whatever region reads it. */
    const as = (v: Value, t: Low, { scope, phase, loc }: Meta): Value => {
      const old = lows[t].get(v);
      if (old) return old;
      const made = cast(b, env.get(v) as Value, t, { scope, phase, loc });
      lows[t].set(v, made);
      return made;
    };
    for (const n of g.nodes) {
      const wish = casts.get(n);
      const ins = n.inputs.map((v, i) => (wish?.at.includes(i) ? as(v, wish.type, n.meta) : (env.get(v) as Value)));
      const outs = b.at(n.meta, () => (wish && isAttention(n) ? attention(b, n.op.tag, ins, placesIn(n.op)) : b.emit(n.op, ins)));
      const rounded = wish && n.op.prim === 'dot' && n.meta.phase === 'fwd' ? resultOf(n.meta.scope) : 'f32';
      n.outputs.forEach((o, i) => {
        const low = rounded === 'f32' ? undefined : cast(b, outs[i] as Value, rounded, n.meta);
        env.set(o, low ? cast(b, low, 'f32', n.meta) : (outs[i] as Value));
        if (low) lows[rounded as Low].set(o, low);
        for (const type of wanted.get(o) ?? []) {
          if (lows[type].has(o)) continue;
          const x = through.get(n)?.has(type) ? as(n.inputs[0] as Value, type, n.meta) : undefined;
          lows[type].set(o, x ? (b.emit(n.op, [x], n.meta)[0] as Value) : cast(b, env.get(o) as Value, type, n.meta));
        }
      });
    }
    return b.build(g.results.map((r) => env.get(r) as Value));
  };
};

const cast = (b: Builder, x: Value, dtype: FloatType, meta: Meta): Value => b.emit({ prim: 'cast', dtype }, [x], meta)[0] as Value;
