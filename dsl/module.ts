/**
 * Functions and modules: pure functions over named sizes. `fn` gives a body a signature; `module` adds sizes and a typed tree of
 * parameters. A module is data (sizes, parameter spec, signature, body); `apply(module, params)` is a callable.
 *
 *   const linear = (i: DimArg, o: DimArg) => module({ I: i, O: o },
 *     () => ({ weight: param('O I'), bias: param('O', initializers.zeros) }), ['... I'],
 *     (p, x) => einsum('... i, o i -> ... o', x, p.weight).add(p.bias));
 */
import { type Dim, eqDim, showShape, subDim } from '../compiler/graph/dim.ts';
import { bound, current, dimOf, fail, isTensor, scope, userCode, words } from './context.ts';
import { type Init, initializers } from './init.ts';
import { type DimArg, dimValue, type Size } from './sizes.ts';
import { type Tensor, unwrap } from './tensor.ts';
import { join } from './tree.ts';
import type { WordOf } from './types/rearrange.ts';
import type { Callable, SigTensors, Subst } from './types/signature.ts';

export interface Param<out S extends string = string> {
  readonly kind: 'param';
  readonly shape: S;
  readonly init: Init;
}
export interface Module<out Sp = unknown, out Sig extends readonly string[] = readonly string[], out R = unknown, out E = unknown> {
  readonly kind: 'module';
  /** Parameters and submodules, by name. */
  readonly spec: Sp;
  readonly sig: Sig;
  /** Local size names and what they stand for outside. */
  readonly dims: ReadonlyMap<string, Dim>;
  readonly body: (...xs: never[]) => unknown;
  /** Result tree and words of the sizes: in the types only. */
  readonly $?: { readonly r: R; readonly e: E };
}
export type SpecTree = Param | Module | readonly SpecTree[] | { readonly [k: string]: SpecTree };

type Local<Dm> = { readonly [K in keyof Dm & string]: Size<K> };
type EnvOf<Dm> = { [K in keyof Dm]: WordOf<Dm[K]> };
export type ParamsOfSpec<Sp> =
  Sp extends Param<infer S>
    ? Tensor<S, 'f32'>
    : Sp extends Module<infer Sp2, readonly string[], unknown, infer E2>
      ? Subst<ParamsOfSpec<Sp2>, E2>
      : Sp extends object
        ? { readonly [K in keyof Sp]: ParamsOfSpec<Sp[K]> }
        : never;
/** The tree of parameters of a module, as tensors. */
export type Params<M> = M extends Module<infer Sp, readonly string[], unknown, infer E> ? Subst<ParamsOfSpec<Sp>, E> : never;
/**
 * What a body sees: tensors for parameters, callables for submodules. Lists are no mapped types: of the tree that any spec is, for which a pattern
 * with a rest asks before there is a spec, those would have no end.
 */
type Bound<Sp> =
  Sp extends Param<infer S>
    ? Tensor<S, 'f32'>
    : Sp extends Module<unknown, infer Sig, infer R, infer E>
      ? Callable<Sig, R, E>
      : Sp extends readonly (infer X)[]
        ? number extends Sp['length']
          ? readonly Bound<X>[]
          : { readonly [K in keyof Sp]: Bound<Sp[K]> }
        : Sp extends object
          ? { readonly [K in keyof Sp]: Bound<Sp[K]> }
          : never;

/** A parameter of the given shape, written with the module's sizes. */
export const param = <const S extends string>(shape: S, init: Init = initializers.truncNormal(0.02)): Param<S> => ({
  kind: 'param',
  shape,
  init,
});

/** The instances of a repeated submodule: `blocks.0`, `blocks.1`, ... */
export const repeat = <M>(n: number, f: (i: number) => M): readonly M[] => Array.from({ length: n }, (_, i) => f(i));

