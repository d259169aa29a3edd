/* texts.c - plans of a few shapes for texts of any length. */
#include "infer/texts.h"
#include <math.h>
#include <string.h>
#include "base/alloc.h"
#include "base/err.h"

/* Tokens of a row: SHORTEST times a power of two, up to what the model sees.  Tokens of a batch: enough for products at
 * full speed, few enough for the caches. */
enum { SHORTEST = 8, MOST_SHAPES = 24, BATCH_TOKENS = 1024, MOST_ROWS = 32 };

typedef struct shape_plan {
    int64_t     B, T;
    graph      *graph;
    genet_plan *plan;
    tensor     *x, *lengths, *segment, *y;
    bool        attached;
} shape_plan;

struct texts {
    const model *model;
    const model_head *head;
    params     *params, *beside;        /* beside: of its own, or NULL */
    genet_workspace *workspace;
    pooling     pool;
    dtype       type;
    int64_t     width;
    bool        each_token, segments;
    shape_plan  at[MOST_SHAPES];
    int         n;
    int32_t    *x, *segment, *lengths;
    float      *y;
};

static const char *const pooling_names[] = { "", "mean", "cls", "last", "max", "mean_sqrt" };

pooling genet__pooling_of(const char *name)
{
    for (int i = POOL_MEAN; i <= POOL_MEAN_SQRT; i++)
        if (!strcmp(name, pooling_names[i])) return (pooling)i;
    return POOL_NONE;
}

/* --- pooling --------------------------------------------------------------------------- */

/* 1 within a row's length, 0 beyond: f32 (B, T, 1). */
static tensor *mask_of(graph *g, tensor *lengths, int64_t B, int64_t T)
{
    tensor *column = genet_iota(g, GENET_I32, T, 0, 1);
    tensor *within = genet_lt(column, genet_reshape(lengths, GENET_DIMS(B, 1)));
    return genet_reshape(genet_cast(within, GENET_F32), GENET_DIMS(B, T, 1));
}

/* (B, T, C) -> (B, C) */
static tensor *pooled(graph *g, tensor *x, tensor *lengths, pooling how)
{
    if (x->poisoned) return x;
    int64_t B = dim_of(x, 0), T = dim_of(x, 1), C = dim_of(x, 2);
    if (how == POOL_CLS) return genet_reshape(genet_slice(x, 1, 0, 1, 1), GENET_DIMS(B, C));
    if (how == POOL_LAST) {
        tensor *end = genet_add(genet_iota(g, GENET_I32, B, 0, (double)T), lengths);
        return genet_gather(genet_reshape(x, GENET_DIMS(B * T, C)), genet_sub(end, genet_scalar_like(end, 1)));
    }
    tensor *mask = mask_of(g, lengths, B, T);
    if (how == POOL_MAX) {
        tensor *outside = genet_sub(genet_scalar_like(mask, 1), mask);
        x = genet_sub(x, genet_mul(outside, genet_scalar_like(mask, 1e30)));
        return genet_max_over(x, genet_axis(x, 1), false);
    }
    tensor *masked = genet_mul(x, mask), *sum = genet_sum(masked, genet_axis(masked, 1), false);
    tensor *count = genet_reshape(genet_cast(lengths, GENET_F32), GENET_DIMS(B, 1));
    return genet_div(sum, how == POOL_MEAN_SQRT ? genet_sqrt(count) : count);
}

void genet__unit_length(float *x, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += (double)x[i] * (double)x[i];
    double scale = sum > 0 ? 1 / sqrt(sum) : 0;
    for (int64_t i = 0; i < n; i++) x[i] = (float)((double)x[i] * scale);
}

/* --- plans ----------------------------------------------------------------------------- */

static bool build(texts *t, shape_plan *p, genet_err *err)
{
    if (p->plan) return true;
    if (!p->graph && !(p->graph = genet_graph_new())) return genet__err_memory(err);
    net n = { .graph = p->graph, .params = t->params, .dtype = t->type };
    p->x = genet_input(p->graph, "x", GENET_I32, GENET_DIMS(p->B, p->T));
    p->lengths = genet_input(p->graph, "lengths", GENET_I32, GENET_DIMS(p->B));
    if (t->segments) p->segment = genet_input(p->graph, "segment", GENET_I32, GENET_DIMS(p->B, p->T));
    model_inputs in = { .x = p->x, .lengths = p->lengths, .segment = p->segment, .n_labels = t->model->n_labels };
    p->y = t->head->forward(&n, t->model->config, &in);
    if (t->pool != POOL_NONE) p->y = pooled(p->graph, p->y, p->lengths, t->pool);
    p->y = genet_copy(p->y);
    TRY(genet__graph_ok(p->graph, err));
    p->plan = genet_compile(p->graph, &p->y, 1, t->params->device, NULL, err);
    return p->plan;
}

