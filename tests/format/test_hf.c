/* labels: core
 * test_hf.c - GPT-2 folders as transformers writes and wrote them (tools/
 * golden_hf.py) give its logits; weights that are only read stay in the mapped
 * file; what is written in several files and other types reads back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/alloc.h"
#include "base/str.h"
#include "golden/golden.h"
#include "model/model.h"

enum { B = 2, T = 12, V = 33, N_LOGITS = B * T * V };
enum { KINDS = PARAM_WEIGHT | PARAM_BUFFER };

static genet_err err;
static genet_device *device;
static safetensors answers;
static char work[] = "/tmp/genet-test-hf-XXXXXX";

#define OK(call) do { if (!(call)) fail_msg("%s: %s", #call, err.text); } while (0)

/* --- what a model answers ------------------------------------------------------------ */

static void run_model(model *m, float *out)
{
    genet_graph *g = genet_graph_new();
    genet_workspace *w = genet_workspace_new(m->params->device);
    net n = { .graph = g, .params = m->params };
    tensor *x = genet_input(g, "x", GENET_I32, GENET_DIMS(B, T));
    tensor *logits = genet__model_forward(m, &n, &(model_inputs){ .x = x });
    OK(genet__graph_ok(g, &err));
    genet_plan *p = genet_compile(g, &logits, 1, m->params->device, NULL, &err);
    OK(p && genet__params_bind(m->params, g, p, &err) && genet_plan_attach(p, w, &err));
    OK(genet_plan_write(p, x, genet__safetensors_find(&answers, "ids")->at, B * T * sizeof(int32_t), &err));
    OK(genet_plan_run(p, &err) && genet_plan_read(p, logits, out, N_LOGITS * sizeof *out, &err));
    genet_plan_free(p);
    genet_workspace_free(w);
    genet_graph_free(g);
}

/* Logits of the model in folder; *placed: bytes of device memory that its weights took. */
static void logits_of(const char *folder, genet_device *d, model_weights how, float *out, size_t *placed)
{
    model *m = genet__model_open(folder, d, how, &err);
    if (!m) fail_msg("%s", err.text);
    if (placed) *placed = genet__params_placed_bytes(m->params);
    run_model(m, out);
    genet__model_free(m);
}

static void expect_close(const char *name, const float *got, double bar)
{
    const safetensor *t = genet__safetensors_find(&answers, name);
    double worst = 0, scale = 0;
    for (int i = 0; i < N_LOGITS; i++) {
        float want;
        memcpy(&want, t->at + sizeof want * (size_t)i, sizeof want);
        worst = fmax(worst, fabs((double)got[i] - (double)want));
        scale = fmax(scale, fabs((double)want));
    }
    if (!(worst <= bar * scale)) fail_msg("%s: off by %g of its scale", name, worst / scale);
}

static const char *golden_folder(const char *name)
{
    static char path[1100];
    snprintf(path, sizeof path, "%s/%s", golden_path("hf"), name);
    return path;
}

static void test_answers(void **state)
{
    (void)state;
    static const struct { const char *name; bool f32; } row[] = {
        { "sharded", true }, { "untied", true }, { "old", false }, { "tied", false } };
    float read[N_LOGITS], copied[N_LOGITS];
    size_t placed;
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        logits_of(golden_folder(row[i].name), device, MODEL_READ_ONLY, read, &placed);
        expect_close(row[i].name, read, 2e-6);
        assert_true(row[i].f32 ? placed == 0 : placed > 0);
        logits_of(golden_folder(row[i].name), device, MODEL_WRITABLE, copied, &placed);
        assert_memory_equal(read, copied, sizeof read);
        assert_true(placed > 0);
    }
}

/* A device that cannot read the host's memory gets copies. */
static void test_guard(void **state)
{
    (void)state;
    float here[N_LOGITS], guarded[N_LOGITS];
    size_t placed;
    genet_device *guard = genet_device_guard(1, &err);
    logits_of(golden_folder("sharded"), device, MODEL_READ_ONLY, here, NULL);
    logits_of(golden_folder("sharded"), guard, MODEL_READ_ONLY, guarded, &placed);
    assert_memory_equal(here, guarded, sizeof here);
    assert_true(placed > 0);
    genet_device_free(guard);
}

/* --- in place --------------------------------------------------------------------------- */

static char *in_work(const char *name)
{
    static char path[4][300];
    static int turn;
    turn = (turn + 1) % 4;
    snprintf(path[turn], sizeof path[turn], "%s/%s", work, name);
    return path[turn];
}

static void fresh_work(void)
{
    OK(genet__file_remove_tree(work, &err));
    OK(genet__file_make_dirs(work, &err));
}

