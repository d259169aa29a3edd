/* labels: core
 * test_base.c - memory, strings, maps, numbers in text, half floats, random
 * numbers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/alloc.h"
#include "base/arena.h"
#include "base/err.h"
#include "base/half.h"
#include "base/log.h"
#include "base/map.h"
#include "base/rng.h"
#include "base/str.h"

/* --- memory --------------------------------------------------------------- */

static void test_alloc(void **state)
{
    (void)state;
    char *p = genet__alloc(100);
    for (int i = 0; i < 100; i++) assert_int_equal(p[i], 0);
    genet__free(p);
    assert_null(genet__alloc_array(SIZE_MAX / 2, 3));
    genet__free(genet__alloc(0));

    genet__alloc_fail_after(2);
    void *a = genet__alloc(1), *b = genet__alloc(1), *c = genet__alloc(1), *d = genet__alloc(1);
    assert_non_null(a);
    assert_non_null(b);
    assert_null(c);
    assert_non_null(d);
    assert_int_equal(genet__alloc_fail_after(-1), 4);
    genet__free(a);
    genet__free(b);
    genet__free(d);
}

static void test_grow(void **state)
{
    (void)state;
    int *at = NULL, n = 0, cap = 0;
    for (; n < 1000; n++) {
        assert_true(GROW(at, n, cap));
        assert_int_equal(at[n], 0);
        at[n] = n;
    }
    for (int i = 0; i < n; i++) assert_int_equal(at[i], i);
    genet__alloc_fail_after(0);
    int before = cap;
    assert_false(genet__grow(&at, &cap, cap + 1, sizeof *at));
    genet__alloc_fail_after(-1);
    assert_int_equal(cap, before);
    assert_int_equal(at[999], 999);
    assert_false(genet__grow(&at, &cap, -1, sizeof *at));
    genet__free(at);
}

static void test_arena(void **state)
{
    (void)state;
    arena a = { 0 };
    char *piece[2000];
    for (int i = 0; i < 2000; i++) {
        size_t n = i % 97 == 0 ? 100000 : (size_t)i % 61;
        piece[i] = genet__arena_alloc(&a, n);
        assert_non_null(piece[i]);
        assert_int_equal((uintptr_t)piece[i] % 16, 0);
        for (size_t k = 0; k < n; k++) assert_int_equal(piece[i][k], 0);
        memset(piece[i], i + 1, n);
    }
    for (int i = 1; i < 2000; i++)          /* nobody wrote over anybody */
        for (int k = 0; k < i % 61 && i % 97; k++) assert_int_equal(piece[i][k], (char)(i + 1));
    assert_string_equal(genet__arena_strdup(&a, "word"), "word");
    assert_string_equal(genet__arena_printf(&a, "%d-%s", 12, "x"), "12-x");
    assert_null(ARENA_ARRAY(&a, double, SIZE_MAX / 4));
    assert_null(ARENA_ARRAY(&a, double, -1));
    assert_non_null(ARENA_ARRAY(&a, double, 0));
    genet__arena_release(&a);
    assert_null(a.chunk);

    genet__alloc_fail_after(0);
    assert_null(genet__arena_alloc(&a, 1));
    genet__alloc_fail_after(-1);
    genet__arena_release(&a);
}

static void test_err(void **state)
{
    (void)state;
    genet_err err = { 0 };
    assert_false(genet__err_set(NULL, GENET_ERR_IO, "nobody listens"));
    assert_false(genet__err_set(&err, GENET_ERR_FORMAT, "x is %d", 7));
    assert_false(genet__err_prefix(&err, "%s: ", "file"));
    assert_string_equal(err.text, "file: x is 7");
    assert_int_equal(err.code, GENET_ERR_FORMAT);
    genet__err_set(&err, GENET_ERR_FORMAT, "again: %s", err.text);          /* its own text as argument */
    assert_string_equal(err.text, "again: file: x is 7");

    char longest[3000];
    memset(longest, 'a', sizeof longest - 1);
    longest[sizeof longest - 1] = 0;
    genet__err_set(&err, GENET_ERR_IO, "%s", longest);
    assert_int_equal(strlen(err.text), sizeof err.text - 1);
    genet__err_prefix(&err, "%s", longest);
    assert_int_equal(strlen(err.text), sizeof err.text - 1);
}

