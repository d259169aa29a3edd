/* optim.c - gradients, clipping and updates as nodes of a graph.
 *
 * With g the gradient of the summed loss and c the count, the norm is
 * |g| / c and each update is given g and one scalar,
 *     grad_scale = min(1, max_norm / (norm + 1e-6)) / c
 * (torch.nn.utils.clip_grad_norm_), so the flat gradient is read twice and
 * written once; a weight's derived form is written as the weight is.  A sum of squares is finite only when every term is: the
 * norm and the loss together say whether the step counts. */
#include "nn/optim.h"
#include "base/err.h"
#include "base/str.h"
#include <stdio.h>
#include <string.h>

/* "a, b, c and 7 more" */
static void add_name(str *names, int *n, const char *name)
{
    if (++*n <= 8) genet__str_printf(names, "%s%s", *n > 1 ? ", " : "", name);
}

/* True when the list is empty; releases it. */
static bool unreached(str *names, int n, genet_err *err)
{
    if (n > 8) genet__str_printf(names, " and %d more", n - 8);
    bool ok = !n || genet__err_set(err, GENET_ERR_GRAPH, "the loss does not depend on %s: %s would never learn; "
                                   "freeze them or use them", genet__str(names), n > 1 ? "they" : "it");
    genet__str_release(names);
    return ok;
}

bool genet__optim_weights(net *n, arena *a, optim_weights *w, genet_err *err)
{
    const params *p = n->params;
    *w = (optim_weights){ .param = ARENA_ARRAY(a, param *, p->n + 1), .state = ARENA_ARRAY(a, tensor *, p->n + 1),
                          .derived = ARENA_ARRAY(a, tensor *, p->n + 1), .start = ARENA_ARRAY(a, int64_t, p->n + 1) };
    if (!w->param || !w->state || !w->derived || !w->start) return genet__err_memory(err);
    str missing = {0};
    int n_missing = 0;
    for (int i = 0; i < p->n; i++) {
        if (p->at[i]->kind != PARAM_WEIGHT || p->at[i]->frozen) continue;
        tensor *t = genet__params_node(n->graph, p->at[i]->name);
        if (!t) {
            add_name(&missing, &n_missing, p->at[i]->name);
            continue;
        }
        w->param[w->n] = p->at[i];
        w->state[w->n] = t;
        if (p->at[i]->derived) w->derived[w->n] = genet__params_node(n->graph, p->at[i]->derived->name);
        w->start[w->n + 1] = w->start[w->n] + genet__numel(&t->shape);
        w->n++;
    }
    TRY(unreached(&missing, n_missing, err));
    return w->n || genet__err_set(err, GENET_ERR_USAGE, "there is nothing to train: every weight is frozen");
}

/* What reaches a weight reaches it in f32 or in its derived form. */
static void weight_gradients(net *n, const optim_weights *w, tensor *loss_sum, tensor **d, tensor **both)
{
    for (int i = 0; i < w->n; i++) both[i] = w->state[i];
    int m = w->n;
    for (int i = 0; i < w->n; i++)
        if (w->derived[i]) both[m++] = w->derived[i];
    genet_grad(loss_sum, both, m, d);
    for (int i = 0, k = w->n; i < w->n && !n->graph->failed; i++)
        if (w->derived[i]) {
            tensor *other = d[k++];
            d[i] = d[i] && other ? genet_add(d[i], other) : d[i] ? d[i] : other;
        }
}

tensor *genet__optim_gradient(net *n, const optim_weights *w, tensor *loss_sum, genet_err *err)
{
    arena *a = &n->graph->arena;
    tensor **d = ARENA_ARRAY(a, tensor *, 2 * w->n), **both = ARENA_ARRAY(a, tensor *, 2 * w->n);
    if (!d || !both) {
        genet__err_memory(err);
        return NULL;
    }
    if (!genet__graph_ok(n->graph, err)) return NULL;
    weight_gradients(n, w, loss_sum, d, both);
    if (!genet__graph_ok(n->graph, err)) return NULL;
    str missing = {0};
    int n_missing = 0;
    for (int i = 0; i < w->n; i++) {
        if (d[i]) d[i] = genet_reshape(d[i], GENET_DIMS(-1));
        else add_name(&missing, &n_missing, w->param[i]->name);
    }
    if (!unreached(&missing, n_missing, err)) return NULL;
    tensor *flat = genet_concat(d, w->n, 0);
    if (!genet__graph_ok(n->graph, err)) return NULL;
    return genet_tensor_set_name(flat, "gradient");
}

/* --- the update ------------------------------------------------------------------- */

/* What all updates of a step share. */
typedef struct update {
    const optim_options *o;
    optim_step *s;
    tensor *scale;
} update;