// ---- matching a signature with actual shapes
const bindWord = (word: string, d: Dim, env: Map<string, Dim>): string | undefined => {
  const old = env.get(word);
  if (old !== undefined) return eqDim(old, d) ? undefined : `${word} = ${old} here, got ${d}`;
  if (/^\d+$/.test(word)) return eqDim(Number(word), d) ? undefined : `axis must be ${word}, got ${d}`;
  const sum = word.match(/^([A-Za-z_]\w*)\+(\d+)$/);
  if (sum && !env.has(sum[1] as string)) {
    const n = subDim(d, Number(sum[2]));
    if (typeof n === 'number' && n < 0) return `${d} is smaller than ${word}`;
    env.set(sum[1] as string, n);
    return undefined;
  }
  if (/[-+*/]/.test(word)) {
    const want = dimOf(word, env);
    return eqDim(want, d) ? undefined : `${word} = ${want} here, got ${d}`;
  }
  if (!/^[A-Za-z_]\w*$/.test(word)) dimOf(word, env); // what is no name is refused
  env.set(word, d);
  return undefined;
};

const unify = (i: number, sig: string, x: unknown, env: Map<string, Dim>): void => {
  const v = unwrap(`argument ${i + 1}`, x);
  const { shape, dtype } = v.type;
  const got = dtype === 'f32' ? showShape(shape) : `${showShape(shape).slice(0, -1)}:${dtype}]`;
  const bad = (why: string): never => fail('FV0001', `argument ${i + 1}: expected [${sig}], got ${got}${why && ': '}${why}`);
  const [text, want] = sig.split(':') as [string, string?];
  if ((want ?? 'f32') !== dtype) fail('FV0002', `argument ${i + 1}: expected [${sig}], got ${got}`, 'Use .cast(...).');
  const ws = words(text);
  const dots = ws.indexOf('...');
  const [head, tail] = dots < 0 ? [ws, []] : [ws.slice(0, dots), ws.slice(dots + 1)];
  const fixed = head.length + tail.length;
  if (shape.length < fixed) bad(`too few axes: none for ${dots < 0 ? ws[shape.length] : tail[0]}`);
  if (dots < 0 && shape.length > fixed) bad(`too many axes: left over ${shape.slice(fixed).join(' ')}`);
  const pairs = [...head.map((w, k) => [w, shape[k]] as const), ...tail.map((w, k) => [w, shape[shape.length - tail.length + k]] as const)];
  for (const [w, d] of pairs) {
    const clash = bindWord(w, d as Dim, env);
    if (clash) bad(clash);
  }
  // a second `...` stands for the same axes
  if (dots >= 0) {
    const run = shape.slice(head.length, shape.length - tail.length);
    run.forEach((d, k) => {
      const key = `...${k}`;
      const old = env.get(key);
      if ((old !== undefined && !eqDim(old, d)) || (old === undefined && env.has('...')))
        bad(`... is something else in an earlier argument, here ${showShape(run)}`);
      env.set(key, d);
    });
    if (env.has('...') && !eqDim(env.get('...') as Dim, run.length))
      bad(`... is something else in an earlier argument, here ${showShape(run)}`);
    env.set('...', run.length);
  }
};

/** Where the callable of a `fn` keeps its signature. Of all copies of this file, so that a tool can read a program that brought its own. */
const signature: unique symbol = Symbol.for('fovea.signature');

/** Runs a body with the names of its signature in force. */
const call = (
  sig: readonly string[],
  dims: ReadonlyMap<string, Dim>,
  body: (...xs: never[]) => unknown,
  xs: readonly unknown[],
): unknown => {
  if (xs.length !== sig.length) fail('FV0001', `the function takes ${sig.length} tensors [${sig.join('], [')}], got ${xs.length}`);
  const env = new Map([...dims].map(([k, v]) => [k, bound(v)]));
  xs.forEach((x, i) => unify(i, sig[i] as string, x, env));
  const names = new Map([...current().sizes, ...env]);
  return userCode(names, () => body(...(xs as never[])));
};

/**
 * A pure function, polymorphic in the names of its signature: fn(['B N D', 'B:i32'], (x, label) => ...). A call that does not fit is FV0001 or
 * FV0002 with the number of the argument, the shape it should have and the one it has.
 */
export const fn = <const Sig extends readonly string[], R>(
  sig: Sig,
  body: (...xs: SigTensors<Sig>) => R,
): Callable<Sig, R, Record<never, never>> =>
  // the generic call signature of a callable is computed from Sig and R; its run-time side is `call`
  Object.assign((...xs: unknown[]) => call(sig, new Map(), body as (...xs: never[]) => unknown, xs), {
    [signature]: sig,
  }) as unknown as Callable<Sig, R, Record<never, never>>;