/* --- strings -------------------------------------------------------------- */

static void test_str(void **state)
{
    (void)state;
    str s = { 0 };
    assert_string_equal(genet__str(&s), "");
    for (int i = 0; i < 500; i++) genet__str_printf(&s, "%d,", i);
    genet__str_add(&s, "end");
    genet__str_add_n(&s, "\0x", 2);
    assert_int_equal(s.n, 10 * 2 + 90 * 3 + 400 * 4 + 3 + 2);
    assert_memory_equal(s.at, "0,1,2,", 6);
    assert_memory_equal(s.at + s.n - 5, "end\0x", 6);
    genet__str_clear(&s);
    assert_string_equal(genet__str(&s), "");
    genet__str_release(&s);

    genet__alloc_fail_after(1);
    for (int i = 0; i < 100; i++) genet__str_add(&s, "abcdefgh");
    genet__alloc_fail_after(-1);
    assert_true(s.failed);
    assert_string_equal(genet__str(&s), "abcdefghabcdefghabcdefgh");
    genet__str_release(&s);
}

static void test_words(void **state)
{
    (void)state;
    static const char *const joined[][3] = {
        { "a", "b", "a/b" }, { "a/", "b", "a/b" }, { "/", "b", "/b" }, { "", "b", "b" }
    };
    for (size_t i = 0; i < sizeof joined / sizeof *joined; i++) {
        char *path = genet__path_join(joined[i][0], joined[i][1]);
        assert_string_equal(path, joined[i][2]);
        genet__free(path);
    }
    assert_int_equal(genet__edit_distance("kitten", "sitting"), 3);
    assert_int_equal(genet__edit_distance("", "abc"), 3);
    assert_int_equal(genet__edit_distance("abc", "abc"), 0);
    assert_int_equal(genet__edit_distance("learning_rate", "lerning_rate"), 1);
    char longest[200] = { 0 };
    memset(longest, 'x', sizeof longest - 1);
    assert_true(genet__edit_distance(longest, "x") > 60);
}

static void test_numbers(void **state)
{
    (void)state;
    int64_t i;
    double x;
    assert_true(genet__parse_int("-9223372036854775808", &i) && i == INT64_MIN);
    assert_true(genet__parse_int("+7", &i) && i == 7);
    static const char *const not_ints[] = { "", " 1", "1 ", "9223372036854775808", "0x10", "1.0", "--1", "-", "+-1" };
    for (size_t k = 0; k < sizeof not_ints / sizeof *not_ints; k++) assert_false(genet__parse_int(not_ints[k], &i));
    assert_true(genet__parse_double("3e-4", &x) && x == 3e-4);
    assert_true(genet__parse_double("-.5", &x) && x == -.5);
    assert_true(genet__parse_double("1e-400", &x) && x == 0);
    static const char *const not_doubles[] = { "", " 1", "1 ", "inf", "nan", "0x1p3", "1e999", "1,5", "e5", ".", "1e" };
    for (size_t k = 0; k < sizeof not_doubles / sizeof *not_doubles; k++)
        assert_false(genet__parse_double(not_doubles[k], &x));

    static const double values[] = { 0, 1, 0.1, 1e-5, 3e-4, 1.0 / 3, 1e22, 5e-324, 1.7976931348623157e308, -2.5 };
    static const char *const texts[] = { "0", "1", "0.1", "1e-05", "0.0003", "0.3333333333333333", "1e+22", "5e-324",
                                         "1.7976931348623157e+308", "-2.5" };
    for (size_t k = 0; k < sizeof values / sizeof *values; k++) {
        char text[32];
        genet__format_double(text, values[k]);
        assert_string_equal(text, texts[k]);
    }
    for (uint64_t k = 0; k < 20000; k++) {          /* random bits read back as themselves */
        uint64_t bits = (uint64_t)genet__rng_u32(1, 2, 3, 2 * k) << 32 | genet__rng_u32(1, 2, 3, 2 * k + 1);
        double value, back;
        char text[32];
        memcpy(&value, &bits, sizeof value);
        if (!isfinite(value)) continue;
        genet__format_double(text, value);
        assert_true(genet__parse_double(text, &back) && memcmp(&back, &value, sizeof value) == 0);
    }
}

