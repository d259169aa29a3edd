/* labels: core
 * test_gemm_int8.c - products of many rows with quantised weights, in integers:
 * the core by itself against the bytes that rows must be rounded to, in all
 * layouts and edges, between pages without access; values that are not finite;
 * and the matmul kernel with it, whose many rows are what each is alone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include "base/half.h"
#include "base/quant.h"
#include "base/rng.h"
#include "device/cpu/gemm_core.h"

#ifndef GENET_ONLY_PLAIN
const gemm_core *genet__gemm_int8_avx512(dtype a, dtype b);
#endif

static const kernel_table *table_of(const char *isa)
{
    const kernel_table *table[CPU_TABLES];
    for (int n = genet__cpu_tables(table); n-- > 0;)
        if (!strcmp(table[n]->isa, isa)) return table[n];
    return NULL;
}

/* The core for these types; NULL: not on this processor. */
static const gemm_core *core_of(dtype a, dtype b)
{
#ifndef GENET_ONLY_PLAIN
    if (table_of("avx512")) return genet__gemm_int8_avx512(a, b);
#endif
    (void)a, (void)b;
    return NULL;
}
static bool here(void) { return core_of(GENET_F32, GENET_Q8_0) != NULL; }

/* --- memory and elements -------------------------------------------------------------- */

typedef struct walled { char *at, *map; size_t map_bytes; } walled;

