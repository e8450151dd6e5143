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
  'compiler/shard': ['compiler/error', 'compiler/graph', 'compiler/passes', 'compiler/collectives'],
  'compiler/fuse': ['compiler/error', 'compiler/graph', 'compiler/kernel', 'compiler/tile', 'compiler/target'],
  'compiler/tile': ['compiler/error', 'compiler/graph', 'compiler/kernel', 'compiler/target'],
  'compiler/plan': [
    'compiler/error',
    'compiler/graph',
    'compiler/kernel',
    'compiler/fuse',
    'compiler/tile',
    'compiler/target',
    'compiler/collectives',
  ],
  'compiler/collectives': ['compiler/graph'],
  'compiler/target': ['compiler/graph', 'compiler/kernel', 'compiler/plan', 'compiler/collectives'],
  'compiler/compile': [
    'compiler/error',
    'compiler/graph',
    'compiler/passes',
    'compiler/transform',
    'compiler/plan',
    'compiler/shard',
    'compiler/target',
  ],
  'compiler/execute': ['compiler/error', 'compiler/plan', 'compiler/collectives', 'compiler/target'],
  dsl: ['compiler/error', 'compiler/graph', 'compiler/transform'],
  'backends/reference': ['compiler/error', 'compiler/graph', 'compiler/target'],
  'backends/native': ['compiler/error', 'compiler/graph', 'compiler/kernel', 'compiler/target'],
  'backends/cpu': [
    'backends/native',
    'compiler/error',
    'compiler/graph',
    'compiler/kernel',
    'compiler/tile',
    'compiler/plan',
    'compiler/target',
  ],
  'backends/cuda': [
    'backends/native',
    'compiler/error',
    'compiler/graph',
    'compiler/kernel',
    'compiler/plan',
    'compiler/target',
    'compiler/collectives',
  ],
  'backends/webgpu': ['compiler/error', 'compiler/graph', 'compiler/kernel', 'compiler/plan', 'compiler/target'],
  'compiler/explain': [
    'compiler/error',
    'compiler/graph',
    'compiler/transform',
    'compiler/fuse',
    'compiler/tile',
    'compiler/kernel',
    'compiler/plan',
    'compiler/shard',
    'compiler/target',
    'compiler/compile',
  ],
  'compiler/frontend': ['compiler/error'],
  export: ['program', 'backends/cpu', 'backends/cuda', 'backends/webgpu', 'compiler/error', 'compiler/plan'],
  program: ['dsl', 'compiler/error', 'compiler/graph', 'compiler/target'],
  'backends/collectives': [
    'backends/native',
    'backends/cuda',
    'compiler/error',
    'compiler/graph',
    'compiler/kernel',
    'compiler/plan',
    'compiler/target',
    'compiler/collectives',
  ],
  index: [
    'program',
    'dsl',
    'compiler/error',
    'compiler/graph',
    'compiler/compile',
    'compiler/plan',
    'compiler/target',
    'compiler/shard',
    'compiler/execute',
    'compiler/collectives',
  ],
  web: ['index', 'backends/webgpu'],
  models: ['dsl', 'compiler/error', 'compiler/graph'],
  'models/train': ['index', 'dsl', 'models', 'models/eval', 'compiler/error'],
  'models/eval': ['index', 'dsl', 'models', 'compiler/error'],
  'models/parity': ['index', 'dsl', 'models', 'models/eval', 'compiler/error', 'compiler/graph'],
  testing: [
    'index',
    'dsl',
    'compiler/error',
    'compiler/graph',
    'compiler/transform',
    'compiler/passes',
    'compiler/kernel',
    'compiler/fuse',
    'compiler/tile',
    'compiler/plan',
    'compiler/target',
    'compiler/compile',
    'compiler/shard',
    'compiler/collectives',
  ],
  cli: [
    'index',
    'dsl',
    'models',
    'models/train',
    'models/eval',
    'models/parity',
    'testing',
    'backends/native',
    'backends/reference',
    'backends/cpu',
    'backends/cuda',
    'backends/webgpu',
    'backends/collectives',
    'compiler/collectives',
    'compiler/error',
    'compiler/compile',
    'compiler/plan',
    'compiler/shard',
    'compiler/graph',
    'compiler/kernel',
    'compiler/plan',
    'compiler/tile',
    'compiler/target',
    'compiler/explain',
    'compiler/frontend',
    'compiler/compile',
    'program',
    'export',
  ],
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
  return ['dsl', 'compiler', 'backends', 'models', 'testing', 'export', 'cli']
    .flatMap((d) => walk(join(root, d)))
    .concat('index.ts', 'web.ts', 'program.ts');
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

