/* labels: core
 * test_generate.c - reading through caches equals reading at once, whatever
 * the pieces; later tokens change nothing before them; the window slides;
 * sampling keeps to its limits; evaluation equals its definition. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "infer/generate.h"

enum { WINDOW = 48, V = 20 };

static genet_device    *device;
static genet_workspace *space;
static model           *m;
static arena            scratch;
static genet_err        err;

#define OK(call) do { if (!(call)) fail_msg("%s: %s", #call, err.text); } while (0)

static void set_int(void *config, const char *name, int64_t value)
{
    const field *f = genet__fields_find(genet__family_gpt2.config, name);
    *(int64_t *)((char *)config + f->offset) = value;
}

static int setup(void **state)
{
    (void)state;
    device = genet_device_cpu(1, &err);
    space = genet_workspace_new(device);
    void *config = genet__family_config(&genet__family_gpt2, &scratch, &err);
    set_int(config, "vocab_size", V);
    set_int(config, "n_positions", WINDOW);
    set_int(config, "n_embd", 24);
    set_int(config, "n_layer", 2);
    set_int(config, "n_head", 3);
    m = genet__model_new(&genet__family_gpt2, config, device, 11, &err);
    return m && genet__model_declare(m, &err) && genet__params_place(m->params, &err) &&
           genet__params_fill(m->params, &err) ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    genet__model_free(m);
    genet_workspace_free(space);
    genet_device_free(device);
    genet__arena_release(&scratch);
    return 0;
}

/* Logits of all T positions by one pass without caches: (T, V). */
static void whole(const int32_t *ids, int64_t T, float *out)
{
    graph *g = genet_graph_new();
    net n = { .graph = g, .params = m->params };
    tensor *x = genet_input(g, "x", GENET_I32, GENET_DIMS(1, T));
    tensor *y = genet_copy(m->family->forward(&n, m->config, &(model_inputs){ .x = x }));
    genet_plan *p = genet_compile(g, &y, 1, device, NULL, &err);
    assert_non_null(p);
    OK(genet_plan_attach(p, space, &err));
    OK(genet__params_bind(m->params, g, p, &err));
    OK(genet_plan_write(p, x, ids, (size_t)T * sizeof *ids, &err));
    OK(genet_plan_run(p, &err));
    OK(genet_plan_read(p, y, out, (size_t)(T * V) * sizeof *out, &err));
    genet_plan_free(p);
    genet_graph_free(g);
}

static void text(int32_t *ids, int n)
{
    for (int i = 0; i < n; i++) ids[i] = (int32_t)((i * 7 + i * i) % V);
}

static void close_to(const float *a, const float *b)
{
    for (int i = 0; i < V; i++) assert_true(fabsf(a[i] - b[i]) <= 1e-5f);
}

static void test_cached_equals_uncached(void **state)
{
    (void)state;
    int32_t ids[WINDOW];
    float all[WINDOW * V];
    text(ids, WINDOW);
    whole(ids, WINDOW, all);
    decoder *d = genet__decoder_new(m, space, &err);
    assert_non_null(d);
    /* pieces of one chunk, of less, of more, and single tokens */
    static const int pieces[][6] = { { 48 }, { 1, 1, 1, 45 }, { 32, 16 }, { 5, 40, 1, 2 }, { 33, 1, 1, 13 } };
    for (size_t k = 0; k < sizeof pieces / sizeof *pieces; k++) {
        int at = 0;
        genet__decoder_reset(d);
        for (int i = 0; pieces[k][i]; i++) {
            OK(genet__decoder_read(d, ids + at, pieces[k][i], &err));
            at += pieces[k][i];
            close_to(genet__decoder_logits(d), all + (at - 1) * V);
        }
        assert_int_equal(genet__decoder_position(d), WINDOW);
    }
    int32_t bad = V;
    assert_false(genet__decoder_read(d, &bad, 1, &err));
    genet__decoder_free(d);
}

/* Changing token t+1 leaves the logits up to t bit-equal. */
static void test_causal(void **state)
{
    (void)state;
    int32_t ids[WINDOW];
    float before[WINDOW * V], after[WINDOW * V];
    text(ids, WINDOW);
    whole(ids, WINDOW, before);
    for (int t = 0; t < WINDOW; t += 9) {
        ids[t] = (ids[t] + 1) % V;
        whole(ids, WINDOW, after);
        assert_memory_equal(before, after, (size_t)(t * V) * sizeof *before);
        assert_memory_not_equal(before + t * V, after + t * V, V * sizeof *before);
        ids[t] = (ids[t] + V - 1) % V;
    }
}

