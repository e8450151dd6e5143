/**
 * What README and docs show is what runs. Code of the README and the tutorial stands in examples, which readme.test.ts runs; code of the other pages
 * runs here as it stands; command lines are commands whose options parse, and those that look at an example do it, from a clone that was built.
 */
import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { Command } from 'commander';
import { expect, test } from 'vitest';
import { commands } from '../../cli/commands.ts';
import { flatten } from '../../dsl/tree.ts';
import { paramSpecs, type TensorSpec } from '../../index.ts';
import { published } from '../../models/vit/presets.ts';
import { vit } from '../../models/vit.ts';
import { writeSafetensors } from '../../models/weights/index.ts';
import { scratch } from '../cli/command.ts';
import { compiled } from '../cli/compiled.ts';

const root = join(import.meta.dirname, '../..');
const pages = ['README.md', ...readdirSync(join(root, 'docs')).flatMap((f) => (f.endsWith('.md') ? [`docs/${f}`] : []))];
const blocks = (page: string, language: string): readonly string[] =>
  [...readFileSync(join(root, page), 'utf8').matchAll(new RegExp(`^\`\`\`${language}\n([\\s\\S]*?)^\`\`\``, 'gm'))].map(
    ([, text]) => text as string,
  );

/** A face of the package as the source that it is built from. */
const source = (specifier: string): string => {
  const { exports } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { exports: Record<string, { default: string }> };
  const name = `.${specifier.slice('fovea'.length)}`;
  const found = exports[name]?.default ?? exports['./models/*']?.default.replace('*', name.slice('./models/'.length)) ?? '';
  return pathToFileURL(join(root, found.replace('./dist/', '').replace(/\.js$/, '.ts'))).href;
};

/** Of the weights that a page reads: the names and shapes of the released file. */
const released = async (file: string): Promise<void> => {
  const specs = flatten(paramSpecs(vit(published('vit_small')))) as readonly { readonly path: string; readonly leaf: TensorSpec }[];
  const tensors = specs.map(({ path, leaf }) => {
    const shape = leaf.dims.map(Number);
    return [path, { shape, dtype: 'bf16' as const, data: new Uint16Array(shape.reduce((n, d) => n * d, 1)) }] as const;
  });
  await writeSafetensors(file, new Map(tensors));
};

test('the code of every page runs', { timeout: 120_000 }, async () => {
  const dir = scratch();
  await released(join(dir, 'dinov2_vits14_pretrain.pth'));
  let ran = 0;
  for (const page of pages) {
    if (page === 'README.md' || page === 'docs/tutorial.md') continue;
    for (const text of blocks(page, 'ts')) {
      const file = join(dir, `block${ran++}.mts`);
      writeFileSync(
        file,
        text.replace(/(?<= from )'(fovea[^']*)'/g, (_, s: string) => JSON.stringify(source(s))),
      );
      const { status, stderr } = spawnSync(
        process.execPath,
        ['--import', pathToFileURL(join(root, 'node_modules/tsx/dist/esm/index.mjs')).href, file],
        {
          cwd: dir,
          encoding: 'utf8',
        },
      );
      expect({ page, status, stderr }).toEqual({ page, status: 0, stderr: '' });
    }
  }
  expect(ran).toBeGreaterThanOrEqual(3);
});

/** The words of a command line, without what stands around them: comments, variables, pipes. */
const commandLines = (page: string): readonly (readonly string[])[] =>
  blocks(page, 'sh').flatMap((text) =>
    text
      .replace(/\\\n/g, ' ')
      .split('\n')
      .flatMap((line) => line.replace(/(?:^|\s)#\s.*$/, '').split(/&&|\|/))
      .map((one) => [...one.matchAll(/'([^']*)'|(\S+)/g)].map(([, quoted, bare]) => quoted ?? (bare as string)))
      .map((words) => words.slice(words.findIndex((w) => !/^[A-Z_]+=/.test(w))))
      .filter((words) => words.length > 0 && words[0] !== ''),
  );

/** Throws what commander says of options that a command does not have, or that do not parse. */
const parses = async (words: readonly string[]): Promise<void> => {
  const [name = '', ...rest] = words;
  const load = commands[name];
  if (!load) throw new Error(`there is no fovea ${name}`);
  const command: Command = (await load())();
  await command
    .exitOverride()
    .configureOutput({ writeErr: () => {} })
    .action(() => {})
    .parseAsync(rest, { from: 'user' });
};

test('every command line of every page is one that exists, with options that parse', { timeout: 60_000 }, async () => {
  const { scripts } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { scripts: Record<string, string> };
  let count = 0;
  for (const page of pages)
    for (const words of commandLines(page)) {
      count++;
      const line = `${page}: ${words.join(' ')}`;
      const fovea = words.indexOf('fovea');
      if (words[0] === 'npm')
        expect(
          words[1] === 'ci' ||
            words[1] === 'install' ||
            (scripts[words[1] === 'run' ? (words[2] as string) : (words[1] as string)] ?? '') !== '',
          line,
        ).toBe(true);
      else if (fovea > 0)
        await expect(
          parses(words.slice(fovea + 1)).then(() => line),
          line,
        ).resolves.toBe(line);
      else if (words[0] === 'npx' && words[1] === 'tsx') expect(existsSync(join(root, words[2] as string)), line).toBe(true);
      else if (words[0] === 'npx' && words[1] === 'vitest') expect(existsSync(join(root, words[3] as string)), line).toBe(true);
      else expect.unreachable(line);
    }
  expect(count).toBeGreaterThan(25);
  await expect(parses(['check', '--fromat', 'json', 'x.ts'])).rejects.toThrow(/unknown option '--fromat'/);
});

test('a clone that was built: the lines that look at examples say what they should', { timeout: 120_000 }, () => {
  const clone = scratch();
  cpSync(compiled(), clone, { recursive: true });
  for (const name of [
    'index.ts',
    'web.ts',
    'program.ts',
    'dsl',
    'compiler',
    'backends',
    'models',
    'testing',
    'export',
    'examples',
    'tsconfig.json',
  ])
    cpSync(join(root, name), join(clone, name), { recursive: true });
  symlinkSync(join(root, 'node_modules'), join(clone, 'node_modules'));
  const expected: Readonly<Record<string, RegExp>> = {
    'check examples/vit.ts':
      /^No errors\.\nTraced: crossEntropy, step, vit \(examples\/vit\.ts\)\.\nNot traced, [^\n]*: attention, learn, parallelBlock /,
    'gradcheck examples/vit.ts#crossEntropy': /\bpass\b/,
    'explain examples/vit.ts#step': /\d+ {3}\S+ ms {2}.*stream: attention {2,}examples\/vit\.ts:\d+/,
    'explain examples/vit.ts#step --at 65': /group stream/,
  };
  const shown = new Set(['README.md', 'docs/tutorial.md'].flatMap(commandLines).map((w) => w.slice(2).join(' ')));
  for (const [line, says] of Object.entries(expected)) {
    expect(shown).toContain(line);
    const { status, stdout, stderr } = spawnSync(process.execPath, ['dist/cli/main.js', ...line.split(' ')], {
      cwd: clone,
      encoding: 'utf8',
    });
    expect({ line, status, stderr }).toEqual({ line, status: 0, stderr: '' });
    expect(stdout, line).toMatch(says);
  }
});
