/**
 * Rows that nobody reads are not computed. Where all readers of a value take some of its rows (the class token, masked patches), and the
 * value comes from others row by row (products with weights, norms, activations, residuals), the rows are taken before instead of after:
 *
 *   y = norm(x + mlp(x)); heads read y[:, 0] and y[masked]       x, y: [8 257 384], 100 masked
 *   z = concat(x[:, 0], x[masked]); y = norm(z + mlp(z))         z, y: [108 384]
 *
 * So the last block of a backbone computes its MLP for the rows that a loss sees. Each row is computed by the same operations as before:
 * not a bit changes. Before a function is differentiated, so that its gradients are of the few rows too; and in the pipeline.
 */
import { type Builder, builder } from '../graph/builder.ts';
import { linksOf } from '../graph/links.ts';
import type { Graph, Node, OpOf, Value } from '../graph/types.ts';
import { narrowed, product, rowOperands, type Shape, sizes } from './rows-narrow.ts';

/** Rows taken, at most, of those there are: taking them costs a copy. */
const share = 1 / 2;

/** A value that takes rows of another one, by views and at most a gather each. */
interface End {
  readonly value: Value;
  readonly way: readonly Node[];
}

interface Selection {
  readonly of: Value;
  readonly rows: Shape;
  readonly ends: readonly End[];
  /** Nodes that are computed for the selected rows alone, in order, the maker of `of` last. */
  readonly region: readonly Node[];
  /** Values with rows that the region reads. */
  readonly leaves: ReadonlySet<Value>;
}

/** Keeps a list of numbers in order; one that is there stays alone. */
const insert = (list: number[], i: number): void => {
  const at = list.findLastIndex((x) => x <= i);
  if (list[at] !== i) list.splice(at + 1, 0, i);
};

const find = (g: Graph): Selection | undefined => {
  const { makers, readers } = linksOf(g);
  const position = new Map(g.nodes.map((n, i) => [n, i] as const));
  const results = new Set(g.results);

  /** All ends of v; undefined where something reads v as it is, or the rows that are taken are not known when v is. */
  const endsOf = (v: Value, width: number): readonly End[] | undefined => {
    const ends: End[] = [];
    const follow = (u: Value, way: readonly Node[]): boolean => {
      const reading = readers(u);
      const asItIs = results.has(u) || reading.some((n) => !takes(n, u, width));
      if (asItIs || reading.length === 0) {
        if (way.length === 0) return false;
        ends.push({ value: u, way });
        return true;
      }
      return reading.every((n) => {
        const last = n.outputs[0] as Value;
        if (n.op.prim !== 'gather') return follow(last, [...way, n]);
        const index = makers.get(n.inputs[1] as Value);
        if (index && (position.get(index) as number) > (position.get(makers.get(v) as Node) as number)) return false;
        ends.push({ value: last, way: [...way, n] });
        return true;
      });
    };
    return follow(v, []) ? ends : undefined;
  };

  for (const n of [...g.nodes].reverse()) {
    const [of] = n.outputs as readonly [Value];
    const shape = sizes(of);
    const width = shape?.at(-1);
    if (!shape || shape.length < 2 || !width || n.meta.remat !== undefined || results.has(of)) continue;
    const rows = shape.slice(0, -1);
    if (!rowOperands(n, rows)) continue;
    const ends = endsOf(of, width);
    if (!ends || ends.length === 0) continue;
    const taken = ends.reduce((t, e) => t + product(sizes(e.value) ?? [Number.POSITIVE_INFINITY]) / width, 0);
    // of no rows none can be saved, however often
    if (product(rows) === 0 || taken > share * product(rows)) continue;
    const inside = new Map<Node, readonly boolean[]>();
    const leaves = new Set<Value>();
    /** Read by nodes inside alone, and for its rows. */
    const within = (v: Value): boolean =>
      !results.has(v) && readers(v).every((u) => u.inputs.every((x, i) => x !== v || inside.get(u)?.[i] === true));
    // backwards over the makers of what is read for its rows: all readers of a value are seen before it
    const ahead = [position.get(n) as number];
    for (let i = ahead.pop(); i !== undefined; i = ahead.pop()) {
      const m = g.nodes[i] as Node;
      const [v] = m.outputs as readonly [Value];
      const here = m === n || (leaves.has(v) && within(v) && m.meta.remat === n.meta.remat && m.meta.phase === n.meta.phase);
      const which = here ? rowOperands(m, rows) : undefined;
      if (!which) continue;
      inside.set(m, which);
      leaves.delete(v);
      m.inputs.forEach((x, k) => {
        const maker = makers.get(x);
        if (which[k] && !leaves.has(x) && maker) insert(ahead, position.get(maker) as number);
        if (which[k]) leaves.add(x);
      });
    }
    const region = [...inside.keys()].reverse();
    if (region.some((m) => m.op.prim === 'dot')) return { of, rows, ends, region, leaves };
  }
  return undefined;
};

