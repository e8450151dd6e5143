/**
 * One image file as 8-bit RGB, the way the original reads it (the Python Imaging Library's conversion to RGB): colour profiles are
 * ignored, of 16 bits the upper 8 count, palettes are looked up, gray becomes three equal channels, CMYK becomes
 * (255 - c)(255 - k) / 255, of an animation the first frame is taken. Two things can be chosen: the original drops an alpha channel
 * (the colours under it show) and leaves a picture as the sensor saw it, whatever the orientation that a camera noted.
 *
 * Where that library's versions differ or guess, this reader goes by the file: a 16-bit gray PNG is read like a 16-bit colour one, and the
 * inks of a CMYK JPEG are inverted only if Adobe's marker is there.
 *
 * The reader trusts nothing: the kind of file is told from its first bytes, never from its name; what is no image, cut short or
 * claims more pixels than a file should is refused with its name, before its pixels are unpacked.
 *
 *   const { picture, notes } = await readImage('cat.webp');    // notes: ['cat.webp: 12 frames, the first is used']
 */
import { closeSync, constants, fstatSync, openSync, readFileSync } from 'node:fs';
import sharp, { type Metadata } from 'sharp';
import { FoveaError } from '../../compiler/error.ts';
import { maxPixels, type Picture } from './picture.ts';

export interface ReadOptions {
  /** Shrink or grow so that the shorter side has this many pixels. The picture keeps its size unless given. */
  readonly short?: number;
  /** Turn the picture as its EXIF orientation says. */
  readonly orient?: boolean;
  /** Lay transparent pictures over black. */
  readonly overBlack?: boolean;
}

export interface ReadImage {
  /** Three channels. */
  readonly picture: Picture;
  /** One sentence about each thing in the file that was left out. */
  readonly notes: readonly string[];
}

/** What names of image files end with. */
export const imageName = /\.(jpe?g|png|webp|gif)$/i;

const maxBytes = 2 ** 30;

const broken = (file: string, why: string, cause?: unknown): FoveaError =>
  new FoveaError('FV0403', `${file}: ${why}`, { hint: 'A whole JPEG, PNG, WebP or GIF image is needed.', cause });

/** First line of what a library says. */
export const message = (e: unknown): string => (e instanceof Error ? e.message : String(e)).split('\n')[0]!;

/** The bytes of a regular file: a pipe or a device would be read for ever. */
const bytesOf = (file: string): Buffer => {
  const unreadable = (why: string, cause?: unknown): FoveaError =>
    new FoveaError('FV0402', `cannot read the image ${file}: ${why}`, { hint: 'Give an existing file that you may read.', cause });
  let fd: number;
  try {
    // without waiting for a writer, should it be a pipe
    fd = openSync(file, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0));
  } catch (e) {
    throw unreadable(message(e), e);
  }
  try {
    const stat = fstatSync(fd);
    if (!stat.isFile()) throw unreadable('not a file');
    if (stat.size > maxBytes) throw broken(file, `${stat.size} bytes; at most ${maxBytes} are read`);
    return readFileSync(fd);
  } catch (e) {
    throw e instanceof FoveaError ? e : unreadable(message(e), e);
  } finally {
    closeSync(fd);
  }
};

const begins = (bytes: Buffer, text: string, at = 0): boolean => bytes.toString('latin1', at, at + text.length) === text;

/** Only these decoders ever see the bytes. */
const known = (b: Buffer): boolean =>
  begins(b, '\xff\xd8\xff') || begins(b, '\x89PNG\r\n\x1a\n') || begins(b, 'GIF8') || (begins(b, 'RIFF') && begins(b, 'WEBP', 8));

/** Interleaved c, m, y, k as the picture's red, green, blue, rounded to whole numbers. */
const fromCmyk = (data: Uint8Array, pixels: number): Uint8Array => {
  const rgb = new Uint8Array(3 * pixels);
  for (let i = 0; i < pixels; i++)
    for (let k = 0; k < 3; k++) rgb[3 * i + k] = Math.round(((255 - data[4 * i + k]!) * (255 - data[4 * i + 3]!)) / 255);
  return rgb;
};

/** Sizes that cannot be meant, as the file's header claims them. */
const check = (file: string, { width, height }: Metadata, short: number | undefined): void => {
  if (!(width > 0 && height > 0)) throw broken(file, `an image of ${width} x ${height} pixels`);
  if (width * height > maxPixels) throw broken(file, `its header claims ${width} x ${height} pixels; at most ${maxPixels} are unpacked`);
  const long = ((short ?? 0) * Math.max(width, height)) / Math.min(width, height);
  if (long * (short ?? 0) > maxPixels)
    throw broken(
      file,
      `${width} x ${height} pixels are too narrow: with a shorter side of ${short} the longer one has ${Math.floor(long)}`,
    );
};

/** FV0402: no readable file. FV0403: not an image, damaged, or too large. */
export const readImage = async (file: string, options: ReadOptions = {}): Promise<ReadImage> => {
  const bytes = bytesOf(file);
  if (bytes.length === 0) throw broken(file, 'the file is empty');
  if (!known(bytes)) throw broken(file, 'its first bytes are those of no JPEG, PNG, WebP or GIF image');
  const from = { failOn: 'error', ignoreIcc: true, limitInputPixels: maxPixels } as const;
  try {
    const meta = await sharp(bytes, { ...from, limitInputPixels: false }).metadata();
    check(file, meta, options.short);
    const cmyk = meta.space === 'cmyk';
    let image = sharp(bytes, from);
    if (options.orient) image = image.autoOrient();
    if (options.overBlack && meta.hasAlpha) image = image.flatten({ background: 'black' });
    if (options.short !== undefined) image = image.resize(options.short, options.short, { fit: 'outside', kernel: 'cubic' });
    image = cmyk ? image.pipelineColourspace('cmyk').toColourspace('cmyk') : image.toColourspace('srgb').removeAlpha();
    const { data, info } = await image.raw({ depth: 'uchar' }).toBuffer({ resolveWithObject: true });
    const { width, height, channels } = info;
    if (channels !== (cmyk ? 4 : 3)) throw broken(file, `${channels} channels where red, green and blue are expected`);
    const notes = (meta.pages ?? 1) > 1 ? [`${file}: ${meta.pages} frames, the first is used`] : [];
    return {
      picture: {
        width,
        height,
        channels: 3,
        data: cmyk ? fromCmyk(data, width * height) : new Uint8Array(data.buffer, data.byteOffset, data.length),
      },
      notes,
    };
  } catch (e) {
    throw e instanceof FoveaError ? e : broken(file, message(e), e);
  }
};
