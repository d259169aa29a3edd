/* labels: core
 * test_golden_gpt2.c - GPT-2 as PyTorch and transformers compute it (tools/
 * golden.py): logits, every gradient of the first step, and 20 steps of AdamW,
 * for a tiny model from a file and for the default model of `genet train
 * gpt2` from weights that both sides compute; and both in mixed precision,
 * beside torch.autocast (tools/golden_mixed.py). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "base/rng.h"
#include "format/npy.h"
#include "golden/golden.h"
#include "model/model.h"
#include "train/step.h"

enum { STEPS = 20, MIXED_STEPS = 10, SEED = 1337 };
/* The bars: losses within 1e-3; gradients within 1e-4 of their scale.
 * Rounding alone stays far below both. */
static const double loss_bar = 1e-4, gradient_bar = 1e-5;

typedef struct run {
    genet_device    *device;
    genet_workspace *space;
    model           *m;
    safetensors      golden;
    train_options    options;
    train_job        job;
    train_step       step;
    npy              batches;           /* of the tiny model */
    arena            arena;             /* the default model's config */
    tensor          *x, *target;
    int64_t          B, T;
    int32_t         *ids, *next;        /* B * T each */
    genet_err        err;
} run;

#define OK(r, call) do { if (!(call)) fail_msg("%s: %s", #call, (r)->err.text); } while (0)

/* Token t of row b of a batch; t runs to T. */
static int32_t token(const run *r, int64_t step, int64_t b, int64_t t)
{
    if (r->batches.at) return (int32_t)genet__npy_int(&r->batches, (step * r->B + b) * (r->T + 1) + t);
    uint32_t stream = genet__rng_stream("batches");
    int64_t a = genet__rng_u32(SEED, stream, (uint32_t)step, 2 * (uint64_t)b) % 65;
    int64_t slope = 1 + genet__rng_u32(SEED, stream, (uint32_t)step, 2 * (uint64_t)b + 1) % 8;
    return (int32_t)((a + slope * t + t * t / 7) % 65);
}

static bool feed(void *user, genet_plan *p, int64_t step, int64_t micro, genet_err *err)
{
    run *r = user;
    size_t bytes = (size_t)(r->B * r->T) * sizeof *r->ids;
    (void)micro;
    for (int64_t b = 0; b < r->B; b++)
        for (int64_t t = 0; t < r->T; t++) {
            r->ids[b * r->T + t] = token(r, step, b, t);
            r->next[b * r->T + t] = token(r, step, b, t + 1);
        }
    return genet_plan_write(p, r->x, r->ids, bytes, err) &&
           (!r->target || genet_plan_write(p, r->target, r->next, bytes, err));
}

static bool build(void *user, net *n, int64_t rows, tensor **loss_sum, tensor **count, genet_err *err)
{
    run *r = user;
    (void)err;
    r->x = genet_input(n->graph, "x", GENET_I32, GENET_DIMS(rows, r->T));
    r->target = genet_input(n->graph, "target", GENET_I32, GENET_DIMS(rows, r->T));
    tensor *logits = r->m->family->forward(n, r->m->config, &(model_inputs){ .x = r->x });
    *loss_sum = genet_cross_entropy(logits, r->target, -100, 0);
    *count = genet_side(*loss_sum, 1);
    return true;
}

static void open_run(run *r, const char *golden, int64_t B, int64_t T)
{
    *r = (run){ .B = B, .T = T };
    OK(r, r->device = genet_device_cpu(2, &r->err));
    r->space = genet_workspace_new(r->device);
    OK(r, genet__safetensors_open(&r->golden, golden_path(golden), &r->err));
    r->ids = calloc((size_t)(B * T), sizeof *r->ids);
    r->next = calloc((size_t)(B * T), sizeof *r->next);
}

static void open_tiny(run *r)
{
    open_run(r, "gpt2/golden.safetensors", 4, 16);
    OK(r, genet__npy_open(&r->batches, golden_path("gpt2/batches.npy"), &r->err));
    OK(r, r->m = genet__model_open(golden_path("gpt2"), r->device, true, &r->err));
}

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

static void prepare_steps_in(run *r, const char *type, bool checkpoint)
{
    r->options = (train_options){ .seed = SEED, .checkpoint_activations = checkpoint, .dtype = type, .optim = {
        .optimizer = "adamw", .beta1 = 0.9, .beta2 = 0.99, .adam_epsilon = 1e-8, .weight_decay = 0.1, .max_grad_norm = 1 } };
    r->job = (train_job){ .options = &r->options, .params = r->m->params, .workspace = r->space, .batch_rows = r->B,
                          .user = r, .build = build, .feed = feed };
    OK(r, genet__step_build(&r->step, &r->job, r->B, 1, &r->err));
    OK(r, genet__params_place(r->m->params, &r->err));
    OK(r, genet__params_fill(r->m->params, &r->err));
    OK(r, genet__step_attach(&r->step, &r->job, &r->err));
}

