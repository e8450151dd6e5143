/** Checkpoints made to do harm: each is refused with a code, at once, and nothing of it is run. */
import { expect, test } from 'vitest';
import { FoveaError } from '../../compiler/error.ts';
import { bytesSource, loadWeights, parseWeights, toHuggingFace } from '../../models/weights/index.ts';
import { names, refusedOps } from '../../models/weights/pickle-ops.ts';
import { legacyPth, p, pickle, type TensorPlan, tensor, zip, zipPth } from './torch-save.ts';

const reading = (bytes: Uint8Array, key?: string) => parseWeights(bytesSource(bytes, 'hostile.pth'), { key });
const refused = async (bytes: Uint8Array, code: string, why: RegExp | string): Promise<void> => {
  const e = await reading(bytes).then(
    () => undefined,
    (e: unknown) => e,
  );
  expect(e).toBeInstanceOf(FoveaError);
  expect(e as FoveaError).toMatchObject({ code, message: expect.stringMatching(why) });
};
const both = async (
  value: Uint8Array,
  code: string,
  why: RegExp | string,
  storages: Readonly<Record<string, Uint8Array>> = {},
): Promise<void> => {
  await refused(zipPth(value, storages), code, why);
  await refused(legacyPth(value, storages), code, why);
};
const plain: TensorPlan = { size: [2, 3], stride: [3, 1], offset: 0, key: '0', numel: 6 };
const six = new Uint8Array(new Float32Array([1, 2, 3, 4, 5, 6]).buffer);
const withTensor = (t: Partial<TensorPlan>): Buffer => p.dict(['w', tensor({ ...plain, ...t })]);

test('the maker makes what is read', async () => {
  for (const [bytes, legacy] of [
    [zipPth(withTensor({}), { '0': six }), false],
    [legacyPth(p.dict(['w', tensor(plain, true)]), { '0': six }), true],
  ] as const) {
    const { tensors, format } = await reading(bytes);
    expect(format).toBe(legacy ? 'pytorch-legacy' : 'pytorch');
    expect(tensors.get('w')).toMatchObject({ shape: [2, 3], dtype: 'f32' });
    expect(tensors.get('w')?.load()).toEqual(Float32Array.of(1, 2, 3, 4, 5, 6));
  }
});

test.each([
  ['os', 'system'],
  ['posix', 'system'],
  ['nt', 'system'],
  ['builtins', 'eval'],
  ['builtins', 'exec'],
  ['__builtin__', 'eval'],
  ['subprocess', 'Popen'],
  ['torch.storage', '_load_from_bytes'],
  ['torch._utils', '_rebuild_device_tensor_from_numpy'],
  ['argparse', 'Namespace'],
  ['torch', 'toString'],
])('a pickle that asks for %s.%s', async (module, name) => {
  const full = `${module}.${name}`.replaceAll('.', '\\.');
  await both(p.call(p.global(module, name), p.str('touch /tmp/owned')), 'FV0410', `asks for ${full}$`);
  await both(Buffer.concat([p.str(module), p.str(name), p.code('STACK_GLOBAL')]), 'FV0410', `asks for ${full}$`);
  await both(Buffer.concat([p.code('MARK'), p.code('INST', Buffer.from(`${module}\n${name}\n`))]), 'FV0410', `asks for ${full}$`);
});

