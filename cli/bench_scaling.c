/* bench_scaling.c - `genet bench --scaling`: one product of matrices, and a training step of the default gpt2, on 1, 2, ...
 * threads: a table, and a picture of how often faster each is than on one.
 *
 * Beside the product stands its share of what so many threads' registers reach, which tells a machine that
 * clocks down, or whose cores are not all there, from an engine that does not scale. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/alloc.h"
#include "base/err.h"
#include "base/rng.h"
#include "bench_scaling.h"
#include "image/chart.h"
#include "machine.h"
#include "task/lm.h"
#include "task/task.h"
#include "train/step.h"

enum { MOST_POINTS = 64, EACH = 8, VOCAB = 65, WARM = 3, STEPS = 40 };
static const double enough_s = 0.4;

typedef struct point { int threads; double product, peak, step_s, tokens; } point;

/* --- a training step ---------------------------------------------------------------------- */

typedef struct trainee { setup setup; model *model; train_job job; train_step step; int64_t B, T; tensor *x, *target; int32_t *ids; }
    trainee;

static bool build(void *user, net *n, int64_t rows, tensor **loss_sum, tensor **count, genet_err *err)
{
    (void)err;
    trainee *t = user;
    t->x = genet_input(n->graph, "x", GENET_I32, GENET_DIMS(rows, t->T));
    t->target = genet_input(n->graph, "target", GENET_I32, GENET_DIMS(rows, t->T));
    *loss_sum = genet__lm_loss(genet__model_forward(t->model, n, &(model_inputs){ .x = t->x }), t->target, 0);
    *count = genet_side(*loss_sum, 1);
    return true;
}

/* Any ids will do. */
static bool feed(void *user, genet_plan *p, int64_t step, int64_t micro, genet_err *err)
{
    (void)micro;
    trainee *t = user;
    int64_t n = t->B * t->T;
    for (int64_t i = 0; i <= n; i++) t->ids[i] = (int32_t)(genet__rng_u32(1, (uint32_t)step, 0, (uint64_t)i) % VOCAB);
    TRY(genet_plan_write(p, t->x, t->ids, (size_t)n * sizeof *t->ids, err));
    return genet_plan_write(p, t->target, t->ids + 1, (size_t)n * sizeof *t->ids, err);
}

/* The defaults of `genet train gpt2`, on so many threads. */
static bool open_trainee(trainee *t, int threads, genet_err *err)
{
    setup *s = &t->setup;
    TRY(genet__setup_init(s, "gpt2", NULL, err));
    *(int64_t *)((char *)s->config + s->family->vocab_size) = VOCAB;
    t->T = *(int64_t *)((char *)s->config + s->family->context);
    t->B = s->train.batch_size;
    TRY((s->device = genet_device_cpu(threads, err)));
    if (!(s->workspace = genet_workspace_new(s->device))) return genet__err_memory(err);
    TRY((t->model = genet__model_new(s->family, s->config, s->device, 1, err)));
    TRY(genet__model_declare(t->model, err));
    if (!(t->ids = genet__alloc_array((size_t)(t->B * t->T + 1), sizeof *t->ids))) return genet__err_memory(err);
    t->job = (train_job){ .options = &s->train, .params = t->model->params, .workspace = s->workspace, .batch_rows = t->B,
                          .user = t, .build = build, .feed = feed };
    TRY(genet__step_build(&t->step, &t->job, t->B, 1, err));
    TRY(genet__params_place(t->job.params, err) && genet__params_fill(t->job.params, err));
    return genet__step_attach(&t->step, &t->job, err);
}

static void close_trainee(trainee *t)
{
    genet__step_release(&t->step);
    genet__model_free(t->model);
    genet_workspace_free(t->setup.workspace);
    genet_device_free(t->setup.device);
    genet__free(t->ids);
    genet__setup_release(&t->setup);
    genet__free(t);
}

