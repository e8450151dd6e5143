/**
 * The head of every kernel's text: types, vectors of lanes, and memory. It includes nothing, so that NVRTC needs no toolkit. The same text runs in
 * the emulator, which brings its own words for what only a GPU has (emulator/head.ts), and pointers that check every access.
 *
 *   fv_vec<f32, 4> x = fv_load<4>(a, at);     four elements from a[at] on
 *   FV_SHARED(f32, panel, 4096, 512)          512 elements from byte 4096 of the block's shared memory on
 *
 * What backends/native/math.ts calls by the names of GCC has other names here. Products are not contracted (--fmad=false): a kernel of plain
 * nodes gives the same bits on every GPU, and in the emulator.
 */
const types = `typedef float f32; typedef double f64; typedef int i32; typedef unsigned u32; typedef long long i64; typedef unsigned long long u64;
typedef unsigned short u16; typedef unsigned char u8;`;

const onDevice = `#ifndef FV_EMULATED
extern __shared__ __align__(1024) u8 fv_shared[];
#define FV_INLINE static __device__ __forceinline__
#define FV_PRAGMA(x) _Pragma(#x)
#define FV_UNROLL(n) FV_PRAGMA(unroll n)
#define FV_BUFFER(T, name, at, size) T *const name = (T *)(at);
#define FV_SHARED(T, name, at, size) T *const name = (T *)(fv_shared + (at));
#define FV_PARTS(N, P) const __grid_constant__ fv_parts<N, P> parts
#define FV_TENSORS(N) const __grid_constant__ fv_tensors<N> tensors
#define FV_TENSOR(name, i) const fv_tensor *const name = &tensors.at[i];
#define FV_EXPORT(name, N, P)
#define FV_EXPORT_TENSORS(name, N, P, M)
#define FV_BARRIER() __syncthreads()
#define FV_WARP_BARRIER() __syncwarp()
#define FV_EXCHANGE(x, h) __shfl_xor_sync(0xffffffffu, x, h)
#define FV_BLOCK blockIdx.x
#define FV_THREAD threadIdx.x
#define FV_FMA(x, y, z) __fmaf_rn(x, y, z)
#define FV_FMA64(x, y, z) __fma_rn(x, y, z)
#define __builtin_sqrtf sqrtf
#define __builtin_sqrt sqrt
#define __builtin_floorf floorf
#define __builtin_fmodf fmodf
#define __builtin_fabsf fabsf
#define __builtin_rintf rintf
#define __builtin_rint rint
#define __builtin_copysignf copysignf
#define __builtin_inff() __int_as_float(0x7f800000)
#define __builtin_inf() __longlong_as_double(0x7ff0000000000000LL)
#define __builtin_nanf(s) __int_as_float(0x7fc00000)
#define __builtin_memcpy memcpy
#endif`;

/** Where a block's buffers lie: rows of a launch's parts, of which unused ones end where the last one does. */
const parts = `template <int N> struct fv_part { i64 end; void *b[N]; };
template <int N, int P> struct fv_parts { fv_part<N> at[P]; };
/* as the driver makes them */
struct alignas(64) fv_tensor { u64 opaque[16]; };
template <int N> struct fv_tensors { fv_tensor at[N]; };`;

const each = 'FV_UNROLL(N) for (int j = 0; j < N; j++)';
const lanewise = (op: string, result = 'T'): string =>
  `template <class T, int N> FV_INLINE fv_vec<${result}, N> operator${op}(fv_vec<T, N> x, fv_vec<T, N> y) { fv_vec<${result}, N> r; ${each} r.v[j] = x.v[j] ${op} y.v[j]; return r; }`;
const one = (op: string): string =>
  `template <class T, int N> FV_INLINE fv_vec<T, N> operator${op}(fv_vec<T, N> x) { ${each} x.v[j] = ${op}x.v[j]; return x; }`;
/** Integers wrap, which signed ones of C++ do not. */
const wraps = (name: string, op: string): string =>
  `FV_INLINE i32 fv_${name}(i32 x, i32 y) { return (i32)((u32)x ${op} (u32)y); }
template <int N> FV_INLINE fv_vec<i32, N> fv_${name}(fv_vec<i32, N> x, fv_vec<i32, N> y) { ${each} x.v[j] = fv_${name}(x.v[j], y.v[j]); return x; }`;

