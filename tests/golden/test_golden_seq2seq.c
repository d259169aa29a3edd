/* labels: core
 * test_golden_seq2seq.c - Marian and T5 as transformers computes them (tools/golden_seq2seq.py): logits of sources of
 * different lengths, losses, smoothed too, gradients, ten steps of AdamW; greedy and beams through caches. */
#include "golden/run.h"

static const char *const names[] = { "marian", "marian-apart", "t5", "t5-gated" };
enum { N = 4, SEQ_STEPS = 10, ROWS = 3, S = 11, T = 9 };

typedef struct batch {
    run     r;
    double  smoothing;
    tensor *source, *lengths, *x, *labels, *logits;
} batch;

static bool build_batch(void *user, net *n, int64_t rows, tensor **loss_sum, tensor **count, genet_err *err)
{
    batch *b = user;
    (void)err, (void)rows;
    b->source = genet_input(n->graph, "source", GENET_I32, GENET_DIMS(ROWS, S));
    b->lengths = genet_input(n->graph, "lengths", GENET_I32, GENET_DIMS(ROWS));
    b->x = genet_input(n->graph, "x", GENET_I32, GENET_DIMS(ROWS, T));
    b->labels = genet_input(n->graph, "labels", GENET_I32, GENET_DIMS(ROWS, T));
    b->logits = genet__model_forward(b->r.m, n, &(model_inputs){ .x = b->x, .source = b->source, .source_lengths = b->lengths });
    *loss_sum = genet_cross_entropy(b->logits, b->labels, -100, b->smoothing);
    *count = genet_side(*loss_sum, 1);
    return true;
}

static void give(batch *b, genet_plan *p, tensor *t, const char *name)
{
    const safetensor *s = get(&b->r, name, "");
    int32_t at[64];
    memcpy(at, s->at, s->size_bytes);
    OK(&b->r, genet_plan_write(p, t, at, s->size_bytes, &b->r.err));
}

static bool feed_batch(void *user, genet_plan *p, int64_t step, int64_t micro, genet_err *err)
{
    batch *b = user;
    (void)step, (void)micro, (void)err;
    give(b, p, b->source, "source");
    give(b, p, b->lengths, "lengths");
    give(b, p, b->x, "x");
    give(b, p, b->labels, "labels");
    return true;
}

static void open_batch(batch *b, const char *name)
{
    char folder[100], file[140];
    *b = (batch){0};
    snprintf(folder, sizeof folder, "seq2seq/%s", name);
    snprintf(file, sizeof file, "%s/golden.safetensors", folder);
    open_run(&b->r, file, ROWS, T);
    OK(&b->r, b->r.m = genet__model_open(golden_path(folder), b->r.device, MODEL_WRITABLE, &b->r.err));
    b->r.what = (train_job){ .user = b, .build = build_batch, .feed = feed_batch };
    b->r.n_steps = SEQ_STEPS;
}

/* The mean loss; logits are checked on the way. */
static double loss_of(batch *b)
{
    genet_graph *g = genet_graph_new();
    net n = { .graph = g, .params = b->r.m->params };
    tensor *sum, *count;
    float total = 0, n_counted = 0;
    build_batch(b, &n, ROWS, &sum, &count, &b->r.err);
    tensor *asked[] = { b->logits, sum, count };
    genet_plan *p = genet_compile(g, asked, 3, b->r.device, NULL, &b->r.err);
    OK(&b->r, p);
    OK(&b->r, genet_plan_attach(p, b->r.space, &b->r.err) && genet__params_bind(b->r.m->params, g, p, &b->r.err));
    feed_batch(b, p, 0, 0, &b->r.err);
    OK(&b->r, genet_plan_run(p, &b->r.err));
    const safetensor *want = get(&b->r, "logits", "");
    float *got = malloc(want->size_bytes);
    OK(&b->r, genet_plan_read(p, b->logits, got, want->size_bytes, &b->r.err));
    OK(&b->r, genet_plan_read(p, sum, &total, sizeof total, &b->r.err) && genet_plan_read(p, count, &n_counted, sizeof n_counted, &b->r.err));
    expect_close(want, got, 1, 2e-5);
    free(got);
    genet_plan_free(p);
    genet_graph_free(g);
    return (double)(total / n_counted);
}

static void test_answers(void **state)
{
    (void)state;
    for (int i = 0; i < N; i++) {
        batch b;
        open_batch(&b, names[i]);
        double loss = loss_of(&b), want = element(get(&b.r, "loss", ""), 0);
        if (!(fabs(loss - want) < 1e-5 * want)) fail_msg("%s: loss is %.9g, not %.9g", names[i], loss, want);
        b.smoothing = 0.1;
        loss = loss_of(&b), want = element(get(&b.r, "smoothed", ""), 0);
        if (!(fabs(loss - want) < 1e-5 * want)) fail_msg("%s: smoothed loss is %.9g, not %.9g", names[i], loss, want);
        close_run(&b.r);
    }
}

static void test_gradients(void **state)
{
    (void)state;
    for (int i = 0; i < N; i++) {
        batch b;
        step_result got;
        open_batch(&b, names[i]);
        prepare_steps(&b.r, false);
        OK(&b.r, genet__step_run(&b.r.step, &b.r.job, 0, 1, 0, &got, &b.r.err));
        float *g = read_gradient(&b.r);
        for (int k = 0; k < b.r.step.weights.n; k++) {
            const char *name = b.r.step.weights.param[k]->name;
            if (strstr(name, "k_proj.bias")) continue;              /* adds the same to all scores: 0 but for rounding */
            expect_close(get(&b.r, "grad.", name), g + b.r.step.weights.start[k], 1.0 / (ROWS * T - 4), 1e-4);
        }
        free(g);
        close_run(&b.r);
    }
}

static void test_steps(void **state)
{
    (void)state;
    for (int i = 0; i < N; i++) {
        batch b;
        open_batch(&b, names[i]);
        prepare_steps(&b.r, i == 0);
        free(steps_of(&b.r));
        close_run(&b.r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers), cmocka_unit_test(test_gradients), cmocka_unit_test(test_steps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
