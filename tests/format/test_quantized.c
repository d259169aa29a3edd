/* labels: core
 * test_quantized.c - weights in blocks: what safetensors' metadata may not say of them; a model written in blocks is used
 * where it lies, and answers almost as before; what is damaged or not for learning is refused in words. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/alloc.h"
#include "base/quant.h"
#include "base/str.h"
#include "model/model.h"

enum { B = 2, T = 12, V = 40, N_LOGITS = B * T * V, KINDS = PARAM_WEIGHT | PARAM_BUFFER };

static genet_err err;
static genet_device *device;
static char work[] = "/tmp/genet-test-quantized-XXXXXX";

#define OK(call) do { if (!(call)) fail_msg("%s: %s", #call, err.text); } while (0)

static const char *in_work(const char *name)
{
    static char path[4][300];
    static int turn;
    turn = (turn + 1) % 4;
    snprintf(path[turn], sizeof path[turn], "%s/%s", work, name);
    return path[turn];
}

/* --- what lies is refused -------------------------------------------------------------- */

#define U8(rows, bytes, n) "\"w\":{\"dtype\":\"U8\",\"shape\":[" #rows "," #bytes "],\"data_offsets\":[0," #n "]}"
#define SAYS(text) "{\"__metadata__\":{\"genet.quantized\":\"" text "\"},"
#define W(type, shape, more) "{\\\"w\\\":{\\\"type\\\":\\\"" type "\\\",\\\"shape\\\":" shape more "}}"

static const struct { const char *header; int n_data; const char *words; } broken[] = {
    { SAYS("nonsense") U8(2, 34, 68) "}", 68, "" },
    { SAYS("[]") U8(2, 34, 68) "}", 68, "is no JSON object" },
    { SAYS("{\\\"v\\\":{\\\"type\\\":\\\"q8_0\\\",\\\"shape\\\":[2,32]}}") U8(2, 34, 68) "}", 68, "no such tensor" },
    { SAYS("{\\\"w\\\":3}") U8(2, 34, 68) "}", 68, "its \"type\" is neither" },
    { SAYS(W("q5_0", "[2,32]", "")) U8(2, 34, 68) "}", 68, "its \"type\" is neither" },
    { SAYS(W("f32", "[2,32]", "")) U8(2, 34, 68) "}", 68, "its \"type\" is neither" },
    { SAYS(W("q8_0", "[2,32,1]", "")) U8(2, 34, 68) "}", 68, "no pair of sizes" },
    { SAYS(W("q8_0", "[2,-32]", "")) U8(2, 34, 68) "}", 68, "no pair of sizes" },
    { SAYS(W("q8_0", "[2,32.0]", "")) U8(2, 34, 68) "}", 68, "no pair of sizes" },
    { SAYS(W("q8_0", "[2,33]", "")) U8(2, 34, 68) "}", 68, "no whole blocks" },
    { SAYS(W("q8_0", "[4611686018427387904,32]", "")) U8(2, 34, 68) "}", 68, "no whole blocks" },
    { SAYS(W("q8_0", "[32,4611686018427387904]", "")) U8(2, 34, 68) "}", 68, "no whole blocks" },
    { SAYS(W("q8_0", "[3,32]", "")) U8(2, 34, 68) "}", 68, "is not U8 with the rows" },
    { SAYS(W("q8_0", "[2,64]", "")) U8(2, 34, 68) "}", 68, "is not U8 with the rows" },
    { SAYS(W("q4_0", "[2,32]", "")) U8(2, 34, 68) "}", 68, "is not U8 with the rows" },
    { SAYS(W("q8_0", "[2,32]", ",\\\"transposed\\\":true")) U8(2, 34, 68) "}", 68, "no whole blocks" },
    { SAYS(W("q8_0", "[2,32]", ",\\\"transposed\\\":1")) U8(2, 34, 68) "}", 68, "neither true nor false" },
    { SAYS(W("q8_0", "[32,64]", ",\\\"transposed\\\":true")) U8(2, 34, 68) "}", 68, "is not U8 with the rows" },
    { SAYS(W("q8_0", "[2,32]", "")) "\"w\":{\"dtype\":\"BOOL\",\"shape\":[2,34],\"data_offsets\":[0,68]}}", 68, "is not U8" },
    { SAYS(W("q8_0", "[2,32]", "")) "\"w\":{\"dtype\":\"U8\",\"shape\":[68],\"data_offsets\":[0,68]}}", 68, "is not U8" },
};

