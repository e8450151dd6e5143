/**
 * The reference of the public interface, from its docstrings: `npx tsx docs/api.ts` writes docs/api.md. A test compares the two, so a name
 * cannot be added, or a docstring changed, without the page.
 */
import { writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { pathToFileURL } from 'node:url';
import ts from 'typescript';

const root = join(import.meta.dirname, '..');
const faces: readonly (readonly [name: string, file: string, about: string])[] = [
  ['fovea', 'index.ts', 'The language, and `compile`.'],
  ['fovea/cpu', 'backends/cpu/index.ts', 'The native backend of processors.'],
  ['fovea/webgpu', 'backends/webgpu/index.ts', 'The WebGPU backend of Node and browsers.'],
  ['fovea/reference', 'backends/reference/index.ts', 'The float64 interpreter.'],
  ['fovea/testing', 'testing/index.ts', 'Gradient checks, generated programs, laws.'],
];

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
  const files = faces.map(([, file]) => join(root, file));
  const { options } = ts.parseJsonConfigFileContent(
    ts.readConfigFile(join(root, 'tsconfig.json'), ts.sys.readFile).config,
    { ...ts.sys, readDirectory: () => [] },
    root,
  );
  const program = ts.createProgram(files, options);
  const checker = program.getTypeChecker();
  const sections = faces.map(([name, file, about]) => {
    const module = checker.getSymbolAtLocation(program.getSourceFile(join(root, file)) as ts.SourceFile) as ts.Symbol;
    const names = checker
      .getExportsOfModule(module)
      .map((s) => [s.name, s.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(s) : s] as const)
      .sort(([a], [b]) => (a.toLowerCase() < b.toLowerCase() ? -1 : 1));
    const entries = names.map(([key, s]) => {
      const from = s.declarations?.[0]?.getSourceFile().fileName ?? '';
      return `### ${key}${signatureOf(s)}\n\n${kindOf(s)}, [${relative(root, from)}](../${relative(root, from)})\n\n${docOf(checker, s)}`.trim();
    });
    return `## ${name}\n\n${about}\n\n${entries.join('\n\n')}`;
  });
  return `# Reference\n\nMade of the docstrings by \`npx tsx docs/api.ts\`. What an editor shows for a name is what stands here.\n\n${sections.join('\n\n')}\n`;
};

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) writeFileSync(join(root, 'docs/api.md'), reference());
