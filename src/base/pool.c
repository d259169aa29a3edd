/* pool.c - threads that wait at gates.
 *
 * A gate is a counter of how often it has opened.  Whoever waits remembers the
 * count it saw and looks until it changes: first spinning (a hand-over between
 * busy threads costs a microsecond), then giving its time slice away, then
 * asleep on a condition variable.  The pool has two gates: `start` opens when
 * there is work, `meet` opens when the last thread has arrived at a barrier,
 * and the end of a run is a barrier too.  All shared words are C11 atomics. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "base/pool.h"
#include <fenv.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#if defined(__SSE__)
#include <xmmintrin.h>
#endif
#include "base/alloc.h"
#include "base/err.h"

enum {
    SPIN_NS = 30000,            /* then park: about what a sleep and a wake cost */
    MEET_SPIN_NS = 200000,      /* at a barrier: the others are at work, and all would wait for who must be woken */
    CROWDED_SPIN_NS = 2000,     /* more threads than cores: whoever is waited for needs this core */
    YIELDS = 16,
    LOOKS_PER_CLOCK = 32,
    MAX_THREADS = 1024
};

/* What is written often stands on a cache line of its own. */
#define APART(type, name) char before_##name[64]; type name; char after_##name[64 - sizeof(type)]

typedef struct gate {
    APART(atomic_uint, opened);
    atomic_int      parked;
    pthread_mutex_t lock;
    pthread_cond_t  wake;
} gate;

typedef struct worker { pool *pool; pthread_t id; int thread; } worker;

struct pool {
    gate     start, meet;
    APART(atomic_int, arrived);                 /* at the present barrier */
    int      n_threads, spin_ns, meet_spin_ns;
    bool     stop;                              /* written before `start` opens, as are the next two */
    void   (*fn)(void *arg, int thread);
    void    *arg;
    pthread_mutex_t turn;                       /* one run at a time */
    worker  *worker;                            /* n_threads - 1 of them */
};

/* --- gates ---------------------------------------------------------------- */

static void gate_init(gate *g)
{
    atomic_init(&g->opened, 0);
    atomic_init(&g->parked, 0);
    pthread_mutex_init(&g->lock, NULL);
    pthread_cond_init(&g->wake, NULL);
}

static void gate_release(gate *g)
{
    pthread_mutex_destroy(&g->lock);
    pthread_cond_destroy(&g->wake);
}

/* Either a parking thread sees the new count, or we see it in `parked`: both
 * are sequentially consistent, and each side writes before it reads. */
static void gate_open(gate *g)
{
    atomic_fetch_add(&g->opened, 1);
    if (atomic_load(&g->parked) == 0) return;
    pthread_mutex_lock(&g->lock);
    pthread_cond_broadcast(&g->wake);
    pthread_mutex_unlock(&g->lock);
}

static bool still_shut(const gate *g, unsigned seen)
{
    return atomic_load_explicit(&g->opened, memory_order_acquire) == seen;
}

