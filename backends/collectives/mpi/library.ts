/**
 * Finds and opens the MPI library of this machine. FOVEA_MPI, a path or a name, is taken at its word. Otherwise names are tried by which
 * libraries go, those of the launcher's family first, where the system's loader looks, in the usual folders of modules and package managers, and
 * beside the launcher itself.
 *
 *   openLibrary(launchOf())   // { path: 'libmpi.so.40', family: 'Open MPI', version: 'Open MPI v4.1.4, ...', lib }
 */
import { existsSync } from 'node:fs';
import { delimiter, dirname, isAbsolute, join } from 'node:path';
import { FoveaError } from '../../../compiler/error.ts';
import { koffi } from '../../native/koffi.ts';
import { type Family, familyOf } from './handles.ts';
import type { Launch } from './launch.ts';

type Lib = ReturnType<typeof koffi.load>;

export interface Library {
  readonly path: string;
  readonly family: Family;
  /** What the library says of itself, its first line. */
  readonly version: string;
  readonly lib: Lib;
}

const apple = process.platform === 'darwin';
const names: { readonly [F in Family]: readonly string[] } = {
  'Open MPI': apple ? ['libmpi.40.dylib', 'libmpi.dylib'] : ['libmpi.so.40', 'libmpi.so'],
  // libmpi.so.12 is the name that the agreement on a common binary interface gives; Debian calls MPICH's own libmpich.so.12
  MPICH: apple ? ['libmpi.12.dylib', 'libmpich.dylib', 'libpmpi.12.dylib'] : ['libmpich.so.12', 'libmpi.so.12', 'libmpi_intel.so.12'],
};
const install = apple
  ? 'Install it, for example: brew install open-mpi; or set FOVEA_MPI to the library.'
  : 'Install it, for example: apt-get install openmpi-bin libopenmpi-dev; or set FOVEA_MPI to the library.';

/** Folders that the system's loader may not know. */
const folders = (): readonly string[] => {
  const { MPI_HOME, I_MPI_ROOT, PATH = '' } = process.env;
  const launcher = PATH.split(delimiter).find((d) => d !== '' && existsSync(join(d, 'mpirun')));
  return [
    ...(MPI_HOME ? [join(MPI_HOME, 'lib')] : []),
    ...(I_MPI_ROOT ? [join(I_MPI_ROOT, 'lib'), join(I_MPI_ROOT, 'lib/release')] : []),
    ...(launcher ? [join(dirname(launcher), 'lib'), join(dirname(launcher), 'lib64')] : []),
    '/usr/lib64/openmpi/lib',
    '/usr/lib64/mpich/lib',
    '/usr/local/lib',
    '/opt/homebrew/lib',
  ];
};

/** Every place that is tried, in order: names are for the system's loader. */
const places = (launch: Launch | undefined): readonly string[] => {
  const first: readonly Family[] = launch?.family === 'MPICH' ? ['MPICH', 'Open MPI'] : ['Open MPI', 'MPICH'];
  const known = first.flatMap((family) => names[family]);
  const files = folders().flatMap((folder) => known.map((name) => join(folder, name)));
  return [...known, ...files.filter((file) => existsSync(file))];
};

const versionOf = (lib: Lib, path: string): string => {
  const text = Buffer.alloc(8192); // the longest that a library of either family writes
  const length = new Int32Array(1);
  try {
    lib.func('int MPI_Get_library_version(void *text, void *length)')(text, length);
  } catch (cause) {
    throw new FoveaError('FV0801', `${path} has no MPI_Get_library_version: it is no MPI library`, {
      hint: 'Set FOVEA_MPI to a file such as libmpi.so.40, or unset it.',
      cause,
    });
  }
  return text.toString('latin1', 0, length[0]).replaceAll('\0', '').trim();
};

const opened = (path: string): Lib | undefined => {
  // UCX, which carries for MPICH, tries its hooks on memory by moving the end of the heap to and fro, and takes what another thread of Node was given between
  process.env['UCX_MEM_EVENTS'] ??= 'n';
  try {
    // plugins of Open MPI look for its symbols among those of the process
    return koffi.load(path, { global: true });
  } catch {
    return undefined;
  }
};

/** FV0801: there is no library, or it is of a family that no table describes. */
export const openLibrary = (launch: Launch | undefined): Library => {
  const asked = process.env['FOVEA_MPI'];
  const tried = asked ? [asked] : places(launch);
  for (const path of tried) {
    const lib = opened(path);
    if (!lib) continue;
    const said = versionOf(lib, path);
    const family = familyOf(said);
    const version = said.split('\n')[0] as string;
    if (family) return { path, family, version, lib };
    throw new FoveaError('FV0801', `${path} is '${version.slice(0, 80)}', and neither of Open MPI's nor of MPICH's family`, {
      hint: 'Set FOVEA_MPI to a library of one of these families.',
    });
  }
  if (asked)
    throw new FoveaError('FV0801', `FOVEA_MPI is ${asked}, which cannot be loaded`, {
      hint: isAbsolute(asked) ? 'Set it to a file such as libmpi.so.40.' : 'Give the path of the library, or unset it.',
    });
  throw new FoveaError('FV0801', `no MPI library: tried ${tried.join(', ')}; in ${folders().join(', ')} there is none either`, {
    hint: install,
  });
};
