/* tune_score.c - log-probabilities of what is said in sequences: as a graph, in the loss of preferences, and of many sequences,
 * those of like lengths together. */
#include "base/alloc.h"
#include "base/err.h"
#include "task/tune_rows.h"

enum { TOKENS = 1024, MOST_ROWS = 16 };     /* inputs of a plan, about: their logits exist at once */

/* --- graphs --------------------------------------------------------------------------------- */

tensor *genet__row_log_probabilities(tensor *logits, tensor *target, tensor *said)
{
    int64_t rows = dim_of(logits, 0), T = dim_of(logits, 1);
    tensor *picked = genet_gather_last(logits, genet_reshape(target, GENET_DIMS(rows, T, 1)));
    tensor *all = genet_logsumexp(logits, genet_axis(logits, -1), false);
    tensor *log_p = genet_sub(genet_reshape(picked, GENET_DIMS(rows, T)), all);
    return genet_sum(genet_mul(log_p, said), genet_axis(said, 1), false);
}

tensor *genet__dpo_loss(tensor *log_p, tensor *reference, double beta, double smoothing)
{
    int64_t pairs = dim_of(log_p, 0) / 2;
    tensor *margin = genet_sub(genet_slice(log_p, 0, 0, pairs, 1), genet_slice(log_p, 0, pairs, pairs, 1));
    tensor *z = genet_sub(margin, reference);
    z = genet_mul(z, genet_scalar_like(z, beta));
    tensor *loss = genet_neg(genet_log_sigmoid(z));
    if (smoothing <= 0) return loss;
    tensor *other = genet_neg(genet_log_sigmoid(genet_neg(z)));
    return genet_add(genet_mul(loss, genet_scalar_like(z, 1 - smoothing)), genet_mul(other, genet_scalar_like(z, smoothing)));
}

/* --- many sequences ---------------------------------------------------------------------------- */

static bool build_shape(struct scorer_shape *p, const model *m, dtype type, genet_err *err)
{
    if (!(p->graph = genet_graph_new())) return genet__err_memory(err);
    net n = { .graph = p->graph, .params = m->params, .dtype = type };
    p->x = genet_input(p->graph, "x", GENET_I32, GENET_DIMS(p->rows, p->T));
    p->target = genet_input(p->graph, "target", GENET_I32, GENET_DIMS(p->rows, p->T));
    p->said = genet_input(p->graph, "said", GENET_F32, GENET_DIMS(p->rows, p->T));
    tensor *logits = genet__model_forward(m, &n, &(model_inputs){ .x = p->x });
    p->sum = genet__row_log_probabilities(logits, p->target, p->said);
    p->best = genet_argmax(logits, 2, false);
    tensor *out[] = { p->sum, p->best };
    return (p->plan = genet_compile(p->graph, out, 2, m->params->device, NULL, err));
}

bool genet__row_scorer_build(row_scorer *s, const model *m, const int64_t *T, int n, dtype type, genet_err *err)
{
    int64_t most = 0;
    *s = (row_scorer){ .n = n };
    for (int i = 0; i < n; i++) {
        int64_t rows = TOKENS / T[i];
        s->at[i].T = T[i];
        s->at[i].rows = rows < 1 ? 1 : rows < MOST_ROWS ? rows : MOST_ROWS;
        if (s->at[i].rows * T[i] > most) most = s->at[i].rows * T[i];
        TRY(build_shape(&s->at[i], m, type, err));
        size_t bytes = genet_plan_describe(s->at[i].plan).workspace_bytes;
        if (bytes > s->workspace_bytes) s->workspace_bytes = bytes;
    }
    s->x = genet__alloc_array((size_t)most, sizeof *s->x);
    s->target = genet__alloc_array((size_t)most, sizeof *s->target);
    s->best = genet__alloc_array((size_t)most, sizeof *s->best);
    s->said = genet__alloc_array((size_t)most, sizeof *s->said);
    s->sum = genet__alloc_array(MOST_ROWS, sizeof *s->sum);
    return (s->x && s->target && s->best && s->said && s->sum) || genet__err_memory(err);
}

bool genet__row_scorer_attach(row_scorer *s, const model *m, genet_workspace *w, genet_err *err)
{
    for (int i = 0; i < s->n; i++)
        TRY(genet_plan_attach(s->at[i].plan, w, err) && genet__params_bind(m->params, s->at[i].graph, s->at[i].plan, err));
    return true;
}

void genet__row_scorer_release(row_scorer *s)
{
    for (int i = 0; i < s->n; i++) {
        genet_plan_free(s->at[i].plan);
        genet_graph_free(s->at[i].graph);
    }
    void *heap[] = { s->x, s->target, s->best, s->said, s->sum };
    for (size_t i = 0; i < sizeof heap / sizeof *heap; i++) genet__free(heap[i]);
    *s = (row_scorer){0};
}

/* The sequences at[which[0 .. n)] through plan p. */
static bool run_some(row_scorer *s, struct scorer_shape *p, const example *const *at, const int64_t *which, int64_t n, row_score *out,
                     genet_err *err)
{
    size_t all = (size_t)(p->rows * p->T);
    for (int64_t b = 0; b < p->rows; b++)
        genet__tune_row(b < n ? at[which[b]] : NULL, p->T, s->x + b * p->T, s->target + b * p->T, s->said + b * p->T);
    TRY(genet_plan_write(p->plan, p->x, s->x, all * sizeof *s->x, err));
    TRY(genet_plan_write(p->plan, p->target, s->target, all * sizeof *s->target, err));
    TRY(genet_plan_write(p->plan, p->said, s->said, all * sizeof *s->said, err) && genet_plan_run(p->plan, err));
    TRY(genet_plan_read(p->plan, p->sum, s->sum, (size_t)p->rows * sizeof *s->sum, err));
    TRY(genet_plan_read(p->plan, p->best, s->best, all * sizeof *s->best, err));
    for (int64_t b = 0; b < n; b++) {
        row_score *o = &out[which[b]];
        *o = (row_score){ .log_p = (double)s->sum[b] };
        for (int64_t t = b * p->T; t < (b + 1) * p->T; t++) {
            o->said += s->target[t] != NO_TARGET;
            o->right += s->target[t] != NO_TARGET && s->best[t] == s->target[t];
        }
    }
    return true;
}

/* The shortest shape that holds it. */
static int shape_of(const row_scorer *s, const example *e)
{
    int which = 0;
    while (which + 1 < s->n && e->n - 1 <= s->at[which + 1].T) which++;
    return which;
}

bool genet__row_scorer_run(row_scorer *s, const example *const *at, int64_t n, row_score *out, const volatile sig_atomic_t *stop,
                           genet_err *err)
{
    int64_t which[MOST_ROWS], k;
    for (int i = 0; i < s->n; i++)
        for (int64_t next = 0; next < n;) {
            for (k = 0; next < n && k < s->at[i].rows; next++)
                if (shape_of(s, at[next]) == i) which[k++] = next;
            if (stop && *stop) return genet__err_set(err, GENET_ERR_STOPPED, "stopped");
            if (k) TRY(run_some(s, &s->at[i], at, which, k, out, err));
        }
    return true;
}
