/* gemm.c - products of matrices beside OpenBLAS and oneDNN, in turn in one
 * process: GPT-2's shapes (124M: forward, dX, dW), small and odd ones.
 *
 *   bench_gemm [--threads N] [--rows N] [--rounds N] [--types] [WORD ...]
 *
 * WORD keeps the shapes whose name contains it.  A round runs each contestant
 * in a burst, with a pause before it so that the idle threads of the one before
 * have gone to sleep; what is reported is the median over all calls.  Peak is
 * that of fused multiply-adds in registers, measured in the same rounds.
 * --types compares our own products of stored types with that of f32 instead,
 * beside that peak. */
#include <cblas.h>
#include <dlfcn.h>
#include <math.h>
#include <oneapi/dnnl/dnnl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "base/pool.h"
#include "base/half.h"
#include "base/quant.h"
#include "device/device.h"

enum { MAX_CALLS = 4096, MAX_LAUNCH = 32, PAUSE_MS = 40, BURST_MS = 30 };

/* C (M, N) = A (M, K) B (K, N); a transposed operand lies as its transpose. */
typedef struct shape_case { const char *name; int64_t M, N, K; bool a_transposed, b_transposed, large; } shape_case;

#define LAYER(name, in, out)                             \
    { name " fwd", 0, out, in, false, false, true },     \
    { name " dX",  0, in, out, false, true, true },      \
    { name " dW",  in, out, 0, true, false, true }
/* 0: the rows */
static const shape_case cases[] = {
    LAYER("c_attn", 768, 2304), LAYER("c_proj", 768, 768), LAYER("c_fc", 768, 3072), LAYER("mlp_proj", 3072, 768),
    { "lm_head fwd", 0, 50257, 768, false, true, true },
    { "lm_head dX", 0, 768, 50257, false, false, true },
    { "lm_head dW", 768, 50257, 0, true, false, true },
    { "small 64", 64, 64, 64, false, false, false },
    { "small 256", 256, 256, 256, false, false, false },
    { "small 128x512x64", 128, 512, 64, false, false, false },
    { "small 64x256x64 bT", 64, 256, 64, false, true, false },
    { "small 512x128 dW", 512, 128, 768, true, false, false },
    { "odd 333x777x555", 333, 777, 555, false, false, false },
    { "odd 1000x100x1000", 1000, 100, 1000, false, true, false },
    { "odd 31x1023x2047", 31, 1023, 2047, false, false, false },
    { "odd 97x101x103 aT", 97, 101, 103, true, false, false },
};
enum { N_CASE = sizeof cases / sizeof *cases };

typedef struct contest {
    shape_case s;
    float *a, *b, *c;
    genet_device *device;
    launch launch[MAX_LAUNCH];
    operand arg[3];
} contest;

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void pause_ms(int ms) { nanosleep(&(struct timespec){ .tv_nsec = ms * 1000000L }, NULL); }

static void die(const char *what) { fprintf(stderr, "bench_gemm: %s\n", what); exit(1); }

/* --- the contestants ------------------------------------------------------------ */

/* `calls` products as the launches of one plan: that is how this engine runs them. */
static void run_genet(contest *c, int calls)
{
    genet_err err;
    c->device->run(c->device, c->launch, calls, NULL, &err);
}

static void run_openblas(contest *c, int calls)
{
    const shape_case *s = &c->s;
    while (calls-- > 0)
        cblas_sgemm(CblasRowMajor, s->a_transposed ? CblasTrans : CblasNoTrans, s->b_transposed ? CblasTrans : CblasNoTrans,
                    (int)s->M, (int)s->N, (int)s->K, 1, c->a, (int)(s->a_transposed ? s->M : s->K), c->b,
                    (int)(s->b_transposed ? s->K : s->N), 0, c->c, (int)s->N);
}

static void run_onednn(contest *c, int calls)
{
    const shape_case *s = &c->s;
    while (calls-- > 0)
        dnnl_sgemm(s->a_transposed ? 'T' : 'N', s->b_transposed ? 'T' : 'N', s->M, s->N, s->K, 1, c->a,
                   s->a_transposed ? s->M : s->K, c->b, s->b_transposed ? s->K : s->N, 0, c->c, s->N);
}

