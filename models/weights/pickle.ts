/**
 * Python's pickles, read without running anything. A pickle is a program for a stack machine, and two of its instructions call whatever
 * Python function the file names. Here the machine has only the instructions that build values, and a list of allowed names with one
 * meaning each, given by the caller; every other name or instruction is refused by its name (FV0410) before anything is done with it.
 *
 * Time and memory are bounded by the length of the file: every instruction takes at least one byte and makes at most one value, and
 * their number is limited too. Values may be shared or contain themselves; whoever walks them has to count.
 *
 *   unpickle(bytes, 'model.pth', torchWorld)   // { value: { kind: 'dict', pairs: ['norm.weight', ...] }, end: 1234 }
 */
import { FoveaError } from '../../compiler/error.ts';
import { names, refusedOps } from './pickle-ops.ts';
import { shown } from './shown.ts';

/** What a pickle can hold. `made` is what the allowed names build: M is the caller's. `pairs` has keys and values in turn. */
export type Value<M> =
  | null
  | boolean
  | number
  | bigint
  | string
  | Uint8Array
  | { readonly kind: 'list'; readonly items: Value<M>[] }
  | { readonly kind: 'tuple'; readonly items: readonly Value<M>[] }
  | { readonly kind: 'dict'; readonly pairs: Value<M>[] }
  | { readonly kind: 'global'; readonly name: string }
  | { readonly kind: 'made'; readonly made: M };

/** The meaning of the names that a pickle may use. */
export interface World<M> {
  /** Allowed names, as module.name. */
  readonly allowed: (name: string) => boolean;
  /** The value of an allowed name called with arguments; undefined if it is not a function or the arguments do not fit. */
  readonly call: (name: string, args: readonly Value<M>[]) => Value<M> | undefined;
  /** The object that an id stands for, undefined if it is malformed. */
  readonly persistent: (id: Value<M>) => Value<M> | undefined;
}

/** Instructions in one pickle: a checkpoint has some fifty a tensor. */
const mostSteps = 1_000_000;
/** Bytes of a whole number: nothing in a checkpoint needs 64. */
const longestInteger = 64;
const longestName = 256;

export const onlyData = 'Only tensors, dictionaries, lists, numbers and strings are read; save a state_dict alone, or safetensors.';

/** How messages call a value. */
export const kindOf = (v: Value<unknown>): string =>
  v === null ? 'None' : v instanceof Uint8Array ? 'bytes' : typeof v === 'object' ? (v.kind === 'made' ? 'tensor' : v.kind) : typeof v;

/** Little-endian two's complement of any length. */
const integer = (bytes: Uint8Array): number | bigint => {
  let n = 0n;
  for (let i = bytes.length - 1; i >= 0; i--) n = (n << 8n) | BigInt(bytes[i] as number);
  n = BigInt.asIntN(8 * bytes.length, n);
  return BigInt(Number(n)) === n && Number.isSafeInteger(Number(n)) ? Number(n) : n;
};

