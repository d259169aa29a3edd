/* labels: core
 * test_golden_llama.c - Llama, Mistral, Qwen2 and Qwen3 as transformers computes them (tools/golden_llama.py): logits,
 * gradients, 20 steps of AdamW, and greedy writing through caches; every way to stretch positions; what a
 * config says is written again so that transformers reads the same. */
#include "golden/run.h"
#include "infer/generate.h"

static const char *const names[] = { "llama", "mistral", "qwen2", "qwen3" };
enum { N = 4 };

static void test_logits(void **state)
{
    (void)state;
    for (int i = 0; i < N; i++) {
        run r;
        open_folder(&r, names[i]);
        assert_string_equal(r.m->family->name, names[i]);
        check_logits(&r);
        close_run(&r);
    }
}

static void test_gradients(void **state)
{
    (void)state;
    static const int weights[N] = { 2 * 16 + 3, 2 * 9 + 3, 2 * 12 + 2, 2 * 15 + 3 };
    for (int i = 0; i < N; i++) {
        run r;
        open_folder(&r, names[i]);
        check_gradients(&r);
        assert_int_equal(r.step.weights.n, weights[i]);
        close_run(&r);
    }
}

/* With checkpointing to the bit the same. */
static void test_steps(void **state)
{
    (void)state;
    for (int i = 0; i < N; i++) {
        double *losses[2];
        for (int checkpoint = 0; checkpoint < 2; checkpoint++) {
            run r;
            open_folder(&r, names[i]);
            prepare_steps(&r, checkpoint);
            losses[checkpoint] = steps_of(&r);
            close_run(&r);
        }
        assert_memory_equal(losses[0], losses[1], STEPS * sizeof **losses);
        free(losses[0]);
        free(losses[1]);
    }
}

static int32_t largest(const float *x, int64_t n)
{
    int64_t best = 0;
    for (int64_t i = 1; i < n; i++)
        if (x[i] > x[best]) best = i;
    return (int32_t)best;
}

static void expect_greedy(run *r, decoder *d)
{
    const safetensor *prompt = get(r, "prompt", ""), *greedy = get(r, "greedy", "");
    int32_t ids[64], want[64];
    memcpy(ids, prompt->at, prompt->size_bytes);
    memcpy(want, greedy->at, greedy->size_bytes);
    OK(r, genet__decoder_begin(d, ids, prompt->numel, &r->err));
    for (int64_t t = 0; t < greedy->numel; t++) {
        int32_t id = largest(genet__decoder_logits(d), genet__decoder_vocab(d));
        if (id != want[t]) fail_msg("%s: token %d is %d, not %d", r->m->family->name, (int)t, id, want[t]);
        OK(r, genet__decoder_step(d, &id, NULL, &r->err));
    }
}

static void test_writing(void **state)
{
    (void)state;
    for (int i = 0; i < N; i++) {
        run r;
        open_folder(&r, names[i]);
        decoder *d = genet__decoder_new(r.m, r.space, 1, &r.err);
        OK(&r, d);
        expect_greedy(&r, d);
        genet__decoder_free(d);
        close_run(&r);
    }
}

/* The same config but for rope_scaling. */
static void stretch(run *r, const char *name, const json_t *said)
{
    const family *f = r->m->family;
    json_t *j = json_deep_copy(json_object_get(said, name)), *theta = json_pack("{s:f}", "rope_theta", 500.0);
    json_object_update(j, theta);
    if (json_is_null(json_object_get(j, "rope_scaling")))
        OK(r, genet__fields_set(f->config, r->m->config, "rope_scaling", "{\"rope_type\": \"default\"}", &r->arena, &r->err));
    else
        OK(r, genet__fields_from_json(f->config, r->m->config, j, name, &r->arena, &r->err));
    json_decref(theta);
    json_decref(j);
}

static void test_stretched_positions(void **state)
{
    (void)state;
    safetensors rope;
    run first;
    open_folder(&first, "llama");
    json_t *said = genet__json_read(golden_path("llama/rope.json"), 1 << 16, &first.err);
    OK(&first, said);
    OK(&first, genet__safetensors_open(&rope, golden_path("llama/rope.safetensors"), &first.err));
    const safetensor *ids = genet__safetensors_find(&rope, "ids");
    int32_t x[64];
    assert_true(ids->size_bytes <= sizeof x);
    memcpy(x, ids->at, ids->size_bytes);
    assert_int_equal(json_object_size(said), 8);
    const char *name;
    json_t *one;
    json_object_foreach(said, name, one) {
        run r;
        char logits[80];
        snprintf(logits, sizeof logits, "logits.%s", name);
        open_folder(&r, "llama");
        genet__params_free(r.m->params);        /* frequencies are the config's: begin again */
        OK(&r, r.m->params = genet__params_new(r.device, 1, &r.err));
        stretch(&r, name, said);
        OK(&r, genet__model_declare(r.m, &r.err));
        OK(&r, genet__weights_open(r.m->params, PARAM_WEIGHT, golden_path("llama"), WEIGHTS_COPIED, NULL, &r.err));
        OK(&r, genet__params_fill(r.m->params, &r.err));
        check_forward(&r, x, 1, ids->numel, genet__safetensors_find(&rope, logits), gradient_bar);
        close_run(&r);
    }
    json_decref(said);
    genet__safetensors_close(&rope);
    close_run(&first);
}

