/* table_net.c - a table's network outside training, and predicting with it. */
#include "task/table_net.h"
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "base/alloc.h"
#include "base/err.h"
#include "task/schema.h"

/* Forward only: no dropout, no gradients. */
bool genet__table_net_build(table_net *n, model *m, int64_t rows, dtype type, genet_err *err)
{
    *n = (table_net){ .graph = genet_graph_new(), .model = m, .rows = rows,
                      .n_input = *genet__model_int(m, m->family->n_input),
                      .n_output = *genet__model_int(m, m->family->n_output) };
    n->in = genet__alloc_array((size_t)(rows * n->n_input), sizeof *n->in);
    n->out = genet__alloc_array((size_t)(rows * n->n_output), sizeof *n->out);
    if (!n->graph || !n->in || !n->out) return genet__err_memory(err);
    net b = { .graph = n->graph, .params = m->params, .dtype = type };
    n->x = genet_input(n->graph, "x", GENET_F32, GENET_DIMS(rows, n->n_input));
    n->y = genet_copy(genet__model_forward(m, &b, &(model_inputs){ .x = n->x }));
    n->plan = genet_compile(n->graph, &n->y, 1, m->params->device, NULL, err);
    if (n->plan) n->workspace_bytes = genet_plan_describe(n->plan).workspace_bytes;
    return n->plan;
}

bool genet__table_net_attach(table_net *n, genet_workspace *w, genet_err *err)
{
    TRY(genet_plan_attach(n->plan, w, err));
    return genet__params_bind(n->model->params, n->graph, n->plan, err);
}

bool genet__table_net_run(table_net *n, genet_err *err)
{
    TRY(genet_plan_write(n->plan, n->x, n->in, (size_t)(n->rows * n->n_input) * sizeof *n->in, err));
    TRY(genet_plan_run(n->plan, err));
    return genet_plan_read(n->plan, n->y, n->out, (size_t)(n->rows * n->n_output) * sizeof *n->out, err);
}

void genet__table_net_release(table_net *n)
{
    genet_plan_free(n->plan);
    genet_graph_free(n->graph);
    genet__free(n->in);
    genet__free(n->out);
    *n = (table_net){0};
}

int genet__table_net_class(const float *logits, int n)
{
    int best = 0;
    for (int i = 1; i < n; i++)
        if (logits[i] > logits[best]) best = i;
    return best;
}

/* --- predicting --------------------------------------------------------------------- */

/* What a person reads: the class, or the number. */
static const char *answer(const schema *s, const float *y, arena *a)
{
    if (s->classify) return s->class_name[genet__table_net_class(y, s->n_class)];
    return genet__arena_printf(a, "%.7g", (double)y[0]);
}

static bool finite_row(const float *y, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        if (!isfinite(y[i])) return false;
    return true;
}

static bool not_finite(const table *t, int64_t r, genet_err *err)
{
    return genet__err_set(err, GENET_ERR_FORMAT,
                          "%s: line %lld: the model's answer is not finite: the row's numbers are too large "
                          "for it, or its weights are damaged", t->path, (long long)t->line[r]);
}

/* One text a row of t. */
static bool fill_cells(table_net *n, const schema *s, const table *t, const float *inputs, const char **cell, arena *a,
                       genet_err *err)
{
    for (int64_t at = 0; at < t->n_row; at += n->rows) {
        int64_t rows = t->n_row - at < n->rows ? t->n_row - at : n->rows;
        memcpy(n->in, inputs + at * n->n_input, (size_t)(rows * n->n_input) * sizeof *n->in);
        TRY(genet__table_net_run(n, err));
        for (int64_t i = 0; i < rows; i++) {
            if (!finite_row(n->out + i * n->n_output, n->n_output)) return not_finite(t, at + i, err);
            if (!(cell[at + i] = answer(s, n->out + i * n->n_output, a))) return genet__err_memory(err);
        }
    }
    return true;
}

/* config.json and table.json must be of one model. */
static bool fits(const schema *s, const table_net *n, const char *folder, genet_err *err)
{
    int64_t outputs = s->classify ? s->n_class : 1;
    return (n->n_input == s->n_input && n->n_output == outputs) ||
           genet__err_set(err, GENET_ERR_FORMAT,
                          "%s: table.json describes %lld inputs and %lld outputs, config.json %lld and %lld",
                          folder, (long long)s->n_input, (long long)outputs, (long long)n->n_input, (long long)n->n_output);
}

/* Rows go through a plan of at most 256 at a time. */
static bool predict(model *m, const schema *s, const table *t, const char *folder, str *out, genet_err *err)
{
    arena a = {0};
    table_net n = {0};
    genet_workspace *w = genet_workspace_new(m->params->device);
    const char **cell = ARENA_ARRAY(&a, const char *, t->n_row + 1);
    bool ok = (w && cell) || genet__err_memory(err);
    ok = ok && genet__table_net_build(&n, m, t->n_row < 256 ? t->n_row + !t->n_row : 256, GENET_F32, err) &&
         fits(s, &n, folder, err) &&
         genet__table_net_attach(&n, w, err);
    float *inputs = ok ? genet__schema_inputs(s, t, err) : NULL;
    ok = inputs && fill_cells(&n, s, t, inputs, cell, &a, err) && genet__table_print(t, "prediction", cell, out, err);
    genet__free(inputs);
    genet__table_net_release(&n);
    genet_workspace_free(w);
    genet__arena_release(&a);
    return ok;
}

/* As in training; columns that the model does not read may hold anything. */
static column_type trained_type(const void *user, const char *name)
{
    const schema *s = user;
    for (int i = 0; i < s->n_column; i++)
        if (!strcmp(s->column[i].name, name)) return s->column[i].text ? COLUMN_TEXT : COLUMN_NUMBER;
    return COLUMN_TEXT;
}

/* Model, schema and table, each with its own errors. */
bool genet__predict(const char *folder, const char *data, genet_device *d, str *out, genet_err *err)
{
    schema s = {0};
    table t = {0};
    model *m = genet__model_open(folder, d, MODEL_READ_ONLY, err);
    bool ok = m;
    if (ok && !m->family->n_input)
        ok = genet__err_set(err, GENET_ERR_USAGE, "%s holds a model of family %s, which reads no tables", folder,
                            m->family->name);
    ok = ok && genet__schema_read(&s, folder, err) &&
        genet__table_read_as(&t, data, 0, &(table_typing){ trained_type, &s }, err) &&
         predict(m, &s, &t, folder, out, err);
    genet__table_release(&t);
    genet__schema_release(&s);
    genet__model_free(m);
    return ok;
}
