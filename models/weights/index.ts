/** Weight files: safetensors in and out, PyTorch checkpoints in, names and layouts, loading into a model, atomic writing. */

export { type Float, fromF32, toF32 } from '../../compiler/graph/floats.ts';
export { cannotWrite, flushFolder, writeAtomic } from './atomic.ts';
export { configOf, configText, type HuggingFaceConfig, readConfig } from './hf-config.ts';
export { fromHuggingFace, isHuggingFace, toHuggingFace } from './hugging-face.ts';
export { chunkedBlocks, depthOf, flatBlocks, unwrapped, withoutHeads } from './layouts.ts';
export { type Loaded, type LoadOptions, type LoadReport, loadWeights } from './load.ts';
export { parseWeights, type ReadOptions, readWeights, type WeightFile, type WeightFormat } from './read.ts';
export { castTo, joinRows, splitRows, type Weights } from './rows.ts';
export { openSafetensors, readSafetensors, readStored, type Safetensors, type StoredFile, type StoredTensor } from './safetensors.ts';
export { quoted, shown } from './shown.ts';
export { type ByteSource, bytesSource, openSource } from './source.ts';
export type { StoredType, WeightTensor } from './stored.ts';
export { few, flatten, restore } from './tree.ts';
export { type TensorData, writeSafetensors, writingSafetensors } from './write.ts';