/* The golden model "untied" in work, its header longer by `more` spaces: data
 * begins that much later. */
static void shifted_copy(size_t more)
{
    size_t n;
    fresh_work();
    char from[1200];
    snprintf(from, sizeof from, "%s/config.json", golden_folder("untied"));
    OK(genet__file_copy(from, in_work("config.json"), &err));
    snprintf(from, sizeof from, "%s/model.safetensors", golden_folder("untied"));
    char *bytes = genet__file_read(from, 1 << 20, &n, &err);
    OK(bytes);
    uint64_t length;
    memcpy(&length, bytes, 8);
    str out = { 0 };
    uint64_t longer = length + more;
    genet__str_add_n(&out, &longer, 8);
    genet__str_add_n(&out, bytes + 8, (size_t)length);
    for (size_t i = 0; i < more; i++) genet__str_add(&out, " ");
    genet__str_add_n(&out, bytes + 8 + length, n - 8 - (size_t)length);
    OK(genet__file_write_all(in_work("model.safetensors"), out.at, out.n, &err));
    genet__str_release(&out);
    genet__free(bytes);
}

/* Kernels ask for the alignment of an element, no more; what has less is copied. */
static void test_alignment(void **state)
{
    (void)state;
    float want[N_LOGITS], got[N_LOGITS];
    size_t placed;
    logits_of(golden_folder("untied"), device, MODEL_WRITABLE, want, NULL);
    for (size_t more = 0; more <= 8; more++) {
        shifted_copy(more);
        logits_of(work, device, MODEL_READ_ONLY, got, &placed);
        assert_memory_equal(want, got, sizeof want);
        assert_true(more % 4 ? placed > 0 : placed == 0);
    }
}

static void test_read_only(void **state)
{
    (void)state;
    float zeros[64] = { 0 };
    model *m = genet__model_open(golden_folder("sharded"), device, MODEL_READ_ONLY, &err);
    param *w = genet__params_find(m->params, "transformer.ln_f.bias");
    assert_false(genet__params_write(m->params, w, zeros, w->size_bytes, &err));
    assert_non_null(strstr(err.text, "opened for reading"));
    float before[8], after[8];
    OK(genet__params_read(m->params, w, before, sizeof before, &err));
    OK(genet__params_reset(m->params, PARAM_WEIGHT, &err));
    OK(genet__params_read(m->params, w, after, sizeof after, &err));
    assert_memory_equal(before, after, sizeof before);
    /* nor may a graph write it */
    genet_graph *g = genet_graph_new();
    tensor *bias = genet__params_tensor(m->params, g, "transformer.ln_f.bias", PARAM_WEIGHT, GENET_F32, GENET_DIMS(8),
                                        INIT_OF_ZEROS);
    genet_assign(bias, genet_add(bias, bias));
    genet_plan *p = genet_compile(g, NULL, 0, device, NULL, &err);
    OK(p);
    assert_false(genet__params_bind(m->params, g, p, &err));
    assert_non_null(strstr(err.text, "would be written"));
    genet_plan_free(p);
    genet_graph_free(g);
    genet__model_free(m);
}

/* The mapping outlives the file's name: a save that replaces the file changes nothing. */
static void test_replaced(void **state)
{
    (void)state;
    float want[N_LOGITS], got[N_LOGITS];
    shifted_copy(0);
    model *m = genet__model_open(work, device, MODEL_READ_ONLY, &err);
    OK(m);
    run_model(m, want);
    OK(genet__file_write_all(in_work("model.safetensors"), "gone", 4, &err));
    run_model(m, got);
    assert_memory_equal(want, got, sizeof want);
    genet__model_free(m);
}

/* --- writing a folder ---------------------------------------------------------------------- */

static int write_folder(const model *m, genet_dtype type, int64_t max_bytes)
{
    int n;
    fresh_work();
    OK(genet__model_write_config(m, work, &err));
    OK(genet__weights_write_folder(m->params, KINDS, work, type, max_bytes, &n, &err));
    return n;
}

static void test_written(void **state)
{
    (void)state;
    float want[N_LOGITS], got[N_LOGITS];
    size_t placed;
    model *m = genet__model_open(golden_folder("untied"), device, MODEL_READ_ONLY, &err);
    OK(m);
    run_model(m, want);
    assert_int_equal(write_folder(m, GENET_F32, 1 << 30), 1);
    assert_true(genet__file_exists(in_work("model.safetensors")));
    logits_of(work, device, MODEL_READ_ONLY, got, NULL);
    assert_memory_equal(want, got, sizeof want);
    int n = write_folder(m, GENET_F32, 3000);
    assert_in_range(n, 3, 6);
    assert_false(genet__file_exists(in_work("model.safetensors")));
    logits_of(work, device, MODEL_READ_ONLY, got, &placed);
    assert_memory_equal(want, got, sizeof want);
    assert_int_equal(placed, 0);
    assert_int_equal(write_folder(m, GENET_F32, 1), m->params->n);          /* each tensor alone */
    logits_of(work, device, MODEL_READ_ONLY, got, NULL);
    assert_memory_equal(want, got, sizeof want);
    genet__model_free(m);
}

