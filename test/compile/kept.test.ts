/** Plans that are kept: what is taken again, what is not, and that nobody can tell the difference. */
import { appendFileSync, cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { type CpuExecutable, cpu } from '../../backends/cpu/index.ts';
import { planStore, rooms, sourceDigest } from '../../backends/native/plans.ts';
import { type CompileOptions, compileGraph } from '../../compiler/compile.ts';
import { parse } from '../../compiler/graph/parse.ts';
import { parsePlan, printPlan } from '../../compiler/plan/serialise.ts';
import type { ShardPlan } from '../../compiler/shard/plan.ts';
import type { Backend, PlanStore } from '../../compiler/target.ts';
import { results } from '../../testing/host.ts';

let folder = '';
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'fovea-test-'));
  vi.stubEnv('FOVEA_CACHE', folder);
});
afterEach(() => {
  vi.unstubAllEnvs();
  rmSync(folder, { recursive: true, force: true });
});

const text = `graph (%0 a: f32[B 24], %1 b: f32[24 40], %2 c: f32[B 40]) {
  %3: f32[B 40] = dot(%0, %1) batch=[][] contract=[1][0] dtype=f32 ; scope="layer" phase=fwd
  %4: f32[B 40] = add(%3, %2) ; scope="layer" phase=fwd
  %5: f32[B 40] = exp(%4) ; scope="head" phase=fwd
  %6: f32[B] = reduceSum(%5) axes=[1] ; scope="head" phase=fwd
  return %5, %6
}
`;
const graph = parse(text);
const dims = new Map([['B', 6]]);

type PlanBackend = Extract<Backend, { readonly kind: 'plan' }>;
/** A store in memory, its texts open to the test. */
const memory = (): PlanStore & { readonly texts: Map<string, string> } => {
  const texts = new Map<string, string>();
  return {
    texts,
    get: async (key) => texts.get(key),
    put: async (key, t) => {
      texts.set(key, t);
    },
  };
};
/** The target and nothing to run: what compileGraph does is all that these tests look at. */
const still = (plans: PlanStore, over: Partial<PlanBackend['target']> = {}): PlanBackend => {
  const { target } = cpu({ threads: 2, plans: false });
  return { kind: 'plan', name: 'still', target: { ...target, ...over }, plans, prepare: async () => ({}) as never };
};
const compiled = async (backend: Backend, options: Partial<CompileOptions> = {}, g = graph) =>
  (await compileGraph(g, { backend, dims, ...options })).report;

