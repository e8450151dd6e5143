/**
 * The schedule of a rank as a picture: a row for arithmetic, one for what travels, and where arithmetic stands still because something has not
 * arrived. As text, a character a slice of time, and as SVG.
 *
 *   compute   ffff  ffffffffbbbbbbbbbbbbbbbbbbbbbbboo      f forward, b backward, o optimizer
 *   transfer  GGGGGGgg  ggggGGgGGGRRRGGGRRRGGGRRRaa        G gather, R reduce-scatter, a all-reduce
 *   stalled       ..                              ..
 */
import type { Span, StepCost } from './cost.ts';

/** By which a picture of ours is known. */
export const svgBegins = '<svg xmlns="http://www.w3.org/2000/svg" font-family="sans-serif" font-size="13"';

const letters: { readonly [K: string]: string } = {
  fwd: 'f',
  bwd: 'b',
  opt: 'o',
  'all-gather': 'G',
  'reduce-scatter': 'R',
  'all-reduce': 'a',
};
const letterOf = (s: Span): string => (s.row === 'stalled' ? '.' : (letters[s.name.split(' ')[0] ?? ''] ?? '?'));
const rows = ['compute', 'transfer', 'stalled'] as const;
const ms = (s: number): string => (s < 0.01 ? `${(s * 1e3).toFixed(2)} ms` : `${(s * 1e3).toFixed(0)} ms`);

/** A slice shows what takes most of it; an empty one is empty for four fifths of its time. */
const line = (spans: readonly Span[], total: number, width: number): string => {
  const slice = total / width;
  const share: Map<string, number>[] = Array.from({ length: width }, () => new Map());
  for (const s of spans)
    for (let i = Math.floor(s.from / slice); i < width && i * slice < s.to; i++) {
      const part = Math.min(s.to, (i + 1) * slice) - Math.max(s.from, i * slice);
      const cell = share[i] as Map<string, number>;
      cell.set(letterOf(s), (cell.get(letterOf(s)) ?? 0) + part);
    }
  return share
    .map((cell) => {
      const [best] = [...cell].sort((a, b) => b[1] - a[1]);
      const all = [...cell.values()].reduce((a, b) => a + b, 0);
      return best && all > slice / 5 ? best[0] : ' ';
    })
    .join('');
};

export const timelineText = ({ spans, seconds }: StepCost, width = 100): string => {
  const name = (r: string): string => r.padEnd(10);
  const lines = rows.map(
    (r) =>
      `${name(r)}${line(
        spans.filter((s) => s.row === r),
        seconds.step,
        width,
      ).trimEnd()}`,
  );
  const hidden = seconds.transfer === 0 ? 1 : 1 - seconds.stalled / seconds.transfer;
  return [
    ...lines,
    `${name('')}${ms(seconds.step)}: ${ms(seconds.compute)} of arithmetic, ${ms(seconds.transfer)} of transfers, ${(100 * hidden).toFixed(0)} % of them hidden`,
    `${name('')}f forward, b backward, o optimizer; G all-gather, R reduce-scatter, a all-reduce; . stalled`,
    '',
  ].join('\n');
};

const colours: { readonly [L: string]: string } = {
  f: '#4c78a8',
  b: '#72b7b2',
  o: '#9d755d',
  G: '#f58518',
  R: '#e45756',
  a: '#b279a2',
  '.': '#bbbbbb',
};
const escaped = (s: string): string => s.replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);

export const timelineSvg = ({ spans, seconds }: StepCost, title: string): string => {
  const [left, width, height] = [80, 1000, 34];
  const x = (t: number): number => left + (t / seconds.step) * width;
  const boxes = spans.map((s) => {
    const y = 34 + rows.indexOf(s.row) * (height + 8);
    const w = Math.max(0.05, x(s.to) - x(s.from));
    const text = escaped(`${s.name}, ${ms(s.to - s.from)}`);
    return `<rect x="${x(s.from).toFixed(2)}" y="${y}" width="${w.toFixed(2)}" height="${height}" fill="${colours[letterOf(s)]}"><title>${text}</title></rect>`;
  });
  const names = rows.map((r, i) => `<text x="8" y="${56 + i * (height + 8)}">${r}</text>`);
  const legend = Object.entries({ f: 'forward', b: 'backward', o: 'optimizer', G: 'all-gather', R: 'reduce-scatter', a: 'all-reduce' }).map(
    ([l, text], i) =>
      `<rect x="${left + i * 140}" y="166" width="12" height="12" fill="${colours[l]}"/><text x="${left + 18 + i * 140}" y="177">${text}</text>`,
  );
  return [
    `${svgBegins} viewBox="0 0 ${left + width + 20} 190">`,
    `<title>${escaped(title)}</title><rect width="100%" height="100%" fill="white"/><text x="8" y="20">${escaped(title)}: ${ms(seconds.step)}, ${ms(seconds.stalled)} stalled</text>`,
    ...names,
    ...boxes,
    ...legend,
    '</svg>',
    '',
  ].join('\n');
};
