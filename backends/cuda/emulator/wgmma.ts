/**
 * Fetches, mbarriers and products of warp groups in the emulator: what compiler/kernel/async.ts says of them, with its numbers. A fetch comes when every thread
 * waits and one of them for a phase, the last one first. Sums of products are NaN until their thread has waited for them. Who touches what is fetched, or writes what
 * products read, is told; so is a phase that never ends, with what it lacks.
 */

/** Behind the head: what kernels call. */
export const wgmmaHead = `
struct fv_tensor;
struct fv_matrix { unsigned long long bits; long at, size; int line; const char *name; };
struct fv_multiplied { float *sums[16]; int n, f16, tx, ty; fv_matrix x, y; const unsigned *words; };
extern "C" {
void fv_make_phases(long at, int n, int arrivals, const char *name);
void fv_arrive_at(long at, const char *name, long i, int line); void fv_expect_at(long at, const char *name, long i, long bytes); void fv_await_at(long at, const char *name, long i, int parity);
void fv_begin_fetch(long at, long i, long size, const char *name, const fv_tensor *from, const int *index, int rank, long on, const char *phases, long slot);
void fv_begin_products(fv_multiplied *mine); void fv_fence(int line = __builtin_LINE()); void fv_commitProducts(int line = __builtin_LINE()); void fv_wait_products(int pending, int line);
void fv_meet_warp(int line); void fv_share_registers(int n, int line);
}
#define FV_WARP_BARRIER() fv_meet_warp(__LINE__)
template <class T> static inline void fv_mbarrier(const fv_array<T> &p, int n, int arrivals) { fv_make_phases(p.at, n, arrivals, p.name); }
template <class T> static inline long fv_phase(const fv_array<T> &p, long i) { if (i < 0 || i >= p.size) fv_outside("touches", p.name, i, p.size); return p.at + 8 * i; }
template <class T, class I> static inline void fv_arrive(const fv_array<T> &p, I i, int line = __builtin_LINE()) { fv_arrive_at(fv_phase(p, i), p.name, i, line); }
template <class T, class I> static inline void fv_expect(const fv_array<T> &p, I i, int bytes) { fv_expect_at(fv_phase(p, i), p.name, i, bytes); }
template <class T, class I, class J> static inline void fv_await(const fv_array<T> &p, I i, J parity) { fv_await_at(fv_phase(p, i), p.name, i, (int)parity); }
template <class T, class I, class P, class J, class... X> static inline void fv_fetch(const fv_array<T> &p, I at, const fv_tensor *from, const fv_array<P> &on, J slot, X... index) {
  int all[] = {(int)index...}; fv_begin_fetch(p.at, at, p.size, p.name, from, all, sizeof...(index), fv_phase(on, slot), on.name, slot);
}
/* as for a GPU: of a matrix the products are given the bits alone, and the array for what is said of faults */
template <int turned> static inline unsigned long long fv_descriptor(unsigned at, int apart);
template <int turned, class T, class I> static inline fv_matrix fv_lines(const fv_array<T> &p, I at, int apart, int line = __builtin_LINE()) { return {fv_descriptor<turned>((unsigned)(p.at + at * (long)sizeof(T)), apart), p.at, p.size, line, p.name}; }
#define FV_PRODUCTS(name, f16) template <int tx, int ty, class... S> static inline void name(fv_matrix x, fv_matrix y, S &...s) { fv_multiplied mine = {{s.v...}, sizeof...(s), f16, tx, ty, x, y, nullptr}; fv_begin_products(&mine); } \
  template <int tx, int ty, class U, class... S> static inline void name(fv_vec<U, 4> x, fv_matrix y, S &...s) { fv_multiplied mine = {{s.v...}, sizeof...(s), f16, 0, ty, y, y, x.v}; fv_begin_products(&mine); }
FV_PRODUCTS(fv_wgmma_bf16, 0)
FV_PRODUCTS(fv_wgmma_f16, 1)
template <int N> static inline void fv_waitProducts(int line = __builtin_LINE()) { fv_wait_products(N, line); }
template <int N, bool more> static inline void fv_registers(int line = __builtin_LINE()) { fv_share_registers(N, line); }
`;

