/**
 * `fovea explain --html`: one file to look at, without network. On the left the user's source with the time of each line; on the right
 * memory while the program runs and every launch, with arcs from what writes a value to what reads it. Whatever the mouse is over is marked
 * everywhere; a click opens the nodes, the kernel and its text.
 */
import { relative } from 'node:path';
import { printKernel } from '../../compiler/kernel/print.ts';
import type { Group } from '../../compiler/tile/group.ts';
import { templates } from '../../compiler/tile/group.ts';
import { printGroup } from '../../compiler/tile/text.ts';
import { percent } from '../bench/print.ts';
import { type Facts, showPlace, type TimedLaunch } from './facts.ts';
import { memory, roof, strip } from './page/charts.ts';
import { attr, highlight, plain } from './page/markup.ts';
import { script } from './page/script.ts';
import { style } from './page/style.ts';
import { picture } from './ranks.ts';
import { headOf, peakOf } from './text.ts';
import { bytes, ms } from './units.ts';

/** Files with launches, the program's own first, then by time. */
const filesOf = ({ program, lines, texts }: Facts): readonly string[] => {
  const time = new Map<string, number>();
  for (const l of lines) time.set(l.file, (time.get(l.file) ?? 0) + l.time);
  const rest = [...time]
    .filter(([f]) => f !== program.file)
    .sort((a, b) => b[1] - a[1])
    .map(([f]) => f);
  return [...(texts.get(program.file)?.length ? [program.file] : []), ...rest];
};

const sources = (f: Facts): string => {
  const files = filesOf(f);
  // the file to begin with: the first in which something runs
  const first = files.find((file) => f.lines.some((l) => l.file === file)) ?? files[0];
  const hottest = Math.max(...f.lines.map((l) => l.time), 1e-30);
  const line = (file: string, text: string, i: number): string => {
    const own = f.lines.find((l) => l.file === file && l.line === i + 1);
    const head = `<span class="n">${i + 1}</span><span class="t">${own && own.launches.length > 0 ? percent(own.time / f.time).replace(' ', '') : ''}</span>`;
    if (!own) return `<div class="src">${head}${highlight(text)}</div>`;
    const besides = own.besides.length > 0 ? ` data-besides="${own.besides.join(' ')}"` : '';
    return `<div class="src has" style="--heat:${(own.time / hottest).toFixed(3)}" data-ls="${own.launches.join(' ')}"${besides}>${head}${highlight(text)}</div>`;
  };
  const tabs = files.map(
    (file, i) => `<button role="tab" data-f="f${i}" aria-selected="${file === first}">${plain(relative(process.cwd(), file))}</button>`,
  );
  const bodies = files.map(
    (file, i) =>
      `<div class="file${file === first ? ' on' : ''}" id="f${i}">${(f.texts.get(file) ?? []).map((t, k) => line(file, t, k)).join('')}</div>`,
  );
  return `<section class="panel left"><div class="tabs" role="tablist">${tabs.join('')}</div>${bodies.join('')}</section>`;
};

const row = (l: TimedLaunch, longest: number): string =>
  `<div class="row" data-l="${l.number}"><span class="no">${l.number}</span><span class="chip" style="background:var(--${l.template})">${l.template}</span><span title="${attr(l.label)}">${plain(l.label.replace(/^[\w-]+: /, ''))}</span><span class="scope" title="${attr(l.scope)}">${plain(l.scope || '·')}</span><span class="bar"><i style="width:${((100 * l.time) / longest).toFixed(1)}%;background:var(--${l.template})"></i></span><span class="time">${ms(l.time)}</span></div>`;

const whyOf = (f: Facts, l: TimedLaunch): string => {
  const place = l.places.slice(0, 4).map(showPlace).join(', ');
  const parts: readonly (readonly [string, string])[] = [
    ['from', place],
    ['ends because', l.reason],
    [
      'limit',
      `${l.bound}: ${ms(l.seconds)} by the roofline${l.ofRoof === undefined ? '' : `, ${ms(l.time)} measured (${percent(l.ofRoof)} of the roof)`}`,
    ],
    ['work', `${l.flops.toExponential(2)} FLOP, ${bytes(l.bytes)}; ${bytes(f.explanation.held[l.number] ?? 0)} held meanwhile`],
    ['schedule', l.schedule ? `${l.schedule} filed under ${l.key}` : ''],
    ['joined', l.groups.length > 1 ? `${l.groups.length} equal steps in one launch` : ''],
  ];
  return parts
    .filter(([, v]) => v !== '')
    .map(([k, v]) => `<b>${k}</b> ${plain(v)}`)
    .join('<br>');
};

