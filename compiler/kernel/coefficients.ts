/**
 * Numbers behind the functions of math, for backends that write them in their own languages. Fitted for this project: least squares with
 * weights moved towards equal ripple, on 600 Chebyshev nodes, in double; the largest relative error of each fit stands beside it. A list is
 * a polynomial from its constant on.
 */

// (exp(r) - 1 - r) / r^2 on |r| <= ln2 / 2: 5e-11
export const expFit = [0.5, 0.166666657, 0.0416662917, 0.00833349861, 0.00139449432, 0.000197900677];
// (log(1 + f) - f + f^2 / 2) / f^3 on sqrt(1/2) <= 1 + f <= sqrt(2): 8e-10
export const logFit = [
  0.333333135, -0.250000089, 0.200021237, -0.166680083, 0.14219451, -0.124052793, 0.118886456, -0.116778761, 0.0674830824,
];
// (tanh(x) / x - 1) / x^2 in x^2, x <= 0.625: 4e-9
export const tanhFit = [-0.333332837, 0.133314908, -0.0537434965, 0.0206505787, -0.00571703631];
// erf(x) / x - 1 in x^2, x <= 1.25: 2e-8
export const erfFit = [0.128379136, -0.376124799, 0.112821937, -0.0268049128, 0.00510999095, -0.000742606935, 0.0000620239443];
// erfc(x)^(-1/8) on 1.25 <= x <= 3.92, relative to erf: 4e-9
export const erfcFit = [0.98582536, 0.20362702, -0.0289223772, 0.149515226, -0.0764209554, 0.0324477516, -0.00672730384, 0.000756937428];
// (sin(r) / r - 1) / r^2 in r^2, |r| <= pi / 4: 5e-12
export const sinFit = [-0.16666667, 0.00833332911, -0.000198393347, 0.00000271831163];
// (cos(r) - 1 + r^2 / 2) / r^4 in r^2, the same: 1e-13
export const cosFit = [0.0416666679, -0.00138888834, 0.0000247995195, -2.72102369e-7];
// (atanh(s) - s) / s^3 in s^2, |s| <= 3 - 2 sqrt(2): 5e-12
export const atanhFit = [0.333333313, 0.200001672, 0.142686546, 0.117910773];

/** 2 / pi as a fraction of 2^256, in words of `width` bits, the highest first: what Payne and Hanek's reduction picks from. */
export const twoOverPi = (width: 32 | 64): readonly bigint[] => {
  // Machin: pi = 16 atan(1/5) - 4 atan(1/239), with 320 bits
  const one = 1n << 320n;
  const atan = (n: bigint): bigint => {
    let [term, sum] = [one / n, one / n];
    for (let i = 3n, sign = -1n; term > 0n; i += 2n, sign = -sign) {
      term /= n * n;
      sum += (sign * term) / i;
    }
    return sum;
  };
  const pi = 16n * atan(5n) - 4n * atan(239n);
  const bits = (2n * one * (1n << 256n)) / pi;
  const w = BigInt(width);
  return Array.from({ length: 256 / width }, (_, i) => (bits >> (256n - w * BigInt(i + 1))) & ((1n << w) - 1n));
};
