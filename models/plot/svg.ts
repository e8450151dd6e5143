/**
 * A line chart as SVG: loss terms over steps. Letters are strokes (glyphs.ts), so it looks alike wherever it is drawn.
 *
 *   chartSvg({ title: 'training', x: 'step', y: 'loss', series: [{ name: 'dino', points: [[0, 6.9], [1, 6.8]] }] })
 */
import { textPath, textWidth } from './glyphs.ts';

export interface Series {
  readonly name: string;
  /** (x, y) by rising x; a point that is not finite breaks the line. */
  readonly points: readonly (readonly [number, number])[];
}

export interface Chart {
  readonly title: string;
  /** Axis labels. */
  readonly x: string;
  readonly y: string;
  readonly series: readonly Series[];
  /** Pixels; 900 x 560 unless given. */
  readonly width?: number;
  readonly height?: number;
}

/** Colours that stay apart for colour-blind readers (Okabe and Ito 2008). */
const colours = ['#0072b2', '#d55e00', '#009e73', '#cc79a7', '#e69f00', '#56b4e9', '#000000'] as const;

/** Round numbers from low to high, about `count` of them: steps of 1, 2 or 5 times a power of ten. */
export const ticks = (low: number, high: number, count: number): readonly number[] => {
  if (!(high > low)) return [low];
  const raw = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = power * ([1, 2, 5].find((f) => f * power >= raw) ?? 10);
  const first = Math.ceil(low / step - 1e-9);
  const n = Math.floor(high / step + 1e-9) - first;
  return Array.from({ length: n + 1 }, (_, i) => Number(((first + i) * step).toPrecision(12)));
};

/** The chart as an SVG document. */
export const chartSvg = (chart: Chart): string => {
  const width = chart.width ?? 900;
  const height = chart.height ?? 560;
  const [left, right, top, bottom] = [84, 24, 56, 64];
  const all = chart.series.flatMap((s) => s.points).filter(([x, y]) => Number.isFinite(x) && Number.isFinite(y));
  const range = (values: readonly number[]): readonly [number, number] => {
    if (values.length === 0) return [0, 1];
    const low = values.reduce((a, b) => Math.min(a, b));
    const high = values.reduce((a, b) => Math.max(a, b));
    return high > low ? [low, high] : [low - 0.5, high + 0.5];
  };
  const [x0, x1] = range(all.map((p) => p[0]));
  const [y0, y1] = range(all.map((p) => p[1]));
  const px = (x: number): number => left + ((x - x0) / (x1 - x0)) * (width - left - right);
  const py = (y: number): number => height - bottom - ((y - y0) / (y1 - y0)) * (height - top - bottom);
  const line = (xa: number, ya: number, xb: number, yb: number, colour: string): string =>
    `<line x1="${xa.toFixed(1)}" y1="${ya.toFixed(1)}" x2="${xb.toFixed(1)}" y2="${yb.toFixed(1)}" stroke="${colour}"/>`;
  const parts = [
    `<rect width="${width}" height="${height}" fill="#ffffff"/>`,
    textPath(chart.title, width / 2, 26, 13, 'middle', '#222222'),
  ];
  for (const t of ticks(y0, y1, 6)) {
    parts.push(line(left, py(t), width - right, py(t), '#e4e4e4'), textPath(String(t), left - 10, py(t) + 4, 9, 'end', '#444444'));
  }
  for (const t of ticks(x0, x1, 8)) {
    parts.push(line(px(t), height - bottom, px(t), height - bottom + 5, '#444444'));
    parts.push(textPath(String(t), px(t), height - bottom + 20, 9, 'middle', '#444444'));
  }
  parts.push(line(left, height - bottom, width - right, height - bottom, '#444444'), line(left, top, left, height - bottom, '#444444'));
  parts.push(textPath(chart.x, (left + width - right) / 2, height - 16, 10, 'middle', '#222222'));
  parts.push(textPath(chart.y, 12, top - 12, 10, 'start', '#222222'));
  let legend = width - right;
  [...chart.series.entries()].reverse().forEach(([i, s]) => {
    const colour = colours[i % colours.length]!;
    legend -= textWidth(s.name, 9);
    parts.push(textPath(s.name, legend, top - 12, 9, 'start', '#222222'));
    parts.push(`<rect x="${(legend - 18).toFixed(1)}" y="${top - 18}" width="12" height="4" fill="${colour}"/>`);
    legend -= 36;
  });
  chart.series.forEach((s, i) => {
    let pen = 'M';
    const d = s.points.map(([x, y]) => {
      if (!Number.isFinite(x) || !Number.isFinite(y)) {
        pen = 'M';
        return '';
      }
      const to = `${pen}${px(x).toFixed(1)} ${py(y).toFixed(1)}`;
      pen = 'L';
      return to;
    });
    parts.push(`<path d="${d.join('')}" fill="none" stroke="${colours[i % colours.length]}" stroke-width="1.6" stroke-linejoin="round"/>`);
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}">${parts.join('')}</svg>`;
};

/** Mean of each point and the `window - 1` before it: a calmer line for noisy losses. */
export const trailingMean = (points: Series['points'], window: number): Series['points'] =>
  points.map(([x], i) => {
    const part = points.slice(Math.max(0, i - window + 1), i + 1);
    return [x, part.reduce((s, p) => s + p[1], 0) / part.length] as const;
  });
