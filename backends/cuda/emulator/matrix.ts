/**
 * Matrix units and asynchronous copies in the emulator. What a warp does together is a meeting: each thread leaves what it brings and waits; the
 * last one does the work for all. The numbers are those of the kernel interpreter (compiler/kernel/matrix.ts): exact products, a sum in double, rounded
 * once. A copy comes when its thread waits for its group, as late as it may; until then its goal belongs to nobody, and who touches it is told.
 */

/** Behind the head: what kernels call. Types that the kernel's own text defines are named by U and F. */
export const matrixHead = `
extern "C" {
void fv_meet(const char *what, int line, void (*together)(void **all), void *mine, int width = 32);
void fv_begin_copy(long to, const void *from, int size, int all, int some, const char *name, long i);
void fv_commit(); void fv_wait_copies(int pending);
void fv_few(int count, int all) __attribute__((noreturn, cold));
}
struct fv_line { unsigned *words; unsigned short bits[8]; };
template <bool turned> static void fv_fragments(void **all) {
  fv_line **l = (fv_line **)all;
  for (int t = 0; t < 32; t++) for (int j = 0; j < 4; j++) {
    int a = t >> 2, b = 2 * (t & 3);
    l[t]->words[j] = turned ? l[8 * j + b]->bits[a] | (unsigned)l[8 * j + b + 1]->bits[a] << 16 : l[8 * j + a]->bits[b] | (unsigned)l[8 * j + a]->bits[b + 1] << 16;
  }
}
template <bool turned, class T, class I, class U = unsigned> static inline fv_vec<U, 4> fv_fragment(const fv_array<T> &p, I at, int line = __builtin_LINE()) {
  fv_vec<U, 4> r; fv_line mine = {r.v};
  if ((p.at + at * (long)sizeof(T)) % 16) fv_crooked(p.name, at, 8);
  for (int i = 0; i < 8; i++) mine.bits[i] = (T)p[at + i];
  fv_meet("a fragment", line, fv_fragments<turned>, &mine); return r;
}
static inline double fv_number(unsigned bits, bool f16) {
  union { unsigned u; float f; } x = {bits << 16}; if (!f16) return x.f;
  int e = bits >> 10 & 31, m = bits & 1023;
  double a = e == 31 ? (m ? __builtin_nan("") : __builtin_inf()) : e == 0 ? m * 0x1p-24 : __builtin_ldexp(1024 + m, e - 25);
  return bits >> 15 ? -a : a;
}
struct fv_product { float *s; const unsigned *x, *y; };
template <bool f16> static void fv_products(void **all) {
  fv_product **p = (fv_product **)all; double x[16][16], y[16][16];
  for (int t = 0; t < 32; t++) for (int j = 0; j < 4; j++) for (int h = 0; h < 2; h++) {
    int line = t >> 2, n = 2 * (t & 3) + h;
    x[line + 8 * (j & 1)][n + 8 * (j >> 1)] = fv_number(p[t]->x[j] >> 16 * h & 0xffff, f16);
    y[line + 8 * (j >> 1)][n + 8 * (j & 1)] = fv_number(p[t]->y[j] >> 16 * h & 0xffff, f16);
  }
  for (int t = 0; t < 32; t++) for (int i = 0; i < 8; i++) {
    const double *a = x[(t >> 2) + 8 * (i >> 1 & 1)], *b = y[2 * (t & 3) + (i & 1) + 8 * (i >> 2)]; double sum = p[t]->s[i];
    for (int k = 0; k < 16; k++) sum += a[k] * b[k];
    p[t]->s[i] = (float)sum;
  }
}
#define FV_MMA(name, f16) template <class F, class U> static inline void name(fv_vec<F, 8> &s, fv_vec<U, 4> x, fv_vec<U, 4> y, int line = __builtin_LINE()) { fv_product mine = {s.v, x.v, y.v}; fv_meet("mma", line, fv_products<f16>, &mine); }
FV_MMA(fv_mma_bf16, false)
FV_MMA(fv_mma_f16, true)
template <int N, class T, class S, class I, class J> static inline void fv_copy(const fv_array<T> &p, I at, const fv_buffer<S> &from, J index, int count) {
  if (count < 0 || count > N) fv_few(count, N);
  if (at < 0 || at + N > p.size) fv_outside("copies to", p.name, at < 0 ? at : at + N - 1, p.size);
  if ((p.at + at * (long)sizeof(T)) % (N * sizeof(T))) fv_crooked(p.name, at, N);
  if (count > 0) { from.inside("copies", index); from.inside("copies", index + count - 1); if ((unsigned long)(from.p + index) % (N * sizeof(T))) fv_crooked(from.name, index, N); }
  fv_begin_copy(p.at + at * (long)sizeof(T), from.p + index, sizeof(T), N, count, p.name, at);
}
template <class T> struct fv_exchanged { T mine, theirs; int apart; };
template <class T> static void fv_exchanges(void **all) { fv_exchanged<T> **p = (fv_exchanged<T> **)all; for (int t = 0; t < 32; t++) p[t]->theirs = p[t ^ p[t]->apart]->mine; }
template <class T> static inline T fv_exchange(T x, int apart, int line) { fv_exchanged<T> mine = {x, x, apart}; fv_meet("a number of another thread", line, fv_exchanges<T>, &mine); return mine.theirs; }
#define FV_EXCHANGE(x, h) fv_exchange(x, h, __LINE__)
template <int N> static inline void fv_wait() { fv_wait_copies(N); }
`;

