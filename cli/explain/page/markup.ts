/** Text that is safe in HTML, and TypeScript with its words in colours. */

export const plain = (text: string): string => text.replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/>/g, '&gt;');
export const attr = (text: string): string => plain(text).replace(/"/g, '&quot;');

const words =
  'import|export|from|const|let|return|type|interface|readonly|for|of|if|else|new|async|await|function|extends|as|typeof|declare|default';
const token = new RegExp(
  String.raw`(\/\/.*$|\/\*.*?(?:\*\/|$)|^\s*\*.*$)|('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|\x60(?:[^\x60\\]|\\.)*\x60)|\b(${words})\b|\b(\d[\d_.]*(?:e-?\d+)?)\b`,
  'g',
);

/** A line of TypeScript, highlighted as far as one line alone tells. */
export const highlight = (line: string): string => {
  let out = '';
  let from = 0;
  for (const m of line.matchAll(token)) {
    const kind = m[1] !== undefined ? 'c' : m[2] !== undefined ? 's' : m[3] !== undefined ? 'k' : 'm';
    out += `${plain(line.slice(from, m.index))}<span class="${kind}">${plain(m[0])}</span>`;
    from = m.index + m[0].length;
  }
  return out + plain(line.slice(from));
};
