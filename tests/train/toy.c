/* toy.c - see toy.h. */
#include "train/toy.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/file.h"
#include "base/rng.h"

enum { ROWS = 4 };

static bool build(void *user, net *n, int64_t rows, tensor **loss_sum, tensor **count, genet_err *err)
{
    (void)err;
    toy *t = user;
    t->x = genet_input(n->graph, "x", GENET_F32, GENET_DIMS(rows, 2));
    t->y = genet_input(n->graph, "y", GENET_F32, GENET_DIMS(rows, 1));
    tensor *y = linear(n, "fc", t->x, 1, NULL);
    if (t->idle_weight) {
        tensor *w = genet__net_weight(n, "idle", GENET_DIMS(1), INIT_OF_ONES);
        y = genet_add(y, genet_mul(w, genet_full(n->graph, GENET_F32, 0, 1, (int64_t[]){ 1 })));
    }
    *loss_sum = genet_mse(y, t->y);
    *count = genet_side(*loss_sum, 1);
    return true;
}

static bool feed(void *user, genet_plan *p, int64_t step, int64_t micro, genet_err *err)
{
    toy *t = user;
    float x[2 * ROWS], y[ROWS];
    for (int i = 0; i < 2 * ROWS; i++)
        x[i] = (float)genet__rng_normal(3, 1, (uint32_t)step, (uint64_t)(micro * 2 * ROWS + i));
    for (int i = 0; i < ROWS; i++) y[i] = 3 * x[2 * i] - x[2 * i + 1] + 0.5f;
    if (t->poison_from && step + 1 >= t->poison_from) x[0] = NAN;
    if (!genet_plan_write(p, t->x, x, sizeof x, err)) return false;
    return genet_plan_write(p, t->y, y, sizeof y, err);
}

/* Distance of the weights from the true ones. */
static bool evaluate(void *user, train_score *out, genet_err *err)
{
    toy *t = user;
    float w[2];
    *out = (train_score){ NAN, NAN, NAN, NAN, NAN, NAN, NAN, 1 };
    if (!genet__params_read(t->p, genet__params_find(t->p, "fc.weight"), w, sizeof w, err)) return false;
    out->loss = t->n_scores ? t->scores[t->n_score % t->n_scores] : hypot((double)w[0] - 3, (double)w[1] + 1);
    t->n_score++;
    return true;
}

/* As a signal in the middle of a step. */
static void watch(void *user, const train_event *e)
{
    toy *t = user;
    if (e->kind == TRAIN_BEGIN && t->stop_at == 1) t->stop = 1;
    if (e->kind == TRAIN_STEP && t->stop_at == e->step + 1) t->stop = 1;
}

static void hear(void *user, log_level level, const char *text)
{
    toy *t = user;
    if (level != LOG_WARN) return;
    t->n_warning++;
    snprintf(t->warning, sizeof t->warning, "%s", text);
}

bool toy_open(toy *t, const char *folder)
{
    *t = (toy){0};
    static log_sink sink;
    sink = (log_sink){ hear, t };
    t->device = genet_device_cpu(1, &t->err);
    t->space = t->device ? genet_workspace_new(t->device) : NULL;
    t->p = t->space ? genet__params_new(t->device, 9, &t->err) : NULL;
    t->settings = json_pack("{s:s}", "toy", "yes");
    if (!t->p || !genet__fields_defaults(&genet__train_fields, &t->options, &t->arena, &t->err)) return false;
    t->options.out = folder;
    t->options.max_steps = 6;
    t->options.eval_steps = 2;
    t->options.save_steps = 1;
    t->options.warmup_steps = 0;
    t->options.learning_rate = 0.05;
    t->job = (train_job){ .options = &t->options, .settings = t->settings, .params = t->p, .workspace = t->space, .log = &sink,
                          .unit = "rows", .batch_rows = ROWS, .units_per_row = 1, .steps_per_epoch = 3, .user = t,
                          .build = build, .feed = feed, .evaluate = evaluate, .stop = &t->stop, .watch = watch, .watcher = t };
    return true;
}

void toy_close(toy *t)
{
    genet__params_free(t->p);
    genet_workspace_free(t->space);
    genet_device_free(t->device);
    genet__arena_release(&t->arena);
    json_decref(t->settings);
}

bool toy_train(toy *t) { return genet__train(&t->job, &t->last, &t->err); }

uint64_t toy_file_sum(const char *folder, const char *name)
{
    char path[400];
    uint32_t crc;
    int64_t size;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return genet__file_crc32(path, &crc, &size, NULL) ? (uint64_t)size << 32 | crc : 0;
}

void toy_folder(char out[200], const char *name)
{
    const char *tmp = getenv("TMPDIR");
    snprintf(out, 200, "%.100s/genet-%s-%d", tmp && *tmp ? tmp : "/tmp", name, (int)getpid());
    toy_remove(out);
}

void toy_remove(const char *folder) { genet__file_remove_tree(folder, NULL); }
