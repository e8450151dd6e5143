/**
 * What a traced body may not do, rule by rule: the syntax of one body, with the type checker at hand, which knows what is a tensor. Bodies that
 * it calls are visited too if they are in its file, and told if they are in another (purity.ts goes there).
 */
import type ts from 'typescript';
import { acting, asking, builtIn, changers, changing, effects, identities, making, methods, mutates, ownerOf, readers } from './effects.ts';
import type { Finding } from './findings.ts';
import { type Code, constructorOf, declarationOf as declared, functionAround, isCode, runs } from './functions.ts';
import { isAssignment, methodOf, ofFile, pathOf, rootName, sourceOf, targetsOf, within } from './names.ts';
import { spotOfNode } from './sentences.ts';
import { isTensorAlone, mayBeTensor, symbolOf } from './tensors.ts';
import { tsc } from './typescript.ts';

/**
 * How a body comes to be traced. `given`: to a function of the language, so that nothing of the user's stands between it and the trace. `called`: by
 * one that is. `own`: called too, and its `this` is an object that the trace makes.
 */
export type How = 'given' | 'called' | 'own';

/** A body in another file that a traced one calls. */
export interface Called {
  readonly file: string;
  readonly path: string;
  readonly whose: string;
  readonly how: How;
}
export interface Facts {
  readonly findings: readonly Finding[];
  readonly calls: readonly Called[];
  /** Paths of the bodies that were visited. */
  readonly bodies: ReadonlySet<string>;
}
export interface Visit extends Facts {
  readonly body: (f: Code, whose: string, how: How) => void;
  readonly say: (n: ts.Node, code: string, message: string, related?: Finding['related'], severity?: Finding['severity']) => void;
}

const isSelf = (e: ts.Expression): boolean => e.kind === tsc.SyntaxKind.ThisKeyword || e.kind === tsc.SyntaxKind.SuperKeyword;

