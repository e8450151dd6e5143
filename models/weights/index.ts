/** Weight files: safetensors in and out, trees and flat names, atomic writing. */
export { cannotWrite, writeAtomic } from './atomic.ts';
export {
  type HostLike,
  readSafetensors,
  readStored,
  type StoredFile,
  type StoredTensor,
  type StoredType,
  type TensorData,
  toHost,
  writeSafetensors,
} from './safetensors.ts';
export { flatten, restore } from './tree.ts';