export const picture = (root: string): string => {
  const used = new Map<string, number>();
  for (const e of edges(root)) if (e.from !== e.to) used.set(`${e.from}|${e.to}`, (used.get(`${e.from}|${e.to}`) ?? 0) + 1);
  const names = [...new Set(sources(root).map(roomOf))];
  const degree = (r: string): number => [...used.keys()].filter((k) => k.startsWith(`${r}|`)).length;
  // a room's floor: one above the highest room that it imports; of two that import each other, the one with fewer imports is lower
  const floor = (r: string, above: readonly string[] = []): number =>
    Math.max(
      0,
      ...[...used.keys()]
        .filter((k) => k.startsWith(`${r}|`))
        .map((k) => k.split('|')[1] as string)
        .filter((t) => !above.includes(t) && !(used.has(`${t}|${r}`) && degree(r) < degree(t)))
        .map((t) => 1 + floor(t, [...above, r])),
    );
  const floors = new Map(names.map((n) => [n, floor(n)]));
  const top = Math.max(...floors.values());
  // an arrow that a chain of others implies is left out, so that the chains can be seen
  const below = (r: string): readonly string[] =>
    names.filter((n) => used.has(`${r}|${n}`) && (floors.get(n) as number) < (floors.get(r) as number));
  const reaches = (r: string, t: string): boolean => below(r).some((n) => n === t || reaches(n, t));
  const drawn = [...used].filter(([k]) => {
    const [from, to] = k.split('|') as [string, string];
    return !below(from).some((n) => n !== to && reaches(n, to));
  });
  // users of the language on the left, the compiler in the middle, backends on the right
  const column = (n: string): number => (n.startsWith('backends') ? 2 : n.startsWith('compiler') ? 1 : 0);
  const place = new Map<string, { x: number; y: number }>();
  for (let f = 0; f <= top; f++)
    for (const [col, x] of [130, 540, 960].entries())
      names
        .filter((n) => floors.get(n) === f && column(n) === col)
        .forEach((n, i, all) => place.set(n, { x: x + (i - (all.length - 1) / 2) * 180 + (f % 3) * 45, y: 40 + (top - f) * 74 }));
  const lines = drawn.map(([k, n]) => {
    const [a, b] = k.split('|').map((r) => place.get(r) as { x: number; y: number });
    const [side, end] = a!.y === b!.y ? [Math.sign(b!.x - a!.x) * 78, 0] : [0, Math.sign(b!.y - a!.y) * 15];
    return `<line x1="${a!.x + side}" y1="${a!.y + end}" x2="${b!.x - side}" y2="${b!.y - end}" stroke="#8a93a6" stroke-width="${Math.min(4, 0.6 + n / 8)}" marker-end="url(#a)"><title>${k.replace('|', ' imports ')}: ${n}</title></line>`;
  });
  const boxes = [...place].map(
    ([n, p]) =>
      `<rect x="${p.x - 78}" y="${p.y - 15}" width="156" height="30" rx="6" fill="#fff" stroke="#33415c"/><text x="${p.x}" y="${p.y + 5}" text-anchor="middle">${n}</text>`,
  );
  const marker =
    '<marker id="a" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="10" markerHeight="10" markerUnits="userSpaceOnUse" orient="auto"><path d="M0 0L8 4L0 8z" fill="#8a93a6"/></marker>';
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1180 ${80 + top * 74}" font-family="sans-serif" font-size="13"><title>The rooms of Fovea and the imports between them</title><rect width="100%" height="100%" fill="#f7f8fb"/><defs>${marker}</defs>${lines.join('')}${boxes.join('')}</svg>\n`;
};

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const root = join(import.meta.dirname, '..');
  writeFileSync(join(root, 'docs/house.svg'), picture(root));
}
