/**
 * What a kernel's text is compiled with for the emulator, in front of the text itself: words of CUDA, and pointers that check. Every access to
 * a buffer is checked against its size; of shared memory the emulator knows who touched each element last and since which barrier, so that a
 * missing barrier is found whatever the order of threads, and so is an element that nobody wrote.
 */
import { matrixHead } from './matrix.ts';
import { wgmmaHead } from './wgmma.ts';

export const emulatorHead = `
#define FV_EMULATED 1
#define __global__
#define __launch_bounds__(...)
#define FV_INLINE static inline __attribute__((always_inline))
#define FV_PRAGMA(x) _Pragma(#x)
#define FV_UNROLL(n) FV_PRAGMA(GCC unroll 1)
#define FV_FMA(x, y, z) __builtin_fmaf(x, y, z)
#define FV_FMA64(x, y, z) __builtin_fma(x, y, z)
#define FV_BLOCK (fv_me->block)
#define FV_THREAD (fv_me->thread)
#define FV_BARRIER() fv_barrier(__LINE__)
#define FV_PARTS(N, P) const fv_parts<N, P> &parts
#define FV_EXPORT(name, N, P) extern "C" void name##_entry(const void *p, const void *) { name(*(const fv_parts<N, P> *)p); } extern "C" { extern const long name##_bytes = sizeof(fv_parts<N, P>), name##_tensors = 0; }
#define FV_TENSORS(N) const fv_tensors<N> &tensors
#define FV_TENSOR(name, i) const fv_tensor *const name = &tensors.at[i];
#define FV_EXPORT_TENSORS(name, N, P, M) extern "C" void name##_entry(const void *p, const void *t) { name(*(const fv_parts<N, P> *)p, *(const fv_tensors<M> *)t); } extern "C" { extern const long name##_bytes = sizeof(fv_parts<N, P>), name##_tensors = M; }
#define FV_BUFFER(T, name, at, size) const fv_buffer<T> name = {(T *)(at), size, #name};
#define FV_SHARED(T, name, at, size) const fv_array<T> name = {at, size, #name};

struct fv_block;
/* seen: until when a thread knows what each warp did, and what fetches of each mbarrier brought */
struct fv_fiber { int thread; unsigned block; fv_block *of; unsigned long *seen; };
/* tags: 2^11 * moment + thread + 1, of the last who wrote an element of shared memory, and who read it (2046: several; 1025 on: fetches of an mbarrier);
   fv_flying + thread while a copy is under way. What happened before the moment 'since' is over for all. atoms: when warps were through with reading 1024 bytes, for products */
struct fv_block { unsigned char *shared; unsigned long *wrote, *read, *atoms, begun, since, now; unsigned sharedBytes; int products; };
extern "C" {
extern fv_fiber *fv_me;
void fv_barrier(int line);
void fv_outside(const char *what, const char *name, long i, long size) __attribute__((noreturn, cold));
void fv_unwritten(const char *name, long i) __attribute__((noreturn, cold));
void fv_race(const char *what, const char *name, long i, int other) __attribute__((noreturn, cold));
void fv_crooked(const char *name, long i, int lanes) __attribute__((noreturn, cold));
void fv_underway(const char *what, const char *name, long i, int other) __attribute__((noreturn, cold));
void fv_read_by_products(const char *name, long a, long i);
}
enum { fv_several = 2046 };
enum : unsigned long { fv_flying = 1ul << 63 };
static inline int fv_actor(unsigned who) { return who <= 1024 ? (who - 1) / 32 : 32 + who - 1025; }
/* whether another thread did something that nothing orders before what this one does */
static inline bool fv_apart(unsigned long tag) {
  fv_block *b = fv_me->of; unsigned who = tag & 2047; if ((tag >> 11) < b->since || who == (unsigned)fv_me->thread + 1) return false;
  return who == fv_several || (tag >> 11) >= fv_me->seen[fv_actor(who)];
}
/* element i of an array at byte a of shared memory */
static inline void fv_sees(const char *name, long a, long i) {
  fv_block *b = fv_me->of; unsigned long me = fv_me->thread + 1, w = b->wrote[a], &r = b->read[a];
  if (w & fv_flying) fv_underway("reads", name, i, (int)(w & 2047));
  if ((w >> 11) < b->begun) fv_unwritten(name, i);
  if (fv_apart(w)) fv_race("reads", name, i, (int)(w & 2047) - 1);
  r = fv_apart(r) ? b->now << 11 | fv_several : b->now << 11 | me;
}
static inline void fv_changes(const char *name, long a, long i) {
  fv_block *b = fv_me->of; unsigned long me = fv_me->thread + 1, &w = b->wrote[a], r = b->read[a];
  if (w & fv_flying) fv_underway("writes", name, i, (int)(w & 2047));
  if (fv_apart(w)) fv_race("writes", name, i, (int)(w & 2047) - 1);
  if (fv_apart(r)) fv_race("writes", name, i, (int)(r & 2047) - 1);
  if (__builtin_expect(b->products, 0)) fv_read_by_products(name, a, i);
  w = b->now << 11 | me;
}
template <class T> struct fv_plain { typedef T type; };
template <class T> struct fv_plain<const T> { typedef T type; };
template <class T> struct fv_buffer {
  typedef typename fv_plain<T>::type element;
  T *p; long size; const char *name;
  inline void inside(const char *what, long i) const { if (__builtin_expect((unsigned long)i >= (unsigned long)size, 0)) fv_outside(what, name, i, size); }
  inline T &operator[](long i) const { inside("touches", i); return p[i]; }
};
template <class T> struct fv_element {
  const char *name; long a, i;
  inline operator T() const { fv_sees(name, a, i); return *(T *)(fv_me->of->shared + a); }
  inline void operator=(T x) const { fv_changes(name, a, i); *(T *)(fv_me->of->shared + a) = x; }
};
template <class T> struct fv_array {
  typedef T element;
  long at, size; const char *name;
  inline fv_element<T> operator[](long i) const { if (__builtin_expect((unsigned long)i >= (unsigned long)size, 0)) fv_outside("touches", name, i, size); return {name, at + i * (long)sizeof(T), i}; }
};
template <class P> struct fv_pointed { typedef typename P::element type; };
template <class T> struct fv_pointed<T *> { typedef T type; };
template <class T, int N> struct fv_pointed<T[N]> { typedef T type; };
template <class T> struct fv_bare { typedef T type; };
template <class T> struct fv_bare<const T> { typedef typename fv_bare<T>::type type; };
template <class T> struct fv_bare<T &> { typedef typename fv_bare<T>::type type; };
#define FV_ELEMENT(p) typename fv_pointed<typename fv_bare<decltype(p)>::type>::type
template <class T, int N> struct fv_vec;
template <int N, class T, class I> static inline auto fv_loadWhole(const fv_buffer<T> &p, I i) {
  p.inside("reads", i); p.inside("reads", i + N - 1);
  if ((unsigned long)(p.p + i) % (N * sizeof(T))) fv_crooked(p.name, i, N);
  return *(const fv_vec<typename fv_plain<T>::type, N> *)(p.p + i);
}
template <int N, class T, class I> static inline void fv_storeWhole(const fv_buffer<T> &p, I i, fv_vec<T, N> x) {
  p.inside("writes", i); p.inside("writes", i + N - 1);
  if ((unsigned long)(p.p + i) % (N * sizeof(T))) fv_crooked(p.name, i, N);
  *(fv_vec<T, N> *)(p.p + i) = x;
}
template <int N, class T, class I> static inline fv_vec<T, N> fv_loadWhole(const fv_array<T> &p, I i) {
  if ((p.at + i * sizeof(T)) % (N * sizeof(T))) fv_crooked(p.name, i, N);
  fv_vec<T, N> r; for (int j = 0; j < N; j++) r.v[j] = p[i + j]; return r;
}
template <int N, class T, class I> static inline void fv_storeWhole(const fv_array<T> &p, I i, fv_vec<T, N> x) {
  if ((p.at + i * sizeof(T)) % (N * sizeof(T))) fv_crooked(p.name, i, N);
  for (int j = 0; j < N; j++) p[i + j] = x.v[j];
}
${matrixHead}${wgmmaHead}`;