static size_t assemble(unsigned char *out, const char *header, int n_data)
{
    size_t n = strlen(header);
    for (int i = 0; i < 8; i++) out[i] = (unsigned char)((uint64_t)n >> 8 * i);
    memcpy(out + 8, header, n);
    memset(out + 8 + n, 0, (size_t)n_data);
    return 8 + n + (size_t)n_data;
}

static void test_broken_metadata(void **state)
{
    (void)state;
    unsigned char bytes[2000];
    safetensors s;
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        size_t n = assemble(bytes, broken[i].header, broken[i].n_data);
        err.text[0] = 0;
        if (genet__safetensors_parse(&s, bytes, n, "file", &err)) fail_msg("%zu is taken: %s", i, broken[i].header);
        if (!err.text[0] || !strstr(err.text, broken[i].words)) fail_msg("%zu: \"%s\", not \"%s\"", i, err.text, broken[i].words);
    }
}

/* In rows and as a transpose; a scale that is no number is found. */
static void test_blocks_are_read(void **state)
{
    (void)state;
    unsigned char bytes[2000];
    for (int turned = 0; turned < 2; turned++) {
        safetensors s;
        size_t n = assemble(bytes, turned ? SAYS(W("q8_0", "[32,2]", ",\\\"transposed\\\":true")) U8(2, 34, 68) "}"
                                          : SAYS(W("q8_0", "[2,32]", "")) U8(2, 34, 68) "}", 68);
        quant_q8_0 b[2] = { { 0x3c00, { 1, 2, 3 } }, { 0x4000, { 4, 5 } } };        /* scales 1 and 2 */
        memcpy(bytes + n - 68, b, sizeof b);
        OK(genet__safetensors_parse(&s, bytes, n, "file", &err));
        const safetensor *w = genet__safetensors_find(&s, "w");
        float x[64];
        assert_int_equal(w->dtype, GENET_Q8_0);
        assert_int_equal(w->numel, 64);
        assert_true(genet__safetensor_to_f32(w, x));
        assert_true(x[0] == 1 && x[turned ? 4 : 2] == 3 && x[turned ? 1 : 32] == 8 && x[turned ? 3 : 33] == 10 && x[63] == 0);
        assert_int_equal(genet__safetensor_first_nonfinite(w), -1);
        bytes[n - 34] = 0, bytes[n - 33] = 0x7c;
        assert_int_equal(genet__safetensor_first_nonfinite(w), 32);
        genet__safetensors_close(&s);
    }
}

/* --- a model --------------------------------------------------------------------------- */

/* 32 wide inside of 64: rows of one block and of several. */
static model *fresh_model(void)
{
    json_t *config = json_pack("{s:s, s:i, s:i, s:i, s:i, s:i, s:f}", "model_type", "gpt2", "vocab_size", V, "n_positions", 16,
                               "n_embd", 32, "n_layer", 2, "n_head", 2, "initializer_range", 0.3);
    model *m = genet__model_from_config(config, "config", device, &err);
    json_decref(config);
    OK(m && genet__model_declare(m, &err) && genet__params_place(m->params, &err) && genet__params_fill(m->params, &err));
    return m;
}

static void write_model(const model *m, genet_dtype type)
{
    int n;
    OK(genet__file_remove_tree(work, &err) && genet__file_make_dirs(work, &err) && genet__model_write_config(m, work, &err));
    OK(genet__weights_write_as(m->params, KINDS, work, &(weight_types){ GENET_F32, type, type }, INT64_MAX, &n, &err));
}

static void logits_of(model *m, float *out)
{
    int32_t ids[B * T];
    for (int i = 0; i < B * T; i++) ids[i] = i * 7 % V;
    genet_graph *g = genet_graph_new();
    genet_workspace *w = genet_workspace_new(m->params->device);
    net n = { .graph = g, .params = m->params };
    tensor *x = genet_input(g, "x", GENET_I32, GENET_DIMS(B, T));
    tensor *logits = genet__model_forward(m, &n, &(model_inputs){ .x = x });
    OK(genet__graph_ok(g, &err));
    genet_plan *p = genet_compile(g, &logits, 1, m->params->device, NULL, &err);
    OK(p && genet__params_bind(m->params, g, p, &err) && genet_plan_attach(p, w, &err));
    OK(genet_plan_write(p, x, ids, sizeof ids, &err));
    OK(genet_plan_run(p, &err) && genet_plan_read(p, logits, out, N_LOGITS * sizeof *out, &err));
    genet_plan_free(p);
    genet_workspace_free(w);
    genet_graph_free(g);
}

