/** Names in expressions, and where what they name is declared: the syntax that the rules of bodies.ts ask for. */
import type ts from 'typescript';
import { tsc } from './typescript.ts';

/** `=`, `+=`, `??=` and the like. */
export const isAssignment = ({ operatorToken: { kind } }: ts.BinaryExpression): boolean =>
  kind >= tsc.SyntaxKind.FirstAssignment && kind <= tsc.SyntaxKind.LastAssignment;

/** What `[a, b.c] = ...` and `({ a, b: c } = ...)` assign to; of anything else itself. */
export const targetsOf = (e: ts.Node): readonly ts.Expression[] => {
  if (tsc.isArrayLiteralExpression(e)) return e.elements.flatMap(targetsOf);
  if (tsc.isObjectLiteralExpression(e)) return e.properties.flatMap(targetsOf);
  if (tsc.isPropertyAssignment(e)) return targetsOf(e.initializer);
  if (tsc.isShorthandPropertyAssignment(e)) return [e.name];
  if (tsc.isSpreadElement(e) || tsc.isSpreadAssignment(e) || tsc.isParenthesizedExpression(e)) return targetsOf(e.expression);
  // with a default
  if (tsc.isBinaryExpression(e)) return targetsOf(e.left);
  return tsc.isExpression(e) ? [e] : [];
};
/** What stands inside of parentheses and of what is said of a type: `f` of `(f as any)`. */
export const bare = (e: ts.Expression): ts.Expression => {
  let at = e;
  while (
    tsc.isParenthesizedExpression(at) ||
    tsc.isAsExpression(at) ||
    tsc.isSatisfiesExpression(at) ||
    tsc.isTypeAssertionExpression(at) ||
    tsc.isNonNullExpression(at)
  )
    at = at.expression;
  return at;
};
/** The name at the root of `a.b[c].d`. */
export const rootName = (e: ts.Expression): ts.Identifier | undefined => {
  let at = bare(e);
  while (tsc.isPropertyAccessExpression(at) || tsc.isElementAccessExpression(at)) at = bare(at.expression);
  return tsc.isIdentifier(at) ? at : undefined;
};
export const within = (d: ts.Node, f: ts.Node): boolean => d.getSourceFile() === f.getSourceFile() && d.pos >= f.pos && d.end <= f.end;
/** Declared at the top of a file, and so alive as long as the process; or the file, for `import * as ops`. */
export const ofFile = (d: ts.Node): boolean => {
  if (tsc.isSourceFile(d)) return true;
  let at = d.parent;
  while (
    tsc.isVariableDeclarationList(at) ||
    tsc.isVariableStatement(at) ||
    tsc.isBindingElement(at) ||
    tsc.isObjectBindingPattern(at) ||
    tsc.isVariableDeclaration(at)
  )
    at = at.parent;
  return tsc.isSourceFile(at);
};
/** What a name in a body is another name for: `log` of `l` after `const l = log`, `const { l } = log` or `for (const l of log)`. */
export const sourceOf = (d: ts.Declaration | undefined): ts.Expression | undefined => {
  let at: ts.Node | undefined = d;
  while (at && (tsc.isBindingElement(at) || tsc.isObjectBindingPattern(at) || tsc.isArrayBindingPattern(at))) at = at.parent;
  if (!at || !tsc.isVariableDeclaration(at)) return undefined;
  const loop = at.parent.parent;
  return at.initializer ?? (loop && tsc.isForOfStatement(loop) ? loop.expression : undefined);
};
/** The method that a call names, as `list.push(1)` or `list['push'](1)`, and what it is a method of. */
export const methodOf = (
  callee: ts.Expression,
): { readonly of: ts.Expression; readonly name: ts.Node; readonly text: string } | undefined => {
  if (tsc.isPropertyAccessExpression(callee)) return { of: callee.expression, name: callee.name, text: callee.name.text };
  if (tsc.isElementAccessExpression(callee) && tsc.isStringLiteralLike(callee.argumentExpression))
    return { of: callee.expression, name: callee.argumentExpression, text: callee.argumentExpression.text };
  return undefined;
};
/** The key that a name in a literal, a pattern or brackets stands for: `a b` of `'a b'`. */
export const keyText = (name: ts.Node): string => {
  if (tsc.isComputedPropertyName(name) && tsc.isStringLiteralLike(name.expression)) return name.expression.text;
  return tsc.isIdentifier(name) || tsc.isStringLiteralLike(name) || tsc.isNumericLiteral(name) ? name.text : name.getText();
};
/** Names from the top of the file to a function, by which it is found again after an edit: `layers.attention`. */
export const pathOf = (f: ts.Node): string => {
  const names: string[] = [];
  for (let n = f; !tsc.isSourceFile(n); n = n.parent) {
    const name = tsc.getNameOfDeclaration(n as ts.Declaration);
    if (name) names.unshift(name.getText());
  }
  return names.join('.');
};
