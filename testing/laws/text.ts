/** The text of graphs, groups, kernels and plans reads back as what was printed. */
import { isDeepStrictEqual } from 'node:util';
import { fuse } from '../../compiler/fuse/fuse.ts';
import { parse } from '../../compiler/graph/parse.ts';
import { print } from '../../compiler/graph/print.ts';
import type { Graph, Meta } from '../../compiler/graph/types.ts';
import { keys } from '../../compiler/kernel/key.ts';
import { parseKernel } from '../../compiler/kernel/parse.ts';
import { printKernel } from '../../compiler/kernel/print.ts';
import type { Expr, Kernel, Stmt } from '../../compiler/kernel/types.ts';
import { parsePlan, printPlan } from '../../compiler/plan/serialise.ts';
import { parseGroup, printGroup } from '../../compiler/tile/text.ts';
import { compiled, passed, planOf } from '../stages.ts';
import type { Law } from './law.ts';

/** The graph with no key that has no value: what text cannot tell apart. */
const plain = <G extends Pick<Graph, 'nodes'>>(g: G): G => ({
  ...g,
  nodes: g.nodes.map((n) => ({
    ...n,
    op: 'body' in n.op ? { ...n.op, body: plain(n.op.body) } : n.op,
    meta: Object.fromEntries(Object.entries(n.meta).filter(([, v]) => v !== undefined)) as unknown as Meta,
  })),
});

const graphText: Law = {
  name: 'text',
  says: 'parse(print(g)) = g, for the graph and for what the passes make of it',
  check: ({ graph }) => {
    for (const g of [graph, passed(graph).at(-1) as typeof graph]) {
      const back = parse(print(g));
      if (!isDeepStrictEqual(plain(back), plain(g))) return `parse(print(g)) is not g:\n${print(back)}`;
      const short = print(g, { meta: false });
      if (print(parse(short), { meta: false }) !== short) return 'the text without meta reads back otherwise';
    }
    return undefined;
  },
};

type Plain = Readonly<Record<string, unknown>>;
/** A statement with a number for each expression: equal expressions, equal numbers, and no tree is walked twice. */
const flat = (s: Stmt, key: (x: Expr) => number): Plain =>
  Object.fromEntries(
    Object.entries(s).map(([name, v]): [string, unknown] => {
      if (Array.isArray(v)) return [name, (v as readonly Stmt[]).map((t) => flat(t, key))];
      return [name, v !== null && typeof v === 'object' ? key(v as Expr) : v];
    }),
  );
const equal = (a: Kernel, b: Kernel): boolean => {
  const key = keys();
  const plainly = (k: Kernel): Plain => ({ ...k, body: k.body.map((s) => flat(s, key)) });
  return isDeepStrictEqual(plainly(a), plainly(b));
};

const groupText: Law = {
  name: 'group text',
  says: 'parse(print(g)) = g, for every group that fuse makes',
  check: ({ graph }, { target }) => {
    for (const g of fuse(compiled(graph), target).groups) {
      const text = printGroup(g);
      if (!isDeepStrictEqual(plain(parseGroup(text)), plain(g))) return `the text of a group reads back otherwise:\n${text}`;
    }
    return undefined;
  },
};

const kernelText: Law = {
  name: 'kernel text',
  kernels: true,
  every: 2,
  says: 'parse(print(k)) = k, for every kernel of the plan',
  check: ({ graph }, { target }) => {
    for (const k of planOf(graph, target).kernels) {
      const text = printKernel(k);
      const back = parseKernel(text);
      if (printKernel(back) !== text || !equal(back, k)) return `the text of kernel ${k.name} reads back otherwise:\n${text}`;
    }
    return undefined;
  },
};

const planText: Law = {
  name: 'plan text',
  says: 'parse(print(p)) = p, for the whole plan but the lines of launches, which are not kept',
  check: ({ graph }, { target, seed }) => {
    const saved = { plan: planOf(graph, target), key: String(seed), nodes: graph.nodes.length };
    const { plan: back, ...about } = parsePlan(printPlan(saved));
    const { kernels, launches, ...parts } = saved.plan;
    const rest = { ...parts, launches: launches.map(({ loc: _, ...l }) => l) };
    const { kernels: read, ...others } = back;
    if (about.key !== saved.key || about.nodes !== saved.nodes) return 'what the plan was made of reads back otherwise';
    if (!isDeepStrictEqual(others, rest)) return 'launches, slots, constants or lifetimes read back otherwise';
    const odd = kernels.find((k, i) => !read[i] || !equal(read[i], k));
    return odd || read.length !== kernels.length ? `kernel ${odd?.name ?? kernels.length} reads back otherwise` : undefined;
  },
};

export const textLaws: readonly Law[] = [graphText, groupText, kernelText, planText];