/* size_bytes of 0xff that end where a page without access begins, at `align`. */
static walled walled_new(size_t size_bytes, size_t align)
{
    size_t page = 4096, body = (size_bytes + page - 1) / page * page + page;
    walled w = { .map_bytes = body + page };
    w.map = mmap(NULL, w.map_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(w.map != MAP_FAILED);
    assert_int_equal(mprotect(w.map + body, page, PROT_NONE), 0);
    w.at = w.map + (body - size_bytes) / align * align;
    memset(w.map, 0xff, body);
    return w;
}
static void walled_free(walled *w) { munmap(w->map, w->map_bytes); }

static float get(const gemm_source *s, int64_t line, int64_t k)
{
    int64_t i = line * s->line + k * s->depth;
    if (s->dtype == GENET_F32) return ((const float *)s->at)[i];
    uint16_t h = ((const uint16_t *)s->at)[i];
    return s->dtype == GENET_BF16 ? genet__from_bf16(h) : genet__from_f16(h);
}

static void put(char *at, dtype t, int64_t i, float x)
{
    if (t == GENET_F32) ((float *)at)[i] = x;
    else ((uint16_t *)at)[i] = t == GENET_BF16 ? genet__to_bf16(x) : genet__to_f16(x);
}

/* Block `k` of column j: its scale and bytes. */
typedef struct bytes { double d; int q[QUANT_BLOCK]; } bytes;

static bytes weights(const gemm_source *s, int64_t j, int64_t k)
{
    bytes b;
    int64_t i = j * s->line / QUANT_BLOCK + k;
    if (s->dtype == GENET_Q8_0) {
        const quant_q8_0 *q = (const quant_q8_0 *)s->at + i;
        b.d = (double)genet__from_f16(q->d);
        for (int e = 0; e < QUANT_BLOCK; e++) b.q[e] = q->q[e];
    } else {
        const quant_q4_0 *q = (const quant_q4_0 *)s->at + i;
        b.d = (double)genet__from_f16(q->d);
        for (int e = 0; e < 16; e++) b.q[e] = (q->q[e] & 15) - 8, b.q[16 + e] = (q->q[e] >> 4) - 8;
    }
    return b;
}

/* The same of row i, as it must be rounded. */
static bytes activations(const gemm_source *s, int64_t i, int64_t k)
{
    bytes b;
    float most = 0;
    for (int e = 0; e < QUANT_BLOCK; e++) most = fmaxf(most, fabsf(get(s, i, k * QUANT_BLOCK + e)));
    float inverse = most > 1e-30f ? 127 / most : 0;
    b.d = (double)most / 127;
    for (int e = 0; e < QUANT_BLOCK; e++) b.q[e] = (int)lrintf(get(s, i, k * QUANT_BLOCK + e) * inverse);
    return b;
}

/* --- a product ------------------------------------------------------------------------- */

/* How A's rows lie: one after the other, side by side (transposed), with gaps, or stepped. */
typedef enum layout { DENSE, ACROSS, PADDED, STEPPED, N_LAYOUT } layout;

typedef struct operands { gemm_source a, b; walled wa, wb; int64_t M, N, K; } operands;

static void fill_blocks(char *to, dtype t, int64_t n)
{
    size_t block = genet_dtype_bytes(t, QUANT_BLOCK);
    for (int64_t i = 0; i < n; i++, to += block) {
        for (size_t j = 2; j < block; j++) to[j] = (char)genet__rng_below(1, 2, 2, (uint64_t)i * 64 + j, 256);
        put(to, GENET_F16, 0, (float)genet__rng_normal(1, 2, 0, (uint64_t)i) / 64);
    }
}

static operands operands_new(dtype ta, layout how, dtype tb, int64_t M, int64_t N, int64_t K)
{
    operands p = { .M = M, .N = N, .K = K };
    p.a = (gemm_source){ .dtype = ta, .line = K, .depth = 1 };
    if (how == ACROSS) p.a.line = 1, p.a.depth = M;
    if (how == PADDED) p.a.line = K + 3;
    if (how == STEPPED) p.a.line = 2 * K + 1, p.a.depth = 2;
    int64_t n = (M - 1) * p.a.line + (K - 1) * p.a.depth + 1;
    p.wa = walled_new(genet_dtype_bytes(ta, n), genet_dtype_size(ta));
    p.a.at = p.wa.at;
    for (int64_t i = 0; i < n; i++) put(p.wa.at, ta, i, (float)genet__rng_normal(1, 1, 0, (uint64_t)i));
    p.b = (gemm_source){ .dtype = tb, .line = K, .depth = 1 };
    p.wb = walled_new(genet_dtype_bytes(tb, N * K), 2);
    p.b.at = p.wb.at;
    fill_blocks(p.wb.at, tb, N * K / QUANT_BLOCK);
    return p;
}
static void operands_free(operands *p) { walled_free(&p->wa); walled_free(&p->wb); }

/* C = A B in blocks of depth, M x N, ldc apart; begun from C when add. */
static void multiply(const operands *p, float *c, int64_t ldc, bool add)
{
    const gemm_core *g = core_of(p->a.dtype, p->b.dtype);
    for (int64_t k = 0; k < p->K; k += g->kc) {
        int64_t kc = p->K - k < g->kc ? p->K - k : g->kc;
        walled wa = walled_new((size_t)((p->M + g->mr - 1) / g->mr * g->mr * kc * g->a_bytes), 64);
        walled wb = walled_new((size_t)((p->N + g->nr - 1) / g->nr * g->nr * kc * g->b_bytes), 64);
        gemm_source a = p->a, b = p->b;
        a.at += genet_dtype_bytes(a.dtype, k * a.depth);
        b.at += genet_dtype_bytes(b.dtype, k * b.depth);
        g->pack_a(&a, p->M, kc, wa.at);
        g->pack_b(&b, p->N, kc, wb.at);
        g->block(wa.at, wb.at, p->M, p->N, kc, c, ldc, add || k > 0, p->M % 2);
        walled_free(&wa);
        walled_free(&wb);
    }
}

/* Element (i, j) from bytes, and the sum of magnitudes that scales its error;
 * *apart: how far it may be from the product of what was not rounded. */
static double exact(const operands *p, int64_t i, int64_t j, double *scale, double *apart)
{
    double sum = 0;
    *scale = *apart = 0;
    for (int64_t k = 0; k < p->K / QUANT_BLOCK; k++) {
        bytes x = activations(&p->a, i, k), w = weights(&p->b, j, k);
        int64_t n = 0, magnitude = 0, terms = 0;
        for (int e = 0; e < QUANT_BLOCK; e++) {
            n += x.q[e] * w.q[e];
            terms += abs(x.q[e] * w.q[e]);
            magnitude += abs(w.q[e]);
        }
        sum += (double)n * x.d * w.d;
        *scale += (double)terms * x.d * fabs(w.d);
        *apart += 0.5001 * x.d * (double)magnitude * fabs(w.d);
    }
    return sum;
}

static double unrounded(const operands *p, int64_t i, int64_t j)
{
    double sum = 0;
    for (int64_t k = 0; k < p->K / QUANT_BLOCK; k++) {
        bytes w = weights(&p->b, j, k);
        for (int e = 0; e < QUANT_BLOCK; e++) sum += (double)get(&p->a, i, k * QUANT_BLOCK + e) * w.q[e] * w.d;
    }
    return sum;
}

static void expect_element(const operands *p, int64_t i, int64_t j, double got, double before)
{
    double scale, apart, want = before + exact(p, i, j, &scale, &apart);
    double bound = ((double)p->K / QUANT_BLOCK + 4) * 0x1p-24 * (scale + fabs(before));
    if (!(fabs(got - want) <= bound) || !(fabs(got - before - unrounded(p, i, j)) <= apart + bound))
        fail_msg("types %d %d, %lld x %lld x %lld, element %lld %lld: %.9g, not %.9g", p->a.dtype, p->b.dtype,
                 (long long)p->M, (long long)p->N, (long long)p->K, (long long)i, (long long)j, got, want);
}

/* What lies between C's rows stays. */
static void check(const operands *p, bool add)
{
    int64_t ldc = p->N + 3, n = (p->M - 1) * ldc + p->N;
    walled w = walled_new((size_t)n * 4, 4);
    float *c = (float *)w.at;
    for (int64_t i = 0; i < n; i++) c[i] = 7;
    multiply(p, c, ldc, add);
    for (int64_t i = 0; i < n; i++) {
        int64_t row = i / ldc, col = i % ldc;
        if (col >= p->N) assert_true(c[i] == 7);
        else expect_element(p, row, col, (double)c[i], add ? 7 : 0);
    }
    walled_free(&w);
}

/* --- tests of the core --------------------------------------------------------------------- */

static const dtype blocks[] = { GENET_Q8_0, GENET_Q4_0 }, floats[] = { GENET_F32, GENET_BF16, GENET_F16 };

static void test_layouts(void **state)
{
    (void)state;
    if (!here()) skip();
    for (int i = 0; i < 6; i++)
        for (layout how = 0; how < N_LAYOUT; how++) {
            operands p = operands_new(floats[i / 2], how, blocks[i % 2], 23, 45, 32 * (4 + i));
            check(&p, how % 2);
            operands_free(&p);
        }
}

/* Tiles are 7 x 32, blocks of depth 768. */
static void test_edges(void **state)
{
    (void)state;
    static const int64_t Ms[] = { 1, 2, 3, 4, 5, 6, 7, 8, 13, 15 }, Ns[] = { 1, 15, 16, 17, 31, 32, 33, 65 };
    static const int64_t Ks[] = { 32, 64, 96, 128, 160, 768, 800 };
    enum { N_M = sizeof Ms / sizeof *Ms, N_N = sizeof Ns / sizeof *Ns, N_K = sizeof Ks / sizeof *Ks };
    if (!here()) skip();
    for (int i = 0; i < N_M * N_N; i++)
        for (int t = 0; t < 2; t++) {
            operands p = operands_new(GENET_F32, DENSE, blocks[t], Ms[i / N_N], Ns[i % N_N], Ks[i % N_K]);
            check(&p, i % 3 == 0);
            operands_free(&p);
        }
}

/* The largest sums that bytes can have, -128 among them, of whole numbers. */
static void test_largest_sums(void **state)
{
    (void)state;
    if (!here()) skip();
    operands p = operands_new(GENET_F32, DENSE, GENET_Q8_0, 8, 33, 64);
    for (int64_t i = 0; i < 8 * 64; i++) ((float *)p.wa.at)[i] = i / 64 % 2 ? 127 : -127;
    for (int64_t i = 0; i < 33 * 2; i++) {
        quant_q8_0 *q = (quant_q8_0 *)p.wb.at + i;
        q->d = genet__to_f16(1);
        memset(q->q, i / 2 % 3 == 0 ? -128 : i / 2 % 3 == 1 ? 127 : 0, sizeof q->q);
    }
    float c[8 * 33];
    multiply(&p, c, 33, false);
    for (int i = 0; i < 8 * 33; i++) {
        int w = i % 33 % 3 == 0 ? -128 : i % 33 % 3 == 1 ? 127 : 0;
        assert_true(c[i] == (float)(64 * 127 * w * (i / 33 % 2 ? 1 : -1)));
    }
    operands_free(&p);
}

/* Row 3 has x at depth 40, everywhere else what it had: other rows keep their bits. */
static void check_row(float x, bool finite)
{
    operands p = operands_new(GENET_F32, DENSE, GENET_Q8_0, 20, 40, 96);
    float before[20 * 40], after[20 * 40];
    multiply(&p, before, 40, false);
    ((float *)p.wa.at)[3 * 96 + 40] = x;
    multiply(&p, after, 40, false);
    for (int i = 0; i < 20 * 40; i++) {
        if (i / 40 != 3) assert_memory_equal(&before[i], &after[i], sizeof(float));
        else if (finite) expect_element(&p, 3, i % 40, (double)after[i], 0);
        else assert_false(isfinite(after[i]));
    }
    operands_free(&p);
}

static void test_special_values(void **state)
{
    (void)state;
    static const uint32_t bits[] = { 0x7fc00000u, 0x7fffffffu, 0xffffffffu, 0xff800001u, 0x7f800000u, 0xff800000u };
    if (!here()) skip();
    for (size_t i = 0; i < sizeof bits / sizeof *bits; i++) {
        float x;
        memcpy(&x, &bits[i], 4);
        check_row(x, false);
    }
    check_row(1e35f, true);
    check_row(-1e35f, true);
    check_row(1e-40f, true);
    check_row(0, true);
}

/* Rows of zeros, and of numbers too small for a scale, give zeros; weights of
 * which a scale is infinite spoil their column alone. */
static void test_zeros_and_infinite_scale(void **state)
{
    (void)state;
    if (!here()) skip();
    operands p = operands_new(GENET_F32, DENSE, GENET_Q4_0, 9, 35, 64);
    for (int64_t i = 0; i < 64; i++) ((float *)p.wa.at)[2 * 64 + i] = 0, ((float *)p.wa.at)[5 * 64 + i] = 1e-39f;
    put((char *)((quant_q4_0 *)p.wb.at + 34 * 2), GENET_F16, 0, INFINITY);
    float c[9 * 35];
    multiply(&p, c, 35, false);
    for (int i = 0; i < 9 * 35; i++) {
        if (i % 35 == 34) assert_false(isfinite(c[i]));
        else if (i / 35 == 2 || i / 35 == 5) assert_true(c[i] == 0);
        else expect_element(&p, i / 35, i % 35, (double)c[i], 0);
    }
    operands_free(&p);
}

/* --- the matmul kernel with it ---------------------------------------------------------------- */

static walled local;        /* one thread's, dirty from the launch before */

/* Tasks in rising or falling order over dirty scratch. */
static void run_matmul(const operands *p, int64_t first_row, int64_t rows, float *c, bool falling)
{
    const kernel *f = table_of("avx512")->op[OP_matmul];
    operand arg[3] = {
        { .data = (char *)c, .dtype = GENET_F32, .rank = 2, .dim = { rows, p->N }, .stride = { p->N, 1 } },
        { .data = p->wa.at + first_row * p->K * 4, .dtype = GENET_F32, .rank = 2, .dim = { rows, p->K }, .stride = { p->K, 1 } },
        { .data = p->wb.at, .dtype = p->b.dtype, .rank = 2, .dim = { p->K, p->N }, .stride = { 1, p->K } } };
    launch l = { .kernel = f, .n_out = 1, .n_in = 2, .n_arg = 3, .arg = arg };
    walled shared = walled_new(l.shared_bytes = f->shared(&l), 64);
    l.shared = shared.at;
    for (int phase = 0; phase < f->phases(&l); phase++)
        for (int64_t i = 0, n = f->tasks(&l, phase); i < n; i++) f->run(&l, phase, falling ? n - 1 - i : i, local.at);
    walled_free(&shared);
}

/* One cell, a few, either side shared, several blocks of depth, several chunks. */
static void test_matmul(void **state)
{
    (void)state;
    static const struct { int64_t M, N, K; } shapes[] = { { 9, 1, 32 }, { 19, 67, 96 }, { 130, 131, 160 }, { 61, 1301, 800 },
                                                          { 501, 67, 1568 }, { 29, 4099, 2336 } };
    if (!here()) skip();
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
        int64_t M = shapes[s].M, N = shapes[s].N, size = M * N;
        operands p = operands_new(GENET_F32, DENSE, blocks[s % 2], M, N, shapes[s].K);
        walled one = walled_new((size_t)size * 4, 4), two = walled_new((size_t)size * 4, 4);
        float *c = (float *)one.at;
        run_matmul(&p, 0, M, c, false);
        run_matmul(&p, 0, M, (float *)two.at, true);
        assert_memory_equal(c, two.at, (size_t)size * 4);
        for (int64_t i = 0; i < size; i += size > 5000 ? 97 : 1) expect_element(&p, i / N, i % N, (double)c[i], 0);
        float *row = (float *)two.at;
        run_matmul(&p, M / 2, 1, row, false);
        for (int64_t j = 0; j < N; j++) expect_element(&p, M / 2, j, (double)row[j], 0);    /* alone: the same bytes */
        walled_free(&one);
        walled_free(&two);
        operands_free(&p);
    }
}

static int make_local(void **state)
{
    (void)state;
    local = walled_new(LOCAL_BYTES, 64);
    return 0;
}
static int free_local(void **state)
{
    (void)state;
    walled_free(&local);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_layouts),         cmocka_unit_test(test_edges),
        cmocka_unit_test(test_largest_sums),    cmocka_unit_test(test_special_values),
        cmocka_unit_test(test_zeros_and_infinite_scale), cmocka_unit_test(test_matmul),
    };
    return cmocka_run_group_tests(tests, make_local, free_local);
}
