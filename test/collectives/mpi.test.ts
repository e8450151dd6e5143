/** MPI, under every launcher that is here: collectives against their definition, ranks that die, libraries that do not fit. */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { launchOf } from '../../backends/collectives/mpi/launch.ts';
import { openLibrary } from '../../backends/collectives/mpi/library.ts';
import { FoveaError } from '../../compiler/error.ts';
import { launchers, noMpi, script, underMpi } from './launch.ts';

if (launchers.length === 0) console.log(`collectives over MPI: ${noMpi}`);

const dead = /^rank 0 heard: FV0802: rank 1 \(process \d+ on .+\) ended without a word$/m;

describe.skipIf(launchers.length === 0)('over MPI', () => {
  for (const launcher of launchers) {
    // more ranks than processors take long under MPICH, whose ranks do not make room for each other
    const n = launcher.name === 'Open MPI' ? 3 : 2;
    test(`${launcher.name}: every kind, type and group, on ${n} ranks`, async () => {
      const { status, stdout, stderr } = await underMpi(launcher, n, script('laws.ts'));
      expect({ status, stderr, stdout }).toMatchObject({ status: 0, stdout: expect.stringContaining(`: ${n} ranks, ${n} here, `) });
      expect(stdout).toContain('408 transfers, unwatched 0\n');
    });
    // MPICH's launcher leaves no time to say anything when a signal ends a rank: it says so itself
    const killed = launcher.name === 'MPICH' ? /EXIT STRING: Killed \(signal 9\)/ : dead;
    for (const [kind, said] of [
      ['killed', killed],
      ['leaves', dead],
      // MPI_Abort leaves the other rank as long as the launcher does: whoever still speaks says why
      ['abort', /^rank [01] heard: FV0802: rank 1 \(process \d+ on .+\) gave up: the disk is full$/m],
      ['absent', /^rank 0 heard: FV0802: waited 2 s for an exchange of texts, which not all ranks have come to$/m],
    ] as const)
      test(`${launcher.name}: a rank (${kind}) ends the job, and the others say why`, async () => {
        let since = 0;
        const { status, stdout } = await underMpi(launcher, 2, script('fault.ts', kind), {
          patient: true,
          watch: (text) => {
            if (since === 0 && text.includes('waiting\n')) since = performance.now();
          },
        });
        const seconds = (performance.now() - since) / 1e3;
        expect(since).toBeGreaterThan(0);
        expect(stdout).toMatch(said);
        expect(status).not.toBe(0);
        // a promise, not a figure: from the trouble on, for processes take seconds to start where the machine is busy
        expect(seconds).toBeLessThan(12);
      });
  }
  test('srun: by its variable alone, where what it gives to MPI is what mpirun gives', async (t) => {
    const l = launchers.find((x) => x.name === 'Open MPI');
    if (!l) return t.skip('no mpirun of Open MPI here; with one (apt install openmpi-bin) this runs');
    const asSrun = ['env', '-u', 'OMPI_COMM_WORLD_SIZE', 'SLURM_STEP_NUM_TASKS=2'];
    const { status, stdout, stderr } = await underMpi(l, 2, [...asSrun, ...script('fault.ts', 'leaves')], { patient: true });
    expect({ status, stderr, stdout }).toMatchObject({ stdout: expect.stringMatching(dead) });
  });
  test('srun that tells MPI nothing: every process is alone, and refused', async () => {
    const [command = '', ...args] = script('fault.ts', 'killed');
    const { status, stdout } = spawnSync(command, args, {
      encoding: 'utf8',
      env: { ...process.env, SLURM_STEP_NUM_TASKS: '2' },
      cwd: join(import.meta.dirname, '../..'),
    });
    expect(status).toBe(1);
    expect(stdout).toMatch(/^refused: FV0803: srun started 2 processes, but .+ sees 1$/m);
  });
  test('a library that belongs to another launcher sees one process each, and is refused', async (t) => {
    const [a, b] = launchers;
    if (!a || !b) return t.skip('one launcher here; with those of Open MPI and of MPICH this runs');
    const other = openLibrary({ by: 'test', family: b.name, size: 2 }).path;
    const { status, stdout } = await underMpi(a, 2, script('fault.ts', 'killed'), { env: { FOVEA_MPI: other } });
    expect(status).not.toBe(0);
    expect(stdout).toMatch(/^refused: FV0803: mpirun of Open MPI started 2 processes, but MPICH .+ sees 1$/m);
  });
});

test('launchers are known by their variables; a process by itself is none of several', () => {
  expect(launchOf({})).toBeUndefined();
  expect(launchOf({ OMPI_COMM_WORLD_SIZE: '4' })).toEqual({ by: 'mpirun of Open MPI', family: 'Open MPI', size: 4 });
  expect(launchOf({ PMI_SIZE: '1' })).toEqual({ by: 'mpiexec of MPICH', family: 'MPICH', size: 1 });
  // mpirun inside of an allocation of Slurm, whose daemons are a step of their own
  expect(launchOf({ OMPI_COMM_WORLD_SIZE: '4', SLURM_STEP_NUM_TASKS: '2' })).toMatchObject({ by: 'mpirun of Open MPI', size: 4 });
  expect(launchOf({ SLURM_STEP_NUM_TASKS: '2' })).toEqual({ by: 'srun', size: 2 });
  expect(launchOf({ SLURM_STEP_NUM_TASKS: '1' })).toBeUndefined();
  expect(launchOf({ PMI_SIZE: 'two' })).toBeUndefined();
});

describe('no library', () => {
  const refusal = (asked: string): FoveaError => {
    const before = process.env['FOVEA_MPI'];
    process.env['FOVEA_MPI'] = asked;
    try {
      openLibrary(undefined);
    } catch (e) {
      if (e instanceof FoveaError) return e;
    } finally {
      if (before === undefined) delete process.env['FOVEA_MPI'];
      else process.env['FOVEA_MPI'] = before;
    }
    throw new Error('it was accepted');
  };
  test('FOVEA_MPI names nothing', () => {
    expect(refusal('/nowhere/libmpi.so').report()).toBe(
      'FV0801: FOVEA_MPI is /nowhere/libmpi.so, which cannot be loaded\n  Set it to a file such as libmpi.so.40.',
    );
  });
  test('FOVEA_MPI names a library that is not MPI', () => {
    expect(refusal('libm.so.6').report()).toMatch(/^FV0801: libm\.so\.6 has no MPI_Get_library_version: it is no MPI library\n {2}\S/);
  });
});
