/** `fovea explain` as text: the whole program at a glance, one stage of the compiler in full, or all that became of one line. */
import { resolve, sep } from 'node:path';
import { FoveaError, type Loc } from '../../compiler/error.ts';
import { nodesInside } from '../../compiler/explain/explain.ts';
import { print, printNode } from '../../compiler/graph/print.ts';
import type { Graph, Node } from '../../compiler/graph/types.ts';
import { printKernel } from '../../compiler/kernel/print.ts';
import type { Kernel } from '../../compiler/kernel/types.ts';
import type { Group } from '../../compiler/tile/group.ts';
import { printGroup } from '../../compiler/tile/text.ts';
import { type Cells, number, percent, table } from '../bench/print.ts';
import { type Facts, showPlace, type TimedLaunch } from './facts.ts';
import { shardText, timeline } from './ranks.ts';
import { bytes, ms } from './units.ts';

export const stages = ['traced', 'graph', 'fused', 'tile', 'kernel', 'source', 'plan', 'shard'] as const;
export type Stage = (typeof stages)[number];

/** A line of a file, as `--at` means it: of the program's own file, of one whose path ends so, or of that which the path leads to. */
export interface At {
  readonly file: string | undefined;
  readonly line: number;
}
/** `12` or `layers.ts:12`. FV0503. */
export const atOption = (text: string): At => {
  const [, file, line] = /^(?:(.+):)?(\d+)$/.exec(text) ?? [];
  if (line === undefined)
    throw new FoveaError('FV0503', `--at ${text}: expected a line, or a file and a line`, {
      hint: 'For example: --at 12 or --at layers.ts:12.',
    });
  return { file, line: Number(line) };
};
const ofFile = ({ program }: Facts, { file }: At, of: string): boolean =>
  file === undefined ? of === program.file : of === resolve(file) || of.endsWith(`${sep}${file}`);
const matches = (f: Facts, at: At, loc: Pick<Loc, 'file' | 'line'> | undefined): boolean =>
  loc?.line === at.line && ofFile(f, at, loc.file);
/** A node of that line, or one that has such nodes in its region: an attention has the softmax that it was made of. */
const touches = (f: Facts, at: At, n: Node): boolean => [n, ...nodesInside([n])].some((m) => matches(f, at, m.meta.loc));

const count = (n: number): string =>
  n < 1e3 ? `${n} ` : n < 1e6 ? `${number(n / 1e3)} k` : n < 1e9 ? `${number(n / 1e6)} M` : `${number(n / 1e9)} G`;
const short = (text: string, most: number): string => (text.length > most ? `${text.slice(0, most - 1)}…` : text);
const indent = (text: string): string => text.replace(/^(?=.)/gm, '  ');
const section = (title: string, body: string): string => `${title}\n${indent(body.trimEnd())}\n`;

export const headOf = ({
  program,
  backend,
  explanation,
  launches,
  time,
  measured,
  peak,
}: Facts): readonly (readonly [string, string])[] => {
  const { plan, passes, traced } = explanation;
  const { declared: d, dims, assumed } = program;
  const sizes = Object.entries(dims).map(([n, v]) => `${n}=${v}${assumed.includes(n) ? ' (assumed)' : ''}`);
  const { workers, vectorBytes, maxThreads } = backend.target;
  const machine = maxThreads > 1 ? `blocks of up to ${maxThreads} threads` : `${workers} threads, vectors of ${vectorBytes} bytes`;
  const changed = passes.filter((p, i) => p.nodes !== (passes[i - 1]?.nodes ?? traced.nodes.length));
  const sum = (f: (l: TimedLaunch) => number): number => launches.reduce((n, l) => n + f(l), 0);
  const roof = sum((l) => l.seconds);
  return [
    ['arguments', `${d.module ? 'parameters, ' : ''}[${d.signature.join('], [')}]${sizes.length > 0 ? ` with ${sizes.join(', ')}` : ''}`],
    [
      'target',
      `${backend.name}${backend.instead ? `, which is not here, as on ${backend.instead}` : ''}: ${machine}; peaks ${count(peak.flops)}FLOP/s, ${count(peak.bytes)}B/s (${measured ? 'measured' : 'estimated'})`,
    ],
    ['nodes', `${traced.nodes.length} traced${changed.map((p) => `, ${p.nodes} after ${p.name}`).join('')}`],
    [
      'launches',
      `${launches.length} of ${plan.kernels.length} kernels: ${count(sum((l) => l.flops))}FLOP, ${bytes(sum((l) => l.bytes))} of traffic`,
    ],
    [
      'time',
      measured ? `${ms(time)} measured, ${ms(roof)} by the roofline (${percent(roof / time)})` : `at least ${ms(roof)} by the roofline`,
    ],
    ['memory', `${bytes(plan.arenaBytes)}`],
  ];
};

