/**
 * Gives a name to what is computed more than once, and moves index arithmetic out of loops. Expects unique names and
 * interned expressions (equal = the same object), as fold of simplify.ts makes them.
 *
 * Every use of an expression has a place in the tree of bodies. A pure expression with several uses is bound in the
 * innermost body that holds them all, in front of the first; index and bool scalars then move in front of each loop that
 * does not bind their names. A load used twice in one statement is read once. Branches are never left: what an `if` guards stays guarded.
 *
 *   store y[add(at, 1)] = load x[add(at, 1)]       ->      let s = add(at, 1); store y[s] = load x[s]
 */
import * as e from './expr.ts';
import type { Expr, Stmt } from './types.ts';

/** A body: where it hangs, and which names its loop binds. */
interface Node {
  readonly parent: Node | undefined;
  /** Statement of the parent that holds this body. */
  readonly at: number;
  readonly depth: number;
  readonly loop: boolean;
  /** Expressions to bind in front of each statement. */
  readonly lets: Map<number, Expr[]>;
}
interface Position {
  readonly node: Node;
  readonly at: number;
}

/** Worth a name: not a leaf, not an address a constant away, and nothing that printers match as a whole (ramps, splats). */
const nameable = (x: Expr): boolean => {
  if (x.k === 'binary' && x.dtype === 'index' && x.op === 'add' && x.y.k === 'const' && e.operands(x.x).length === 0) return false;
  return ['unary', 'binary', 'compare', 'select', 'fma', 'cast', 'bitcast', 'across'].includes(x.k);
};

/** The place in front of both: the innermost common body, at the smaller statement. */
const before = (a: Position, b: Position): Position => {
  let [p, q] = [a, b];
  while (p.node !== q.node) {
    if (p.node.depth >= q.node.depth) p = { node: p.node.parent as Node, at: p.node.at };
    else q = { node: q.node.parent as Node, at: q.node.at };
  }
  return p.at <= q.at ? p : q;
};

export const share = (body: readonly Stmt[], pure: (x: Expr) => boolean, taken: ReadonlySet<string>): readonly Stmt[] => {
  const uses = new Map<Expr, Position[]>();
  const order: Expr[] = [];
  const homes = new Map<string, Position>();
  const nodes = new Map<readonly Stmt[], Node>();
  const names = new Set(taken);

  const reach = (x: Expr): void => {
    if (uses.has(x)) return;
    uses.set(x, []);
    e.operands(x).forEach(reach);
    order.push(x);
  };
  const use = (x: Expr, p: Position): void => {
    reach(x);
    (uses.get(x) as Position[]).push(p);
  };
  const walk = (stmts: readonly Stmt[], node: Node): void => {
    nodes.set(stmts, node);
    const under = (inner: readonly Stmt[], at: number, loop: boolean): Node => {
      const n: Node = { parent: node, at, depth: node.depth + 1, loop, lets: new Map() };
      walk(inner, n);
      return n;
    };
    stmts.forEach((s, at) => {
      const p = { node, at };
      if ('value' in s) use(s.value, p);
      if (s.s === 'store') {
        use(s.index, p);
        if (s.mask) use(s.mask, p);
      }
      if (s.s === 'let' || s.s === 'var') homes.set(s.name, { node, at: at + 1 });
      if ('name' in s) names.add(s.name);
      if (s.s === 'for') {
        use(s.from, p);
        use(s.to, p);
        homes.set(s.name, { node: under(s.body, at, true), at: 0 });
      }
      if (s.s === 'if') {
        use(s.cond, p);
        under(s.then, at, false);
        under(s.else, at, false);
      }
    });
  };
  const root: Node = { parent: undefined, at: 0, depth: 0, loop: false, lets: new Map() };
  walk(body, root);

  /** The innermost body that binds a name of x: x cannot leave it. */
  const inmost = new Map<Expr, Node>();
  for (const x of order) {
    let deepest = x.k === 'ref' ? (homes.get(x.name)?.node ?? root) : root;
    for (const o of e.operands(x)) {
      const n = inmost.get(o) as Node;
      if (n.depth > deepest.depth) deepest = n;
    }
    inmost.set(x, deepest);
  }

  const bound = new Map<Expr, Position>();
  for (const x of [...order].reverse()) {
    const ps = uses.get(x) as Position[];
    if (ps.length === 0) continue;
    let places: readonly Position[] = ps;
    const first = ps.reduce(before);
    const together = ps.every((p) => p.node === first.node && p.at === first.at);
    const half = x.dtype === 'f16' || x.dtype === 'bf16';
    // what reads memory or variables gets a name only where all its uses are in one statement
    if (!half && (pure(x) ? nameable(x) : together && ps.length > 1 && (nameable(x) || x.k === 'load'))) {
      let target = first;
      if (pure(x) && x.lanes === 1 && (x.dtype === 'index' || x.dtype === 'bool')) {
        const limit = (inmost.get(x) as Node).depth;
        while (target.node.loop && target.node.depth > limit) target = { node: target.node.parent as Node, at: target.node.at };
      }
      if (ps.length > 1 || target !== first) {
        bound.set(x, target);
        places = [target];
        const lets = target.node.lets;
        lets.set(target.at, [...(lets.get(target.at) ?? []), x]);
      }
    }
    for (const o of e.operands(x)) (uses.get(o) as Position[]).push(...places);
  }

  let count = 0;
  const fresh = (x: Expr): string => {
    for (;;) {
      const n = `${x.dtype === 'index' ? 'at' : x.dtype === 'bool' ? 'is' : 's'}${count++}`;
      if (!names.has(n)) return n;
    }
  };
  const named = new Map<Expr, Expr>();
  const done = new Map<Expr, Expr>();
  const text = (x: Expr): Expr => {
    const name = named.get(x);
    if (name) return name;
    const old = done.get(x);
    if (old) return old;
    const y = e.operands(x).length === 0 ? x : e.rebuild(x, text);
    // an operand that gets its name later must not be remembered inlined
    if (!bound.has(x)) done.set(x, y);
    return y;
  };
  const emit = (stmts: readonly Stmt[]): readonly Stmt[] => {
    const node = nodes.get(stmts) as Node;
    return stmts.flatMap((s, at): readonly Stmt[] => {
      const lets = [...(node.lets.get(at) ?? [])].reverse().map((x): Stmt => {
        const value = text(x);
        const name = fresh(x);
        named.set(x, e.ref(name, x.dtype, x.lanes));
        return { s: 'let', name, value };
      });
      return [...lets, rewrite(s)];
    });
  };
  const rewrite = (s: Stmt): Stmt => {
    switch (s.s) {
      case 'let':
      case 'var':
      case 'set':
        return { ...s, value: text(s.value) };
      case 'store': {
        const y = { s: 'store', to: s.to, index: e.address(text(s.index), s.value.lanes), value: text(s.value) } as const;
        return s.mask ? { ...y, mask: text(s.mask) } : y;
      }
      case 'for':
        return { ...s, from: text(s.from), to: text(s.to), body: emit(s.body) };
      case 'if':
        return { ...s, cond: text(s.cond), then: emit(s.then), else: emit(s.else) };
      case 'alloc':
      case 'barrier':
        return s;
    }
  };
  return emit(body);
};