test('a name that would spoil a terminal is printed as text', () =>
  both(p.global('os\x1b[2J', `${'x'.repeat(200)}`), 'FV0410', /asks for os\\u\{1b\}\[2J\.x{90,93}…$/));

test('instructions that make objects are refused by name', async () => {
  const ordered = p.global('collections', 'OrderedDict');
  for (const [op, name] of Object.entries(refusedOps))
    await both(Buffer.concat([ordered, p.tuple(), Buffer.of(Number(op))]), 'FV0410', `uses ${name.split(',')[0]}`);
  await both(Buffer.of(0xff), 'FV0405', 'no instruction 255');
  await both(Buffer.concat([p.list(), p.dict(), p.code('BUILD')]), 'FV0410', 'state of a list');
  await both(p.call(p.str('os.system'), p.str('x')), 'FV0410', 'calls a string');
  await both(p.call(p.global('torch', 'FloatStorage'), p.int(9)), 'FV0410', 'calls torch.FloatStorage with arguments that do not fit');
  await both(Buffer.concat([p.str('x'), p.code('BINPERSID')]), 'FV0410', 'refers to a storage in an unknown way');
  await both(Buffer.of(names.PROTO, 9), 'FV0410', 'has protocol 9');
});

test('values that contain themselves', async () => {
  const put = p.put(1);
  const self = p.get(1);
  const list = Buffer.concat([p.code('EMPTY_LIST'), put, self, p.code('APPEND')]);
  const dict = Buffer.concat([p.code('EMPTY_DICT'), put, p.str('a'), self, p.code('SETITEM')]);
  const tuple = Buffer.concat([p.code('EMPTY_LIST'), put, self, p.code('TUPLE1'), p.code('APPEND')]);
  await both(p.dict(['a', list]), 'FV0410', 'contain themselves');
  await both(dict, 'FV0410', 'contain themselves');
  await both(p.dict(['a', tuple]), 'FV0410', 'contain themselves');
});

test('nesting and sharing that would take for ever', async () => {
  const deep = Buffer.concat([
    ...Array.from({ length: 50_000 }, () => p.code('EMPTY_LIST')),
    ...Array.from({ length: 49_999 }, () => p.code('APPEND')),
  ]);
  await both(p.dict(['a', deep]), 'FV0410', 'nested more than');
  // 30 lists, each twice in the next: 2^30 leaves in a kilobyte
  const twice = Buffer.concat([p.code('EMPTY_LIST'), p.code('MARK'), p.get(2), p.get(2), p.code('APPENDS'), p.put(2)]);
  const first = Buffer.concat([p.int(1), p.put(2)]);
  await both(p.dict(['a', p.tuple(first, ...Array.from({ length: 30 }, () => twice))]), 'FV0410', /more than 200000 values/);
  // one dictionary with many equal keys, met many times
  const pairs = Array.from({ length: 5000 }, () => Buffer.concat([p.code('SHORT_BINUNICODE', Buffer.from('\x01k')), p.none]));
  const wide = Buffer.concat([p.code('EMPTY_DICT'), p.code('MARK'), ...pairs, p.code('SETITEMS'), p.put(3)]);
  await both(p.dict(['a', p.list(wide, ...Array.from({ length: 50_000 }, () => p.get(3)))]), 'FV0410', /more than 200000 values/);
  await both(Buffer.concat(Array.from({ length: 1_000_001 }, () => p.none)), 'FV0410', 'more than 1000000 instructions');
  const long = p.str('n'.repeat(2000));
  await both(Buffer.concat([p.code('EMPTY_DICT'), long, tensor(plain), p.code('SETITEM')]), 'FV0410', 'a name is longer', { '0': six });
});

test('keys of a dictionary that are no names', async () => {
  const one = tensor(plain);
  const keyed = (...pairs: readonly Uint8Array[]): Buffer => zipPth(Buffer.concat([p.code('EMPTY_DICT'), ...pairs]), { '0': six });
  const set = p.code('SETITEM');
  await refused(keyed(one, one, set), 'FV0410', 'a tensor is kept under a tensor, not under a name');
  await refused(keyed(p.tuple(p.int(1)), one, set), 'FV0410', 'a tensor is kept under a tuple');
  // Python keeps 1 and '1' apart; as names of tensors they are one
  await refused(keyed(p.int(1), one, set, p.str('1'), one, set), 'FV0405', 'two tensors have the name "1"');
  // of two equal keys the last counts, as in Python; what is no tensor may have any key
  const { tensors } = await reading(keyed(p.str('a'), p.none, set, p.str('a'), one, set, p.none, p.int(1), set));
  expect([...tensors.keys()]).toEqual(['a']);
});

test('names that would spoil a terminal, in a list and in a failure to load', async () => {
  const name = 'a\nb\x1b[2J\x9b\u202e';
  const { tensors } = await reading(zipPth(p.dict([name, tensor({ ...plain, type: 'BoolStorage' })]), { '0': Buffer.alloc(6, 2) }));
  const text = 'a\\u{a}b\\u{1b}[2J\\u{9b}\\u{202e}';
  expect(() => tensors.get(name)?.load()).toThrow(`hostile.pth: ${text}: 2 at element 0 is no boolean`);
  expect(() => toHuggingFace(tensors)).toThrow(`no counterpart in a DINOv2 of Hugging Face: ${text}`);
  expect(() => loadWeights({}, tensors)).toThrow(`${text}: not part of the model`);
});

test('sizes that are claimed', async () => {
  const huge = 2 ** 40;
  await refused(
    zipPth(withTensor({ size: [huge], stride: [1], numel: huge }), { '0': six }),
    'FV0405',
    'has 24 bytes where its pickle claims 1099511627776',
  );
  await refused(zipPth(withTensor({ size: [huge], stride: [1] }), { '0': six }), 'FV0405', 'a tensor of 1099511627776 elements');
  await refused(zipPth(withTensor({ size: [huge], stride: [0] }), { '0': six }), 'FV0405', 'a tensor of 1099511627776 elements');
  await refused(
    zipPth(withTensor({ size: [2 ** 30, 2 ** 30, 2 ** 30, 0], stride: [0, 0, 0, 0], offset: 7 }), { '0': six }),
    'FV0405',
    'said to lie',
  );
  await refused(zipPth(withTensor({ offset: 1 }), { '0': six }), 'FV0405', 'a tensor of 6 elements');
  await refused(zipPth(withTensor({ stride: [4, 1] }), { '0': six }), 'FV0405', 'a tensor of 6 elements');
  await both(withTensor({ offset: -1 }), 'FV0410', '_rebuild_tensor_v2 with arguments that do not fit');
  await both(withTensor({ size: [2, -3] }), 'FV0410', '_rebuild_tensor_v2 with arguments that do not fit');
  await both(withTensor({ stride: [1] }), 'FV0410', '_rebuild_tensor_v2 with arguments that do not fit');
  await both(withTensor({ type: 'ComplexFloatStorage' }), 'FV0410', 'asks for torch.ComplexFloatStorage');
  await refused(zipPth(withTensor({ key: '../data.pkl' }), { '0': six }), 'FV0405', 'is missing');
  await both(p.code('LONG4', Buffer.of(0xff, 0xff, 0xff, 0x7f)), 'FV0410', 'a whole number of 2147483647 bytes');
  await both(p.code('BINUNICODE', Buffer.of(0xff, 0xff, 0xff, 0x7f)), 'FV0405', 'it ends early');
  await both(p.code('BINUNICODE8', Buffer.alloc(8, 0xff)), 'FV0405', 'it ends early');
  await both(p.code('FRAME', Buffer.alloc(8, 0xff)), 'FV0405', 'a frame ends behind it');
  await both(p.code('SHORT_BINUNICODE', Buffer.of(1, 0xff)), 'FV0405', 'not UTF-8');
});

test('stacks and memos that do not add up', async () => {
  await both(p.code('POP'), 'FV0405', 'its stack is empty');
  await both(p.code('TUPLE'), 'FV0405', 'a mark is missing');
  await both(Buffer.concat([p.int(1), p.code('MARK'), p.code('POP')]), 'FV0405', 'its stack is empty');
  await both(p.get(7), 'FV0405', 'memo 7 is empty');
  await both(Buffer.concat([p.code('EMPTY_DICT'), p.code('MARK'), p.int(1), p.code('SETITEMS')]), 'FV0405', 'a key has no value');
  await both(Buffer.concat([p.int(1), p.int(2), p.code('APPEND')]), 'FV0410', 'appends to a number');
  await both(p.int(5), 'FV0406', 'holds a number, not a dictionary');
  await both(p.dict(['epoch', p.int(5)]), 'FV0406', 'holds no tensors');
});

/** Where the local header of an entry starts. */
const offsetOf = (whole: Buffer, name: string): number => whole.indexOf(name) - 30;

test('zip files that lie', async () => {
  const data = { name: 'a/data.pkl', bytes: pickle(withTensor({})) };
  const storage = { name: 'a/data/0', bytes: six };
  expect((await reading(zip([data, storage]))).tensors.size).toBe(1);
  expect((await reading(zip([{ ...data, deflate: true }, storage]))).tensors.size).toBe(1);
  await refused(zip([data, { ...storage, deflate: true }]), 'FV0412', 'is compressed');
  await refused(zip([data, { ...storage, at: 3 }]), 'FV0405', 'not a whole zip file');
  await refused(zip([data, { ...storage, at: 1e9 }]), 'FV0405', 'zip|asked for');
  await refused(zip([data, { ...storage, claims: 1e9 }]), 'FV0405', 'not a whole zip file');
  await refused(zip([data, storage, storage]), 'FV0405', 'stands there twice');
  // one entry behind the other's header; with sizes of nothing that is no contradiction
  await refused(
    zip([data, storage, { ...storage, name: 'a/data/1', at: offsetOf(zip([data, storage]), 'a/data/0') }]),
    'FV0405',
    'overlaps another',
  );
  expect((await reading(zip([data, storage, { name: 'a/empty', bytes: new Uint8Array(0) }]))).tensors.size).toBe(1);
  await refused(zip([data, { ...data, name: 'b/data.pkl' }, storage]), 'FV0405', 'holds 2 pickles');
  await refused(zip([storage]), 'FV0412', 'it has no data.pkl');
  await refused(zip([data, storage, { name: 'a/constants.pkl', bytes: six }]), 'FV0412', 'TorchScript');
  await refused(zip([data, storage, { name: 'a/byteorder', bytes: Buffer.from('big') }]), 'FV0412', 'big-endian');
  // a bomb: a gigabyte of zeros in a megabyte would be read at most to the size it claims
  const zeros = Buffer.alloc(8 << 20);
  await refused(
    zip([{ name: 'a/data.pkl', bytes: zeros, deflate: true, claims: 100 }, storage]),
    'FV0405',
    'does not unpack to the 100 bytes',
  );
  await refused(zip([{ name: 'a/data.pkl', bytes: six, deflate: true, claims: 2 ** 31 }, storage]), 'FV0405', 'claims 2147483648 bytes');
  const whole = zip([data, storage]);
  for (let n = 0; n < whole.length; n += 7) await refused(whole.subarray(0, n), n < 4 ? 'FV0412' : 'FV0405', '.');
});

test('older checkpoints that lie', async () => {
  const value = p.dict(['w', tensor(plain, true)]);
  const whole = legacyPth(value, { '0': six });
  for (let n = 15; n < whole.length; n += 3) await refused(whole.subarray(0, n), 'FV0405', '.');
  await refused(legacyPth(value, {}), 'FV0405', 'is missing');
  await refused(legacyPth(value, { '0': six.subarray(4) }), 'FV0405', 'has 5 elements where its pickle claims 6');
  await refused(legacyPth(value, { '0': six, '1': six }), 'FV0405', 'stands there for nothing');
  await refused(Buffer.concat([pickle(p.int(1))]), 'FV0412', 'a pickle, but not one of torch.save');
});

test('files of no known kind', async () => {
  await refused(Buffer.alloc(0), 'FV0412', 'an empty file');
  await refused(Buffer.from('hello world, this is text'), 'FV0412', 'neither safetensors');
  const tar = Buffer.alloc(512);
  tar.write('ustar', 257);
  await refused(tar, 'FV0412', 'a tar file');
});
