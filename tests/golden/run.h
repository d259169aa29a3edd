/* run.h - a model and the answers for it: logits, gradients of the first step, losses of the steps, for the tests of
 * families (tools/golden*.py make what is compared with). */
#ifndef GENET_TESTS_GOLDEN_RUN_H
#define GENET_TESTS_GOLDEN_RUN_H
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

enum { STEPS = 20, SEED = 1337 };
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
    train_job        what;              /* build, feed and user of what is trained; by default the next token */
    int              n_steps;
    int64_t          B, T;
    int32_t         *ids, *next;        /* B * T each */
    int32_t        (*token)(const struct run *r, int64_t step, int64_t b, int64_t t);    /* of a batch; t runs to T */
    genet_err        err;
} run;

#define OK(r, call) do { if (!(call)) fail_msg("%s: %s", #call, (r)->err.text); } while (0)

static inline int32_t token_of_file(const run *r, int64_t step, int64_t b, int64_t t)
{
    return (int32_t)genet__npy_int(&r->batches, (step * r->B + b) * (r->T + 1) + t);
}

static inline bool feed(void *user, genet_plan *p, int64_t step, int64_t micro, genet_err *err)
{
    run *r = user;
    size_t bytes = (size_t)(r->B * r->T) * sizeof *r->ids;
    (void)micro;
    for (int64_t b = 0; b < r->B; b++)
        for (int64_t t = 0; t < r->T; t++) {
            r->ids[b * r->T + t] = r->token(r, step, b, t);
            r->next[b * r->T + t] = r->token(r, step, b, t + 1);
        }
    return genet_plan_write(p, r->x, r->ids, bytes, err) &&
           (!r->target || genet_plan_write(p, r->target, r->next, bytes, err));
}

static inline bool build(void *user, net *n, int64_t rows, tensor **loss_sum, tensor **count, genet_err *err)
{
    run *r = user;
    (void)err;
    r->x = genet_input(n->graph, "x", GENET_I32, GENET_DIMS(rows, r->T));
    r->target = genet_input(n->graph, "target", GENET_I32, GENET_DIMS(rows, r->T));
    tensor *logits = genet__model_forward(r->m, n, &(model_inputs){ .x = r->x });
    *loss_sum = genet_cross_entropy(logits, r->target, -100, 0);
    *count = genet_side(*loss_sum, 1);
    return true;
}

static inline void open_run(run *r, const char *golden, int64_t B, int64_t T)
{
    *r = (run){ .B = B, .T = T, .token = token_of_file, .n_steps = STEPS };
    r->what = (train_job){ .user = r, .build = build, .feed = feed };
    OK(r, r->device = genet_device_cpu(2, &r->err));
    r->space = genet_workspace_new(r->device);
    OK(r, genet__safetensors_open(&r->golden, golden_path(golden), &r->err));
    r->ids = calloc((size_t)(B * T), sizeof *r->ids);
    r->next = calloc((size_t)(B * T), sizeof *r->next);
}

/* The tiny model in tests/golden/FOLDER, with its batches of 4 rows of 16. */
static inline void open_folder(run *r, const char *folder)
{
    char name[200];
    snprintf(name, sizeof name, "%s/golden.safetensors", folder);
    open_run(r, name, 4, 16);
    snprintf(name, sizeof name, "%s/batches.npy", folder);
    OK(r, genet__npy_open(&r->batches, golden_path(name), &r->err));
    OK(r, r->m = genet__model_open(golden_path(folder), r->device, true, &r->err));
}

static inline void prepare_steps_in(run *r, const char *type, bool checkpoint)
{
    r->options = (train_options){ .seed = SEED, .checkpoint_activations = checkpoint, .dtype = type, .optim = {
        .optimizer = "adamw", .beta1 = 0.9, .beta2 = 0.99, .adam_epsilon = 1e-8, .weight_decay = 0.1, .max_grad_norm = 1 } };
    r->job = (train_job){ .options = &r->options, .params = r->m->params, .workspace = r->space, .batch_rows = r->B,
                          .user = r->what.user, .build = r->what.build, .feed = r->what.feed };
    OK(r, genet__step_build(&r->step, &r->job, r->B, 1, &r->err));
    OK(r, genet__params_place(r->m->params, &r->err));
    OK(r, genet__params_fill(r->m->params, &r->err));
    OK(r, genet__step_attach(&r->step, &r->job, &r->err));
}