/** Behind the threads: what the head declares. */
export const matrixThreads = `
extern "C" void fv_few(int count, int all) { char s[100]; snprintf(s, sizeof s, "copies %d of %d elements", count, all); fv_leave(716, s); __builtin_unreachable(); }
extern "C" void fv_meet(const char *what, int line, void (*together)(void **), void *mine, int width) {
  fv_runner *r = fv_here; fv_thread *me = (fv_thread *)fv_me; int first = me->thread & ~(width - 1); fv_thread *warp = r->t + first;
  me->state = fv_meeting; me->line = line; me->what = what; me->mine = mine;
  void *all[128];
  for (int i = 0; i < width; i++) { if (first + i >= r->count || warp[i].state != fv_meeting) return fv_next(&me->sp); all[i] = warp[i].mine; }
  for (int i = 0; i < width; i++) if (warp[i].line != line) { char s[120]; snprintf(s, sizeof s, "threads of a warp wait at different statements: thread %d for %s", warp[i].thread, warp[i].what); fv_leave(719, s); }
  together(all);
  for (int i = 0; i < width; i++) warp[i].state = fv_ready;
}
extern "C" void fv_begin_copy(long to, const void *from, int size, int all, int some, const char *name, long i) {
  fv_thread *me = (fv_thread *)fv_me;
  for (int n = 0; n < all; n++) { fv_changes(name, to + n * size, i + n); me->of->wrote[to + n * size] = fv_flying | (unsigned long)me->thread; }
  me->copies.push_back({to, from, size, all, some, me->groups, name, i});
}
extern "C" void fv_commit() { ((fv_thread *)fv_me)->groups++; }
extern "C" void fv_wait_copies(int pending) {
  fv_thread *me = (fv_thread *)fv_me; size_t done = 0;
  for (; done < me->copies.size() && me->copies[done].group + pending < me->groups; done++) {
    const fv_copying &c = me->copies[done];
    for (int n = 0; n < c.all; n++) { me->of->wrote[c.to + n * c.size] = 0; fv_changes(c.name, c.to + n * c.size, c.i + n); }
    memcpy(me->of->shared + c.to, c.from, c.some * c.size); memset(me->of->shared + c.to + c.some * c.size, 0, (c.all - c.some) * c.size);
  }
  me->copies.erase(me->copies.begin(), me->copies.begin() + done);
}
`;
