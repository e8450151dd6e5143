/** Numbers below n that a seed fixes, one after the other: what a law draws besides a program. */
export const draws = (seed: number): ((n: number) => number) => {
  let x = (seed * 2654435761 + 12345) >>> 0;
  return (n) => {
    x = (Math.imul(x, 1664525) + 1013904223) >>> 0;
    return Math.floor((x / 2 ** 32) * n);
  };
};
