/**
 * MPI's names for communicators, types and operations, which each family of libraries gives as it likes: Open MPI as addresses of its own
 * variables, MPICH and its kin as numbers (of 32 bits, the same since version 3, by the agreement on a common binary interface). With one table for
 * each, no C is compiled against anybody's mpi.h.
 *
 * A handle travels as a word of 64 bits: a function that takes 32 of them reads the lower half of the register. Handles that come back lie in
 * memory, where their size counts.
 */
import type { Reduction } from '../../../compiler/collectives.ts';

export type Family = 'Open MPI' | 'MPICH';
/** Types of elements on the wire. */
export type Wire = 'f32' | 'i32' | 'u32' | 'u16' | 'u8';

export interface Handles {
  /** Bytes of a handle in memory. */
  readonly bytes: 4 | 8;
  readonly world: bigint;
  readonly types: { readonly [W in Wire]: bigint };
  readonly operations: { readonly [R in Reduction]: bigint };
  /** The error handler that makes functions return a code. */
  readonly errorsReturn: bigint;
  readonly statusesIgnore: bigint;
}

type Symbols = (name: string) => bigint;

const tables: { readonly [F in Family]: (symbol: Symbols) => Handles } = {
  'Open MPI': (symbol) => ({
    bytes: 8,
    world: symbol('ompi_mpi_comm_world'),
    types: {
      f32: symbol('ompi_mpi_float'),
      i32: symbol('ompi_mpi_int32_t'),
      u32: symbol('ompi_mpi_uint32_t'),
      u16: symbol('ompi_mpi_uint16_t'),
      u8: symbol('ompi_mpi_uint8_t'),
    },
    operations: { sum: symbol('ompi_mpi_op_sum'), max: symbol('ompi_mpi_op_max'), min: symbol('ompi_mpi_op_min') },
    errorsReturn: symbol('ompi_mpi_errors_return'),
    statusesIgnore: 0n,
  }),
  MPICH: () => ({
    bytes: 4,
    world: 0x44000000n,
    types: { f32: 0x4c00040an, i32: 0x4c000439n, u32: 0x4c00043dn, u16: 0x4c00023cn, u8: 0x4c00013bn },
    operations: { sum: 0x58000003n, max: 0x58000001n, min: 0x58000002n },
    errorsReturn: 0x54000001n,
    statusesIgnore: 1n,
  }),
};

/** By what the library says of itself; undefined for one of neither family. */
export const familyOf = (version: string): Family | undefined =>
  /Open MPI/.test(version) ? 'Open MPI' : /MPICH|Intel\(R\) MPI|MVAPICH/i.test(version) ? 'MPICH' : undefined;

export const handlesOf = (family: Family, symbol: Symbols): Handles => tables[family](symbol);
