/** What JavaScript's own objects do that a traced body must not: tables by the types that declare them, for the rules of bodies.ts. */
import type ts from 'typescript';
import { tsc } from './typescript.ts';

/** Methods of JavaScript's own types that change what they are called on. An own `add` may be pure, and its body is visited. */
const mutators: readonly (readonly [type: RegExp, methods: RegExp])[] = [
  [/^(?:\w+(?:8|16|32|64|Clamped))?Array$/, /^(?:push|pop|shift|unshift|splice|sort|reverse|fill|copyWithin|set)$/],
  [/^(?:Weak)?(?:Map|Set)$/, /^(?:set|add|delete|clear)$/],
  [/^(?:Date|DataView)$/, /^set[A-Z]/],
];
/** Functions of JavaScript's own objects that change their first argument. */
export const changers: ReadonlyMap<string, ReadonlySet<string>> = new Map([
  ['ObjectConstructor', new Set(['assign', 'defineProperty', 'defineProperties', 'setPrototypeOf', 'freeze', 'seal', 'preventExtensions'])],
  ['Reflect', new Set(['set', 'defineProperty', 'deleteProperty', 'setPrototypeOf', 'preventExtensions'])],
]);
/** Globals by name; what of them depends on when or where it is asked, all of it if undefined. */
export const changing: ReadonlyMap<string, ReadonlySet<string> | undefined> = new Map([
  ['Math', new Set(['random'])],
  ['Date', undefined],
  ['performance', undefined],
  ['process', undefined],
  ['console', undefined],
  ['crypto', undefined],
  ['localStorage', undefined],
  ['sessionStorage', undefined],
]);
/** Of these what does something, instead of answering; all of it if undefined. */
export const acting: ReadonlyMap<string, ReadonlySet<string> | undefined> = new Map([
  ['console', undefined],
  ['process', new Set(['exit', 'abort', 'kill', 'chdir', 'on', 'once', 'emit', 'emitWarning', 'nextTick', 'stdout', 'stderr', 'send'])],
  ['performance', new Set(['mark', 'measure', 'clearMarks', 'clearMeasures'])],
  ['localStorage', new Set(['setItem', 'removeItem', 'clear'])],
  ['sessionStorage', new Set(['setItem', 'removeItem', 'clear'])],
]);
/** The same by the types that declare them: `random()` after `const { random } = Math`, `Math['random']()`. */
export const asking: ReadonlyMap<string, ReadonlySet<string>> = new Map([
  ['Math', new Set(['random'])],
  ['DateConstructor', new Set(['now'])],
  ['Performance', new Set(['now'])],
  ['Crypto', new Set(['getRandomValues', 'randomUUID'])],
]);
export const effects: ReadonlySet<string> = new Set([
  'fetch',
  'setTimeout',
  'setInterval',
  'setImmediate',
  'queueMicrotask',
  'eval',
  'Function',
  'require',
  'alert',
  'prompt',
]);
/** Of `new`. */
export const making: ReadonlySet<string> = new Set([
  'Function',
  'WebSocket',
  'Worker',
  'SharedWorker',
  'EventSource',
  'XMLHttpRequest',
  'BroadcastChannel',
]);
/** Functions that make a number, a truth or a text of what they are given. */
export const readers: ReadonlySet<string> = new Set([
  'Number',
  'Boolean',
  'String',
  'BigInt',
  'parseFloat',
  'parseInt',
  'isNaN',
  'isFinite',
]);
/** Operators of JavaScript, and what the language has instead. */
export const methods: Readonly<Record<string, string>> = {
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
  '===': '.eq',
  '!==': '.ne',
  '==': '.eq',
  '!=': '.ne',
};

/** The built-in type or namespace that declares a method: `Map` of `seen.set`. */
export const ownerOf = (d: ts.Declaration): string => {
  if (!d.getSourceFile().isDeclarationFile) return '';
  const up = tsc.isModuleBlock(d.parent) ? d.parent.parent : d.parent;
  return tsc.isInterfaceDeclaration(up) || tsc.isModuleDeclaration(up) ? up.name.text : '';
};
export const mutates = (owner: string, method: string): boolean => mutators.some(([type, names]) => type.test(owner) && names.test(method));
export const builtIn = (d: ts.Declaration | undefined): boolean => d === undefined || d.getSourceFile().isDeclarationFile;
/** Operators that compare objects: with `undefined` on one side they ask whether a tensor is there. */
export const identities: ReadonlySet<string> = new Set(['===', '!==', '==', '!=']);
