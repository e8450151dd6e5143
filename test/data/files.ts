/** Image files made byte by byte, so that what a decoder must find in them is known without another decoder. */
import { crc32, deflateSync } from 'node:zlib';

const chunk = (type: string, data: Uint8Array): Buffer => {
  const body = Buffer.concat([Buffer.from(type, 'latin1'), data]);
  const out = Buffer.alloc(body.length + 8);
  out.writeUInt32BE(data.length, 0);
  body.copy(out, 4);
  out.writeUInt32BE(crc32(body), body.length + 4);
  return out;
};

export const pngType = { gray: 0, rgb: 2, palette: 3, grayAlpha: 4, rgba: 6 } as const;

export interface Png {
  readonly width: number;
  readonly height: number;
  readonly type: keyof typeof pngType;
  readonly depth?: 1 | 2 | 4 | 8 | 16;
  /** Bytes of each row, without the filter byte. */
  readonly rows: readonly (readonly number[])[];
  readonly palette?: readonly number[];
  /** Chunks before the pixels, by type. */
  readonly extra?: Readonly<Record<string, Uint8Array>>;
}

export const png = ({ width, height, type, depth = 8, rows, palette, extra = {} }: Png): Buffer => {
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header.set([depth, pngType[type], 0, 0, 0], 8);
  return Buffer.concat([
    Buffer.from('\x89PNG\r\n\x1a\n', 'latin1'),
    chunk('IHDR', header),
    ...(extra.iCCP ? [chunk('iCCP', extra.iCCP)] : []),
    ...(palette ? [chunk('PLTE', Uint8Array.from(palette))] : []),
    ...Object.entries(extra).flatMap(([name, data]) => (name === 'iCCP' ? [] : [chunk(name, data)])),
    chunk('IDAT', deflateSync(Buffer.from(rows.flatMap((r) => [0, ...r])))),
    chunk('IEND', new Uint8Array()),
  ]);
};

/** Data of the first chunk of a type. */
export const pngChunk = (file: Buffer, type: string): Buffer => {
  for (let at = 8; at < file.length; at += file.readUInt32BE(at) + 12)
    if (file.toString('latin1', at + 4, at + 8) === type) return file.subarray(at + 8, at + 8 + file.readUInt32BE(at));
  throw new Error(`no chunk ${type}`);
};

const segment = (marker: number, data: readonly number[]): Buffer =>
  Buffer.from([0xff, marker, (data.length + 2) >> 8, (data.length + 2) & 255, ...data]);

/** A baseline JPEG of 8 x 8 pixels of one colour: component i has the value samples[i] everywhere; exact, as only the DC term is not 0. */
export const flatJpeg = (samples: readonly number[], { adobe }: { readonly adobe?: 0 | 1 | 2 } = {}): Buffer => {
  let bits = '';
  for (const v of samples) {
    const dc = 8 * (v - 128);
    const size = dc === 0 ? 0 : Math.floor(Math.log2(Math.abs(dc))) + 1;
    // twelve codes of four bits; a negative number is its complement; then one bit: no other terms
    bits += size.toString(2).padStart(4, '0');
    if (size > 0) bits += (dc < 0 ? dc + 2 ** size - 1 : dc).toString(2).padStart(size, '0');
    bits += '0';
  }
  bits += '1'.repeat((8 - (bits.length % 8)) % 8);
  const scan = (bits.match(/.{8}/g) ?? []).flatMap((b) => (b === '11111111' ? [255, 0] : [Number.parseInt(b, 2)]));
  const parts = samples.map((_, i) => i + 1);
  return Buffer.concat([
    Buffer.from([0xff, 0xd8]),
    ...(adobe === undefined ? [] : [segment(0xee, [...Buffer.from('Adobe'), 0, 100, 0, 0, 0, 0, adobe])]),
    segment(0xdb, [0, ...new Array<number>(64).fill(1)]),
    segment(0xc0, [8, 0, 8, 0, 8, samples.length, ...parts.flatMap((id) => [id, 0x11, 0])]),
    segment(0xc4, [0x00, 0, 0, 0, 12, ...new Array<number>(12).fill(0), ...Array.from({ length: 12 }, (_, i) => i)]),
    segment(0xc4, [0x10, 1, ...new Array<number>(15).fill(0), 0]),
    segment(0xda, [samples.length, ...parts.flatMap((id) => [id, 0]), 0, 63, 0]),
    Buffer.from([...scan, 0xff, 0xd9]),
  ]);
};
