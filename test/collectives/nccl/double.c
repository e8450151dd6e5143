/*
 * A double of NCCL for the emulated GPU: ranks are processes, which share a file of memory. It keeps NCCL's rules: calls only put work into a stream
 * (through the driver's cuLaunchHostFunc), nothing of a group goes before the group ends, work whose peers do not come holds its stream until the communicator
 * is aborted. Sums of bf16 and f16 are rounded after each rank. Ranks that do not call the same thing get an asynchronous error, where the real one hangs.
 *
 * FOVEA_NCCL_FAULT: "init" and "all-reduce" refuse these calls, "async" has the first transfer fail on its way, "old" is an old version. The last rank dies in
 * the middle of "dies in init", "dies in split" and "dies in connecting", in which the others hold their thread.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { OK, CUDA, SYSTEM, INTERNAL, ARGUMENT, USAGE, REMOTE };
enum { MOST = 8, SLOT = 1 << 14, CALLS = 64 };
enum kind { GATHER, SCATTER, REDUCE };

typedef struct { char internal[128]; } id_t128;
typedef struct {
  atomic_int arrived, phase, joined;
  int colour[MOST], key[MOST];
  char what[MOST][64];
  char data[MOST][SLOT];
} shared_t;
typedef struct {
  shared_t *all;
  int rank, size, splits;
  atomic_int aborted, failed;
  char path[128];
} comm_t;
typedef struct {
  enum kind kind;
  const char *from;
  char *to;
  size_t count;
  int type, op;
  comm_t *comm;
} call_t;
typedef struct { int n; call_t calls[CALLS]; } batch_t;

static int depth = 0;
static batch_t *group = NULL;
static void *groupStream = NULL;
static char lastError[128] = "";

static int fault(const char *name) { const char *f = getenv("FOVEA_NCCL_FAULT"); return f && !strcmp(f, name); }
static int refuse(int code, const char *why) { snprintf(lastError, sizeof lastError, "%s", why); return code; }

/* 0, or -1 when the communicator was aborted */
static int meet(comm_t *c) {
  int phase = atomic_load(&c->all->phase);
  if (atomic_fetch_add(&c->all->arrived, 1) + 1 == c->size) { atomic_store(&c->all->arrived, 0); atomic_fetch_add(&c->all->phase, 1); return 0; }
  while (atomic_load(&c->all->phase) == phase) { if (atomic_load(&c->aborted)) return -1; struct timespec t = {0, 20000}; nanosleep(&t, NULL); }
  return 0;
}

static size_t width(int type) { return type == 1 ? 1 : type == 6 || type == 9 ? 2 : 4; }
static float ofBits(uint32_t b) { float f; memcpy(&f, &b, 4); return f; }
static uint32_t bitsOf(float f) { uint32_t b; memcpy(&b, &f, 4); return b; }
static float half(uint16_t h) {
  int e = h >> 10 & 31, m = h & 1023; float f = e == 31 ? (m ? ofBits(0x7fc00000) : ofBits(0x7f800000)) : e ? ofBits((uint32_t)(e + 112) << 23 | (uint32_t)m << 13) : (float)m * 0x1p-24f;
  return h >> 15 ? -f : f;
}
/* to the nearest, ties to even: a float that is to have 10 bits after the first is added to what cuts the rest off */
static uint16_t toHalf(float f) {
  uint16_t sign = bitsOf(f) >> 16 & 0x8000; float a = ofBits(bitsOf(f) & 0x7fffffff);
  if (a != a) return sign | 0x7e00;
  if (a >= 65520.0f) return sign | 0x7c00;
  if (a < 0x1p-14f) return sign | (uint16_t)(int)(bitsOf(a + 0.5f) - bitsOf(0.5f));
  uint32_t b = bitsOf(a); b += 0xfff + (b >> 13 & 1); return sign | (uint16_t)((b - (112u << 23)) >> 13);
}
static float brain(uint16_t h) { return ofBits((uint32_t)h << 16); }
static uint16_t toBrain(float f) { if (f != f) return 0x7fc0; uint32_t b = bitsOf(f); return (uint16_t)((b + 0x7fff + (b >> 16 & 1)) >> 16); }