/** Who holds the arena while it is fullest. */
export const peakOf = ({ explanation: { held, plan } }: Facts) => {
  const at = held.reduce((best, b, i) => (b > (held[best] as number) ? i : best), 0);
  const live = plan.lifetimes.filter((l) => l.first <= at && l.last >= at && l.slot.bytes > 0).sort((a, b) => b.slot.bytes - a.slot.bytes);
  return { at, bytes: held[at] ?? 0, live };
};

const placeText = (l: TimedLaunch): string => (l.places[0] ? showPlace(l.places[0]) : '');

const launchTable = (launches: readonly TimedLaunch[], total: number): string =>
  table(
    [
      ['#', 'time', 'share', 'bound by', 'of roof', 'what', 'place', 'scope', 'ends because'],
      ...launches.map(
        (l): Cells => [
          `${l.number}`,
          ms(l.time),
          percent(total > 0 ? l.time / total : 0),
          l.bound,
          percent(l.ofRoof),
          short(l.label, 44),
          placeText(l),
          short(l.scope, 32),
          l.reason,
        ],
      ),
    ],
    9,
  );

const most = 40;

export const overview = (f: Facts): string => {
  const { program, explanation, launches, time, lines } = f;
  const peak = peakOf(f);
  const shown = [...launches].sort((a, b) => b.time - a.time).slice(0, most);
  shown.sort((a, b) => a.number - b.number);
  const left = launches.length - shown.length;
  return [
    `${program.shown}#${program.name}\n`,
    `${table(headOf(f), 2)}\n`,
    section(
      'By source line',
      table(
        [
          ['share', 'time', 'launches', 'place', ''],
          ...lines
            .filter((l) => l.launches.length > 0)
            .slice(0, most)
            .map((l) => [percent(l.time / time), ms(l.time), `${l.launches.length}`, showPlace(l), short(l.text, 80)]),
        ],
        5,
      ),
    ),
    section('Launches', `${launchTable(shown, time)}${left > 0 ? `\nand ${left} that take less time: --stage plan lists all` : ''}`),
    ...(f.onRanks ? [section(`A rank of ${f.onRanks.ranks}, ${f.onRanks.how}`, timeline(f))] : []),
    section(
      `Memory: ${bytes(peak.bytes)} are held at launch ${peak.at}, the fullest, most of it by`,
      table(
        peak.live
          .slice(0, 8)
          .map((l) => [bytes(l.slot.bytes), l.scope || 'unnamed', l.first < 0 ? 'the whole run' : `launches ${l.first} to ${l.last}`]),
        3,
      ),
    ),
    ...(explanation.misses.length > 0
      ? [
          section(
            'Nearly attention: these softmaxes between two contractions stay three kernels',
            explanation.misses.map((m) => `${m.loc ? showPlace(m.loc) : m.scope}: ${m.why}`).join('\n'),
          ),
        ]
      : []),
    `See also: --stage ${stages.join('|')}, --at LINE, --measure, --html FILE.`,
  ].join('\n');
};

const sourceOf = (f: Facts, k: Kernel): string => {
  const { source } = f.backend;
  if (!source)
    throw new FoveaError('FV0503', `--stage source: the backend ${f.backend.name} shows no text`, { hint: 'Its kernels: --stage kernel.' });
  return source(k);
};

/** Which nodes, groups, launches and kernels are shown: all of them, or what comes from one line. */
const chosen = (f: Facts, at: At | undefined) => {
  const { traced, graph, groups, plan } = f.explanation;
  const node = (n: Node): boolean => at === undefined || touches(f, at, n);
  const group = (g: Group): boolean => at === undefined || g.nodes.some(node);
  const launches = f.launches.filter((l) => at === undefined || l.groups.some((g) => group(groups[g] as Group)));
  const kernels = [...new Set(launches.map((l) => l.kernel))].map((k) => plan.kernels[k] as Kernel);
  return {
    written: f.program.written.map((g) => g.nodes.filter(node)),
    traced: traced.nodes.filter(node),
    graph: graph.nodes.filter(node),
    groups: groups.filter(group),
    launches,
    kernels,
  };
};

const tiles = (f: Facts, launches: readonly TimedLaunch[]): string =>
  table(
    [
      ['#', 'template', 'grid', 'threads', 'schedule', 'filed under'],
      ...launches.map((l): Cells => {
        const k = f.explanation.plan.kernels[l.kernel] as Kernel;
        return [`${l.number}`, l.template, k.grid.join(' x '), `${k.threads}`, l.schedule ?? 'no choice', l.key ?? ''];
      }),
    ],
    6,
  );

