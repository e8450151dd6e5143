/**
 * What a traced body may not do. A body runs once, on tensors that have no values yet, and what it does to the world around it happens
 * then and never again: a push, a random number, a branch on a value are compiled away or never seen. The types allow all of that, so
 * these rules read the syntax tree with the type checker at hand, which knows what is a tensor.
 *
 *   fn(['N'], (x) => { seen.push(x); return x; })      FV0901: 'seen.push' changes 'seen', which is declared outside of this traced body
 *
 * Bodies are what is given to fn, module, grad, ..., functions that take a tensor, and functions of the user's that those call. It is a lint,
 * not a proof: a change through a second name is not seen.
 */
import ts from 'typescript';
import type { Finding, Spot } from './findings.ts';
import { spotOfNode } from './sentences.ts';
import { isTensorAlone, languageName, mayBeTensor, symbolOf } from './tensors.ts';

type Body = (ts.ArrowFunction | ts.FunctionExpression | ts.FunctionDeclaration | ts.MethodDeclaration) & { readonly body: ts.ConciseBody };
const isBody = (n: ts.Node | undefined): n is Body =>
  n !== undefined &&
  (ts.isArrowFunction(n) || ts.isFunctionExpression(n) || ts.isFunctionDeclaration(n) || ts.isMethodDeclaration(n)) &&
  n.body !== undefined;

/** Functions of the language whose function arguments are traced. */
const tracing: ReadonlySet<string> = new Set([
  'fn',
  'module',
  'grad',
  'valueAndGrad',
  'checkpoint',
  'vmap',
  'jvp',
  'scan',
  'composite',
  'scope',
  'phase',
  'treeMap',
  'treeMapWithPath',
  'compile',
  'trace',
]);
const mutators: ReadonlySet<string> = new Set([
  'push',
  'pop',
  'shift',
  'unshift',
  'splice',
  'sort',
  'reverse',
  'fill',
  'set',
  'add',
  'delete',
  'clear',
  'copyWithin',
]);
/** Globals by name; what of them depends on when or where it is asked, all of it if undefined. */
const changing: ReadonlyMap<string, ReadonlySet<string> | undefined> = new Map([
  ['Math', new Set(['random'])],
  ['Date', undefined],
  ['performance', undefined],
  ['process', undefined],
  ['console', undefined],
  ['crypto', undefined],
  ['localStorage', undefined],
]);
const effects: ReadonlySet<string> = new Set([
  'fetch',
  'setTimeout',
  'setInterval',
  'setImmediate',
  'queueMicrotask',
  'eval',
  'require',
  'alert',
  'prompt',
]);
const methods: Readonly<Record<string, string>> = {
  '+': '.add',
  '-': '.sub',
  '*': '.mul',
  '/': '.div',
  '<': '.lt',
  '>': '.gt',
  '<=': '.le',
  '>=': '.ge',
  '%': '.rem',
  '**': '.pow',
};

/** The name at the root of `a.b[c].d`. */
const rootName = (e: ts.Expression): ts.Identifier | undefined => {
  let at = e;
  while (
    ts.isPropertyAccessExpression(at) ||
    ts.isElementAccessExpression(at) ||
    ts.isNonNullExpression(at) ||
    ts.isParenthesizedExpression(at)
  )
    at = at.expression;
  return ts.isIdentifier(at) ? at : undefined;
};
const within = (d: ts.Node, f: ts.Node): boolean => d.getSourceFile() === f.getSourceFile() && d.pos >= f.pos && d.end <= f.end;
/** Declared at the top of a file, and so alive as long as the process. */
const ofFile = (d: ts.Node): boolean => {
  let at = d.parent;
  while (
    ts.isVariableDeclarationList(at) ||
    ts.isVariableStatement(at) ||
    ts.isBindingElement(at) ||
    ts.isObjectBindingPattern(at) ||
    ts.isVariableDeclaration(at)
  )
    at = at.parent;
  return ts.isSourceFile(at);
};
const builtIn = (d: ts.Declaration | undefined): boolean => d === undefined || d.getSourceFile().isDeclarationFile;

