/**
 * Floats as integers in the same order, for carriers whose maximum is not ours: MPI leaves it to the library what a NaN does. Here it wins, as in every
 * kernel and in the interpreter: it becomes the largest integer of all where a maximum is looked for, the smallest where a minimum is.
 *
 *   maximum   -inf -1 -0 0 1 inf NaN   ->   -2139095041 -1065353217 -1 0 1065353216 2139095040 2147483647
 */
export const ordered = (x: Float32Array, reduction: 'max' | 'min'): Int32Array => {
  const bits = new Int32Array(x.buffer, x.byteOffset, x.length);
  const nan = reduction === 'max' ? 0x7fffffff : -0x80000000;
  return Int32Array.from(bits, (b, i) => (Number.isNaN(x[i]) ? nan : b < 0 ? b ^ 0x7fffffff : b));
};

/** The inverse; both integers for NaN are NaN again. */
export const unordered = (keys: Int32Array): Float32Array => new Float32Array(keys.map((k) => (k < 0 ? k ^ 0x7fffffff : k)).buffer);