describe('what is taken again', () => {
  test('the same program with the same options: the plan that was put, with its report', async () => {
    const store = memory();
    const first = await compiled(still(store));
    expect(first.kept).toBe(false);
    const [key, saved] = [...store.texts][0] as [string, string];
    // marked, so that it can only be the kept one
    store.texts.set(key, printPlan({ ...parsePlan(saved), nodes: 12345 }));
    const second = await compiled(still(store));
    expect({ kept: second.kept, nodes: second.nodes, traced: second.tracedNodes, passes: second.seconds.passes }).toEqual({
      kept: true,
      nodes: 12345,
      traced: 4,
      passes: 0,
    });
    expect({ ...second.plan }).toStrictEqual({ ...first.plan });
  });

  test('of a step on ranks: by what the functions of its plan answer, not by which functions they are', async () => {
    const store = memory();
    const step = parse(`graph (%0 x: f32[B 24], %1 w.a: f32[24 40]) {
      %2: f32[B 40] = dot(%0, %1) batch=[][] contract=[1][0] dtype=f32
      %3: f32[24 40] = dot(%0, %2) batch=[][] contract=[0][0] dtype=f32 ; phase=bwd
      %4: f32[24 40] = sub(%1, %3) ; phase=opt
      return %4
    }`);
    const on = (ranks: number, plan: ShardPlan = {}) => {
      const place = (path: string) => (path === 'x' ? ({ split: 0 } as const) : undefined);
      return compiled(still(store), { donated: [1], shards: { ranks, plan: { place, ...plan } } }, step);
    };
    const first = await on(2);
    const again = await on(2);
    expect([first.kept, again.kept, again.layout]).toEqual([false, true, first.layout]);
    expect(again.layout).toEqual({ mesh: { ranks: 2, shard: 2 }, inputs: [{ split: 0 }, 'flat'], outputs: ['flat'] });
    expect({ ...again.plan }).toStrictEqual({ ...first.plan });
    const others: readonly [number, ShardPlan?][] = [
      [3],
      [2, { group: 1 }],
      [2, { strategy: 'FULL_SHARD' }],
      [2, { strategy: () => 'NO_SHARD' }],
      [2, { place: () => undefined }],
      [2, { unit: () => 'one' }],
      [2, { prefetch: 2 }],
      [2, { gatheredBytes: 100 }],
      [2, { bucketBytes: 100 }],
      [2, { reduce: 'bf16' }],
    ];
    for (const [ranks, plan] of others) expect([plan, (await on(ranks, plan)).kept]).toEqual([plan, false]);
    expect((await compiled(still(store), { donated: [1] }, step)).kept).toBe(false);
    expect(store.texts.size).toBe(2 + others.length);
  });

  test('nothing else: each option and each change of the program has a plan of its own', async () => {
    const store = memory();
    const other = parse(text.replace('scope="head" phase=fwd\n  %6', 'scope="tail" phase=fwd\n  %6'));
    const wide = { vectorBytes: 32 };
    const runs: readonly (() => ReturnType<typeof compiled>)[] = [
      () => compiled(still(store)),
      () => compiled(still(store), { precision: 'bf16' }),
      () => compiled(still(store), { precision: { default: 'f32', scopes: { layer: 'bf16' } } }),
      () => compiled(still(store), { precision: { default: 'f32', scopes: { head: 'bf16' } } }),
      () => compiled(still(store), { precision: { default: 'f32', scopes: { layer: 'bf16', '**': 'f32' } } }),
      () => compiled(still(store), { precision: { default: 'f32', scopes: { '**': 'f32', layer: 'bf16' } } }),
      () => compiled(still(store), { donated: [2, -1] }),
      () => compiled(still(store), { dims: new Map([['B', 7]]) }),
      () => compiled(still(store, wide)),
      () => compiled(still(store), {}, other),
    ];
    for (const run of runs) expect((await run()).kept).toBe(false);
    expect(store.texts.size).toBe(runs.length);
    for (const run of runs) expect((await run()).kept).toBe(true);
  });

  test('a plan that does not fit is refused with the same sentence, kept or not', async () => {
    const store = memory();
    const refused = async (): Promise<unknown> =>
      compiled(still(store), { maxBytes: 100 }).then(String, (e) => [e.code, e.message, e.hint]);
    const fresh = await refused();
    expect(fresh).toEqual(['FV0202', expect.stringContaining('allowed'), expect.stringContaining('Largest buffers')]);
    expect(store.texts.size).toBe(0);
    await compiled(still(store));
    expect(await refused()).toEqual(fresh);
  });
});

describe('what is ignored and replaced', () => {
  const damages: Readonly<Record<string, (text: string, other: string) => string>> = {
    'cut off': (t) => t.slice(0, t.length >> 1),
    empty: () => '',
    'a bit changed': (t) => t.replace('"offset":0', '"offset":64'),
    'of another version': (t) => t.replace('fovea plan 2', 'fovea plan 0'),
    "another program's": (_, other) => other,
  };
  for (const [what, damage] of Object.entries(damages))
    test(what, async () => {
      const store = memory();
      await compiled(still(store), { donated: [2, -1] });
      const other = [...store.texts.values()][0] as string;
      await compiled(still(store));
      const [key, good] = [...store.texts].at(-1) as [string, string];
      store.texts.set(key, damage(good, other));
      expect(store.texts.get(key)).not.toBe(good);
      expect((await compiled(still(store))).kept).toBe(false);
      expect(store.texts.get(key)).toBe(good);
      expect((await compiled(still(store))).kept).toBe(true);
    });
});

