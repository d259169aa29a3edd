/* batch.h - a batch of texts of different lengths through a model with any head, as transformers computes it: answers, the
 * loss, every gradient (tools/golden_bert.py and golden_heads.py make what is compared with). */
#ifndef GENET_TESTS_GOLDEN_BATCH_H
#define GENET_TESTS_GOLDEN_BATCH_H
#include "golden/run.h"

enum { BATCH_STEPS = 10 };

/* Norms after every sum round twice as often as GPT-2's. */
static const double batch_bar = 1e-4;

typedef struct batch {
    run     r;
    tensor *ids, *lengths, *segments, *labels, *mask, *out;
} batch;

static inline const safetensor *golden(batch *b, const char *name) { return get(&b->r, "", name); }

/* The sum of the losses; side 1 of what cross-entropy gives counts. */
static inline tensor *loss_of(batch *b, net *n, tensor **count)
{
    const model_head *head = b->r.m->head;
    tensor *y = b->out;
    *count = genet_full(n->graph, GENET_F32, 1, 0, NULL);
    if (head->kind == HEAD_NONE) {
        tensor *of_seven = genet_iota(n->graph, GENET_F32, 3 * 12 * 8, 0, 7);
        tensor *eleven = genet_scalar_like(of_seven, 11), *rest = genet_sub(of_seven, genet_mul(genet_floor(genet_div(of_seven, eleven)), eleven));
        tensor *weights = genet_div(genet_sub(rest, genet_scalar_like(rest, 5)), genet_scalar_like(rest, 5));
        return genet_sum(genet_mul(genet_mul(y, b->mask), genet_reshape(weights, GENET_DIMS(3, 12, 8))), 7, false);
    }
    if (head->kind != HEAD_SPAN) {
        tensor *loss = genet_cross_entropy(y, b->labels, -100, 0);
        *count = genet_side(loss, 1);
        return loss;
    }
    tensor *hidden = genet_mul(genet_sub(genet_scalar_like(y, 1), b->mask), genet_scalar_like(y, -1e30));  /* padding */
    tensor *all = genet_permute(genet_add(y, hidden), 3, (const int64_t[]){ 2, 0, 1 });             /* (2, B, T) */
    *count = genet_full(n->graph, GENET_F32, 6, 0, NULL);
    return genet_cross_entropy(genet_copy(all), b->labels, -100, 0);
}

static inline bool build_batch(void *user, net *n, int64_t rows, tensor **loss_sum, tensor **count, genet_err *err)
{
    batch *b = user;
    head_kind kind = b->r.m->head->kind;
    bool long_labels = kind == HEAD_MASKED_LM || kind == HEAD_TOKEN;
    (void)err;
    (void)rows;
    b->ids = genet_input(n->graph, "ids", GENET_I32, GENET_DIMS(3, 12));
    b->lengths = genet_input(n->graph, "lengths", GENET_I32, GENET_DIMS(3));
    b->segments = genet_input(n->graph, "segments", GENET_I32, GENET_DIMS(3, 12));
    b->mask = genet_input(n->graph, "mask", GENET_F32, GENET_DIMS(3, 12, 1));
    b->labels = kind == HEAD_SPAN ? genet_input(n->graph, "labels", GENET_I32, GENET_DIMS(2, 3))
              : long_labels ? genet_input(n->graph, "labels", GENET_I32, GENET_DIMS(3, 12))
                            : genet_input(n->graph, "labels", GENET_I32, GENET_DIMS(3));
    b->out = genet__model_forward(b->r.m, n, &(model_inputs){ .x = b->ids, .lengths = b->lengths,
                                  .segment = strcmp(b->r.m->family->name, "bert") ? NULL : b->segments });
    *loss_sum = loss_of(b, n, count);
    return true;
}

static inline void give(batch *b, genet_plan *p, tensor *t, const char *name)
{
    const safetensor *s = golden(b, name);
    int32_t at[64];
    memcpy(at, s->at, s->size_bytes);
    OK(&b->r, genet_plan_write(p, t, at, s->size_bytes, &b->r.err));
}

static inline bool feed_batch(void *user, genet_plan *p, int64_t step, int64_t micro, genet_err *err)
{
    batch *b = user;
    (void)step, (void)micro, (void)err;
    int32_t length[3];
    float mask[36];
    memcpy(length, golden(b, "lengths")->at, sizeof length);
    for (int i = 0; i < 36; i++) mask[i] = i % 12 < length[i / 12];
    give(b, p, b->ids, "ids");
    give(b, p, b->lengths, "lengths");
    if (!strcmp(b->r.m->family->name, "bert")) give(b, p, b->segments, "segments");
    if (b->r.m->head->kind == HEAD_NONE || b->r.m->head->kind == HEAD_SPAN)
        OK(&b->r, genet_plan_write(p, b->mask, mask, sizeof mask, &b->r.err));
    if (b->r.m->head->kind != HEAD_NONE) give(b, p, b->labels, "labels");
    return true;
}

