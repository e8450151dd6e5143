/**
 * Names of a file, as messages show them. A name is any string, and a terminal would obey what stands in it: control characters move the
 * cursor, others turn the direction of writing. They are written out, and a long name is cut.
 *
 *   shown('norm\x1b[2J.weight')   // norm\u{1b}[2J.weight
 */
const odd = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu;

export const shown = (name: string, most = 200): string => {
  const text = name.slice(0, most).replace(odd, (c) => `\\u{${(c.codePointAt(0) as number).toString(16)}}`);
  return name.length > most ? `${text}…` : text;
};

/** The same in quotation marks. */
export const quoted = (name: string, most?: number): string => `"${shown(name, most)}"`;
