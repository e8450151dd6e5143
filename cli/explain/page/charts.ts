/** The pictures of the page: time by launches, who lies where in memory while the program runs, and how near each launch is to its roof. */
import type { Facts, TimedLaunch } from '../facts.ts';
import { bytes } from '../units.ts';
import { attr, plain } from './markup.ts';

const colour = (l: TimedLaunch): string => `var(--${l.template})`;
const at = (x: number): string => x.toFixed(2);

export const strip = ({ launches, time }: Facts): string => {
  let x = 0;
  const rects = launches.map((l) => {
    const w = time > 0 ? (1000 * l.time) / time : 0;
    x += w;
    return `<rect data-l="${l.number}" x="${at(x - w)}" y="0" width="${at(Math.max(w - 0.15, 0.1))}" height="26" fill="${colour(l)}"/>`;
  });
  let p = 0;
  const phases = launches.map((l) => {
    const w = time > 0 ? (1000 * l.time) / time : 0;
    p += w;
    return `<rect x="${at(p - w)}" y="29" width="${at(w)}" height="5" fill="var(--${l.phase})"/>`;
  });
  return `<svg viewBox="0 0 1000 34" preserveAspectRatio="none" role="img" aria-label="time of the launches in order">${rects.join('')}${phases.join('')}</svg>`;
};

const [width, height, left, bottom] = [1000, 260, 58, 18] as const;

export const memory = ({ explanation: { plan, held }, launches }: Facts): string => {
  const n = Math.max(1, launches.length);
  const x = (i: number): number => left + ((width - left) * i) / n;
  const y = (b: number): number => (height - bottom) * (1 - b / Math.max(1, plan.arenaBytes));
  const rects = plan.lifetimes
    .filter((l) => l.slot.bytes > 0)
    .map((l) => {
      const [first, last] = [Math.max(0, l.first), Math.min(l.last, n - 1)];
      const [x0, x1, y0, y1] = [x(first), x(last + 1), y(l.slot.offset + l.slot.bytes), y(l.slot.offset)];
      const phase = l.first < 0 ? 'arg' : (launches[l.first]?.phase ?? 'arg');
      const what = `${l.scope || 'unnamed'}: ${bytes(l.slot.bytes)}, ${l.slot.type.dtype}[${l.slot.type.shape.join(' ')}], ${l.first < 0 ? 'the whole run' : `launches ${l.first} to ${l.last}`}`;
      const name = (l.scope.split(/[/.]/).at(-1) ?? '').slice(0, 24);
      const label =
        y1 - y0 > 13 && x1 - x0 > 12 + 6 * name.length
          ? `<text class="name" x="${at(x0 + 4)}" y="${at((y0 + y1) / 2 + 3.5)}">${plain(name)}</text>`
          : '';
      const link = l.first >= 0 ? ` data-l="${l.first}"` : '';
      return `<rect class="v"${link} data-v="${attr(what)}" x="${at(x0)}" y="${at(y0)}" width="${at(Math.max(0.8, x1 - x0))}" height="${at(Math.max(0.6, y1 - y0))}" fill="var(--${phase})"/>${label}`;
    });
  const steps = held.map((b, i) => `${i === 0 ? 'M' : 'L'}${at(x(i))} ${at(y(b))}L${at(x(i + 1))} ${at(y(b))}`).join('');
  const ticks = [0, 0.25, 0.5, 0.75, 1].map(
    (f) =>
      `<line class="grid" x1="${left}" x2="${width}" y1="${at(y(f * plan.arenaBytes))}" y2="${at(y(f * plan.arenaBytes))}"/><text x="${left - 5}" y="${at(y(f * plan.arenaBytes) + (f === 1 ? 9 : 3.5))}" text-anchor="end">${bytes(Math.round(f * plan.arenaBytes))}</text>`,
  );
  const ends = [0, 0.5, 1].map(
    (f) =>
      `<text x="${at(x(f * n))}" y="${height - 4}" text-anchor="${f === 1 ? 'end' : f === 0 ? 'start' : 'middle'}">launch ${Math.round(f * (n - 1))}</text>`,
  );
  return `<svg viewBox="0 0 ${width} ${height}" role="img" aria-label="the arena over the launches">${ticks.join('')}${rects.join('')}<path d="${steps}"/>${ends.join('')}</svg>`;
};

/** Arithmetic a second over arithmetic a byte, both logarithmic; only where times were measured. */
export const roof = ({ launches, peak, measured }: Facts): string => {
  const points = launches.filter((l) => l.flops > 0 && l.bytes > 0 && l.time > 0);
  if (!measured || points.length === 0) return '';
  const [h, log] = [240, Math.log10];
  const ratios = points.map((l) => log(l.flops / l.bytes));
  const ridge = log(peak.flops / peak.bytes);
  const [x0, x1] = [Math.floor(Math.min(...ratios, ridge - 1)), Math.ceil(Math.max(...ratios, ridge + 1))];
  const top = log(peak.flops);
  const y1 = Math.ceil(top + 0.1);
  const y0 = Math.min(Math.floor(Math.min(...points.map((l) => log(l.flops / l.time)))), y1 - 2);
  const x = (v: number): number => left + ((width - left - 10) * (v - x0)) / (x1 - x0);
  const y = (v: number): number => (h - 20) * (1 - (v - y0) / (y1 - y0));
  const line = `<path d="M${at(x(x0))} ${at(y(log(peak.bytes) + x0))}L${at(x(ridge))} ${at(y(top))}L${at(x(x1))} ${at(y(top))}" fill="none" stroke="var(--soft)" stroke-width="1.5"/>`;
  const marks = Array.from(
    { length: x1 - x0 + 1 },
    (_, i) =>
      `<line class="grid" x1="${at(x(x0 + i))}" x2="${at(x(x0 + i))}" y1="0" y2="${h - 20}"/><text x="${at(x(x0 + i))}" y="${h - 6}" text-anchor="${i === 0 ? 'start' : i === x1 - x0 ? 'end' : 'middle'}">${10 ** (x0 + i)} FLOP/B</text>`,
  );
  const rows = Array.from(
    { length: y1 - y0 },
    (_, i) => `<text x="${left - 5}" y="${at(y(y0 + i) + 3)}" text-anchor="end">${Number((10 ** (y0 + i - 9)).toPrecision(1))} G/s</text>`,
  );
  const most = Math.max(...points.map((l) => l.time));
  const dots = points.map(
    (l) =>
      `<circle data-l="${l.number}" cx="${at(x(log(l.flops / l.bytes)))}" cy="${at(y(log(l.flops / l.time)))}" r="${at(2.5 + 7 * Math.sqrt(l.time / most))}" fill="${colour(l)}" fill-opacity=".7"/>`,
  );
  return `<svg viewBox="0 0 ${width} ${h}" role="img" aria-label="launches under the roofline">${marks.join('')}${rows.join('')}${line}${dots.join('')}</svg>`;
};
