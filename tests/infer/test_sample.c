/* labels: core
 * test_sample.c - choosing: what is kept and how likely it is equals transformers (tools/
 * golden_generate.py); penalties equal their formulas; draws follow the probabilities; nothing that
 * is no number leads outside the vocabulary. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "format/safetensors.h"
#include "golden/golden.h"
#include "infer/generate.h"

enum { V = 300, SMALL = 20 };
static genet_err err;
static arena     strings;

/* All defaults but for temperature 1. */
static generation_options plain(void)
{
    generation_options o;
    assert_true(genet__fields_defaults(&genet__generation_fields, &o, &strings, &err));
    o.temperature = 1;
    return o;
}

static generation_options from_json(const json_t *j)
{
    generation_options o = plain();
    if (!genet__fields_from_json(&genet__generation_fields, &o, j, "golden", &strings, &err)) fail_msg("%s", err.text);
    return o;
}

static const void *golden_data(const safetensors *st, const char *name, size_t size_bytes)
{
    const safetensor *e = genet__safetensors_find(st, name);
    assert_non_null(e);
    assert_int_equal(e->size_bytes, size_bytes);
    return e->at;
}

static void test_golden_probabilities(void **state)
{
    (void)state;
    safetensors st;
    json_t *cases = genet__json_read(golden_path("generate/sample.json"), 1 << 20, &err);
    assert_true(genet__safetensors_open(&st, golden_path("generate/sample.safetensors"), &err));
    assert_true(json_array_size(cases) > 30);
    for (size_t i = 0; i < json_array_size(cases); i++) {
        const json_t *one = json_array_get(cases, i);
        generation_options o = from_json(json_object_get(one, "options"));
        char name[40];
        snprintf(name, sizeof name, "probability.%zu", i);
        const double *want = golden_data(&st, name, V * sizeof *want);
        const float *logits = golden_data(&st, "logits", 3 * V * sizeof *logits);
        logits += V * json_integer_value(json_object_get(one, "row"));
        candidate c[V];
        double got[V] = {0}, sum = 0;
        choice_set s = genet__sample_among(logits, c, V, &o);
        for (int64_t k = 0; k < s.n; k++) {
            assert_true(got[c[k].id] == 0 && logits[c[k].id] == c[k].logit);
            got[c[k].id] = genet__sample_weight(&s, &c[k]) / s.total;
            sum += got[c[k].id];
        }
        assert_true(fabs(sum - 1) < 1e-12);
        for (int k = 0; k < V; k++)
            if ((got[k] > 0) != (want[k] > 0) || fabs(got[k] - want[k]) > 1e-9)
                fail_msg("setting %zu, token %d: %.12g, transformers has %.12g", i, k, got[k], want[k]);
    }
    genet__safetensors_close(&st);
    json_decref(cases);
}

static void test_golden_adjusting(void **state)
{
    (void)state;
    safetensors st;
    json_t *j = genet__json_read(golden_path("generate/adjust.json"), 1 << 20, &err);
    const json_t *cases = json_object_get(j, "options"), *ids = json_object_get(j, "text");
    assert_true(genet__safetensors_open(&st, golden_path("generate/adjust.safetensors"), &err));
    int32_t text[100];
    int64_t n = (int64_t)json_array_size(ids);
    for (int64_t i = 0; i < n; i++) text[i] = (int32_t)json_integer_value(json_array_get(ids, (size_t)i));
    for (size_t i = 0; i < json_array_size(cases); i++) {
        generation_options o = from_json(json_array_get(cases, i));
        char name[40];
        float got[V];
        snprintf(name, sizeof name, "adjusted.%zu", i);
        const float *want = golden_data(&st, name, sizeof got);
        memcpy(got, golden_data(&st, "raw", sizeof got), sizeof got);
        genet__adjust_logits(got, V, text, n, n / 2, &o);
        for (int k = 0; k < V; k++)
            if (got[k] != want[k] && !(fabsf(got[k] - want[k]) < 1e-5f))
                fail_msg("setting %zu, token %d: %.9g, transformers has %.9g", i, k, (double)got[k], (double)want[k]);
    }
    genet__safetensors_close(&st);
    json_decref(j);
}

/* logit - count * frequency - (count > 0) * presence, over what follows the prompt; ids in several blocks. */
static void test_counted_penalties(void **state)
{
    (void)state;
    enum { WIDE = 200000 };
    static const int32_t text[] = { 7, 7, 9, /* the prompt ends */ 7, 150000, 8, 150000, 150000, 65536, 8191, 8192 };
    float *logits = calloc(WIDE, sizeof *logits);
    generation_options o = plain();
    o.frequency_penalty = 0.5;
    o.presence_penalty = 0.25;
    genet__adjust_logits(logits, WIDE, text, 11, 3, &o);
    for (int i = 0; i < WIDE; i++) {
        int count = i == 150000 ? 3 : i == 7 || i == 8 || i == 65536 || i == 8191 || i == 8192;
        assert_true(logits[i] == (count ? -0.25f - 0.5f * (float)count : 0));
    }
    o = plain();
    o.repetition_penalty = 2;
    for (int i = 0; i < WIDE; i++) logits[i] = i % 2 ? 3 : -3;
    genet__adjust_logits(logits, WIDE, text, 11, 3, &o);
    assert_true(logits[7] == 1.5f && logits[150000] == -6 && logits[65536] == -6 && logits[9] == 1.5f && logits[11] == 3);
    free(logits);
}

