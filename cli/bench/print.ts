/** Lines and profiles as text for people. With `--json` the same values are printed as one object a line. */
import { grouped, type KernelLine, type Profile } from './profile.ts';
import type { Line } from './types.ts';

export type Cells = readonly string[];

/** Three digits that count: 0.123, 1.23, 12.3, 123, 1234. */
export const number = (x: number | undefined | null): string =>
  x === undefined || x === null ? '-' : x !== 0 && Math.abs(x) < 1e-3 ? x.toExponential(1) : x >= 100 ? x.toFixed(0) : x.toPrecision(3);
export const percent = (x: number | undefined): string => (x === undefined ? '-' : `${(100 * x).toFixed(0)} %`);

/** Columns padded to their widest cell, the first `left` of them to the left. */
export const table = (rows: readonly Cells[], left: number): string => {
  const widths = (rows[0] as Cells).map((_, i) => Math.max(...rows.map((r) => (r[i] as string).length)));
  const cell = (text: string, i: number): string => (i < left ? text.padEnd(widths[i] as number) : text.padStart(widths[i] as number));
  return rows.map((r) => r.map(cell).join('  ').trimEnd()).join('\n');
};

const columns = 'case,shape,median ms,min ms,cpu ms,GFLOP/s,peak,GB/s,copy,of peak,by cpu,error,memory MiB,compile ms'.split(',');

const cells = (l: Line): Cells => [
  l.case,
  l.shape,
  ...[l.median_ms, l.min_ms, l.cpu_ms, l.gflops, l.peak_gflops, l.gbytes, l.peak_gbytes].map(number),
  percent(l.of_peak),
  percent(l.of_peak_cpu),
  l.error === null ? '-' : l.error.toExponential(1),
  number(l.peak_memory_mib),
  number(l.compile_ms),
];

export const lineTable = (lines: readonly Line[]): string => table([columns, ...lines.map(cells)], 2);

/** What `error` was measured against, once for every answer. */
export const notes = (lines: readonly Line[]): string =>
  [...new Set(lines.map((l) => l.error_against))].map((a) => `error against: ${a}`).join('\n');

const templates = (kernels: readonly KernelLine[]): readonly Cells[] =>
  [...grouped(kernels, (k) => `${k.template} ${k.phase}`)]
    .map(([name, ks]) => ({ name, ks, ms: ks.reduce((s, k) => s + k.ms, 0) }))
    .sort((a, b) => b.ms - a.ms)
    .map(({ name, ks, ms }) => [name, number(ms), percent(ks.reduce((s, k) => s + k.share, 0)), String(ks.length)]);

export const profileTable = ({ kernels, ms, gflop, gbyte, peak_gflops, peak_gbytes }: Profile, most = 40): string => {
  const launches = kernels.reduce((s, k) => s + k.launches, 0);
  const row = (k: KernelLine): Cells => [
    ...[k.ms, 100 * k.share].map(number),
    String(k.launches),
    ...[k.gflops, k.gbytes].map(number),
    percent(k.of_peak),
    k.phase,
    `${k.label} (${k.scope})`,
  ];
  const head = `${launches} launches of ${kernels.length} kernels, ${number(ms)} ms, ${number(gflop)} GFLOP, ${number(gbyte)} GB; measured peaks ${number(peak_gflops)} GFLOP/s, ${number(peak_gbytes)} GB/s`;
  const left = (rows: readonly Cells[]): string => table(rows, 0).replace(/^ {2}/gm, '');
  return [
    head,
    left([['template', 'ms', 'share', 'kernels'], ...templates(kernels)]),
    kernelTable(kernels.slice(0, most).map(row)),
    ...(kernels.length > most ? [`and ${kernels.length - most} more`] : []),
  ].join('\n\n');
};

/** Numbers to the right, the two texts at the end as they are. */
const kernelTable = (rows: readonly Cells[]): string => {
  const numbers = table([['ms', '%', 'x', 'GFLOP/s', 'GB/s', 'of peak'], ...rows.map((r) => r.slice(0, 6))], 0).split('\n');
  const texts = [['phase', 'kernel'], ...rows.map((r) => r.slice(6))];
  return numbers.map((n, i) => `${n}  ${(texts[i] as Cells).map((t, c) => (c === 0 ? t.padEnd(5) : t)).join('  ')}`).join('\n');
};
