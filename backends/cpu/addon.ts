/**
 * A Node addon that loads a plan's library and calls it: what an exported program has in place of koffi, so that it runs with nothing but
 * Node. It declares the few functions of Node-API that it needs; their ABI is stable, and the process that loads it has them.
 *
 *   open(path) -> handle      symbol(handle, name) -> address      call(address, a, b, c, d) -> result, all BigInt
 *   run(address, a, b, c, d) -> a promise      view(address, bytes) -> an ArrayBuffer on that memory
 *
 * A run happens on a thread of its own, whose stack holds the arrays of any kernel.
 */
import type { Address, Native } from './native.ts';

export const addonSource = `#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
typedef struct napi_env__ *napi_env;
typedef struct napi_value__ *napi_value;
typedef struct napi_info__ *napi_info;
typedef struct napi_deferred__ *napi_deferred;
typedef struct napi_work__ *napi_work;
typedef napi_value (*napi_fn)(napi_env, napi_info);
extern int napi_create_function(napi_env, const char *, size_t, napi_fn, void *, napi_value *);
extern int napi_set_named_property(napi_env, napi_value, const char *, napi_value);
extern int napi_get_cb_info(napi_env, napi_info, size_t *, napi_value *, napi_value *, void **);
extern int napi_get_value_string_utf8(napi_env, napi_value, char *, size_t, size_t *);
extern int napi_get_value_bigint_uint64(napi_env, napi_value, uint64_t *, bool *);
extern int napi_create_bigint_uint64(napi_env, uint64_t, napi_value *);
extern int napi_create_external_arraybuffer(napi_env, void *, size_t, void (*)(napi_env, void *, void *), void *, napi_value *);
extern int napi_create_promise(napi_env, napi_deferred *, napi_value *);
extern int napi_resolve_deferred(napi_env, napi_deferred, napi_value);
extern int napi_reject_deferred(napi_env, napi_deferred, napi_value);
extern int napi_get_undefined(napi_env, napi_value *);
extern int napi_create_string_utf8(napi_env, const char *, size_t, napi_value *);
extern int napi_create_async_work(napi_env, napi_value, napi_value, void (*)(napi_env, void *), void (*)(napi_env, int, void *), void *, napi_work *);
extern int napi_queue_async_work(napi_env, napi_work);
extern int napi_delete_async_work(napi_env, napi_work);
extern int napi_throw_error(napi_env, const char *, const char *);

typedef uint64_t (*fv_function)(uint64_t, uint64_t, uint64_t, uint64_t);
static int args(napi_env env, napi_info info, napi_value *out, size_t n) {
  size_t got = n;
  return napi_get_cb_info(env, info, &got, out, NULL, NULL) == 0 && got >= n;
}
static uint64_t word(napi_env env, napi_value v) {
  uint64_t x = 0;
  bool lossless;
  napi_get_value_bigint_uint64(env, v, &x, &lossless);
  return x;
}
static napi_value big(napi_env env, uint64_t x) {
  napi_value v;
  napi_create_bigint_uint64(env, x, &v);
  return v;
}
static napi_value fv_open(napi_env env, napi_info info) {
  napi_value v[1];
  char path[4096];
  size_t n;
  if (!args(env, info, v, 1) || napi_get_value_string_utf8(env, v[0], path, sizeof path, &n) != 0) return NULL;
  void *lib = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (!lib) napi_throw_error(env, NULL, dlerror());
  return big(env, (uint64_t)(uintptr_t)lib);
}
static napi_value fv_symbol(napi_env env, napi_info info) {
  napi_value v[2];
  char name[512];
  size_t n;
  if (!args(env, info, v, 2) || napi_get_value_string_utf8(env, v[1], name, sizeof name, &n) != 0) return NULL;
  void *at = dlsym((void *)(uintptr_t)word(env, v[0]), name);
  if (!at) napi_throw_error(env, NULL, dlerror());
  return big(env, (uint64_t)(uintptr_t)at);
}
typedef struct { fv_function f; uint64_t a[4]; int failed; napi_deferred done; napi_work work; } fv_job;
static void read_job(napi_env env, napi_value *v, fv_job *j) {
  j->f = (fv_function)(uintptr_t)word(env, v[0]);
  for (int i = 0; i < 4; i++) j->a[i] = word(env, v[i + 1]);
}
static napi_value fv_call(napi_env env, napi_info info) {
  napi_value v[5];
  fv_job j;
  if (!args(env, info, v, 5)) return NULL;
  read_job(env, v, &j);
  return big(env, j.f(j.a[0], j.a[1], j.a[2], j.a[3]));
}
static void *on_thread(void *p) {
  fv_job *j = p;
  j->f(j->a[0], j->a[1], j->a[2], j->a[3]);
  return NULL;
}
static void execute(napi_env env, void *p) {
  fv_job *j = p;
  pthread_attr_t attr;
  pthread_t thread;
  pthread_attr_init(&attr);
  pthread_attr_setstacksize(&attr, 16 << 20);
  j->failed = pthread_create(&thread, &attr, on_thread, j);
  pthread_attr_destroy(&attr);
  if (!j->failed) pthread_join(thread, NULL);
}
static void complete(napi_env env, int status, void *p) {
  fv_job *j = p;
  napi_value v;
  if (j->failed || status != 0) {
    napi_create_string_utf8(env, "no thread for a run", SIZE_MAX, &v);
    napi_reject_deferred(env, j->done, v);
  } else {
    napi_get_undefined(env, &v);
    napi_resolve_deferred(env, j->done, v);
  }
  napi_delete_async_work(env, j->work);
  free(j);
}
static napi_value fv_run(napi_env env, napi_info info) {
  napi_value v[5], promise, name;
  if (!args(env, info, v, 5)) return NULL;
  fv_job *j = calloc(1, sizeof *j);
  read_job(env, v, j);
  napi_create_promise(env, &j->done, &promise);
  napi_create_string_utf8(env, "fovea", SIZE_MAX, &name);
  napi_create_async_work(env, NULL, name, execute, complete, j, &j->work);
  napi_queue_async_work(env, j->work);
  return promise;
}
static napi_value fv_view(napi_env env, napi_info info) {
  napi_value v[2], out = NULL;
  if (!args(env, info, v, 2)) return NULL;
  if (napi_create_external_arraybuffer(env, (void *)(uintptr_t)word(env, v[0]), (size_t)word(env, v[1]), NULL, NULL, &out) != 0)
    napi_throw_error(env, NULL, "this process allows no view of outside memory");
  return out;
}
__attribute__((visibility("default"))) napi_value napi_register_module_v1(napi_env env, napi_value exports) {
  static const struct { const char *name; napi_fn f; } all[] = {
    {"open", fv_open}, {"symbol", fv_symbol}, {"call", fv_call}, {"run", fv_run}, {"view", fv_view}};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
    napi_value f;
    napi_create_function(env, all[i].name, SIZE_MAX, all[i].f, NULL, &f);
    napi_set_named_property(env, exports, all[i].name, f);
  }
  return exports;
}
`;

