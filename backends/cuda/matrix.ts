/**
 * What K does with matrix units (compiler/kernel/matrix.ts), in PTX: ldmatrix, two mma.sync of 16 x 8 results, and cp.async. All of it is there
 * from sm_80 on. The emulator has functions of the same names (emulator/matrix.ts).
 *
 *   fv_fragment<false>(panel, at)      the words of this thread, of the squares whose lines its warp names
 *   fv_copy<8>(panel, to, b0, at, n)   16 bytes, of which elements from n on are 0; nothing is read where n is 0
 */
const place = '(u32)__cvta_generic_to_shared(p + at)';
const onDevice = (text: string): string => `#ifndef FV_EMULATED\n${text}\n#endif`;

const fragment = `template <bool turned, class T, class I> FV_INLINE fv_vec<u32, 4> fv_fragment(const T *p, I at) {
  fv_vec<u32, 4> r; const u32 from = ${place};
  if (turned) asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];" : "=r"(r.v[0]), "=r"(r.v[1]), "=r"(r.v[2]), "=r"(r.v[3]) : "r"(from) : "memory");
  else asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];" : "=r"(r.v[0]), "=r"(r.v[1]), "=r"(r.v[2]), "=r"(r.v[3]) : "r"(from) : "memory");
  return r;
}`;

/** Sums, and words of y, of the left and of the right eight columns. */
const half = (of: string, sum: number, y: number): string =>
  `  asm("mma.sync.aligned.m16n8k16.row.col.f32.${of}.${of}.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};" : ${[0, 1, 2, 3].map((i) => `"+f"(s.v[${sum + i}])`).join(', ')} : ${[0, 1, 2, 3].map((i) => `"r"(x.v[${i}])`).join(', ')}, "r"(y.v[${y}]), "r"(y.v[${y + 1}]));`;
const mma = (of: string): string =>
  `FV_INLINE void fv_mma_${of}(fv_vec<f32, 8> &s, fv_vec<u32, 4> x, fv_vec<u32, 4> y) {\n${half(of, 0, 0)}\n${half(of, 4, 2)}\n}`;

// only copies of 16 bytes may pass by the first cache
const copy = `template <int N, class T, class I, class J> FV_INLINE void fv_copy(T *p, I at, const T *from, J index, int count) {
  const u32 to = ${place}; const T *const source = from + (count > 0 ? index : 0); const int bytes = count * (int)sizeof(T);
  if (N * sizeof(T) == 16) asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" :: "r"(to), "l"(source), "r"(bytes) : "memory");
  else asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" :: "r"(to), "l"(source), "n"(N * sizeof(T) == 16 ? 8 : (int)(N * sizeof(T))), "r"(bytes) : "memory");
}`;

export const matrixFunctions = {
  fragment: onDevice(fragment),
  mma_bf16: onDevice(mma('bf16')),
  mma_f16: onDevice(mma('f16')),
  copy: onDevice(copy),
  commit: onDevice('FV_INLINE void fv_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }'),
  wait: onDevice('template <int N> FV_INLINE void fv_wait() { asm volatile("cp.async.wait_group %0;" :: "n"(N) : "memory"); }'),
} as const;