/* Every locale of the machine with a decimal comma, were there one. */
static void test_locale(void **state)
{
    (void)state;
    static const char *const names[] = { "de_DE.UTF-8", "fr_FR.UTF-8", "de_DE", "fr_FR", "C.UTF-8" };
    for (size_t k = 0; k < sizeof names / sizeof *names; k++) {
        if (!setlocale(LC_ALL, names[k])) continue;
        double x;
        char text[32];
        str s = { 0 };
        assert_true(genet__parse_double("1.5", &x) && x == 1.5);
        genet__format_double(text, 2.5);
        assert_string_equal(text, "2.5");
        genet__str_printf(&s, "%.2f", 0.25);
        assert_string_equal(genet__str(&s), "0.25");
        genet__str_release(&s);
        setlocale(LC_ALL, "C");
    }
}

static void test_characters(void **state)
{
    (void)state;
    static const struct { const char *s; size_t length; bool whole, open; } cases[] = {
        { "a", 1, true, false }, { "\xc3\xa9x", 2, true, false }, { "\xf0\x9f\x99\x82", 4, true, false },
        { "\xc3", 1, false, true }, { "\xf0\x9f\x99", 3, false, true }, { "\xe2\x82", 2, false, true },
        { "\xe2\x82x", 2, false, false }, { "\xe0\x80", 1, false, false }, { "\xed\xa0\x80", 1, false, false },
        { "\x80", 1, false, false }, { "\xff", 1, false, false },
    };
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        bool whole, open;
        assert_int_equal(genet__utf8_length(cases[k].s, strlen(cases[k].s), &whole, &open), cases[k].length);
        assert_true(whole == cases[k].whole && open == cases[k].open);
    }
    uint32_t c = 0;
    assert_int_equal(genet__utf8_before("a\xc3\xa9", 3, &c), 2);
    assert_int_equal(c, 0xe9);
    assert_int_equal(genet__utf8_before("a\xc3\xa9", 2, &c), 0);        /* half of it */
    assert_int_equal(genet__utf8_before("a", 0, &c), 0);
    str s = { 0 };
    assert_int_equal(genet__utf8_add_whole(&s, "a\xff" "b\xe2\x82", 5), 3);
    genet__utf8_add(&s, "\xe2\x82", 2);
    assert_string_equal(genet__str(&s), "a\xef\xbf\xbd" "b\xef\xbf\xbd");
    genet__str_release(&s);
    assert_true(genet__ends_with("a.gz", ".gz") && genet__ends_with("gz", "gz") && genet__ends_with("x", ""));
    assert_false(genet__ends_with("a.gz ", ".gz") || genet__ends_with("gz", ".gz"));
}

static void test_utf8(void **state)
{
    (void)state;
    for (uint32_t c = 0; c <= 0x110000; c++) {
        char text[4];
        uint32_t back = 0;
        int n = genet__utf8_encode(c, text);
        bool valid = c <= 0x10ffff && !(c >= 0xd800 && c <= 0xdfff);
        assert_int_equal(n > 0, valid);
        if (!valid) continue;
        assert_int_equal(genet__utf8_decode(text, (size_t)n, &back), n);
        assert_int_equal(back, c);
        assert_int_equal(genet__utf8_decode(text, (size_t)n - 1, &back), 0);      /* cut */
    }
    static const char *const bad[] = { "\x80", "\xc0\x80", "\xc1\xbf", "\xe0\x80\x80", "\xed\xa0\x80", "\xf0\x80\x80\x80",
                                       "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xff", "\xc3(", "\xe2\x82(" };
    uint32_t c;
    for (size_t k = 0; k < sizeof bad / sizeof *bad; k++)
        assert_int_equal(genet__utf8_decode(bad[k], strlen(bad[k]), &c), 0);
}

