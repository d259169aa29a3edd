/* labels: core
 * test_gemm_amx.c - the core of tile registers by itself: every pair of types
 * against sums in double, in all layouts and edges, between pages without
 * access; and as exact as multiply-adds in f32. */
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
const gemm_core *genet__gemm_amx_amx(dtype a, dtype b);
#endif

/* The core for these types; NULL: no tile registers here. */
static const gemm_core *core_of(dtype a, dtype b)
{
#ifndef GENET_ONLY_PLAIN
    const kernel_table *table[CPU_TABLES];
    if (genet__cpu_tables(table) > 0 && !strcmp(table[0]->isa, "amx")) return genet__gemm_amx_amx(a, b);
#endif
    (void)a, (void)b;
    return NULL;
}

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

static bool quantised(dtype t) { return t == GENET_Q8_0 || t == GENET_Q4_0; }

static double element(const gemm_source *s, int64_t line, int64_t k)
{
    int64_t i = line * s->line + k * s->depth, block = i / QUANT_BLOCK, j = i % QUANT_BLOCK;
    if (s->dtype == GENET_F32) return (double)((const float *)s->at)[i];
    if (s->dtype == GENET_BF16) return (double)genet__from_bf16(((const uint16_t *)s->at)[i]);
    if (s->dtype == GENET_F16) return (double)genet__from_f16(((const uint16_t *)s->at)[i]);
    if (s->dtype == GENET_Q8_0) {
        const quant_q8_0 *q = (const quant_q8_0 *)s->at + block;
        return (double)genet__from_f16(q->d) * q->q[j];
    }
    const quant_q4_0 *q = (const quant_q4_0 *)s->at + block;
    return (double)genet__from_f16(q->d) * ((j < 16 ? q->q[j] & 15 : q->q[j - 16] >> 4) - 8);
}

static void put(char *at, dtype t, int64_t i, float x)
{
    if (t == GENET_F32) ((float *)at)[i] = x;
    else ((uint16_t *)at)[i] = t == GENET_BF16 ? genet__to_bf16(x) : genet__to_f16(x);
}

/* Normal numbers times 2^0 .. 2^spread. */
static float number(uint32_t stream, int64_t i, double spread)
{
    double x = genet__rng_normal(1, stream, 0, (uint64_t)i);
    return (float)(spread > 0 ? x * exp2(spread * genet__rng_uniform(1, stream, 1, (uint64_t)i)) : x);
}

static void fill(char *at, dtype t, int64_t n, uint32_t stream, double spread)
{
    for (int64_t i = 0; !quantised(t) && i < n; i++) put(at, t, i, number(stream, i, spread));
    size_t block = t == GENET_Q8_0 ? sizeof(quant_q8_0) : sizeof(quant_q4_0);
    for (int64_t i = 0; quantised(t) && i < n / QUANT_BLOCK; i++) {
        char *to = at + (size_t)i * block;
        for (size_t j = 2; j < block; j++) to[j] = (char)genet__rng_below(1, stream, 2, (uint64_t)i * 64 + j, 256);
        put(to, GENET_F16, 0, number(stream, i, spread) / 64);
    }
}

/* --- a product ----------------------------------------------------------------------------- */

/* How an operand's lines lie: one after the other, side by side (transposed),
 * with gaps, or without any unit stride. */
typedef enum layout { LINES_LONG, LINES_SHORT, LONG_PADDED, SHORT_PADDED, STEPPED, N_LAYOUT } layout;

typedef struct operands { gemm_source a, b; walled wa, wb; int64_t M, N, K; } operands;

static gemm_source source_new(walled *w, dtype t, layout how, int64_t lines, int64_t K, uint32_t stream, double spread)
{
    static const int64_t pad[N_LAYOUT] = { 0, 0, 3, 5, 0 };
    gemm_source s = { .dtype = t, .line = K + pad[how], .depth = 1 };
    if (how == LINES_SHORT || how == SHORT_PADDED) s.line = 1, s.depth = lines + pad[how];
    if (how == STEPPED) s.line = 2 * K + 1, s.depth = 2;
    int64_t n = (lines - 1) * s.line + (K - 1) * s.depth + 1;
    *w = walled_new((size_t)genet_dtype_bytes(t, n), quantised(t) ? 2 : genet_dtype_size(t));
    s.at = w->at;
    fill(w->at, t, n, stream, spread);
    return s;
}

