/** Pictures of a run: line charts and grids of images as PNG. */
export { type Chart, lineChart, type Series, trailingMean } from './chart.ts';
export { type GridOptions, pictureGrid } from './grid.ts';
