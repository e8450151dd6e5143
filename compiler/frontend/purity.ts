/**
 * What a traced body may not do. A body runs once, on tensors that have no values yet, and what it does to the world around it happens
 * then and never again: a push, a random number, a branch on a value are compiled away or never seen. The types allow all of that, so
 * these rules read the syntax tree with the type checker at hand, which knows what is a tensor.
 *
 *   fn(['N'], (x) => { seen.push(x); return x; })      FV0901: 'seen.push' changes 'seen', which is declared outside of this traced body
 *
 * Bodies are what is given to fn, module, grad, ..., functions that take a tensor, and functions of the user's that those call. It is a lint,
 * not a proof: a change through a second name is seen where a `const`, a pattern or a loop gives the name, and not through an argument. What is found in a file is kept until its types are looked at anew.
 */
import type ts from 'typescript';
import { type Called, type Facts, type Visit, visitor } from './bodies.ts';
import type { Finding } from './findings.ts';
import { isBody, isCode, runs } from './functions.ts';
import { bare, keyText, pathOf } from './names.ts';
import { spotOfNode } from './sentences.ts';
import { languageName, mayBeTensor, symbolOf } from './tensors.ts';
import { tsc } from './typescript.ts';

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
/** Those that run their functions in the trace around them: what the body around declares, they may change. */
const inPlace: ReadonlySet<string> = new Set(['scope', 'phase', 'treeMap', 'treeMapWithPath']);
/** The literal of parameters that a module declares. */
const declaredBy = (call: ts.CallExpression): ts.ObjectLiteralExpression | undefined => {
  const declares = call.arguments[1];
  if (!isBody(declares)) return undefined;
  let tree: ts.Node = declares.body;
  while (tsc.isParenthesizedExpression(tree)) tree = tree.expression;
  return tsc.isObjectLiteralExpression(tree) ? tree : undefined;
};
/** Parameters of a module that have the name of one of its sizes. */
const clashing = (call: ts.CallExpression, say: Visit['say']): void => {
  const [sizes, tree] = [call.arguments[0], declaredBy(call)];
  if (!sizes || !tsc.isObjectLiteralExpression(sizes) || !tree) return;
  const names = new Map(sizes.properties.flatMap((p) => (p.name ? [[keyText(p.name), p.name] as const] : [])));
  for (const { name } of tree.properties) {
    const size = name && names.get(keyText(name));
    if (name && size)
      say(name, 'FV0007', `module: '${keyText(name)}' is the name of a size and of a parameter. Give one of them another name`, [
        { ...spotOfNode(size), message: 'the size is declared here' },
      ]);
  }
};
/** Parameters that a module declares and its body never mentions. */
const unused = (call: ts.CallExpression, say: Visit['say']): void => {
  const [tree, body] = [declaredBy(call), call.arguments.at(-1)];
  if (!tree || !isBody(body)) return;
  const name = body.parameters[0]?.name;
  if (!name) return;
  const used = new Set<string>();
  if (tsc.isObjectBindingPattern(name)) {
    if (name.elements.some((e) => e.dotDotDotToken)) return;
    for (const e of name.elements) used.add(keyText(e.propertyName ?? e.name));
  } else {
    let whole = false;
    const visit = (n: ts.Node): void => {
      if (tsc.isIdentifier(n) && n.text === name.getText()) {
        const up = n.parent;
        if (tsc.isPropertyAccessExpression(up) && up.expression === n) used.add(up.name.text);
        else if (tsc.isElementAccessExpression(up) && tsc.isStringLiteralLike(up.argumentExpression))
          used.add(keyText(up.argumentExpression));
        else whole = true;
      }
      tsc.forEachChild(n, visit);
    };
    visit(body.body);
    if (whole) return;
  }
  for (const p of tree.properties) {
    const key = p.name && keyText(p.name);
    if (p.name && key !== undefined && !used.has(key))
      say(p.name, 'FV0906', `'${key}' is a parameter that the body never mentions: it would get no gradient`, [], 'warning');
  }
};

/** `Object.assign(f, { args: [...] })`: the function that says so what it takes, and is traced with it. */
const withArgs = (checker: ts.TypeChecker, n: ts.CallExpression): ts.Expression | undefined => {
  const [f, ...more] = n.arguments;
  if (!f || n.expression.getText() !== 'Object.assign') return undefined;
  return more.some((m) => checker.getTypeAtLocation(m).getProperty('args')) ? bare(f) : undefined;
};

/** What the bodies that a part of a file gives to the tracer do. */
const factsIn = (checker: ts.TypeChecker, part: ts.Node, own: ReadonlySet<ts.SourceFile>, visit: Visit): Facts => {
  const elsewhere: Called[] = [];
  const find = (n: ts.Node): void => {
    if (tsc.isCallExpression(n)) {
      const name = languageName(checker, n.expression);
      if (name !== undefined && tracing.has(name)) {
        const bodies = name === 'module' ? n.arguments.slice(-1) : n.arguments;
        for (const b of bodies) if (isBody(b)) visit.body(b, 'this traced body', inPlace.has(name) ? 'called' : 'given');
        if (name === 'module') {
          clashing(n, visit.say);
          unused(n, visit.say);
        }
      }
      const declaring = withArgs(checker, n);
      const f = declaring && runs(checker, declaring);
      if (f && f.getSourceFile() === n.getSourceFile()) visit.body(f, 'this traced body', 'given');
      else if (f && own.has(f.getSourceFile()))
        elsewhere.push({
          file: f.getSourceFile().fileName,
          path: pathOf(f),
          whose: `'${declaring?.getText()}', which is traced`,
          how: 'called',
        });
    }
    if (isBody(n) && n.parameters.some((p) => mayBeTensor(checker, checker.getTypeAtLocation(p))))
      // on which object a method is called is known where it is
      visit.body(n, 'this function of tensors', tsc.isMethodDeclaration(n) ? 'own' : 'called');
    tsc.forEachChild(n, find);
  };
  find(part);
  return { ...visit, calls: [...visit.calls, ...elsewhere] };
};
const factsOf = (checker: ts.TypeChecker, file: ts.SourceFile, own: ReadonlySet<ts.SourceFile>): Facts =>
  factsIn(checker, file, own, visitor(checker, own));