/** Whether n takes whole rows of `width` of u, which is its first operand. */
const takes = (n: Node, u: Value, width: number): boolean => {
  const last = u.type.shape.length - 1;
  if (n.inputs[0] !== u || n.inputs.slice(1).includes(u)) return false;
  const to = (n.outputs[0] as Value).type.shape;
  switch (n.op.prim) {
    case 'slice':
      return n.op.start[last] === 0 && n.op.limit[last] === width;
    case 'reshape':
      return to.at(-1) === width && to.length > 1;
    case 'gather':
      return n.op.axis < last;
    default:
      return false;
  }
};

/** `way` on rows of another width. */
const walk = (b: Builder, way: readonly Node[], x: Value, width: number, get: (v: Value) => Value): Value =>
  way.reduce((v, n) => {
    const to = (n.outputs[0] as Value).type.shape;
    switch (n.op.prim) {
      case 'slice':
        return b.slice(v, n.op.start, [...n.op.limit.slice(0, -1), width]);
      case 'reshape':
        return b.reshape(v, [...to.slice(0, -1), width]);
      default:
        return b.gather(v, get(n.inputs[1] as Value), (n.op as OpOf<'gather'>).axis);
    }
  }, x);

/** x, the rows of an end; a gather gives zeros where its index is out of range, whatever is made of rows of zeros. */
const inRange = (b: Builder, { way }: End, x: Value, get: (v: Value) => Value): Value => {
  const n = way.at(-1) as Node;
  if (n.op.prim !== 'gather') return x;
  const { axis } = n.op;
  const [from, index] = n.inputs as readonly [Value, Value];
  const i = get(index);
  const valid = b.and(b.compare('ge', i, b.fill(0, i.type)), b.compare('lt', i, b.fill(from.type.shape[axis] as number, i.type)));
  const mask = b.broadcast(
    valid,
    x.type.shape,
    i.type.shape.map((_, k) => axis + k),
  );
  return b.select(mask, x, b.fill(0, x.type));
};

const apply = (g: Graph, s: Selection): Graph => {
  const b = builder();
  const env = new Map<Value, Value>(g.params.map((p) => [p, b.param(p.type, p.name)]));
  const get = (v: Value): Value => env.get(v) as Value;
  const width = s.of.type.shape.at(-1) as number;
  const counts = s.ends.map((e) => product(sizes(e.value) as Shape) / width);
  const count = counts.reduce((x, y) => x + y, 0);
  const region = new Set(s.region);
  const ways = new Set(s.ends.flatMap((e) => e.way));
  const last = s.region.at(-1) as Node;

  const select = (x: Value): Value => {
    const shape = sizes(x) as Shape;
    const rest = shape.slice(s.rows.length);
    const wide = product(rest);
    const flat = b.reshape(get(x), [...s.rows, wide]);
    const parts = s.ends.map((e, i) => b.reshape(walk(b, e.way, flat, wide, get), [counts[i] as number, wide]));
    return b.reshape(parts.length === 1 ? (parts[0] as Value) : b.concat(parts, 0), [count, ...rest]);
  };
  const emit = (): void => {
    const few = new Map<Value, Value>();
    for (const v of s.leaves)
      few.set(
        v,
        b.at(last.meta, () => select(v)),
      );
    for (const n of s.region) {
      const which = rowOperands(n, s.rows) as readonly boolean[];
      const ins = n.inputs.map((v, i) => (which[i] ? (few.get(v) as Value) : get(v)));
      few.set(
        n.outputs[0] as Value,
        b.at(n.meta, () => narrowed(b, n, ins, s.rows, count)),
      );
    }
    let from = 0;
    s.ends.forEach((e, i) => {
      const rows = counts[i] as number;
      env.set(
        e.value,
        b.at(last.meta, () => {
          const part = b.slice(few.get(s.of) as Value, [from, 0], [from + rows, width]);
          return inRange(b, e, b.reshape(part, e.value.type.shape), get);
        }),
      );
      from += rows;
    });
  };
  for (const n of g.nodes) {
    if (n === last) emit();
    if (region.has(n) || ways.has(n)) continue;
    const outs = b.again(n, n.inputs.map(get));
    n.outputs.forEach((o, i) => env.set(o, outs[i] as Value));
  }
  return b.build(g.results.map(get));
};

/** The same function, where no row is computed that nothing reads. */
export const rows = (g: Graph): Graph => {
  let now = g;
  for (let s = find(now); s; s = find(now)) now = apply(now, s);
  return now;
};