/** Behind the threads: what the head declares. */
export const wgmmaThreads = `
static void fv_say(int code, const char *format, ...) { char s[240]; va_list a; va_start(a, format); vsnprintf(s, sizeof s, format, a); va_end(a); fv_leave(code, s); __builtin_unreachable(); }
static void fv_merge(unsigned long *to, const unsigned long *from) { for (int i = 0; i < fv_actors; i++) if (to[i] < from[i]) to[i] = from[i]; }
/* what a warp did, and what its threads know, from now on */
static void fv_release(fv_thread *warp, unsigned long *to) { fv_runner *r = fv_here; for (int i = 0; i < 32; i++) fv_merge(to, warp[i].seen); to[warp->thread / 32] = ++r->block.now; }
static fv_phases &fv_phase_at(long at, const char *name, long i) {
  auto p = fv_here->phases.find(at); if (p == fv_here->phases.end()) fv_say(719, "%s[%ld] is no mbarrier", name, i);
  if (p->second.made >= fv_here->block.since) fv_say(719, "%s[%ld] is used before a barrier", name, i);
  return p->second;
}
static void fv_complete(fv_phases &p) { if (p.missing > 0 || p.bytes > 0) return; p.ended++; p.missing = p.arrivals; memcpy(p.done, p.now, sizeof p.now); }
static void fv_arrived(fv_phases &p, const char *name, long i, long bytes) {
  if (p.missing == 0) fv_say(719, "arrives at %s[%ld], where all have arrived in this phase", name, i);
  p.missing--; p.bytes += bytes; fv_merge(p.now, ((fv_thread *)fv_me)->seen);
}
extern "C" void fv_make_phases(long at, int n, int arrivals, const char *name) {
  fv_runner *r = fv_here; if (r->phases.count(at)) return;
  unsigned long made = ++r->block.now;
  for (int i = 0; i < n; i++) { int id = r->phases.size(); if (id >= fv_actors - 32) fv_say(719, "%s: too many mbarriers", name); fv_phases p = {name, i, id, arrivals, arrivals, 0, 0, made}; memset(p.now, 0, sizeof p.now); memset(p.done, 0, sizeof p.done); r->phases[at + 8 * i] = p; }
}
static void fv_nothing(void **) {}
static void fv_warp_learns() { fv_thread *me = (fv_thread *)fv_me; fv_thread *warp = fv_here->t + (me->thread & ~31); unsigned long known[fv_actors] = {}; fv_release(warp, known); for (int i = 0; i < 32; i++) fv_merge(warp[i].seen, known); }
extern "C" void fv_meet_warp(int line) { fv_meet("its warp", line, [](void **) { fv_warp_learns(); }, nullptr); }
struct fv_arrival { long at; const char *name; long i; };
extern "C" void fv_arrive_at(long at, const char *name, long i, int line) {
  fv_arrival mine = {at, name, i};
  fv_meet("an arrival", line, [](void **all) {
    fv_arrival **a = (fv_arrival **)all; for (int t = 1; t < 32; t++) if (a[t]->at != a[0]->at) fv_say(719, "threads of a warp arrive at different mbarriers");
    fv_phases &p = fv_phase_at(a[0]->at, a[0]->name, a[0]->i); fv_warp_learns(); fv_arrived(p, a[0]->name, a[0]->i, 0); fv_complete(p);
  }, &mine);
}
extern "C" void fv_expect_at(long at, const char *name, long i, long bytes) { fv_phases &p = fv_phase_at(at, name, i); fv_arrived(p, name, i, bytes); fv_complete(p); }
extern "C" void fv_await_at(long at, const char *name, long i, int parity) {
  fv_phases &p = fv_phase_at(at, name, i); fv_thread *me = (fv_thread *)fv_me;
  while ((int)(p.ended & 1) == parity) { me->state = fv_phasing; me->phases = &p; me->parity = parity; fv_next(&me->sp); }
  fv_merge(me->seen, p.done);
}
/* as the double of the driver writes it */
struct fv_tensor { unsigned long base, kind, sizes[5], strides[4], box[5]; };
extern "C" void fv_begin_fetch(long at, long i, long size, const char *name, const fv_tensor *from, const int *index, int rank, long on, const char *phases, long slot) {
  fv_runner *r = fv_here; fv_phases &p = fv_phase_at(on, phases, slot);
  if ((int)(from->kind & 255) != rank || (from->kind >> 8 & 255) != 2) fv_say(715, "fetches a box of %d axes of a tensor that has others", rank);
  if ((from->kind >> 16) != 3) fv_say(715, "fetches lines to %s, and the tensor is not swizzled by 128 bytes", name);
  if ((at + 2 * i) % 1024) fv_say(716, "fetches to %s[%ld], which is no start of an atom of 512 elements", name, i);
  fv_fetching f = {at, name, i, from, {0}, 1, &p}; for (int k = 0; k < rank; k++) { f.index[k] = index[k]; f.count *= from->box[k]; }
  if (i < 0 || i + f.count > size) fv_outside("fetches to", name, i < 0 ? i : i + f.count - 1, size);
  long announced = p.bytes; for (auto &u : r->fetches) if (u.on == &p) announced -= 2 * u.count;
  if (announced < 2 * f.count) fv_say(719, "fetches %ld bytes on %s[%ld], where %ld are announced", 2 * f.count, phases, slot, announced);
  for (long n = 0; n < f.count; n++) { long a = at + 2 * (i + n); fv_changes(name, a, i + n); r->block.wrote[a] = fv_flying | (unsigned long)fv_me->thread; }
  r->fetches.push_back(f);
}
/* the last fetch comes */
static bool fv_land() {
  fv_runner *r = fv_here; if (r->fetches.empty()) return false;
  fv_fetching f = r->fetches.back(); r->fetches.pop_back(); fv_phases &p = *f.on; const fv_tensor &m = *f.from; int rank = m.kind & 255;
  for (long n = 0; n < f.count; n++) {
    long rest = n, place = m.base; bool inside = true;
    for (int k = 0; k < rank; k++) { long x = f.index[k] + rest % (long)m.box[k]; rest /= (long)m.box[k]; inside &= x >= 0 && x < (long)m.sizes[k]; place += x * (k ? (long)m.strides[k - 1] : 2); }
    long a = f.at + 2 * (f.i + n); a ^= (a >> 7 & 7) << 4;
    *(unsigned short *)(r->block.shared + a) = inside ? *(unsigned short *)place : 0; r->block.wrote[a] = r->block.now << 11 | (unsigned long)(1025 + p.id);
  }
  p.now[32 + p.id] = ++r->block.now; p.bytes -= 2 * f.count; fv_complete(p); return true;
}
static fv_group &fv_own_group() { return fv_here->groups[fv_me->thread / 128]; }
enum : unsigned { fv_poison = 0x7fc0dead };
extern "C" void fv_fence(int line) { fv_meet("a fence", line, [](void **) { fv_own_group().fenced = true; }, nullptr, 128); }
extern "C" void fv_commitProducts(int line) { fv_meet("a group of products", line, [](void **) { fv_group &g = fv_own_group(); g.batch++; g.fenced = false; }, nullptr, 128); }
extern "C" void fv_share_registers(int n, int line) {
  fv_meet("registers", line, [](void **all) {
    fv_runner *r = fv_here; fv_own_group().registers = *(int *)all[0]; int sum = 0; for (int g = 0; g * 128 < r->count; g++) sum += r->groups[g].registers;
    r->most = sum;
  }, &n, 128);
}
/* Byte of number p of row r, by the canonical layouts of the PTX ISA: swizzles of 0, 128, 64 and 32 bytes, whose lines are along p (K-major) or along r (MN-major).
   The swizzle is one of addresses, so it has to begin where the descriptor says that its pattern does. */
static long fv_byte(unsigned long long bits, int turned, int r, int p) {
  static const int lines[] = {16, 128, 64, 32}; int line = lines[bits >> 62 & 3];
  long start = (bits & 0x3fff) << 4, leading = (bits >> 16 & 0x3fff) << 4, stride = (bits >> 32 & 0x3fff) << 4;
  long a = turned ? line == 16 ? r % 8 * 2 + r / 8 * stride + p % 8 * 16 + p / 8 * leading : r % (line / 2) * 2 + r / (line / 2) * leading + p % 8 * line + p / 8 * stride
                  : r % 8 * line + r / 8 * stride + (line == 16 ? p / 8 * leading + p % 8 * 2 : p * 2);
  a += start; return a ^ (a >> 7 & (line / 16 - 1)) << 4;
}
static void fv_read_matrix(const fv_matrix &m, int turned, int rows, int f16, const unsigned long *seen, std::vector<double> &to, fv_group &g) {
  fv_block &b = fv_here->block; int group = fv_me->thread / 128; std::vector<long> atoms;
  if ((m.bits >> 7 - 4 & 7) != (m.bits >> 49 & 7)) fv_say(719, "multiplies %s from the middle of a pattern of lines on, and the descriptor does not say so", m.name);
  for (int r = 0; r < rows; r++) for (int p = 0; p < 16; p++) {
    long a = fv_byte(m.bits, turned, r, p), i = (a - m.at) / 2; if (a < m.at || i >= m.size) fv_outside("multiplies", m.name, i, m.size);
    unsigned long w = b.wrote[a];
    if (w & fv_flying) fv_underway("multiplies", m.name, i, (int)(w & 2047));
    if ((w >> 11) < b.begun) fv_unwritten(m.name, i);
    if ((w >> 11) >= b.since && (w >> 11) >= seen[fv_actor(w & 2047)]) fv_say(719, "multiplies %s[%ld] of shared memory, which was fetched or written, and nobody waited for it", m.name, i);
    to[r * 16 + p] = fv_number(*(unsigned short *)(b.shared + a), f16);
    if (atoms.empty() || atoms.back() != a >> 10) atoms.push_back(a >> 10);
  }
  std::sort(atoms.begin(), atoms.end()); atoms.erase(std::unique(atoms.begin(), atoms.end()), atoms.end());
  for (long atom : atoms) { for (int w = 0; w < 4; w++) b.atoms[atom * 32 + 4 * group + w] = fv_busy; g.reads.push_back({atom, g.batch}); }
  b.products = 1;
}
static void fv_multiply(void **all) {
  fv_multiplied **m = (fv_multiplied **)all; fv_multiplied &one = **m; fv_runner *r = fv_here; fv_group &g = fv_own_group(); fv_thread *first = r->t + (fv_me->thread & ~127);
  if (!g.fenced) fv_say(719, "products begin without a fence since the last group of them");
  for (int t = 1; t < 128; t++) if (m[t]->x.bits != one.x.bits || m[t]->y.bits != one.y.bits) fv_say(719, "threads of a warp group name different matrices");
  unsigned long seen[fv_actors]; memcpy(seen, first->seen, sizeof seen);
  for (int t = 1; t < 128; t++) for (int i = 0; i < fv_actors; i++) if (first[t].seen[i] < seen[i]) seen[i] = first[t].seen[i];
  int n = one.n, columns = 16 * n; std::vector<double> x(64 * 16), y(columns * 16), turned(columns * 16), sum(columns);
  if (!one.words) fv_read_matrix(one.x, one.tx, 64, one.f16, seen, x, g);
  else for (int t = 0; t < 128; t++) for (int j = 0; j < 4; j++) for (int h = 0; h < 2; h++) x[(t / 32 * 16 + (t % 32 >> 2) + 8 * (j & 1)) * 16 + 2 * (t & 3) + h + 8 * (j >> 1)] = fv_number(m[t]->words[j] >> 16 * h & 0xffff, one.f16);
  fv_read_matrix(one.y, one.ty, columns, one.f16, seen, y, g);
  for (int c = 0; c < columns; c++) for (int p = 0; p < 16; p++) turned[p * columns + c] = y[c * 16 + p];
  fv_held *h = nullptr; for (auto &o : g.held) if (o.sums[0] == one.sums[0]) h = &o;
  if (!h) {
    g.held.emplace_back(); h = &g.held.back(); h->n = n; h->sums.resize(128 * n); h->values.resize(64 * columns);
    for (int t = 0; t < 128; t++) for (int j = 0; j < n; j++) for (int i = 0; i < 8; i++) {
      h->sums[t * n + j] = m[t]->sums[j]; float &s = m[t]->sums[j][i]; h->values[(t / 32 * 16 + (t % 32 >> 2) + 8 * (i >> 1 & 1)) * columns + 16 * j + 2 * (t & 3) + (i & 1) + 8 * (i >> 2)] = s;
      unsigned poison = fv_poison; memcpy(&s, &poison, 4);
    }
  }
  for (int t = 0; t < 128; t++) for (int j = 0; j < n; j++) if (h->n != n || h->sums[t * n + j] != m[t]->sums[j]) fv_say(719, "products are added to some sums of those that others are added to");
  h->batch = g.batch;
  for (int row = 0; row < 64; row++) {
    float *values = &h->values[row * columns]; for (int c = 0; c < columns; c++) sum[c] = values[c];
    for (int p = 0; p < 16; p++) { double a = x[row * 16 + p]; const double *b = &turned[p * columns]; for (int c = 0; c < columns; c++) sum[c] += a * b[c]; }
    for (int c = 0; c < columns; c++) values[c] = (float)sum[c];
  }
}
extern "C" void fv_begin_products(fv_multiplied *mine) { fv_meet("products", mine->x.line, fv_multiply, mine, 128); }
extern "C" void fv_wait_products(int pending, int line) {
  fv_meet("its products", line, [](void **all) {
    fv_runner *r = fv_here; fv_group &g = fv_own_group(); int group = fv_me->thread / 128; long last = (long)g.batch - *(int *)all[0];
    for (size_t k = 0; k < g.held.size();) {
      fv_held &h = g.held[k]; if ((long)h.batch >= last) { k++; continue; }
      int n = h.n, columns = 16 * n;
      for (int t = 0; t < 128; t++) for (int j = 0; j < n; j++) for (int i = 0; i < 8; i++) {
        float &s = h.sums[t * n + j][i]; unsigned bits; memcpy(&bits, &s, 4); if (bits != fv_poison) fv_say(719, "sums were set while products were added to them");
        s = h.values[(t / 32 * 16 + (t % 32 >> 2) + 8 * (i >> 1 & 1)) * columns + 16 * j + 2 * (t & 3) + (i & 1) + 8 * (i >> 2)];
      }
      g.held.erase(g.held.begin() + k);
    }
    std::vector<fv_reading> still; for (auto &x : g.reads) if ((long)x.batch >= last) still.push_back(x);
    unsigned long now = r->block.now++;
    for (auto &x : g.reads) { bool more = false; for (auto &s : still) more |= s.atom == x.atom; if (!more) for (int w = 0; w < 4; w++) r->block.atoms[x.atom * 32 + 4 * group + w] = now; }
    g.reads = still;
  }, &pending, 128);
}
extern "C" void fv_read_by_products(const char *name, long a, long i) {
  fv_block &b = fv_here->block; const unsigned long *times = &b.atoms[(a >> 10) * 32], *seen = fv_me->seen;
  for (int w = 0; w < 32; w++) if (times[w] == fv_busy || (times[w] >= b.since && times[w] >= seen[w])) fv_say(719, "writes %s[%ld] of shared memory, which products of warp %d read", name, i, w);
}
/* what is wrong when the last thread ends */
static const char *fv_unfinished() {
  if (!fv_here->fetches.empty()) return "ends while fetches are under way";
  for (fv_group &g : fv_here->groups) if (!g.held.empty()) return "ends while products are under way";
  return nullptr;
}
`;
