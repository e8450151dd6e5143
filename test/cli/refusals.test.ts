/** What the command refuses: one message with a code and a hint on standard error, exit status 1, no stack, nothing written. */
import { chmodSync, existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { fovea, type How, pictures, scratch } from './command.ts';

const limit = 120_000;

/** Expects a refusal with this code; returns the message. */
const refused = async (code: string, args: readonly string[], how: How = {}): Promise<string> => {
  const { status, stderr, stdout } = await fovea(args, how);
  expect({ args, status, stderr }).toMatchObject({ status: 1 });
  const [first, ...rest] = stderr.trimEnd().split('\n');
  expect(first).toMatch(new RegExp(`^fovea: ${code}: .`));
  // what to do, and nothing else
  expect(rest.length).toBe(1);
  expect(rest[0]).toMatch(/^ {2}\S.*\.$|^ {2}\S/);
  expect(stderr).not.toMatch(/\n\s+at /);
  expect(stdout).not.toContain('compiling');
  return stderr;
};

test('malformed options, unknown commands and backends', { timeout: limit }, async () => {
  const out = join(scratch(), 'out');
  expect(await refused('FV0503', ['demo', '--steps', '-1', '--out', out])).toContain('--steps -1: expected a whole number from 1');
  expect(await refused('FV0503', ['demo', '--steps', 'abc', '--out', out])).toContain('--steps abc');
  expect(await refused('FV0503', ['demo', '--frobnicate', '--out', out])).toContain("unknown option '--frobnicate'");
  expect(await refused('FV0503', ['frobnicate'])).toContain("unknown command 'frobnicate'");
  expect(await refused('FV0303', ['demo', '--backend', 'abacus', '--out', out])).toMatch(
    /'abacus'[\s\S]*Known backends: cpu, cuda, reference, webgpu\./,
  );
  expect(existsSync(out)).toBe(false);
});

test('image folders that cannot be used', { timeout: limit }, async () => {
  const dir = scratch();
  const out = join(dir, 'made/out');
  const [missing, empty, broken, few] = ['missing', 'empty', 'broken', 'few'].map((n) => join(dir, n)) as [string, string, string, string];
  mkdirSync(empty);
  mkdirSync(broken);
  for (const n of ['a.png', 'b.jpg']) writeFileSync(join(broken, n), 'no image');
  await pictures(few, 5);
  expect(await refused('FV0402', ['demo', '--data', missing, '--out', out])).toContain(missing);
  expect(await refused('FV0401', ['demo', '--data', empty, '--out', out])).toContain(empty);
  expect(await refused('FV0403', ['demo', '--data', broken, '--out', out])).toContain('none of the 2 images');
  expect(await refused('FV0408', ['demo', '--data', few, '--out', out])).toMatch(
    /5 images; a batch of 32 needs more\n {2}Give at least 40 images/,
  );
  // the folder that was made to try it out is gone again, with the one above it
  expect(readdirSync(dir).sort()).toEqual(['broken', 'empty', 'few']);
});

test('a folder without permission to read it', { timeout: limit }, async () => {
  const dir = scratch();
  // who may read everything meets a file in the place of the folder
  const closed = join(dir, 'closed');
  if (process.getuid?.() === 0) writeFileSync(closed, '');
  else {
    mkdirSync(closed);
    chmodSync(closed, 0o000);
  }
  expect(await refused('FV0402', ['demo', '--data', closed, '--out', join(dir, 'out')])).toMatch(/EACCES|ENOTDIR/);
});

test('places that cannot be written', { timeout: limit }, async () => {
  const dir = scratch();
  writeFileSync(join(dir, 'file'), 'mine');
  expect(await refused('FV0502', ['demo', '--out', join(dir, 'file')])).toContain('a file stands where the folder');
  expect(await refused('FV0407', ['demo', '--out', join(dir, 'file/below')])).toContain('ENOTDIR');
  // nobody may make a folder there, not even root
  expect(await refused('FV0407', ['demo', '--out', '/sys/fovea-test'])).toMatch(/EACCES|EPERM|EROFS|ENOENT/);
  mkdirSync(join(dir, 'out/loss.png'), { recursive: true });
  expect(await refused('FV0502', ['demo', '--out', join(dir, 'out')])).toContain('loss.png');
});

test('no C compiler', { timeout: limit }, async () => {
  const out = join(scratch(), 'out');
  const none = await refused('FV0301', ['demo', '--out', out], { env: { PATH: '/nonexistent' } });
  expect(none).toMatch(/none of cc, clang, gcc runs\n.*(apt-get install gcc|xcode-select)/);
  expect(await refused('FV0301', ['demo', '--out', out], { env: { FOVEA_CC: '/nonexistent/cc' } })).toContain(
    'FOVEA_CC is /nonexistent/cc',
  );
  expect(existsSync(out)).toBe(false);
});

test('--debug adds the stack', { timeout: limit }, async () => {
  const { status, stderr } = await fovea(['demo', '--debug', '--backend', 'abacus']);
  expect(status).toBe(1);
  expect(stderr).toMatch(/\n\s+at backendOf/);
  expect(stderr).toContain("fovea: FV0303: unknown backend 'abacus'");
});
