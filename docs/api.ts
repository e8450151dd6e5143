/**
 * The reference of the public interface, from its docstrings: `npx tsx docs/api.ts` writes docs/api.md. A test compares the two, so a name
 * cannot be added, or a docstring changed, without the page.
 */
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { pathToFileURL } from 'node:url';
import ts from 'typescript';

const root = join(import.meta.dirname, '..');

/** What can be imported, by name, and the source of each: the package's exports; of `./models/*` the files and folders of models/. */
export const faces = (): readonly (readonly [name: string, file: string])[] => {
  const { exports } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
    readonly exports: Readonly<Record<string, { readonly types: string }>>;
  };
  return Object.entries(exports).flatMap(([key, { types }]) => {
    const [name, file] = [key.replace(/^\./, 'fovea'), types.replace(/^\.\/dist\//, '').replace(/\.d\.ts$/, '.ts')];
    if (!name.endsWith('/*')) return [[name, file] as const];
    const folder = dirname(file);
    const own = readdirSync(join(root, folder)).flatMap((f) => (f.endsWith('.ts') ? [f.slice(0, -3)] : [`${f}/index`]));
    return own.filter((f) => existsSync(join(root, folder, `${f}.ts`))).map((f) => [name.replace('*', f), `${folder}/${f}.ts`] as const);
  });
};

/** The first sentence of what a file says of itself. */
const aboutOf = (file: string): string => {
  const text = readFileSync(join(root, file), 'utf8');
  const head = (/^\/\*\*([\s\S]*?)\*\//.exec(text)?.[1] ?? '').replace(/^ \* ?/gm, '');
  const [paragraph = ''] = head.split(/\n\s*\n/);
  const sentences = paragraph.replace(/\s+/g, ' ').trim();
  return (/^.*?[.:](?= |$)/.exec(sentences)?.[0] ?? sentences).replace(/:$/, '.');
};

const kindOf = (s: ts.Symbol): string => {
  if (s.flags & ts.SymbolFlags.Class) return 'class';
  if (s.flags & ts.SymbolFlags.Interface) return 'interface';
  if (s.flags & ts.SymbolFlags.TypeAlias) return 'type';
  const d = s.valueDeclaration;
  const function_ =
    d && ((ts.isVariableDeclaration(d) && d.initializer && ts.isArrowFunction(d.initializer)) || ts.isFunctionDeclaration(d));
  return function_ ? 'function' : 'value';
};

/** The docstring of a name, as it stands, without line breaks but those of paragraphs and of indented examples. */
const docOf = (checker: ts.TypeChecker, s: ts.Symbol): string =>
  ts
    .displayPartsToString(s.getDocumentationComment(checker))
    .split(/\n\s*\n/)
    .map((p) => (/^ {2,}/.test(p) ? `\`\`\`\n${p.replace(/^ {2,3}/gm, '')}\n\`\`\`` : p.replace(/\s*\n\s*/g, ' ')))
    .join('\n\n')
    .trim();

/** The parameters of a function as they are written. */
const signatureOf = (s: ts.Symbol): string => {
  const d = s.valueDeclaration;
  const f = d && ts.isVariableDeclaration(d) && d.initializer && ts.isArrowFunction(d.initializer) ? d.initializer : undefined;
  return f ? `(${f.parameters.map((p) => p.name.getText().replace(/\s+/g, ' ')).join(', ')})` : '';
};

export const reference = (): string => {
  const all = faces();
  const files = all.map(([, file]) => join(root, file));
  const { options } = ts.parseJsonConfigFileContent(
    ts.readConfigFile(join(root, 'tsconfig.json'), ts.sys.readFile).config,
    { ...ts.sys, readDirectory: () => [] },
    root,
  );
  const program = ts.createProgram(files, options);
  const checker = program.getTypeChecker();
  const told = new Map<ts.Symbol, string>();
  const sections = all.map(([name, file]) => {
    const module = checker.getSymbolAtLocation(program.getSourceFile(join(root, file)) as ts.SourceFile) as ts.Symbol;
    const names = checker
      .getExportsOfModule(module)
      .map((s) => [s.name, s.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(s) : s] as const)
      .sort(([a], [b]) => (a.toLowerCase() < b.toLowerCase() ? -1 : 1));
    const again = names.filter(([, s]) => told.has(s));
    const entries = names
      .filter(([, s]) => !told.has(s))
      .map(([key, s]) => {
        told.set(s, name);
        const from = s.declarations?.[0]?.getSourceFile().fileName ?? '';
        return `### ${key}${signatureOf(s)}\n\n${kindOf(s)}, [${relative(root, from)}](../${relative(root, from)})\n\n${docOf(checker, s)}`.trim();
      });
    const before = [...new Set(again.map(([, s]) => told.get(s) as string))].map(
      (from) =>
        `As in ${from}: ${again
          .filter(([, s]) => told.get(s) === from)
          .map(([key]) => key)
          .join(', ')}.`,
    );
    return [`## ${name}`, aboutOf(file), ...before, ...entries].join('\n\n');
  });
  return `# Reference\n\nMade of the docstrings by \`npx tsx docs/api.ts\`. What an editor shows for a name is what stands here.\n\n${sections.join('\n\n')}\n`;
};

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) writeFileSync(join(root, 'docs/api.md'), reference());