static operands operands_new(dtype ta, layout la, dtype tb, layout lb, int64_t M, int64_t N, int64_t K, double spread)
{
    operands p = { .M = M, .N = N, .K = K };
    p.a = source_new(&p.wa, ta, la, M, K, 1, spread);
    p.b = source_new(&p.wb, tb, lb, N, K, 2, spread);
    return p;
}
static void operands_free(operands *p) { walled_free(&p->wa); walled_free(&p->wb); }

/* Are tile registers in use by this thread? (XINUSE, bit 18) */
static bool tiles_in_use(void)
{
#ifndef GENET_ONLY_PLAIN
    unsigned a, d;
    __asm__ volatile("xgetbv" : "=a"(a), "=d"(d) : "c"(1));
    return a >> 18 & 1;
#else
    return false;
#endif
}

/* C = A B in blocks of depth, M x N, ldc apart; begun from C when add. */
static void multiply(const gemm_core *g, const operands *p, float *c, int64_t ldc, bool add, bool rows_outer)
{
    for (int64_t k = 0; k < p->K; k += g->kc) {
        int64_t kc = p->K - k < g->kc ? p->K - k : g->kc, deep = (kc + g->unit - 1) / g->unit * g->unit;
        walled wa = walled_new((size_t)((p->M + g->mr - 1) / g->mr * g->mr * deep * g->a_bytes), 64);
        walled wb = walled_new((size_t)((p->N + g->nr - 1) / g->nr * g->nr * deep * g->b_bytes), 64);
        gemm_source a = p->a, b = p->b;
        a.at += genet_dtype_bytes(a.dtype, k * a.depth);
        b.at += genet_dtype_bytes(b.dtype, k * b.depth);
        g->pack_a(&a, p->M, kc, wa.at);
        g->pack_b(&b, p->N, kc, wb.at);
        g->block(wa.at, wb.at, p->M, p->N, kc, c, ldc, add || k > 0, rows_outer);
        assert_false(tiles_in_use());
        walled_free(&wa);
        walled_free(&wb);
    }
}

/* Of operands rounded to one bf16 each (2^-9), beside quantised weights, or f32
 * to two (2^-17) and the product of second parts left out (2^-18), beside f16. */
static double tolerance(dtype a, dtype b)
{
    if (quantised(b)) return 4e-3;
    bool wide = a == GENET_F32 || b == GENET_F32, half = a == GENET_F16 || b == GENET_F16;
    return wide && half ? 0x1p-16 : 0;
}

/* Against the sum in double; what lies between C's rows stays. */
static void check(const operands *p, bool add, bool rows_outer)
{
    const gemm_core *g = core_of(p->a.dtype, p->b.dtype);
    int64_t ldc = p->N + 3, n = (p->M - 1) * ldc + p->N;
    walled w = walled_new((size_t)n * 4, 4);
    float *c = (float *)w.at;
    for (int64_t i = 0; i < n; i++) c[i] = 7;
    multiply(g, p, c, ldc, add, rows_outer);
    for (int64_t i = 0; i < n; i++) {
        int64_t row = i / ldc, col = i % ldc;
        double want = add || col >= p->N ? 7 : 0, scale = 7;
        for (int64_t k = 0; col < p->N && k < p->K; k++) {
            double ab = element(&p->a, row, k) * element(&p->b, col, k);
            want += ab;
            scale += fabs(ab);
        }
        double eps = tolerance(p->a.dtype, p->b.dtype) + (double)(p->K + 8) * 0x1p-25;
        if (!(fabs((double)c[i] - want) <= eps * scale))
            fail_msg("types %d %d, %lld x %lld x %lld, element %lld: %.9g, not %.9g", p->a.dtype, p->b.dtype,
                     (long long)p->M, (long long)p->N, (long long)p->K, (long long)i, (double)c[i], want);
    }
    walled_free(&w);
}

