/**
 * `fovea convert IN OUT`: weights from one file to another. The format of IN is found by its content, OUT is safetensors. Names, layout
 * and type change only where an option asks for it; what was renamed or left out is printed. Tensors go through one at a time.
 *
 *   fovea convert dinov2_vits14_pretrain.pth vits14 --to hf        // vits14/model.safetensors and vits14/config.json
 *   fovea convert teacher_checkpoint.pth vits.safetensors --to dinov2 --heads drop --dtype bf16
 *   fovea convert runs/demo-0/checkpoint.safetensors mine.safetensors --to dinov2 --key teacher
 */
import { existsSync, mkdirSync, statSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { Command, Option } from 'commander';
import { FoveaError } from '../compiler/error.ts';
import {
  cannotWrite,
  castTo,
  chunkedBlocks,
  configOf,
  configText,
  type Float,
  few,
  flatBlocks,
  fromHuggingFace,
  isHuggingFace,
  quoted,
  readConfig,
  readWeights,
  shown,
  toHuggingFace,
  unwrapped,
  type Weights,
  withoutHeads,
  writeAtomic,
  writingSafetensors,
} from '../models/weights/index.ts';
import { interruptible } from './interrupt.ts';
import { path, whole } from './options.ts';

interface ConvertOptions {
  readonly to?: 'dinov2' | 'hf';
  readonly chunks?: number;
  readonly dtype?: Float;
  readonly key?: string;
  readonly heads?: 'keep' | 'drop';
  readonly attentionHeads?: number;
  readonly force?: boolean;
}

export const convertCommand = (): Command =>
  new Command('convert')
    .description('convert weights: safetensors or PyTorch in, safetensors out; names of DINOv2 and of Hugging Face')
    .argument('<in>', 'a weight file, or a folder with model.safetensors or pytorch_model.bin', path('IN'))
    .argument('<out>', 'a .safetensors file, or a folder for model.safetensors (and config.json with --to hf)', path('OUT'))
    .addOption(
      new Option('--to <names>', 'names to write: those of DINOv2 or of Hugging Face (default: as they are)').choices(['dinov2', 'hf']),
    )
    .option('--chunks <n>', 'write DINOv2 blocks in n chunks, 0 for a flat list', whole('--chunks', 0))
    .addOption(new Option('--dtype <type>', 'type of floating tensors (default: as they are)').choices(['f32', 'f16', 'bf16']))
    .option(
      '--key <name>',
      'part to read, such as teacher (default: all; of PyTorch checkpoints teacher, model, state_dict or student, if there is one)',
    )
    .addOption(
      new Option('--heads <what>', 'projection heads of a training export (default: keep; drop with --to hf)').choices(['keep', 'drop']),
    )
    .option(
      '--attention-heads <n>',
      'heads of each block, for config.json (default: as the config.json beside IN says, otherwise of 64 channels)',
      whole('--attention-heads', 1),
    )
    .option('--force', 'replace what is there')
    .option('--debug', 'print the stack of an error')
    .action(convert);

const isFolder = (p: string): boolean => statSync(p, { throwIfNoEntry: false })?.isDirectory() ?? false;

/** The weight file of a folder, as Hugging Face lays it out; any other path is itself. */
const inputFile = (given: string): string => {
  if (!isFolder(given)) return given;
  const found = ['model.safetensors', 'pytorch_model.bin'].map((n) => join(given, n)).find((f) => existsSync(f));
  if (found === undefined)
    throw new FoveaError('FV0402', `no weights in the folder ${given}`, { hint: 'It must hold model.safetensors or pytorch_model.bin.' });
  return found;
};

interface Output {
  readonly folder: string | undefined;
  readonly weights: string;
  readonly config: string | undefined;
}

/** Where the results go. FV0503: another format. FV0502: something is there already. */
const outputOf = (given: string, { to, force }: ConvertOptions): Output => {
  const single = given.endsWith('.safetensors') && !isFolder(given);
  if (!single && /\.(pth?|bin|ckpt|npz|onnx|gguf)$/i.test(given))
    throw new FoveaError('FV0503', `${basename(given)}: only safetensors are written`, {
      hint: 'Give OUT the ending .safetensors, or a folder.',
    });
  const folder = single ? undefined : given;
  const out = {
    folder,
    weights: folder ? join(folder, 'model.safetensors') : given,
    config: folder && to === 'hf' ? join(folder, 'config.json') : undefined,
  };
  const taken = [out.weights, out.config].find((f) => f !== undefined && existsSync(f));
  if (taken !== undefined && !force)
    throw new FoveaError('FV0502', `a file is there already: ${taken}`, { hint: 'Use --force to replace it.' });
  return out;
};

/** Names as asked for, of the tensors that are kept. */
const named = (given: Weights, { to, chunks }: ConvertOptions): Weights => {
  if (to === undefined && chunks === undefined) return given;
  const own = isHuggingFace(given) ? fromHuggingFace(given) : flatBlocks(unwrapped(given));
  return to === 'hf' ? toHuggingFace(own) : chunkedBlocks(own, chunks ?? 0);
};

/** config.json for tensors with the names of the Hub. */
const configOfHub = (weights: Weights, heads: number | undefined): string =>
  configText(configOf(fromHuggingFace(weights), heads === undefined ? {} : { heads }), {
    labels: weights.get('classifier.bias')?.shape[0],
  });

/** The number of heads does not follow from the tensors; a model of Hugging Face brings it beside them. */
const headsBeside = (weightFile: string, given: Weights): number | undefined => {
  const config = join(dirname(weightFile), 'config.json');
  return isHuggingFace(given) && existsSync(config) ? readConfig(config).num_attention_heads : undefined;
};

const bytesOf = (weights: Weights): string => {
  const widths = { f32: 4, f16: 2, bf16: 2, i32: 4, u32: 4, bool: 1 } as const;
  const bytes = [...weights.values()].reduce((sum, t) => sum + widths[t.dtype] * t.shape.reduce((a, b) => a * b, 1), 0);
  return bytes < 1e6 ? `${(bytes / 1e3).toFixed(1)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
};
const count = (n: number): string => `${n} tensor${n === 1 ? '' : 's'}`;
const typesOf = (weights: Weights): string => [...new Set([...weights.values()].map((t) => t.dtype))].join(', ');

/** Writes a tensor at a time and looks for signals in between: Ctrl-C leaves what was there, and nothing besides. */
const written = async (steps: Generator<void, void>): Promise<void> => {
  const interrupt = interruptible(() => steps.return());
  try {
    while (!steps.next().done) await setImmediate();
  } finally {
    interrupt.release();
  }
};

const convert = async (from: string, to: string, options: ConvertOptions): Promise<void> => {
  if (options.to === 'hf' && options.chunks !== undefined)
    throw new FoveaError('FV0503', '--chunks has no meaning for names of Hugging Face', {
      hint: 'Leave out --chunks, or use --to dinov2.',
    });
  const out = outputOf(resolve(to), options);
  if (options.attentionHeads !== undefined && out.config === undefined)
    throw new FoveaError('FV0503', '--attention-heads has no meaning where no config.json is written', {
      hint: 'Leave it out, or write a folder with --to hf.',
    });
  const weightFile = inputFile(resolve(from));
  const file = await readWeights(weightFile, { key: options.key });
  try {
    const under = file.key === undefined ? '' : `, under the key ${quoted(file.key)}`;
    console.log(`read ${from}: ${file.format}, ${count(file.tensors.size)}${under}`);
    const drop = options.heads === 'drop' || (options.heads === undefined && options.to === 'hf');
    const kept = drop ? withoutHeads(file.tensors) : file.tensors;
    const { dtype } = options;
    const weights: Weights = new Map([...named(kept, options)].map(([name, t]) => [name, dtype ? castTo(t, dtype) : t]));
    const config = out.config === undefined ? undefined : configOfHub(weights, options.attentionHeads ?? headsBeside(weightFile, kept));
    if (out.folder !== undefined) {
      try {
        mkdirSync(out.folder, { recursive: true });
      } catch (e) {
        throw cannotWrite(out.folder, e);
      }
    }
    // the library of Hugging Face looks for the entry `format`
    await written(writingSafetensors(out.weights, weights, { ...file.metadata, format: 'pt' }));
    if (out.config !== undefined && config !== undefined) writeAtomic(out.config, [Buffer.from(config)]);
    const dropped = [...file.tensors.keys()].filter((name) => !kept.has(name));
    if (dropped.length > 0) console.log(`dropped ${count(dropped.length)} of projection heads: ${few(dropped, 3)}`);
    const fresh = [...weights.keys()].filter((n) => !file.tensors.has(n));
    if (fresh.length > 0) console.log(`renamed ${count(fresh.length)}, such as ${shown(fresh[0] as string)}`);
    console.log(`wrote ${out.weights}: ${count(weights.size)}, ${bytesOf(weights)}, ${typesOf(weights)}`);
    if (out.config !== undefined) console.log(`wrote ${out.config}`);
  } finally {
    file.close();
  }
};
