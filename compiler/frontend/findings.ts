/**
 * What `fovea check` finds, whoever found it (tsc, the purity rules, the trace), as one kind of record, and the forms in which it is printed:
 * for people, as tsc prints, and for machines (JSON lines, SARIF 2.1.0 for code scanning, annotations of GitHub's log).
 *
 *   model.ts(12,15): error FV0903: this branch depends on the value of a tensor: ...
 */

export interface Spot {
  /** Absolute. */
  readonly file: string;
  /** From 1, `end` exclusive. */
  readonly line: number;
  readonly col: number;
  readonly endLine: number;
  readonly endCol: number;
}
export interface Finding extends Spot {
  /** FV0903, TS2345. */
  readonly code: string;
  readonly severity: 'error' | 'warning';
  readonly message: string;
  readonly related: readonly (Spot & { readonly message: string })[];
}

export const formats = ['text', 'json', 'sarif', 'github'] as const;
export type Format = (typeof formats)[number];

export interface Printing {
  /** A path as it is shown. */
  readonly show: (file: string) => string;
  /** Lines of a file, for frames. */
  readonly lines: (file: string) => readonly string[];
  /** Frames and colours, or one line a finding. */
  readonly pretty: boolean;
  readonly version: string;
}

const paint = (code: number, text: string): string => `\u001b[${code}m${text}\u001b[0m`;
const colours = { error: 91, warning: 93, place: 96, note: 90 } as const;

/** The line, and a mark under the expression. */
const frame = (spot: Spot, colour: number, { lines }: Printing): string => {
  const text = lines(spot.file)[spot.line - 1];
  if (text === undefined) return '';
  const end = spot.endLine === spot.line ? spot.endCol : text.length + 1;
  const number = `${spot.line}`;
  const under = `${' '.repeat(Math.max(0, spot.col - 1))}${'~'.repeat(Math.max(1, end - spot.col))}`;
  return `\n\n${paint(7, number)} ${text}\n${paint(7, ' '.repeat(number.length))} ${paint(colour, under)}`;
};

const prettyText = (f: Finding, p: Printing): string => {
  const place = (s: Spot): string => `${paint(colours.place, p.show(s.file))}:${paint(93, `${s.line}`)}:${paint(93, `${s.col}`)}`;
  const head = `${place(f)} - ${paint(colours[f.severity], f.severity)} ${paint(colours.note, `${f.code}: `)}${f.message}`;
  const related = f.related.map((r) => `\n\n  ${place(r)}\n    ${r.message}${frame(r, colours.place, p).replace(/\n(?=.)/g, '\n    ')}`);
  return `${head}${frame(f, colours[f.severity], p)}${related.join('')}\n`;
};

const count = (findings: readonly Finding[], severity: Finding['severity']): number =>
  findings.filter((f) => f.severity === severity).length;
export const errorsIn = (findings: readonly Finding[]): number => count(findings, 'error');

const many = (n: number, what: string): string => `${n} ${what}${n === 1 ? '' : 's'}`;
export const summary = (findings: readonly Finding[]): string =>
  findings.length === 0 ? 'No errors.' : `Found ${many(errorsIn(findings), 'error')} and ${many(count(findings, 'warning'), 'warning')}.`;

const escaped = (text: string): string => text.replace(/%/g, '%25').replace(/\r/g, '%0D').replace(/\n/g, '%0A');
/** Of a property also what ends one. */
const escapedProperty = (text: string): string => escaped(text).replace(/:/g, '%3A').replace(/,/g, '%2C');

const sarif = (findings: readonly Finding[], { show, version }: Printing): string => {
  const location = (s: Spot) => ({
    physicalLocation: {
      artifactLocation: { uri: show(s.file).split('\\').map(encodeURI).join('/') },
      region: { startLine: s.line, startColumn: s.col, endLine: s.endLine, endColumn: s.endCol },
    },
  });
  const rules = [...new Set(findings.map((f) => f.code))].sort().map((id) => ({ id }));
  const results = findings.map((f) => ({
    ruleId: f.code,
    level: f.severity,
    message: { text: f.message },
    locations: [location(f)],
    relatedLocations: f.related.map((r) => ({ ...location(r), message: { text: r.message } })),
  }));
  const log = {
    $schema: 'https://json.schemastore.org/sarif-2.1.0.json',
    version: '2.1.0',
    runs: [{ tool: { driver: { name: 'fovea check', version, rules } }, columnKind: 'utf16CodeUnits', results }],
  };
  return JSON.stringify(log, null, 2);
};

const plainText = (f: Finding, p: Printing): string => {
  const place = (s: Spot): string => `${p.show(s.file)}(${s.line},${s.col})`;
  return [`${place(f)}: ${f.severity} ${f.code}: ${f.message}`, ...f.related.map((r) => `  ${place(r)}: ${r.message}`)].join('\n');
};

const print: { readonly [F in Format]: (findings: readonly Finding[], p: Printing) => string } = {
  text: (findings, p) => [...findings.map((f) => (p.pretty ? prettyText(f, p) : plainText(f, p))), summary(findings)].join('\n'),
  json: (findings, p) =>
    findings
      .map((f) => JSON.stringify({ ...f, file: p.show(f.file), related: f.related.map((r) => ({ ...r, file: p.show(r.file) })) }))
      .join('\n'),
  sarif,
  github: (findings, p) =>
    findings
      .map(
        (f) =>
          `::${f.severity} file=${escapedProperty(p.show(f.file))},line=${f.line},col=${f.col},endLine=${f.endLine},endColumn=${f.endCol},title=${f.code}::${escaped(f.message)}`,
      )
      .join('\n'),
};
export const printFindings = (findings: readonly Finding[], format: Format, p: Printing): string => print[format](findings, p);

/** By file and place, each once. */
export const inOrder = (findings: readonly Finding[]): readonly Finding[] => {
  const seen = new Map(findings.map((f) => [`${f.file}:${f.line}:${f.col}:${f.code}:${f.message}`, f]));
  return [...seen.values()].sort((a, b) => (a.file < b.file ? -1 : a.file > b.file ? 1 : a.line - b.line || a.col - b.col));
};
