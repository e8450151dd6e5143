/**
 * Functions in the syntax of a file: which nodes are some, and which one a call, a `new` or a property runs, if the name of it leads to its text.
 *
 *   const opts = { rate: () => 0.1 };        runs(checker, `opts.rate`) is the arrow
 */
import type ts from 'typescript';
import { bare, methodOf } from './names.ts';
import { symbolOf } from './tensors.ts';
import { tsc } from './typescript.ts';

export type Body = (ts.ArrowFunction | ts.FunctionExpression | ts.FunctionDeclaration | ts.MethodDeclaration) & {
  readonly body: ts.ConciseBody;
};
export const isBody = (n: ts.Node | undefined): n is Body =>
  n !== undefined &&
  (tsc.isArrowFunction(n) || tsc.isFunctionExpression(n) || tsc.isFunctionDeclaration(n) || tsc.isMethodDeclaration(n)) &&
  n.body !== undefined;

/** Also what runs without being called by its name. */
export type Code = Body | ((ts.ConstructorDeclaration | ts.GetAccessorDeclaration) & { readonly body: ts.Block });
export const isCode = (n: ts.Node | undefined): n is Code =>
  isBody(n) || (n !== undefined && (tsc.isConstructorDeclaration(n) || tsc.isGetAccessorDeclaration(n)) && n.body !== undefined);

export const declarationOf = (checker: ts.TypeChecker, id: ts.Node): ts.Declaration | undefined => {
  // `{ a }` is a property and a variable, and the variable is meant
  const s = tsc.isShorthandPropertyAssignment(id.parent) ? checker.getShorthandAssignmentValueSymbol(id.parent) : undefined;
  return (s && (s.flags & tsc.SymbolFlags.Alias) === 0 ? s : symbolOf(checker, id))?.valueDeclaration;
};

/** The function that an expression stands for: itself, a variable, a property of a literal or of a class. */
export const runs = (checker: ts.TypeChecker, e: ts.Expression, seen: ReadonlySet<ts.Node> = new Set()): Code | undefined => {
  const at = bare(e);
  if (isBody(at)) return at;
  const name = tsc.isIdentifier(at) ? at : methodOf(at)?.name;
  const d = name && declarationOf(checker, name);
  if (!d || seen.has(d)) return undefined;
  if (isCode(d)) return d;
  const more = new Set([...seen, d]);
  if (tsc.isShorthandPropertyAssignment(d)) return runs(checker, d.name, more);
  const given = tsc.isVariableDeclaration(d) || tsc.isPropertyAssignment(d) || tsc.isPropertyDeclaration(d) ? d.initializer : undefined;
  return given && runs(checker, given, more);
};

/** What `new K()` and `super()` run. */
export const constructorOf = (checker: ts.TypeChecker, n: ts.NewExpression | ts.CallExpression): Code | undefined => {
  const d = checker.getResolvedSignature(n)?.declaration as ts.Node | undefined;
  return d && tsc.isConstructorDeclaration(d) && isCode(d) ? d : undefined;
};

/** The function that a `this` or a `yield` belongs to: arrows have none of their own. */
export const functionAround = (n: ts.Node): ts.Node => {
  let at = n.parent;
  while (
    !tsc.isSourceFile(at) &&
    !tsc.isPropertyDeclaration(at) &&
    !tsc.isClassStaticBlockDeclaration(at) &&
    (tsc.isArrowFunction(at) || !tsc.isFunctionLike(at))
  )
    at = at.parent;
  return at;
};
