/** Checkpoints: written by n ranks and read by anybody, killed at any moment, damaged in every way. */
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  appendFileSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { FoveaError } from '../../compiler/error.ts';
import { completeSteps, openCheckpoint, type Peers, stepName, writeCheckpoint } from '../../models/checkpoint/index.ts';
import { stream } from '../../models/data/random.ts';
import { launchers, noMpi, underMpi } from '../collectives/launch.ts';
import { piecesOf, wholeOf } from './numbers.ts';

const scratch = (): string => {
  const dir = mkdtempSync(join(tmpdir(), 'fovea-test-'));
  onTestFinished(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
};

/** n ranks in this process: a text is given out when all have come. */
const ranks = (n: number): readonly Peers[] => {
  let texts: string[] = [];
  let wake: ((all: readonly string[]) => void)[] = [];
  return Array.from({ length: n }, (_, rank) => ({
    rank,
    size: n,
    exchange: (text) =>
      new Promise((resolve) => {
        texts[rank] = text;
        wake.push(resolve);
        if (wake.length < n) return;
        const [all, waiting] = [texts, wake];
        [texts, wake] = [[], []];
        for (const w of waiting) w(all);
      }),
  }));
};
const write = (folder: string, step: number, n: number, keep = 2): Promise<unknown> =>
  Promise.all(
    ranks(n).map((peers) => writeCheckpoint(folder, step, { peers, pieces: piecesOf(step, peers.rank, n), run: { seed: '7' }, keep })),
  );

const expectStep = (folder: string, step: number): void => {
  const c = openCheckpoint(join(folder, stepName(step)));
  expect(c).toMatchObject({ step, run: { seed: '7' } });
  const want = wholeOf(step);
  expect([...c.tensors.keys()].sort()).toEqual([...want.keys()].sort());
  for (const [name, { shape, data }] of want) {
    expect(c.tensors.get(name), name).toMatchObject({ shape, dtype: 'f32' });
    expect(c.tensors.get(name)?.load(), name).toEqual(data);
  }
  c.close();
};

test('what 1 to 5 ranks write is the same tensors, and older checkpoints go', async () => {
  const folder = join(scratch(), 'new/checkpoints');
  expect(completeSteps(folder)).toEqual([]);
  for (let n = 1; n <= 5; n++) {
    await write(folder, 10 * n, n);
    expectStep(folder, 10 * n);
    expect(completeSteps(folder)).toEqual(n === 1 ? [10] : [10 * n - 10, 10 * n]);
  }
  expect(readdirSync(folder).sort()).toEqual(['step-000040', 'step-000050']);
  // what a killed run with more ranks left of a step does not mix with what comes now
  await write(folder, 60, 5);
  rmSync(join(folder, 'step-000060/complete.json'));
  await write(folder, 60, 2);
  expect(readdirSync(join(folder, 'step-000060')).sort()).toEqual(['complete.json', 'part-0-of-2.safetensors', 'part-1-of-2.safetensors']);
  expectStep(folder, 60);
  // nor does what it left of other steps stay for ever
  await write(folder, 55, 2, 9);
  await write(folder, 62, 2, 9);
  for (const step of ['055', '062']) rmSync(join(folder, `step-000${step}/complete.json`));
  await write(folder, 61, 2);
  expect(readdirSync(folder).sort()).toEqual(['step-000050', 'step-000061']);
});

test('one rank that cannot write fails all of them, and the checkpoint before stays', async () => {
  const folder = scratch();
  await write(folder, 1, 2);
  const outcomes = await Promise.allSettled(
    ranks(2).map((peers) => {
      const pieces = new Map(piecesOf(2, peers.rank, 2));
      // a tensor whose data are not what it says
      if (peers.rank === 1) pieces.set('a.bias', { shape: [101], dtype: 'f32', from: 51, data: new Uint8Array(3) });
      return writeCheckpoint(folder, 2, { peers, pieces, run: {}, keep: 1 });
    }),
  );
  const codes = outcomes.map((o) =>
    o.status === 'rejected' && o.reason instanceof FoveaError ? [o.reason.code, o.reason.message] : o.status,
  );
  expect(codes).toEqual([
    ['FV0407', 'rank 1: a.bias: f32 [3] is 12 bytes, but holds 3'],
    ['FV0406', 'a.bias: f32 [3] is 12 bytes, but holds 3'],
  ]);
  expect(completeSteps(folder)).toEqual([1]);
  expectStep(folder, 1);
});

test('a run that is gone back from leaves nothing newer than what comes after', async () => {
  const folder = scratch();
  for (const step of [10, 20, 30]) await write(folder, step, 1, 3);
  expect(completeSteps(folder)).toEqual([10, 20, 30]);
  // from step 10 on: until something is whole, all that was stays
  await write(folder, 15, 2);
  expect(completeSteps(folder)).toEqual([10, 15]);
  expectStep(folder, 15);
});

describe('damage', () => {
  const damages: Readonly<Record<string, readonly [(dir: string) => void, RegExp]>> = {
    'a missing part': [(d) => rmSync(join(d, 'part-1-of-3.safetensors')), /part-1-of-3\.safetensors is missing$/],
    'a part cut short': [
      (d) => truncateSync(join(d, 'part-2-of-3.safetensors'), 100),
      /part-2-of-3\.safetensors has 100 bytes; \d+ were written$/,
    ],
    'a part that grew': [
      (d) => appendFileSync(join(d, 'part-2-of-3.safetensors'), 'x'),
      /part-2-of-3\.safetensors has \d+ bytes; \d+ were written$/,
    ],
    'a bit': [
      (d) => {
        const file = join(d, 'part-0-of-3.safetensors');
        const bytes = readFileSync(file);
        bytes[bytes.length - 5]! ^= 4;
        writeFileSync(file, bytes);
      },
      /part-0-of-3\.safetensors holds other bytes than were written$/,
    ],
    'parts that changed places': [
      (d) => {
        const [a, b] = [0, 1].map((r) => join(d, `part-${r}-of-3.safetensors`)) as [string, string];
        renameSync(a, join(d, 'x'));
        renameSync(b, a);
        renameSync(join(d, 'x'), b);
      },
      /part-0-of-3\.safetensors (has \d+ bytes; \d+ were written|holds other bytes than were written)$/,
    ],
    'no marker': [(d) => rmSync(join(d, 'complete.json')), /it has no complete\.json, so it was never finished$/],
    'half a marker': [(d) => truncateSync(join(d, 'complete.json'), 60), /complete\.json is damaged$/],
    'a marker of something else': [
      (d) => writeFileSync(join(d, 'complete.json'), '{"format":"x"}'),
      /complete\.json is damaged, or of another version$/,
    ],
    'a part too few in the marker': [
      (d) => {
        const file = join(d, 'complete.json');
        const json = JSON.parse(readFileSync(file, 'utf8'));
        json.parts.pop();
        writeFileSync(file, JSON.stringify(json));
      },
      /^.+: (a\.weight|a\.bias|b\.few|big) has \d+ elements, and \d+ are there$/,
    ],
    'a list of pieces that is no list': [
      (d) => {
        const file = join(d, 'part-1-of-3.safetensors');
        const bytes = readFileSync(file);
        bytes[bytes.indexOf('"pieces":"{') + '"pieces":"'.length] = 'x'.charCodeAt(0);
        writeFileSync(file, bytes);
        // whoever wrote it so, its checksum fits
        const json = JSON.parse(readFileSync(join(d, 'complete.json'), 'utf8'));
        json.parts[1].sha256 = createHash('sha256').update(bytes).digest('hex');
        writeFileSync(join(d, 'complete.json'), JSON.stringify(json));
      },
      /part-1-of-3\.safetensors does not say which pieces it has$/,
    ],
    "another step's marker": [
      (d) => {
        const file = join(d, 'complete.json');
        writeFileSync(file, readFileSync(file, 'utf8').replace('"step": 4', '"step": 5'));
      },
      /it is the checkpoint of step 5 under another name$/,
    ],
  };
  for (const [what, [damage, said]] of Object.entries(damages))
    test(`${what} is refused by name`, async () => {
      const folder = scratch();
      await write(folder, 4, 3);
      const dir = join(folder, stepName(4));
      const copy = join(folder, 'copy/step-000004');
      mkdirSync(join(folder, 'copy'));
      cpSync(dir, copy, { recursive: true });
      damage(copy);
      const refusals = [0, 1, 2].map((rank) => {
        try {
          openCheckpoint(copy, { rank, size: 3 }).close();
          return '';
        } catch (e) {
          expect(e).toBeInstanceOf(FoveaError);
          expect((e as FoveaError).code).toBe('FV0804');
          return (e as FoveaError).message;
        }
      });
      // checksums are shared out among ranks: one of them sees the damage
      expect(refusals.find((m) => m !== '')).toMatch(said);
      expectStep(folder, 4);
    });
});

describe('killed at any moment', () => {
  const writer = ['--import', 'tsx', join(import.meta.dirname, 'writer.ts')];
  /** The newest checkpoint is whole, and no older than the last one that was said to be complete. */
  const check = (folder: string, stdout: string): void => {
    const said = stdout.trimEnd().split('\n').length;
    const steps = completeSteps(folder);
    const newest = steps.at(-1) as number;
    expect(newest === said || newest === said + 1, `${newest} of ${said}`).toBe(true);
    for (const step of steps.slice(-2)) expectStep(folder, step);
  };

  test('one process', async () => {
    const random = stream(5);
    for (let round = 0; round < 6; round++) {
      const folder = scratch();
      const stdout = await new Promise<string>((resolve, reject) => {
        const child = spawn(process.execPath, [...writer, folder]);
        let [text, armed] = ['', false];
        child.stdout.on('data', (d: Buffer) => {
          text += d.toString();
          if (armed) return;
          armed = true;
          setTimeout(() => child.kill('SIGKILL'), 150 * random());
        });
        child.on('error', reject);
        child.on('close', () => resolve(text));
      });
      check(folder, stdout);
      // and a run that goes on from there overwrites what was left
      const next = (completeSteps(folder).at(-1) as number) + 1;
      await write(folder, next, 3);
      expectStep(folder, next);
    }
  });

  test('two ranks, of which one is killed', async (t) => {
    const [launcher] = launchers;
    if (!launcher) return t.skip(noMpi);
    const random = stream(6);
    for (let round = 0; round < 3; round++) {
      const folder = scratch();
      const end = [String(round % 2), String(150 * random())];
      const { stdout } = await underMpi(launcher, 2, [process.execPath, ...writer, folder, ...end]);
      check(folder, stdout);
    }
  });
});