#define FOLD(T, READ, WRITE) { T *x = (T *)a; const T *y = (const T *)b; for (size_t i = 0; i < n; i++) { __typeof__(READ(x[i])) p = READ(x[i]), q = READ(y[i]); x[i] = WRITE(op == 0 ? p + q : op == 2 ? (p > q ? p : q) : (p < q ? p : q)); } }
static void fold(void *a, const void *b, size_t n, int type, int op) {
  switch (type) {
    case 1: FOLD(uint8_t, , ) break;
    case 2: FOLD(int32_t, , ) break;
    case 3: FOLD(uint32_t, , ) break;
    case 6: FOLD(uint16_t, half, toHalf) break;
    case 7: FOLD(float, , ) break;
    case 9: FOLD(uint16_t, brain, toBrain) break;
  }
}

/* pieces that fit a slot: everybody lays down his, all take what they need, nobody goes on before */
static int move(const call_t *k) {
  comm_t *c = k->comm; shared_t *s = c->all; size_t w = width(k->type), piece = SLOT / w;
  snprintf(s->what[c->rank], 64, "%d %zu %d %d", k->kind, k->count, k->type, k->kind == GATHER ? 0 : k->op);
  if (meet(c)) return -1;
  for (int r = 0; r < c->size; r++)
    if (strcmp(s->what[r], s->what[c->rank])) atomic_store(&c->failed, USAGE);
  if (meet(c)) return -1;
  if (fault("async")) atomic_store(&c->failed, REMOTE);
  if (atomic_load(&c->failed)) { while (!atomic_load(&c->aborted)) sched_yield(); return -1; }
  for (int place = 0; place < (k->kind == SCATTER ? c->size : 1); place++)
    for (size_t at = 0; at < k->count; at += piece) {
      size_t n = k->count - at < piece ? k->count - at : piece;
      memcpy(s->data[c->rank], k->from + (place * k->count + at) * w, n * w);
      if (meet(c)) return -1;
      if (k->kind == GATHER)
        for (int r = 0; r < c->size; r++) memcpy(k->to + (r * k->count + at) * w, s->data[r], n * w);
      else if (k->kind == REDUCE || place == c->rank) {
        memcpy(k->to + at * w, s->data[0], n * w);
        for (int r = 1; r < c->size; r++) fold(k->to + at * w, s->data[r], n, k->type, k->op);
      }
      if (meet(c)) return -1;
    }
  return 0;
}
static void carry(void *data) {
  batch_t *b = data;
  for (int i = 0; i < b->n; i++) if (atomic_load(&b->calls[i].comm->aborted) || move(&b->calls[i])) break;
  free(b);
}
static int launch(void) {
  int (*put)(void *, void (*)(void *), void *) = (int (*)(void *, void (*)(void *), void *))dlsym(RTLD_DEFAULT, "cuLaunchHostFunc");
  batch_t *b = group; group = NULL;
  if (!b) return OK;
  for (comm_t *c = b->calls[0].comm; fault("dies in connecting");) { if (c->rank == c->size - 1) raise(SIGKILL); sched_yield(); }
  if (!put) { free(b); return refuse(CUDA, "there is no driver"); }
  return put(groupStream, carry, b) ? CUDA : OK;
}
static int add(call_t call, void *stream) {
  if (!call.comm || !call.from || !call.to || !stream) return refuse(ARGUMENT, "a pointer is null");
  if (call.op < 0 || call.op > 4 || call.type < 0 || call.type > 11) return refuse(ARGUMENT, "no such type or operation");
  if (atomic_load(&call.comm->aborted)) return refuse(USAGE, "the communicator was aborted");
  if (!group) { group = calloc(1, sizeof *group); groupStream = stream; }
  if (group->n == CALLS || groupStream != stream) return refuse(USAGE, "more than this double takes");
  group->calls[group->n++] = call;
  return depth ? OK : launch();
}
static comm_t *join(const char *path, int rank, int size) {
  int f = open(path, O_RDWR | O_CREAT, 0600);
  if (f < 0 || ftruncate(f, sizeof(shared_t))) return NULL;
  comm_t *c = calloc(1, sizeof *c);
  c->all = mmap(NULL, sizeof(shared_t), PROT_READ | PROT_WRITE, MAP_SHARED, f, 0); c->rank = rank; c->size = size;
  close(f); snprintf(c->path, sizeof c->path, "%s", path);
  if (c->all == MAP_FAILED || meet(c)) return NULL;
  if (rank == 0) unlink(path);
  return c;
}

