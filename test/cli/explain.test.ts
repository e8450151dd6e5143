/** `fovea explain`: every launch is told with its line, its reason and its limits, and each stage can be printed, whole or for one line. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { Command } from 'commander';
import { beforeAll, expect, test } from 'vitest';
import { cpu } from '../../backends/cpu/index.ts';
import { type Facts, factsOf } from '../../cli/explain/facts.ts';
import { page, pageBegins } from '../../cli/explain/page.ts';
import type { PlanBackend } from '../../cli/explain/paper.ts';
import { picture } from '../../cli/explain/ranks.ts';
import { atOption, stages, stageText } from '../../cli/explain/text.ts';
import { traceBegins, traceOf } from '../../cli/profile.ts';
import { userProgram } from '../../cli/program.ts';
import { shardOptions, shardPlan } from '../../cli/sharding.ts';
import { parse } from '../../compiler/graph/parse.ts';
import { print } from '../../compiler/graph/print.ts';
import { parseKernel } from '../../compiler/kernel/parse.ts';
import { projectOf } from '../frontend/project.ts';
import { fovea, scratch } from './command.ts';

const root = join(import.meta.dirname, '../..');
const backend = cpu({ threads: 2, target: process.arch === 'arm64' ? 'armv8-a' : 'native' }) as PlanBackend;
let step: Facts;
beforeAll(async () => {
  step = await factsOf(await userProgram(join(root, 'examples/dinov2.ts#step'), { dims: { B: 2 } }), backend, {});
});

test('every launch of a training step has a place, a reason, a limit, and reads what was written before', () => {
  const { launches, explanation } = step;
  expect(launches.length).toBe(explanation.plan.launches.length);
  for (const l of launches) {
    if (l.template !== 'copy') expect(l.places.length, l.label).toBeGreaterThan(0);
    expect(l.reason).not.toBe('');
    expect(l.seconds).toBeGreaterThan(0);
  }
  const written = new Set<number>();
  // a step of the optimizer may move up, never before what it reads
  launches.forEach((l) => {
    expect(
      l.reads.filter((r) => !written.has(r)),
      l.label,
    ).toEqual([]);
    written.add(l.number);
  });
  expect(launches.some((l) => l.template === 'stream' && l.places[0]?.file.endsWith('models/layers.ts'))).toBe(true);
  // no moment holds more than the arena, and some moment needs most of it
  const most = Math.max(...explanation.held);
  expect(most).toBeLessThanOrEqual(explanation.plan.arenaBytes);
  expect(most).toBeGreaterThan(0.9 * explanation.plan.arenaBytes);
});

test('each stage is printed, as text that reads back', () => {
  for (const stage of stages.filter((s) => s !== 'shard')) expect(stageText(step, stage, undefined).length, stage).toBeGreaterThan(1000);
  expect(print(parse(stageText(step, 'graph', undefined)))).toBe(print(step.explanation.graph));
  const kernels = stageText(step, 'kernel', undefined).split(/^(?=kernel )/m);
  const names = (all: readonly { readonly name: string }[]): string[] => all.map((k) => k.name).sort();
  expect(names(kernels.map((k) => parseKernel(`${k.trimEnd()}\n`)))).toEqual(names(step.explanation.plan.kernels));
});

test('a line: its nodes, groups, kernels and source, and nothing of another line', () => {
  const at = atOption('layers.ts:45');
  const text = stageText(step, undefined, at);
  expect(text).toContain("models/layers.ts:45: const y = einsum('... i, o i -> ... o', x, p.weight);");
  expect(text).toMatch(/\n {2}group gemm reason="/);
  expect(text).toContain('void FV_KERNEL(');
  const nodes = stageText(step, 'traced', at).split('\n');
  expect(nodes.length).toBeLessThan(step.explanation.traced.nodes.length / 4);
  expect(nodes.some((n) => n.includes(' = dot('))).toBe(true);
  expect(() => stageText(step, undefined, atOption('layers.ts:3'))).toThrow(/no operation of step comes from that line/);
});

test('the softmax of a recognised attention: its line leads to what was written, to the call that has it, to both kernels', async () => {
  const line =
    readFileSync(join(root, 'examples/vit.ts'), 'utf8')
      .split('\n')
      .findIndex((l) => l.includes('= softmax(')) + 1;
  const vit = await factsOf(await userProgram(join(root, 'examples/vit.ts#step'), { dims: { B: 2 } }), backend, {});
  const at = atOption(`${line}`);
  const [written, program] = stageText(vit, 'traced', at).split('; the program');
  expect(written).toMatch(/^; differentiated below, as it was written\n[\s\S]*= dot\(/);
  expect(written?.match(/= call\(.*\) tag=softmax/g)).toHaveLength(2);
  expect(program).not.toContain('tag=softmax');
  expect(program).toMatch(/tag=fovea\.attention \{ \.\.\. \}.*\n( {4}.*\n)* {4}.* = exp\(/);
  const text = stageText(vit, undefined, at);
  expect(text).toContain(`examples/vit.ts:${line}: const weights = softmax(`);
  for (const group of ['stream', 'stream-grad']) expect(text).toMatch(new RegExp(`\\n {2}group ${group} reason="`));
  const [, own = '', besides = ''] =
    new RegExp(`data-ls="([\\d ]*)"(?: data-besides="([\\d ]*)")?><span class="n">${line}<`).exec(page(vit)) ?? [];
  const linked = [...own.split(' '), ...besides.split(' ')].map((l) => vit.launches[Number(l)]?.template);
  expect(linked).toEqual(expect.arrayContaining(['stream', 'stream-grad']));
});

test('--at takes a path as it is written, and a name that a path ends with, no part of one', async () => {
  for (const path of ['./models/layers.ts:45', join(root, 'models/layers.ts:45'), 'layers.ts:45'])
    expect(stageText(step, 'traced', atOption(path)), path).toContain(' = dot(');
  expect(() => stageText(step, 'traced', atOption('yers.ts:45'))).toThrow(/no operation of step comes from that line/);
});

test('a step of one of two ranks: every transfer with its start and its wait, and when it travels', async () => {
  const command = shardOptions(new Command()).parse(['--strategy', 'FULL_SHARD', '--prefetch', '2', '--gathered', '3'], { from: 'user' });
  const own = shardPlan(command.opts());
  expect(own).toMatchObject({ strategy: 'FULL_SHARD', prefetch: 2, gatheredBytes: 3 * 2 ** 20 });
  expect(own).not.toHaveProperty('group');
  const plan = { ...own, place: (path: string) => (/^[12]$/.test(path) ? { split: 0 } : undefined) };
  const shards = { ranks: 2, plan, how: 'FULL_SHARD', link: 1e10, latency: 2e-5 };
  const facts = await factsOf(await userProgram(join(root, 'examples/vit.ts#step')), backend, { shards });
  const { plan: made } = facts.explanation;
  expect(new Set(made.collectives.map((c) => c.kind))).toEqual(new Set(['all-gather', 'reduce-scatter', 'all-reduce']));
  const rows = stageText(facts, 'shard', undefined)
    .split('\n')
    .slice(1, made.collectives.length + 1);
  rows.forEach((row, n) => {
    const at = (what: string): number => made.events.find((e) => e.what === what && e.collective === n)?.before ?? -1;
    expect(row).toMatch(new RegExp(`^${n} +${made.collectives[n]?.kind} .* ${at('start')} +${at('wait')} `));
  });
  const text = stageText(facts, undefined, undefined);
  expect(text).toMatch(/\nA rank of 2, FULL_SHARD\n {2}compute {3}[fb ]+\n {2}transfer {2}[ GRa]+\n {2}stalled/);
  const boxes = (svg: string): number => [...svg.matchAll(/<rect [^>]*><title>/g)].length;
  expect(boxes(picture(facts))).toBe(facts.onRanks?.cost.spans.length);
  expect(page(facts)).toContain('step on 2 ranks, FULL_SHARD');
  expect(() => stageText(step, 'shard', undefined)).toThrow(/FV0503|that of one device/);
});

test('what is nearly attention is told, with the reason', async () => {
  const file = join(scratch(), 'near.mts');
  writeFileSync(
    file,
    `import { einsum, fn, softmax } from ${JSON.stringify(pathToFileURL(join(root, 'dsl/index.ts')).href)};
export const near = fn(['N D', 'M D'], (q, k) => {
  const w = softmax(einsum('n d, m d -> n m', q, k));
  return { out: einsum('n m, m d -> n d', w, k), w };
});
`,
  );
  const { status, stdout, stderr } = await fovea(['explain', file, '--dims', 'N=8,M=8'], { fromSources: true });
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
  expect(stdout).toMatch(/Nearly attention[^\n]*\n {2}\S*near\.mts:4: the weights are read by more than one contraction\n/);
  expect(stdout).toMatch(/with N=8, M=8, D=16 \(assumed\)/);
  expect(stdout).toMatch(/\n {2}0 .*near\.mts:3 .*read by a /);
});

test('refusals: no such export, none that says its arguments, sizes and backends that do not fit', async () => {
  const said = async (...args: string[]): Promise<string> => {
    const { status, stderr } = await fovea(['explain', ...args], { fromSources: true });
    expect(status).toBe(1);
    return stderr;
  };
  expect(await said('examples/dinov2.ts#nope')).toMatch(/^fovea: FV0503: .*no export 'nope'\n {2}It exports step\./);
  expect(await said('models/vit/block.ts')).toMatch(/^fovea: FV0503: .*exports nothing that can be compiled/);
  expect(await said('models/losses.ts#koleoLoss', '--dims', 'X=3')).toMatch(/^fovea: FV0005: there is no size X/);
  expect(await said('examples/vit.ts#step', '--ranks', '2')).toMatch(/^fovea: FV0503: --ranks: nothing says which arguments are a batch/);
  expect(await said('examples/vit.ts#step', '--ranks', '2', '--split', '1,9')).toMatch(
    /^fovea: FV0503: --split 9: there is no argument 9\n {2}It has \d arguments, which count from 0\./,
  );
  expect(await said('examples/vit.ts#step', '--timeline', 't.svg')).toMatch(/^fovea: FV0503: --timeline and --split: .* of one device/);
  expect(await said('examples/vit.ts#step', '--ranks', '2', '--split', '1,2', '--measure')).toMatch(
    /^fovea: FV0503: --measure: one rank alone/,
  );
  expect(await said('models/losses.ts#koleoLoss', '--backend', 'reference')).toMatch(/^fovea: FV0503: .*makes no kernels/);
  expect(await said('models')).toMatch(/^fovea: FV0402: \S+models is a folder\n {2}Give one of the modules in it\.\n$/);
  expect(await said('models/losses.ts#koleoLoss', '--emulate')).toMatch(/^fovea: FV0503: --emulate: the cpu backend has no emulator/);
  expect(await said('models/losses.ts#koleoLoss', '--html', 'x.html', '--stage', 'plan')).toMatch(/^fovea: FV0503: --html has every stage/);
  expect(await said('models/losses.ts#koleoLoss', '--html', 'x.html', '--at', '3')).toMatch(/--at says nothing to it/);
});

test('kernels are printed where there is no device for them', { timeout: 60_000 }, async () => {
  const nowhere = {
    FOVEA_CUDA_DRIVER: '/none',
    FOVEA_NVRTC: '/none',
    VK_ICD_FILENAMES: '/none',
    VK_DRIVER_FILES: '/none',
    FOVEA_CC: '/none',
  };
  const print = (...args: string[]) =>
    fovea(['explain', 'models/losses.ts#koleoLoss', '--dims', 'B=16,D=32', ...args], { fromSources: true, env: nowhere });
  const [cuda, cudaAll, cpuText, measured] = await Promise.all([
    print('--backend', 'cuda', '--stage', 'source'),
    print('--backend', 'cuda'),
    print('--stage', 'source'),
    print('--backend', 'cuda', '--measure'),
  ]);
  expect(cuda.stdout).toContain('__global__ void');
  expect(cudaAll.stdout).toMatch(/target +cuda, which is not here, as on sm_80: /);
  expect(cpuText.stdout).toContain('void FV_KERNEL(');
  // what has to run needs a device
  expect(measured.stderr).toMatch(/^fovea: FV0310: /);
});

test('what the export does beside computing is said on standard error, and of no other export', { timeout: 60_000 }, async () => {
  const at = projectOf({
    'model.ts': `import { fn, spec } from 'fovea';
const seen: unknown[] = [];
export const f = Object.assign((x: any) => { seen.push(1); return x.mul(2); }, { args: [spec('4')] });
export const g = fn(['N'], (x) => { seen.pop(); return x; });
`,
  });
  const { status, stdout, stderr } = await fovea(['explain', `${at('model.ts')}#f`], { fromSources: true });
  expect(status).toBe(0);
  expect(stdout).toContain('Launches');
  expect(stderr).toMatch(/model\.ts\(3,\d+\): warning FV0901: 'seen\.push' changes 'seen'/);
  expect(stderr).not.toContain('seen.pop');
});

test('what a command writes takes the place of what it wrote before, and of nothing else', { timeout: 60_000 }, async () => {
  const at = projectOf({ 'good.ts': "import { fn } from 'fovea';\nexport const f = fn(['N'], (x) => x.add(x));\n", 'page.html': '' });
  const good = readFileSync(at('good.ts'), 'utf8');
  const said = async (...args: string[]) => {
    const { status, stderr } = await fovea(args, { fromSources: true });
    return `${status} ${stderr}`;
  };
  const refused = (option: string): RegExp => new RegExp(`^1 fovea: FV0407: ${option} \\S+good\\.ts: another file is there`);
  const f = `${at('good.ts')}#f`;
  expect(await said('explain', f, '--html', at('good.ts'))).toMatch(refused('--html'));
  expect(await said('explain', f, '--timeline', at('good.ts'))).toMatch(refused('--timeline'));
  expect(await said('profile', f, '--out', at('good.ts'))).toMatch(refused('--out'));
  expect(readFileSync(at('good.ts'), 'utf8')).toBe(good);
  expect((await fovea(['explain', f], { fromSources: true })).stdout).toMatch(/ kernels: \d+ FLOP, /);
  // an empty file, and a page of ours
  for (const _ of [1, 2]) expect(await said('explain', f, '--html', at('page.html'))).toBe('0 ');
  expect(readFileSync(at('page.html'), 'utf8').startsWith(pageBegins)).toBe(true);
  expect(JSON.stringify(traceOf(step)).startsWith(traceBegins)).toBe(true);
});