const planText = (f: Facts, launches: readonly TimedLaunch[]): string => {
  const { plan } = f.explanation;
  const rows = launches.map((l): Cells => {
    const parts = plan.launches[l.number]?.parts ?? [];
    return [
      `${l.number}`,
      plan.kernels[l.kernel]?.name ?? '',
      l.phase,
      `${parts.reduce((n, p) => n + p.blocks, 0)}`,
      bytes(f.explanation.held[l.number] ?? 0),
      short(parts.map((p) => p.offsets.join(' ')).join(' | '), 60),
      placeText(l),
      l.scope,
      l.reason,
    ];
  });
  return table([['#', 'kernel', 'phase', 'blocks', 'held', 'places in the arena', 'from', 'scope', 'ends because'], ...rows], 9);
};

/** Nodes of a line; under one with a region those of the line in it. */
const nodeLines = (f: Facts, at: At, nodes: readonly Node[]): string =>
  nodes
    .map((n) => {
      const own = nodesInside([n]).filter((m) => matches(f, at, m.meta.loc));
      const head = `${printNode(n)}${n.meta.scope ? `   ; ${n.meta.scope}` : ''}`;
      return [head, ...own.map((m) => `    ${printNode(m)}`)].join('\n');
    })
    .join('\n');

/** What was traced: functions that are differentiated as they were written, for of the derivative the passes in front of it are done already. */
const tracedText = (f: Facts, at: At | undefined): string => {
  const { written, traced } = chosen(f, at);
  const text = (g: Graph, nodes: readonly Node[]): string => (at ? nodeLines(f, at, nodes) : print(g).trimEnd());
  const all = [
    ...f.program.written.map((g, i) => ['differentiated below, as it was written', text(g, written[i] as readonly Node[])] as const),
    ['the program', text(f.explanation.traced, traced)] as const,
  ].filter(([, t]) => t !== '');
  return all.map(([what, t]) => (f.program.written.length > 0 ? `; ${what}\n${t}` : t)).join('\n');
};

const show: { readonly [S in Stage]: (f: Facts, at: At | undefined) => string } = {
  traced: tracedText,
  graph: (f, at) => (at ? nodeLines(f, at, chosen(f, at).graph) : print(f.explanation.graph)),
  fused: (f, at) =>
    chosen(f, at)
      .groups.map((g) => printGroup(g, { meta: false }))
      .join('\n'),
  tile: (f, at) => tiles(f, chosen(f, at).launches),
  kernel: (f, at) => chosen(f, at).kernels.map(printKernel).join('\n'),
  source: (f, at) =>
    chosen(f, at)
      .kernels.map((k) => `// ${k.name}\n${sourceOf(f, k)}`)
      .join('\n'),
  plan: (f, at) => planText(f, chosen(f, at).launches),
  shard: shardText,
};

const knownLines = (f: Facts, at: At): string => {
  const lines = [
    ...new Set(
      [f.explanation.traced, ...f.program.written]
        .flatMap((g) => [...g.nodes, ...nodesInside(g.nodes)])
        .flatMap(({ meta: { loc } }) => (loc && ofFile(f, at, loc.file) ? [loc.line] : [])),
    ),
  ];
  return lines.length > 0
    ? `Lines with operations there: ${lines.sort((a, b) => a - b).join(', ')}.`
    : `Operations are in ${[...new Set(f.lines.map((l) => showPlace(l).replace(/:\d+$/, '')))].join(', ')}.`;
};

/** One stage, whole or for one line. FV0503: nothing comes from that line. */
export const stageText = (f: Facts, stage: Stage | undefined, at: At | undefined): string => {
  if (at !== undefined && tracedText(f, at) === '' && chosen(f, at).graph.length === 0)
    throw new FoveaError(
      'FV0503',
      `--at ${at.file ? `${at.file}:` : ''}${at.line}: no operation of ${f.program.name} comes from that line`,
      { hint: knownLines(f, at) },
    );
  if (stage) return show[stage](f, at);
  if (!at) return overview(f);
  const [file] = [...f.texts.keys()].filter((t) => matches(f, at, { file: t, line: at.line }));
  const { launches } = chosen(f, at);
  return [
    `${showPlace({ file: file ?? '', line: at.line })}: ${file ? (f.texts.get(file)?.[at.line - 1]?.trim() ?? '') : ''}\n`,
    section('Traced', show.traced(f, at)),
    section('After the passes', show.graph(f, at) || 'nothing is left of it'),
    section('Launches', launchTable(launches, f.time)),
    section('Groups', show.fused(f, at)),
    section('Tiles', show.tile(f, at)),
    section('Kernels', show.kernel(f, at)),
    ...(f.backend.source ? [section('Source', show.source(f, at))] : []),
  ].join('\n');
};
