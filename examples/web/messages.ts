/** What the page and the worker that computes tell each other. Everything is plain data, so that it can be posted. */
import type { Picture } from '../../models/data/picture.ts';
import type { StepMetrics } from '../../models/train/run.ts';

export type ToWorker =
  /** Compiles the step and trains, `images` a step; k-NN is asked about `asked` images before and after, if about any. */
  | { readonly kind: 'train'; readonly steps: number; readonly images: number; readonly asked: number }
  | { readonly kind: 'stop' }
  /** Features of a picture that the user brings, by the teacher as it is. */
  | { readonly kind: 'look'; readonly picture: Picture };

export type FromWorker =
  | { readonly kind: 'ready'; readonly adapter: string; readonly images: number }
  | { readonly kind: 'working'; readonly text: string }
  /** The plan of the training step: made now, or kept from an earlier visit; seconds for it, and for its kernels. */
  | { readonly kind: 'planned'; readonly kept: boolean; readonly seconds: number; readonly kernels: number }
  | { readonly kind: 'step'; readonly metrics: StepMetrics; readonly rate: number }
  /** Held-out images, and their patch features as colours. */
  | { readonly kind: 'patches'; readonly images: readonly Picture[]; readonly colours: readonly Picture[] }
  | { readonly kind: 'accuracy'; readonly when: 'before' | 'after'; readonly percent: number }
  | { readonly kind: 'looked'; readonly picture: Picture; readonly colours: Picture; readonly seconds: number }
  | { readonly kind: 'done'; readonly steps: number; readonly seconds: number }
  /** `what` did not go on: finding a device and the images, training, or looking at a picture. */
  | {
      readonly kind: 'failed';
      readonly what: 'start' | 'train' | 'look';
      readonly code: string;
      readonly message: string;
      readonly hint: string;
    };
