/** A line chart as PNG: its SVG, drawn by sharp. */
import sharp from 'sharp';
import { type Chart, chartSvg } from './svg.ts';

export const lineChart = async (chart: Chart): Promise<Uint8Array> =>
  new Uint8Array(
    await sharp(Buffer.from(chartSvg(chart)))
      .png()
      .toBuffer(),
  );
