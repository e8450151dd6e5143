/**
 * NVRTC: a text of CUDA C++ to a cubin for one architecture. Compiling runs on a thread of koffi's, several at a time; what NVRTC says of registers
 * and spills (ptxas) is in its log.
 */
import { FoveaError } from '../../compiler/error.ts';
import type { loadNvrtc } from './libraries.ts';

export interface Nvrtc {
  /** 13.0 */
  readonly version: string;
  /** Whether it knows compute capability 90. */
  knows(capability: number): boolean;
  /** FV0302 with the first error and the whole log. */
  compile(text: string, architecture: string): Promise<{ readonly cubin: Buffer; readonly log: string }>;
}

/** `--device-int128`: reducing the arguments of sine. Products stay as they are written. */
const options = ['--std=c++17', '--fmad=false', '--device-int128', '--ptxas-options=-v'];

type Out = [number | bigint | null];

export const bindNvrtc = (lib: ReturnType<typeof loadNvrtc>): Nvrtc => {
  const f = (name: string, parameters: string) => lib.func(`int ${name}(${parameters})`);
  const [version, count, archs] = [
    f('nvrtcVersion', '_Out_ int *major, _Out_ int *minor'),
    f('nvrtcGetNumSupportedArchs', '_Out_ int *n'),
    f('nvrtcGetSupportedArchs', 'void *archs'),
  ];
  const [create, destroy, compile] = [
    f('nvrtcCreateProgram', '_Out_ uintptr_t *program, str text, str name, int headers, void *sources, void *names'),
    f('nvrtcDestroyProgram', 'void *program'),
    f('nvrtcCompileProgram', 'uintptr_t program, int n, str *options'),
  ];
  const sized = (what: string) =>
    [f(`nvrtcGet${what}Size`, 'uintptr_t program, _Out_ size_t *n'), f(`nvrtcGet${what}`, 'uintptr_t program, void *to')] as const;
  const [cubinOf, logOf] = [sized('CUBIN'), sized('ProgramLog')];
  const error = lib.func('str nvrtcGetErrorString(int code)');
  const check = (code: number, what: string): void => {
    if (code !== 0) throw new FoveaError('FV0302', `${what}: ${error(code)}`);
  };
  const bytes = ([size, get]: ReturnType<typeof sized>, program: bigint): Buffer => {
    const n: Out = [0];
    check(size(program, n), 'NVRTC');
    const to = Buffer.alloc(Number(n[0]));
    if (to.length > 0) check(get(program, to), 'NVRTC');
    return to;
  };
  const [major, minor, n]: [Out, Out, Out] = [[0], [0], [0]];
  check(version(major, minor), 'nvrtcVersion');
  check(count(n), 'nvrtcGetNumSupportedArchs');
  const known = new Int32Array(Number(n[0]));
  check(archs(known), 'nvrtcGetSupportedArchs');
  return {
    version: `${major[0]}.${minor[0]}`,
    knows: (capability) => known.includes(capability),
    compile: async (text, architecture) => {
      const slot: Out = [0];
      check(create(slot, text, 'fovea.cu', 0, null, null), 'nvrtcCreateProgram');
      const program = BigInt(slot[0] as number | bigint);
      const all = [`--gpu-architecture=${architecture}`, ...options];
      try {
        const code = await new Promise<number>((resolve, reject) => {
          compile.async(program, all.length, all, (e: unknown, r: number) => (e ? reject(e) : resolve(r)));
        });
        const log = bytes(logOf, program).toString('utf8').replace(/\0+$/, '');
        if (code !== 0) {
          const first = log.split('\n').find((l) => /error/i.test(l)) ?? log.split('\n')[0] ?? '';
          throw new FoveaError('FV0302', `NVRTC cannot compile a kernel: ${error(code)}: ${first.trim()}`, { cause: log });
        }
        return { cubin: bytes(cubinOf, program), log };
      } finally {
        destroy(BigUint64Array.of(program));
      }
    },
  };
};