describe('on the cpu backend', () => {
  const run = async (backend: Backend) => {
    const { executable, report } = await compileGraph(graph, { backend, dims, donated: [2, -1] });
    executable.inputs.forEach((t, i) => {
      const n = t.shape.reduce<number>((k, d) => k * Number(d), 1);
      executable.write(
        i,
        Float32Array.from({ length: n }, (_, k) => Math.sin(k * 1.7 + i) / 3),
      );
    });
    await executable.run();
    const out = (await results(executable)).map((x) => Array.from(x));
    executable.dispose();
    return { out, report, compiled: (executable as CpuExecutable).compiled };
  };
  const files = (extension: string): readonly string[] =>
    readdirSync(folder, { recursive: true, encoding: 'utf8' })
      .filter((f) => f.endsWith(extension))
      .map((f) => join(folder, f));

  test('a kept plan opens its library and gives the same bits', async () => {
    const fresh = await run(cpu({ threads: 2, plans: false }));
    expect(files('.plan')).toEqual([]);
    const first = await run(cpu({ threads: 2, plans: true }));
    expect(first.report.kept).toBe(false);
    expect(files('.plan').length).toBe(1);
    // no object is looked at any more: the library is opened as it is
    for (const f of files('.o')) rmSync(f);
    const second = await run(cpu({ threads: 2, plans: true }));
    expect(second.report.kept).toBe(true);
    expect(second.compiled).toBe(0);
    expect(files('.o')).toEqual([]);
    expect(second.out).toStrictEqual(fresh.out);
    expect(first.out).toStrictEqual(fresh.out);
    expect({ ...second.report.plan }).toStrictEqual({ ...fresh.report.plan });
  });

  test('a library that is gone is made again, also of a kept plan', async () => {
    const first = await run(cpu({ threads: 2, plans: true }));
    for (const f of [...files('.so'), ...files('.o')]) rmSync(f);
    const second = await run(cpu({ threads: 2, plans: true }));
    expect(second.report.kept).toBe(true);
    expect(second.compiled).toBeGreaterThan(0);
    expect(second.out).toStrictEqual(first.out);
  });

  test('a list of another kind is not believed', async () => {
    await run(cpu({ threads: 2, plans: true }));
    const [list] = files('.list') as [string];
    writeFileSync(list, readFileSync(list, 'latin1').replace(/"k_[0-9a-f]/, '"k_x'));
    const second = await run(cpu({ threads: 2, plans: true }));
    expect(second.report.kept).toBe(true);
  });

  test('FOVEA_PLANS=off keeps none, and neither does an option', async () => {
    vi.stubEnv('FOVEA_PLANS', 'off');
    expect(cpu().plans).toBeUndefined();
    vi.stubEnv('FOVEA_PLANS', '');
    expect(cpu().plans).toBeDefined();
    expect(cpu({ plans: false }).plans).toBeUndefined();
  });
});

describe('the compiler is part of the name', () => {
  test('what one compiler put another does not get', async () => {
    await planStore('one').put('key', 'text');
    expect(await planStore('one').get('key')).toBe('text');
    expect(await planStore('other').get('key')).toBeUndefined();
    expect(await planStore('one').get('another')).toBeUndefined();
  });

  test('what cannot be kept is no error', async () => {
    const name = planStore('one').nameOf('key') as string;
    // a file where the folder should be
    writeFileSync(join(folder, name.slice(0, 2)), '');
    await planStore('one').put('key', 'text');
    expect(await planStore('one').get('key')).toBeUndefined();
  });

  const root = join(import.meta.dirname, '../..');
  const later = (): number => Date.now() + 1e6;

  test('every file of the compiler and of the backend counts, and no other', () => {
    const copy = join(folder, 'copy');
    for (const room of rooms) cpSync(join(root, room), join(copy, room), { recursive: true });
    const whole = sourceDigest(copy, '.ts', later());
    expect(whole).toMatch(/^[0-9a-f]{64}$/);
    expect(sourceDigest(root, '.ts', later())).toBe(whole);
    writeFileSync(join(copy, 'compiler/notes.txt'), 'a');
    writeFileSync(join(copy, 'backends/other.ts'), 'a');
    expect(sourceDigest(copy, '.ts', later())).toBe(whole);
    const seen = new Set([whole]);
    for (const file of ['compiler/compile.ts', 'compiler/tile/map.ts', 'backends/cpu/print.ts']) {
      appendFileSync(join(copy, file), ' ');
      seen.add(sourceDigest(copy, '.ts', later()));
    }
    cpSync(join(copy, 'compiler/error.ts'), join(copy, 'compiler/mistake.ts'));
    seen.add(sourceDigest(copy, '.ts', later()));
    expect(seen.size).toBe(5);
  });

  test('there is no digest of files that changed meanwhile, or that are not there', () => {
    const copy = join(folder, 'copy');
    for (const room of rooms) mkdirSync(join(copy, room), { recursive: true });
    const file = join(copy, 'compiler/a.ts');
    writeFileSync(file, 'a');
    utimesSync(file, 0, 0);
    expect(sourceDigest(copy, '.ts', later())).toBeDefined();
    expect(sourceDigest(copy, '.ts', Date.now() - 1e6)).toBeUndefined();
    expect(sourceDigest(join(folder, 'nothing'), '.ts', later())).toBeUndefined();
  });
});