static void relax(void)
{
#if defined(__SSE__)
    _mm_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void park(gate *g, unsigned seen)
{
    pthread_mutex_lock(&g->lock);
    atomic_fetch_add(&g->parked, 1);
    while (atomic_load(&g->opened) == seen) pthread_cond_wait(&g->wake, &g->lock);
    atomic_fetch_sub(&g->parked, 1);
    pthread_mutex_unlock(&g->lock);
}

/* Wait until the gate has opened once more than `seen`. */
static void gate_wait(gate *g, unsigned seen, int spin_ns)
{
    int64_t end = 0;
    do {
        for (int i = 0; i < LOOKS_PER_CLOCK; i++) {
            if (!still_shut(g, seen)) return;
            relax();
        }
        if (end == 0) end = now_ns() + spin_ns;
    } while (now_ns() < end);
    for (int i = 0; i < YIELDS; i++) {
        if (!still_shut(g, seen)) return;
        sched_yield();
    }
    park(g, seen);
}

/* --- running -------------------------------------------------------------- */

/* Round to nearest, denormals kept: the numbers do not depend on what the
 * host program or a library in it has set. */
static void plain_arithmetic(void)
{
    fesetenv(FE_DFL_ENV);
#if defined(__SSE__)
    _mm_setcsr(0x1f80);
#endif
}

void genet__pool_barrier(pool *p, int thread)
{
    (void)thread;
    if (p->n_threads == 1) return;
    unsigned seen = atomic_load_explicit(&p->meet.opened, memory_order_relaxed);    /* cannot open before we arrive */
    if (atomic_fetch_add(&p->arrived, 1) + 1 == p->n_threads) {
        atomic_store_explicit(&p->arrived, 0, memory_order_relaxed);                /* published by the opening */
        gate_open(&p->meet);
    } else {
        gate_wait(&p->meet, seen, p->meet_spin_ns);
    }
}

static void *worker_main(void *arg)
{
    worker *w = arg;
    pool *p = w->pool;
    for (unsigned seen = 0;; seen++) {
        gate_wait(&p->start, seen, p->spin_ns);
        if (p->stop) return NULL;
        plain_arithmetic();
        p->fn(p->arg, w->thread);
        genet__pool_barrier(p, w->thread);
    }
}

void genet__pool_run(pool *p, void (*fn)(void *arg, int thread), void *arg)
{
    fenv_t callers;
    pthread_mutex_lock(&p->turn);
    fegetenv(&callers);
    plain_arithmetic();
    if (p->n_threads > 1) {
        p->fn = fn;
        p->arg = arg;
        gate_open(&p->start);
    }
    fn(arg, 0);
    genet__pool_barrier(p, 0);
    fesetenv(&callers);
    pthread_mutex_unlock(&p->turn);
}

/* --- life ----------------------------------------------------------------- */

/* GENET_PIN=1: thread t stays on the t-th of the processors that the process may use, counted round.  The caller, who is
 * thread 0, is left where it is.  Only a wish: where the system refuses, threads go on unpinned. */
static void pin(pthread_t id, int thread)
{
#ifdef __linux__
    const char *wish = getenv("GENET_PIN");
    cpu_set_t allowed, one;
    if (!wish || strcmp(wish, "1") || sched_getaffinity(0, sizeof allowed, &allowed)) return;
    int left = thread % CPU_COUNT(&allowed), cpu = 0;
    while (!CPU_ISSET(cpu, &allowed) || left--) cpu++;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    pthread_setaffinity_np(id, sizeof one, &one);
#else
    (void)id, (void)thread;
#endif
}

/* Workers take no signals: the host's handlers run on the host's threads. */
static bool start_workers(pool *p, genet_err *err)
{
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int code = 0, n = p->n_threads, thread = 1;
    for (; thread < n && code == 0; thread++) {
        worker *w = &p->worker[thread - 1];
        *w = (worker){ .pool = p, .thread = thread };
        code = pthread_create(&w->id, NULL, worker_main, w);
        if (!code) pin(w->id, thread);
    }
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (code == 0) return true;
    p->n_threads = thread - 1;      /* those that run, for genet__pool_free */
    return genet__err_set(err, GENET_ERR_MEMORY, "only %d of %d threads could be started: ask for fewer",
                          p->n_threads, n);
}

pool *genet__pool_new(int n_threads, genet_err *err)
{
    int cpus = genet__pool_usable_cpus(), n = n_threads == 0 ? cpus : n_threads;
    if (n < 0 || n > MAX_THREADS) {
        genet__err_set(err, GENET_ERR_USAGE, "%d threads: must be 1 to %d, or 0 for one per core", n, MAX_THREADS);
        return NULL;
    }
    pool *p = genet__alloc(sizeof *p);
    if (!p) {
        genet__err_memory(err);
        return NULL;
    }
    p->n_threads = n;
    p->spin_ns = n <= cpus ? SPIN_NS : CROWDED_SPIN_NS;
    p->meet_spin_ns = n <= cpus ? MEET_SPIN_NS : CROWDED_SPIN_NS;
    gate_init(&p->start);
    gate_init(&p->meet);
    atomic_init(&p->arrived, 0);
    pthread_mutex_init(&p->turn, NULL);
    p->worker = genet__alloc_array((size_t)n, sizeof *p->worker);
    if (!p->worker) p->n_threads = 1;
    if (p->worker ? start_workers(p, err) : genet__err_memory(err)) return p;
    genet__pool_free(p);
    return NULL;
}

void genet__pool_free(pool *p)
{
    if (!p) return;
    p->stop = true;
    gate_open(&p->start);
    for (int i = 0; i < p->n_threads - 1; i++) pthread_join(p->worker[i].id, NULL);
    pthread_mutex_destroy(&p->turn);
    gate_release(&p->start);
    gate_release(&p->meet);
    genet__free(p->worker);
    genet__free(p);
}

int genet__pool_threads(const pool *p)
{
    return p->n_threads;
}
