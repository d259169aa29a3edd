/* labels: core
 * test_golden_lora.c - adapters as PEFT computes them (tools/golden_lora.py): logits, 20 steps in which the base does
 * not move, merging; what is written is read again, and what is not understood is refused. */
#include "golden/run.h"
#include "model/adapter.h"

static const char *const names[] = { "gpt2", "llama" };
static const int n_layers_adapted[] = { 4, 6 };
enum { N = 2 };

/* The base's batches, the adapter's answers. */
static void open_adapted(run *r, const char *name)
{
    char file[160], folder[100];
    snprintf(folder, sizeof folder, "lora/%s", name);
    snprintf(file, sizeof file, "%s/golden.safetensors", folder);
    open_run(r, file, 4, 16);
    snprintf(file, sizeof file, "%s/batches.npy", name);
    OK(r, genet__npy_open(&r->batches, golden_path(file), &r->err));
    const char *base = genet__adapter_base(golden_path(folder), &r->arena, &r->err);
    OK(r, base);
    model *m = genet__model_open(base, r->device, MODEL_READ_F32, &r->err);
    OK(r, m);
    OK(r, r->m = genet__adapter_open(m, true, golden_path(folder), &r->err));
}

static void test_logits(void **state)
{
    (void)state;
    for (int i = 0; i < N; i++) {
        run r;
        open_adapted(&r, names[i]);
        assert_int_equal(r.m->params->n, 2 * n_layers_adapted[i]);
        check_logits(&r);
        close_run(&r);
    }
}

static void test_steps(void **state)
{
    (void)state;
    for (int i = 0; i < N; i++) {
        run r;
        open_adapted(&r, names[i]);
        prepare_steps(&r, i == 0);
        assert_int_equal(r.step.weights.n, 2 * n_layers_adapted[i]);        /* and nothing of the base */
        free(steps_of(&r));
        close_run(&r);
    }
}

static void test_merging(void **state)
{
    (void)state;
    for (int i = 0; i < N; i++) {
        run r;
        int found = 0;
        open_adapted(&r, names[i]);
        model *into = genet__model_open(golden_path(names[i]), r.device, MODEL_WRITABLE, &r.err);
        OK(&r, into);
        OK(&r, genet__adapter_merge(r.m, into, &r.err));
        for (int k = 0; k < r.golden.n; k++) {
            if (strncmp(r.golden.at[k].name, "merged.", 7)) continue;
            const param *w = genet__params_find(into->params, r.golden.at[k].name + 7);
            assert_non_null(w);
            float *got = malloc(w->size_bytes);
            OK(&r, genet__params_read(into->params, w, got, w->size_bytes, &r.err));
            expect_close(&r.golden.at[k], got, 1, 1e-6);
            free(got);
            found++;
        }
        assert_int_equal(found, 2);
        genet__model_free(into);
        close_run(&r);
    }
}

/* A fresh adapter changes nothing; two adapters share one base. */
static void test_fresh_ones(void **state)
{
    (void)state;
    run r;
    open_folder(&r, "gpt2");
    model *base = r.m;
    adapter_config c = { .peft_type = "LORA", .bias = "none", .r = 2, .lora_alpha = 4, .all = true };
    r.m = genet__adapter_new(base, false, &c, 3, &r.err);
    OK(&r, r.m);
    assert_int_equal(r.m->params->n, 2 * 8);
    OK(&r, genet__params_place(r.m->params, &r.err) && genet__params_fill(r.m->params, &r.err));
    check_logits(&r);
    model *other = genet__adapter_new(base, false, &c, 4, &r.err);
    OK(&r, other);
    genet__model_free(other);
    c.all = false, c.target_modules = "[\"nothing\"]";
    other = genet__adapter_new(base, false, &c, 4, &r.err);
    assert_null(other);
    assert_non_null(strstr(r.err.text, "nothing"));
    genet__model_free(r.m);
    r.m = base;
    close_run(&r);
}

static void expect_refused(const char *text, const char *why)
{
    char folder[] = "/tmp/genet-lora-XXXXXX", path[80];
    genet_err err;
    adapter_config c;
    arena a = {0};
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/adapter_config.json", folder);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
    assert_true(genet__adapter_exists(folder));
    assert_false(genet__adapter_read_config(&c, folder, &a, &err));
    if (!strstr(err.text, why)) fail_msg("\"%s\" does not say \"%s\"", err.text, why);
    remove(path);
    remove(folder);
    genet__arena_release(&a);
}

static void test_what_is_refused(void **state)
{
    (void)state;
    expect_refused("{\"peft_type\": \"IA3\"}", "IA3");
    expect_refused("{\"peft_type\": \"LORA\", \"use_dora\": true}", "use_dora");
    expect_refused("{\"peft_type\": \"LORA\", \"bias\": \"all\"}", "bias is all");
    expect_refused("{\"peft_type\": \"LORA\", \"modules_to_save\": [\"lm_head\"]}", "modules_to_save");
    expect_refused("{\"peft_type\": \"LORA\", \"target_modules\": \".*attn\"}", "pattern");
    expect_refused("{\"peft_type\": \"LORA\", \"r\": 0}", "r must be");
    expect_refused("[1]", "object");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_logits), cmocka_unit_test(test_steps), cmocka_unit_test(test_merging),
        cmocka_unit_test(test_fresh_ones), cmocka_unit_test(test_what_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