/** What one function does that is traced because a body of another file calls it. */
const helperFacts = (
  checker: ts.TypeChecker,
  file: ts.SourceFile,
  { path, whose, how }: Called,
  own: ReadonlySet<ts.SourceFile>,
): Facts => {
  const visit = visitor(checker, own);
  const find = (n: ts.Node): void => {
    if (isCode(n) && pathOf(n) === path) visit.body(n, whose, how);
    else tsc.forEachChild(n, find);
  };
  find(file);
  return visit;
};

/** Of one file: its own bodies, and helpers of others by their paths and how they are called. */
interface Known {
  readonly source: ts.SourceFile;
  readonly facts: Facts;
  readonly helpers: Map<string, Facts>;
}

/** What bodies of other files do that `calls` lead to; `factsAt` has nothing to say of those that were visited. */
const followed = (calls: readonly Called[], factsAt: (call: Called) => Facts | undefined): readonly Finding[] => {
  const [open, found, seen] = [[...calls], [] as Finding[], new Set<string>()];
  for (let call = open.pop(); call; call = open.pop()) {
    const key = `${call.file}#${call.path} ${call.how}`;
    if (seen.has(key)) continue;
    seen.add(key);
    const facts = factsAt(call);
    if (!facts) continue;
    found.push(...facts.findings);
    open.push(...facts.calls);
  }
  return found;
};
/** Two helpers may call a third. */
const once = (found: readonly Finding[]): readonly Finding[] => [
  ...new Map(found.toReversed().map((f) => [`${f.file}:${f.line}:${f.col}:${f.code}`, f])).values(),
];

/**
 * Purity of the bodies in `files` of a program, and of those that they call. The function it gives remembers what it found in files that are
 * not in `anew`.
 */
export const purity = (): ((program: ts.Program, files: readonly ts.SourceFile[], anew: ReadonlySet<string>) => readonly Finding[]) => {
  let known = new Map<string, Known>();
  return (program, files, anew) => {
    const checker = program.getTypeChecker();
    const own = new Set(files);
    known = new Map(
      files.map((source) => {
        const before = known.get(source.fileName);
        // the line of a declaration in another file may be another by now
        const alone = before?.facts.findings.every((f) => f.related.every((r) => r.file === source.fileName));
        const same = before && alone && before.source === source && !anew.has(source.fileName);
        return [source.fileName, same ? before : { source, facts: factsOf(checker, source, own), helpers: new Map() }];
      }),
    );
    const all = [...known.values()].map((k) => k.facts);
    const further = followed(
      all.flatMap((f) => f.calls),
      (call) => {
        const k = known.get(call.file);
        if (!k || k.facts.bodies.has(call.path)) return undefined;
        const key = `${call.path} ${call.how}`;
        const facts = k.helpers.get(key) ?? helperFacts(checker, k.source, call, own);
        k.helpers.set(key, facts);
        return facts;
      },
    );
    return once([...all.flatMap((f) => f.findings), ...further]);
  };
};

/** Purity of one export alone: of its declaration, and of all in the user's files that names in it lead to. */
export const exportPurity = (program: ts.Program, files: readonly ts.SourceFile[], file: string, name: string): readonly Finding[] => {
  const checker = program.getTypeChecker();
  const own = new Set(files);
  const module = program.getSourceFile(file);
  const symbol = module && checker.getSymbolAtLocation(module);
  const exported = symbol && checker.getExportsOfModule(symbol).find((s) => s.name === name);
  const aliased = (s: ts.Symbol | undefined): ts.Symbol | undefined =>
    s && (s.flags & tsc.SymbolFlags.Alias) !== 0 ? checker.getAliasedSymbol(s) : s;
  const visits = new Map<ts.SourceFile, Visit>();
  const parts = new Set<ts.Node>();
  const follow = (s: ts.Symbol | undefined): void => {
    for (const d of s?.declarations ?? []) if (own.has(d.getSourceFile()) && !tsc.isSourceFile(d)) parts.add(d);
  };
  follow(aliased(exported));
  const names = (n: ts.Node): void => {
    if (tsc.isIdentifier(n)) follow(symbolOf(checker, n));
    // `{ a }` is a property, and a name of what is outside
    if (tsc.isShorthandPropertyAssignment(n)) follow(aliased(checker.getShorthandAssignmentValueSymbol(n)));
    tsc.forEachChild(n, names);
  };
  const calls: Called[] = [];
  // a set gives what is added while it is gone through
  for (const part of parts) {
    const source = part.getSourceFile();
    const visit = visits.get(source) ?? visitor(checker, own);
    visits.set(source, visit);
    if (isBody(part) || (tsc.isVariableDeclaration(part) && part.initializer)) calls.push(...factsIn(checker, part, own, visit).calls);
    names(part);
  }
  const further = followed(calls, (call) => {
    const source = program.getSourceFile(call.file);
    return source && !visits.get(source)?.bodies.has(call.path) ? helperFacts(checker, source, call, own) : undefined;
  });
  return once([...[...visits.values()].flatMap((v) => v.findings), ...further]);
};
