/**
 * The functions of backends/native/math.ts that a kernel uses, for a lane or for vectors of them.
 *
 *   use('exp', 4)  ->  'fv_exp', and pieces() defines fv_exp of one lane and of a vector of any number
 */
import { scalars } from '../native/math.ts';
import { head } from './head.ts';
import { matrixFunctions } from './matrix.ts';
import { wgmmaFunctions } from './wgmma.ts';

const functions = { ...matrixFunctions, ...wgmmaFunctions };

export interface Prelude {
  /** Adds a function and what it calls; returns its name. */
  use(name: string, lanes: number): string;
  /** The maximum, minimum or sum of a vector's lanes, by halves. */
  across(op: 'add' | 'max' | 'min', type: string): string;
  /** A function of matrix.ts or wgmma.ts; its name. */
  matrix(name: keyof typeof functions): string;
  pieces(): readonly string[];
}

const letters = ['x', 'y', 'z'];

export const prelude = (): Prelude => {
  const made = new Map<string, string>();
  const one = (name: string): string => {
    const id = `fv_${name}`;
    const s = scalars[name];
    if (!s) throw new Error(`internal: no function ${name}`);
    if (made.has(id)) return id;
    s.uses?.forEach(one);
    made.set(id, `FV_INLINE ${s.result} ${id}(${s.args.map((t, i) => `${t} ${letters[i]}`).join(', ')}) { ${s.body} }`);
    return id;
  };
  const use = (name: string, lanes: number): string => {
    const id = one(name);
    const s = scalars[name] as (typeof scalars)[string];
    if (lanes > 1) {
      const args = s.args.map((t, i) => `fv_vec<${t}, N> ${letters[i]}`).join(', ');
      const call = `${id}(${s.args.map((_, i) => `${letters[i]}.v[j]`).join(', ')})`;
      const body = `fv_vec<${s.result}, N> r; FV_UNROLL(N) for (int j = 0; j < N; j++) r.v[j] = ${call}; return r;`;
      made.set(`${id} of lanes`, `template <int N> FV_INLINE fv_vec<${s.result}, N> ${id}(${args}) { ${body} }`);
    }
    return id;
  };
  const join = (op: 'add' | 'max' | 'min', type: string, x: string, y: string): string =>
    op === 'add' ? (type === 'i32' ? `fv_add(${x}, ${y})` : `${x} + ${y}`) : `${use(`${op}_${type}`, 1)}(${x}, ${y})`;
  return {
    use,
    across: (op, type) => {
      const id = `fv_across_${op}_${type}`;
      const step = join(op, type, 'x.v[j]', 'x.v[j + h]');
      const body = `FV_UNROLL(N) for (int h = N / 2; h >= 1; h /= 2) FV_UNROLL(N) for (int j = 0; j < h; j++) x.v[j] = ${step}; return x.v[0];`;
      made.set(id, `template <int N> FV_INLINE ${type} ${id}(fv_vec<${type}, N> x) { ${body} }`);
      return id;
    },
    matrix: (name) => {
      made.set(`matrix ${name}`, functions[name]);
      return `fv_${name}`;
    },
    pieces: () => [...head, ...made.values()],
  };
};
