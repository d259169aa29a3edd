/* labels: core
 * test_golden_gpt2.c - GPT-2 as PyTorch and transformers compute it (tools/
 * golden.py): logits, every gradient of the first step, and 20 steps of AdamW,
 * for a tiny model from a file and for the default model of `genet train
 * gpt2` from weights that both sides compute; and both in mixed precision,
 * beside torch.autocast (tools/golden_mixed.py). */
#include "golden/run.h"

enum { MIXED_STEPS = 10 };

static int32_t token_by_formula(const run *r, int64_t step, int64_t b, int64_t t)
{
    (void)r;
    uint32_t stream = genet__rng_stream("batches");
    int64_t a = genet__rng_u32(SEED, stream, (uint32_t)step, 2 * (uint64_t)b) % 65;
    int64_t slope = 1 + genet__rng_u32(SEED, stream, (uint32_t)step, 2 * (uint64_t)b + 1) % 8;
    return (int32_t)((a + slope * t + t * t / 7) % 65);
}

static void open_tiny(run *r) { open_folder(r, "gpt2"); }

/* golden.py's formula; every operation rounds to float, as in NumPy. */
static void fill_by_formula(run *r, param *w)
{
    int64_t n = (int64_t)w->size_bytes / 4;
    float *v = malloc(w->size_bytes);
    size_t length = strlen(w->name);
    bool projection = length > 13 && !strcmp(w->name + length - 13, "c_proj.weight"), bias = !strcmp(w->name + length - 4, "bias");
    bool scale = strstr(w->name, ".ln_") && !bias;
    float s = projection ? 0.0125f : bias ? 0.02f : 0.035f;
    for (int64_t i = 0; i < n; i++) {
        float c = 2 * genet__rng_unit(genet__rng_u32(SEED, genet__rng_stream(w->name), 0, (uint64_t)i)) - 1;
        float part = (scale ? 0.1f : s) * c;
        v[i] = scale ? 1 + part : part;
    }
    OK(r, genet__params_write(r->m->params, w, v, w->size_bytes, &r->err));
    free(v);
}

static void open_default(run *r)
{
    open_run(r, "gpt2-default/golden.safetensors", 12, 64);
    r->token = token_by_formula;
    const family *f = genet__family_find("gpt2");
    void *config = genet__family_config(f, &r->arena, &r->err);
    assert_non_null(config);
    f->prepare(config);
    OK(r, r->m = genet__model_new(f, config, r->device, SEED, &r->err));
    *genet__model_int(r->m, f->vocab_size) = 65;
    OK(r, genet__model_declare(r->m, &r->err));
    OK(r, genet__params_place(r->m->params, &r->err));
    for (int i = 0; i < r->m->params->n; i++) fill_by_formula(r, r->m->params->at[i]);
}

/* --- tests -------------------------------------------------------------------------- */

static void test_logits(void **state)
{
    (void)state;
    run r;
    open_tiny(&r);
    check_logits(&r);
    close_run(&r);
}

static void test_gradients(void **state)
{
    (void)state;
    run r;
    open_tiny(&r);
    check_gradients(&r);
    assert_int_equal(r.step.weights.n, 2 * 12 + 4);
    close_run(&r);
}

/* 20 steps; some weights after them; and the same with checkpointing, to the bit. */
static void test_steps(void **state)
{
    (void)state;
    double *losses[2];
    for (int checkpoint = 0; checkpoint < 2; checkpoint++) {
        run r;
        open_tiny(&r);
        prepare_steps(&r, checkpoint);
        losses[checkpoint] = steps_of(&r);
        for (int i = 0; i < r.golden.n; i++) {
            if (strncmp(r.golden.at[i].name, "final.", 6)) continue;
            const param *w = genet__params_find(r.m->params, r.golden.at[i].name + 6);
            assert_non_null(w);
            float *got = malloc(w->size_bytes);
            OK(&r, genet__params_read(r.m->params, w, got, w->size_bytes, &r.err));
            expect_close(&r.golden.at[i], got, 1, 1e-4);
            free(got);
        }
        close_run(&r);
    }
    assert_memory_equal(losses[0], losses[1], STEPS * sizeof **losses);
    free(losses[0]);
    free(losses[1]);
}