/** The shapes that a `fn` or a module declares for its arguments, under its own names; undefined for other values. */
export const signatureOf = (f: unknown): readonly string[] | undefined =>
  isModule(f) ? f.sig : typeof f === 'function' ? (f as { readonly [signature]?: readonly string[] })[signature] : undefined;

/**
 * A function with parameters. `spec` and `body` see the sizes under their local names. FV0007: a parameter has the name of a size, and the body
 * could ask for one of them only.
 */
export const module = <
  const Dm extends Readonly<Record<string, DimArg>>,
  Sp extends { readonly [k: string]: SpecTree },
  const Sig extends readonly string[],
  R,
>(
  dims: Dm,
  spec: (d: Local<Dm>) => Sp,
  sig: Sig,
  body: (p: Bound<Sp> & Local<Dm>, ...xs: SigTensors<Sig>) => R,
): Module<Sp, Sig, R, EnvOf<Dm>> => {
  const sizes = new Map(Object.entries(dims).map(([k, v]) => [k, dimValue(v, `the size ${k} of the module: `)]));
  const local = Object.fromEntries([...sizes].map(([k, v]) => [k, { word: k, size: v }])) as unknown as Local<Dm>;
  const run = (p: object, ...xs: never[]): unknown => (body as unknown as (...a: never[]) => unknown)({ ...p, ...local } as never, ...xs);
  const parts = spec(local);
  const twice = Object.keys(parts).find((k) => sizes.has(k));
  if (twice !== undefined) fail('FV0007', `module: '${twice}' is the name of a size and of a parameter`, 'Give one of them another name.');
  return { kind: 'module', spec: parts, sig, dims: sizes, body: run };
};

export const isModule = (x: unknown): x is Module => typeof x === 'object' && x !== null && (x as { kind?: unknown }).kind === 'module';
export const isParam = (x: unknown): x is Param => typeof x === 'object' && x !== null && (x as { kind?: unknown }).kind === 'param';

/** Pairs a spec with parameters: tensors, checked, at the leaves; callables at the submodules. `path` is relative to the running module. */
const bind = (spec: SpecTree, params: unknown, path: string, dims: ReadonlyMap<string, Dim>): unknown => {
  if (isParam(spec)) {
    if (!isTensor(params))
      return fail(
        'FV0006',
        `parameter ${path || 'tree'}: expected a tensor [${spec.shape}], got ${params === undefined ? 'nothing' : typeof params}`,
      );
    const have = unwrap('apply', params).type.shape;
    const want = words(spec.shape).map((w) => bound(dimOf(w, dims)));
    const fits = have.length === want.length && want.every((d, i) => eqDim(d, have[i] as Dim));
    return fits ? params : fail('FV0006', `parameter ${path}: expected ${showShape(want)}, got ${showShape(have)}`);
  }
  if (isModule(spec)) {
    // a body may hand what it sees of its submodules on to another module with the same parts
    if (typeof params === 'function') return params;
    const m: Module = spec;
    return (...xs: unknown[]) => {
      const run = (): unknown => {
        const inner = bindAll(m.spec as { readonly [k: string]: SpecTree }, params, '', m.dims);
        return call(m.sig, m.dims, (...ys: never[]) => (m.body as (...a: never[]) => unknown)(inner as never, ...ys), xs);
      };
      return path === '' ? run() : scope(path, run);
    };
  }
  return bindAll(spec, params, path, dims);
};
const bindAll = (
  spec: readonly SpecTree[] | { readonly [k: string]: SpecTree },
  params: unknown,
  path: string,
  dims: ReadonlyMap<string, Dim>,
): unknown => {
  const of = (key: string, s: SpecTree): unknown =>
    bind(s, (params as Readonly<Record<string, unknown>> | undefined)?.[key], join(path, key), dims);
  if (Array.isArray(spec)) return (spec as readonly SpecTree[]).map((s, i) => of(String(i), s));
  return Object.fromEntries(Object.entries(spec as { readonly [k: string]: SpecTree }).map(([k, s]) => [k, of(k, s)]));
};

/** Binds parameters to a module: a pure function, polymorphic in the names of its signature. */
export const apply = <Sp, Sig extends readonly string[], R, E>(
  m: Module<Sp, Sig, R, E>,
  params: Subst<ParamsOfSpec<Sp>, E>,
): Callable<Sig, R, E> => bind(m as unknown as SpecTree, params, '', new Map()) as Callable<Sig, R, E>;
