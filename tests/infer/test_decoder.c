/* labels: core
 * test_decoder.c - reading through caches equals reading at once, whatever the beginning, the rows
 * and where they go on from; later tokens change nothing before them; the window slides; what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <string.h>
#include "infer/generate.h"

enum { WINDOW = 48, LONG = 150, V = 20 };

static genet_device    *device;
static genet_workspace *space;
static model           *m;
static arena            strings;
static genet_err        err;

#define OK(call) do { if (!(call)) fail_msg("%s: %s", #call, err.text); } while (0)

static void set_int(void *config, const char *name, int64_t value)
{
    const field *f = genet__fields_find(genet__family_gpt2.config, name);
    *(int64_t *)((char *)config + f->offset) = value;
}

static model *make_model(int64_t window)
{
    void *config = genet__family_config(&genet__family_gpt2, &strings, &err);
    set_int(config, "vocab_size", V);
    set_int(config, "n_positions", window);
    set_int(config, "n_embd", 24);
    set_int(config, "n_layer", 2);
    set_int(config, "n_head", 3);
    model *made = genet__model_new(&genet__family_gpt2, config, device, 11, &err);
    bool ok = made && genet__model_declare(made, &err) && genet__params_place(made->params, &err) &&
              genet__params_fill(made->params, &err);
    return ok ? made : NULL;
}

static int setup(void **state)
{
    (void)state;
    device = genet_device_cpu(1, &err);
    space = genet_workspace_new(device);
    m = make_model(WINDOW);
    return m ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    genet__model_free(m);
    genet_workspace_free(space);
    genet_device_free(device);
    genet__arena_release(&strings);
    return 0;
}

/* Logits of all T positions by one pass without caches: (T, V). */
static void whole(const int32_t *ids, int64_t T, float *out)
{
    graph *g = genet_graph_new();
    net n = { .graph = g, .params = m->params };
    tensor *x = genet_input(g, "x", GENET_I32, GENET_DIMS(1, T));
    tensor *y = genet_copy(genet__model_forward(m, &n, &(model_inputs){ .x = x }));
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

/* What the model says after these n ids. */
static void after(const int32_t *ids, int64_t n, float out[V])
{
    static float all[WINDOW * V];
    whole(ids, n, all);
    memcpy(out, all + (n - 1) * V, V * sizeof *out);
}

static void text(int32_t *ids, int n)
{
    for (int i = 0; i < n; i++) ids[i] = (int32_t)((i * 7 + i * i) % V);
}

static void close_to(const float *a, const float *b)
{
    for (int i = 0; i < V; i++) assert_true(fabsf(a[i] - b[i]) <= 1e-5f);
}

/* --- the decoder ------------------------------------------------------------------------ */

static void test_cached_equals_uncached(void **state)
{
    (void)state;
    static const int beginnings[] = { 1, 2, 5, 31, 32, 33, 47, 48 };
    int32_t ids[WINDOW];
    float all[WINDOW * V];
    text(ids, WINDOW);
    whole(ids, WINDOW, all);
    decoder *d = genet__decoder_new(m, space, 1, &err);
    assert_non_null(d);
    for (size_t k = 0; k < sizeof beginnings / sizeof *beginnings; k++) {
        int at = beginnings[k];
        OK(genet__decoder_begin(d, ids, at, &err));
        close_to(genet__decoder_logits(d), all + (at - 1) * V);
        for (; at < WINDOW; at++) {
            OK(genet__decoder_step(d, ids + at, NULL, &err));
            close_to(genet__decoder_logits(d), all + at * V);
        }
        assert_int_equal(genet__decoder_position(d), WINDOW);
    }
    genet__decoder_free(d);
}

/* Changing token t+1 leaves the logits up to t bit-equal. */
static void test_causal(void **state)
{
    (void)state;
    int32_t ids[WINDOW];
    float before[WINDOW * V], changed[WINDOW * V];
    text(ids, WINDOW);
    whole(ids, WINDOW, before);
    for (int t = 0; t < WINDOW; t += 9) {
        ids[t] = (ids[t] + 1) % V;
        whole(ids, WINDOW, changed);
        assert_memory_equal(before, changed, (size_t)(t * V) * sizeof *before);
        assert_memory_not_equal(before + t * V, changed + t * V, V * sizeof *before);
        ids[t] = (ids[t] + V - 1) % V;
    }
}

/* Rows that go on from each other, through two slides of the window (which keeps the newer half):
 * each says what its own text says. */
static void follow_rows(int B)
{
    int32_t held[8][WINDOW], was[8][WINDOW], ids[8], parent[8];
    float want[V];
    uint32_t seed = 7;
    int64_t n = 5;
    decoder *d = genet__decoder_new(m, space, B, &err);
    assert_int_equal(genet__decoder_rows(d), B);
    for (int b = 0; b < B; b++) text(held[b], (int)n);
    OK(genet__decoder_begin(d, held[0], n, &err));
    for (int i = 0; i < 80; i++) {
        memcpy(was, held, sizeof was);
        for (int b = 0; b < B; b++) {
            ids[b] = (int32_t)((seed = seed * 1664525 + 1013904223) >> 8) % V;
            parent[b] = i % 3 ? (int32_t)(seed >> 16) % B : b;
            memcpy(held[b], was[parent[b]], sizeof held[b]);
            if (n == WINDOW) memmove(held[b], held[b] + WINDOW / 2, WINDOW / 2 * sizeof *held[b]);
            held[b][n == WINDOW ? WINDOW / 2 : n] = ids[b];
        }
        n = n == WINDOW ? WINDOW / 2 + 1 : n + 1;
        OK(genet__decoder_step(d, ids, i % 3 ? parent : NULL, &err));
        assert_int_equal(genet__decoder_position(d), n);
        for (int b = 0; b < B; b++) {
            after(held[b], n, want);
            close_to(genet__decoder_logits(d) + b * V, want);
        }
    }
    genet__decoder_free(d);
}

static void test_rows(void **state)
{
    (void)state;
    follow_rows(1);
    follow_rows(2);
    follow_rows(5);
}

/* The last tokens of a prompt longer than the window. */
static void test_long_prompt(void **state)
{
    (void)state;
    int32_t ids[3 * WINDOW];
    float want[V];
    text(ids, 3 * WINDOW);
    after(ids + 2 * WINDOW, WINDOW, want);
    decoder *d = genet__decoder_new(m, space, 2, &err);
    OK(genet__decoder_begin(d, ids, 3 * WINDOW, &err));
    assert_int_equal(genet__decoder_position(d), WINDOW);
    close_to(genet__decoder_logits(d), want);
    close_to(genet__decoder_logits(d) + V, want);
    genet__decoder_free(d);
}

/* Whatever was read before, a beginning answers the same bits; of a long one only the end is read again. */
static void begin_is_exact(const model *of, int64_t window, int B)
{
    int32_t ids[LONG], next[3] = { 4, 5, 6 }, parent[3] = { 0, 0, 0 };
    float fresh[V];
    uint32_t seed = 3;
    decoder *used = genet__decoder_new(of, space, B, &err), *d = genet__decoder_new(of, space, B, &err);
    for (int i = 0; i < 300; i++) {
        seed = seed * 1664525 + 1013904223;
        int before = 1 + (int)((seed >> 8) % (uint32_t)window), n = 1 + (int)((seed >> 20) % (uint32_t)window);
        int same = i % 3 ? (int)(seed >> 4) % (n + 1) : n;
        text(ids, (int)window);
        OK(genet__decoder_begin(used, ids, before, &err));
        for (int k = 0; k < i % 5 * 8; k++) OK(genet__decoder_step(used, next, k % 2 ? parent : NULL, &err));
        for (int k = same; k < n; k++) ids[k] = (ids[k] + 3) % V;
        int32_t other = (ids[0] + 1) % V;
        OK(genet__decoder_begin(d, &other, 1, &err));           /* shares nothing with ids */
        OK(genet__decoder_begin(d, ids, n, &err));
        memcpy(fresh, genet__decoder_logits(d), sizeof fresh);
        OK(genet__decoder_begin(used, ids, n, &err));
        assert_memory_equal(fresh, genet__decoder_logits(used), sizeof fresh);
        OK(genet__decoder_begin(used, ids, n, &err));
        assert_memory_equal(fresh, genet__decoder_logits(used), sizeof fresh);
    }
    genet__decoder_free(used);
    genet__decoder_free(d);
}

static void test_begin_is_exact(void **state)
{
    (void)state;
    static const int64_t windows[] = { 7, 33, LONG };
    for (int i = 0; i < 3; i++) {
        model *of = make_model(windows[i]);
        begin_is_exact(of, windows[i], 1);
        begin_is_exact(of, windows[i], 3);
        genet__model_free(of);
    }
}

/* Whole chunks that two texts share are not read again: keys of other weights are still there. */
static void test_begin_reads_once(void **state)
{
    (void)state;
    enum { BIAS = 72 };
    int32_t ids[WINDOW];
    float good[BIAS], other[BIAS], want[V];
    param *w = genet__params_find(m->params, "transformer.h.0.attn.c_attn.bias");
    decoder *used = genet__decoder_new(m, space, 1, &err), *d = genet__decoder_new(m, space, 1, &err);
    text(ids, WINDOW);
    OK(genet__params_read(m->params, w, good, sizeof good, &err));
    for (int i = 0; i < BIAS; i++) other[i] = (float)(i % 7) * 0.3f;
    OK(genet__decoder_begin(used, ids, 40, &err));
    OK(genet__params_write(m->params, w, other, sizeof other, &err));
    OK(genet__decoder_begin(d, ids, 41, &err));
    memcpy(want, genet__decoder_logits(d), sizeof want);
    OK(genet__decoder_begin(used, ids, 41, &err));
    assert_memory_not_equal(genet__decoder_logits(used), want, sizeof want);
    ids[31]++;
    OK(genet__decoder_begin(used, ids, 41, &err));
    OK(genet__decoder_begin(d, ids, 41, &err));
    assert_memory_equal(genet__decoder_logits(used), genet__decoder_logits(d), sizeof want);
    OK(genet__params_write(m->params, w, good, sizeof good, &err));
    genet__decoder_free(used);
    genet__decoder_free(d);
}

/* What a longer text read as a chunk is read again where a shorter one reads parts, whatever they share: both
 * decoders keep one chunk of the old weights and nothing after it. */
static void test_begin_after_longer(void **state)
{
    (void)state;
    enum { BIAS = 72 };
    int32_t ids[LONG], other[LONG];
    float bias[BIAS], want[V];
    model *of = make_model(LONG);
    param *w = genet__params_find(of->params, "transformer.h.0.attn.c_attn.bias");
    decoder *used = genet__decoder_new(of, space, 1, &err), *d = genet__decoder_new(of, space, 1, &err);
    text(ids, LONG);
    memcpy(other, ids, sizeof ids);
    for (int i = 32; i < LONG; i++) other[i] = (ids[i] + 1) % V;
    OK(genet__decoder_begin(used, ids, 100, &err));
    OK(genet__decoder_begin(d, other, 40, &err));
    for (int i = 0; i < BIAS; i++) bias[i] = (float)(i % 7) * 0.3f;
    OK(genet__params_write(of->params, w, bias, sizeof bias, &err));
    OK(genet__decoder_begin(d, ids, 60, &err));
    memcpy(want, genet__decoder_logits(d), sizeof want);
    OK(genet__decoder_begin(used, ids, 60, &err));
    assert_memory_equal(genet__decoder_logits(used), want, sizeof want);
    genet__decoder_free(used);
    genet__decoder_free(d);
    genet__model_free(of);
}

static void test_decoder_refuses(void **state)
{
    (void)state;
    int32_t ids[2] = { 1, V }, good[2] = { 1, 2 }, parent[2] = { 0, 2 };
    decoder *d = genet__decoder_new(m, space, 2, &err);
    assert_false(genet__decoder_step(d, good, NULL, &err));
    assert_false(genet__decoder_begin(d, ids, 2, &err));
    assert_non_null(strstr(err.text, "token 20"));
    assert_false(genet__decoder_begin(d, good, 0, &err));
    OK(genet__decoder_begin(d, good, 2, &err));
    assert_false(genet__decoder_step(d, ids, NULL, &err));
    assert_false(genet__decoder_step(d, good, parent, &err));
    assert_non_null(strstr(err.text, "row 2"));
    OK(genet__decoder_step(d, good, NULL, &err));
    genet__decoder_free(d);
    model *table = genet__model_new(&genet__family_mlp, NULL, device, 1, &err);
    assert_null(genet__decoder_new(table, space, 1, &err));
    genet__model_free(table);
}

/* Damaged weights are named, and the decoder can be used again when they are whole. */
static void test_not_finite(void **state)
{
    (void)state;
    int32_t ids[2] = { 1, 2 };
    decoder *d = genet__decoder_new(m, space, 2, &err);
    param *w = genet__params_find(m->params, "transformer.ln_f.bias");
    float good[24], bad[24];
    OK(genet__params_read(m->params, w, good, sizeof good, &err));
    memcpy(bad, good, sizeof bad);
    bad[3] = NAN;
    OK(genet__decoder_begin(d, ids, 2, &err));
    OK(genet__params_write(m->params, w, bad, sizeof bad, &err));
    assert_false(genet__decoder_step(d, ids, NULL, &err));
    assert_int_equal(err.code, GENET_ERR_FORMAT);
    assert_non_null(strstr(err.text, "not finite"));
    assert_false(genet__decoder_begin(d, ids, 2, &err));
    OK(genet__params_write(m->params, w, good, sizeof good, &err));
    OK(genet__decoder_begin(d, ids, 2, &err));
    genet__decoder_free(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cached_equals_uncached), cmocka_unit_test(test_causal), cmocka_unit_test(test_rows),
        cmocka_unit_test(test_long_prompt), cmocka_unit_test(test_begin_is_exact), cmocka_unit_test(test_begin_reads_once),
        cmocka_unit_test(test_begin_after_longer),
        cmocka_unit_test(test_decoder_refuses), cmocka_unit_test(test_not_finite),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
