/**
 * Letters as strokes, so that pictures look the same on machines that have no fonts (a bare container has none). A glyph is one or more
 * polylines of points `xy` on a grid of 4 by 6 (y downwards, baseline at 6, x-height at 2, descenders to 8); capitals are
 * drawn as small letters.
 */
const glyphs: Readonly<Record<string, string>> = {
  '0': '103041453616050110',
  '1': '112026 1636',
  '2': '01103041420646',
  '3': '004022334445361605',
  '4': '36300444',
  '5': '400002324345361605',
  '6': '413010010516364544331304',
  '7': '004016',
  '8': '103041423344453616050413020110 1333',
  '9': '051636454130100102133342',
  a: '12324346 441405163645',
  b: '0006 0312324345361605',
  c: '4332120305163645',
  d: '4046 4332120305163645',
  e: '04444332120305163645',
  f: '40302126 1333',
  g: '4247381807 4332120305163645',
  h: '0006 0312324346',
  i: '2226 2020',
  j: '32372818 3030',
  k: '0006 3204 0436',
  l: '2026',
  m: '0206 03122326 23324346',
  n: '0206 0312324346',
  o: '123243453616050312',
  p: '0208 0312324345361605',
  q: '4248 4332120305163645',
  r: '0206 03123243',
  s: '43321203143445361605',
  t: '20253646 0242',
  u: '0205163645 4246',
  v: '022642',
  w: '0216243642',
  x: '0246 4206',
  y: '0226 4208',
  z: '02420646',
  '-': '0343',
  '.': '2626',
  ',': '2617',
  '/': '4006',
  ':': '2323 2626',
  '%': '4006 0010110100 3545463635',
  '(': '30212536',
  ')': '10212516',
  '+': '0343 2125',
  '=': '0242 0444',
  _: '0747',
};

/** Width of `text` at a letter height of `size`. */
export const textWidth = (text: string, size: number): number => (text.length * 6 - 2) * (size / 6);

/** An SVG path for `text`; (x, y) is the left, middle or right end of its baseline. */
export const textPath = (text: string, x: number, y: number, size: number, anchor: 'start' | 'middle' | 'end', colour: string): string => {
  const unit = size / 6;
  const start = x - textWidth(text, size) * { start: 0, middle: 0.5, end: 1 }[anchor];
  const d = [...text.toLowerCase()].flatMap((letter, i) =>
    (glyphs[letter] ?? '').split(' ').map((line) =>
      line.replace(/(\d)(\d)/g, (_, px: string, py: string, at: number) => {
        const to = `${(start + (i * 6 + Number(px)) * unit).toFixed(2)} ${(y + (Number(py) - 6) * unit).toFixed(2)}`;
        return `${at === 0 ? 'M' : 'L'}${to}`;
      }),
    ),
  );
  return `<path d="${d.join('')}" fill="none" stroke="${colour}" stroke-width="${(0.16 * size).toFixed(2)}" stroke-linecap="round" stroke-linejoin="round"/>`;
};
