/**
 * Operations and graphs as text that is equal exactly when they are: what cse, the sharing of lowered groups and kept plans compare by.
 * A graph's says what print.ts says but for source locations, which no plan holds, and it is made for comparing, not for reading: values
 * are numbers in order, a scope stands where it changes, a region that occurs again is named by its number.
 *
 *   opKey({ prim: 'const', value: -0, dtype: 'f32' })                  ->  const value=-0 dtype="f32"
 *   identity((%0 x: f32[4]) { %1: f32[4] = exp(%0)   return %1 })      ->  (f32[4]"x"){exp 0 :f32[4]"",fwd,;=0 }
 */
import { Poly } from './dim.ts';
import type { Graph, Meta, Op, TensorType, Value } from './types.ts';

const isGraph = (x: object): x is Graph => 'nodes' in x && 'results' in x;

const attribute = (x: unknown, region: (g: Graph) => string): string => {
  if (typeof x === 'number') return Object.is(x, -0) ? '-0' : String(x);
  if (Array.isArray(x)) return `[${x.map((y) => attribute(y, region)).join(' ')}]`;
  if (x instanceof Poly) return `(${x})`;
  if (typeof x !== 'object' || x === null) return JSON.stringify(x);
  if (isGraph(x)) return region(x);
  return `{${Object.entries(x).map(([k, y]) => `${k}=${attribute(y, region)}`)}}`;
};

/** `region` is the text of a region, its identity unless given. */
export const opKey = (op: Op, region: (g: Graph) => string = identity): string => {
  let text: string = op.prim;
  for (const key in op)
    if (key !== 'prim') text += ` ${key}=${attribute((op as unknown as Readonly<Record<string, unknown>>)[key], region)}`;
  return text;
};

const typeText = ({ dtype, shape }: TensorType): string => `${dtype}[${shape.join(' ')}]`;

export const identity = (g: Graph): string => {
  const regions = new Map<Graph, number>();
  let last: Meta | undefined;
  const region = (r: Graph): string => {
    const known = regions.get(r);
    if (known !== undefined) return `@${known}`;
    const parts: string[] = ['('];
    const numbers = new Map<Value, number>();
    const define = (v: Value): string => {
      numbers.set(v, numbers.size);
      return typeText(v.type);
    };
    for (const p of r.params) parts.push(define(p), JSON.stringify(p.name ?? null));
    parts.push('){');
    for (const { op, inputs, outputs, meta } of r.nodes) {
      parts.push(opKey(op, region));
      for (const v of inputs) parts.push(` ${numbers.get(v)}`);
      for (const v of outputs) parts.push(':', define(v));
      if (meta.scope !== last?.scope || meta.phase !== last.phase || meta.remat !== last.remat)
        parts.push(JSON.stringify(meta.scope), meta.phase, ',', String(meta.remat ?? ''));
      last = meta;
      parts.push(';');
    }
    parts.push('=');
    for (const v of r.results) parts.push(`${numbers.get(v)} `);
    parts.push('}');
    regions.set(r, regions.size);
    return parts.join('');
  };
  return region(g);
};
