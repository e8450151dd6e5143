/**
 * Training runs of other configurations than the recorded ones: the runner follows the configuration, and the compiled steps give what the
 * float64 reference gives.
 *
 * How near: float32 and float64 runs of the original differ by at most 2.3e-6 of the largest element in the recorded training cases, whose
 * tolerances are 20 times that. The same factor holds here.
 */
import { expect, test } from 'vitest';
import { cpu } from '../../backends/cpu/index.ts';
import { reference } from '../../backends/reference/index.ts';
import { leaves } from '../../dsl/index.ts';
import { network } from '../../models/dinov2.ts';
import { openCatalogue } from '../../models/parity/catalogue.ts';
import type { Numbers } from '../../models/parity/compare.ts';
import { contextOf } from '../../models/parity/context.ts';
import type { Rule } from '../../models/parity/formula.ts';
import { sslTrain } from '../../models/parity/groups/ssl-train.ts';
import { recipeFromConfig } from '../../models/recipes/config.ts';
import { goldens } from './folder.ts';

const recorded = openCatalogue(goldens)
  .entries.find((e) => e.id === 'ssl_sk_sep')!
  .read();
const tolerance = 20 * 2.3e-6;

type Sections = Readonly<Record<string, object>>;
/** The recorded configuration with some values of its sections replaced. */
const changed = (by: Sections): Record<string, unknown> => ({
  ...recorded.config,
  ...Object.fromEntries(Object.entries(by).map(([section, values]) => [section, { ...(recorded.config[section] as object), ...values }])),
});

/** First values as the recorded cases have them. */
const ruleOf = (path: string, shape: readonly number[]): Rule => {
  const float = (offset: number, scale: number): Rule => ({ kind: 'float', offset, scale });
  if (path.endsWith('weight_g')) return float(1, 0);
  if (path.endsWith('weight_v')) return float(0, 1);
  if (path.endsWith('gamma')) return float(0.3, 0.06);
  if (/norm.*weight$/.test(path)) return float(1, 0.2);
  if (path.endsWith('bias')) return float(0, 0.1);
  if (/token|pos_embed/.test(path)) return float(0, 0.5);
  return float(0, Math.sqrt(3 / shape.slice(1).reduce((a, b) => a * b, 1)));
};

const run = async (by: Sections, steps: number): Promise<readonly ReadonlyMap<string, Numbers>[]> => {
  const config = changed(by);
  const r = recipeFromConfig(config);
  const params = leaves(network(r)).map(({ path, shape }) => {
    const dims = shape.map(Number);
    return { name: path, formulaName: `training/${path}`, shape: dims, rule: ruleOf(path, dims) };
  });
  const images = (kind: string, count: number, side: number) =>
    Array.from({ length: steps }, (_, t) => ({
      name: `step${t}/${kind}`,
      formulaName: `training/${kind}${t}`,
      shape: [count, 3, side, side],
      rule: { kind: 'float', offset: 0, scale: 1.5 } as const,
    }));
  const inputs = [...images('global', 2 * r.batch, r.crops.globalSize), ...images('local', r.crops.locals * r.batch, r.crops.localSize)];
  const wanted = (kind: string) => params.map(({ name, shape }) => ({ name: `${kind}/${name}`, shape, dtype: 'F32' as const }));
  const outputs = [
    { name: 'n_masked', shape: [steps], dtype: 'I32' as const },
    ...['grad_step0', `student_after${steps}`, `teacher_after${steps}`].flatMap(wanted),
  ];
  const { permutations: _, param_groups: __, ...rest } = recorded;
  const c = { ...rest, id: 'training', config, formula_prefix: 'training/', params, inputs, outputs };
  return [await sslTrain(c, contextOf(reference)), await sslTrain(c, contextOf(cpu()))];
};

/** Outputs that are further apart than the tolerance, apart from the middle third of a qkv bias, whose true gradient is zero. */
const apart = (want: ReadonlyMap<string, Numbers>, got: ReadonlyMap<string, Numbers>): string[] =>
  [...want].flatMap(([name, x]) => {
    const y = got.get(name);
    if (y?.shape.join(' ') !== x.shape.join(' ')) return [`${name}: [${y?.shape.join(' ')}] where [${x.shape.join(' ')}] is expected`];
    const third = name.endsWith('qkv.bias') ? x.data.length / 3 : 0;
    let [largest, worst] = [0, 0];
    for (let i = 0; i < x.data.length; i++) {
      if (!Number.isFinite(y.data[i])) return [`${name}: element ${i} is ${y.data[i]}`];
      largest = Math.max(largest, Math.abs(x.data[i]!));
      if (i < third || i >= 2 * third) worst = Math.max(worst, Math.abs(x.data[i]! - y.data[i]!));
    }
    return worst <= tolerance * largest ? [] : [`${name}: ${worst} of ${largest}`];
  });

test.each([
  [
    'centering, separate heads, registers, groups of blocks, six local crops, linear stochastic depth',
    {
      train: { centering: 'centering', batch_size_per_gpu: 2 },
      student: { num_register_tokens: 2, block_chunks: 2, drop_path_rate: 0.4, drop_path_uniform: false },
      crops: { local_crops_number: 6 },
    },
    3,
  ],
  [
    'a shared head of one layer, one local crop, nearly everything masked, other widths',
    {
      architecture: { embed_dim: 40, depth: 3, num_heads: 5, mlp_ratio: 2 },
      dino: { head_nlayers: 1, head_n_prototypes: 71 },
      ibot: { separate_head: false, mask_sample_probability: 0.9, mask_ratio_min_max: [0.3, 0.9] },
      crops: { local_crops_number: 1 },
    },
    2,
  ],
  ['without iBOT, weighted, clipped hard', { ibot: { loss_weight: 0 }, dino: { loss_weight: 2 }, optim: { clip_grad: 0.05 } }, 2],
] as const)(
  '%s',
  async (_, by, steps) => {
    const [want, got] = (await run(by, steps)) as [ReadonlyMap<string, Numbers>, ReadonlyMap<string, Numbers>];
    expect([...got.keys()]).toEqual([...want.keys()]);
    expect([...want.keys()].filter((k) => k.startsWith('student_after')).length).toBeGreaterThan(30);
    expect(apart(want, got)).toEqual([]);
  },
  120_000,
);
