/**
 * A folder of recorded cases: index.json says of each case how its parameters and inputs are made and which outputs were recorded with
 * which tolerance; a safetensors file a case holds the recorded numbers. Nothing here is trusted: a case is read field by field,
 * and its file must hold exactly the tensors that the index lists.
 *
 *   const catalogue = openCatalogue('goldens');
 *   const c = catalogue.entries.find((e) => e.id === 'knn')!.read();    // FV0413 if the case is malformed
 *   recorded(c).get('topk_sims')                                        // { shape: [12, 20], data: Float32Array }
 *
 * Only `id` and `group` are read at once: one malformed case is a failure of that case and of no other.
 */
import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { FoveaError } from '../../compiler/error.ts';
import { readStored } from '../weights/index.ts';
import { checkVectors, type Formula, type Rule } from './formula.ts';

const whole = z.number().int().nonnegative();
/** Numbers of a tensor: twice those of the largest matrix of a published model. More would be made before anything could fail. */
const most = 2 ** 27;
/** What is printed. */
const printable = z.string().regex(/^\P{Cc}*$/u, 'it holds control characters');
const shape = z.array(whole).refine((s) => s.reduce((a, b) => a * b, 1) <= most, `more than ${most} numbers`);

/**
 * A whole number of a configuration, from `least` on. Runners make arrays and programs of that size before there is anything to compare, so
 * a damaged number has to be found here; `longest` is for what is traced one by one, such as layers.
 */
export const sizeFrom = (least: number, longest = 2 ** 20) => z.number().int().min(least).max(longest);

const numberList = (text: string): number[] =>
  text
    .split(',')
    .filter((t) => t.trim())
    .map(Number);

/** Each rule in words, as the index writes it. */
const rules: Readonly<Record<'int' | 'u8' | 'bool', readonly (readonly [RegExp, (m: string) => Rule])[]>> = {
  int: [[/^floor\((?:u \* )?(\d+)(?: \* u)?\)$/, (n) => ({ kind: 'int', n: Number(n) })]],
  u8: [[/^floor\((?:u \* )?(\d+)(?: \* u)?\)$/, (n) => ({ kind: 'u8', n: Number(n) })]],
  bool: [
    [/^u < (\d*\.?\d+(?:e-?\d+)?)$/, (p) => ({ kind: 'below', p: Number(p) })],
    [
      /^row j: the counts\[j\] positions with the smallest u; counts = \[([\d, ]*)\]/,
      (list) => ({ kind: 'smallest', counts: numberList(list) }),
    ],
  ],
};

/** A parameter or an input: its name in the case, and the formula that makes it. */
export interface Filled extends Formula {
  readonly name: string;
}

const filled = z
  .object({
    name: printable,
    formula_name: z.string(),
    shape,
    offset: z.number().optional(),
    scale: z.number().optional(),
    kind: z.enum(['int', 'u8', 'bool']).optional(),
    rule: z.string().optional(),
  })
  .transform((f, context): Filled => {
    const made = (rule: Rule): Filled => ({ name: f.name, formulaName: f.formula_name, shape: f.shape, rule });
    const wrong = (message: string): Filled => {
      context.addIssue({ code: 'custom', message: `${f.name}: ${message}` });
      return z.NEVER;
    };
    if (f.kind === undefined)
      return f.offset === undefined || f.scale === undefined
        ? wrong('neither offset and scale nor a kind and a rule')
        : made({ kind: 'float', offset: f.offset, scale: f.scale });
    const text = (f.rule ?? '').replace(/\s*\*\s*/, ' * ').trim();
    for (const [pattern, read] of rules[f.kind]) {
      const m = pattern.exec(text);
      if (!m) continue;
      const rule = read(m[1] as string);
      return rule.kind === 'smallest' && rule.counts.length !== f.shape[0]
        ? wrong(`${rule.counts.length} counts for the shape`)
        : made(rule);
    }
    return wrong(`no rule of kind ${f.kind}: '${f.rule ?? ''}'`);
  });

const output = z
  .object({
    name: printable,
    shape,
    dtype: z.enum(['F32', 'F64', 'I32', 'U8']),
    exact: z.boolean().optional(),
    err_abs: z.number().nonnegative().optional(),
    tol_abs: z.number().nonnegative().optional(),
    ignore_range: z.tuple([whole, whole]).optional(),
    tol_count_fraction: z.number().min(0).max(1).optional(),
  })
  .refine((o) => o.exact === true || o.tol_abs !== undefined, 'neither exact nor a tolerance')
  .refine((o) => !o.ignore_range || (o.shape.length === 1 && o.ignore_range[0] <= o.ignore_range[1]), 'ignore_range is no range of a list');
export type Output = z.infer<typeof output>;

const body = z.object({
  id: printable,
  group: printable,
  file: z.string().regex(/^[\w.-]+\.safetensors$/, 'expected the name of a safetensors file of the folder'),
  config: z.record(z.string(), z.unknown()),
  formula_prefix: z.string(),
  /** What was computed, in words. */
  call: z.string().default(''),
  notes: z.array(z.string()).default([]),
  params: z.array(filled).default([]),
  inputs: z.array(filled).default([]),
  outputs: z.array(output).min(1),
  permutations: z.object({ list: z.array(z.tuple([whole, whole, z.array(whole)])) }).optional(),
  param_groups: z.record(z.string(), z.tuple([z.number(), z.number(), z.boolean()])).optional(),
  models: z.record(z.string(), z.record(z.string(), z.unknown())).optional(),
  takes: z.array(z.record(z.string(), z.unknown())).optional(),
});
export interface Case extends z.infer<typeof body> {
  /** Path of the file with the recorded tensors. */
  readonly path: string;
}

