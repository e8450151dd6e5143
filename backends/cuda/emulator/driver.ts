/**
 * A double of the driver library: the functions that the backend calls, with the driver's rules. A stream is a queue with a thread of its own, so
 * work is as asynchronous as on a GPU: memory that is freed or changed too early shows. Memory is full of NaN to begin with. Each device of the double runs
 * the threads of a block in another order, or is at fault in another way, so that nothing but the number of a device is told apart:
 *
 *   0 forward   1 reverse   2 shuffled   3 too old   4 64 MiB of memory   5 taken by another process
 */
export const emulatorDriver = String.raw`
typedef int R; typedef unsigned long long P;
enum { OK = 0, INVALID = 1, OUT_OF_MEMORY = 2, NO_DEVICE = 100, INVALID_IMAGE = 200, NO_CONTEXT = 201, INVALID_HANDLE = 400, NOT_FOUND = 500, NOT_READY = 600, UNAVAILABLE = 46, CAPTURED = 900, ILLEGAL_STATE = 401 };
struct fv_device { const char *name; int major; fv_order order; size_t memory; bool taken; };
static const fv_device fv_devices[] = {
  {"emulator, threads forward", 9, {0, 0}, 16ull << 30, false}, {"emulator, threads in reverse", 9, {1, 0}, 16ull << 30, false},
  {"emulator, threads shuffled", 9, {2, 7}, 16ull << 30, false}, {"emulator, too old", 6, {0, 0}, 16ull << 30, false},
  {"emulator, 64 MiB", 8, {0, 0}, 64ull << 20, false}, {"emulator, taken", 9, {0, 0}, 16ull << 30, true},
};
enum { fv_count = sizeof fv_devices / sizeof *fv_devices };
struct fv_stream;
/* life: of its handles; each reset begins another one */
struct fv_context { int device; int fault = 0; std::string said; int life = 1; bool active = false; std::set<fv_stream *> streams; };
static fv_context fv_contexts[fv_count]; static int fv_bound[fv_count];
static thread_local fv_context *fv_current = nullptr;
static thread_local std::string fv_last;
static std::mutex fv_lock; static std::map<P, std::pair<size_t, int>> fv_live; static size_t fv_used[fv_count];
/* of the pools: pieces that are taken, and those that are kept, whole; both count as used on the device */
static std::map<P, size_t> fv_pieces[fv_count]; static std::multimap<size_t, P> fv_spare[fv_count]; static std::map<P, size_t> fv_pinned;

typedef std::function<int()> fv_op;
struct fv_stream {
  fv_context *of; int life; std::deque<fv_op> queue; std::mutex m; std::condition_variable more, less; bool busy = false, end = false; std::vector<fv_op> *captured = nullptr; std::thread worker;
  fv_stream(fv_context *c) : of(c), life(c->life), worker([this] { loop(); }) {}
  ~fv_stream() { close(); }
  void close() { { std::lock_guard<std::mutex> l(m); end = true; } more.notify_all(); if (worker.joinable()) worker.join(); }
  void loop() { for (;;) { std::unique_lock<std::mutex> l(m); more.wait(l, [this] { return end || !queue.empty(); }); if (queue.empty()) return; fv_op op = queue.front(); queue.pop_front(); busy = true; l.unlock(); if (!of->fault && life == of->life) { int code = op(); if (code) of->fault = code; } l.lock(); busy = false; less.notify_all(); } }
  R add(fv_op op) { if (life != of->life) return INVALID_HANDLE; if (of->fault) return of->fault; if (captured) { captured->push_back(op); return OK; } { std::lock_guard<std::mutex> l(m); queue.push_back(op); } more.notify_one(); return OK; }
  bool idle() { std::lock_guard<std::mutex> l(m); return queue.empty() && !busy; }
  void wait() { std::unique_lock<std::mutex> l(m); less.wait(l, [this] { return queue.empty() && !busy; }); }
};
struct fv_event { std::atomic<int> pending{0}; std::atomic<double> at{0}; fv_context *of; int life; };
struct fv_module { void *library; };
struct fv_function { void (*entry)(const void *, const void *); long bytes, tensors; int most; std::string name; };
struct fv_graph { std::vector<fv_op> ops; };
static double fv_clock() { timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return t.tv_sec * 1e3 + t.tv_nsec / 1e6; }
static std::string fv_temporary(const char *name) { const char *t = getenv("TMPDIR"); return std::string(t && *t ? t : "/tmp") + "/" + name + "-XXXXXX"; }
/* whether bytes lie in one allocation */
static bool fv_mapped(P p, size_t n) { std::lock_guard<std::mutex> l(fv_lock); auto i = fv_live.upper_bound(p); if (i == fv_live.begin()) return false; --i; return p + n <= i->first + i->second.first; }

extern "C" {
R cuInit(unsigned) { return getenv("FOVEA_EMULATED_FAULT") && !strcmp(getenv("FOVEA_EMULATED_FAULT"), "no device") ? NO_DEVICE : OK; }
R cuDriverGetVersion(int *v) { const char *e = getenv("FOVEA_EMULATED_FAULT"); *v = e && !strcmp(e, "old driver") ? 11020 : 13000; return OK; }
R cuDeviceGetCount(int *n) { *n = fv_count; return OK; }
R cuDeviceGet(int *d, int i) { if (i < 0 || i >= fv_count) return 101; *d = i; return OK; }
R cuDeviceGetName(char *s, int n, int d) { snprintf(s, n, "%s", fv_devices[d].name); return OK; }
R cuDeviceTotalMem_v2(size_t *n, int d) { *n = fv_devices[d].memory; return OK; }
R cuDeviceGetAttribute(int *v, int a, int d) {
  static const std::map<int, int> known = {{1, 1024}, {8, 48 << 10}, {10, 32}, {12, 65536}, {13, 1700000}, {16, 4}, {36, 2600000}, {37, 5120}, {38, 50 << 20}, {76, 0}, {97, 227 << 10}, {115, 1}};
  if (a == 75) *v = fv_devices[d].major; else { auto i = known.find(a); *v = i == known.end() ? 0 : i->second; } return OK;
}
R cuDevicePrimaryCtxRetain(void **c, int d) { if (fv_devices[d].taken) return UNAVAILABLE; fv_contexts[d].device = d; fv_contexts[d].active = true; fv_bound[d]++; *c = &fv_contexts[d]; return OK; }
R cuDevicePrimaryCtxRelease_v2(int d) { fv_bound[d]--; return OK; }
/* all that lies on the device goes, and its handles are valid no more; a driver may also leave a context that is at fault as it is, but for its handles */
R cuDevicePrimaryCtxReset_v2(int d) {
  fv_context &c = fv_contexts[d]; const char *e = getenv("FOVEA_EMULATED_FAULT");
  c.life++; for (fv_stream *s : c.streams) s->close(); c.streams.clear();
  { std::lock_guard<std::mutex> l(fv_lock); for (auto i = fv_live.begin(); i != fv_live.end();) if (i->second.second == d) { free((void *)i->first); i = fv_live.erase(i); } else ++i; for (auto &i : fv_spare[d]) free((void *)i.second); fv_spare[d].clear(); fv_pieces[d].clear(); fv_used[d] = 0; }
  if (c.fault && e && !strcmp(e, "no reset")) return c.fault;
  c.fault = 0; c.said.clear(); c.active = false; return OK;
}
R cuCtxSetCurrent(void *c) { fv_current = (fv_context *)c; return c && !fv_current->active ? NO_CONTEXT : OK; }
R cuGetErrorName(R e, const char **s) {
  static const std::map<int, const char *> names = {{0, "CUDA_SUCCESS"}, {1, "CUDA_ERROR_INVALID_VALUE"}, {2, "CUDA_ERROR_OUT_OF_MEMORY"}, {46, "CUDA_ERROR_DEVICE_UNAVAILABLE"}, {100, "CUDA_ERROR_NO_DEVICE"}, {101, "CUDA_ERROR_INVALID_DEVICE"}, {200, "CUDA_ERROR_INVALID_IMAGE"}, {500, "CUDA_ERROR_NOT_FOUND"}, {600, "CUDA_ERROR_NOT_READY"}, {700, "CUDA_ERROR_ILLEGAL_ADDRESS"}, {716, "CUDA_ERROR_MISALIGNED_ADDRESS"}, {719, "CUDA_ERROR_LAUNCH_FAILED"}};
  auto i = names.find(e); *s = i == names.end() ? "CUDA_ERROR_UNKNOWN" : i->second; return OK;
}
R cuGetErrorString(R e, const char **s) { *s = ""; if (fv_current && fv_current->fault == e) { fv_last = fv_current->said; *s = fv_last.c_str(); } return OK; }
R cuMemGetInfo_v2(size_t *f, size_t *t) { if (!fv_current) return NO_CONTEXT; if (fv_current->fault) return fv_current->fault; std::lock_guard<std::mutex> l(fv_lock); *t = fv_devices[fv_current->device].memory; *f = *t - fv_used[fv_current->device]; return OK; }
R cuMemAlloc_v2(P *p, size_t n) {
  if (!fv_current) return NO_CONTEXT;
  if (fv_current->fault) return fv_current->fault;
  int d = fv_current->device;
  if (fv_used[d] + n > fv_devices[d].memory) return OUT_OF_MEMORY;
  void *m = aligned_alloc(4096, (n + 4095) & ~4095ull); if (!m) return OUT_OF_MEMORY;
  memset(m, 0xff, n); std::lock_guard<std::mutex> l(fv_lock); *p = (P)m; fv_live[*p] = {n, d}; fv_used[d] += n; return OK;
}
R cuMemFree_v2(P p) { if (fv_current && fv_current->fault) return fv_current->fault; std::lock_guard<std::mutex> l(fv_lock); auto i = fv_live.find(p); if (i == fv_live.end()) return INVALID; fv_used[i->second.second] -= i->second.first; free((void *)p); fv_live.erase(i); return OK; }
R cuMemAllocAsync(P *p, size_t n, void *s) {
  fv_context *c = ((fv_stream *)s)->of; if (c->fault) return c->fault;
  int d = c->device; std::unique_lock<std::mutex> l(fv_lock); auto i = fv_spare[d].lower_bound(n); size_t piece = n;
  if (i != fv_spare[d].end()) { piece = i->first; *p = i->second; fv_spare[d].erase(i); fv_live[*p] = {n, d}; memset((void *)*p, 0xff, n); }
  else { l.unlock(); if (R r = cuMemAlloc_v2(p, n)) return r; l.lock(); }
  fv_pieces[d][*p] = piece; return OK;
}
R cuMemFreeAsync(P p, void *s) { fv_stream *q = (fv_stream *)s; if (q->life != q->of->life) return INVALID_HANDLE; q->wait(); if (q->of->fault) return q->of->fault;
  int d = q->of->device; std::lock_guard<std::mutex> l(fv_lock); auto i = fv_pieces[d].find(p); if (i == fv_pieces[d].end()) return INVALID; fv_spare[d].insert({i->second, p}); fv_pieces[d].erase(i); fv_live.erase(p); return OK; }
R cuDeviceGetDefaultMemPool(void **p, int d) { *p = (void *)(P)(1 + d); return OK; }
R cuMemPoolGetAttribute(void *pool, int a, P *v) {
  int d = (int)(P)pool - 1; std::lock_guard<std::mutex> l(fv_lock); P used = 0, kept = 0; for (auto &i : fv_pieces[d]) used += i.second; for (auto &i : fv_spare[d]) kept += i.first;
  if (a != 5 && a != 7) return INVALID; *v = a == 5 ? used + kept : used; return OK;
}
R cuMemPoolTrimTo(void *pool, size_t) { int d = (int)(P)pool - 1; std::lock_guard<std::mutex> l(fv_lock); for (auto &i : fv_spare[d]) { free((void *)i.second); fv_used[d] -= i.first; } fv_spare[d].clear(); return OK; }
R cuMemPoolSetAttribute(void *, int, void *) { return OK; }
R cuMemHostAlloc(void **p, size_t n, unsigned) { *p = aligned_alloc(4096, (n + 4095) & ~4095ull); if (!*p) return OUT_OF_MEMORY; std::lock_guard<std::mutex> l(fv_lock); fv_pinned[(P)*p] = n; return OK; }
R cuMemFreeHost(void *p) { { std::lock_guard<std::mutex> l(fv_lock); fv_pinned.erase((P)p); } free(p); return OK; }
static bool fv_isPinned(P p) { std::lock_guard<std::mutex> l(fv_lock); auto i = fv_pinned.upper_bound(p); if (i == fv_pinned.begin()) return false; --i; return p < i->first + i->second; }
R cuMemcpyHtoDAsync_v2(P d, const void *s, size_t n, void *st) { if (!fv_mapped(d, n)) return INVALID;
  /* memory that is not pinned is copied before the call returns; pinned memory when its turn comes */
  if (fv_isPinned((P)s)) return ((fv_stream *)st)->add([=] { memcpy((void *)d, s, n); return 0; });
  auto copy = std::make_shared<std::vector<char>>((const char *)s, (const char *)s + n); return ((fv_stream *)st)->add([=] { memcpy((void *)d, copy->data(), n); return 0; }); }
R cuMemcpyDtoHAsync_v2(void *d, P s, size_t n, void *st) { if (!fv_mapped(s, n)) return INVALID; return ((fv_stream *)st)->add([=] { memcpy(d, (void *)s, n); return 0; }); }
R cuMemsetD32Async(P p, unsigned v, size_t n, void *st) { if (!fv_mapped(p, 4 * n)) return INVALID; return ((fv_stream *)st)->add([=] { for (size_t i = 0; i < n; i++) ((unsigned *)p)[i] = v; return 0; }); }
/* an image is "FVEM", the length of a shared object, and that */
R cuModuleLoadData(void **m, const void *image) {
  if (memcmp(image, "FVEM", 4)) return INVALID_IMAGE;
  long n; memcpy(&n, (const char *)image + 8, 8);
  std::string place = fv_temporary("fovea-module"); char *path = &place[0]; int f = mkstemp(path); if (f < 0) return OUT_OF_MEMORY;
  const char *at = (const char *)image + 16; for (long done = 0; done < n;) { long k = write(f, at + done, n - done); if (k <= 0) { close(f); unlink(path); return OUT_OF_MEMORY; } done += k; }
  close(f); void *h = dlopen(path, RTLD_NOW | RTLD_LOCAL); unlink(path); if (!h) { fprintf(stderr, "%s\n", dlerror()); return INVALID_IMAGE; }
  *m = new fv_module{h}; return OK;
}
R cuModuleUnload(void *m) { dlclose(((fv_module *)m)->library); delete (fv_module *)m; return OK; }
R cuModuleGetFunction(void **f, void *m, const char *name) {
  std::string n = name; void *entry = dlsym(((fv_module *)m)->library, (n + "_entry").c_str()); void *bytes = dlsym(((fv_module *)m)->library, (n + "_bytes").c_str()); void *tensors = dlsym(((fv_module *)m)->library, (n + "_tensors").c_str());
  if (!entry || !bytes || !tensors) return NOT_FOUND; *f = new fv_function{(void (*)(const void *, const void *))entry, *(long *)bytes, *(long *)tensors, 48 << 10, n}; return OK;
}
R cuFuncSetAttribute(void *f, int a, int v) { if (a == 8) { if (v > 227 << 10) return INVALID; ((fv_function *)f)->most = v; } return OK; }
R cuLaunchKernel(void *fn, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz, unsigned shared, void *st, void **args, void **) {
  fv_function *f = (fv_function *)fn; fv_stream *s = (fv_stream *)st;
  if (const char *e = getenv("FOVEA_EMULATED_FAULT")) if (!strcmp(e, "no launch")) return INVALID;
  if ((int)shared > f->most || gy != 1 || gz != 1 || by != 1 || bz != 1 || !gx || !bx || bx > 1024) return INVALID;
  auto parts = std::make_shared<std::vector<char>>((char *)args[0], (char *)args[0] + f->bytes);
  /* tensors lie at multiples of 64 bytes */
  std::shared_ptr<void> tensors(aligned_alloc(64, 128 * std::max(f->tensors, 1l)), free); if (f->tensors) { if ((P)args[1] % 64) return INVALID; memcpy(tensors.get(), args[1], 128 * f->tensors); }
  fv_context *c = s->of; const fv_device &d = fv_devices[c->device];
  return s->add([=] { fv_work w{f->entry, parts->data(), tensors.get(), gx, (int)bx, shared, d.order}; std::string said; int code = fv_launch(w, said); if (code) c->said = said; return code; });
}
/* a tensor of halves with lines of 128 bytes, under the driver's conditions; and it has to lie in memory that is there */
R cuTensorMapEncodeTiled(fv_tensor *m, int type, unsigned rank, P at, const P *sizes, const P *strides, const unsigned *box, const unsigned *steps, int interleave, int swizzle, int, int fill) {
  if ((P)m % 64 || (type != 6 && type != 9) || rank < 1 || rank > 5 || at % 16 || (rank > 1 && sizes[1] > 1 && strides[0] < 2 * sizes[0]) || interleave || swizzle < 0 || swizzle > 3 || fill) return INVALID;
  if (const char *e = getenv("FOVEA_EMULATED_FAULT")) if (!strcmp(e, "no swizzle")) swizzle = 0;
  P last = at + 2 * (sizes[0] - 1) + 2; *m = {at, rank | 2 << 8 | (P)swizzle << 16, {}, {}, {}};
  for (unsigned i = 0; i < rank; i++) {
    if (!sizes[i] || sizes[i] > 1ull << 32 || !box[i] || box[i] > 256 || steps[i] != 1 || (i && (strides[i - 1] % 16 || !strides[i - 1] || strides[i - 1] >= 1ull << 40))) return INVALID;
    m->sizes[i] = sizes[i]; m->box[i] = box[i]; if (i) { m->strides[i - 1] = strides[i - 1]; last += (sizes[i] - 1) * strides[i - 1]; }
  }
  return box[0] * 2 % 16 || (swizzle && box[0] * 2u > 16u << swizzle) || !fv_mapped(at, last - at) ? INVALID : OK;
}
R cuStreamCreate(void **s, unsigned) { if (!fv_current) return NO_CONTEXT; if (fv_current->fault) return fv_current->fault; fv_stream *q = new fv_stream(fv_current); fv_current->streams.insert(q); *s = q; return OK; }
R cuStreamDestroy_v2(void *s) { fv_stream *q = (fv_stream *)s; if (q->life != q->of->life) return INVALID_HANDLE; q->of->streams.erase(q); delete q; return OK; }
R cuStreamSynchronize(void *s) { ((fv_stream *)s)->wait(); return ((fv_stream *)s)->of->fault; }
R cuEventCreate(void **e, unsigned) { if (!fv_current) return NO_CONTEXT; fv_event *v = new fv_event; v->of = fv_current; v->life = fv_current->life; *e = v; return OK; }
R cuEventDestroy_v2(void *e) { fv_event *v = (fv_event *)e; if (v->life != v->of->life) return INVALID_HANDLE; delete v; return OK; }
R cuEventRecord(void *e, void *s) { fv_event *v = (fv_event *)e; if (v->life != v->of->life) return INVALID_HANDLE; v->pending++; R r = ((fv_stream *)s)->add([=] { v->at = fv_clock(); v->pending--; return 0; }); if (r) v->pending--; return r; }
R cuEventQuery(void *e) { fv_event *v = (fv_event *)e; return v->life != v->of->life ? INVALID_HANDLE : v->of->fault ? v->of->fault : v->pending ? NOT_READY : OK; }
/* events that are waited for are not recorded anew meanwhile; a context at fault passes nothing */
R cuStreamWaitEvent(void *s, void *e, unsigned) { fv_event *v = (fv_event *)e; return ((fv_stream *)s)->add([=] { while (v->pending && !v->of->fault) std::this_thread::yield(); return 0; }); }
R cuLaunchHostFunc(void *s, void (*f)(void *), void *data) { return ((fv_stream *)s)->add([=] { f(data); return 0; }); }
R cuEventElapsedTime(float *ms, void *a, void *b) { *ms = (float)(((fv_event *)b)->at - ((fv_event *)a)->at); return OK; }
R cuStreamBeginCapture_v2(void *s, int) { fv_stream *q = (fv_stream *)s; if (q->captured) return ILLEGAL_STATE; q->captured = new std::vector<fv_op>; return OK; }
R cuStreamEndCapture(void *s, void **g) { fv_stream *q = (fv_stream *)s; *g = nullptr; if (!q->captured) return ILLEGAL_STATE; *g = new fv_graph{*q->captured}; delete q->captured; q->captured = nullptr; return OK; }
R cuGraphInstantiateWithFlags(void **x, void *g, unsigned long long) { *x = new fv_graph{((fv_graph *)g)->ops}; return OK; }
R cuGraphLaunch(void *x, void *s) { fv_stream *q = (fv_stream *)s; for (auto &op : ((fv_graph *)x)->ops) if (R r = q->add(op)) return r; return OK; }
R cuGraphExecDestroy(void *x) { delete (fv_graph *)x; return OK; }
R cuGraphDestroy(void *g) { delete (fv_graph *)g; return OK; }
}
`;