/* A full window keeps its newer half, read again from position 0. */
static void test_window_slides(void **state)
{
    (void)state;
    int32_t ids[WINDOW + 5];
    float all[WINDOW * V];
    text(ids, WINDOW + 5);
    decoder *d = genet__decoder_new(m, space, &err);
    OK(genet__decoder_read(d, ids, WINDOW + 5, &err));
    assert_int_equal(genet__decoder_position(d), WINDOW / 2 + 5);
    whole(ids + WINDOW / 2, WINDOW / 2 + 5, all);
    close_to(genet__decoder_logits(d), all + (WINDOW / 2 + 4) * V);
    genet__decoder_free(d);
}

/* --- sampling ------------------------------------------------------------------------- */

/* How often each id is drawn, over evenly spread draws. */
static void shares(const float *logits, const sampling *s, double share[V])
{
    candidate c[V];
    enum { DRAWS = 20000 };
    memset(share, 0, V * sizeof *share);
    for (int i = 0; i < DRAWS; i++) share[genet__sample(logits, c, V, s, (i + 0.5) / DRAWS)] += 1.0 / DRAWS;
}

static void test_sampling(void **state)
{
    (void)state;
    float logits[V];
    double p[V], share[V], sum = 0;
    for (int i = 0; i < V; i++) logits[i] = (float)((i * 13) % V) * 0.3f;      /* id 3 is the likeliest: 39 % 20 = 19 */
    for (int i = 0; i < V; i++) sum += exp((double)logits[i]);
    for (int i = 0; i < V; i++) p[i] = exp((double)logits[i]) / sum;

    shares(logits, &(sampling){ .temperature = 1, .top_p = 1 }, share);
    for (int i = 0; i < V; i++) assert_true(fabs(share[i] - p[i]) < 1e-3);
    shares(logits, &(sampling){ .temperature = 0, .top_p = 1 }, share);
    assert_true(share[3] > 0.999);
    shares(logits, &(sampling){ .temperature = 1, .top_k = 1, .top_p = 1 }, share);
    assert_true(share[3] > 0.999);

    shares(logits, &(sampling){ .temperature = 1, .top_k = 4, .top_p = 1 }, share);
    double four = 0;
    for (int i = 0; i < V; i++) if ((i * 13) % V >= 16) four += p[i];
    for (int i = 0; i < V; i++) assert_true(fabs(share[i] - ((i * 13) % V >= 16 ? p[i] / four : 0)) < 1e-3);

    /* the nucleus: the fewest that hold half of the probability */
    shares(logits, &(sampling){ .temperature = 1, .top_p = 0.5 }, share);
    double kept = 0;
    int n = 0;
    for (int rank = V - 1; kept < 0.5; rank--)
        for (int i = 0; i < V; i++)
            if ((i * 13) % V == rank) kept += p[i], n++;
    int drawn = 0;
    for (int i = 0; i < V; i++) drawn += share[i] > 0;
    assert_int_equal(drawn, n);
    for (int i = 0; i < V; i++)
        if (share[i] > 0) assert_true(fabs(share[i] - p[i] / kept) < 1e-3);

    /* both: top-k first, the nucleus among those */
    shares(logits, &(sampling){ .temperature = 1, .top_k = 4, .top_p = 0.01 }, share);
    assert_true(share[3] > 0.999);
    shares(logits, &(sampling){ .temperature = 100, .top_p = 1 }, share);
    for (int i = 0; i < V; i++) assert_true(fabs(share[i] - 1.0 / V) < 2e-3);
}

/* Equal logits: selection and order go by id. */
static void test_ties(void **state)
{
    (void)state;
    float logits[V] = {0};
    candidate c[V];
    sampling s = { .temperature = 1, .top_k = 5, .top_p = 1 };
    for (int i = 0; i < 5; i++) assert_int_equal(genet__sample(logits, c, V, &s, (i + 0.5) / 5), i);
    assert_int_equal(genet__sample(logits, c, V, &s, 0.9999999), 4);
}

/* Damaged weights: the choice stays within the candidates. */
static void test_not_finite(void **state)
{
    (void)state;
    float logits[V];
    candidate c[V];
    for (int bad = 1; bad <= V; bad++) {
        for (int i = 0; i < V; i++) logits[i] = i % 3 && i < bad ? NAN : (float)i;
        for (int k = 0; k < 6; k++) {
            int32_t id = genet__sample(logits, c, V, &(sampling){ .temperature = 1, .top_k = k, .top_p = k & 1 ? 0.5 : 1 }, 0.7);
            assert_true(id >= 0 && id < V);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cached_equals_uncached), cmocka_unit_test(test_causal), cmocka_unit_test(test_window_slides),
        cmocka_unit_test(test_sampling), cmocka_unit_test(test_ties), cmocka_unit_test(test_not_finite),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