static void test_map(void **state)
{
    (void)state;
    map m = { 0 };
    char key[32];
    assert_null(genet__map_get(&m, "x"));
    for (int i = 0; i < 20000; i++) {
        snprintf(key, sizeof key, "h.%d.weight", i);
        assert_true(genet__map_set(&m, key, i));
    }
    assert_true(genet__map_set(&m, "h.7.weight", -1));
    assert_int_equal(m.n, 20000);
    for (int i = 0; i < 20000; i++) {
        snprintf(key, sizeof key, "h.%d.weight", i);
        assert_int_equal(*genet__map_get(&m, key), i == 7 ? -1 : i);
    }
    assert_null(genet__map_get(&m, "h.20000.weight"));
    genet__map_release(&m);

    for (long fail = 0;; fail++) {                  /* the n-th allocation fails: what was set stays */
        genet__alloc_fail_after(fail);
        int n = 0;
        for (; n < 40; n++) {
            snprintf(key, sizeof key, "%d", n);
            if (!genet__map_set(&m, key, n)) break;
        }
        genet__alloc_fail_after(-1);
        for (int i = 0; i < n; i++) {
            snprintf(key, sizeof key, "%d", i);
            assert_int_equal(*genet__map_get(&m, key), i);
        }
        genet__map_release(&m);
        if (n == 40) break;
    }
}

static void hear(void *user, log_level level, const char *text)
{
    snprintf(user, 100, "%d %s", level, text);
}

static void test_log(void **state)
{
    (void)state;
    char heard[100] = "";
    genet__log(NULL, LOG_INFO, "nobody");
    genet__log(&(log_sink){ hear, heard }, LOG_WARN, "x = %.1f", 0.5);
    assert_string_equal(heard, "2 x = 0.5");
    double before = genet__now_s();
    assert_true(genet__now_s() >= before);
}

static void test_version(void **state)
{
    (void)state;
    const char *version = genet_version();
    assert_true(version[0] >= '0' && version[0] <= '9' && strspn(version, "0123456789.") == strlen(version));
    assert_true(strlen(genet_commit()) > 0);
}

/* --- half floats ---------------------------------------------------------- */

static uint32_t bits_of(float f)
{
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    return u;
}

/* The value of binary16 by its definition. */
static double f16_value(uint16_t h)
{
    int exponent = h >> 10 & 31, fraction = h & 0x3ff;
    double magnitude = exponent ? ldexp(1024 + fraction, exponent - 25) : ldexp(fraction, -24);
    return h & 0x8000 ? -magnitude : magnitude;
}

static void test_f16(void **state)
{
    (void)state;
    for (uint32_t h = 0; h < 0x10000; h++) {
        float f = genet__from_f16((uint16_t)h);
        bool nan = (h & 0x7fff) > 0x7c00;
        if (nan) assert_true(isnan(f));
        else if ((h & 0x7fff) == 0x7c00) assert_true(isinf(f) && !!signbit(f) == (h >> 15 == 1));
        else assert_true((double)f == f16_value((uint16_t)h) && !!signbit(f) == (h >> 15 == 1));
        uint16_t back = genet__to_f16(f);
        assert_int_equal(back, nan ? h | 0x200 : h);
    }
    for (uint32_t h = 0; h < 0x7c00; h++) {         /* around the middle between two neighbours */
        double low = f16_value((uint16_t)h), high = h == 0x7bff ? 65536 : f16_value((uint16_t)(h + 1));
        float middle = (float)((low + high) / 2);
        assert_int_equal(genet__to_f16(middle), h & 1 ? h + 1 : h);
        assert_int_equal(genet__to_f16(nextafterf(middle, 0)), h);
        assert_int_equal(genet__to_f16(nextafterf(middle, INFINITY)), h + 1);
        assert_int_equal(genet__to_f16(-middle), 0x8000 | (h & 1 ? h + 1 : h));
    }
    assert_int_equal(genet__to_f16(1e30f), 0x7c00);
    assert_int_equal(genet__to_f16(0x1p-149f), 0);
}