static void release(shape_plan *p)
{
    genet_plan_free(p->plan);
    genet_graph_free(p->graph);
    p->plan = NULL;
    p->graph = NULL;
}

static bool need(texts *t, shape_plan *p, genet_err *err)
{
    if (p->attached) return true;
    p->attached = build(t, p, err) && genet__params_place(t->params, err) && genet__params_fill(t->params, err) &&
                  genet_plan_attach(p->plan, t->workspace, err) && genet__params_bind(t->params, p->graph, p->plan, err);
    if (!p->attached) release(p);
    return p->attached;
}

/* The shortest that n tokens fit. */
static shape_plan *shape_for(texts *t, int64_t n)
{
    for (int i = 0; i < t->n; i++)
        if (n <= t->at[i].T) return &t->at[i];
    return NULL;
}

int64_t genet__texts_longest(const texts *t) { return t->at[t->n - 1].T; }
int64_t genet__texts_width(const texts *t) { return t->width; }

bool genet__texts_bytes(texts *t, int64_t T, size_t *bytes, genet_err *err)
{
    shape_plan *p = shape_for(t, T);
    if (!p) p = &t->at[t->n - 1];
    TRY(build(t, p, err));
    *bytes = genet_plan_describe(p->plan).workspace_bytes;
    return true;
}

static void set_shapes(texts *t)
{
    int64_t longest = *genet__model_int(t->model, t->model->family->context);
    for (int64_t T = SHORTEST; t->n < MOST_SHAPES && (!t->n || t->at[t->n - 1].T < longest); T *= 2) {
        shape_plan *p = &t->at[t->n++];
        p->T = T < longest && t->n < MOST_SHAPES ? T : longest;
        p->B = BATCH_TOKENS / p->T;
        p->B = p->B < 1 ? 1 : p->B > MOST_ROWS ? MOST_ROWS : p->B;
    }
}

bool genet__has_segments(const model *m)
{
    const field *f = genet__fields_find(m->family->config, "type_vocab_size");
    return f && *genet__model_int(m, f->offset) > 1;
}

/* Of an answer, or of a token's. */
static bool set_width(texts *t, genet_err *err)
{
    static const char *const names[] = { "hidden_size", "n_embd", "dim" };
    const model *m = t->model;
    const field *f = NULL;
    if (t->head->kind == HEAD_SPAN) t->width = 2;
    else if (t->head->kind != HEAD_NONE) t->width = m->n_labels;
    for (int i = 0; !t->width && !f && i < 3; i++) f = genet__fields_find(m->family->config, names[i]);
    if (f) t->width = *genet__model_int(m, f->offset);
    return t->width > 0 || genet__err_set(err, GENET_ERR_USAGE, "family %s says nothing of its width", m->family->name);
}

static bool set_head(texts *t, genet_err *err)
{
    const model *m = t->model;
    t->head = m->head;
    if (t->pool == POOL_NONE)
        return m->head->kind != HEAD_LM ||
               genet__err_set(err, GENET_ERR_USAGE, "the model is a %s: it answers nothing about texts", m->head->architecture);
    for (t->head = m->family->heads; t->head->architecture; t->head++)
        if (t->head->kind == HEAD_NONE) return true;
    return genet__err_set(err, GENET_ERR_USAGE, "a model of family %s gives no hidden states", m->family->name);
}

static bool set_up(texts *t, params *own, genet_err *err)
{
    const model *m = t->model;
    size_t most = 0;
    if (!m->family->context) return genet__err_set(err, GENET_ERR_USAGE, "a model of family %s reads no text", m->family->name);
    TRY(set_head(t, err) && set_width(t, err));
    set_shapes(t);
    for (int i = 0; i < t->n; i++)
        if ((size_t)(t->at[i].B * t->at[i].T) > most) most = (size_t)(t->at[i].B * t->at[i].T);
    if (!own && !(t->beside = genet__params_beside(m->params, err))) return false;
    t->params = own ? own : t->beside;
    t->segments = genet__has_segments(m);
    t->each_token = t->pool == POOL_NONE && t->head->kind != HEAD_SEQUENCE;
    t->x = genet__alloc_array(most, sizeof *t->x);
    t->segment = genet__alloc_array(most, sizeof *t->segment);
    t->lengths = genet__alloc_array(MOST_ROWS, sizeof *t->lengths);
    t->y = genet__alloc_array((t->each_token ? most : MOST_ROWS) * (size_t)t->width, sizeof *t->y);
    return (t->x && t->segment && t->lengths && t->y) || genet__err_memory(err);
}

