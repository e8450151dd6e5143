/** Recorded outputs of the original DINOv2 code, read with our own safetensors reader. */
import { join } from 'node:path';
import { readStored } from '../../models/weights/index.ts';

/** Values by name of one recorded case. */
export const golden = (id: string): ((name: string) => number[]) => {
  const { tensors } = readStored(join(import.meta.dirname, '../goldens', `${id}.safetensors`));
  return (name) => {
    const t = tensors.get(name);
    if (!t) throw new Error(`${id} has no ${name}`);
    const buffer = t.bytes.buffer as ArrayBuffer;
    if (t.type === 'F32') return [...new Float32Array(buffer)];
    if (t.type === 'I32') return [...new Int32Array(buffer)];
    if (t.type === 'U8') return [...t.bytes];
    throw new Error(`${name}: ${t.type}`);
  };
};

/** Largest |a - b| of two lists of equal length. */
export const distance = (a: ArrayLike<number>, b: ArrayLike<number>): number => {
  if (a.length !== b.length) throw new Error(`lengths ${a.length} and ${b.length}`);
  let most = 0;
  for (let i = 0; i < a.length; i++) most = Math.max(most, Math.abs((a[i] as number) - (b[i] as number)));
  return most;
};