static int rising(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The median of the steps that fit into a while, when a few have warmed up. */
static bool time_steps(trainee *t, double *median, genet_err *err)
{
    double all[STEPS], spent = 0;
    int n = 0;
    for (int i = 0; i < WARM + STEPS && (n < 5 || spent < enough_s); i++) {
        step_result r;
        double began = genet__now_s();
        TRY(genet__step_run(&t->step, &t->job, i, i + 1, 1e-4, &r, err));
        if (i < WARM) continue;
        spent += all[n++] = genet__now_s() - began;
    }
    qsort(all, (size_t)n, sizeof *all, rising);
    *median = all[n / 2];
    return true;
}

/* --- the curve --------------------------------------------------------------------------------- */

static bool measure(point *p, int threads, genet_err *err)
{
    static const int64_t dim[3] = { 1024, 1024, 1024 };
    machine m;
    trainee *t = genet__alloc(sizeof *t);
    if (!t) return genet__err_memory(err);
    p->threads = threads;
    bool ok = open_trainee(t, threads, err) && cli_measure(&m, t->setup.device, err) &&
              cli_product_speed(t->setup.device, GENET_ARITHMETIC_F32, dim, &p->product, err) && time_steps(t, &p->step_s, err);
    if (ok) {
        p->peak = m.flops[GENET_ARITHMETIC_F32];
        p->tokens = (double)(t->B * t->T) / p->step_s;
    }
    close_trainee(t);
    return ok;
}

/* 1, 2, ... 8, 16, 32, ..., and the last. */
static int following(int threads, int most)
{
    int next = threads < EACH ? threads + 1 : 2 * threads;
    return threads < most && next > most ? most : next;
}

static void print_point(const point *p, const point *one, bool json)
{
    double product = p->product / one->product, step = one->step_s / p->step_s;
    if (json)
        printf("{\"threads\": %d, \"product_gflops\": %.5g, \"product_share\": %.4g, \"product_speedup\": %.4g, \"step_ms\": %.5g, "
               "\"tokens_per_s\": %.5g, \"step_speedup\": %.4g}\n", p->threads, p->product * 1e-9, p->product / p->peak, product,
               p->step_s * 1e3, p->tokens, step);
    else
        printf("%7d %16.0f %7.0f %% %7.2f x %12.2f %10.0f %7.2f x\n", p->threads, p->product * 1e-9, 100 * p->product / p->peak,
               product, p->step_s * 1e3, p->tokens, step);
    fflush(stdout);
}

static bool draw(const point *p, int n, const char *path, genet_err *err)
{
    double x[MOST_POINTS], product[MOST_POINTS], step[MOST_POINTS];
    for (int i = 0; i < n; i++) {
        x[i] = p[i].threads;
        product[i] = p[i].product / p->product;
        step[i] = p->step_s / p[i].step_s;
    }
    chart_curve curve[] = {
        { .name = "one thread's speed, times threads", .x = x, .y = x, .n = n, .color = 2, .faint = true },
        { .name = "product 1024 x 1024 x 1024", .x = x, .y = product, .n = n, .marks = true },
        { .name = "training step of the default gpt2", .x = x, .y = step, .n = n, .color = 1, .marks = true },
    };
    chart c = { .x_label = "threads", .y_label = "times as fast as one", .curve = curve, .n_curve = sizeof curve / sizeof *curve };
    return genet__chart_write(&c, path, err);
}

bool cli_bench_scaling(const bench_scaling *o, genet_err *err)
{
    point all[MOST_POINTS];
    int n = 0;
    if (!o->json) printf("threads  product GFLOP/s  of peak  speed      step ms   tokens/s  speed\n");
    for (int threads = 1; threads <= o->most && n < MOST_POINTS; threads = following(threads, o->most), n++) {
        TRY(measure(&all[n], threads, err));
        print_point(&all[n], all, o->json);
    }
    return !o->picture || draw(all, n, o->picture, err);
}