/** What the addon exports. */
export interface Addon {
  readonly open: (path: string) => Address;
  readonly symbol: (library: Address, name: string) => Address;
  readonly call: (f: Address, a: bigint, b: bigint, c: bigint, d: bigint) => bigint;
  readonly run: (f: Address, a: bigint, b: bigint, c: bigint, d: bigint) => Promise<void>;
  readonly view: (from: Address, bytes: bigint) => ArrayBuffer;
}

/** The functions of a plan's library through the addon. Throws what the system says of a library that it cannot load. */
export const throughAddon = (addon: Addon, path: string): Native => {
  const library = addon.open(path);
  const symbol = (name: string): Address => addon.symbol(library, name);
  const names = ['fv_create', 'fv_threads', 'fv_destroy', 'fv_cancel', 'fv_map', 'fv_unmap', 'fv_run'] as const;
  const at = Object.fromEntries(names.map((n) => [n, symbol(n)])) as Record<(typeof names)[number], Address>;
  const call = (f: Address, a: bigint, b = 0n): bigint => addon.call(f, a, b, 0n, 0n);
  return {
    symbol,
    create: (threads, spin) => call(at.fv_create, BigInt(threads), BigInt(spin)),
    // an int: the upper half of the register is anything
    threads: (pool) => Number(BigInt.asIntN(32, call(at.fv_threads, pool))),
    destroy: (pool) => void call(at.fv_destroy, pool),
    cancel: (pool) => void call(at.fv_cancel, pool),
    map: (bytes) => call(at.fv_map, BigInt(bytes)),
    unmap: (m, bytes) => void call(at.fv_unmap, m, BigInt(bytes)),
    run: (pool, table, n, seconds) => addon.run(at.fv_run, pool, table, BigInt(n), seconds),
    view: (from, bytes) => addon.view(from, BigInt(bytes)),
  };
};
