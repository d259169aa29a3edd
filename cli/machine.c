/* machine.c - what this machine can do, measured now: the yardstick for `plan`
 * and `bench`.  Multiply-adds run in registers of the widest kind the device
 * uses; reading sums an array far larger than the caches.  The best of a few
 * rounds counts: disturbances only ever slow down. */
#include <string.h>
#include "base/alloc.h"
#include "base/err.h"
#include "base/pool.h"
#include "cli.h"
#if defined(__x86_64__)
#include <immintrin.h>
#endif

/* CHAINS independent sums hide a multiply-add's latency (4 cycles, 2 units).  With tiles the yardstick is that of
 * vectors still: f32 products may exceed it. */
enum { CHAINS = 12, TURNS = 1 << 17, READ_BYTES = 128 << 20, MAX_THREADS = 512, REPEAT = 5 };

#define FMA_LOOP(name, isa, vec, set, fma)                                      \
    isa static float name(float x)                                              \
    {                                                                           \
        vec sum[CHAINS], m = set(1 - x * 1e-6f), b = set(x);                    \
        for (int i = 0; i < CHAINS; i++) sum[i] = set(x + (float)i);            \
        for (int t = 0; t < TURNS; t++)                                         \
            _Pragma("GCC unroll 12")                                            \
            for (int i = 0; i < CHAINS; i++) sum[i] = fma(sum[i], m, b);        \
        float all = 0, lane;                                                    \
        for (int i = 0; i < CHAINS; i++) memcpy(&lane, &sum[i], 4), all += lane;\
        return all;                                                             \
    }

typedef float vec4 __attribute__((vector_size(16)));
#define SET4(x)       ((vec4){ x, x, x, x })
#define FMA4(a, m, b) ((a) * (m) + (b))
FMA_LOOP(fma_plain, , vec4, SET4, FMA4)
#if defined(__x86_64__)
FMA_LOOP(fma_avx2, __attribute__((target("avx2,fma"))), __m256, _mm256_set1_ps, _mm256_fmadd_ps)
FMA_LOOP(fma_avx512, __attribute__((target("avx512f"))), __m512, _mm512_set1_ps, _mm512_fmadd_ps)
#endif

typedef struct work { float (*fma)(float); const uint64_t *bytes; int threads; volatile float out[MAX_THREADS]; } work;

static void do_fma(void *arg, int thread)
{
    work *w = arg;
    w->out[thread] = w->fma((float)thread * 1e-3f);
}

/* Sixteen sums at a time: the adds keep up with memory. */
static void do_read(void *arg, int thread)
{
    work *w = arg;
    enum { WORDS = READ_BYTES / 8, LANES = 16 };
    int64_t part = WORDS / w->threads / LANES * LANES;
    const uint64_t *at = w->bytes + part * thread;
    uint64_t sum[LANES] = {0}, all = 0;
    for (int64_t i = 0; i < part; i += LANES)
        for (int k = 0; k < LANES; k++) sum[k] += at[i + k];
    for (int k = 0; k < LANES; k++) all += sum[k];
    w->out[thread] = (float)all;
}

/* Seconds of the fastest of a few runs. */
static double best_of(pool *p, void (*fn)(void *, int), work *w)
{
    double best = 1e9;
    for (int i = 0; i < REPEAT; i++) {
        double began = genet__now_s();
        genet__pool_run(p, fn, w);
        double took = genet__now_s() - began;
        if (took < best) best = took;
    }
    return best;
}

/* The loop for this instruction set; its lanes. */
static int choose(work *w, const char *isa)
{
    w->fma = fma_plain;
#if defined(__x86_64__)
    if (!strcmp(isa, "avx512") || !strcmp(isa, "amx")) return w->fma = fma_avx512, 16;
    if (!strcmp(isa, "avx2")) return w->fma = fma_avx2, 8;
#else
    (void)isa;
#endif
    return 4;
}

/* On a pool of its own: the device's may be busy with nothing, but is not ours. */
bool cli_measure(machine *m, genet_device *d, genet_err *err)
{
    int threads = genet_device_threads(d) < MAX_THREADS ? genet_device_threads(d) : MAX_THREADS;
    work *w = genet__alloc(sizeof *w);
    uint64_t *bytes = genet__alloc(READ_BYTES);
    pool *p = genet__pool_new(threads, err);
    if (w && bytes && p) {
        int lanes = choose(w, genet_device_isa(d));
        w->threads = m->threads = threads;
        w->bytes = bytes;
        memset(bytes, 1, READ_BYTES);       /* zero pages would all be one */
        m->flops = 2.0 * lanes * CHAINS * TURNS * threads / best_of(p, do_fma, w);
        m->bytes_per_s = (double)(READ_BYTES / threads * threads) / best_of(p, do_read, w);
    } else if (p) genet__err_memory(err);
    bool ok = w && bytes && p;
    genet__pool_free(p);
    genet__free(bytes);
    genet__free(w);
    return ok;
}
