/* memory.c - how fast memory is read and written, at several sizes.
 *
 * What is touched again and again lies in the nearest cache that holds it, so the speed of a kernel's memory depends on how
 * much it touches: a few sizes are measured and the rest lies between them.  Beyond all caches: what was flushed from
 * them.  Several ways compete: reading one run of memory or many side by side, prefetched or not; the triad; changing
 * what is there, which moves data both ways at once.  The fastest is what nothing passes. */
#include "machine.h"
#include <string.h>
#include <math.h>
#include "base/alloc.h"
#include "base/err.h"
#include "device/device.h"
#if defined(__x86_64__)
#include <immintrin.h>
#endif

enum {
    LINE = 64, AHEAD = 1024, MOST_RUNS = 8,
    WORTH = 48 << 20,           /* bytes that one timing touches at least */
    REPEAT = 3,
    FLUSHED = 16 << 20, COLD_REPEAT = 4,
    FAR = 1 << 30               /* bytes that surely lie beyond the caches */
};

/* Checks of each access would be what is measured. */
#define BARE __attribute__((no_sanitize("address", "undefined", "thread")))

/* --- ways of reading ------------------------------------------------------------------ */

/* RUNS runs of n bytes side by side, each line asked for in advance; or one, as it comes. */
#define SIDE_BY_SIDE(RUNS)                                                                  \
    for (int64_t i = 0; i < n; i += LINE)                                                   \
        _Pragma("GCC unroll 8")                                                             \
        for (int r = 0; r < RUNS; r++) {                                                    \
            __builtin_prefetch(at + r * n + i + AHEAD);                                     \
            _Pragma("GCC unroll 4")                                                         \
            for (int k = 0; k < LINE; k += (int)sizeof(vec)) sum[r] += *(const vec *)(at + r * n + i + k);  \
        }
#define READER(name, isa, bytes)                                                            \
    BARE isa static void name(const char *at, int64_t n, int runs)                               \
    {                                                                                       \
        typedef uint64_t vec __attribute__((vector_size(bytes), aligned(1), may_alias));    \
        vec sum[MOST_RUNS] = { { 0 } };                                                     \
        if (runs == 8) { SIDE_BY_SIDE(8) }                                                  \
        else if (runs == 4) { SIDE_BY_SIDE(4) }                                             \
        else for (int64_t i = 0; i < n; i += MOST_RUNS * LINE)                              \
            for (int64_t k = 0; k < MOST_RUNS * LINE; k += MOST_RUNS * (int)sizeof(vec))    \
                _Pragma("GCC unroll 8")                                                     \
                for (int r = 0; r < MOST_RUNS; r++) sum[r] += *(const vec *)(at + i + k + r * (int)sizeof(vec)); \
        for (int r = 0; r < MOST_RUNS; r++) __asm__ volatile("" :: "m"(sum[r]));            \
    }
/* a = b + x c, three ranges of n floats. */
#define TRIAD(name, isa)                                                                    \
    BARE isa static void name(float *restrict a, int64_t n)                                      \
    {                                                                                       \
        const float *restrict b = a + n, *restrict c = b + n;                               \
        for (int64_t i = 0; i < n; i++) a[i] = b[i] + 0.5f * c[i];                          \
    }
/* a = x a + y, n floats. */
#define CHANGE(name, isa)                                                                   \
    BARE isa static void name(float *a, int64_t n)                                               \
    {                                                                                       \
        for (int64_t i = 0; i < n; i++) a[i] = 0.5f * a[i] + 1;                             \
    }
READER(read_plain, , 16)
TRIAD(triad_plain, )
CHANGE(change_plain, )
#if defined(__x86_64__)
READER(read_avx2, __attribute__((target("avx2"))), 32)
TRIAD(triad_avx2, __attribute__((target("avx2"))))
CHANGE(change_avx2, __attribute__((target("avx2"))))
READER(read_avx512, __attribute__((target("avx512f"))), 64)
TRIAD(triad_avx512, __attribute__((target("avx512f"))))
CHANGE(change_avx512, __attribute__((target("avx512f"))))
#endif
static const int ways[] = { 1, 4, 8 };
enum { N_WAY = sizeof ways / sizeof *ways };

typedef struct work {
    void (*read)(const char *at, int64_t n, int runs);
    void (*triad)(float *at, int64_t n), (*change)(float *at, int64_t n);
    char   *bytes;              /* of `size`, split among the threads, gone through `passes` times */
    int64_t size;
    int     passes, runs, threads;
    const char *const *piece;   /* or n pieces, each split among the threads */
    const size_t *piece_size;
    int n;
} work;

static void choose(work *w, const char *isa)
{
    w->read = read_plain;
    w->triad = triad_plain;
    w->change = change_plain;
#if defined(__x86_64__)
    bool wide = !strcmp(isa, "avx512") || !strcmp(isa, "amx"), avx2 = !strcmp(isa, "avx2");
    if (wide || avx2) w->read = wide ? read_avx512 : read_avx2;
    if (wide || avx2) w->triad = wide ? triad_avx512 : triad_avx2, w->change = wide ? change_avx512 : change_avx2;
#else
    (void)isa;
#endif
}

/* --- what each thread does ------------------------------------------------------------------- */

/* A thread's part of n bytes, in whole blocks of all ways of reading; *at becomes its offset. */
static int64_t part_of(int64_t n, const work *w, int thread, int64_t *at)
{
    int64_t part = n / w->threads / (MOST_RUNS * LINE) * (MOST_RUNS * LINE);
    *at = part * thread;
    return part;
}

static void fill(void *arg, int thread)
{
    work *w = arg;
    int64_t at, part = part_of(w->size, w, thread, &at);
    memset(w->bytes + at, 0, (size_t)part);     /* written, or all pages would be one */
}

