// Makes data/fashion-mnist from the original files: the first 600 training and the first 200 test images of each of the ten
// classes, in their original order, as gzipped idx files (the format of the originals, so that any MNIST reader reads them).
//
//   node data/make.mjs FOLDER_WITH_THE_FOUR_ORIGINAL_FILES
//   train: 6000 images, 2.6 MB
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gunzipSync, gzipSync } from 'node:zlib';

const source = process.argv[2];
if (!source) throw new Error('usage: node data/make.mjs FOLDER (it holds train-images-idx3-ubyte.gz and the three others)');
const target = join(dirname(fileURLToPath(import.meta.url)), 'fashion-mnist');
mkdirSync(target, { recursive: true });

for (const [split, each] of [['train', 600], ['t10k', 200]]) {
  const images = gunzipSync(readFileSync(join(source, `${split}-images-idx3-ubyte.gz`)));
  const labels = gunzipSync(readFileSync(join(source, `${split}-labels-idx1-ubyte.gz`)));
  const size = 28 * 28;
  const seen = new Array(10).fill(0);
  const chosen = [];
  for (let i = 0; i < labels.length - 8; i++) if (seen[labels[8 + i]]++ < each) chosen.push(i);
  // an idx header is 0 0 8 rank and big-endian sizes; only the number of items changes
  const header = (file, length) => {
    const h = Buffer.from(file.subarray(0, length));
    h.writeUInt32BE(chosen.length, 4);
    return h;
  };
  const write = (name, parts) => {
    const packed = gzipSync(Buffer.concat(parts), { level: 9, memLevel: 9 });
    writeFileSync(join(target, name), packed);
    console.log(`${name}: ${chosen.length} items, ${packed.length} bytes`);
  };
  write(`${split}-images-idx3-ubyte.gz`, [header(images, 16), ...chosen.map((i) => images.subarray(16 + i * size, 16 + (i + 1) * size))]);
  write(`${split}-labels-idx1-ubyte.gz`, [header(labels, 8), ...chosen.map((i) => labels.subarray(8 + i, 9 + i))]);
}
