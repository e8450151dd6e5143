/**
 * Gives every value of a step a placement, from those of its parameters, and inserts a reshard wherever an operand does not lie where the rule of
 * its reader wants it. The graph stays a global one: shapes do not change, and on one device every reshard is the identity.
 *
 *   %2 = dot(%0 x: S0, %1 w: flat)        ->        %2: R = reshard(%1) from=flat to=R unit=blocks.3     %3: S0 = dot(%0, %2)
 *
 * FSDP follows from placements alone: a flat parameter is gathered where it is used; its gradient, a sum over ranks, is reduced and scattered
 * where it meets the flat moments; clipping adds up squares of pieces; the optimizer and the teacher's average never leave a rank.
 *
 * A reshard is made once for a value. A gather of a unit that is freed after its forward phase is made once a phase.
 */
import { type Builder, builder } from '../graph/builder.ts';
import { eqType } from '../graph/infer.ts';
import {
  type DType,
  type Graph,
  isFloat,
  type Node,
  type Phase,
  type Placement,
  type Prim,
  type Split,
  type TensorType,
  type Value,
} from '../graph/types.ts';
import { isStretched } from './move.ts';
import { isSplit, type Mesh, partsOf, samePlacement } from './placement.ts';
import { choose } from './rules.ts';

export interface Layout {
  /** One a parameter. */
  readonly inputs: readonly Placement[];
  /** One a result; R and the placement of the donated input are all that is worth asking for. */
  readonly outputs: readonly Placement[];
  /** The unit of a parameter, and of the gradient that a result is made of, '' where it takes no input's place; one an input, one a result. */
  readonly inputUnits: readonly string[];
  readonly outputUnits: readonly string[];
  /** Whether a unit's gathered parameters are freed after the forward phase and gathered again. */
  readonly regather: (unit: string) => boolean;
  /** The type in which the gradients of a unit are reduced. */
  readonly reduceAs: (unit: string) => DType;
}

export interface Placed {
  readonly graph: Graph;
  readonly placement: ReadonlyMap<Value, Placement>;
}

const pointwise: ReadonlySet<Prim> = new Set<Prim>([
  'neg',
  'exp',
  'log',
  'sin',
  'cos',
  'tanh',
  'sqrt',
  'rsqrt',
  'erf',
  'abs',
  'sign',
  'floor',
  'not',
  'cast',
  'stopGradient',
  'add',
  'sub',
  'mul',
  'div',
  'pow',
  'max',
  'min',
  'rem',
  'and',
  'or',
  'xor',
  'shiftLeft',
  'shiftRight',
  'compare',
  'select',
  'reshape',
]);

/**
 * Values on their way to results that take the place of an input, flat or whole, through operations that keep the shape; and the first of these
 * results. A loss is none of them: its terms may be scaled and added up before they are brought together.
 */
const wantedBy = (g: Graph, { outputs, outputUnits }: Layout): ReadonlyMap<Value, number> => {
  const wanted = new Map<Value, number>();
  const want = (v: Value, i: number): void => {
    wanted.set(v, Math.min(i, wanted.get(v) ?? i));
  };
  g.results.forEach((r, i) => {
    const stays = outputs[i] === 'flat' || (outputs[i] === 'R' && outputUnits[i] !== '');
    if (stays && isFloat(r.type.dtype)) want(r, i);
  });
  for (let i = g.nodes.length - 1; i >= 0; i--) {
    const n = g.nodes[i];
    const result = n && wanted.get(n.outputs[0] as Value);
    if (n && result !== undefined && pointwise.has(n.op.prim)) for (const v of n.inputs) want(v, result);
  }
  return wanted;
};

/** Steps from one placement to another: what has no way of its own goes over R. */
const route = (t: TensorType, from: Placement, to: Placement): readonly Placement[] => {
  if (samePlacement(t, from, to)) return [];
  const direct = from === 'R' ? to !== 'max' && to !== 'min' : to === 'R' || (from === 'P' && to === 'flat');
  return direct ? [to] : ['R', to];
};

const makerOf = (g: Graph, v: Value): Node | undefined => g.nodes.find((n) => n.outputs.includes(v));

/** Where operands and results of a node of a region lie: nothing outside of it is known, and nothing wanted. */
export const chosenInside = (n: Node, from: readonly Placement[], mesh: Mesh): ReturnType<typeof choose> =>
  choose(n.op, {
    types: n.inputs.map((v) => v.type),
    out: n.outputs.map((o) => o.type),
    from,
    mesh,
    wanted: undefined,
    wantedIn: [],
    known: [],
    stored: () => false,
    region: (inner) => ('body' in n.op ? regionOf(n.op.body, inner, mesh) : undefined),
  });

