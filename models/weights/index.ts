/** Weight files: safetensors in and out, trees and flat names, atomic writing. */
export { cannotWrite, writeAtomic } from './atomic.ts';
export {
  openSafetensors,
  readSafetensors,
  readStored,
  type Safetensors,
  type StoredFile,
  type StoredTensor,
} from './safetensors.ts';
export type { StoredType, WeightTensor } from './stored.ts';
export { flatten, restore } from './tree.ts';
export { type TensorData, writeSafetensors } from './write.ts';
