/**
 * The C half of the runtime: a pool of threads and `fv_run`, which executes a whole launch table in one call. It is linked
 * into every plan's library and keeps its state in a context, so that two plans never share anything.
 *
 * Each thread owns an equal share of a launch's blocks, takes them in chunks, then helps the others: blocks write disjoint
 * elements, so the bits cannot depend on who ran what. A thread that finds no work spins for a moment, then sleeps (futex on
 * Linux, condition variable elsewhere): spinning for long is ruinous where the host withholds a core.
 */
export const poolSource = `#define _GNU_SOURCE
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#ifdef __linux__
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif
#if defined(__x86_64__)
#define FV_PAUSE() __builtin_ia32_pause()
#elif defined(__aarch64__)
#define FV_PAUSE() __asm__ volatile("yield")
#else
#define FV_PAUSE() ((void)0)
#endif

typedef void (*fv_kernel)(void *const *bufs, long lo, long hi);
/* rows of the tables of parts and launches; written by the TypeScript side. end: blocks of this part and of those before it */
typedef struct { void *const *bufs; long end; } fv_part;
typedef struct { fv_kernel fn; long blocks; const fv_part *parts; long shared; } fv_launch;
typedef struct { _Atomic long next; long end; char pad[112]; } fv_share;
typedef struct {
  int threads, spin;
  /* counted modulo 2^32 */
  _Atomic unsigned epoch, done;
  _Atomic int sleepers, stop, cancel;
  const fv_launch *launch;
  long chunk;
  pthread_t *ids;
  pthread_mutex_t lock;
  pthread_cond_t wake;
  fv_share *shares;
  /* where each thread writes when it began, counted from \`from\`, and how long it worked; 0 where nobody measures */
  double *spans, from;
} fv_pool;
typedef struct { fv_pool *pool; int id; } fv_worker;

static void fv_sleep(fv_pool *p, _Atomic unsigned *at, unsigned seen) {
  atomic_fetch_add(&p->sleepers, 1);
#ifdef __linux__
  syscall(SYS_futex, at, FUTEX_WAIT_PRIVATE, seen, 0, 0, 0);
#else
  pthread_mutex_lock(&p->lock);
  while (atomic_load(at) == seen) pthread_cond_wait(&p->wake, &p->lock);
  pthread_mutex_unlock(&p->lock);
#endif
  atomic_fetch_sub(&p->sleepers, 1);
}

/* both sides are sequentially consistent: either the waker sees the sleeper, or the sleeper sees the new value */
static void fv_wake(fv_pool *p, _Atomic unsigned *at) {
  if (atomic_load(&p->sleepers) == 0) return;
#ifdef __linux__
  syscall(SYS_futex, at, FUTEX_WAKE_PRIVATE, 1 << 30, 0, 0, 0);
#else
  pthread_mutex_lock(&p->lock);
  pthread_cond_broadcast(&p->wake);
  pthread_mutex_unlock(&p->lock);
#endif
}

static void fv_wait(fv_pool *p, _Atomic unsigned *at, unsigned seen) {
  for (int spins = 0; atomic_load_explicit(at, memory_order_acquire) == seen; spins++) {
    if (spins < p->spin) FV_PAUSE();
    else fv_sleep(p, at, seen);
  }
}

/* blocks [lo, hi) of a launch, numbered through all parts */
static void fv_blocks(const fv_launch *l, long lo, long hi) {
  long first = 0;
  for (const fv_part *part = l->parts; lo < hi; first = part++->end) {
    if (part->end <= lo) continue;
    long to = part->end < hi ? part->end : hi;
    l->fn(part->bufs, lo - first, to - first);
    lo = to;
  }
}

static double fv_now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void fv_work(fv_pool *p, int id) {
  const fv_launch *l = p->launch;
  double began = p->spans ? fv_now() : 0;
  for (int i = 0; i < p->threads; i++) {
    fv_share *s = p->shares + (id + i) % p->threads;
    while (!atomic_load_explicit(&p->cancel, memory_order_relaxed)) {
      long lo = atomic_fetch_add_explicit(&s->next, p->chunk, memory_order_relaxed);
      if (lo >= s->end) break;
      long hi = lo + p->chunk;
      fv_blocks(l, lo, hi < s->end ? hi : s->end);
    }
  }
  if (!p->spans) return;
  p->spans[2 * id] = began - p->from;
  p->spans[2 * id + 1] = fv_now() - began;
}

static void *fv_main(void *arg) {
  fv_worker w = *(fv_worker *)arg;
  free(arg);
  fv_pool *p = w.pool;
  for (unsigned seen = 0;; seen++) {
    fv_wait(p, &p->epoch, seen);
    if (atomic_load(&p->stop)) return 0;
    fv_work(p, w.id);
    atomic_fetch_add(&p->done, 1);
    fv_wake(p, &p->done);
  }
}

static void fv_fork(fv_pool *p, const fv_launch *l) {
  const unsigned n = (unsigned)p->threads;
  p->launch = l;
  p->chunk = l->blocks / (8L * n) > 0 ? l->blocks / (8L * n) : 1;
  for (unsigned t = 0; t < n; t++) {
    atomic_store_explicit(&p->shares[t].next, l->blocks * t / n, memory_order_relaxed);
    p->shares[t].end = l->blocks * (t + 1) / n;
  }
  atomic_store(&p->done, 0);
  atomic_fetch_add(&p->epoch, 1);
  fv_wake(p, &p->epoch);
  fv_work(p, 0);
  for (unsigned d; (d = atomic_load_explicit(&p->done, memory_order_acquire)) != n - 1;) fv_wait(p, &p->done, d);
}

/* 0 when out of memory; fewer threads than asked for when the system refuses more */
void *fv_create(int threads, int spin) {
  fv_pool *p = calloc(1, sizeof *p);
  if (!p) return 0;
  p->spin = spin;
  p->threads = 1;
  p->ids = calloc((size_t)threads, sizeof *p->ids);
  if (!p->ids || posix_memalign((void **)&p->shares, 128, sizeof(fv_share) * (size_t)threads)) return 0;
  pthread_mutex_init(&p->lock, 0);
  pthread_cond_init(&p->wake, 0);
  pthread_attr_t attr;
  pthread_attr_init(&attr);
  pthread_attr_setstacksize(&attr, 16UL << 20);
  for (int i = 1; i < threads; i++) {
    fv_worker *w = malloc(sizeof *w);
    if (!w) break;
    *w = (fv_worker){p, i};
    if (pthread_create(&p->ids[i], &attr, fv_main, w)) { free(w); break; }
    p->threads = i + 1;
  }
  pthread_attr_destroy(&attr);
  return p;
}

int fv_threads(const fv_pool *p) { return p->threads; }

void fv_destroy(fv_pool *p) {
  atomic_store(&p->stop, 1);
  atomic_fetch_add(&p->epoch, 1);
  fv_wake(p, &p->epoch);
  for (int i = 1; i < p->threads; i++) pthread_join(p->ids[i], 0);
  free(p->ids);
  free(p->shares);
  free(p);
}

/* ends a run early, for good: Node waits for calls in flight before the process may exit */
void fv_cancel(fv_pool *p) { atomic_store(&p->cancel, 1); }

/* seconds[i], where given, becomes the time of launch i; after those of all launches stand for each launch and thread when it began and how long it worked */
void fv_run(fv_pool *p, const fv_launch *table, long n, double *seconds) {
  double last = seconds ? fv_now() : 0;
  for (long i = 0; i < n && !atomic_load(&p->cancel); i++) {
    p->spans = seconds ? seconds + n + 2 * i * p->threads : 0;
    p->from = last;
    for (int t = 0; p->spans && t < 2 * p->threads; t++) p->spans[t] = 0;
    if (!table[i].shared || table[i].blocks == 1 || p->threads == 1) fv_blocks(table + i, 0, table[i].blocks);
    else fv_fork(p, table + i);
    if (!seconds) continue;
    double now = fv_now();
    seconds[i] = now - last;
    /* alone, it did all of it */
    if (p->spans[1] == 0) p->spans[1] = seconds[i];
    last = now;
  }
}

/* zeroed pages, aligned to a page; 0 when the system has none left */
void *fv_map(long bytes) {
  void *m = mmap(0, (size_t)bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (m == MAP_FAILED) return 0;
#ifdef MADV_HUGEPAGE
  madvise(m, (size_t)bytes, MADV_HUGEPAGE);
#endif
  return m;
}

void fv_unmap(void *m, long bytes) { munmap(m, (size_t)bytes); }
`;
