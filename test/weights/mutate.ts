/** Mutations for fuzz.ts: of bytes, of the text of a header, of a pickle's instructions, and pickles made of chance. */
import { names } from '../../models/weights/pickle-ops.ts';
import { p } from './torch-save.ts';

/** A stream of random choices. */
export interface Draw {
  /** A whole number from 0 to n - 1. */
  readonly below: (n: number) => number;
  readonly pick: <T>(xs: readonly T[]) => T;
}

/** splitmix32: every seed is a good one. */
export const draws = (seed: number): Draw => {
  let state = seed >>> 0;
  const next = (): number => {
    state = (state + 0x9e3779b9) >>> 0;
    let z = Math.imul(state ^ (state >>> 16), 0x21f0aaad);
    z = Math.imul(z ^ (z >>> 15), 0x735a2d97);
    return (z ^ (z >>> 15)) >>> 0;
  };
  const below = (n: number): number => (n <= 1 ? 0 : next() % n);
  return { below, pick: (xs) => xs[below(xs.length)] as (typeof xs)[number] };
};

const edges = [0, 1, 2, 3, 7, 8, 127, 128, 255, 256, 65535, 65536, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1];
const random = (d: Draw, n: number): Buffer => Buffer.from(Array.from({ length: n }, () => d.below(256)));

type Mutation = (b: Buffer, d: Draw) => Buffer;
const mutations: readonly Mutation[] = [
  (b, d) => {
    for (let i = d.below(8); i >= 0; i--) {
      const at = d.below(b.length);
      b[at] = (b[at] ?? 0) ^ (1 << d.below(8));
    }
    return b;
  },
  (b, d) => {
    b[d.below(b.length)] = d.pick(edges) & 255;
    return b;
  },
  (b, d) => b.subarray(0, d.below(b.length)),
  (b, d) => b.subarray(d.below(Math.min(b.length, 64))),
  (b, d) => {
    const at = d.below(b.length);
    return Buffer.concat([b.subarray(0, at), random(d, 1 + d.below(16)), b.subarray(at)]);
  },
  (b, d) => {
    const at = d.below(b.length);
    return Buffer.concat([b.subarray(0, at), b.subarray(at + 1 + d.below(16))]);
  },
  (b, d) => {
    // two ranges change places
    const [i, j] = [d.below(b.length), d.below(b.length)].sort((x, y) => x - y) as [number, number];
    const n = d.below(Math.min(j - i, b.length - j) + 1);
    return Buffer.concat([b.subarray(0, i), b.subarray(j, j + n), b.subarray(i + n, j), b.subarray(i, i + n), b.subarray(j + n)]);
  },
  (b, d) => {
    // a range stands there again somewhere else
    const [from, to] = [d.below(b.length), d.below(b.length)];
    return Buffer.concat([b.subarray(0, to), b.subarray(from, from + d.below(64)), b.subarray(to)]);
  },
  (b, d) => {
    // a field of four or eight bytes
    const width = d.pick([2, 4, 8] as const);
    if (b.length < width) return b;
    const at = d.below(b.length - width + 1);
    const v = BigInt(d.pick(edges));
    for (let i = 0; i < width; i++) b[at + i] = Number((v >> BigInt(8 * i)) & 255n);
    return b;
  },
  // the end of a zip file is its directory
  (b, d) => {
    const at = Math.max(0, b.length - 1 - d.below(400));
    b[at] = d.pick([0, 1, 255, d.below(256)]);
    return b;
  },
];

/** One to three changes anywhere. */
export const mutateBytes = (bytes: Uint8Array, d: Draw): Buffer => {
  let b = Buffer.from(bytes);
  for (let i = d.below(3); i >= 0 && b.length > 0; i--) b = Buffer.from(d.pick(mutations)(b, d));
  return b;
};

const jsonValues = [
  '0',
  '-1',
  '1e400',
  '1e-3',
  '9007199254740993',
  '18446744073709551616',
  'null',
  'true',
  '[]',
  '{}',
  '""',
  '"F64"',
  '"U8"',
  '"F8_E5M2"',
  '[0,0]',
  '[[[]]]',
];