static void read_part(void *arg, int thread)
{
    work *w = arg;
    int64_t at, part = part_of(w->size, w, thread, &at);
    for (int i = 0; i < w->passes; i++) w->read(w->bytes + at, part / w->runs, w->runs);
}

static void triad_part(void *arg, int thread)
{
    work *w = arg;
    int64_t at, part = part_of(w->size, w, thread, &at);
    for (int i = 0; i < w->passes; i++) {
        w->triad((float *)(w->bytes + at), part / (3 * (int)sizeof(float)));
        __asm__ volatile("" ::: "memory");
    }
}

static void change_part(void *arg, int thread)
{
    work *w = arg;
    int64_t at, part = part_of(w->size, w, thread, &at);
    for (int i = 0; i < w->passes; i++) {
        w->change((float *)(w->bytes + at), part / (int)sizeof(float));
        __asm__ volatile("" ::: "memory");
    }
}

static void read_pieces(void *arg, int thread)
{
    work *w = arg;
    for (int i = 0; i < w->n; i++) {
        int64_t at, part = part_of((int64_t)w->piece_size[i], w, thread, &at);
        w->read(w->piece[i] + at, part / w->runs, w->runs);
    }
}

static void flush(void *arg, int thread)
{
#if defined(__x86_64__)
    work *w = arg;
    int64_t at, part = part_of(w->size, w, thread, &at);
    for (int64_t i = 0; i < part; i += LINE) _mm_clflush(w->bytes + at + i);
    _mm_mfence();
#else
    (void)arg, (void)thread;
#endif
}

static double took(genet_device *d, void (*fn)(void *, int), work *w)
{
    double began = genet__now_s();
    d->share(d, fn, w);
    return genet__now_s() - began;
}

/* Bytes a second of the fastest run of fn over w->size bytes; cold: flushed before each. */
static double best_speed(genet_device *d, void (*fn)(void *, int), work *w, int repeat, bool cold)
{
    double best = 0;
    int64_t at, part = part_of(w->size, w, 0, &at);
    for (int i = 0; i < repeat; i++) {
        if (cold) d->share(d, flush, w);
        double speed = (double)(part * w->threads) * w->passes / took(d, fn, w);
        if (speed > best) best = speed;
    }
    return best;
}

static double best_read(genet_device *d, work *w, int repeat, bool cold)
{
    double best = 0;
    for (int k = cold ? 1 : 0; k < N_WAY; k++) {    /* one run of memory never wins there, and flushing takes time */
        w->runs = ways[k];
        double speed = best_speed(d, read_part, w, repeat, cold);
        if (speed > best) best = speed;
    }
    return best;
}

/* --- the curve ---------------------------------------------------------------------------- */

static double larger(double a, double b) { return a > b ? a : b; }

/* Number k of the sizes; the speed of reading alone. */
static double measure_size(machine *m, int k, genet_device *d, work *w, int repeat, bool cold)
{
    double read = best_read(d, w, repeat, cold);
    m->triad[k] = best_speed(d, triad_part, w, repeat, cold);
    m->most[k] = larger(larger(read, m->triad[k]), 2 * best_speed(d, change_part, w, repeat, cold));
    return read;
}

bool cli_measure_memory(machine *m, genet_device *d, genet_err *err)
{
    work w = { .size = MEMORY_MOST, .threads = genet_device_threads(d) };
    choose(&w, genet_device_isa(d));
    if (!(w.bytes = genet_device_alloc(d, MEMORY_MOST + AHEAD, err))) return false;     /* in large pages, as weights */
    d->share(d, fill, &w);
    for (int k = 0; k < MEMORY_SIZES; k++) {
        int64_t least = (int64_t)w.threads * MOST_RUNS * LINE;
        w.size = (int64_t)MEMORY_LEAST << 2 * k;
        if (w.size < least) w.size = least;     /* of very many threads */
        w.passes = w.size < WORTH ? (int)(WORTH / w.size) : 1;
        measure_size(m, k, d, &w, REPEAT, false);
    }
    w.size = FLUSHED;
    w.passes = 1;
    m->read_bytes_per_s = measure_size(m, MEMORY_SIZES, d, &w, COLD_REPEAT, true);
    genet_device_release(d, w.bytes, MEMORY_MOST + AHEAD);
    return true;
}

/* Between two sizes by their logarithm. */
static double between(const double *speed, double bytes)
{
    double at = log2(bytes / MEMORY_LEAST) / 2;
    if (!(at > 0)) return speed[0];
    int k = (int)at;
    if (k < MEMORY_SIZES - 1) return speed[k] + (at - k) * (speed[k + 1] - speed[k]);
    double part = log2(bytes / MEMORY_MOST) / log2((double)FAR / MEMORY_MOST);
    return part >= 1 ? speed[MEMORY_SIZES] : speed[MEMORY_SIZES - 1] + part * (speed[MEMORY_SIZES] - speed[MEMORY_SIZES - 1]);
}

double cli_memory_speed(const machine *m, double bytes) { return between(m->most, bytes); }
double cli_triad_speed(const machine *m, double bytes) { return between(m->triad, bytes); }

double cli_read_pieces(genet_device *d, const char *const *at, const size_t *size, int n)
{
    work w = { .threads = genet_device_threads(d), .piece = at, .piece_size = size, .n = n };
    double best = 1e9;
    choose(&w, genet_device_isa(d));
    for (int k = 0; k < N_WAY; k++)
        for (int i = 0; i < 2; i++) {
            w.runs = ways[k];
            double s = took(d, read_pieces, &w);
            if (s < best) best = s;
        }
    return best;
}