const six = z.array(z.number()).length(6);
const index = z.object({
  formula: z.object({
    vectors: z
      .array(
        z.object({
          name: z.string(),
          fnv1a32: whole,
          u32_first6: six,
          u32_at: z.array(z.tuple([whole, whole])),
          values_first6_offset0_scale1: six,
          values_first6_offset1_scale0p2: six,
        }),
      )
      .min(1),
  }),
  cases: z.array(z.looseObject({ id: printable, group: printable })).min(1),
});

/** `outputs[3].shape: expected array` */
const told = (error: z.ZodError): string => {
  const [first, ...rest] = error.issues;
  const path = (first?.path ?? []).map((k) => (typeof k === 'number' ? `[${k}]` : `.${String(k)}`)).join('');
  return `${path.replace(/^\./, '')}: ${first?.message ?? ''}${rest.length > 0 ? ` (and ${rest.length} more)` : ''}`;
};

/** FV0413 for the part `where` of a catalogue. */
export const malformed = (where: string, what: string): FoveaError =>
  new FoveaError('FV0413', `${where}: ${what}`, { hint: 'The folder is damaged or of another format: copy it again.' });

const parsed = <S extends z.ZodType>(where: string, schema: S, value: unknown): z.infer<S> => {
  const result = schema.safeParse(value);
  if (!result.success) throw malformed(where, told(result.error));
  return result.data;
};

export interface Entry {
  readonly id: string;
  readonly group: string;
  /** FV0413 if a field is missing or of another type. */
  readonly read: () => Case;
}
export interface Catalogue {
  readonly entries: readonly Entry[];
}

/** Reads index.json of a folder. FV0402: cannot be read. FV0413: malformed. FV0414: made with another formula. */
export const openCatalogue = (folder: string): Catalogue => {
  const file = join(folder, 'index.json');
  let text: string;
  try {
    // a pipe would be waited for
    if (!statSync(file).isFile()) throw new Error('not a file');
    text = readFileSync(file, 'utf8');
  } catch (e) {
    throw new FoveaError('FV0402', `cannot read the catalogue ${file}: ${e instanceof Error ? e.message : String(e)}`, {
      hint: 'Give a folder of recorded cases: index.json and a safetensors file for each case.',
      cause: e,
    });
  }
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (e) {
    throw malformed(file, `not JSON: ${e instanceof Error ? e.message : String(e)}`);
  }
  const { formula, cases } = parsed(file, index, json);
  checkVectors(formula.vectors);
  const twice = cases.find((c, i) => cases.findIndex((d) => d.id === c.id) !== i);
  if (twice) throw malformed(file, `two cases are called ${twice.id}`);
  return {
    entries: cases.map((raw) => ({
      id: raw.id,
      group: raw.group,
      read: () => {
        const c = parsed(`case ${raw.id}`, body, raw);
        return { ...c, path: join(folder, c.file) };
      },
    })),
  };
};

/** The configuration of a case (or a part of it, named by `where`) as a runner needs it. FV0413. */
export const configOf = <S extends z.ZodType>(c: Case, schema: S, value: unknown = c.config, where = 'config'): z.infer<S> =>
  parsed(`case ${c.id}: ${where}`, schema, value);

export interface Recorded {
  readonly shape: readonly number[];
  readonly data: Float32Array | Float64Array | Int32Array | Uint8Array;
}

const arrays = {
  F32: Float32Array,
  F64: Float64Array,
  I32: Int32Array,
  U8: Uint8Array,
} as const;

/** The recorded tensors of a case by name, after comparing names, types and shapes with the index. FV0413, FV0402, FV0405. */
export const recorded = (c: Case): ReadonlyMap<string, Recorded> => {
  const { tensors } = readStored(c.path);
  const listed = new Set(c.outputs.map((o) => o.name));
  if (listed.size < c.outputs.length) throw malformed(`case ${c.id}`, 'two outputs have one name');
  const extra = [...tensors.keys()].find((name) => !listed.has(name));
  if (extra !== undefined) throw malformed(`case ${c.id}`, `${c.file} holds ${extra}, which the index does not list`);
  return new Map(
    c.outputs.map(({ name, dtype, shape: want }): [string, Recorded] => {
      const t = tensors.get(name);
      if (!t) throw malformed(`case ${c.id}`, `${c.file} lacks ${name}`);
      if (t.type !== dtype || t.shape.join(' ') !== want.join(' '))
        throw malformed(
          `case ${c.id}`,
          `${name} is ${t.type} [${t.shape.join(' ')}] in ${c.file}, ${dtype} [${want.join(' ')}] in the index`,
        );
      return [name, { shape: t.shape, data: new arrays[dtype](t.bytes.buffer as ArrayBuffer) }];
    }),
  );
};
