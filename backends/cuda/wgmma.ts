/**
 * What K does beside its threads on compute capability 9.0 (compiler/kernel/wgmma.ts), in PTX: boxes of tensors that TMA fetches, mbarriers, and products of
 * warp groups by wgmma. The emulator has functions of the same names (emulator/wgmma.ts).
 *
 *   fv_await(full, slot, parity)                                          until the phase of the parity has ended
 *   fv_fetch(left, at, tensor, full, slot, kp, row)                       cp.async.bulk.tensor.2d
 *   fv_wgmma_bf16<0, 0>(fv_lines<0>(left, i, 0), fv_lines<0>(right, j, 0), s0, s1)      wgmma.m64n32k16: sums of sixteen columns each
 */
const onDevice = (text: string): string => `#ifndef FV_EMULATED\n${text}\n#endif`;
const list = (n: number): readonly number[] => Array.from({ length: n }, (_, i) => i);
const address = (of: string): string => `(u32)__cvta_generic_to_shared(${of})`;

// thread 0 makes them, for all threads and for what fetches
const mbarrier = `FV_INLINE void fv_mbarrier(u64 *p, int n, int arrivals) {
  if (threadIdx.x == 0) {
    for (int i = 0; i < n; i++) asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" :: "r"(${address('p + i')}), "r"(arrivals) : "memory");
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
  }
}`;
const arrive = `template <class I> FV_INLINE void fv_arrive(u64 *p, I i) {
  __syncwarp();
  if (threadIdx.x % 32 == 0) asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" :: "r"(${address('p + i')}) : "memory");
}`;
const expect = `template <class I> FV_INLINE void fv_expect(u64 *p, I i, int bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" :: "r"(${address('p + i')}), "r"(bytes) : "memory");
}`;
const awaits = `template <class I, class J> FV_INLINE void fv_await(u64 *p, I i, J parity) {
  const u32 at = ${address('p + i')}; u32 over;
  do asm volatile("{ .reg .pred p; mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2; selp.u32 %0, 1, 0, p; }" : "=r"(over) : "r"(at), "r"((u32)parity) : "memory");
  while (!over);
}`;
const fetchOf = (rank: number): string => {
  const indices = list(rank).map((i) => `int i${i}`);
  const places = list(rank).map((i) => `%${i + 3}`);
  return `template <class T, class I, class J> FV_INLINE void fv_fetch(T *p, I at, const fv_tensor *from, u64 *on, J slot, ${indices.join(', ')}) {
  asm volatile("cp.async.bulk.tensor.${rank}d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {${places.join(', ')}}], [%2];"
    :: "r"(${address('p + at')}), "l"((u64)from), "r"(${address('on + slot')}), ${list(rank)
      .map((i) => `"r"(i${i})`)
      .join(', ')} : "memory");
}`;
};
/**
 * Where lines begin, how far away the next 64 columns of turned ones are, and the next atom of eight lines; chunks are turned by 128 bytes. All in units of 16
 * bytes, at bits 0, 16, 32 and 62, as the PTX ISA has it ("matrix descriptor format"). The emulator is given the same 64 bits.
 */
const descriptor = `template <int turned> FV_INLINE u64 fv_descriptor(u32 at, int apart) {
  return (u64)((at & 0x3ffff) >> 4) | (u64)(turned ? (apart * 2 & 0x3ffff) >> 4 : 1) << 16 | (u64)64 << 32 | (u64)1 << 62;
}`;
const lines = `template <int turned, class T, class I> FV_INLINE u64 fv_lines(const T *p, I at, int apart) { return fv_descriptor<turned>(${address('p + at')}, apart); }`;
const wgmma = (of: string): string =>
  [1, 2, 4, 8, 16]
    .map((n) => {
      const sums = list(n).map((j) => `fv_vec<f32, 8> &s${j}`);
      const registers = list(8 * n).map((i) => `%${i}`);
      const operands = list(n).flatMap((j) => list(8).map((i) => `"+f"(s${j}.v[${i}])`));
      const [name, first] = [`wgmma.mma_async.sync.aligned.m64n${16 * n}k16.f32.${of}.${of} {${registers.join(', ')}}`, 8 * n];
      return `template <int tx, int ty> FV_INLINE void fv_wgmma_${of}(u64 x, u64 y, ${sums.join(', ')}) {
  asm volatile("${name}, %${first}, %${first + 1}, 1, 1, 1, %${first + 2}, %${first + 3};"
    : ${operands.join(', ')} : "l"(x), "l"(y), "n"(tx), "n"(ty));
}
template <int tx, int ty> FV_INLINE void fv_wgmma_${of}(fv_vec<u32, 4> x, u64 y, ${sums.join(', ')}) {
  asm volatile("${name}, {%${first}, %${first + 1}, %${first + 2}, %${first + 3}}, %${first + 4}, 1, 1, 1, %${first + 5};"
    : ${operands.join(', ')} : ${list(4)
      .map((i) => `"r"(x.v[${i}])`)
      .join(', ')}, "l"(y), "n"(ty));
}`;
    })
    .join('\n');

export const wgmmaFunctions = {
  mbarrier: onDevice(mbarrier),
  arrive: onDevice(arrive),
  expect: onDevice(expect),
  await: onDevice(awaits),
  fetch: onDevice([2, 3, 4, 5].map(fetchOf).join('\n')),
  lines: `${descriptor}\n${onDevice(lines)}`,
  wgmma_bf16: onDevice(wgmma('bf16')),
  wgmma_f16: onDevice(wgmma('f16')),
  fence: onDevice('FV_INLINE void fv_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }'),
  commitProducts: onDevice('FV_INLINE void fv_commitProducts() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }'),
  waitProducts: onDevice(
    'template <int N> FV_INLINE void fv_waitProducts() { asm volatile("wgmma.wait_group.sync.aligned %0;" :: "n"(N) : "memory"); }',
  ),
  // more than the block began with, or fewer
  registers: onDevice(`template <int N, bool more> FV_INLINE void fv_registers() {
  if (more) asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" :: "n"(N)); else asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" :: "n"(N));
}`),
} as const;

/** Registers that each thread of a block begins with, if all registers of a processor are shared out. */
export const launchRegisters = (threads: number): number => Math.min(255, Math.floor(65536 / threads / 8) * 8);
