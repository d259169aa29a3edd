/* step.c - one training step as one plan; with gradient accumulation as two,
 * which meet in the running sums.  The sums are divided once, by the count of
 * the whole batch, so 8 rows at once and 4 times 2 learn the same. */
#include "train/step.h"
#include <string.h>
#include "base/alloc.h"
#include "base/err.h"
#include "base/str.h"
#include "plan/read.h"

static bool scalar(const tensor *t, const char *what, genet_err *err)
{
    return t->shape.rank == 0 ||
           genet__err_set(err, GENET_ERR_GRAPH, "the %s must be a scalar, and is %s", what, SHAPE_TEXT(t));
}

/* The state nodes of all weights, where no forward pass makes them. */
static void touch_weights(net *n)
{
    params *p = n->params;
    for (int i = 0; i < p->n; i++)
        if (p->at[i]->kind == PARAM_WEIGHT && !p->at[i]->frozen)
            genet__params_tensor(p, n->graph, p->at[i]->name, PARAM_WEIGHT, p->at[i]->dtype, p->at[i]->shape.rank,
                                 p->at[i]->shape.dim, p->at[i]->init);
}

/* The second plan of an accumulated step: sums in, weights out, sums cleared. */
static bool build_update(train_step *s, const train_job *job, int64_t n_gradient, genet_err *err)
{
    if (!(s->update_graph = genet_graph_new())) return genet__err_memory(err);
    net n = { .graph = s->update_graph, .params = job->params, .training = true };
    touch_weights(&n);
    optim_weights w;
    TRY(genet__optim_weights(&n, &s->arena, &w, err));
    optim_sums sums = genet__optim_sums(&n, n_gradient);
    s->optim = genet__optim_update(&n, &job->options->optim, &w, sums.gradient, sums.loss, sums.count);
    genet__optim_clear(&sums);
    tensor *out[] = { s->optim.loss, s->optim.grad_norm, s->optim.finite };
    s->update = genet_compile(s->update_graph, out, 3, job->params->device, NULL, err);
    if (s->update) s->update_info = genet_plan_describe(s->update);
    return s->update;
}

/* The graph of a (micro-)batch, and with it the update unless that is a plan
 * of its own.  The flat gradient is an output: it lives until the last update
 * anyway, and the first step looks at it. */
bool genet__step_build(train_step *s, const train_job *job, int64_t rows, int64_t accumulation, genet_err *err)
{
    *s = (train_step){ .graph = genet_graph_new(), .accumulation = accumulation };
    if (!s->graph) return genet__err_memory(err);
    net n = { .graph = s->graph, .params = job->params, .training = true,
              .checkpoint = job->options->checkpoint_activations, .dtype = genet__train_dtype(job->options) };
    n.rng = s->rng = genet_input(s->graph, "rng", GENET_I32, GENET_DIMS(4));
    tensor *loss_sum, *count;
    TRY(job->build(job->user, &n, rows, &loss_sum, &count, err));
    TRY(genet__graph_ok(s->graph, err));
    TRY(scalar(loss_sum, "loss", err) && scalar(count, "count", err));
    TRY(genet__optim_weights(&n, &s->arena, &s->weights, err));
    if (!(s->gradient = genet__optim_gradient(&n, &s->weights, loss_sum, err))) return false;
    tensor *out[4] = { s->gradient };
    int n_out = 0;
    if (accumulation > 1) {
        optim_sums sums = genet__optim_sums(&n, s->weights.start[s->weights.n]);
        genet__optim_accumulate(&sums, s->gradient, loss_sum, count);
    } else {
        s->optim = genet__optim_update(&n, &job->options->optim, &s->weights, s->gradient, loss_sum, count);
        memcpy(out + 1, (tensor *[]){ s->optim.loss, s->optim.grad_norm, s->optim.finite }, 3 * sizeof *out);
        n_out = 4;
    }
    if (!(s->plan = genet_compile(s->graph, out, n_out, job->params->device, NULL, err))) return false;
    s->info = genet_plan_describe(s->plan);
    return accumulation == 1 || build_update(s, job, s->weights.start[s->weights.n], err);
}

void genet__step_release(train_step *s)
{
    genet_plan_free(s->plan);
    genet_plan_free(s->update);
    genet_graph_free(s->graph);
    genet_graph_free(s->update_graph);
    genet__arena_release(&s->arena);
    *s = (train_step){0};
}

