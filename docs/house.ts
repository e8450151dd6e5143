/**
 * The rooms of the house and the arrows between them, read from the real imports. The test of the import graph and the
 * picture in docs/architecture.md both come from here: `npx tsx docs/house.ts` redraws docs/house.svg.
 */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';

/** Room -> rooms that it may import. `compiler` is the root of the compiler: error.ts, target.ts, compile.ts. */
export const rooms: Readonly<Record<string, readonly string[]>> = {
  'compiler/error': [],
  'compiler/graph': ['compiler/error'],
  'compiler/transform': ['compiler/error', 'compiler/graph'],
  'compiler/passes': ['compiler/error', 'compiler/graph'],
  'compiler/kernel': ['compiler/error', 'compiler/graph'],
  'compiler/fuse': ['compiler/error', 'compiler/graph', 'compiler/kernel', 'compiler/tile', 'compiler/target'],
  'compiler/tile': ['compiler/error', 'compiler/graph', 'compiler/kernel', 'compiler/target'],
  'compiler/plan': ['compiler/error', 'compiler/graph', 'compiler/kernel', 'compiler/fuse', 'compiler/tile', 'compiler/target'],
  'compiler/target': ['compiler/graph', 'compiler/plan'],
  'compiler/compile': ['compiler/error', 'compiler/graph', 'compiler/passes', 'compiler/transform', 'compiler/plan', 'compiler/target'],
  dsl: ['compiler/error', 'compiler/graph', 'compiler/transform'],
  'backends/reference': ['compiler/error', 'compiler/graph', 'compiler/target'],
  'backends/cpu': ['compiler/error', 'compiler/graph', 'compiler/kernel', 'compiler/plan', 'compiler/target'],
  index: ['dsl', 'compiler/error', 'compiler/graph', 'compiler/compile', 'compiler/plan', 'compiler/target'],
  models: ['dsl', 'compiler/error', 'compiler/graph'],
  'models/train': ['index', 'dsl', 'models', 'models/eval', 'compiler/error'],
  'models/eval': ['index', 'dsl', 'models', 'compiler/error'],
  cli: ['index', 'dsl', 'models', 'models/train', 'models/eval', 'backends/reference', 'backends/cpu', 'compiler/error', 'compiler/target'],
};

export interface Edge {
  readonly file: string;
  readonly target: string;
  readonly from: string;
  readonly to: string;
  readonly typeOnly: boolean;
}

/** The room of a source file: the longest room name that its path starts with. */
const roomOf = (file: string): string => {
  const path = file.replace(/\.ts$/, '');
  const fits = Object.keys(rooms).filter((r) => path === r || path.startsWith(`${r}/`));
  return fits.sort((a, b) => b.length - a.length)[0] ?? path;
};

export const sources = (root: string): readonly string[] => {
  const walk = (dir: string): string[] =>
    readdirSync(dir, { withFileTypes: true }).flatMap((d) =>
      d.isDirectory() ? walk(join(dir, d.name)) : d.name.endsWith('.ts') ? [relative(root, join(dir, d.name))] : [],
    );
  return ['dsl', 'compiler', 'backends', 'models', 'cli'].flatMap((d) => walk(join(root, d))).concat('index.ts');
};

/** Every relative import and re-export of every source file. */
export const edges = (root: string): readonly Edge[] =>
  sources(root).flatMap((file) => {
    const text = readFileSync(join(root, file), 'utf8');
    return [...text.matchAll(/^(?:import|export)\s+(type\s)?[^'";]*?from\s+'(\.[^']+)'/gm)].map((m) => {
      const target = relative(root, resolve(root, dirname(file), m[2] as string));
      return { file, target, from: roomOf(file), to: roomOf(target), typeOnly: m[1] !== undefined };
    });
  });

const picture = (root: string): string => {
  const used = new Map<string, number>();
  for (const e of edges(root)) if (e.from !== e.to) used.set(`${e.from}|${e.to}`, (used.get(`${e.from}|${e.to}`) ?? 0) + 1);
  const names = [...new Set(sources(root).map(roomOf))];
  // a room's floor: one above the highest room that it imports (the two rooms that import each other's types share one)
  const floor = (r: string, above: readonly string[] = []): number =>
    Math.max(
      0,
      ...[...used.keys()]
        .filter((k) => k.startsWith(`${r}|`))
        .map((k) => k.split('|')[1] as string)
        .filter((t) => !above.includes(t))
        .map((t) => 1 + floor(t, [...above, r])),
    );
  const floors = new Map(names.map((n) => [n, floor(n)]));
  const top = Math.max(...floors.values());
  const place = new Map<string, { x: number; y: number }>();
  for (let f = 0; f <= top; f++)
    names
      .filter((n) => floors.get(n) === f)
      .forEach((n, i, all) => place.set(n, { x: 480 + (i - (all.length - 1) / 2) * 190, y: 40 + (top - f) * 74 }));
  const lines = [...used].map(([k, n]) => {
    const [a, b] = k.split('|').map((r) => place.get(r) as { x: number; y: number });
    return `<line x1="${a!.x}" y1="${a!.y + 15}" x2="${b!.x}" y2="${b!.y - 15}" stroke="#8a93a6" stroke-width="${Math.min(4, 0.6 + n / 8)}" marker-end="url(#a)"><title>${k.replace('|', ' imports ')}: ${n}</title></line>`;
  });
  const boxes = [...place].map(
    ([n, p]) =>
      `<rect x="${p.x - 78}" y="${p.y - 15}" width="156" height="30" rx="6" fill="#fff" stroke="#33415c"/><text x="${p.x}" y="${p.y + 5}" text-anchor="middle">${n}</text>`,
  );
  const marker =
    '<marker id="a" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto"><path d="M0 0L8 4L0 8z" fill="#8a93a6"/></marker>';
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 960 ${80 + top * 74}" font-family="sans-serif" font-size="13"><rect width="100%" height="100%" fill="#f7f8fb"/><defs>${marker}</defs>${lines.join('')}${boxes.join('')}</svg>\n`;
};

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const root = join(import.meta.dirname, '..');
  writeFileSync(join(root, 'docs/house.svg'), picture(root));
}