/* To a narrow type once: rounded; again: the same. */
static void test_narrow(void **state)
{
    (void)state;
    float once[N_LOGITS], twice[N_LOGITS];
    for (int i = 0; i < 2; i++) {
        genet_dtype type = i ? GENET_BF16 : GENET_F16;
        model *m = genet__model_open(golden_folder("untied"), device, MODEL_WRITABLE, &err);
        assert_true(write_folder(m, type, 3000) > 1);
        genet__model_free(m);
        m = genet__model_open(work, device, MODEL_READ_ONLY, &err);
        OK(m);
        run_model(m, once);
        expect_close("untied", once, i ? 0.2 : 0.02);
        write_folder(m, type, 1 << 30);
        genet__model_free(m);
        logits_of(work, device, MODEL_READ_ONLY, twice, NULL);
        assert_memory_equal(once, twice, sizeof once);
    }
}

static void test_too_large_for_f16(void **state)
{
    (void)state;
    int n;
    float bias[8] = { 1, 2, 3, 65504, 5, 70000 };
    model *m = genet__model_open(golden_folder("untied"), device, MODEL_WRITABLE, &err);
    param *w = genet__params_find(m->params, "transformer.ln_f.bias");
    OK(genet__params_write(m->params, w, bias, sizeof bias, &err));
    fresh_work();
    assert_false(genet__weights_write_folder(m->params, KINDS, work, GENET_F16, 1 << 30, &n, &err));
    assert_string_equal(err.text, "transformer.ln_f.bias holds 70000, which f16 cannot: write it as f32");
    assert_false(genet__file_exists(in_work("model.safetensors")));
    OK(genet__weights_write_folder(m->params, KINDS, work, GENET_BF16, 1 << 30, &n, &err));
    genet__model_free(m);
}

/* --- failing ---------------------------------------------------------------------------------- */

static void test_failing_memory(void **state)
{
    (void)state;
    static const char *const name[] = { "sharded", "old" };
    for (int i = 0; i < 2; i++) {
        bool ok = false;
        for (long n = 0; !ok; n++) {
            assert_true(n < 5000);
            genet__alloc_fail_after(n);
            model *m = genet__model_open(golden_folder(name[i]), device, MODEL_READ_ONLY, &err);
            genet__alloc_fail_after(-1);
            ok = m;
            genet__model_free(m);
            if (!ok) assert_int_equal(err.code, GENET_ERR_MEMORY);
        }
    }
}

static void test_failing_writes(void **state)
{
    (void)state;
    model *m = genet__model_open(golden_folder("untied"), device, MODEL_READ_ONLY, &err);
    for (int what = 0; what < 2; what++) {
        bool ok = false;
        for (long n = 0; !ok; n++) {
            int n_file;
            assert_true(n < 2000);
            fresh_work();
            if (what) genet__alloc_fail_after(n);
            else genet__file_fail_after(n, ENOSPC);
            ok = genet__weights_write_folder(m->params, KINDS, work, GENET_F16, 3000, &n_file, &err);
            genet__alloc_fail_after(-1);
            genet__file_fail_after(-1, 0);
            if (!ok) assert_int_equal(err.code, what ? GENET_ERR_MEMORY : GENET_ERR_IO);
        }
    }
    genet__model_free(m);
}

static int open_all(void **state)
{
    (void)state;
    if (!mkdtemp(work) || !(device = genet_device_cpu(2, &err))) return -1;
    return genet__safetensors_open(&answers, golden_path("hf/logits.safetensors"), &err) ? 0 : -1;
}

static int close_all(void **state)
{
    (void)state;
    genet__safetensors_close(&answers);
    genet_device_free(device);
    return genet__file_remove_tree(work, NULL) ? 0 : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers), cmocka_unit_test(test_guard), cmocka_unit_test(test_alignment),
        cmocka_unit_test(test_read_only), cmocka_unit_test(test_replaced), cmocka_unit_test(test_written),
        cmocka_unit_test(test_narrow), cmocka_unit_test(test_too_large_for_f16),
        cmocka_unit_test(test_failing_memory), cmocka_unit_test(test_failing_writes),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