static void prepare_steps(run *r, bool checkpoint) { prepare_steps_in(r, "f32", checkpoint); }

static void close_run(run *r)
{
    genet__step_release(&r->step);
    genet__model_free(r->m);
    genet_workspace_free(r->space);
    genet_device_free(r->device);
    genet__safetensors_close(&r->golden);
    if (r->batches.at) genet__npy_close(&r->batches);
    free(r->ids);
    free(r->next);
    genet__arena_release(&r->arena);
}

static const safetensor *get(const run *r, const char *prefix, const char *name)
{
    char full[200];
    snprintf(full, sizeof full, "%s%s", prefix, name);
    const safetensor *t = genet__safetensors_find(&r->golden, full);
    if (!t) fail_msg("%s is not in %s", full, r->golden.path);
    return t;
}

static double element(const safetensor *t, int64_t i)
{
    double d;
    float f;
    if (t->dtype == GENET_F64) return memcpy(&d, t->at + 8 * i, 8), d;
    return memcpy(&f, t->at + 4 * i, 4), (double)f;
}

/* got[i * stride] against t, to bar times the largest element. */
static void expect_close(const safetensor *t, const float *got, double factor, double bar)
{
    double scale = 1e-6, worst = 0;
    for (int64_t i = 0; i < t->numel; i++) scale = fmax(scale, fabs(element(t, i)));
    for (int64_t i = 0; i < t->numel; i++) worst = fmax(worst, fabs(factor * (double)got[i] - element(t, i)));
    if (!(worst <= bar * scale)) fail_msg("%s: off by %g of its scale, not %g", t->name, worst / scale, bar);
}

static double *steps_of(run *r)
{
    double *losses = malloc(STEPS * sizeof *losses);
    for (int64_t i = 0; i < STEPS; i++) {
        step_result got;
        OK(r, genet__step_run(&r->step, &r->job, i, i + 1, 1e-3, &got, &r->err));
        assert_true(got.finite);
        losses[i] = (double)got.loss;
        double norm = element(get(r, "grad_norms", ""), i);
        if (!(fabs(losses[i] - element(get(r, "losses", ""), i)) < loss_bar)) fail_msg("loss of step %d is %.9g", (int)i, losses[i]);
        if (!(fabs((double)got.grad_norm - norm) < 1e-4 * norm)) fail_msg("norm of step %d is %.9g", (int)i, (double)got.grad_norm);
    }
    return losses;
}

/* The flat gradient of the step that ran last: of the loss's sum, while PyTorch's are of the mean. */
static float *read_gradient(run *r)
{
    int64_t n = r->step.weights.start[r->step.weights.n];
    float *g = malloc((size_t)n * sizeof *g);
    OK(r, genet_plan_read(r->step.plan, r->step.gradient, g, (size_t)n * sizeof *g, &r->err));
    return g;
}

/* --- tests -------------------------------------------------------------------------- */

static void test_logits(void **state)
{
    (void)state;
    run r;
    open_tiny(&r);
    genet_graph *g = genet_graph_new();
    net n = { .graph = g, .params = r.m->params };
    r.x = genet_input(g, "x", GENET_I32, GENET_DIMS(r.B, r.T));
    tensor *logits = r.m->family->forward(&n, r.m->config, &(model_inputs){ .x = r.x });
    genet_plan *p = genet_compile(g, &logits, 1, r.device, NULL, &r.err);
    OK(&r, p);
    OK(&r, genet_plan_attach(p, r.space, &r.err) && genet__params_bind(r.m->params, g, p, &r.err));
    OK(&r, feed(&r, p, 0, 0, &r.err) && genet_plan_run(p, &r.err));
    const safetensor *want = get(&r, "logits", "");
    float *got = malloc(want->size_bytes);
    OK(&r, genet_plan_read(p, logits, got, want->size_bytes, &r.err));
    expect_close(want, got, 1, gradient_bar);
    free(got);
    genet_plan_free(p);
    genet_graph_free(g);
    close_run(&r);
}

static void test_gradients(void **state)
{
    (void)state;
    run r;
    step_result got;
    open_tiny(&r);
    prepare_steps(&r, false);
    OK(&r, genet__step_run(&r.step, &r.job, 0, 1, 1e-3, &got, &r.err));
    float *g = read_gradient(&r);
    assert_int_equal(r.step.weights.n, 2 * 12 + 4);
    for (int i = 0; i < r.step.weights.n; i++) {
        const safetensor *want = get(&r, "grad.", r.step.weights.param[i]->name);
        assert_int_equal(want->numel, r.step.weights.start[i + 1] - r.step.weights.start[i]);
        expect_close(want, g + r.step.weights.start[i], 1 / (double)(r.B * r.T), gradient_bar);
    }
    free(g);
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
