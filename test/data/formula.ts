/**
 * The integer formula that stands in for stored inputs in the recorded cases: element i of the tensor named s is a hash of s mixed
 * with i. A float is offset + scale * (2u - 1), rounded once; a stream is u(s, 0), u(s, 1), ...
 */
const hash = (name: string): number => {
  let h = 2166136261;
  for (const byte of Buffer.from(name, 'utf8')) h = Math.imul(h ^ byte, 16777619);
  return h >>> 0;
};

/** Element i in [0, 1). */
export const unit = (name: string): ((i: number) => number) => {
  const h = hash(name);
  return (i) => {
    let x = (h + Math.imul(i, 0x9e3779b9)) >>> 0;
    x = Math.imul(x ^ (x >>> 16), 0x85ebca6b);
    x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35);
    return ((x ^ (x >>> 16)) >>> 0) / 2 ** 32;
  };
};

export const floats = (name: string, count: number, scale: number, offset = 0): Float32Array => {
  const u = unit(name);
  return Float32Array.from({ length: count }, (_, i) => offset + scale * (2 * u(i) - 1));
};

export const integers = (name: string, count: number, n: number): Int32Array => {
  const u = unit(name);
  return Int32Array.from({ length: count }, (_, i) => Math.floor(n * u(i)));
};

/** The stream of a name, and how much of it was drawn. */
export const formulaStream = (name: string): { readonly random: () => number; readonly drawn: () => number } => {
  const u = unit(name);
  let i = 0;
  return { random: () => u(i++), drawn: () => i };
};