/* Fused multiply-adds that wait for nothing: 24 registers, PEAK_STEPS times. */
enum { PEAK_STEPS = 2000000 };
#define R8(X, a) X(a##0) X(a##1) X(a##2) X(a##3) X(a##4) X(a##5) X(a##6) X(a##7)
#define FMA_Z(r) "vfmadd231ps %%zmm31, %%zmm31, %%zmm" #r "\n"
#define FMA_Y(r) "vfmadd231ps %%ymm15, %%ymm15, %%ymm" #r "\n"
static void peak_512(void)
{
    int64_t n = PEAK_STEPS;
    __asm__ volatile("vpxord %%zmm31, %%zmm31, %%zmm31\n1:\n" R8(FMA_Z, ) R8(FMA_Z, 1) R8(FMA_Z, 2) "dec %0\njnz 1b\n"
                     : "+r"(n) :: "cc", "memory");
}
static void peak_256(void)
{
    int64_t n = 3 * PEAK_STEPS;
    __asm__ volatile("vpxor %%ymm15, %%ymm15, %%ymm15\n1:\n" R8(FMA_Y, ) "dec %0\njnz 1b\n" : "+r"(n) :: "cc", "memory");
}
static double peak_flops(void) { return 24.0 * 2 * PEAK_STEPS * (__builtin_cpu_supports("avx512f") ? 16 : 8); }

static void peak_work(void *arg, int thread)
{
    (void)arg, (void)thread;
    if (__builtin_cpu_supports("avx512f")) peak_512();
    else peak_256();
}

/* --- memory ------------------------------------------------------------------------- */

static float *floats(genet_device *d, int64_t n, unsigned seed)
{
    float *x = genet_device_alloc(d, (size_t)n * sizeof *x, NULL);
    if (!x) die("no memory");
    for (int64_t i = 0; seed && i < n; i++) {
        seed = seed * 1664525u + 1013904223u;
        x[i] = (float)(seed >> 8) / 0x1p23f - 1;
    }
    return x;
}

static operand matrix(void *at, dtype t, int64_t rows, int64_t cols, bool transposed)
{
    return (operand){ .data = at, .dtype = t, .rank = 2, .dim = { rows, cols },
                      .stride = { transposed ? 1 : cols, transposed ? rows : 1 } };
}

/* Stored as type t, n elements; quantised by the largest of each block. */
static void *stored(genet_device *d, const float *x, dtype t, int64_t n)
{
    char *to = genet_device_alloc(d, genet_dtype_bytes(t, n), NULL);
    if (!to) die("no memory");
    for (int64_t i = 0; i < n; i++) {
        if (t == GENET_BF16) ((uint16_t *)to)[i] = genet__to_bf16(x[i]);
        else if (t == GENET_F16) ((uint16_t *)to)[i] = genet__to_f16(x[i]);
        else if (t == GENET_Q8_0) {
            quant_q8_0 *q = (quant_q8_0 *)to + i / QUANT_BLOCK;
            q->d = genet__to_f16(1.0f / 127);
            q->q[i % QUANT_BLOCK] = (int8_t)lrintf(x[i] * 127);
        } else if (t == GENET_Q4_0) {
            quant_q4_0 *q = (quant_q4_0 *)to + i / QUANT_BLOCK;
            q->d = genet__to_f16(1.0f / 8);
            q->q[i % 16] |= (uint8_t)((int)fminf(15, x[i] * 8 + 8) << (i % QUANT_BLOCK / 16 * 4));
        }
    }
    return to;
}

static void contest_open(contest *c, genet_device *d, shape_case s, int64_t rows, dtype ta, dtype tb)
{
    *c = (contest){ .s = s, .device = d };
    if (c->s.M == 0) c->s.M = rows;
    if (c->s.K == 0) c->s.K = rows;
    int64_t M = c->s.M, N = c->s.N, K = c->s.K;
    c->a = floats(d, M * K, 1);
    c->b = floats(d, K * N, 2);
    c->c = floats(d, M * N, 0);
    void *a = ta == GENET_F32 ? c->a : stored(d, c->a, ta, M * K), *b = tb == GENET_F32 ? c->b : stored(d, c->b, tb, K * N);
    bool b_transposed = s.b_transposed || genet_dtype_size(tb) == 0;
    c->arg[0] = matrix(c->c, GENET_F32, M, N, false);
    c->arg[1] = matrix(a, ta, M, K, s.a_transposed);
    c->arg[2] = matrix(b, tb, K, N, b_transposed);
    launch l = { .kernel = d->kernel(d, OP_matmul, GENET_F32), .n_out = 1, .n_in = 2, .n_arg = 3, .arg = c->arg };
    l.shared_bytes = l.kernel->shared(&l);
    l.shared = genet_device_alloc(d, l.shared_bytes + 1, NULL);
    if (!l.shared) die("no memory");
    for (int i = 0; i < MAX_LAUNCH; i++) c->launch[i] = l;
}

