/**
 * The threads of a block, as fibers of one thread of the system: each runs until it meets the others at a barrier, or those of its warp (matrix.ts), in the
 * order that the device has (forward, reverse, or another order for each block). A thread that ends while others wait, or threads that wait at barriers of different lines,
 * are faults: a GPU may hang there or go on with what it has. The first fault ends the launch and is told in words.
 */
export const emulatorThreads = `
#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <dlfcn.h>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <sys/mman.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>
#include <vector>

extern "C" void fv_switch(void **from, void *to);
#if defined(__x86_64__)
asm(R"(.text
.globl fv_switch
fv_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp,(%rdi)
  movq %rsi,%rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
)");
enum { fv_kept = 6, fv_return = 6 };
#elif defined(__aarch64__)
asm(R"(.text
.globl fv_switch
fv_switch:
  sub sp, sp, #160
  stp x19, x20, [sp]
  stp x21, x22, [sp, #16]
  stp x23, x24, [sp, #32]
  stp x25, x26, [sp, #48]
  stp x27, x28, [sp, #64]
  stp x29, x30, [sp, #80]
  stp d8, d9, [sp, #96]
  stp d10, d11, [sp, #112]
  stp d12, d13, [sp, #128]
  stp d14, d15, [sp, #144]
  mov x9, sp
  str x9, [x0]
  mov sp, x1
  ldp x19, x20, [sp]
  ldp x21, x22, [sp, #16]
  ldp x23, x24, [sp, #32]
  ldp x25, x26, [sp, #48]
  ldp x27, x28, [sp, #64]
  ldp x29, x30, [sp, #80]
  ldp d8, d9, [sp, #96]
  ldp d10, d11, [sp, #112]
  ldp d12, d13, [sp, #128]
  ldp d14, d15, [sp, #144]
  add sp, sp, #160
  ret
)");
enum { fv_kept = 20, fv_return = 11 };
#endif

enum { fv_stack = 128 << 10, fv_most = 1024, fv_arena = 228 << 10 };
fv_fiber *fv_me = nullptr;
struct fv_copying { long to; const void *from; int size, all, some; unsigned group; const char *name; long i; };
/* warps, and mbarriers */
enum { fv_actors = 32 + 64 };
enum : unsigned long { fv_busy = ~0ul };
struct fv_phases { const char *name; int index, id, arrivals, missing; long bytes; unsigned ended; unsigned long made, now[fv_actors], done[fv_actors]; };
struct fv_fetching { long at; const char *name; long i; const fv_tensor *from; int index[5]; long count; fv_phases *on; };
/* of a warp group: products that were begun, to which sums, and what they read */
struct fv_held { int n; unsigned batch; std::vector<float *> sums; std::vector<float> values; };
struct fv_reading { long atom; unsigned batch; };
struct fv_group { bool fenced; unsigned batch; std::vector<fv_held> held; std::vector<fv_reading> reads; int registers; };
enum fv_state { fv_ready, fv_waiting, fv_meeting, fv_phasing, fv_ended };
struct fv_thread : fv_fiber { void *sp; int line; fv_state state; const char *what; void *mine; std::vector<fv_copying> copies; unsigned groups; unsigned long known[fv_actors]; const fv_phases *phases; int parity; };
struct fv_order { int kind; unsigned seed; };  /* 0 forward, 1 reverse, 2 another for each block */
struct fv_work { void (*entry)(const void *, const void *); const void *parts, *tensors; unsigned grid; int threads; unsigned sharedBytes; fv_order order; };

/* what one thread of the system needs to run blocks */
struct fv_runner {
  fv_thread t[fv_most]; fv_block block; char *stacks; void *home; const fv_work *work; int fault = 0; std::string said;
  int order[fv_most]; int count, at, alive, most; std::map<long, fv_phases> phases; std::vector<fv_fetching> fetches; fv_group groups[8];
  fv_runner() {
    stacks = (char *)mmap(0, (size_t)fv_stack * fv_most, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    memset(&block, 0, sizeof block);
    block.shared = (unsigned char *)aligned_alloc(1024, fv_arena);
    block.wrote = (unsigned long *)calloc(fv_arena, 8); block.read = (unsigned long *)calloc(fv_arena, 8); block.atoms = (unsigned long *)calloc(fv_arena / 1024 * 32, 8); block.now = 1;
  }
};
static fv_runner *fv_here = nullptr;

static void fv_leave(int code, const char *text) {
  fv_runner *r = fv_here; fv_thread *me = (fv_thread *)fv_me; char where[96];
  snprintf(where, sizeof where, "block %u, thread %d: ", me->block, me->thread);
  r->fault = code; r->said = std::string(where) + text;
  fv_switch(&me->sp, r->home); __builtin_unreachable();
}
extern "C" void fv_outside(const char *what, const char *name, long i, long size) { char s[200]; snprintf(s, sizeof s, "%s %s[%ld], which has %ld elements", what, name, i, size); fv_leave(700, s); __builtin_unreachable(); }
extern "C" void fv_underway(const char *what, const char *name, long i, int other) { char s[200]; snprintf(s, sizeof s, "%s %s[%ld] of shared memory, where a copy of thread %d is under way", what, name, i, other); fv_leave(719, s); __builtin_unreachable(); }
extern "C" void fv_unwritten(const char *name, long i) { char s[200]; snprintf(s, sizeof s, "reads %s[%ld] of shared memory, which nobody wrote", name, i); fv_leave(719, s); __builtin_unreachable(); }
extern "C" void fv_race(const char *what, const char *name, long i, int other) { char s[240], o[40]; if (other + 1 == fv_several) snprintf(o, sizeof o, "other threads"); else snprintf(o, sizeof o, "thread %d", other); snprintf(s, sizeof s, "%s %s[%ld] of shared memory, which %s touched since the last barrier", what, name, i, o); fv_leave(719, s); __builtin_unreachable(); }
extern "C" void fv_crooked(const char *name, long i, int lanes) { char s[200]; snprintf(s, sizeof s, "takes %d elements of %s from %ld on at once, which is no multiple of their size", lanes, name, i); fv_leave(716, s); __builtin_unreachable(); }

/* to the next thread in order that can run, or home where there is none */
static void fv_next(void **from) {
  fv_runner *r = fv_here;
  while (r->at < r->count) { fv_thread *t = &r->t[r->order[r->at++]]; if (t->state != fv_ready) continue; fv_me = t; if (&t->sp != from) fv_switch(from, t->sp); return; }
  fv_switch(from, r->home);
}
extern "C" void fv_barrier(int line) { fv_thread *me = (fv_thread *)fv_me; me->line = line; me->state = fv_waiting; fv_next(&me->sp); }
static const char *fv_unfinished();
static bool fv_land();
static void fv_begin() {
  fv_runner *r = fv_here; r->work->entry(r->work->parts, r->work->tensors);
  fv_thread *me = (fv_thread *)fv_me; me->state = fv_ended; r->alive--;
  if (!me->copies.empty()) { char s[160]; snprintf(s, sizeof s, "ends while copies to %s are under way", me->copies[0].name); fv_leave(719, s); }
  if (r->alive == 0) if (const char *what = fv_unfinished()) fv_leave(719, what);
  fv_next(&me->sp); __builtin_unreachable();
}
static void fv_arrange(fv_runner *r, unsigned block) {
  int n = r->count; const fv_order &o = r->work->order;
  for (int i = 0; i < n; i++) r->order[i] = o.kind == 1 ? n - 1 - i : i;
  if (o.kind != 2) return;
  unsigned s = o.seed * 2654435761u + block * 40503u + (unsigned)r->block.now;
  for (int i = n - 1; i > 0; i--) { s = s * 1664525u + 1013904223u; int j = (s >> 8) % (i + 1); int t = r->order[i]; r->order[i] = r->order[j]; r->order[j] = t; }
}
static int fv_run(fv_runner *r, const fv_work &w, unsigned block) {
  /* copies that a fault cut off come no more */
  if (r->fault) memset(r->block.wrote, 0, fv_arena * sizeof(long));
  r->work = &w; r->count = r->alive = w.threads; r->fault = 0;
  fv_block &b = r->block; b.begun = b.since = ++b.now; b.sharedBytes = w.sharedBytes;
  if (b.products) memset(b.atoms, 0, fv_arena / 1024 * 32 * sizeof(long));
  b.products = 0; r->phases.clear(); r->fetches.clear(); r->most = 0;
  for (fv_group &g : r->groups) { g.fenced = false; g.batch = 0; g.held.clear(); g.reads.clear(); g.registers = std::min(255, 65536 / w.threads / 8 * 8); }
  memset(b.shared, 0xff, w.sharedBytes);
  for (int i = 0; i < w.threads; i++) {
    fv_thread &t = r->t[i]; t.thread = i; t.block = block; t.of = &b; t.state = fv_ready; t.line = 0; t.copies.clear(); t.groups = 0; t.seen = t.known; memset(t.known, 0, sizeof t.known);
    /* tops are staggered, so that stacks do not meet in one line of the cache */
    void **top = (void **)(r->stacks + (size_t)(i + 1) * fv_stack - 128 - (i & 15) * 192);
    top = (void **)((uintptr_t)top & ~(uintptr_t)63); *--top = nullptr; top -= 1 + fv_kept; memset(top, 0, 8 * (fv_kept + 1)); top[fv_return] = (void *)fv_begin; t.sp = top;
  }
  auto fault = [&](const char *text) { char s[240]; snprintf(s, sizeof s, "block %u: %s", block, text); r->said = s; return r->fault = 719; };
  for (int before = r->alive; r->alive > 0; before = r->alive) {
    fv_arrange(r, block);
    /* threads of a warp that met go on, until all have ended or wait for others */
    for (bool again = true; again;) {
      r->at = 0; fv_next(&r->home); if (r->fault) return r->fault;
      again = false; bool awaited = false;
      for (int i = 0; i < w.threads; i++) { fv_thread &t = r->t[i]; if (t.state == fv_phasing) { if ((int)(t.phases->ended & 1) != t.parity) t.state = fv_ready; else awaited = true; } again |= t.state == fv_ready; }
      if (!again && awaited) again = fv_land();
    }
    char s[200]; int line = -1;
    for (int i = 0; i < w.threads; i++) if (r->t[i].state == fv_phasing) { const fv_phases &p = *r->t[i].phases; snprintf(s, sizeof s, "thread %d waits for the phase of parity %d of %s[%d], which lacks %d arrivals and %ld bytes", i, r->t[i].parity, p.name, p.index, p.missing, p.bytes); return fault(s); }
    for (int i = 0; i < w.threads; i++) if (r->t[i].state == fv_meeting) { snprintf(s, sizeof s, "thread %d waits for %s, and others of its warp do not come", i, r->t[i].what); return fault(s); }
    if (r->alive == 0) break;
    if (r->alive != before) { snprintf(s, sizeof s, "%d of %d threads ended while others wait at a barrier", before - r->alive, before); return fault(s); }
    for (int i = 0; i < w.threads; i++) if (r->t[i].state == fv_waiting) { if (line < 0) line = r->t[i].line; else if (line != r->t[i].line) return fault("threads wait at different barriers"); r->t[i].state = fv_ready; }
    b.since = ++b.now;
  }
  /* a block has those that it began with, and no others */
  int begun = std::min(255, 65536 / w.threads / 8 * 8) * w.threads;
  if (r->most * 128 > begun) { char s[120]; snprintf(s, sizeof s, "warp groups ask for %d registers of %d", r->most * 128, begun); return fault(s); }
  return 0;
}
/* all blocks, one launch of the process at a time: 0, or the code of a fault, which 'said' tells */
static std::mutex fv_one;
static int fv_launch(const fv_work &w, std::string &said) {
  std::lock_guard<std::mutex> l(fv_one);
  if (!fv_here) fv_here = new fv_runner();
  for (unsigned i = 0; i < w.grid; i++)
    if (int code = fv_run(fv_here, w, w.order.kind == 1 ? w.grid - 1 - i : i)) { said = fv_here->said; return code; }
  return 0;
}
`;
