/** Pictures of a run: line charts and grids of images as PNG. */
export { lineChart } from './chart.ts';
export { type GridOptions, pictureGrid } from './grid.ts';
export { type Chart, chartSvg, type Series, ticks, trailingMean } from './svg.ts';