/* Root of the mean square, as a part of that of `want`. */
static double distance(const float *got, const float *want)
{
    double off = 0, all = 0;
    for (int i = 0; i < N_LOGITS; i++) {
        off += ((double)got[i] - (double)want[i]) * ((double)got[i] - (double)want[i]);
        all += (double)want[i] * (double)want[i];
    }
    return sqrt(off / all);
}

/* bound: of what the type loses; widened: of products of it beside those of the same numbers in f32. With blocks of
 * weights the other side is rounded too, to one part in 254 of the largest of 32. */
static const struct { genet_dtype type; double bound, widened; } stored[] = {
    { GENET_F16, 1e-3, 6e-3 }, { GENET_BF16, 1e-2, 6e-3 }, { GENET_Q8_0, 3e-2, 3e-2 }, { GENET_Q4_0, 0.4, 3e-2 },
};
enum { N_STORED = sizeof stored / sizeof *stored };

/* Nothing is copied; a device that cannot read the host's memory copies bytes, and answers the same bits. */
static void test_used_in_place(void **state)
{
    (void)state;
    float want[N_LOGITS], got[N_LOGITS], guarded[N_LOGITS];
    model *m = fresh_model();
    logits_of(m, want);
    genet_device *guard = genet_device_guard(2, &err);
    for (int i = 0; i < N_STORED; i++) {
        write_model(m, stored[i].type);
        model *q = genet__model_open(work, device, MODEL_READ_ONLY, &err);
        if (!q) fail_msg("%s", err.text);
        assert_int_equal(genet__params_placed_bytes(q->params), 0);
        assert_int_equal(genet__params_find(q->params, "transformer.wte.weight")->dtype, stored[i].type);
        assert_int_equal(genet__params_find(q->params, "transformer.wpe.weight")->dtype, GENET_F32);
        assert_int_equal(genet__params_numel(q->params, PARAM_WEIGHT), genet__params_numel(m->params, PARAM_WEIGHT));
        logits_of(q, got);
        double off = distance(got, want);
        if (!(off > 0 && off < stored[i].bound)) fail_msg("%s: off by %g", genet_dtype_name(stored[i].type), off);
        genet__model_free(q);
        OK(q = genet__model_open(work, guard, MODEL_READ_ONLY, &err));
        assert_true(genet__params_placed_bytes(q->params) > 0);
        logits_of(q, guarded);
        assert_memory_equal(got, guarded, sizeof got);
        genet__model_free(q);
    }
    genet_device_free(guard);
    genet__model_free(m);
}

/* As f32 the numbers are the same. */
static void test_widened(void **state)
{
    (void)state;
    float got[N_LOGITS], wide[N_LOGITS];
    model *m = fresh_model();
    for (int i = 0; i < N_STORED; i++) {
        write_model(m, stored[i].type);
        model *q = genet__model_open(work, device, MODEL_READ_ONLY, &err);
        OK(q);
        logits_of(q, got);
        genet__model_free(q);
        OK(q = genet__model_open(work, device, MODEL_READ_F32, &err));
        for (int k = 0; k < q->params->n; k++) assert_int_equal(q->params->at[k]->dtype, GENET_F32);
        logits_of(q, wide);
        if (!(distance(got, wide) < stored[i].widened)) fail_msg("%s: off by %g", genet_dtype_name(stored[i].type), distance(got, wide));
        genet__model_free(q);
    }
    genet__model_free(m);
}

/* --- what is refused ---------------------------------------------------------------------- */

static void expect_refused(model_weights how, const char *words)
{
    model *m = genet__model_open(work, device, how, &err);
    if (m) fail_msg("taken, and not \"%s\"", words);
    if (!strstr(err.text, words)) fail_msg("\"%s\", not \"%s\"", err.text, words);
}