/** Whether rules place all of a region without moving anything, and where its results lie then. */
const regionOf = (g: Graph, ins: readonly Placement[], mesh: Mesh): readonly Placement[] | undefined => {
  const at = new Map<Value, Placement>(g.params.map((p, i) => [p, ins[i] as Placement]));
  for (const n of g.nodes) {
    const from = n.inputs.map((v) => at.get(v) as Placement);
    const { ins: want, outs } = chosenInside(n, from, mesh);
    // a value that is whole may be made where it is needed (localise.ts), if it is a constant stretched
    const stays = want.every(
      (p, i) => samePlacement((n.inputs[i] as Value).type, p, from[i] as Placement) || isStretched(makerOf(g, n.inputs[i] as Value)),
    );
    if (!stays) return undefined;
    n.outputs.forEach((o, i) => at.set(o, outs[i] as Placement));
  }
  return g.results.map((r) => at.get(r) as Placement);
};

export const propagate = (g: Graph, mesh: Mesh, layout: Layout): Placed => {
  const b: Builder = builder();
  const env = new Map<Value, Value>();
  const placement = new Map<Value, Placement>();
  const units = new Map<Value, string>();
  const wanted = wantedBy(g, layout);
  const wantedAt = (v: Value): 'flat' | 'R' | undefined => {
    const result = wanted.get(v);
    return result === undefined ? undefined : layout.outputs[result] === 'flat' ? 'flat' : 'R';
  };
  const moved = new Map<Value, Map<string, Value>>();
  const known: (readonly number[])[] = [];
  const flatShapes = new Set(g.params.filter((_, i) => layout.inputs[i] === 'flat').map((p) => `${p.type.shape}`));
  const at = (v: Value): Placement => placement.get(v) as Placement;
  const place = (v: Value, p: Placement): void => {
    placement.set(v, p);
    if (isSplit(p) && p.parts && !known.some((k) => `${k}` === `${p.parts}`)) known.push(p.parts);
  };
  const partKey = (v: Value, p: Placement): string => (isSplit(p) ? `S${p.split}:${partsOf(v.type, p as Split)}` : p);

  /** v (of the new graph) as a value that lies at `to`, for a reader of a phase. */
  const move = (v: Value, to: Placement, phase: Phase, scope: string, unit: string | undefined): Value => {
    let current = v;
    for (const next of route(v.type, at(v), to)) {
      const from = at(current);
      const own = units.get(current) ?? unit ?? '';
      const again = from === 'flat' && next === 'R' && layout.regather(own) ? ` ${phase}` : '';
      const key = `${partKey(current, next)}${again}`;
      const done = moved.get(current)?.get(key);
      if (done) {
        current = done;
        continue;
      }
      const made = b.one({ prim: 'reshard', axis: 'data', from, to: next, ...(own === '' ? {} : { unit: own }) }, [current], {
        scope,
        phase,
      });
      place(made, next);
      const list = moved.get(current) ?? new Map<string, Value>();
      moved.set(current, list.set(key, made));
      current = made;
    }
    return current;
  };

  g.params.forEach((p, i) => {
    const v = b.param(p.type, p.name);
    env.set(p, v);
    place(v, layout.inputs[i] as Placement);
    if (layout.inputs[i] === 'flat') units.set(v, layout.inputUnits[i] ?? '');
  });
  for (const n of g.nodes) {
    const ins = n.inputs.map((v) => env.get(v) as Value);
    const first = n.outputs[0] as Value;
    const choice = choose(n.op, {
      types: ins.map((v) => v.type),
      out: n.outputs.map((o) => o.type),
      from: ins.map(at),
      mesh,
      wanted: wantedAt(first),
      wantedIn: n.inputs.map(wantedAt),
      known,
      stored: (t) => flatShapes.has(`${t.shape}`),
      region: (inner) => ('body' in n.op ? regionOf(n.op.body, inner, mesh) : undefined),
    });
    const unit = (v: Value): string | undefined => layout.outputUnits[wanted.get(v) ?? wanted.get(first) ?? -1];
    const operands = ins.map((v, i) => move(v, choice.ins[i] as Placement, n.meta.phase, n.meta.scope, unit(n.inputs[i] as Value)));
    const outs = b.again(n, operands);
    n.outputs.forEach((o, i) => {
      const made = outs[i] as Value;
      env.set(o, made);
      place(made, choice.outs[i] as Placement);
      // a parameter under another shape, or a sum with it, is still of its unit
      const own = choice.outs[i] === 'flat' ? operands.map((v) => units.get(v)).find((u) => u !== undefined) : undefined;
      if (own !== undefined) units.set(made, own);
    });
  }
  const results = g.results.map((r, i) => {
    const v = env.get(r) as Value;
    const to = layout.outputs[i] as Placement;
    if (eqType(r.type, v.type) && samePlacement(v.type, at(v), to)) return v;
    return move(v, to, 'opt', '', layout.outputUnits[i]);
  });
  return { graph: b.build(results), placement };
};
