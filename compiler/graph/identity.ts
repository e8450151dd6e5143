/**
 * A graph as text that two graphs share exactly if every pass makes the same of them: what finished plans are looked up by. It says what
 * print.ts says but for source locations, which no plan holds, and it is made for hashing, not for reading: a scope stands where it
 * changes, a region that occurs again is named by its number.
 *
 *   (%0 x: f32[4]) { %1: f32[4] = exp(%0)   return %1 }    ->    (f32[4]"x"){exp 0:f32[4]"",fwd,;=1}
 */
import { Poly } from './dim.ts';
import type { Graph, Meta, TensorType, Value } from './types.ts';

const typeText = ({ dtype, shape }: TensorType): string => `${dtype}[${shape.join(' ')}]`;
const isGraph = (x: object): x is Graph => 'nodes' in x && 'results' in x;

export const identity = (g: Graph): string => {
  const parts: string[] = [];
  const regions = new Map<Graph, number>();
  let last: Meta | undefined;

  const attribute = (x: unknown): void => {
    if (typeof x === 'number') parts.push(Object.is(x, -0) ? '-0' : String(x), ' ');
    else if (Array.isArray(x)) {
      parts.push('[');
      for (const y of x) attribute(y);
      parts.push(']');
    } else if (x instanceof Poly) parts.push(`(${x})`);
    else if (typeof x !== 'object' || x === null) parts.push(JSON.stringify(x));
    else if (isGraph(x)) region(x);
    else
      for (const [k, y] of Object.entries(x)) {
        parts.push(k, ':');
        attribute(y);
      }
  };
  const region = (r: Graph): void => {
    const known = regions.get(r);
    if (known !== undefined) {
      parts.push('@', String(known));
      return;
    }
    const numbers = new Map<Value, number>();
    const number = (v: Value): string => String(numbers.get(v));
    parts.push('(');
    for (const p of r.params) {
      numbers.set(p, numbers.size);
      parts.push(typeText(p.type), JSON.stringify(p.name ?? null));
    }
    parts.push('){');
    for (const { op, inputs, outputs, meta } of r.nodes) {
      for (const key in op) {
        const x = (op as unknown as Readonly<Record<string, unknown>>)[key];
        if (key === 'prim') parts.push(x as string, ' ');
        else {
          parts.push(key, '=');
          attribute(x);
        }
      }
      for (const v of inputs) parts.push(number(v), ' ');
      for (const v of outputs) {
        numbers.set(v, numbers.size);
        parts.push(':', typeText(v.type));
      }
      if (meta.scope !== last?.scope || meta.phase !== last.phase || meta.remat !== last.remat)
        parts.push(JSON.stringify(meta.scope), meta.phase, ',', String(meta.remat ?? ''));
      last = meta;
      parts.push(';');
    }
    parts.push('=');
    for (const v of r.results) parts.push(number(v), ' ');
    parts.push('}');
    regions.set(r, regions.size);
  };
  region(g);
  return parts.join('');
};
