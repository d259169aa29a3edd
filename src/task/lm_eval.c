/* lm_eval.c - the full pass of a language model over a text: every token but
 * the first is predicted once, in non-overlapping blocks of T tokens.  One
 * fixed plan serves all; what does not fill it has targets that count
 * nothing. */
#include <math.h>
#include "base/alloc.h"
#include "base/err.h"
#include "base/rng.h"
#include "task/lm.h"

tensor *genet__lm_loss(tensor *logits, tensor *target, double smoothing)
{
    const tensor *y = logits;
    while (genet__op_is(y, OP_reshape)) y = y->in[0];
    bool product = !y->poisoned && genet__op_is(y, OP_matmul) && y->in[0]->shape.rank == 2 && y->in[1]->shape.rank == 2;
    if (!product) return genet_cross_entropy(logits, target, NO_TARGET, smoothing);
    tensor *head = y->in[1], *weight = genet__op_is(head, OP_permute) ? head->in[0] : genet_transpose(head, 0, 1);
    return genet_linear_cross_entropy(y->in[0], weight, genet_reshape(target, GENET_DIMS(-1)), NO_TARGET, smoothing);
}

/* Forward and loss of (rows, T); sum and count are read back. */
bool genet__lm_eval_build(lm_eval *e, model *m, const lm_mask *mask, int64_t rows, int64_t T, dtype type, genet_err *err)
{
    *e = (lm_eval){ .rows = rows, .T = T, .graph = genet_graph_new(), .mask = mask };
    e->x_ids = genet__alloc_array((size_t)(rows * T), sizeof *e->x_ids);
    e->target_ids = genet__alloc_array((size_t)(rows * T), sizeof *e->target_ids);
    e->ids = genet__alloc_array((size_t)T, sizeof *e->ids);
    e->length = genet__alloc_array((size_t)rows, sizeof *e->length);
    if (!e->graph || !e->x_ids || !e->target_ids || !e->ids || !e->length) return genet__err_memory(err);
    net n = { .graph = e->graph, .params = m->params, .dtype = type };
    e->x = genet_input(e->graph, "x", GENET_I32, GENET_DIMS(rows, T));
    e->target = genet_input(e->graph, "target", GENET_I32, GENET_DIMS(rows, T));
    if (mask) e->lengths = genet_input(e->graph, "lengths", GENET_I32, GENET_DIMS(rows));
    tensor *logits = genet__model_forward(m, &n, &(model_inputs){ .x = e->x, .lengths = e->lengths });
    e->sum = genet__lm_loss(logits, e->target, 0);
    e->count = genet_side(e->sum, 1);
    tensor *out[] = { e->sum, e->count };
    e->plan = genet_compile(e->graph, out, 2, m->params->device, NULL, err);
    if (e->plan) e->workspace_bytes = genet_plan_describe(e->plan).workspace_bytes;
    return e->plan;
}

bool genet__lm_eval_attach(lm_eval *e, model *m, genet_workspace *w, genet_err *err)
{
    TRY(genet_plan_attach(e->plan, w, err));
    return genet__params_bind(m->params, e->graph, e->plan, err);
}

void genet__lm_eval_release(lm_eval *e)
{
    genet_plan_free(e->plan);
    genet_graph_free(e->graph);
    genet__free(e->x_ids);
    genet__free(e->target_ids);
    genet__free(e->ids);
    genet__free(e->length);
    *e = (lm_eval){0};
}

/* Tokens of text in a full row. */
static int64_t row_tokens(const lm_eval *e) { return e->T - (e->mask ? e->mask->around : 0); }

/* One row of n tokens from `at` on: each predicts the next, or the hidden ones are predicted. */
static void fill_row(lm_eval *e, const corpus *c, const tokenizer *t, int64_t row, int64_t at, int64_t n)
{
    int32_t *x = e->x_ids + row * e->T, *y = e->target_ids + row * e->T;
    for (int64_t i = 0; i < e->T; i++) x[i] = 0, y[i] = NO_TARGET;
    e->length[row] = (int32_t)(n + (e->mask ? e->mask->around : 0));
    genet__corpus_read(c, at, n, e->mask ? e->ids : x);
    if (e->mask) genet__lm_mask_row(e->mask, t, e->ids, n, genet__rng_stream("mask.eval"), 0, (uint64_t)at, x, y);
    else genet__corpus_read(c, at + 1, n, y);
}

/* Blocks from `at` on, as many as the plan takes; returns where the next begins. */
static int64_t fill_rows(lm_eval *e, const corpus *c, const tokenizer *t, int64_t at, int64_t last)
{
    for (int64_t row = 0; row < e->rows; row++) {
        int64_t n = last - at < row_tokens(e) ? last - at : row_tokens(e);
        fill_row(e, c, t, row, at, n);
        at += n;
    }
    return at;
}

bool genet__lm_eval_run(lm_eval *e, const corpus *c, const tokenizer *t, int64_t from, int64_t to,
                        train_score *out, genet_err *err)
{
    double sum = 0;
    int64_t count = 0, last = e->mask ? to : to - 1;        /* the last token predicts nothing */
    size_t size = (size_t)(e->rows * e->T) * sizeof *e->x_ids;
    for (int64_t at = from; at < last;) {
        float part, n;
        at = fill_rows(e, c, t, at, last);
        TRY(genet_plan_write(e->plan, e->x, e->x_ids, size, err));
        TRY(genet_plan_write(e->plan, e->target, e->target_ids, size, err));
        if (e->lengths) TRY(genet_plan_write(e->plan, e->lengths, e->length, (size_t)e->rows * sizeof *e->length, err));
        TRY(genet_plan_run(e->plan, err));
        TRY(genet_plan_read(e->plan, e->sum, &part, sizeof part, err));
        TRY(genet_plan_read(e->plan, e->count, &n, sizeof n, err));
        sum += (double)part;
        count += (int64_t)n;
    }
    if (!count)
        return genet__err_set(err, GENET_ERR_USAGE, "a text of %lld tokens has nothing to predict", (long long)(to - from));
    double bytes = e->mask ? 0 : (double)genet__corpus_bytes(c, t, from + 1, to);
    *out = (train_score){ .loss = sum / (double)count, .perplexity = exp(sum / (double)count), .count = count,
                          .accuracy = NAN, .bits_per_byte = bytes > 0 ? sum / log(2) / bytes : NAN };
    return true;
}