/** A header of safetensors with another number, another value, an entry twice, other nesting, or broken text. */
export const mutateHeader = (header: string, d: Draw): string => {
  const tokens = [...header.matchAll(/-?\d+|"[^"]*"|[[\]{},:]/g)];
  const token = d.pick(tokens);
  const [at, end] = [token.index, token.index + token[0].length];
  switch (d.below(6)) {
    case 0:
      return header.slice(0, at) + d.pick(jsonValues) + header.slice(end);
    case 1:
      return header.slice(0, at) + String(d.pick(edges)) + header.slice(end);
    case 2: {
      // an entry with an equal key, also one that is written in another way
      const key = d.pick(['"b"', '"\\u0062"', '"__metadata__"', '"x"']);
      return `{${key}:{"dtype":"BF16","shape":[2],"data_offsets":[24,28]},${header.slice(1)}`;
    }
    case 3: {
      const n = d.pick([3, 15, 17, 1000, 20000]);
      return header.slice(0, at) + '['.repeat(n) + ']'.repeat(d.pick([n, n - 1])) + header.slice(end);
    }
    case 4:
      return mutateBytes(Buffer.from(header), d).toString('latin1');
    default: {
      const other = d.pick(tokens);
      return header.slice(0, at) + other[0] + header.slice(end);
    }
  }
};

const globals: readonly (readonly [string, string])[] = [
  ['collections', 'OrderedDict'],
  ['torch._utils', '_rebuild_tensor_v2'],
  ['torch._utils', '_rebuild_parameter'],
  ['torch', 'FloatStorage'],
  ['torch', 'LongStorage'],
  ['torch', 'BoolStorage'],
];
const strings = ['storage', '0', 'cpu', 'teacher', 'model', 'w', '', '__proto__', 'constructor', 'blocks.0.1.norm1.weight'];

/** One instruction with arguments that make sense more often than not. */
const instruction = (d: Draw): Buffer => {
  const simple = [
    'MARK',
    'POP',
    'POP_MARK',
    'DUP',
    'NONE',
    'NEWTRUE',
    'NEWFALSE',
    'EMPTY_LIST',
    'LIST',
    'APPEND',
    'APPENDS',
    'EMPTY_TUPLE',
  ] as const;
  const more = [
    'TUPLE',
    'TUPLE1',
    'TUPLE2',
    'TUPLE3',
    'EMPTY_DICT',
    'DICT',
    'SETITEM',
    'SETITEMS',
    'MEMOIZE',
    'REDUCE',
    'BUILD',
    'BINPERSID',
    'STACK_GLOBAL',
  ] as const;
  switch (d.below(9)) {
    case 0:
    case 1:
      return p.code(d.pick(simple));
    case 2:
    case 3:
      return p.code(d.pick(more));
    case 4:
      return p.int(d.pick([...edges, -1, -5]));
    case 5:
      return p.str(d.pick(strings));
    case 6:
      return d.below(30) === 0 ? p.global('os', 'system') : p.global(...d.pick(globals));
    case 7:
      return d.below(2) === 0 ? p.put(d.below(6)) : p.get(d.below(6));
    default:
      return d.below(20) === 0 ? Buffer.of(d.below(256)) : p.code('BINFLOAT', random(d, 8));
  }
};

/** A tensor's parts in their order, so that chance gets as far as the checks of sizes and strides; five of six are sensible. */
const nearTensor = (d: Draw): Buffer => {
  const odd = d.below(6) === 0;
  const n = (most: number): Buffer => p.int(odd && d.below(3) === 0 ? d.pick([...edges, -1, 2 ** 40, 2 ** 53]) : d.below(most));
  const rank = d.below(4);
  const numbers = (): Buffer => p.tuple(...Array.from({ length: odd ? d.below(5) : rank }, () => n(3)));
  const id = p.tuple(p.str('storage'), p.global(...d.pick(globals.slice(3))), p.str(odd ? '1' : '0'), p.str('cpu'), n(5));
  return p.call(
    p.global('torch._utils', '_rebuild_tensor_v2'),
    Buffer.concat([id, p.code('BINPERSID')]),
    n(2),
    numbers(),
    numbers(),
    p.no,
    p.none,
  );
};

/** A pickle of random instructions, sometimes within a dictionary that holds tensors. */
export const randomProgram = (d: Draw): Buffer => {
  const body = Array.from({ length: d.below(60) }, () => instruction(d));
  const pairs = Array.from({ length: 1 + d.below(3) }, (_, i) => Buffer.concat([p.str(`${d.pick(strings)}${i}`), nearTensor(d)]));
  const dict = Buffer.concat([p.code('EMPTY_DICT'), p.put(0), p.code('MARK'), ...pairs, p.code('SETITEMS')]);
  const program = d.below(2) === 0 ? [dict, ...body.slice(0, d.below(4))] : body;
  return Buffer.concat([p.proto(), ...program, p.stop]);
};

/** A valid pickle with instructions spliced in, or changed as bytes. */
export const mutatePickle = (bytes: Uint8Array, d: Draw): Buffer => {
  if (d.below(3) === 0) return mutateBytes(bytes, d);
  const b = Buffer.from(bytes);
  // places where an instruction may begin: a byte that is one
  const ops = new Set<number>(Object.values(names));
  const places = [...b.keys()].filter((i) => ops.has(b[i] as number));
  const at = d.pick(places);
  const skip = d.below(2) === 0 ? 0 : 1 + d.below(4);
  return Buffer.concat([b.subarray(0, at), ...Array.from({ length: 1 + d.below(3) }, () => instruction(d)), b.subarray(at + skip)]);
};
