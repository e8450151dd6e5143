/**
 * The instructions of Python's pickle, protocols 0 to 5: those that build plain values, by name, and those that are refused. Together
 * they are all 68, so that a file's unknown byte is damage and a known one has a name in the message.
 *
 *   names.STOP   // 0x2e        refusedOps[0x81]   // 'NEWOBJ, which makes an object of any class'
 */
export const names = {
  MARK: 0x28,
  EMPTY_TUPLE: 0x29,
  STOP: 0x2e,
  POP: 0x30,
  POP_MARK: 0x31,
  DUP: 0x32,
  BINBYTES: 0x42,
  SHORT_BINBYTES: 0x43,
  BINFLOAT: 0x47,
  BININT: 0x4a,
  BININT1: 0x4b,
  BININT2: 0x4d,
  NONE: 0x4e,
  BINPERSID: 0x51,
  REDUCE: 0x52,
  BINSTRING: 0x54,
  SHORT_BINSTRING: 0x55,
  BINUNICODE: 0x58,
  EMPTY_LIST: 0x5d,
  APPEND: 0x61,
  BUILD: 0x62,
  GLOBAL: 0x63,
  DICT: 0x64,
  APPENDS: 0x65,
  BINGET: 0x68,
  INST: 0x69,
  LONG_BINGET: 0x6a,
  LIST: 0x6c,
  BINPUT: 0x71,
  LONG_BINPUT: 0x72,
  SETITEM: 0x73,
  TUPLE: 0x74,
  SETITEMS: 0x75,
  EMPTY_DICT: 0x7d,
  PROTO: 0x80,
  TUPLE1: 0x85,
  TUPLE2: 0x86,
  TUPLE3: 0x87,
  NEWTRUE: 0x88,
  NEWFALSE: 0x89,
  LONG1: 0x8a,
  LONG4: 0x8b,
  SHORT_BINUNICODE: 0x8c,
  BINUNICODE8: 0x8d,
  BINBYTES8: 0x8e,
  STACK_GLOBAL: 0x93,
  MEMOIZE: 0x94,
  FRAME: 0x95,
} as const;

const any = 'which makes an object of any class';
const text = 'which belongs to protocol 0, never written by PyTorch';
const sets = 'and checkpoints hold no sets';
const copyreg = 'which stands for a class of a registry';
const raw = 'which holds buffers outside the file';

export const refusedOps: Readonly<Record<number, string>> = {
  70: `FLOAT, ${text}`,
  73: `INT, ${text}`,
  76: `LONG, ${text}`,
  80: `PERSID, ${text}`,
  83: `STRING, ${text}`,
  86: `UNICODE, ${text}`,
  103: `GET, ${text}`,
  111: `OBJ, ${any}`,
  112: `PUT, ${text}`,
  129: `NEWOBJ, ${any}`,
  130: `EXT1, ${copyreg}`,
  131: `EXT2, ${copyreg}`,
  132: `EXT4, ${copyreg}`,
  143: `EMPTY_SET, ${sets}`,
  144: `ADDITEMS, ${sets}`,
  145: `FROZENSET, ${sets}`,
  146: `NEWOBJ_EX, ${any}`,
  150: `BYTEARRAY8, ${raw}`,
  151: `NEXT_BUFFER, ${raw}`,
  152: `READONLY_BUFFER, ${raw}`,
};