/* Optimiser state of a weight, "optimizer.m.h.0.ln_1.weight", of its shape. */
static tensor *moment(net *n, const char *which, const param *w)
{
    char name[700];
    snprintf(name, sizeof name, "optimizer.%s.%s", which, w->name);
    return genet__params_tensor(n->params, n->graph, name, PARAM_OPTIMISER, w->dtype, w->shape.rank, w->shape.dim,
                                INIT_OF_ZEROS);
}

/* Matrices decay, vectors (biases, norms) do not: as nanoGPT and Hugging Face. */
static double decay_of(const optim_options *o, const tensor *t) { return t->shape.rank >= 2 ? o->weight_decay : 0; }

/* One weight by the optimiser's rule; the op leaves it alone when finite is 0. */
static void update_one(net *n, const update *u, const param *w, tensor *t, tensor *g)
{
    const optim_options *o = u->o;
    tensor *lr = u->s->learning_rate, *finite = u->s->finite, *narrow = w->derived ? genet__params_derived(n->params, t) : NULL;
    double decay = decay_of(o, t);
    if (!strcmp(o->optimizer, "sgd")) {
        tensor *velocity = o->momentum > 0 ? moment(n, "velocity", w) : NULL;
        genet_update_sgd(t, g, velocity, narrow, lr, u->scale, finite, o->momentum, o->nesterov, decay);
    } else if (!strcmp(o->optimizer, "lion")) {
        genet_update_lion(t, g, moment(n, "m", w), narrow, lr, u->scale, finite, o->beta1, o->beta2, decay);
    } else {
        genet_update_adam(t, g, moment(n, "m", w), moment(n, "v", w), narrow, lr, u->scale, u->s->step, finite,
                          o->beta1, o->beta2, o->adam_epsilon, decay, !strcmp(o->optimizer, "adamw"));
    }
}

static tensor *as_vector(tensor *x) { return genet_reshape(x, GENET_DIMS(1)); }

/* The scalars of the step, then an update for each weight from its part of
 * the flat gradient. */
optim_step genet__optim_update(net *n, const optim_options *o, const optim_weights *w,
                               tensor *gradient, tensor *loss_sum, tensor *count)
{
    graph *g = n->graph;
    optim_step s = { .learning_rate = genet_input(g, "learning_rate", GENET_F32, 0, NULL),
                     .step = genet_input(g, "step", GENET_F32, 0, NULL) };
    tensor *squares = genet_sum_squares(gradient);
    s.loss = genet_tensor_set_name(genet_div(loss_sum, count), "loss");
    s.grad_norm = genet_tensor_set_name(genet_div(genet_sqrt(squares), count), "grad_norm");
    tensor *both[] = { as_vector(s.loss), as_vector(s.grad_norm) };
    s.finite = genet_tensor_set_name(genet_all_finite(genet_concat(both, 2, 0)), "finite");
    tensor *one = genet_scalar_like(count, 1), *clip = one;
    if (o->max_grad_norm > 0) {
        tensor *bound = genet_scalar_like(count, o->max_grad_norm);
        clip = genet_min(one, genet_div(bound, genet_add(s.grad_norm, genet_scalar_like(count, 1e-6))));
    }
    update u = { o, &s, genet_tensor_set_name(genet_div(clip, count), "grad_scale") };
    for (int i = 0; i < w->n; i++) {
        tensor *t = w->state[i];
        tensor *part = genet_slice(gradient, 0, w->start[i], w->start[i + 1] - w->start[i], 1);
        update_one(n, &u, w->param[i], t, genet_reshape(part, t->shape.rank, t->shape.dim));
    }
    return s;
}

/* --- accumulation ------------------------------------------------------------------ */

optim_sums genet__optim_sums(net *n, int64_t n_gradient)
{
    return (optim_sums){ genet__net_state(n, "sum.gradient", PARAM_CACHE, 1, &n_gradient),
                         genet__net_state(n, "sum.loss", PARAM_CACHE, 0, NULL),
                         genet__net_state(n, "sum.count", PARAM_CACHE, 0, NULL) };
}

void genet__optim_accumulate(const optim_sums *s, tensor *gradient, tensor *loss_sum, tensor *count)
{
    genet_assign(s->gradient, genet_add(s->gradient, gradient));
    genet_assign(s->loss, genet_add(s->loss, loss_sum));
    genet_assign(s->count, genet_add(s->count, count));
}

static void clear(tensor *state)
{
    genet_assign(state, genet_full(state->graph, state->dtype, 0, state->shape.rank, state->shape.dim));
}

void genet__optim_clear(const optim_sums *s)
{
    clear(s->gradient);
    clear(s->loss);
    clear(s->count);
}