/* Of each gradient its norm and at most 64 elements are known. */
static void expect_gradient(run *r, int i, const float *g)
{
    const char *name = r->step.weights.param[i]->name;
    const safetensor *sample = get(r, "sample.", name);
    int64_t numel = r->step.weights.start[i + 1] - r->step.weights.start[i];
    float picked[64];
    double sum = 0, mean = 1 / (double)(r->B * r->T), norm = element(get(r, "norm.", name), 0);
    for (int64_t k = 0; k < sample->numel; k++) picked[k] = g[k * numel / sample->numel];
    for (int64_t k = 0; k < numel; k++) sum += (double)g[k] * (double)g[k];
    expect_close(sample, picked, mean, gradient_bar);
    if (!(fabs(sqrt(sum) * mean - norm) <= 1e-5 * norm)) fail_msg("%s: norm %.9g, not %.9g", name, sqrt(sum) * mean, norm);
}

static void test_default_model(void **state)
{
    (void)state;
    run r;
    step_result got;
    open_default(&r);
    prepare_steps(&r, false);
    assert_int_equal(genet__params_numel(r.m->params, PARAM_WEIGHT), 809856);
    OK(&r, genet__step_run(&r.step, &r.job, 0, 1, 0, &got, &r.err));      /* learning rate 0: only the moments move */
    float *g = read_gradient(&r);
    for (int i = 0; i < r.step.weights.n; i++) expect_gradient(&r, i, g + r.step.weights.start[i]);
    free(g);
    OK(&r, genet__params_reset(r.m->params, PARAM_OPTIMISER, &r.err));
    free(steps_of(&r));
    close_run(&r);
}

/* Losses beside autocast's and beside those in f32; the same bits with checkpointing.  Autocast rounds more
 * (results of products, gradients of weights), so agreement is to bf16's precision. */
static void mixed_steps(void (*open)(run *r), const char *name, double bar)
{
    float losses[2][MIXED_STEPS], *g[2];
    for (int checkpoint = 0; checkpoint < 2; checkpoint++) {
        run r;
        safetensors mixed;
        char full[40];
        double off = 0;
        open(&r);
        prepare_steps_in(&r, "bf16", checkpoint);
        OK(&r, genet__safetensors_open(&mixed, golden_path("gpt2/mixed.safetensors"), &r.err));
        snprintf(full, sizeof full, "%s.losses", name);
        const safetensor *autocast = genet__safetensors_find(&mixed, full);
        assert_non_null(autocast);
        for (int64_t i = 0; i < MIXED_STEPS; i++) {
            step_result got;
            OK(&r, genet__step_run(&r.step, &r.job, i, i + 1, 1e-3, &got, &r.err));
            losses[checkpoint][i] = got.loss;
            double want = element(autocast, i), exact = element(get(&r, "losses", ""), i), loss = (double)got.loss;
            if (!(fabs(loss - want) < bar * want && fabs(loss - exact) < bar * exact))
                fail_msg("%s: loss of step %d is %.6g; autocast has %.6g, f32 %.6g", name, (int)i, loss, want, exact);
            off = fmax(off, fabs(loss - exact));
        }
        assert_true(off > 1e-5);            /* in f32 it would not be */
        g[checkpoint] = read_gradient(&r);
        if (checkpoint) assert_memory_equal(g[0], g[1], (size_t)r.step.weights.start[r.step.weights.n] * sizeof **g);
        genet__safetensors_close(&mixed);
        close_run(&r);
    }
    assert_memory_equal(losses[0], losses[1], sizeof losses[0]);
    free(g[0]);
    free(g[1]);
}

static void test_mixed_precision(void **state)
{
    (void)state;
    mixed_steps(open_tiny, "tiny", 2e-3);
    mixed_steps(open_default, "default", 4e-3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_logits), cmocka_unit_test(test_gradients), cmocka_unit_test(test_steps),
        cmocka_unit_test(test_default_model), cmocka_unit_test(test_mixed_precision),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