static void contest_close(contest *c)
{
    int64_t M = c->s.M, N = c->s.N, K = c->s.K;
    for (int k = 1; k < 3; k++)
        if (c->arg[k].dtype != GENET_F32)
            genet_device_release(c->device, c->arg[k].data, genet_dtype_bytes(c->arg[k].dtype, k == 1 ? M * K : K * N));
    genet_device_release(c->device, c->a, (size_t)(M * K) * 4);
    genet_device_release(c->device, c->b, (size_t)(K * N) * 4);
    genet_device_release(c->device, c->c, (size_t)(M * N) * 4);
    genet_device_release(c->device, c->launch[0].shared, c->launch[0].shared_bytes + 1);
}

/* --- measuring ------------------------------------------------------------------------- */

typedef struct times { double at[MAX_CALLS]; int n; } times;

static int ascending(const void *x, const void *y)
{
    double a = *(const double *)x, b = *(const double *)y;
    return (a > b) - (a < b);
}
static double median(times *t)
{
    qsort(t->at, (size_t)t->n, sizeof *t->at, ascending);
    return t->n ? t->at[t->n / 2] : NAN;
}

/* One burst after a pause; its first call wakes threads and is not counted.
 * A sample is one product, or many small ones. */
static void burst(void (*fn)(contest *, int), contest *c, times *t)
{
    pause_ms(PAUSE_MS);
    fn(c, 1);
    double begin = now_s(), end = begin;
    int calls = 2e-9 * (double)c->s.M * (double)c->s.N * (double)c->s.K < 0.01 ? MAX_LAUNCH : 1;
    do {
        double first = now_s();
        fn(c, calls);
        end = now_s();
        if (t->n < MAX_CALLS) t->at[t->n++] = (end - first) / calls;
    } while (end - begin < BURST_MS * 1e-3);
}

static void burst_peak(pool *p, times *t)
{
    pause_ms(PAUSE_MS);
    for (int i = 0; i < 3; i++) {
        double begin = now_s();
        genet__pool_run(p, peak_work, NULL);
        if (i) t->at[t->n++] = now_s() - begin;
    }
}

/* All answers agree: a peer that computes something else is no peer. */
static void check_answers(contest *c, void (*const fn[])(contest *, int), int n)
{
    int64_t size = c->s.M * c->s.N;
    float *first = malloc((size_t)size * sizeof *first);
    if (!first) die("no memory");
    for (int k = 0; k < n; k++) {
        fn[k](c, 1);
        if (k == 0) memcpy(first, c->c, (size_t)size * sizeof *first);
        for (int64_t i = 0; i < size; i++)
            if (!(fabsf(first[i] - c->c[i]) <= 1e-5f * (float)c->s.K)) die("the answers differ");
    }
    free(first);
}

typedef struct options { int threads, rounds; int64_t rows; bool types; int n_word; char **word; } options;

static bool chosen(const options *o, const char *name)
{
    bool any = o->n_word == 0;
    for (int i = 0; i < o->n_word; i++) any |= strstr(name, o->word[i]) != NULL;
    return any;
}

static void against_peers(const options *o, genet_device *d, pool *p)
{
    static times t[4];
    void (*const fn[])(contest *, int) = { run_genet, run_openblas, run_onednn };
    double log_sum = 0, worst = INFINITY;
    int n = 0;
    printf("%-20s %6s %6s %6s  %7s %7s %7s  %6s %6s\n", "", "M", "N", "K", "genet", "OpenB", "oneDNN", "ratio", "peak");
    for (int i = 0; i < N_CASE; i++) {
        if (!chosen(o, cases[i].name)) continue;
        contest c;
        contest_open(&c, d, cases[i], o->rows, GENET_F32, GENET_F32);
        check_answers(&c, fn, 3);
        for (int k = 0; k < 4; k++) t[k].n = 0;
        for (int r = 0; r < o->rounds; r++) {
            for (int k = 0; k < 3; k++) burst(fn[(k + r) % 3], &c, &t[(k + r) % 3]);
            burst_peak(p, &t[3]);
        }
        double gflop = 2e-9 * (double)c.s.M * (double)c.s.N * (double)c.s.K;
        double rate[3], peak = 1e-9 * peak_flops() * o->threads / median(&t[3]);
        for (int k = 0; k < 3; k++) rate[k] = gflop / median(&t[k]);
        double ratio = rate[0] / fmax(rate[1], rate[2]);
        log_sum += log(ratio), n++, worst = fmin(worst, ratio);
        printf("%-20s %6lld %6lld %6lld  %7.1f %7.1f %7.1f  %6.3f %5.1f%%\n", c.s.name, (long long)c.s.M, (long long)c.s.N,
               (long long)c.s.K, rate[0], rate[1], rate[2], ratio, 100 * rate[0] / peak);
        contest_close(&c);
    }
    printf("%d threads, %d shapes: geometric mean %.3f, worst %.3f of the better peer\n", o->threads, n,
           exp(log_sum / n), worst);
}