/* tests/golden/GROUP/FAMILY-HEAD */
static inline void open_batch(batch *b, const char *group, const char *name_of_family, const char *head)
{
    char folder[100], name[140];
    *b = (batch){0};
    snprintf(folder, sizeof folder, "%s/%s-%s", group, name_of_family, head);
    snprintf(name, sizeof name, "%s/golden.safetensors", folder);
    open_run(&b->r, name, 3, 12);
    OK(&b->r, b->r.m = genet__model_open(golden_path(folder), b->r.device, MODEL_WRITABLE, &b->r.err));
    assert_string_equal(b->r.m->family->name, name_of_family);
    b->r.what = (train_job){ .user = b, .build = build_batch, .feed = feed_batch };
    b->r.n_steps = BATCH_STEPS;
}

/* Of rows within their lengths. */
static inline void check_out(batch *b)
{
    genet_graph *g = genet_graph_new();
    net n = { .graph = g, .params = b->r.m->params };
    tensor *sum, *count;
    build_batch(b, &n, 3, &sum, &count, &b->r.err);
    tensor *asked[] = { b->out, sum, count };
    genet_plan *p = genet_compile(g, asked, 3, b->r.device, NULL, &b->r.err);
    OK(&b->r, p);
    OK(&b->r, genet_plan_attach(p, b->r.space, &b->r.err) && genet__params_bind(b->r.m->params, g, p, &b->r.err));
    feed_batch(b, p, 0, 0, &b->r.err);
    OK(&b->r, genet_plan_run(p, &b->r.err));
    const safetensor *want = golden(b, "out");
    float *got = malloc(want->size_bytes), total, n_counted;
    int32_t length[3];
    memcpy(length, golden(b, "lengths")->at, sizeof length);
    OK(&b->r, genet_plan_read(p, b->out, got, want->size_bytes, &b->r.err));
    OK(&b->r, genet_plan_read(p, sum, &total, sizeof total, &b->r.err) && genet_plan_read(p, count, &n_counted, sizeof n_counted, &b->r.err));
    int64_t width = want->dim[want->rank - 1];
    for (int64_t i = 0; want->rank == 3 && i < 36; i++)
        if (i % 12 >= length[i / 12]) memset(got + i * width, 0, (size_t)width * sizeof *got);
    expect_close(want, got, 1, batch_bar);
    double loss = element(golden(b, "loss"), 0);
    if (!(fabs((double)(total / n_counted) - loss) < 1e-5 * fabs(loss))) fail_msg("loss is %.9g, not %.9g", (double)(total / n_counted), loss);
    free(got);
    genet_plan_free(p);
    genet_graph_free(g);
}

/* transformers' base model has no prefix. */
static inline const char *ungrown(const batch *b, const char *name)
{
    const char *prefix = b->r.m->family->prefix;
    return b->r.m->head->kind == HEAD_NONE && !strncmp(name, prefix, strlen(prefix)) ? name + strlen(prefix) : name;
}

/* What the loss is the mean of. */
static inline double counted(batch *b)
{
    const safetensor *labels = golden(b, "labels");
    head_kind kind = b->r.m->head->kind;
    if (kind == HEAD_NONE || kind == HEAD_SPAN) return kind == HEAD_NONE ? 1 : 6;
    int n = 0;
    for (int64_t i = 0; i < labels->numel; i++) {
        int32_t id;
        memcpy(&id, labels->at + 4 * i, 4);
        n += id != -100;
    }
    return n;
}

static inline void check_grads(batch *b)
{
    step_result got;
    prepare_steps(&b->r, false);
    OK(&b->r, genet__step_run(&b->r.step, &b->r.job, 0, 1, 0, &got, &b->r.err));
    float *g = read_gradient(&b->r);
    for (int i = 0; i < b->r.step.weights.n; i++) {
        const char *name = b->r.step.weights.param[i]->name;
        if (strstr(name, "key.bias") || strstr(name, "k_lin.bias")) continue;       /* adds the same to all scores: 0 but for rounding */
        expect_close(get(&b->r, "grad.", ungrown(b, name)), g + b->r.step.weights.start[i], 1 / counted(b), batch_bar);
    }
    free(g);
}
#endif
