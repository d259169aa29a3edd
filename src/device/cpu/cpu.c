/* cpu.c - the CPU as a device, plain or behind guarded addresses.
 *
 * One fork runs a whole plan: every thread walks the same list of launches,
 * takes tasks from a counter, and meets the others at a barrier after each
 * phase, which launches that stand beside each other have in common.  Which
 * thread does a task changes nothing: tasks are cut by shape. */
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include "base/alloc.h"
#include "base/err.h"
#include "base/pool.h"
#include "device/device.h"

enum { HUGE_PAGE = 2 << 20 };
/* The guard device's address range; backed only where touched. */
static const size_t guard_bytes = (size_t)64 << 30;

/* Tasks that have been taken of a thread's range: in this phase, and zeroed for
 * the following one. */
struct next { _Alignas(64) atomic_llong of_turn[2]; };

typedef struct cpu {
    genet_device device;
    pool   *pool;
    const kernel_table *f32;
    char   *local;              /* LOCAL_BYTES a thread */
    struct next *next;          /* one a thread */
    char   *guard_real;         /* guard: where the bytes are */
    char   *guard_shown;        /* guard: what the host is given */
    atomic_size_t guard_used;
} cpu;

/* --- memory ------------------------------------------------------------------- */

static size_t round_up(size_t n, size_t to) { return (n + to - 1) / to * to; }

