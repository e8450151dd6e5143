/**
 * The kernels of a training step under the roof of this machine, as a picture: `npx tsx bench/roofline.ts` writes docs/roofline.svg. Across:
 * arithmetic per byte; up: arithmetic a second; both on logarithmic scales. The roof is measured in the same run: the slope is the
 * bandwidth of a large copy, the flat part multiply-adds. The area of a dot is the time of its kernel. Kernels with less than a
 * thousandth of the step's time are left out. A dot above the slope reads from a cache what the slope reads from memory.
 */
import { writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { cpu } from '../backends/cpu/index.ts';
import { casesOf } from '../cli/bench/options.ts';
import { peaks } from '../cli/bench/peaks.ts';
import { type KernelLine, type Profile, profile } from '../cli/bench/profile.ts';
import type { Case } from '../cli/bench/types.ts';

const { values } = parseArgs({
  options: {
    model: { type: 'string', default: 'vits14' },
    dtype: { type: 'string', default: 'f32' },
    threads: { type: 'string', default: '1' },
    runs: { type: 'string', default: '3' },
    out: { type: 'string', default: join(import.meta.dirname, '../docs/roofline.svg') },
  },
});
const threads = Number(values.threads);
const dtype = values.dtype === 'bf16' ? 'bf16' : 'f32';
const [step] = casesOf({ bench: 'step', dtype, model: values.model }) as [Case];
const backend = cpu({ threads });
const found = (await profile(step, { backend, dtype, peaks: peaks(backend), runs: Number(values.runs) })) as Profile;

const [width, height, edge] = [900, 520, 60];
/** Powers of ten that the axes end at: operations a byte, 1e9 operations a second. */
const [x0, x1, y0, y1] = [-2, 4, -1, Math.ceil(Math.log10(found.peak_gflops))];
const x = (perByte: number): number => edge + ((Math.log10(perByte) - x0) / (x1 - x0)) * (width - 2 * edge);
const y = (gflops: number): number => height - edge - ((Math.log10(gflops) - y0) / (y1 - y0)) * (height - 2 * edge);

const colours: Readonly<Record<string, string>> = {
  gemm: '#1f6fb4',
  stream: '#c0392b',
  'stream-grad': '#e08a1e',
  'stream-reduce': '#b279a2',
  reduce: '#2e8b57',
  map: '#7d4fa5',
};
const colour = (k: KernelLine): string => colours[k.template] ?? '#777777';
const text = (at: number, up: number, s: string, more = ''): string =>
  `<text x="${at.toFixed(1)}" y="${up.toFixed(1)}" ${more}>${s}</text>`;
const line = (a: number, b: number, c: number, d: number, stroke: string): string =>
  `<line x1="${a.toFixed(1)}" y1="${b.toFixed(1)}" x2="${c.toFixed(1)}" y2="${d.toFixed(1)}" stroke="${stroke}"/>`;
const powers = (from: number, to: number): readonly number[] => Array.from({ length: to - from + 1 }, (_, i) => 10 ** (from + i));
const escaped = (s: string): string => s.replaceAll('&', '&amp;').replaceAll('<', '&lt;');

/** Where the slope meets the flat part. */
const ridge = found.peak_gflops / found.peak_gbytes;
const start = Math.max(10 ** x0, 10 ** y0 / found.peak_gbytes);
const shown = found.kernels.filter((k) => k.gflop > 0 && k.gbyte > 0 && k.share >= 1e-3);
const dots = shown.map((k) => {
  const radius = Math.max(2, 60 * Math.sqrt(k.share));
  const title = escaped(
    `${k.label} (${k.scope}), ${k.phase}: ${k.launches} launches, ${k.ms.toFixed(1)} ms, ${k.gflops.toFixed(1)} GFLOP/s`,
  );
  const [cx, cy] = [x(Math.max(10 ** x0, k.gflop / k.gbyte)), y(Math.max(10 ** y0, k.gflops))];
  return `<circle cx="${cx.toFixed(1)}" cy="${cy.toFixed(1)}" r="${radius.toFixed(1)}" fill="${colour(k)}" fill-opacity="0.45"><title>${title}</title></circle>`;
});
const svg = [
  `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="sans-serif" font-size="12">`,
  `<title>${escaped(`Kernels of the training step ${step.name} under the measured roof`)}</title>`,
  `<rect width="${width}" height="${height}" fill="white"/>`,
  text(
    edge,
    24,
    escaped(
      `${step.name} ${step.shape}, ${dtype}, ${threads} thread${threads > 1 ? 's' : ''}, ${cpus()[0]?.model}: ${found.gflop.toFixed(0)} GFLOP, ${(found.ms / 1e3).toFixed(2)} s of kernels`,
    ),
    'font-size="14"',
  ),
  ...powers(x0, x1).flatMap((p) => [
    line(x(p), edge, x(p), height - edge, '#e4e4e4'),
    text(x(p), height - edge + 18, String(p), 'text-anchor="middle"'),
  ]),
  ...powers(y0, y1).flatMap((p) => [
    line(edge, y(p), width - edge, y(p), '#e4e4e4'),
    text(edge - 6, y(p) + 4, String(p), 'text-anchor="end"'),
  ]),
  text(width / 2, height - 18, 'operations a byte', 'text-anchor="middle"'),
  text(18, height / 2, 'GFLOP/s', `text-anchor="middle" transform="rotate(-90 18 ${height / 2})"`),
  line(x(start), y(start * found.peak_gbytes), x(ridge), y(found.peak_gflops), '#222222'),
  line(x(ridge), y(found.peak_gflops), width - edge, y(found.peak_gflops), '#222222'),
  text(width - edge, y(found.peak_gflops) - 6, `${found.peak_gflops.toFixed(0)} GFLOP/s`, 'text-anchor="end"'),
  text(x(start) + 40, y(start * found.peak_gbytes) - 40, `${found.peak_gbytes.toFixed(1)} GB/s`),
  ...dots,
  ...Object.entries(colours).map(([name, c], i) => text(width - edge - 90, height - edge - 14 - 16 * i, name, `fill="${c}"`)),
  '</svg>',
];
writeFileSync(values.out, `${svg.join('\n')}\n`);
console.log(`${shown.length} of ${found.kernels.length} kernels -> ${values.out}`);