/* Reading what was written gives the same config; of rope_parameters the older spelling, which all releases read. */
static void test_configs_are_written(void **state)
{
    (void)state;
    for (int i = 0; i < N; i++) {
        run r;
        open_folder(&r, names[i]);
        json_t *j = genet__model_config_json(r.m, GENET_F32);
        assert_non_null(j);
        assert_string_equal(json_string_value(json_object_get(j, "model_type")), names[i]);
        model *again = genet__model_from_config(j, "config.json", r.device, &r.err);
        OK(&r, again);
        json_t *k = genet__model_config_json(again, GENET_F32);
        assert_true(json_equal(j, k));
        if (i == 0) assert_string_equal(json_string_value(json_object_get(json_object_get(j, "rope_scaling"), "rope_type")), "llama3");
        if (i == 1) assert_int_equal(json_integer_value(json_object_get(j, "sliding_window")), 6);
        assert_true(json_number_value(json_object_get(j, "rope_theta")) == (i == 0 ? 500 : i == 2 ? 1e6 : 10000));
        json_decref(j);
        json_decref(k);
        genet__model_free(again);
        close_run(&r);
    }
}

static model *from_text(run *r, const char *text)
{
    json_t *j = genet__json_parse(text, strlen(text), "config.json", &r->err);
    model *m = genet__model_from_config(j, "config.json", r->device, &r->err);
    json_decref(j);
    if (m && genet__model_declare(m, &r->err)) return m;
    genet__model_free(m);
    return NULL;
}

static void expect_refused(run *r, const char *text, const char *why)
{
    model *m = from_text(r, text);
    assert_null(m);
    if (!strstr(r->err.text, why)) fail_msg("\"%s\" does not say \"%s\"", r->err.text, why);
}

/* null is none, and what is absent is the class's default. */
static void test_configs_are_read(void **state)
{
    (void)state;
    run r;
    open_folder(&r, "mistral");
#define SMALL "\"vocab_size\": 9, \"hidden_size\": 16, \"num_hidden_layers\": 1, \"num_attention_heads\": 4, \"intermediate_size\": 8"
    model *m = from_text(&r, "{\"model_type\": \"mistral\", " SMALL ", \"sliding_window\": null, \"num_key_value_heads\": 2}");
    OK(&r, m);
    assert_int_equal(*genet__model_int(m, genet__fields_find(m->family->config, "sliding_window")->offset), -1);
    assert_int_equal(*genet__model_int(m, genet__fields_find(m->family->config, "eos_token_id")->offset), 2);
    genet__model_free(m);
    expect_refused(&r, "{\"model_type\": \"mistral\", " SMALL "}", "no multiple of num_key_value_heads 8");
    expect_refused(&r, "{\"model_type\": \"llama\", " SMALL ", \"rope_scaling\": {\"rope_type\": \"spiral\"}}", "rope_type is spiral");
    expect_refused(&r, "{\"model_type\": \"llama\", " SMALL ", \"rope_scaling\": {\"type\": \"linear\"}}", "no \"factor\"");
    expect_refused(&r, "{\"model_type\": \"llama\", " SMALL ", \"rope_scaling\": {\"type\": \"longrope\", \"short_factor\": [1], "
                   "\"long_factor\": [1, 1]}}", "a list of 2 numbers");
    expect_refused(&r, "{\"model_type\": \"llama\", " SMALL ", \"rope_scaling\": 3}", "rope_scaling must be a JSON object");
    expect_refused(&r, "{\"model_type\": \"llama\", " SMALL ", \"head_dim\": 5}", "even");
    expect_refused(&r, "{\"model_type\": \"qwen2\", " SMALL ", \"num_key_value_heads\": 4, \"layer_types\": [\"round\"]}", "layer_types[0]");
    close_run(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_logits), cmocka_unit_test(test_gradients), cmocka_unit_test(test_steps),
        cmocka_unit_test(test_writing), cmocka_unit_test(test_stretched_positions),
        cmocka_unit_test(test_configs_are_written), cmocka_unit_test(test_configs_are_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