/* Whole pages, zeroed, huge where large: first touch belongs to the user. */
static void *pages(size_t size_bytes)
{
    if (size_bytes > SIZE_MAX / 4) return NULL;
    size_t n = round_up(size_bytes ? size_bytes : 1, HUGE_PAGE);
    char *raw = mmap(NULL, n + HUGE_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (raw == MAP_FAILED) return NULL;
    char *at = (char *)round_up((size_t)raw, HUGE_PAGE);
    if (at > raw) munmap(raw, (size_t)(at - raw));
    size_t tail = (size_t)(raw + n + HUGE_PAGE - (at + n));
    if (tail) munmap(at + n, tail);
#ifdef MADV_HUGEPAGE
    if (size_bytes >= HUGE_PAGE) madvise(at, n, MADV_HUGEPAGE);
#endif
    return at;
}

static void *cpu_alloc(genet_device *d, size_t size_bytes, genet_err *err)
{
    (void)d;
    void *door = genet__alloc(1);           /* the door that fault injection watches */
    void *p = door ? pages(size_bytes) : NULL;
    genet__free(door);
    if (!p) genet__err_set(err, GENET_ERR_MEMORY, "not enough memory for %zu MiB", size_bytes >> 20);
    return p;
}

/* A large page is zeroed as a whole at its first byte: of a long cache that costs more than reading a short text. */
static void cpu_sparse(genet_device *d, void *address, size_t size_bytes)
{
    (void)d;
#ifdef MADV_NOHUGEPAGE
    madvise(address, round_up(size_bytes ? size_bytes : 1, HUGE_PAGE), MADV_NOHUGEPAGE);
#else
    (void)address, (void)size_bytes;
#endif
}

static void cpu_release(genet_device *d, void *address, size_t size_bytes)
{
    (void)d;
    if (address) munmap(address, round_up(size_bytes ? size_bytes : 1, HUGE_PAGE));
}

static void cpu_write(genet_device *d, void *address, const void *from, size_t n)
{
    if (n) memcpy((char *)address + d->delta, from, n);
}

static void cpu_read(genet_device *d, const void *address, void *to, size_t n)
{
    if (n) memcpy(to, (const char *)address + d->delta, n);
}

static void *cpu_adopt(genet_device *d, const void *host, size_t n)
{
    (void)d, (void)n;
    return (void *)(uintptr_t)host;
}

static void *guard_alloc(genet_device *d, size_t size_bytes, genet_err *err)
{
    cpu *c = (cpu *)d;
    size_t n = round_up(size_bytes ? size_bytes : 1, HUGE_PAGE), at = atomic_load(&c->guard_used);
    do {
        if (size_bytes > guard_bytes || n > guard_bytes - at) {
            genet__err_set(err, GENET_ERR_MEMORY, "the guard device's %zu GiB are used up", guard_bytes >> 30);
            return NULL;
        }
    } while (!atomic_compare_exchange_weak(&c->guard_used, &at, at + n));
    return c->guard_shown + at;
}

/* Addresses are not given out twice; the pages behind them are returned. */
static void guard_release(genet_device *d, void *address, size_t size_bytes)
{
    if (address) madvise((char *)address + d->delta, round_up(size_bytes ? size_bytes : 1, HUGE_PAGE), MADV_DONTNEED);
}

static void *guard_adopt(genet_device *d, const void *host, size_t n)
{
    (void)d, (void)host, (void)n;
    return NULL;
}

/* --- running ------------------------------------------------------------------- */

typedef struct crew {
    const launch *launch;
    int           n;
    cpu          *cpu;
    recorder     *record;                   /* NULL: nobody asks for times */
} crew;

int64_t genet__device_now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* Launches that run beside each other: phases of each, and of the one with most; tasks of each in this phase. */
typedef struct row {
    const launch *l;
    int     n, n_phase[LAUNCH_MAX_BESIDE + 1], most;
    int64_t n_task[LAUNCH_MAX_BESIDE + 1];
} row;

static row row_of(const launch *l)
{
    row r = { .l = l, .n = 1 + l->beside };
    for (int k = 0; k < r.n; k++) {
        r.n_phase[k] = genet__launch_phases(&l[k]);
        if (r.n_phase[k] > r.most) r.most = r.n_phase[k];
    }
    return r;
}

static int64_t count_tasks(row *r, int phase)
{
    int64_t n = 0;
    for (int k = 0; k < r->n; k++) {
        r->n_task[k] = phase < r->n_phase[k] ? r->l[k].kernel->tasks(&r->l[k], phase) : 0;
        n += r->n_task[k];
    }
    return n;
}

static void run_task(const launch *l, int phase, int64_t task, char *local, phase_part *at)
{
    int64_t began = at ? genet__device_now_ns() : 0;
    l->kernel->run(l, phase, task, local);
    if (!at) return;
    if (!at->n_task++) at->begin_ns = at->end_ns = began;
    at->end_ns += genet__device_now_ns() - began;
}

/* Take tasks of thread `of`, which has its range of those of each launch, until there are none.  at: NULL, or this
 * thread's part in the first phase of the first launch; those of a launch lie together. */
static void take_range(const row *r, int phase, int64_t of, int64_t n_thread, atomic_llong *next, char *local, phase_part *at)
{
    int64_t task = 0, end = 0;      /* launch k's range begins with its task `task`, and ends before number `end` of all */
    for (int k = -1; ; ) {
        int64_t i = atomic_load_explicit(next, memory_order_relaxed);
        if (k == r->n - 1 && i >= end) return;
        i = atomic_fetch_add_explicit(next, 1, memory_order_relaxed);
        while (i >= end) {
            if (++k == r->n) return;
            task = r->n_task[k] * of / n_thread - end;
            end += r->n_task[k] * (of + 1) / n_thread - r->n_task[k] * of / n_thread;
            if (at && k) at += r->n_phase[k - 1];
        }
        run_task(&r->l[k], phase, task + i, local, at ? at + phase : NULL);
    }
}

/* Take tasks of a phase until there are none: first of this thread's own range,
 * which is much the same data in every launch, so that it lies in the thread's
 * cache; then of the other threads'. */
static void take_tasks(const row *r, int phase, const cpu *c, int turn, int thread, char *local, phase_part *at)
{
    int64_t n_thread = c->device.n_threads;
    for (int64_t i = 0; i < n_thread; i++) {
        int64_t of = (thread + i) % n_thread;
        take_range(r, phase, of, n_thread, &c->next[of].of_turn[turn], local, at);
    }
}

/* All launches of a phase that this thread has no part in so far opened now. */
static void note_opening(const row *r, int phase, phase_part *at)
{
    int64_t now = at ? genet__device_now_ns() : 0;
    for (int k = 0; at && k < r->n; at += r->n_phase[k++])
        if (phase < r->n_phase[k]) at[phase] = (phase_part){ now, now, 0 };
}

static void crew_work(void *arg, int thread)
{
    crew *c = arg;
    recorder *rec = c->record;
    phase_part *at = rec ? &rec->part[(size_t)thread * (size_t)rec->n_phase] : NULL;
    char *local = c->cpu->local + (size_t)thread * LOCAL_BYTES;
    unsigned turn = 0;
    for (int i = 0; i < c->n; i += 1 + c->launch[i].beside) {
        row r = row_of(&c->launch[i]);
        for (int phase = 0; phase < r.most; phase++) {
            int64_t n = count_tasks(&r, phase);
            note_opening(&r, phase, at);
            if (n == 0) continue;
            atomic_store_explicit(&c->cpu->next[thread].of_turn[(turn + 1) % 2], 0, memory_order_relaxed);
            take_tasks(&r, phase, c->cpu, turn % 2, thread, local, at);
            genet__pool_barrier(c->cpu->pool, thread);
            turn++;
        }
        for (int k = 0; at && k < r.n; k++) at += r.n_phase[k];
    }
    /* for the next run, which may be another caller's */
    for (int i = 0; i < 2; i++) atomic_store_explicit(&c->cpu->next[thread].of_turn[i], 0, memory_order_relaxed);
}

static bool cpu_run(genet_device *d, const launch *l, int n, recorder *r, genet_err *err)
{
    (void)err;
    crew c = { .launch = l, .n = n, .cpu = (cpu *)d, .record = r };
    genet__pool_run(c.cpu->pool, crew_work, &c);
    return true;
}

static void cpu_share(genet_device *d, void (*fn)(void *arg, int thread), void *arg)
{
    genet__pool_run(((cpu *)d)->pool, fn, arg);
}

/* --- kernels ------------------------------------------------------------------- */

static const kernel_table *table_of(const genet_device *d, dtype t)
{
    if (t == GENET_F64) return &genet__kernels_f64;
    if (t == GENET_I32) return &genet__kernels_i32;
    return ((const cpu *)d)->f32;
}

static const kernel *cpu_kernel(const genet_device *d, op_id id, dtype t)
{
    return genet__move_kernels[id] ? genet__move_kernels[id] : table_of(d, t)->op[id];
}
static ew_fn *cpu_ew(const genet_device *d, op_id id, dtype t) { return table_of(d, t)->ew[id]; }
static ew_fn *cpu_cast(const genet_device *d, dtype from, dtype to) { return ((const cpu *)d)->f32->cast[from][to]; }

/* --- opening and closing ---------------------------------------------------------- */

static void cpu_free(genet_device *d)
{
    cpu *c = (cpu *)d;
    genet__pool_free(c->pool);
    cpu_release(d, c->local, (size_t)d->n_threads * LOCAL_BYTES);
    cpu_release(d, c->next, (size_t)d->n_threads * sizeof *c->next);
    if (c->guard_real) munmap(c->guard_real, guard_bytes);
    if (c->guard_shown) munmap(c->guard_shown, guard_bytes);
    genet__free(c);
}

static bool guard_init(cpu *c, genet_err *err)
{
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    char *real = mmap(NULL, guard_bytes, PROT_READ | PROT_WRITE, flags, -1, 0);
    char *shown = mmap(NULL, guard_bytes, PROT_NONE, flags, -1, 0);
    c->guard_real = real == MAP_FAILED ? NULL : real;
    c->guard_shown = shown == MAP_FAILED ? NULL : shown;
    if (!c->guard_real || !c->guard_shown) return genet__err_set(err, GENET_ERR_MEMORY, "no room for guarded addresses");
    genet_device *d = &c->device;
    d->name = "guard";
    d->delta = c->guard_real - c->guard_shown;
    d->alloc = guard_alloc;
    d->release = guard_release;
    d->sparse = NULL;
    d->adopt = guard_adopt;
    return true;
}

static genet_device *cpu_new(int n_threads, bool guard, genet_err *err)
{
    cpu *c = genet__alloc(sizeof *c);
    if (!c) return genet__err_memory(err), NULL;
    genet_device *d = &c->device;
    *d = (genet_device){ .name = "cpu", .alloc = cpu_alloc, .release = cpu_release, .sparse = cpu_sparse, .write = cpu_write,
                         .read = cpu_read, .adopt = cpu_adopt, .run = cpu_run, .share = cpu_share, .kernel = cpu_kernel,
                         .ew = cpu_ew, .cast = cpu_cast, .free = cpu_free };
    bool ok = (c->f32 = genet__cpu_table(err)) && (c->pool = genet__pool_new(n_threads, err));
    if (ok) {
        d->n_threads = genet__pool_threads(c->pool);
        d->isa = c->f32->isa;
        d->elementwise = c->f32->elementwise;
        c->local = cpu_alloc(d, (size_t)d->n_threads * LOCAL_BYTES, err);
        c->next = cpu_alloc(d, (size_t)d->n_threads * sizeof *c->next, err);
        ok = c->local && c->next && (!guard || guard_init(c, err));
    }
    if (!ok) {
        cpu_free(d);
        return NULL;
    }
    return d;
}

genet_device *genet_device_cpu(int n_threads, genet_err *err)   { return cpu_new(n_threads, false, err); }
genet_device *genet_device_guard(int n_threads, genet_err *err) { return cpu_new(n_threads, true, err); }

void genet_device_free(genet_device *d) { if (d) d->free(d); }
const char *genet_device_isa(const genet_device *d) { return d->isa; }
int genet_device_threads(const genet_device *d) { return d->n_threads; }
void *genet_device_alloc(genet_device *d, size_t n, genet_err *err) { return d->alloc(d, n, err); }
void genet_device_release(genet_device *d, void *address, size_t n) { d->release(d, address, n); }
void genet_device_write(genet_device *d, void *address, const void *from, size_t n) { d->write(d, address, from, n); }
void genet_device_read(genet_device *d, const void *address, void *to, size_t n) { d->read(d, address, to, n); }