/* --- tests ------------------------------------------------------------------------------------ */

static const dtype floats[] = { GENET_F32, GENET_BF16, GENET_F16 };
enum { N_FLOAT = 3 };

static void test_layouts(void **state)
{
    (void)state;
    if (!core_of(GENET_F32, GENET_F32)) skip();
    for (int i = 0; i < N_FLOAT * N_FLOAT; i++)
        for (layout la = 0; la < N_LAYOUT; la++)
            for (layout lb = 0; lb < N_LAYOUT; lb++) {
                operands p = operands_new(floats[i / N_FLOAT], la, floats[i % N_FLOAT], lb, 37, 45, 51, 0);
                check(&p, la % 2, lb % 2);
                operands_free(&p);
            }
}

static void test_edges(void **state)
{
    (void)state;
    static const int64_t sizes[] = { 1, 15, 16, 17, 31, 32, 33, 65 }, depths[] = { 1, 16, 17, 32, 384, 417 };
    enum { N = sizeof sizes / sizeof *sizes };
    if (!core_of(GENET_F32, GENET_F32)) skip();
    for (int i = 0; i < N * N; i++) {
        dtype ta = floats[i % N_FLOAT], tb = floats[i / 4 % N_FLOAT];
        operands p = operands_new(ta, i % 4, tb, i / 2 % 4, sizes[i / N], sizes[i % N], depths[i % 6], 0);
        check(&p, i % 3, i % 5 < 2);
        operands_free(&p);
    }
}

static void test_quantised(void **state)
{
    (void)state;
    static const dtype types[] = { GENET_Q8_0, GENET_Q4_0 };
    if (!core_of(GENET_F32, GENET_Q8_0)) skip();
    for (int i = 0; i < 2 * N_FLOAT; i++)
        for (int64_t N = 30; N < 36; N++) {
            operands p = operands_new(floats[i % N_FLOAT], N % 4, types[i / N_FLOAT], LINES_LONG,
                                      41, N, 32 * (N - 20), 0);
            check(&p, N % 2, N % 3);
            operands_free(&p);
        }
}

/* The mean error of f32 products beside that of one multiply-add a term. */
static void test_as_exact_as_f32(void **state)
{
    (void)state;
    static const struct { int64_t K; double spread; } cases[] = {
        { 32, 0 }, { 768, 0 }, { 3072, 0 }, { 768, 30 }, { 3072, 30 }, { 64, 60 } };
    if (!core_of(GENET_F32, GENET_F32)) skip();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        operands p = operands_new(GENET_F32, LINES_LONG, GENET_F32, LINES_SHORT, 40, 40, cases[i].K, cases[i].spread);
        float c[40 * 40];
        double ours = 0, theirs = 0;
        multiply(core_of(GENET_F32, GENET_F32), &p, c, 40, false, true);
        for (int64_t j = 0; j < 40 * 40; j++) {
            double exact = 0;
            float sum = 0;
            for (int64_t k = 0; k < p.K; k++) {
                double a = element(&p.a, j / 40, k), b = element(&p.b, j % 40, k);
                exact += a * b;
                sum = fmaf((float)a, (float)b, sum);
            }
            ours += fabs((double)c[j] - exact);
            theirs += fabs((double)sum - exact);
        }
        print_message("K %lld, spread 2^%g: %.2f of the error of multiply-adds\n", (long long)cases[i].K,
                      cases[i].spread, ours / theirs);
        assert_true(ours <= (cases[i].spread > 30 ? 1.5 : 1) * theirs);
        operands_free(&p);
    }
}