static inline void prepare_steps(run *r, bool checkpoint) { prepare_steps_in(r, "f32", checkpoint); }

static inline void close_run(run *r)
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

static inline double element(const safetensor *t, int64_t i)
{
    double d;
    float f;
    if (t->dtype == GENET_F64) return memcpy(&d, t->at + 8 * i, 8), d;
    return memcpy(&f, t->at + 4 * i, 4), (double)f;
}

/* got[i * stride] against t, to bar times the largest element. */
static inline void expect_close(const safetensor *t, const float *got, double factor, double bar)
{
    double scale = 1e-3, worst = 0;         /* of what is 0 but for rounding there is no scale */
    for (int64_t i = 0; i < t->numel; i++) scale = fmax(scale, fabs(element(t, i)));
    for (int64_t i = 0; i < t->numel; i++) worst = fmax(worst, fabs(factor * (double)got[i] - element(t, i)));
    if (!(worst <= bar * scale)) fail_msg("%s: off by %g of its scale, not %g", t->name, worst / scale, bar);
}

static inline double *steps_of(run *r)
{
    double *losses = malloc((size_t)r->n_steps * sizeof *losses);
    for (int64_t i = 0; i < r->n_steps; i++) {
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
static inline float *read_gradient(run *r)
{
    int64_t n = r->step.weights.start[r->step.weights.n];
    float *g = malloc((size_t)n * sizeof *g);
    OK(r, genet_plan_read(r->step.plan, r->step.gradient, g, (size_t)n * sizeof *g, &r->err));
    return g;
}

/* Logits of ids (B, T) against want, to bar of their scale. */
static inline void check_forward(run *r, const int32_t *ids, int64_t B, int64_t T, const safetensor *want, double bar)
{
    genet_graph *g = genet_graph_new();
    net n = { .graph = g, .params = r->m->params };
    tensor *x = genet_input(g, "x", GENET_I32, GENET_DIMS(B, T));
    tensor *logits = genet__model_forward(r->m, &n, &(model_inputs){ .x = x });
    genet_plan *p = genet_compile(g, &logits, 1, r->device, NULL, &r->err);
    OK(r, p);
    OK(r, genet_plan_attach(p, r->space, &r->err) && genet__params_bind(r->m->params, g, p, &r->err));
    OK(r, genet_plan_write(p, x, ids, (size_t)(B * T) * sizeof *ids, &r->err) && genet_plan_run(p, &r->err));
    float *got = malloc(want->size_bytes);
    OK(r, genet_plan_read(p, logits, got, want->size_bytes, &r->err));
    expect_close(want, got, 1, bar);
    free(got);
    genet_plan_free(p);
    genet_graph_free(g);
}

static inline void check_logits(run *r)
{
    for (int64_t b = 0; b < r->B; b++)
        for (int64_t t = 0; t < r->T; t++) r->ids[b * r->T + t] = r->token(r, 0, b, t);
    check_forward(r, r->ids, r->B, r->T, get(r, "logits", ""), gradient_bar);
}

/* Every gradient of the first batch's loss. */
static inline void check_gradients(run *r)
{
    step_result got;
    prepare_steps(r, false);
    OK(r, genet__step_run(&r->step, &r->job, 0, 1, 1e-3, &got, &r->err));
    float *g = read_gradient(r);
    for (int i = 0; i < r->step.weights.n; i++) {
        const safetensor *want = get(r, "grad.", r->step.weights.param[i]->name);
        assert_int_equal(want->numel, r->step.weights.start[i + 1] - r->step.weights.start[i]);
        expect_close(want, g + r->step.weights.start[i], 1 / (double)(r->B * r->T), gradient_bar);
    }
    free(g);
}
#endif