/** A visit of bodies of one file, each once. `own` are the files of the user's. */
export const visitor = (checker: ts.TypeChecker, own: ReadonlySet<ts.SourceFile>): Visit => {
  const findings: Finding[] = [];
  const calls: Called[] = [];
  const bodies = new Set<string>();
  const done = new Map<ts.Node, How>();
  const say: Visit['say'] = (n, code, message, related = [], severity = 'error') => {
    findings.push({ ...spotOfNode(n), code, severity, message, related });
  };
  const isTensor = (n: ts.Node): boolean => mayBeTensor(checker, checker.getTypeAtLocation(n));
  const declarationOf = (id: ts.Node): ts.Declaration | undefined => declared(checker, id);

  const visitBody: Visit['body'] = (f, whose, how) => {
    const before = done.get(f);
    // of an object outside its `this` is looked at too
    if (before && (before !== 'own' || how === 'own')) return;
    done.set(f, how);
    if (how !== 'own') bodies.add(pathOf(f));
    if (f.modifiers?.some((m) => m.kind === tsc.SyntaxKind.AsyncKeyword))
      say(f, 'FV0904', `${whose} is async: it is traced in one go, and what comes later is in no program`);
    const outside = (id: ts.Identifier): ts.Declaration | undefined => {
      const d = declarationOf(id);
      if (!d || within(d, f)) return undefined;
      // what a function around it declares may be made anew by every trace
      return how === 'given' || ofFile(d) ? d : undefined;
    };
    const declaredAt = (id: ts.Identifier, d: ts.Declaration) => {
      // of a whole module the import
      const own = tsc.isSourceFile(d) ? (checker.getSymbolAtLocation(id)?.declarations?.[0] ?? d) : d;
      return [{ ...spotOfNode(tsc.getNameOfDeclaration(own) ?? own), message: `'${id.text}' is declared here` }];
    };
    /** The name of something outside that an expression belongs to, if by a second name of this body. */
    const originOf = (e: ts.Expression, seen: ReadonlySet<ts.Declaration> = new Set()): ts.Identifier | undefined => {
      const id = rootName(e);
      const d = id && declarationOf(id);
      if (!id || !d || outside(id)) return id;
      const source = within(d, f) && !seen.has(d) ? sourceOf(d) : undefined;
      return source && originOf(source, new Set([...seen, d]));
    };
    /** `assigned`: a variable of this body may get another value, though what it stands for may not be changed. */
    const changes = (n: ts.Node, target: ts.Expression, what: string, assigned = false): void => {
      const id = assigned && tsc.isIdentifier(target) ? target : originOf(target);
      const d = id && outside(id);
      // nothing declares it
      const everyones = id?.text === 'globalThis' && !declarationOf(id);
      if (id && (d || everyones))
        say(
          n,
          'FV0901',
          `${what} '${id.text}', which is ${everyones ? '' : 'declared '}outside of ${whose}: it would happen once, when the body is traced, and never in the program`,
          d && declaredAt(id, d),
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
    /** Whether a `this` is of an object that the trace makes. */
    const isOwn = (self: ts.Node): boolean => {
      const its = functionAround(self);
      return how === 'own' || (its !== f && within(its, f));
    };
    /** Goes on to a function of the user's that runs here, on `of`. */
    const enter = (code: Code | undefined, n: ts.Node, text: string, of?: ts.Expression | 'own'): void => {
      if (!code || !own.has(code.getSourceFile()) || within(code, n)) return;
      const mine = of !== undefined && (of === 'own' || (isSelf(of) ? isOwn(of) : !originOf(of)));
      const [its, so] = [`'${text}', which a traced body calls`, mine ? 'own' : 'called'] as const;
      if (code.getSourceFile() === n.getSourceFile()) visitBody(code, its, so);
      else calls.push({ file: code.getSourceFile().fileName, path: pathOf(code), whose: its, how: so });
    };
    const global = (n: ts.PropertyAccessExpression | ts.NewExpression | ts.CallExpression): void => {
      if (!tsc.isIdentifier(n.expression) || !changing.has(n.expression.text) || !builtIn(declarationOf(n.expression))) return;
      const some = changing.get(n.expression.text);
      if (some && !(tsc.isPropertyAccessExpression(n) && some.has(n.name.text))) return;
      if (!tsc.isPropertyAccessExpression(n) && n.expression.text !== 'Date') return;
      const acts =
        tsc.isPropertyAccessExpression(n) && acting.has(n.expression.text) && (acting.get(n.expression.text)?.has(n.name.text) ?? true);
      const hint = n.expression.text === 'Math' ? '. Use random.uniform(key, shape) with a key that is an argument' : '';
      const why = acts
        ? 'is done once, when the body is traced, and is in no program'
        : `is asked once, when the body is traced: every run of the program has what it said then${hint}`;
      say(n, 'FV0902', `'${n.getText()}' ${why}`);
    };
    /** A regular expression that goes on where it stopped, by its flags. */
    const remembers = (e: ts.Expression): boolean => {
      const id = originOf(e);
      const d = id && declarationOf(id);
      const text =
        d && tsc.isVariableDeclaration(d) && d.initializer && tsc.isRegularExpressionLiteral(d.initializer) && d.initializer.text;
      return /[gy][a-z]*$/.test(text ? text.slice(text.lastIndexOf('/')) : '');
    };
    const called = (n: ts.CallExpression): void => {
      const { expression: callee } = n;
      if (callee.kind === tsc.SyntaxKind.ImportKeyword) {
        say(n, 'FV0902', `'${n.getText()}' is done once, when the body is traced, and is in no program`);
        return;
      }
      if (tsc.isIdentifier(callee) && effects.has(callee.text) && builtIn(declarationOf(callee)))
        say(n, 'FV0902', `'${callee.text}' is done once, when the body is traced, and is in no program`);
      const method = methodOf(callee);
      const [first] = n.arguments;
      if (method) {
        const owners = (symbolOf(checker, method.name)?.declarations ?? []).map(ownerOf);
        if (owners.some((o) => mutates(o, method.text))) changes(n, method.of, `'${callee.getText()}' changes`);
        else if (owners.includes('RegExp') && remembers(method.of)) changes(n, method.of, `'${callee.getText()}' changes`);
        else if (first && owners.some((o) => changers.get(o)?.has(method.text))) changes(n, first, `'${callee.getText()}' changes`);
      }
      if (first && tsc.isIdentifier(callee) && readers.has(callee.text) && builtIn(declarationOf(callee)))
        decides(first, `'${callee.text}'`);
      const asked: ts.Node | undefined = checker.getResolvedSignature(n)?.declaration;
      const name = asked && tsc.isMethodSignature(asked) ? asked.name.getText() : '';
      // `Math.random` as it is mostly written is found where it is asked for
      const plain = tsc.isPropertyAccessExpression(callee) && tsc.isIdentifier(callee.expression);
      if (asked && !plain && asking.get(ownerOf(asked as ts.Declaration))?.has(name))
        say(n, 'FV0902', `'${n.getText()}' is asked once, when the body is traced: every run of the program has what it said then`);
      const d = declarationOf(tsc.isPropertyAccessExpression(callee) ? callee.name : callee);
      if (
        d &&
        /[\\/]@types[\\/]node[\\/](?:fs|child_process|net|http|https|dgram|worker_threads|readline|os)\b/.test(d.getSourceFile().fileName)
      )
        say(n, 'FV0902', `'${callee.getText()}' reaches out of the program: it is done once, when the body is traced`);
      if (callee.kind === tsc.SyntaxKind.SuperKeyword) enter(constructorOf(checker, n), n, 'super', callee);
      // of what a pattern took apart the types still know the function
      else enter(runs(checker, callee) ?? (isCode(asked) ? asked : undefined), n, callee.getText(), method?.of);
    };
    const made = (n: ts.NewExpression): void => {
      const { expression: callee } = n;
      if (tsc.isIdentifier(callee) && making.has(callee.text) && builtIn(declarationOf(callee)))
        say(n, 'FV0902', `'new ${callee.text}' is done once, when the body is traced, and is in no program`);
      enter(constructorOf(checker, n), n, `new ${callee.getText()}`, 'own');
    };
    const assigns = (to: ts.Expression): void => {
      for (const t of targetsOf(to)) changes(t, t, tsc.isIdentifier(t) ? 'this assigns to' : 'this writes into', true);
    };
    const binary = (n: ts.BinaryExpression): void => {
      const kind = n.operatorToken.kind;
      const text = n.operatorToken.getText();
      if (isAssignment(n)) {
        const id = rootName(n.left);
        if (
          id &&
          id !== n.left &&
          !outside(id) &&
          (tsc.isElementAccessExpression(n.left) || tsc.isPropertyAccessExpression(n.left)) &&
          isTensor(n.left.expression)
        )
          say(n.left, 'FV0901', 'a tensor is a value: none of its elements can be assigned. Use where, concat or scatterAdd');
        else assigns(n.left);
      } else if (kind === tsc.SyntaxKind.AmpersandAmpersandToken || kind === tsc.SyntaxKind.BarBarToken) {
        decides(n.left, `'${text}'`);
      } else if (identities.has(text)) {
        if (isTensor(n.left) && isTensor(n.right))
          say(
            n,
            'FV0903',
            `'${text}' of JavaScript asks whether two tensors are one object, and never for their values: use ${methods[text]}(...)`,
          );
      } else if (methods[text] !== undefined && (isTensor(n.left) || isTensor(n.right))) {
        say(n, 'FV0903', `'${text}' of JavaScript on a tensor: use ${methods[text]}(...)`);
      }
    };
    const unary = (n: ts.PrefixUnaryExpression | ts.PostfixUnaryExpression): void => {
      if (n.operator === tsc.SyntaxKind.PlusPlusToken || n.operator === tsc.SyntaxKind.MinusMinusToken)
        changes(n, n.operand, 'this changes', true);
      else if (n.operator === tsc.SyntaxKind.ExclamationToken) decides(n.operand, "'!'");
      else if (isTensor(n.operand))
        say(n, 'FV0903', `'${n.getText()[0]}' of JavaScript on a tensor is a number, and no operation: use .neg()`);
    };
    const visit = (n: ts.Node): void => {
      if (tsc.isBinaryExpression(n)) binary(n);
      else if (tsc.isPrefixUnaryExpression(n) || tsc.isPostfixUnaryExpression(n)) unary(n);
      else if (tsc.isIfStatement(n)) decides(n.expression, 'this branch');
      else if (tsc.isConditionalExpression(n)) decides(n.condition, 'this choice');
      else if (tsc.isWhileStatement(n) || tsc.isDoStatement(n)) decides(n.expression, 'this loop');
      else if (tsc.isForStatement(n) && n.condition) decides(n.condition, 'this loop');
      else if (tsc.isForOfStatement(n) || tsc.isForInStatement(n)) {
        if (tsc.isForOfStatement(n)) decides(n.expression, 'this loop');
        if (!tsc.isVariableDeclarationList(n.initializer)) assigns(n.initializer);
      } else if (tsc.isSwitchStatement(n)) decides(n.expression, 'this switch');
      else if (tsc.isCaseClause(n)) decides(n.expression, 'this case');
      else if (tsc.isTemplateSpan(n)) decides(n.expression, 'this text');
      else if (tsc.isAwaitExpression(n) || tsc.isYieldExpression(n)) {
        // a helper may yield to a loop of the body
        if (tsc.isAwaitExpression(n) || (how === 'given' && functionAround(n) === f))
          say(n, 'FV0904', `${whose} is traced in one go: there is nothing to wait for, and nobody to yield to`);
      } else if (n.kind === tsc.SyntaxKind.ThisKeyword) {
        if (!isOwn(n)) say(n, 'FV0901', `'this' is state outside of ${whose}: give it as an argument`);
      } else if (tsc.isDeleteExpression(n)) changes(n, n.expression, 'this deletes from');
      else if (tsc.isExpressionStatement(n) && !tsc.isBinaryExpression(n.expression) && isTensor(n.expression))
        say(
          n.expression,
          'FV0905',
          'the result is not used: an operation gives a new tensor and never changes its operands',
          [],
          'warning',
        );
      else if (tsc.isPropertyAccessExpression(n)) {
        global(n);
        const d = declarationOf(n.name);
        // one that reads its object is as a property that is read
        if (d && tsc.isGetAccessorDeclaration(d) && isCode(d)) enter(d, n, n.getText(), 'own');
      } else if (tsc.isNewExpression(n)) {
        global(n);
        made(n);
      } else if (tsc.isTaggedTemplateExpression(n)) enter(runs(checker, n.tag), n, n.tag.getText(), methodOf(n.tag)?.of);
      else if (tsc.isCallExpression(n)) {
        global(n);
        called(n);
      }
      capturedAt(n);
      tsc.forEachChild(n, visit);
    };
    /** A tensor that lives as long as the file, by itself or in an object, belongs to no trace, or to one that is over. */
    const captured = (n: ts.Expression, source: ts.Expression = n): void => {
      const id = originOf(source);
      const d = id && declarationOf(id);
      if (!id || !d || !ofFile(d) || d.getSourceFile().isDeclarationFile || !isTensor(n)) return;
      const whole = tsc.isBindingElement(d) ? d.parent.parent : d;
      if (!tsc.isVariableDeclaration(whole)) return;
      const made = (tsc.getCombinedNodeFlags(whole) & tsc.NodeFlags.Const) !== 0;
      say(
        n,
        'FV0907',
        made
          ? `'${n.getText()}' is a tensor that is made when its file is loaded, outside of every trace: make it inside of the body, or take it as an argument`
          : `'${n.getText()}' outlives the trace that put a tensor there, and in another one that tensor means nothing: make it anew inside of the body, or take it as an argument`,
        declaredAt(id, d),
      );
    };
    const capturedAt = (n: ts.Node): void => {
      const up = n.parent;
      // what is assigned to is told as such
      if (tsc.isBinaryExpression(up) && up.left === n && isAssignment(up)) return;
      if (tsc.isPropertyAccessExpression(n) || tsc.isElementAccessExpression(n)) captured(n);
      else if (tsc.isBindingElement(n) && tsc.isIdentifier(n.name)) {
        const source = sourceOf(n);
        if (source) captured(n.name, source);
      } else if (tsc.isIdentifier(n)) {
        const d = declarationOf(n);
        // of this body only what stands for something else is new to it, and that is told where it is named
        if (d && up !== d && !within(d, f)) captured(n);
      }
    };
    for (const p of f.parameters) {
      // a pattern may have values of its own
      visit(p.name);
      if (p.initializer) visit(p.initializer);
    }
    visit(f.body);
  };

  return { findings, calls, bodies, body: visitBody, say };
};
