import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, expect, test, vi } from 'vitest';
import { reference } from '../../backends/reference/index.ts';
import { fuzzCommand } from '../../cli/fuzz.ts';
import { fuzzInJobs } from '../../cli/fuzz-jobs.ts';
import type { Backend } from '../../compiler/target.ts';
import { type Law, laws, type Variants } from '../../testing/index.ts';
import { fovea, scratch } from './command.ts';

test('programs of a seed hold all laws on the reference backend, and the report says how many', { timeout: 120_000 }, async () => {
  const cache = scratch();
  const r = await fovea(['fuzz', '--programs', '20', '--seed', '5', '--backend', 'reference'], { env: { FOVEA_CACHE: cache } });
  expect(r.stderr).toBe('');
  expect(r.status).toBe(0);
  expect(r.stdout).toMatch(/20 programs from seed 5, \d+ laws on reference: all hold/);
  expect(r.stdout).toMatch(/elements with a bound: \d+/);
});

test('several jobs find what one does', { timeout: 120_000 }, async () => {
  const [one, three] = await Promise.all(
    ['1', '3'].map((jobs) => fovea(['fuzz', '--programs', '31', '--seed', '5', '--backend', 'reference', '--jobs', jobs])),
  );
  // the line above them says how long it took
  const counts = (out: string | undefined): string[] => (out ?? '').split('\n').filter((l) => l.startsWith('  '));
  expect(three).toMatchObject({ status: 0, stderr: '' });
  expect(three?.stdout).toMatch(/^31 programs from seed 5, \d+ laws on reference: all hold/m);
  expect(counts(three?.stdout).length).toBeGreaterThan(5);
  expect(counts(three?.stdout).sort()).toEqual(counts(one?.stdout).sort());
});

test('laws, backends and programs that do not exist are refused', { timeout: 120_000 }, async () => {
  const law = await fovea(['fuzz', '--law', 'gravity']);
  expect(law).toMatchObject({ status: 1, stdout: '' });
  expect(law.stderr).toContain('FV0503: --law gravity: no such law');
  expect(law.stderr).toContain('duality');
  const backend = await fovea(['fuzz', '--backend', 'abacus']);
  expect(backend.stderr).toContain('FV0303');
  const file = await fovea(['fuzz', '--program', 'nowhere.txt']);
  expect(file).toMatchObject({ status: 1, stdout: '' });
  expect(file.stderr).toContain('FV0402: cannot read the program nowhere.txt');
  const both = await fovea(['fuzz', '--program', 'nowhere.txt', '--programs', '3']);
  expect(both.stderr).toContain('FV0503');
});

test('a job that says nothing for too long is ended, with what it was at', { timeout: 120_000 }, async () => {
  // a script in the place of the command
  const script = join(scratch(), 'endless.mjs');
  writeFileSync(script, "process.send({ at: { seed: 17, law: 'vmap' } }, () => { for (;;); });");
  const command = process.argv[1];
  process.argv[1] = script;
  try {
    const run = fuzzInJobs({ programs: 20, seed: 1, jobs: 2, args: ['--backend', 'reference'], limit: 1, progress: () => {} });
    await expect(run).rejects.toMatchObject({
      code: 'FV0598',
      message: 'the program of seed 17 has not ended within 1 s: vmap',
      hint: 'Repeat with: fovea fuzz --programs 1 --seed 17 --jobs 1 --backend reference.',
    });
  } finally {
    process.argv[1] = command as string;
  }
});

/** The reference backend, but that the first number of every program's first float result is off. */
const wrong: Backend = {
  kind: 'graph',
  name: 'wrong',
  prepare: async (graph, aliases) => {
    if (reference.kind !== 'graph') throw new Error('the reference backend runs graphs');
    const right = await reference.prepare(graph, aliases);
    return {
      ...right,
      read: (o) => {
        const data = right.read(o);
        if (data instanceof Float64Array && data.length > 0) data[0] = (data[0] as number) + 1;
        return data;
      },
    };
  },
};
const variants = (b: Backend): Variants => ({ plain: b, threads: b, poisoned: b });

/** What the command prints with these laws on this backend, and the exit status that it leaves. */
const run = async (args: readonly string[], held: readonly Law[] = laws, backend: Backend = reference) => {
  const lines: string[] = [];
  const log = vi.spyOn(console, 'log').mockImplementation((line) => {
    lines.push(`${line}`);
  });
  const [before, cache] = [process.exitCode, process.env['FOVEA_CACHE']];
  process.exitCode = undefined;
  try {
    const command = fuzzCommand({ laws: held, variantsOf: async () => variants(backend) });
    await command.parseAsync([...args, '--backend', 'reference'], { from: 'user' });
    return { status: process.exitCode ?? 0, text: lines.join('\n') };
  } finally {
    log.mockRestore();
    process.exitCode = before;
    if (cache === undefined) delete process.env['FOVEA_CACHE'];
    else process.env['FOVEA_CACHE'] = cache;
  }
};
afterEach(() => vi.restoreAllMocks());

test('a backend that gives a wrong number: the program, two ways to repeat it, status 1', { timeout: 120_000 }, async () => {
  const { status, text } = await run(['--programs', '30', '--seed', '3', '--law', 'backend'], laws, wrong);
  expect(status).toBe(1);
  expect(text).toMatch(/law 'backend' does not hold for the program of seed \d+, shrunk:\n {2}result 0, element 0: /);
  const seed = /of seed (\d+)/.exec(text)?.[1];
  const again = `Repeat with: fovea fuzz --programs 1 --seed ${seed} --backend reference --law 'backend'`;
  expect(text).toContain(again);
  expect(text).toContain(`or: fovea fuzz --program FILE --seed ${seed} --backend reference --law 'backend'`);
  expect(text).toMatch(/1 law on reference: 1 law broken/);
  // the same command finds it again, and so does the printed program in a file
  const printed = text.slice(text.indexOf('graph ('), text.indexOf('Repeat with'));
  const repeated = await run(['--programs', '1', '--seed', seed as string, '--law', 'backend'], laws, wrong);
  expect(repeated.text).toContain(printed);
  const file = join(scratch(), 'found.txt');
  writeFileSync(file, printed);
  const kept = await run(['--program', file, '--law', 'backend'], laws, wrong);
  expect(kept.status).toBe(1);
  expect(kept.text).toContain(`law 'backend' does not hold for the program in ${file}:`);
  expect(kept.text).toContain(`Repeat with: fovea fuzz --program ${file} --seed 1 --backend reference --law 'backend'`);
  // and all laws but those of a seed hold for it on a backend that is right
  const right = await run(['--program', file]);
  expect([right.status, right.text]).toEqual([0, expect.stringMatching(/found\.txt, \d+ laws on reference: all hold/)]);
});

test('a law of the seed alone is told without a program', { timeout: 120_000 }, async () => {
  const law: Law = { name: 'even', says: 'seeds are even', seedOnly: true, check: (_, { seed }) => (seed % 2 === 1 ? 'odd' : undefined) };
  const { status, text } = await run(['--programs', '4', '--seed', '6'], [law]);
  expect(status).toBe(1);
  expect(text).toContain("law 'even' does not hold for seed 7:\n  odd\n");
  expect(text).not.toContain('graph (');
  expect(text).not.toContain('FILE');
  expect(await run(['--programs', '1', '--seed', '6'], [law])).toMatchObject({ status: 0 });
  expect((await run(['--programs', '1', '--seed', '6'], [law])).text).toContain('1 program from seed 6, 1 law on reference: it holds');
});
