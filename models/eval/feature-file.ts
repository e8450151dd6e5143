/**
 * Features of images as a file: safetensors for programs, JSON for reading and for other languages. Both hold the same numbers: JSON
 * has each float32 in the fewest digits that give it back, so a reader that rounds to float32 gets the very bits.
 *
 *   safetensors   cls [images D], registers [images R D], patches [images N D]; where grids differ, patches.<i> [N D] for image i;
 *                 metadata model, preprocessing, names, grids (the last three as JSON)
 *   JSON          { model, preprocessing, images: [{ name, grid, cls: [D], registers: [R][D], patches: [N][D] }] }
 */
import { type TensorData, writeAtomic, writeSafetensors } from '../weights/index.ts';

export interface NamedFeatures {
  /** The file as it was given. */
  readonly name: string;
  /** Rows and columns of patches. */
  readonly grid: readonly [number, number];
  /** [width] */
  readonly cls: Float32Array;
  /** [registers, width] */
  readonly registers: Float32Array;
  /** [rows * columns, width], row-major; undefined: they are not kept. */
  readonly patches?: Float32Array | undefined;
}

export interface FeatureSet {
  readonly model: string;
  /** How a picture became the network's input. */
  readonly preprocessing: Readonly<Record<string, unknown>>;
  /** At least one. */
  readonly images: readonly NamedFeatures[];
}

/** The shortest decimal number that rounds to the float32 `x`. */
export const shortest32 = (x: number): number => {
  // nine digits always do; of fewer than six, toPrecision(6) gives the same number
  for (let digits = 6; digits < 9; digits++) {
    const short = Number(x.toPrecision(digits));
    if (Math.fround(short) === x) return short;
  }
  return Number(x.toPrecision(9));
};

const stack = (rows: readonly Float32Array[], shape: readonly number[]): TensorData => {
  const data = new Float32Array(rows.reduce((n, r) => n + r.length, 0));
  let at = 0;
  for (const r of rows) {
    data.set(r, at);
    at += r.length;
  }
  return { shape, dtype: 'f32', data };
};

/** FV0407: cannot be written. */
const writeTensors = (file: string, { model, preprocessing, images }: FeatureSet): void => {
  const width = images[0]!.cls.length;
  const count = images.length;
  const registers = images[0]!.registers.length / width;
  const tensors = new Map([
    [
      'cls',
      stack(
        images.map((i) => i.cls),
        [count, width],
      ),
    ],
  ]);
  if (registers > 0)
    tensors.set(
      'registers',
      stack(
        images.map((i) => i.registers),
        [count, registers, width],
      ),
    );
  const kept = images.flatMap((i) => (i.patches ? [i.patches] : []));
  const grids = images.map((i) => i.grid);
  if (kept.length > 0 && new Set(grids.map(String)).size === 1)
    tensors.set('patches', stack(kept, [count, kept[0]!.length / width, width]));
  else kept.forEach((p, i) => tensors.set(`patches.${i}`, { shape: [p.length / width, width], dtype: 'f32', data: p }));
  writeSafetensors(file, tensors, {
    model,
    preprocessing: JSON.stringify(preprocessing),
    names: JSON.stringify(images.map((i) => i.name)),
    grids: JSON.stringify(grids),
  });
};

/** Rows of `width` numbers. */
const rowsOf = (x: Float32Array, width: number): number[][] =>
  Array.from({ length: x.length / width }, (_, i) => Array.from(x.subarray(i * width, (i + 1) * width), shortest32));

/** FV0407: cannot be written. */
const writeJson = (file: string, { model, preprocessing, images }: FeatureSet): void => {
  const one = ({ name, grid, cls, registers, patches }: NamedFeatures): string =>
    JSON.stringify({
      name,
      grid,
      cls: rowsOf(cls, cls.length)[0],
      ...(registers.length > 0 ? { registers: rowsOf(registers, cls.length) } : {}),
      ...(patches ? { patches: rowsOf(patches, cls.length) } : {}),
    });
  const head = JSON.stringify({ model, preprocessing }).slice(0, -1);
  // an image at a time: a string has a largest length
  const parts = images.map((i, n) => Buffer.from(`${n === 0 ? '' : ',\n'}${one(i)}`));
  writeAtomic(file, [Buffer.from(`${head},"images":[\n`), ...parts, Buffer.from('\n]}\n')]);
};

/** Ends of the names of files that can be written. */
export const featureFormats = { '.safetensors': writeTensors, '.json': writeJson } as const;