texts *genet__texts_new(const model *m, params *own, genet_workspace *w, pooling pool, dtype type, genet_err *err)
{
    texts *t = genet__alloc(sizeof *t);
    if (!t) {
        genet__err_memory(err);
        return NULL;
    }
    t->model = m;
    t->workspace = w;
    t->pool = pool;
    t->type = type;
    if (set_up(t, own, err)) return t;
    genet__texts_free(t);
    return NULL;
}

void genet__texts_free(texts *t)
{
    if (!t) return;
    for (int i = 0; i < t->n; i++) release(&t->at[i]);
    genet__params_free(t->beside);
    genet__free(t->x);
    genet__free(t->segment);
    genet__free(t->lengths);
    genet__free(t->y);
    genet__free(t);
}

/* --- running ---------------------------------------------------------------------------- */

/* Rows that are not there are one token each: their answers are not read. */
static bool write_rows(texts *t, shape_plan *p, const text_row *row, const int64_t *which, int64_t n, genet_err *err)
{
    size_t size = (size_t)(p->B * p->T) * sizeof *t->x;
    memset(t->x, 0, size);
    memset(t->segment, 0, size);
    for (int64_t b = 0; b < p->B; b++) {
        const text_row *r = b < n ? &row[which[b]] : NULL;
        t->lengths[b] = r ? r->n : 1;
        for (int i = 0; r && i < r->n; i++) {
            t->x[b * p->T + i] = r->ids[i];
            t->segment[b * p->T + i] = i >= r->first;
        }
    }
    TRY(genet_plan_write(p->plan, p->x, t->x, size, err));
    if (p->segment) TRY(genet_plan_write(p->plan, p->segment, t->segment, size, err));
    return genet_plan_write(p->plan, p->lengths, t->lengths, (size_t)p->B * sizeof *t->lengths, err);
}

static bool all_are_finite(const float *y, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        if (!isfinite(y[i])) return false;
    return true;
}

static bool run_batch(texts *t, shape_plan *p, const text_row *row, const int64_t *which, int64_t n, texts_fn *take, void *user,
                      genet_err *err)
{
    int64_t stride = t->width * (t->each_token ? p->T : 1);
    TRY(need(t, p, err) && write_rows(t, p, row, which, n, err) && genet_plan_run(p->plan, err));
    TRY(genet_plan_read(p->plan, p->y, t->y, (size_t)(p->B * stride) * sizeof *t->y, err));
    for (int64_t b = 0; b < n; b++) {
        const float *y = t->y + b * stride;
        int64_t tokens = t->each_token ? row[which[b]].n : 1;
        if (!all_are_finite(y, tokens * t->width))
            return genet__err_set(err, GENET_ERR_FORMAT, "the model's answer to text %lld is not finite: its weights are damaged, or "
                                  "too large", (long long)which[b] + 1);
        TRY(take(user, which[b], y, tokens, err));
    }
    return true;
}

bool genet__texts_run(texts *t, const text_row *row, int64_t n, texts_fn *take, void *user, genet_err *err)
{
    int64_t which[MOST_ROWS];
    for (int s = 0; s < t->n; s++) {
        shape_plan *p = &t->at[s];
        int64_t waiting = 0;
        for (int64_t i = 0; i < n; i++) {
            if (row[i].n < 1 || row[i].n > genet__texts_longest(t))
                return genet__err_set(err, GENET_ERR_USAGE, "a text of %d tokens; the model reads 1 to %lld", row[i].n,
                                      (long long)genet__texts_longest(t));
            if (shape_for(t, row[i].n) == p) which[waiting++] = i;
            if (waiting < p->B) continue;
            TRY(run_batch(t, p, row, which, waiting, take, user, err));
            waiting = 0;
        }
        if (waiting) TRY(run_batch(t, p, row, which, waiting, take, user, err));
    }
    return true;
}
