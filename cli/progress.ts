/** One line that is drawn over itself on a terminal; elsewhere (a file, CI) only the lines that matter are printed. */
export interface ProgressLine {
  /** `keep`: also print the line where lines cannot be drawn over. */
  show(text: string, keep?: boolean): void;
  clear(): void;
}

export const progressLine = (to: NodeJS.WriteStream = process.stdout): ProgressLine => ({
  show: (text, keep = false) => {
    if (to.isTTY) to.write(`\r\x1b[2K${text.slice(0, Math.max(20, (to.columns || 80) - 1))}`);
    else if (keep) to.write(`${text}\n`);
  },
  clear: () => {
    if (to.isTTY) to.write('\r\x1b[2K');
  },
});

/** 75 -> '1 min 15 s' */
export const seconds = (s: number): string => {
  const whole = Math.ceil(s);
  return whole < 60 ? `${whole} s` : `${Math.floor(whole / 60)} min ${whole % 60} s`;
};
