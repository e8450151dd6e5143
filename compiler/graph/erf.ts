/**
 * The error function in float64, for the interpreters of graphs and of kernels. JavaScript has none. Below 2 the series with positive terms only
 * (Abramowitz & Stegun 7.1.6), above it one minus the continued fraction of erfc (7.1.14); both lose no digits to
 * cancellation, so the error stays within a few units in the last place.
 *
 *   erf(0.5)  ->  0.5204998778130465
 */

/** Depth of the continued fraction: at x = 2 its error is then below 1e-17, and it falls as x grows. */
const depth = 60;

/** erf(x) = 2/sqrt(pi) * integral of exp(-t^2) from 0 to x; odd, erf(NaN) = NaN. */
export const erf = (x: number): number => {
  const a = Math.abs(x);
  if (a >= 6) return Math.sign(x); // 1 - erf(6) = 2e-17, less than half a unit in the last place of 1
  if (a >= 2) {
    let f = a;
    for (let k = depth; k > 0; k--) f = a + k / 2 / f;
    return Math.sign(x) * (1 - Math.exp(-a * a) / (Math.sqrt(Math.PI) * f));
  }
  let term = x;
  let sum = x;
  for (let n = 1; Math.abs(term) > 1e-17 * Math.abs(sum); n++) {
    term *= (2 * x * x) / (2 * n + 1);
    sum += term;
  }
  return (2 / Math.sqrt(Math.PI)) * Math.exp(-x * x) * sum;
};