/** Purity of the bodies in `files`; what those call is followed into the other files. */
export const purity = (program: ts.Program, files: readonly ts.SourceFile[]): readonly Finding[] => {
  const checker = program.getTypeChecker();
  const out: Finding[] = [];
  const own = new Set(files);
  const say = (
    n: ts.Node,
    code: string,
    message: string,
    related: readonly (Spot & { readonly message: string })[] = [],
    severity: Finding['severity'] = 'error',
  ): void => {
    out.push({ ...spotOfNode(n), code, severity, message, related });
  };
  const isTensor = (n: ts.Node): boolean => mayBeTensor(checker, checker.getTypeAtLocation(n));
  const declarationOf = (id: ts.Node): ts.Declaration | undefined => symbolOf(checker, id)?.valueDeclaration;
  const done = new Set<ts.Node>();

  /** `given`: to a function of the language, so that nothing of the user's stands between it and the trace. */
  const visitBody = (f: Body, whose: string, given = false): void => {
    if (done.has(f)) return;
    done.add(f);
    if (f.modifiers?.some((m) => m.kind === ts.SyntaxKind.AsyncKeyword))
      say(f, 'FV0904', `${whose} is async: it is traced in one go, and what comes later is in no program`);
    const outside = (id: ts.Identifier): ts.Declaration | undefined => {
      const d = declarationOf(id);
      if (!d || within(d, f)) return undefined;
      // what a function around it declares may be made anew by every trace
      return given || ofFile(d) ? d : undefined;
    };
    const declaredAt = (id: ts.Identifier, d: ts.Declaration) => [
      { ...spotOfNode(ts.getNameOfDeclaration(d) ?? d), message: `'${id.text}' is declared here` },
    ];
    const changes = (n: ts.Node, target: ts.Expression, what: string): void => {
      const id = rootName(target);
      const d = id && outside(id);
      if (id && d)
        say(
          n,
          'FV0901',
          `${what} '${id.text}', which is declared outside of ${whose}: it would happen once, when the body is traced, and never in the program`,
          declaredAt(id, d),
        );
    };
    const decides = (e: ts.Expression, what: string): void => {
      // of what may be missing only its presence is asked
      if (isTensorAlone(checker, checker.getTypeAtLocation(e)))
        say(
          e,
          'FV0903',
          `${what} depends on the value of a tensor, and a body is traced before there is any. Use where(condition, a, b), or decide by numbers and options`,
        );
    };
    const global = (n: ts.PropertyAccessExpression | ts.NewExpression | ts.CallExpression): void => {
      if (!ts.isIdentifier(n.expression) || !changing.has(n.expression.text) || !builtIn(declarationOf(n.expression))) return;
      const some = changing.get(n.expression.text);
      if (some && !(ts.isPropertyAccessExpression(n) && some.has(n.name.text))) return;
      if (!ts.isPropertyAccessExpression(n) && n.expression.text !== 'Date') return;
      const hint = n.expression.text === 'Math' ? '. Use random.uniform(key, shape) with a key that is an argument' : '';
      say(n, 'FV0902', `'${n.getText()}' is asked once, when the body is traced: every run of the program has what it said then${hint}`);
    };
    const called = (n: ts.CallExpression): void => {
      const { expression: callee } = n;
      if (ts.isIdentifier(callee) && effects.has(callee.text) && builtIn(declarationOf(callee)))
        say(n, 'FV0902', `'${callee.text}' is done once, when the body is traced, and is in no program`);
      if (ts.isPropertyAccessExpression(callee) && mutators.has(callee.name.text) && !isTensor(callee.expression))
        changes(n, callee.expression, `'${callee.getText()}' changes`);
      const d = declarationOf(ts.isPropertyAccessExpression(callee) ? callee.name : callee);
      if (
        d &&
        /[\\/]@types[\\/]node[\\/](?:fs|child_process|net|http|https|dgram|worker_threads|readline|os)\b/.test(d.getSourceFile().fileName)
      )
        say(n, 'FV0902', `'${callee.getText()}' reaches out of the program: it is done once, when the body is traced`);
      const f = d && (isBody(d) ? d : ts.isVariableDeclaration(d) && isBody(d.initializer) ? d.initializer : undefined);
      if (f && own.has(f.getSourceFile()) && !within(f, n)) visitBody(f, `'${callee.getText()}', which a traced body calls`);
    };
    const binary = (n: ts.BinaryExpression): void => {
      const kind = n.operatorToken.kind;
      const text = n.operatorToken.getText();
      if (kind >= ts.SyntaxKind.FirstAssignment && kind <= ts.SyntaxKind.LastAssignment) {
        const id = rootName(n.left);
        if (
          id &&
          id !== n.left &&
          !outside(id) &&
          (ts.isElementAccessExpression(n.left) || ts.isPropertyAccessExpression(n.left)) &&
          isTensor(n.left.expression)
        )
          say(n.left, 'FV0901', 'a tensor is a value: none of its elements can be assigned. Use where, concat or scatterAdd');
        else changes(n.left, n.left, n.left === id ? 'this assigns to' : 'this writes into');
      } else if (kind === ts.SyntaxKind.AmpersandAmpersandToken || kind === ts.SyntaxKind.BarBarToken) {
        decides(n.left, `'${text}'`);
      } else if (methods[text] !== undefined && (isTensor(n.left) || isTensor(n.right))) {
        say(n, 'FV0903', `'${text}' of JavaScript on a tensor: use ${methods[text]}(...)`);
      }
    };
    const unary = (n: ts.PrefixUnaryExpression | ts.PostfixUnaryExpression): void => {
      if (n.operator === ts.SyntaxKind.PlusPlusToken || n.operator === ts.SyntaxKind.MinusMinusToken) changes(n, n.operand, 'this changes');
      else if (n.operator === ts.SyntaxKind.ExclamationToken) decides(n.operand, "'!'");
      else if (isTensor(n.operand))
        say(n, 'FV0903', `'${n.getText()[0]}' of JavaScript on a tensor is a number, and no operation: use .neg()`);
    };
    const visit = (n: ts.Node): void => {
      if (ts.isBinaryExpression(n)) binary(n);
      else if (ts.isPrefixUnaryExpression(n) || ts.isPostfixUnaryExpression(n)) unary(n);
      else if (ts.isIfStatement(n)) decides(n.expression, 'this branch');
      else if (ts.isConditionalExpression(n)) decides(n.condition, 'this choice');
      else if (ts.isWhileStatement(n) || ts.isDoStatement(n)) decides(n.expression, 'this loop');
      else if (ts.isForStatement(n) && n.condition) decides(n.condition, 'this loop');
      else if (ts.isForOfStatement(n)) decides(n.expression, 'this loop');
      else if (ts.isSwitchStatement(n)) decides(n.expression, 'this switch');
      else if (ts.isTemplateSpan(n)) decides(n.expression, 'this text');
      else if (ts.isAwaitExpression(n) || ts.isYieldExpression(n))
        say(n, 'FV0904', `${whose} is traced in one go: there is nothing to wait for, and nobody to yield to`);
      else if (n.kind === ts.SyntaxKind.ThisKeyword) say(n, 'FV0901', `'this' is state outside of ${whose}: give it as an argument`);
      else if (ts.isDeleteExpression(n)) changes(n, n.expression, 'this deletes from');
      else if (ts.isExpressionStatement(n) && !ts.isBinaryExpression(n.expression) && isTensor(n.expression))
        say(
          n.expression,
          'FV0905',
          'the result is not used: an operation gives a new tensor and never changes its operands',
          [],
          'warning',
        );
      else if (ts.isPropertyAccessExpression(n) || ts.isNewExpression(n)) global(n);
      else if (ts.isCallExpression(n)) {
        global(n);
        called(n);
      } else if (ts.isIdentifier(n)) captured(n);
      ts.forEachChild(n, visit);
    };
    /** A tensor that a file makes when it is loaded belongs to no trace. */
    const captured = (id: ts.Identifier): void => {
      const d = declarationOf(id);
      if (!d || id.parent === d || !ts.isVariableDeclaration(d) || !isTensor(id)) return;
      if (ofFile(d) && !d.getSourceFile().isDeclarationFile)
        say(
          id,
          'FV0907',
          `'${id.text}' is a tensor that is made when its file is loaded, outside of every trace: make it inside of the body, or take it as an argument`,
          declaredAt(id, d),
        );
    };
    visit(f.body);
  };

  /** Parameters that a module declares and its body never mentions. */
  const unused = (call: ts.CallExpression): void => {
    const [declares, body] = [call.arguments[1], call.arguments.at(-1)];
    if (!isBody(declares) || !isBody(body)) return;
    let tree: ts.Node = declares.body;
    while (ts.isParenthesizedExpression(tree)) tree = tree.expression;
    const name = body.parameters[0]?.name;
    if (!ts.isObjectLiteralExpression(tree) || !name) return;
    const used = new Set<string>();
    if (ts.isObjectBindingPattern(name)) {
      if (name.elements.some((e) => e.dotDotDotToken)) return;
      for (const e of name.elements) used.add((e.propertyName ?? e.name).getText());
    } else {
      let whole = false;
      const visit = (n: ts.Node): void => {
        if (ts.isIdentifier(n) && n.text === name.getText()) {
          const up = n.parent;
          if (ts.isPropertyAccessExpression(up) && up.expression === n) used.add(up.name.text);
          else if (ts.isElementAccessExpression(up) && ts.isStringLiteralLike(up.argumentExpression)) used.add(up.argumentExpression.text);
          else whole = true;
        }
        ts.forEachChild(n, visit);
      };
      visit(body.body);
      if (whole) return;
    }
    for (const p of tree.properties) {
      const key = p.name?.getText().replace(/['"]/g, '');
      if (p.name && key !== undefined && !used.has(key))
        say(p.name, 'FV0906', `'${key}' is a parameter that the body never mentions: it would get no gradient`, [], 'warning');
    }
  };

  const find = (n: ts.Node): void => {
    if (ts.isCallExpression(n)) {
      const name = languageName(checker, n.expression);
      if (name !== undefined && tracing.has(name)) {
        const bodies = name === 'module' ? n.arguments.slice(-1) : n.arguments;
        for (const b of bodies) if (isBody(b)) visitBody(b, 'this traced body', true);
        if (name === 'module') unused(n);
      }
    }
    if (isBody(n) && n.parameters.some((p) => isTensor(p))) visitBody(n, 'this function of tensors');
    ts.forEachChild(n, find);
  };
  for (const f of files) find(f);
  return out;
};