bool genet__step_attach(train_step *s, const train_job *job, genet_err *err)
{
    TRY(genet_plan_attach(s->plan, job->workspace, err));
    TRY(genet__params_bind(job->params, s->graph, s->plan, err));
    if (!s->update) return true;
    TRY(genet_plan_attach(s->update, job->workspace, err));
    return genet__params_bind(job->params, s->update_graph, s->update, err);
}

/* --- running --------------------------------------------------------------------- */

/* rng: seed, step, and the row of the whole batch where this part begins, so
 * that dropout does not depend on how the batch is cut. */
static bool run_micro(train_step *s, const train_job *job, int64_t step, int64_t micro, genet_err *err)
{
    uint64_t seed = (uint64_t)job->options->seed;
    int32_t rng[4] = { (int32_t)(uint32_t)seed, (int32_t)(uint32_t)(seed >> 32), (int32_t)step,
                       (int32_t)(micro * job->batch_rows) };
    TRY(genet_plan_write(s->plan, s->rng, rng, sizeof rng, err));
    TRY(job->feed(job->user, s->plan, step, micro, err));
    return genet_plan_run(s->plan, err);
}

static bool write_update(genet_plan *p, const optim_step *o, double learning_rate, int64_t update, genet_err *err)
{
    float lr = (float)learning_rate, number = (float)update;
    TRY(genet_plan_write(p, o->learning_rate, &lr, sizeof lr, err));
    return genet_plan_write(p, o->step, &number, sizeof number, err);
}

/* Three scalars back to the host. */
static bool read_result(genet_plan *p, const optim_step *o, step_result *out, genet_err *err)
{
    uint8_t finite;
    TRY(genet_plan_read(p, o->loss, &out->loss, sizeof out->loss, err));
    TRY(genet_plan_read(p, o->grad_norm, &out->grad_norm, sizeof out->grad_norm, err));
    TRY(genet_plan_read(p, o->finite, &finite, sizeof finite, err));
    out->finite = finite;
    return true;
}

bool genet__step_run(train_step *s, const train_job *job, int64_t step, int64_t update, double learning_rate,
                     step_result *out, genet_err *err)
{
    if (!s->update) {
        TRY(write_update(s->plan, &s->optim, learning_rate, update, err));
        TRY(run_micro(s, job, step, 0, err));
        return read_result(s->plan, &s->optim, out, err);
    }
    for (int64_t micro = 0; micro < s->accumulation; micro++) TRY(run_micro(s, job, step, micro, err));
    TRY(write_update(s->update, &s->optim, learning_rate, update, err));
    if (!step) TRY(genet__step_check_gradients(s, job, err));       /* the update clears the sums */
    TRY(genet_plan_run(s->update, err));
    return read_result(s->update, &s->optim, out, err);
}

/* --- who did not learn? ------------------------------------------------------------ */

enum { PIECE = 1 << 16 };       /* of the gradient, looked at at once */

/* Elements first .. first + n of the flat gradient, wherever this kind of step keeps it. */
static bool read_gradient(train_step *s, const train_job *job, int64_t first, int64_t n, float *to, genet_err *err)
{
    if (!s->update) return genet__plan_read_part(s->plan, s->gradient, first, n, to, err);
    genet__params_read_part(job->params, genet__params_find(job->params, "sum.gradient"), first, n, to);
    return true;
}

/* Is the gradient zero from one element to another?  Most are not from the start. */
static bool is_zero(train_step *s, const train_job *job, int64_t from, int64_t to, float *piece, bool *zero, genet_err *err)
{
    *zero = true;
    for (; *zero && from < to; from += PIECE) {
        int64_t n = to - from < PIECE ? to - from : PIECE;
        TRY(read_gradient(s, job, from, n, piece, err));
        for (int64_t i = 0; i < n; i++) *zero &= piece[i] == 0;
    }
    return true;
}

/* A weight that exists but never gets a gradient would silently stay as it began. */
bool genet__step_check_gradients(train_step *s, const train_job *job, genet_err *err)
{
    const optim_weights *w = &s->weights;
    float *piece = genet__alloc_array(PIECE, sizeof *piece);
    if (!piece) return genet__err_memory(err);
    str names = {0};
    int n = 0;
    bool ok = true, zero;
    for (int i = 0; ok && i < w->n; i++)
        if ((ok = is_zero(s, job, w->start[i], w->start[i + 1], piece, &zero, err)) && zero)
            genet__str_printf(&names, "%s%s", n++ ? ", " : "", w->param[i]->name);
    if (n) genet__log(job->log, LOG_WARN, "after the first step the gradient of %s is zero everywhere", genet__str(&names));
    genet__str_release(&names);
    genet__free(piece);
    return ok;
}