const vectors = [
  'template <class T, int N> struct alignas(sizeof(T) * N) fv_vec { T v[N]; };',
  ...['+', '-', '*', '/', '%', '&', '|', '^', '<<', '>>'].map((op) => lanewise(op)),
  ...['==', '!=', '<', '<=', '>', '>='].map((op) => lanewise(op, 'bool')),
  ...['-', '~', '!'].map(one),
  wraps('add', '+'),
  wraps('sub', '-'),
  wraps('mul', '*'),
  `template <int N, class T> FV_INLINE fv_vec<T, N> fv_splat(T x) { fv_vec<T, N> r; ${each} r.v[j] = x; return r; }`,
  `template <int N, class T> FV_INLINE fv_vec<T, N> fv_ramp(T x) { fv_vec<T, N> r; ${each} r.v[j] = x + j; return r; }`,
  `template <class T, class S, int N> FV_INLINE fv_vec<T, N> fv_to(fv_vec<S, N> x) { fv_vec<T, N> r; ${each} r.v[j] = (T)x.v[j]; return r; }`,
  `template <class T, int N> FV_INLINE fv_vec<T, N> fv_select(fv_vec<bool, N> c, fv_vec<T, N> x, fv_vec<T, N> y) { ${each} x.v[j] = c.v[j] ? x.v[j] : y.v[j]; return x; }`,
  'template <class I> FV_INLINE fv_vec<I, 8> fv_rows(I t) { fv_vec<I, 8> r; FV_UNROLL(8) for (int j = 0; j < 8; j++) r.v[j] = t % 32 / 4 + j / 2 % 2 * 8; return r; }',
  'template <class I> FV_INLINE fv_vec<I, 8> fv_columns(I t) { fv_vec<I, 8> r; FV_UNROLL(8) for (int j = 0; j < 8; j++) r.v[j] = t % 4 * 2 + j % 2 + j / 4 * 8; return r; }',
  'template <int N> FV_INLINE fv_vec<u32, N / 2> fv_words(fv_vec<u16, N> x) { fv_vec<u32, N / 2> r; FV_UNROLL(N) for (int j = 0; j < N / 2; j++) r.v[j] = x.v[2 * j] | (u32)x.v[2 * j + 1] << 16; return r; }',
  `template <int H, class T, int N> FV_INLINE fv_vec<T, N> fv_zip(fv_vec<T, N> x, fv_vec<T, N> y) { fv_vec<T, N> r; ${each} r.v[j] = j % 2 ? y.v[H * N / 2 + j / 2] : x.v[H * N / 2 + j / 2]; return r; }`,
].join('\n');

/** `p` is a pointer, or what stands for one in the emulator: elements by p[i], vectors whose address is a multiple of their size at once. */
const memory = [
  `template <int N, class P, class I> FV_INLINE auto fv_load(const P &p, I i) { fv_vec<FV_ELEMENT(p), N> r; ${each} r.v[j] = p[i + j]; return r; }`,
  `template <int N, class P, class I> FV_INLINE auto fv_loadMasked(const P &p, I i, fv_vec<bool, N> m) { fv_vec<FV_ELEMENT(p), N> r; ${each} r.v[j] = m.v[j] ? (FV_ELEMENT(p))p[i + j] : (FV_ELEMENT(p))0; return r; }`,
  `template <int N, class P, class I> FV_INLINE auto fv_gather(const P &p, fv_vec<I, N> i) { fv_vec<FV_ELEMENT(p), N> r; ${each} r.v[j] = p[i.v[j]]; return r; }`,
  `template <int N, class P, class I> FV_INLINE auto fv_gatherMasked(const P &p, fv_vec<I, N> i, fv_vec<bool, N> m) { fv_vec<FV_ELEMENT(p), N> r; ${each} r.v[j] = m.v[j] ? (FV_ELEMENT(p))p[i.v[j]] : (FV_ELEMENT(p))0; return r; }`,
  `template <int N, class P, class I, class T> FV_INLINE void fv_store(P &p, I i, fv_vec<T, N> x) { ${each} p[i + j] = x.v[j]; }`,
  `template <int N, class P, class I, class T> FV_INLINE void fv_storeMasked(P &p, I i, fv_vec<T, N> x, fv_vec<bool, N> m) { ${each} if (m.v[j]) p[i + j] = x.v[j]; }`,
  `template <int N, class P, class I, class T> FV_INLINE void fv_scatter(P &p, fv_vec<I, N> i, fv_vec<T, N> x) { ${each} p[i.v[j]] = x.v[j]; }`,
  `template <int N, class P, class I, class T> FV_INLINE void fv_scatterMasked(P &p, fv_vec<I, N> i, fv_vec<T, N> x, fv_vec<bool, N> m) { ${each} if (m.v[j]) p[i.v[j]] = x.v[j]; }`,
].join('\n');

const pointers = `#ifndef FV_EMULATED
template <class T> struct fv_pointed;
template <class T> struct fv_pointed<T *> { typedef T type; };
template <class T> struct fv_pointed<const T *> { typedef T type; };
template <class T, int N> struct fv_pointed<T[N]> { typedef T type; };
template <class T> struct fv_bare { typedef T type; };
template <class T> struct fv_bare<const T> { typedef T type; };
template <class T> struct fv_bare<T &> { typedef typename fv_bare<T>::type type; };
#define FV_ELEMENT(p) typename fv_pointed<typename fv_bare<decltype(p)>::type>::type
template <int N, class T, class I> FV_INLINE fv_vec<T, N> fv_loadWhole(const T *p, I i) { return *(const fv_vec<T, N> *)(p + i); }
template <int N, class T, class I> FV_INLINE void fv_storeWhole(T *p, I i, fv_vec<T, N> x) { *(fv_vec<T, N> *)(p + i) = x; }
#endif`;

export const head: readonly string[] = [types, onDevice, parts, vectors, pointers, memory];