/** What a click shows, by launch and by kernel: the graph of a kernel is that of its first launch. */
const dataOf = (f: Facts): string => {
  const { plan, groups } = f.explanation;
  const kernels = plan.kernels.map((k, i) => {
    const first = f.launches.find((l) => l.kernel === i);
    const group = groups[first?.groups[0] ?? -1] as Group | undefined;
    return {
      name: k.name,
      text: printKernel(k),
      source: f.backend.source?.(k) ?? '',
      group: group ? printGroup(group, { meta: false }) : '',
    };
  });
  const launches = f.launches.map((l) => ({
    kernel: l.kernel,
    label: l.label,
    scope: l.scope,
    reason: l.reason,
    bound: l.bound,
    time: ms(l.time),
    why: whyOf(f, l),
  }));
  // `</script>` in a user's text must not end the element
  return JSON.stringify({ kernels, launches }).replace(/</g, '\\u003c');
};

const legend = (f: Facts): string => {
  const share = (which: (l: TimedLaunch) => boolean): number => f.launches.filter(which).reduce((t, l) => t + l.time, 0) / f.time;
  const item = (name: string, colour: string, part: number): string =>
    `<span><i style="background:var(--${colour})"></i><b>${name}</b> ${percent(part)}</span>`;
  const used = [...templates, 'copy' as const].filter((t) => f.launches.some((l) => l.template === t));
  const phases = (['fwd', 'bwd', 'opt'] as const).filter((p) => f.launches.some((l) => l.phase === p));
  const names = { fwd: 'forward', bwd: 'backward', opt: 'optimizer' };
  return `<div class="legend">${used
    .map((t) =>
      item(
        t,
        t,
        share((l) => l.template === t),
      ),
    )
    .join('')}</div><div class="legend">${phases
    .map((p) =>
      item(
        names[p],
        p,
        share((l) => l.phase === p),
      ),
    )
    .join('')}</div>`;
};

/** By which a page of ours is known. */
export const pageBegins = '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><meta name="generator" content="fovea explain">';

export const page = (f: Facts): string => {
  const { program, launches, explanation, measured } = f;
  const longest = Math.max(...launches.map((l) => l.time), 1e-30);
  const arcs = launches.flatMap((l) => l.reads.map((r) => `<path class="arc" data-a="${r} ${l.number}"/>`)).join('');
  const peak = peakOf(f);
  const head = headOf(f)
    .map(([k, v]) => `<dt>${k}</dt><dd>${plain(v)}</dd>`)
    .join('');
  const passes = [{ name: 'traced', nodes: explanation.traced.nodes.length }, ...explanation.passes];
  const misses = explanation.misses
    .map((m) => `<li><code>${plain(m.loc ? showPlace(m.loc) : m.scope)}</code>: ${plain(m.why)}</li>`)
    .join('');
  const roofline = roof(f);
  return `${pageBegins}<meta name="viewport" content="width=device-width"><title>${plain(program.name)}: explained</title><style>${style}</style></head><body>
<header><h1>${plain(program.name)}<small>${plain(program.shown)}</small></h1><dl>${head}</dl>${legend(f)}</header>
<div class="strip">${strip(f)}</div>
<main>${sources(f)}<div>
<section class="panel memory"><h2>Memory<small>${bytes(peak.bytes)} held at launch ${peak.at}, the fullest of ${bytes(explanation.plan.arenaBytes)}; colours by the phase that writes, grey for arguments</small></h2>${memory(f)}<div class="status"></div></section>
${f.onRanks ? `<section class="panel ranks"><h2>Ranks<small>${bytes(f.onRanks.cost.sentBy.reduce((a, b) => a + b, 0))} sent by each, on paper</small></h2>${picture(f)}</section>` : ''}
${roofline ? `<section class="panel roof"><h2>Roofline<small>each launch under the measured peaks of this machine; area by time</small></h2>${roofline}</section>` : ''}
${misses ? `<section class="panel"><h2>Nearly attention</h2><ul>${misses}</ul></section>` : ''}
<section class="panel"><h2>Passes<small>nodes after each</small></h2><div class="passes">${passes.map((p) => `<span>${plain(p.name)} <b>${p.nodes}</b></span>`).join('')}</div></section>
<section class="panel"><h2>Launches<small>in order; ${measured ? 'measured times' : 'times by the roofline'}; arcs lead from what writes a value to what reads it; click for nodes, kernel and text</small></h2><div class="rows"><svg id="arcs">${arcs}</svg><div>${launches.map((l) => row(l, longest)).join('')}</div></div></section>
</div></main>
<script type="application/json" id="data">${dataOf(f)}</script><script>${script}</script></body></html>
`;
};