/* x at (row 3, depth 5) of A, or of B: row 3 (column 3) shows it, no other does. */
static void check_special(dtype ta, dtype tb, bool in_b, float x, bool finite)
{
    operands p = operands_new(ta, LINES_LONG, tb, LINES_LONG, 20, 20, 40, 0);
    put(in_b ? p.wb.at : p.wa.at, in_b ? tb : ta, 3 * 40 + 5, x);
    float c[20 * 20];
    for (int64_t i = 0; i < 20; i++) put(in_b ? p.wa.at : p.wb.at, in_b ? ta : tb, i * 40 + 5, 0x1p-9f);
    multiply(core_of(ta, tb), &p, c, 20, false, false);
    for (int i = 0; i < 20 * 20; i++) {
        bool hit = (in_b ? i % 20 : i / 20) == 3;
        assert_int_equal(isfinite(c[i]) != 0, finite || !hit);
        double want = (double)x * 0x1p-9;
        if (finite && hit) assert_true(fabs((double)c[i] - want) <= fabs(want) * 0x1p-15 + 100);
    }
    operands_free(&p);
}

static void test_special_values(void **state)
{
    (void)state;
    if (!core_of(GENET_F32, GENET_F32)) skip();
    static const uint32_t nan_bits[] = { 0x7fc00000u, 0x7fffffffu, 0xffffffffu, 0xff800001u };
    for (int i = 0; i < 2 * N_FLOAT * N_FLOAT; i++) {
        dtype ta = floats[i / 2 % N_FLOAT], tb = floats[i / 2 / N_FLOAT], t = i % 2 ? tb : ta;
        for (size_t k = 0; k < sizeof nan_bits / sizeof *nan_bits; k++) {
            float x;
            memcpy(&x, &nan_bits[k], 4);
            check_special(ta, tb, i % 2, x, false);
        }
        check_special(ta, tb, i % 2, INFINITY, false);
        check_special(ta, tb, i % 2, -INFINITY, false);
        float most = t == GENET_F32 ? FLT_MAX : t == GENET_BF16 ? 0x1.fep127f : 65504.0f;
        check_special(ta, tb, i % 2, most, true);
        check_special(ta, tb, i % 2, -most, true);
    }
}

/* Beside quantised weights f32 is one rounded part: nothing is lost there. */
static void test_special_beside_quantised(void **state)
{
    (void)state;
    if (!core_of(GENET_F32, GENET_Q8_0)) skip();
    static const uint32_t bits[] = { 0x7fc00000u, 0x7fffffffu, 0xffffffffu, 0x7f800000u, 0xff800000u };
    for (size_t k = 0; k < sizeof bits / sizeof *bits; k++) {
        operands p = operands_new(GENET_F32, LINES_LONG, GENET_Q8_0, LINES_LONG, 20, 20, 64, 0);
        memcpy(p.wa.at + (3 * 64 + 5) * 4, &bits[k], 4);
        float c[20 * 20];
        multiply(core_of(GENET_F32, GENET_Q8_0), &p, c, 20, false, false);
        for (int i = 0; i < 20 * 20; i++) assert_int_equal(isfinite(c[i]) != 0, i / 20 != 3);
        operands_free(&p);
    }
}

/* What is below 2^-126 may be lost, no more. */
static void test_tiny_values(void **state)
{
    (void)state;
    if (!core_of(GENET_F32, GENET_F32)) skip();
    operands p = operands_new(GENET_F32, LINES_LONG, GENET_F32, LINES_SHORT, 20, 20, 40, 0);
    for (int64_t i = 0; i < 20 * 40; i++) ((float *)p.wa.at)[i] *= 0x1p-120f;
    float c[20 * 20];
    multiply(core_of(GENET_F32, GENET_F32), &p, c, 20, false, false);
    for (int64_t j = 0; j < 20 * 20; j++) {
        double want = 0, scale = 0;
        for (int64_t k = 0; k < 40; k++) {
            want += element(&p.a, j / 20, k) * element(&p.b, j % 20, k);
            scale += fabs(element(&p.b, j % 20, k)) + 1;
        }
        assert_true(fabs((double)c[j] - want) <= scale * 0x1p-126 * 8);
    }
    operands_free(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_layouts),         cmocka_unit_test(test_edges),
        cmocka_unit_test(test_quantised),       cmocka_unit_test(test_as_exact_as_f32),
        cmocka_unit_test(test_special_values),  cmocka_unit_test(test_special_beside_quantised),
        cmocka_unit_test(test_tiny_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