static void test_bf16(void **state)
{
    (void)state;
    for (uint32_t h = 0; h < 0x10000; h++) {
        float f = genet__from_bf16((uint16_t)h);
        assert_int_equal(bits_of(f), h << 16);
        bool nan = (h & 0x7fff) > 0x7f80;
        assert_int_equal(genet__to_bf16(f), nan ? h | 0x40 : h);
        if ((h & 0x7fff) >= 0x7f80) continue;
        uint32_t u = h << 16;                       /* below, at and above the middle to the next */
        const uint32_t add[3] = { 0x7fff, 0x8000, 0x8001 };
        const uint32_t expected[3] = { h, h + (h & 1), h + 1 };
        for (int k = 0; k < 3; k++) {
            uint32_t v = u + add[k];
            memcpy(&f, &v, sizeof f);
            assert_int_equal(genet__to_bf16(f), expected[k]);
        }
    }
}

/* --- random numbers ------------------------------------------------------- */

/* The known answers of Random123 1.14 (kat_vectors, philox4x32 10). */
static void test_philox(void **state)
{
    (void)state;
    static const uint32_t kat[3][10] = {
        { 0, 0, 0, 0, 0, 0, 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8 },
        { 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff,
          0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd },
        { 0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344, 0xa4093822, 0x299f31d0,
          0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1 }
    };
    for (int k = 0; k < 3; k++) {
        const uint32_t *c = kat[k];
        rng_block b = genet__philox(c[0], c[1], c[2], c[3], c[4], c[5]);
        for (int i = 0; i < 4; i++) assert_int_equal(b.v[i], c[6 + i]);
    }
    uint64_t seed = (uint64_t)0x299f31d0 << 32 | 0xa4093822, block = (uint64_t)0x85a308d3 << 32 | 0x243f6a88;
    for (unsigned i = 0; i < 4; i++)        /* the convention: seed is the key, block stream step the counter */
        assert_int_equal(genet__rng_u32(seed, 0x13198a2e, 0x03707344, (block & (UINT64_MAX >> 2)) * 4 + i),
                         genet__philox(0x243f6a88, 0x05a308d3, 0x13198a2e, 0x03707344, 0xa4093822, 0x299f31d0).v[i]);
}

static void test_draws(void **state)
{
    (void)state;
    enum { N = 200000 };
    double sum[4] = { 0 }, mean = 0, pairs = 0, last = 0;
    long count[10] = { 0 };
    for (uint64_t i = 0; i < N; i++) {
        double u = genet__rng_uniform(7, 1, 0, i), x = genet__rng_normal(7, 2, 0, i), power = 1;
        assert_true(u >= 0 && u < 1);
        mean += u;
        for (int k = 0; k < 4; k++) sum[k] += power *= x;
        pairs += x * last;
        last = x;
        count[genet__rng_below(7, 3, 0, i, 10)]++;
    }
    assert_true(fabs(mean / N - 0.5) < 0.003);                      /* about 5 standard errors each */
    assert_true(fabs(sum[0] / N) < 0.011);
    assert_true(fabs(sum[1] / N - 1) < 0.016);
    assert_true(fabs(sum[2] / N) < 0.044);
    assert_true(fabs(sum[3] / N - 3) < 0.11);
    assert_true(fabs(pairs / N) < 0.011);
    for (int k = 0; k < 10; k++) assert_true(labs(count[k] - N / 10) < 700);
    assert_int_equal(genet__rng_below(1, 1, 1, 1, 1), 0);
    assert_true(genet__rng_unit_open(0) > 0 && genet__rng_unit_open(UINT32_MAX) == 1);
    assert_true(genet__rng_unit(UINT32_MAX) < 1);
    assert_int_equal(genet__rng_stream(""), 0x811c9dc5);            /* FNV-1a's published values */
    assert_int_equal(genet__rng_stream("foobar"), 0xbf9cf968);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_alloc), cmocka_unit_test(test_grow), cmocka_unit_test(test_arena),
        cmocka_unit_test(test_err), cmocka_unit_test(test_str), cmocka_unit_test(test_words),
        cmocka_unit_test(test_numbers), cmocka_unit_test(test_locale), cmocka_unit_test(test_utf8),
        cmocka_unit_test(test_characters),
        cmocka_unit_test(test_map), cmocka_unit_test(test_log), cmocka_unit_test(test_version),
        cmocka_unit_test(test_f16),
        cmocka_unit_test(test_bf16), cmocka_unit_test(test_philox), cmocka_unit_test(test_draws)
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