/** Runs one pickle, which starts at the first byte; `end` is where it stops. FV0410: refused. FV0405: damaged. */
export const unpickle = <M>(bytes: Uint8Array, file: string, world: World<M>): { readonly value: Value<M>; readonly end: number } => {
  type V = Value<M>;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
  let at = 0;
  const damaged = (why: string): FoveaError =>
    new FoveaError('FV0405', `${file}: its pickle is damaged at byte ${at}: ${why}`, { hint: 'Copy or download the file again.' });
  const refused = (what: string): FoveaError => new FoveaError('FV0410', `${file}: its pickle ${what}`, { hint: onlyData });

  /** Moves over n bytes; returns where they start. */
  const skip = (n: number): number => {
    if (n > bytes.length - at) throw damaged('it ends early');
    at += n;
    return at - n;
  };
  const u8 = (): number => view.getUint8(skip(1));
  const u32 = (): number => view.getUint32(skip(4), true);
  const u64 = (): number => Number(view.getBigUint64(skip(8), true));
  const take = (n: number): Uint8Array => {
    const start = skip(n);
    return bytes.subarray(start, start + n);
  };
  const text = (n: number): string => {
    const raw = take(n);
    try {
      return utf8.decode(raw);
    } catch {
      throw damaged('a string is not UTF-8');
    }
  };
  const line = (): string => {
    const end = bytes.subarray(at, at + longestName + 1).indexOf(10);
    if (end < 0) throw damaged('a name does not end');
    const name = Buffer.from(take(end)).toString('latin1');
    skip(1);
    return name;
  };
  const long = (n: number): number | bigint => {
    if (n > longestInteger) throw refused(`holds a whole number of ${n} bytes`);
    return integer(take(n));
  };

  const stack: V[] = [];
  const marks: number[] = [];
  const memo = new Map<number, V>();
  const pop = (): V => {
    if (stack.length <= (marks.at(-1) ?? 0)) throw damaged('its stack is empty');
    return stack.pop() as V;
  };
  const top = (): V => {
    if (stack.length <= (marks.at(-1) ?? 0)) throw damaged('its stack is empty');
    return stack.at(-1) as V;
  };
  /** What stands above the last mark. */
  const popMark = (): V[] => {
    const mark = marks.pop();
    if (mark === undefined) throw damaged('a mark is missing');
    return stack.splice(mark);
  };
  const popPairs = (): V[] => {
    const pairs = popMark();
    if (pairs.length % 2 === 1) throw damaged('a key has no value');
    return pairs;
  };
  const popTuple = (n: number): void => {
    const items = Array.from({ length: n }, pop).reverse();
    stack.push({ kind: 'tuple', items });
  };
  const global = (module: string, name: string): void => {
    const full = `${module}.${name}`;
    if (!world.allowed(full)) throw refused(`asks for ${shown(full, 100)}`);
    stack.push({ kind: 'global', name: full });
  };
  const recall = (key: number): void => {
    if (!memo.has(key)) throw damaged(`memo ${key} is empty`);
    stack.push(memo.get(key) as V);
  };
  const extend = (items: readonly V[]): void => {
    const list = top();
    if (typeof list !== 'object' || list === null || !('kind' in list) || list.kind !== 'list')
      throw refused(`appends to a ${kindOf(list)}`);
    for (const item of items) list.items.push(item);
  };
  const assign = (pairs: readonly V[]): void => {
    const dict = top();
    if (typeof dict !== 'object' || dict === null || !('kind' in dict) || dict.kind !== 'dict')
      throw refused(`sets an item of a ${kindOf(dict)}`);
    for (const p of pairs) dict.pairs.push(p);
  };
  const reduce = (): void => {
    const args = pop();
    const f = pop();
    if (typeof f !== 'object' || f === null || !('kind' in f) || f.kind !== 'global') throw refused(`calls a ${kindOf(f)}`);
    const result =
      typeof args === 'object' && args !== null && 'kind' in args && args.kind === 'tuple' ? world.call(f.name, args.items) : undefined;
    if (result === undefined) throw refused(`calls ${f.name} with arguments that do not fit`);
    stack.push(result);
  };

  const ops: Readonly<Record<number, () => void>> = {
    [names.PROTO]: () => {
      const version = u8();
      if (version < 2 || version > 5) throw refused(`has protocol ${version}`);
    },
    [names.FRAME]: () => {
      if (u64() > bytes.length - at) throw damaged('a frame ends behind it');
    },
    [names.MARK]: () => marks.push(stack.length),
    [names.POP]: () => pop(),
    [names.POP_MARK]: () => popMark(),
    [names.DUP]: () => stack.push(top()),
    [names.NONE]: () => stack.push(null),
    [names.NEWTRUE]: () => stack.push(true),
    [names.NEWFALSE]: () => stack.push(false),
    [names.BININT]: () => stack.push(view.getInt32(skip(4), true)),
    [names.BININT1]: () => stack.push(u8()),
    [names.BININT2]: () => stack.push(view.getUint16(skip(2), true)),
    [names.LONG1]: () => stack.push(long(u8())),
    [names.LONG4]: () => stack.push(long(u32())),
    [names.BINFLOAT]: () => stack.push(view.getFloat64(skip(8), false)),
    [names.SHORT_BINUNICODE]: () => stack.push(text(u8())),
    [names.BINUNICODE]: () => stack.push(text(u32())),
    [names.BINUNICODE8]: () => stack.push(text(u64())),
    // strings of Python 2
    [names.SHORT_BINSTRING]: () => stack.push(text(u8())),
    [names.BINSTRING]: () => stack.push(text(u32())),
    [names.SHORT_BINBYTES]: () => stack.push(take(u8())),
    [names.BINBYTES]: () => stack.push(take(u32())),
    [names.BINBYTES8]: () => stack.push(take(u64())),
    [names.EMPTY_LIST]: () => stack.push({ kind: 'list', items: [] }),
    [names.LIST]: () => stack.push({ kind: 'list', items: popMark() }),
    [names.APPEND]: () => extend([pop()]),
    [names.APPENDS]: () => extend(popMark()),
    [names.EMPTY_TUPLE]: () => popTuple(0),
    [names.TUPLE]: () => stack.push({ kind: 'tuple', items: popMark() }),
    [names.TUPLE1]: () => popTuple(1),
    [names.TUPLE2]: () => popTuple(2),
    [names.TUPLE3]: () => popTuple(3),
    [names.EMPTY_DICT]: () => stack.push({ kind: 'dict', pairs: [] }),
    [names.DICT]: () => stack.push({ kind: 'dict', pairs: popPairs() }),
    [names.SETITEM]: () => {
      const value = pop();
      assign([pop(), value]);
    },
    [names.SETITEMS]: () => assign(popPairs()),
    [names.BINGET]: () => recall(u8()),
    [names.LONG_BINGET]: () => recall(u32()),
    [names.BINPUT]: () => memo.set(u8(), top()),
    [names.LONG_BINPUT]: () => memo.set(u32(), top()),
    [names.MEMOIZE]: () => memo.set(memo.size, top()),
    [names.GLOBAL]: () => {
      const module = line();
      global(module, line());
    },
    [names.STACK_GLOBAL]: () => {
      const name = pop();
      const module = pop();
      if (typeof name !== 'string' || typeof module !== 'string') throw refused(`asks for a name that is a ${kindOf(name)}`);
      global(module, name);
    },
    [names.REDUCE]: reduce,
    // an OrderedDict of PyTorch carries the versions of its modules, which nothing here needs
    [names.BUILD]: () => {
      const state = pop();
      const target = kindOf(top());
      if (target !== 'dict' || kindOf(state) !== 'dict') throw refused(`sets the state of a ${target}`);
    },
    [names.BINPERSID]: () => {
      const object = world.persistent(pop());
      if (object === undefined) throw refused('refers to a storage in an unknown way');
      stack.push(object);
    },
    // the old form of an object: its class can be named
    [names.INST]: () => {
      const module = line();
      throw refused(`asks for ${shown(`${module}.${line()}`, 100)}`);
    },
  };

  for (let steps = 0; steps < mostSteps; steps++) {
    const op = u8();
    if (op === names.STOP) return { value: pop(), end: at };
    const step = ops[op];
    if (!step) {
      const name = refusedOps[op];
      throw name === undefined ? damaged(`there is no instruction ${op}`) : refused(`uses ${name}`);
    }
    step();
  }
  throw refused(`has more than ${mostSteps} instructions`);
};