static void test_not_for_learning(void **state)
{
    (void)state;
    model *m = fresh_model();
    write_model(m, GENET_Q4_0);
    expect_refused(MODEL_WRITABLE, "quantised weights are used, not learned");
    genet__model_free(m);
}

/* Replace the first `from` in the weights' file by `to`, which is as long. */
static void edit(const char *from, const char *to)
{
    size_t n, length = strlen(from);
    const char *path = in_work("model.safetensors");
    char *bytes = genet__file_read(path, 1 << 24, &n, &err), *at;
    OK(bytes);
    assert_non_null(at = memmem(bytes, n, from, length));
    memcpy(at, to, length);
    OK(genet__file_write_all(path, bytes, n, &err));
    genet__free(bytes);
}

static void test_damage(void **state)
{
    (void)state;
    model *m = fresh_model();
    write_model(m, GENET_Q8_0);
    edit("genet.quantized", "genet.quantizes");
    expect_refused(MODEL_READ_ONLY, "the model's config asks for");
    write_model(m, GENET_Q8_0);
    edit("\\\"transposed\\\":true}", "\\\"transposes\\\":true}");
    expect_refused(MODEL_READ_ONLY, "what cannot be");
    /* blocks of another weight's shape, which has as many bytes */
    write_model(m, GENET_Q8_0);
    edit("\\\"shape\\\":[32,96],", "\\\"shape\\\":[96,32],");
    expect_refused(MODEL_READ_ONLY, "what cannot be");
    size_t n;
    char *bytes = genet__file_read(in_work("model.safetensors"), 1 << 24, &n, &err);
    write_model(m, GENET_Q8_0);
    genet__free(bytes);
    OK(bytes = genet__file_read(in_work("model.safetensors"), 1 << 24, &n, &err));
    memcpy(bytes + n - 34, "\x00\x7c", 2);                          /* the last scale is inf */
    OK(genet__file_write_all(in_work("model.safetensors"), bytes, n, &err));
    genet__free(bytes);
    expect_refused(MODEL_READ_ONLY, "is inf or NaN");
    genet__model_free(m);
}

/* A value that no f16 scale reaches is named; so is what a narrower type cannot hold. */
static void test_values_beyond(void **state)
{
    (void)state;
    model *m = fresh_model();
    int n;
    param *w = genet__params_find(m->params, "transformer.h.1.mlp.c_fc.weight");
    float *x = malloc(w->size_bytes);
    OK(genet__params_read(m->params, w, x, w->size_bytes, &err));
    x[77] = 1e9f;
    OK(genet__params_write(m->params, w, x, w->size_bytes, &err));
    free(x);
    assert_false(genet__weights_write_as(m->params, KINDS, work, &(weight_types){ GENET_F32, GENET_Q4_0, GENET_Q4_0 },
                                         INT64_MAX, &n, &err));
    assert_non_null(strstr(err.text, "transformer.h.1.mlp.c_fc.weight holds 1e+09, which q4_0 cannot"));
    genet__model_free(m);
}

static void test_failing_allocations(void **state)
{
    (void)state;
    model *m = fresh_model();
    write_model(m, GENET_Q4_0);
    bool ok = false;
    for (long i = 0; !ok && i < 3000; i++) {
        genet__alloc_fail_after(i);
        model *q = genet__model_open(work, device, MODEL_READ_ONLY, &err);
        int n;
        ok = q && genet__weights_write_as(m->params, KINDS, work, &(weight_types){ GENET_F32, GENET_Q4_0, GENET_Q4_0 },
                                          INT64_MAX, &n, &err);
        genet__alloc_fail_after(-1);
        genet__model_free(q);
    }
    assert_true(ok);
    genet__model_free(m);
}

static int group_setup(void **state)
{
    (void)state;
    device = genet_device_cpu(2, &err);
    return device && mkdtemp(work) ? 0 : -1;
}

static int group_teardown(void **state)
{
    (void)state;
    genet_device_free(device);
    return genet__file_remove_tree(work, &err) ? 0 : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_broken_metadata), cmocka_unit_test(test_blocks_are_read), cmocka_unit_test(test_used_in_place),
        cmocka_unit_test(test_widened), cmocka_unit_test(test_not_for_learning), cmocka_unit_test(test_damage),
        cmocka_unit_test(test_values_beyond), cmocka_unit_test(test_failing_allocations),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
