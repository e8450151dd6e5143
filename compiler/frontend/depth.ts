/**
 * Expressions that are nested deeper than the stack of the compiler of TypeScript, whose walks call themselves: `x.add(1)` a thousand times in a
 * row, which only programs write. Nothing can be said of such a file but that it is one.
 */
import type ts from 'typescript';
import type { Finding } from './findings.ts';
import { spotOfNode } from './sentences.ts';
import { tsc } from './typescript.ts';

export const outOfStack = (e: unknown): e is RangeError => e instanceof RangeError && e.message.startsWith('Maximum call stack');

interface Depth {
  readonly levels: number;
  /** The statement of the file that has them. */
  readonly statement: ts.Node;
}

/** Of the deepest node; with a list of what is to be visited, for a walk that calls itself ends as the compiler's did. */
const depthOf = (file: ts.SourceFile): Depth => {
  let most: Depth = { levels: 0, statement: file };
  for (const statement of file.statements) {
    const open: (readonly [ts.Node, number])[] = [[statement, 1]];
    for (let at = open.pop(); at; at = open.pop()) {
      const [n, levels] = at;
      if (levels > most.levels) most = { levels, statement };
      tsc.forEachChild(n, (child) => {
        open.push([child, levels + 1]);
      });
    }
  }
  return most;
};

const message = (levels: string): string =>
  `expressions are nested too deep${levels} for the compiler of TypeScript, which runs out of stack: types and purity were not checked. Write them as statements, or as a loop`;
const finding = { code: 'FV0402', severity: 'error', related: [] } as const;

/** FV0402, of a file that was not even read to its end. */
export const unparsed = (file: string): Finding => ({ ...finding, file, line: 1, col: 1, endLine: 1, endCol: 2, message: message('') });

/** FV0402, at the deepest statement of these files. */
export const deepest = (files: readonly ts.SourceFile[]): readonly Finding[] => {
  const all = files.map(depthOf).sort((a, b) => b.levels - a.levels);
  return all.slice(0, 1).map(({ levels, statement }) => {
    const spot = spotOfNode(statement);
    return { ...finding, ...spot, endLine: spot.line, endCol: spot.col + 1, message: message(` (${levels} levels)`) };
  });
};
