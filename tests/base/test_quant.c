/* labels: core
 * test_quant.c - quantised blocks: bit for bit what ggml's own package makes of
 * the same rows (tests/golden/quant), and what happens at the edges. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <string.h>
#include "../golden/golden.h"
#include "base/half.h"
#include "base/quant.h"
#include "format/safetensors.h"

enum { ROWS = 64 };

typedef struct golden { safetensors file; const float *x, *from_q8_0, *from_q4_0; const unsigned char *q8_0, *q4_0; } golden;

static const void *bytes_of(const safetensors *f, const char *name, size_t size_bytes)
{
    const safetensor *t = genet__safetensors_find(f, name);
    assert_non_null(t);
    assert_int_equal(t->size_bytes, size_bytes);
    return t->at;
}

static golden golden_open(void)
{
    genet_err err;
    golden g;
    assert_true(genet__safetensors_open(&g.file, golden_path("quant/golden.safetensors"), &err));
    g.x = bytes_of(&g.file, "x", ROWS * QUANT_BLOCK * sizeof(float));
    g.q8_0 = bytes_of(&g.file, "q8_0", ROWS * sizeof(quant_q8_0));
    g.q4_0 = bytes_of(&g.file, "q4_0", ROWS * sizeof(quant_q4_0));
    g.from_q8_0 = bytes_of(&g.file, "from_q8_0", ROWS * QUANT_BLOCK * sizeof(float));
    g.from_q4_0 = bytes_of(&g.file, "from_q4_0", ROWS * QUANT_BLOCK * sizeof(float));
    return g;
}

static void test_blocks_are_ggmls(void **state)
{
    (void)state;
    golden g = golden_open();
    quant_q8_0 q8[ROWS];
    quant_q4_0 q4[ROWS];
    assert_true(genet__quantize_q8_0(g.x, ROWS * QUANT_BLOCK, q8));
    assert_true(genet__quantize_q4_0(g.x, ROWS * QUANT_BLOCK, q4));
    assert_memory_equal(q8, g.q8_0, sizeof q8);
    assert_memory_equal(q4, g.q4_0, sizeof q4);
    genet__safetensors_close(&g.file);
}

/* Equal as numbers: the sign of a zero is nobody's business. */
static void test_values_are_ggmls(void **state)
{
    (void)state;
    golden g = golden_open();
    float x[ROWS * QUANT_BLOCK];
    quant_q8_0 q8[ROWS];
    quant_q4_0 q4[ROWS];
    memcpy(q8, g.q8_0, sizeof q8);
    memcpy(q4, g.q4_0, sizeof q4);
    genet__dequantize_q8_0(q8, ROWS * QUANT_BLOCK, x);
    for (int i = 0; i < ROWS * QUANT_BLOCK; i++) assert_true(x[i] == g.from_q8_0[i]);
    genet__dequantize_q4_0(q4, ROWS * QUANT_BLOCK, x);
    for (int i = 0; i < ROWS * QUANT_BLOCK; i++) assert_true(x[i] == g.from_q4_0[i]);
    genet__safetensors_close(&g.file);
}

/* Half a step at the most, and where a value is cut to the highest level of q4_0, one. */
static void test_errors_are_bounded(void **state)
{
    (void)state;
    golden g = golden_open();
    for (int r = 0; r < 24; r++) {
        const float *x = g.x + r * QUANT_BLOCK;
        float y[QUANT_BLOCK];
        quant_q8_0 q8;
        quant_q4_0 q4;
        assert_true(genet__quantize_q8_0(x, QUANT_BLOCK, &q8) && genet__quantize_q4_0(x, QUANT_BLOCK, &q4));
        genet__dequantize_q8_0(&q8, QUANT_BLOCK, y);
        double step = genet__from_f16(q8.d);
        for (int i = 0; i < QUANT_BLOCK; i++) assert_true(fabs((double)x[i] - (double)y[i]) <= 0.57 * step);
        genet__dequantize_q4_0(&q4, QUANT_BLOCK, y);
        step = fabs((double)genet__from_f16(q4.d));
        for (int i = 0; i < QUANT_BLOCK; i++) assert_true(fabs((double)x[i] - (double)y[i]) <= 1.01 * step);
    }
    genet__safetensors_close(&g.file);
}

/* What is read is written again with the same bytes. */
static void test_twice_is_once(void **state)
{
    (void)state;
    golden g = golden_open();
    for (int r = 0; r < 24; r++) {
        float y[QUANT_BLOCK];
        quant_q8_0 a, b;
        quant_q4_0 c, d;
        assert_true(genet__quantize_q8_0(g.x + r * QUANT_BLOCK, QUANT_BLOCK, &a));
        genet__dequantize_q8_0(&a, QUANT_BLOCK, y);
        assert_true(genet__quantize_q8_0(y, QUANT_BLOCK, &b));
        assert_memory_equal(&a, &b, sizeof a);
        assert_true(genet__quantize_q4_0(g.x + r * QUANT_BLOCK, QUANT_BLOCK, &c));
        genet__dequantize_q4_0(&c, QUANT_BLOCK, y);
        assert_true(genet__quantize_q4_0(y, QUANT_BLOCK, &d));
        assert_memory_equal(&c, &d, sizeof c);
    }
    genet__safetensors_close(&g.file);
}

static void test_impossible_values(void **state)
{
    (void)state;
    const float bad[] = { INFINITY, -INFINITY, NAN, 3e38f, 127 * 65520.0f };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        for (int at = 0; at < 2 * QUANT_BLOCK; at += 13) {
            float x[2 * QUANT_BLOCK] = { 1, 2, 3 };
            quant_q8_0 q8[2];
            quant_q4_0 q4[2];
            x[at] = bad[i];
            assert_false(genet__quantize_q8_0(x, 2 * QUANT_BLOCK, q8));
            assert_false(genet__quantize_q4_0(x, 2 * QUANT_BLOCK, q4));
        }
    float tiny[QUANT_BLOCK] = { 1e-45f, -1e-45f, 1e-39f };       /* whose scale has no reciprocal */
    quant_q8_0 q8;
    quant_q4_0 q4;
    assert_true(genet__quantize_q8_0(tiny, QUANT_BLOCK, &q8) && genet__quantize_q4_0(tiny, QUANT_BLOCK, &q4));
    assert_true(genet__from_f16(q8.d) == 0 && genet__from_f16(q4.d) == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_blocks_are_ggmls), cmocka_unit_test(test_values_are_ggmls),
        cmocka_unit_test(test_errors_are_bounded), cmocka_unit_test(test_twice_is_once),
        cmocka_unit_test(test_impossible_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
