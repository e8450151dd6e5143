/** What bench/gpu.ts measures on a GPU unless it is told otherwise: the sizes of DINOv2's models, and tiny ones, with which every part runs on an emulated GPU in minutes. */
export const real = {
  dtypes: 'f32,bf16',
  programs: '500',
  shapes: '2056x1152x384,2056x384x384,2056x1536x384,2056x384x1536,357x65536x256,4096x4096x4096',
  attention: '8x6x257x64,1x12x1370x64,1x12x4096x64',
  models: 'vits14,vitb14,vitl14',
  size: '224',
  images: '8',
  step: 'vitl14',
  batch: '4',
  runs: '10',
} as const;

/** What a processor does in minutes. */
export const processor: { readonly [P in keyof typeof real]: string } = {
  ...real,
  programs: '100',
  shapes: '2056x1152x384,2056x384x384,2056x1536x384,2056x384x1536,357x65536x256',
  attention: '8x6x257x64,1x12x1370x64,1x2x5000x64',
  models: 'vits14',
  step: 'vits14',
};

export const tiny: { readonly [P in keyof typeof real | 'groups' | 'rows']: string } = {
  dtypes: 'bf16',
  programs: '20',
  shapes: '72x64x64',
  attention: '1x2x33x16',
  rows: '33x64',
  models: 'vits14',
  size: '28',
  images: '1',
  step: 'demo',
  batch: '2',
  runs: '1',
  groups: 'loss',
};
