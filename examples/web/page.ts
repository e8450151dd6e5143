/** The page: its buttons, the loss curve, the pictures. What is computed is computed in worker.ts. */
import type { Picture } from '../../models/data/picture.ts';
import { chartSvg, trailingMean } from '../../models/plot/svg.ts';
import type { StepMetrics } from '../../models/train/run.ts';
import type { FromWorker, ToWorker } from './messages.ts';

const get = <T extends HTMLElement>(id: string): T => document.getElementById(id) as T;
const [status, button, stop] = [get('status'), get<HTMLButtonElement>('train'), get<HTMLButtonElement>('stop')];
/** What a field says, within its bounds. */
const number = (id: string): number => {
  const field = get<HTMLInputElement>(id);
  const value = Math.max(Number(field.min), Math.min(Number(field.max), Math.round(field.valueAsNumber || 0)));
  field.value = String(value);
  return value;
};

const worker = new Worker('worker.js', { type: 'module' });
const tell = (m: ToWorker): void => worker.postMessage(m);
let metrics: StepMetrics[] = [];

/** A picture on a canvas of so many pixels, without smoothing. */
const canvasOf = ({ width, height, channels, data }: Picture, cell: number): HTMLCanvasElement => {
  const canvas = document.createElement('canvas');
  [canvas.width, canvas.height] = [width, height];
  const pixels = new Uint8ClampedArray(4 * width * height).fill(255);
  for (let i = 0; i < width * height; i++)
    for (let c = 0; c < 3; c++) pixels[4 * i + c] = data[channels * i + (channels === 3 ? c : 0)] as number;
  canvas.getContext('2d')?.putImageData(new ImageData(pixels, width, height), 0, 0);
  canvas.style.width = `${cell}px`;
  canvas.style.height = `${cell}px`;
  return canvas;
};

const draw = (): void => {
  // as many points as there are pixels, more or less
  const some = Math.ceil(metrics.length / 600);
  const of = (value: (m: StepMetrics) => number) =>
    trailingMean(
      metrics.map((m) => [m.step, value(m)] as const),
      10,
    ).filter((_, i) => i % some === 0);
  get('curve').innerHTML = chartSvg({
    title: 'training loss, mean of ten steps',
    x: 'step',
    y: 'loss',
    width: 720,
    height: 340,
    series: [
      { name: 'all', points: of((m) => m.losses.loss) },
      { name: 'DINO', points: of((m) => m.losses.dino_local_crops_loss + m.losses.dino_global_crops_loss) },
      { name: 'iBOT', points: of((m) => m.losses.ibot_loss) },
    ],
  });
};
let drawn = true;
/** At most once a frame, and not at all while the page is hidden. */
const drawSoon = (): void => {
  if (!drawn) return;
  drawn = false;
  requestAnimationFrame(() => {
    drawn = true;
    draw();
  });
};

const busy = (yes: boolean): void => {
  button.disabled = yes;
  stop.disabled = !yes;
};

worker.addEventListener('message', ({ data }: MessageEvent<FromWorker>) => {
  switch (data.kind) {
    case 'ready':
      status.textContent = `ready: ${data.adapter}, ${data.images} images`;
      busy(false);
      break;
    case 'working':
      status.textContent = data.text;
      break;
    case 'planned': {
      const [plan, kernels] = [data.seconds, data.kernels].map((s) => `${s.toFixed(1)} s`);
      get('plan').textContent = `${data.kept ? 'kept from an earlier visit' : 'made'}, ${plan}; kernels ${kernels}`;
      break;
    }
    case 'step': {
      // after a lost device steps are made again, from the last copy on
      metrics = [...metrics.filter((m) => m.step < data.metrics.step), data.metrics];
      const { step, losses } = data.metrics;
      status.textContent = `step ${step}: loss ${losses.loss.toFixed(3)}, ${data.rate.toFixed(data.rate < 10 ? 1 : 0)} images a second`;
      drawSoon();
      break;
    }
    case 'patches':
      get('patches').replaceChildren(
        ...data.images.map((image, i) => {
          const column = document.createElement('div');
          column.append(canvasOf(image, 64), canvasOf(data.colours[i] as Picture, 64));
          return column;
        }),
      );
      break;
    case 'accuracy':
      get(data.when).textContent = `${data.percent.toFixed(1)} %`;
      break;
    case 'looked':
      get('own').replaceChildren(canvasOf(data.picture, 224), canvasOf(data.colours, 224));
      status.textContent = `features of your picture: ${data.seconds.toFixed(2)} s`;
      break;
    case 'done':
      status.textContent = `done: ${data.steps} steps in ${data.seconds.toFixed(1)} s`;
      draw();
      busy(false);
      break;
    case 'failed':
      status.textContent = `${data.code === '' ? '' : `${data.code}: `}${data.message} ${data.hint}`;
      status.className = 'failed';
      // a picture may fail while training goes on; without a device nothing can be tried
      if (data.what === 'train') busy(false);
      break;
  }
});
worker.addEventListener('error', (e) => {
  status.textContent = `the worker stopped: ${e.message ?? 'it could not be loaded'}`;
  status.className = 'failed';
});

button.addEventListener('click', () => {
  metrics = [];
  get('before').textContent = get('after').textContent = '-';
  status.className = '';
  busy(true);
  tell({ kind: 'train', steps: number('steps'), images: number('images'), asked: number('asked') });
});
stop.addEventListener('click', () => tell({ kind: 'stop' }));

const bring = async (file: Blob | undefined): Promise<void> => {
  if (!file) return;
  status.className = '';
  const bitmap = await createImageBitmap(file);
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
  const context = canvas.getContext('2d') as OffscreenCanvasRenderingContext2D;
  context.drawImage(bitmap, 0, 0);
  const { data, width, height } = context.getImageData(0, 0, bitmap.width, bitmap.height);
  const rgb = new Uint8Array(3 * width * height);
  for (let i = 0; i < width * height; i++) for (let c = 0; c < 3; c++) rgb[3 * i + c] = data[4 * i + c] as number;
  status.textContent = 'looking at your picture ...';
  tell({ kind: 'look', picture: { width, height, channels: 3, data: rgb } });
};
const brought = (file: Blob | undefined): void => {
  bring(file).catch(() => {
    status.textContent = 'this file is no picture that the browser can read';
    status.className = 'failed';
  });
};
// anywhere on the page: a picture beside the box would replace the page, and end the training
addEventListener('dragover', (e) => e.preventDefault());
addEventListener('drop', (e) => {
  e.preventDefault();
  brought(e.dataTransfer?.files[0]);
});
get<HTMLInputElement>('file').addEventListener('change', (e) => brought((e.target as HTMLInputElement).files?.[0]));