int ncclGetVersion(int *v) { *v = fault("old") ? 21703 : 22703; return OK; }
const char *ncclGetErrorString(int e) {
  static const char *const words[] = {"fine", "a CUDA call failed", "a system call failed", "broken", "invalid argument", "invalid usage", "a peer is gone"};
  return e >= 0 && e < 7 ? words[e] : "unknown";
}
const char *ncclGetLastError(void *comm) { (void)comm; return lastError; }
int ncclGetUniqueId(id_t128 *id) {
  const char *t = getenv("TMPDIR"); memset(id, 0, sizeof *id);
  snprintf(id->internal, sizeof *id, "%s/nccl-double-XXXXXX", t && *t ? t : "/tmp");
  int f = mkstemp(id->internal); if (f < 0) return SYSTEM; close(f); return OK;
}
static void dies(const char *where, int rank, int size) { if (fault(where) && rank == size - 1) raise(SIGKILL); }
int ncclCommInitRank(comm_t **c, int size, id_t128 id, int rank) {
  dies("dies in init", rank, size);
  if (fault("init")) return refuse(SYSTEM, "no network");
  if (size < 1 || size > MOST || rank < 0 || rank >= size) return refuse(ARGUMENT, "no such rank");
  return (*c = join(id.internal, rank, size)) ? OK : SYSTEM;
}
int ncclCommSplit(comm_t *c, int colour, int key, comm_t **out, void *config) {
  (void)config; dies("dies in split", c->rank, c->size); shared_t *s = c->all; int rank = 0, size = 0; char path[160];
  s->colour[c->rank] = colour; s->key[c->rank] = key; if (meet(c)) return USAGE;
  for (int r = 0; r < c->size; r++) if (s->colour[r] == colour) { size++; rank += s->key[r] < key || (s->key[r] == key && r < c->rank); }
  snprintf(path, sizeof path, "%s.%d.%d", c->path, c->splits++, colour);
  if (meet(c)) return USAGE;
  return (*out = join(path, rank, size)) ? OK : SYSTEM;
}
int ncclCommUserRank(comm_t *c, int *r) { *r = c->rank; return OK; }
int ncclCommCount(comm_t *c, int *n) { *n = c->size; return OK; }
int ncclAllGather(const void *from, void *to, size_t n, int type, comm_t *c, void *s) { return add((call_t){GATHER, from, to, n, type, 0, c}, s); }
int ncclReduceScatter(const void *from, void *to, size_t n, int type, int op, comm_t *c, void *s) { return add((call_t){SCATTER, from, to, n, type, op, c}, s); }
int ncclAllReduce(const void *from, void *to, size_t n, int type, int op, comm_t *c, void *s) { return fault("all-reduce") ? refuse(USAGE, "not today") : add((call_t){REDUCE, from, to, n, type, op, c}, s); }
int ncclGroupStart(void) { depth++; return OK; }
int ncclGroupEnd(void) { if (!depth) return refuse(USAGE, "no group"); return --depth ? OK : launch(); }
int ncclCommGetAsyncError(comm_t *c, int *e) { *e = atomic_load(&c->failed); return OK; }
int ncclCommAbort(comm_t *c) { atomic_store(&c->aborted, 1); return OK; }
int ncclCommDestroy(comm_t *c) { munmap(c->all, sizeof(shared_t)); free(c); return OK; }