/* --- drawing ---------------------------------------------------------------------------- */

/* How often each id is drawn, over evenly spread draws. */
static void shares(const float *logits, const generation_options *o, double share[SMALL])
{
    candidate c[SMALL];
    enum { DRAWS = 20000 };
    memset(share, 0, SMALL * sizeof *share);
    for (int i = 0; i < DRAWS; i++) share[genet__sample(logits, c, SMALL, o, (i + 0.5) / DRAWS)] += 1.0 / DRAWS;
}

static void test_draws(void **state)
{
    (void)state;
    float logits[SMALL];
    double p[SMALL], share[SMALL], sum = 0;
    generation_options o = plain();
    for (int i = 0; i < SMALL; i++) logits[i] = (float)((i * 13) % SMALL) * 0.3f;       /* id 3 is the likeliest */
    for (int i = 0; i < SMALL; i++) sum += exp((double)logits[i]);
    for (int i = 0; i < SMALL; i++) p[i] = exp((double)logits[i]) / sum;
    assert_true(fabs(genet__log_sum_exp(logits, SMALL) - log(sum)) < 1e-12);

    shares(logits, &o, share);
    for (int i = 0; i < SMALL; i++) assert_true(fabs(share[i] - p[i]) < 1e-3);
    o.temperature = 0;
    shares(logits, &o, share);
    assert_true(share[3] > 0.999);
    o = plain();
    o.top_k = 1;
    shares(logits, &o, share);
    assert_true(share[3] > 0.999);
    o = plain();
    o.temperature = 100;
    shares(logits, &o, share);
    for (int i = 0; i < SMALL; i++) assert_true(fabs(share[i] - 1.0 / SMALL) < 2e-3);
    o = plain();
    o.temperature = 1e-300;
    shares(logits, &o, share);
    assert_true(share[3] > 0.999);
}

/* Equals of the k-th stay, as in transformers; order goes by id. */
static void test_ties(void **state)
{
    (void)state;
    float logits[SMALL] = {0};
    candidate c[SMALL], top[SMALL];
    generation_options o = plain();
    o.top_k = 5;
    for (int i = 0; i < SMALL; i++) assert_int_equal(genet__sample(logits, c, SMALL, &o, (i + 0.5) / SMALL), i);
    assert_int_equal(genet__sample(logits, c, SMALL, &o, 0.9999999), SMALL - 1);
    logits[11] = 1;
    genet__likeliest(logits, c, SMALL, 3, top);
    assert_true(top[0].id == 11 && top[1].id == 0 && top[2].id == 1);
    genet__likeliest(logits, c, SMALL, SMALL, top);
    assert_true(top[0].id == 11 && top[19].id == 19);
}

/* The first k by runs of maxima are the first k by sorting, at sizes around those runs. */
static void test_many(void **state)
{
    (void)state;
    enum { MOST = 5000 };
    static float logits[MOST];
    static candidate c[MOST], top[MOST];
    uint32_t seed = 1;
    for (int n = 1; n <= MOST; n = n * 2 + n % 3)
        for (int k = 1; k <= n; k = k * 3 + 1) {
            for (int i = 0; i < n; i++) logits[i] = (float)((seed = seed * 1664525 + 1013904223) >> 8 & 1023) - 500;
            genet__likeliest(logits, c, n, k, top);
            for (int i = 0; i < k; i++) {
                int before = 0;
                for (int j = 0; j < n; j++)
                    before += logits[j] > top[i].logit || (logits[j] == top[i].logit && j < top[i].id);
                if (before != i) fail_msg("of %d, place %d of %d has rank %d", n, i, k, before);
            }
        }
}

/* Banned tokens are never drawn; damaged logits stay within the vocabulary. */
static void test_not_finite(void **state)
{
    (void)state;
    float logits[SMALL];
    candidate c[SMALL];
    generation_options o = plain();
    for (int i = 0; i < SMALL; i++) logits[i] = i < 10 ? (float)-i : -INFINITY;
    for (int k = 0; k < SMALL; k++) {
        o.top_k = k;
        assert_true(genet__sample(logits, c, SMALL, &o, 0.999999999999) < 10);
    }
    for (int i = 0; i < SMALL; i++) logits[i] = -INFINITY;
    assert_int_equal(genet__sample(logits, c, SMALL, &o, 0.5), 0);
    for (int bad = 1; bad <= SMALL; bad++) {
        for (int i = 0; i < SMALL; i++) logits[i] = i % 3 && i < bad ? NAN : (float)i;
        for (int k = 0; k < 12; k++) {
            o = plain();
            o.top_k = k / 2;
            o.top_p = k & 1 ? 0.5 : 1;
            o.typical_p = k & 2 ? 0.5 : 1;
            o.min_p = k & 4 ? 0.5 : 0;
            int32_t id = genet__sample(logits, c, SMALL, &o, 0.7);
            assert_true(id >= 0 && id < SMALL);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden_probabilities), cmocka_unit_test(test_golden_adjusting),
        cmocka_unit_test(test_counted_penalties), cmocka_unit_test(test_draws), cmocka_unit_test(test_ties),
        cmocka_unit_test(test_many), cmocka_unit_test(test_not_finite),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    genet__arena_release(&strings);
    return failed;
}