static void of_types(const options *o, genet_device *d, pool *p)
{
    static const struct { const char *name; dtype a, b; } type[] = {
        { "f32", GENET_F32, GENET_F32 }, { "bf16", GENET_BF16, GENET_BF16 }, { "f32*bf16", GENET_F32, GENET_BF16 },
        { "f16", GENET_F32, GENET_F16 }, { "q8_0", GENET_F32, GENET_Q8_0 }, { "q4_0", GENET_F32, GENET_Q4_0 } };
    enum { N = sizeof type / sizeof *type };
    static times t[N + 1];
    printf("%-20s", "GFLOP/s");
    for (int k = 0; k < N; k++) printf(" %8s      ", type[k].name);
    printf(" %8s\n", "peak");
    for (int i = 0; i < N_CASE; i++) {
        if (!chosen(o, cases[i].name)) continue;
        contest c[N];
        int n = cases[i].a_transposed || cases[i].K % QUANT_BLOCK ? 2 : N;
        for (int k = 0; k < n; k++) contest_open(&c[k], d, cases[i], o->rows, type[k].a, type[k].b), t[k].n = 0;
        t[N].n = 0;
        for (int r = 0; r < o->rounds; r++) {
            for (int k = 0; k < n; k++) burst(run_genet, &c[k], &t[k]);
            burst_peak(p, &t[N]);
        }
        printf("%-20s", cases[i].name);
        double f32 = 0;
        for (int k = 0; k < n; k++) {
            double rate = 2e-9 * (double)c[k].s.M * (double)c[k].s.N * (double)c[k].s.K / median(&t[k]);
            if (k == 0) f32 = rate;
            printf(" %8.1f %.2f ", rate, rate / f32);
            contest_close(&c[k]);
        }
        printf("%*s %8.1f\n", 15 * (N - n), "", 1e-9 * peak_flops() * o->threads / median(&t[N]));
    }
}

static options parse(int argc, char **argv)
{
    options o = { .threads = 2, .rounds = 5, .rows = 1024 };
    int i = 1;
    for (; i < argc && argv[i][0] == '-'; i++) {
        if (!strcmp(argv[i], "--types")) o.types = true;
        else if (i + 1 == argc) die("an option lacks its value");
        else if (!strcmp(argv[i], "--threads")) o.threads = atoi(argv[++i]);
        else if (!strcmp(argv[i], "--rounds")) o.rounds = atoi(argv[++i]);
        else if (!strcmp(argv[i], "--rows")) o.rows = atoll(argv[++i]);
        else die("options: --threads --rows --rounds --types");
    }
    o.n_word = argc - i;
    o.word = argv + i;
    return o;
}

int main(int argc, char **argv)
{
    genet_err err = {0};
    options o = parse(argc, argv);
    genet_device *d = genet_device_cpu(o.threads, &err);
    pool *p = genet__pool_new(o.threads, &err);
    if (!d || !p) die(err.text);
    setvbuf(stdout, NULL, _IOLBF, 0);
    openblas_set_num_threads(o.threads);
    void (*omp_threads)(int) = (void (*)(int))dlsym(RTLD_DEFAULT, "omp_set_num_threads");
    if (omp_threads) omp_threads(o.threads);
    printf("genet %s, OpenBLAS %s, oneDNN %d.%d, rows %lld\n", genet_device_isa(d), openblas_get_corename(),
           dnnl_version()->major, dnnl_version()->minor, (long long)o.rows);
    if (o.types) of_types(&o, d, p);
    else against_peers(&o, d, p);
    genet__pool_free(p);
    genet_device_free(d);
    return 0;
}
