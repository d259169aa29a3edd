/* grad.c - gradients are tensors: a loop over the array from the end.
 *
 * Each op's rule builds the gradients of its inputs from ops, so they can be
 * differentiated again.  Rules give gradients in the shape of the result;
 * the engine sums broadcast edges.  An op without a rule, or one of whose
 * sides a gradient reaches, is differentiated through its definition.
 *
 * The gradient of a stored type (bf16, f16) is f32, or f64 where that is what
 * is computed with: it is never rounded on its way.  For the same reason a
 * rule that reads a widened value widens it again, so that the narrow one is
 * all that is kept.
 *
 * The gradient of a stored type (bf16, f16) is f32, or f64 where that is what
 * is computed with: it is never rounded on its way.  A rule that reads a
 * widened value widens it again, so that only the narrow one is kept.
 *
 * Checkpointing: values of an ended region are read through genet__saved,
 * which makes their recomputation once, with all it needs back to the
 * region's inputs. */
#include "graph/graph.h"
#include "base/alloc.h"
#include <string.h>

/* --- checkpointing ----------------------------------------------------------- */

genet_tensor *genet_checkpoint(genet_tensor *t)
{
    if (t->poisoned) return t;
    t->clone = t;           /* the boundary itself is kept */
    t->graph->n_regions++;
    return t;
}

static bool recomputable(const tensor *t, int region)
{
    return t->region == region && !t->clone && !(t->op->flags & (OPF_LEAF | OPF_EFFECT));
}

/* Append a copy of op y whose inputs are the recomputed ones. */
static bool clone_op(tensor *y)
{
    tensor *in[MAX_IN], **from = y->n_in <= MAX_IN ? in : genet__arena_alloc(&y->graph->arena, sizeof *from * (size_t)y->n_in);
    if (!from) return genet__graph_no_memory(y->graph), false;
    for (int k = 0; k < y->n_in; k++) {
        tensor *x = y->in[k];
        from[k] = x && x->region == y->region && x->clone ? x->clone : x;
    }
    tensor *c = genet__apply(y->graph, y->op->id, from, y->n_in, &y->attr);
    if (c->poisoned) return false;
    for (int k = 0; k <= y->op->n_side; k++) {
        tensor *s = genet__side(y, k);
        if (!s->clone) s->clone = genet__side(c, k);
        genet__side(c, k)->original = s;
        genet__side(c, k)->name = s->name;
    }
    return true;
}

/* Clone t and what it needs inside its region: mark backwards, then append in
 * order.  No recursion, however deep the region. */
static void clone_into_backward(tensor *t)
{
    graph *g = t->graph;
    int last = t->main->id, first = last, region = t->region;
    while (first > 0 && g->node[first - 1]->region == region) first--;
    bool *need = genet__alloc_array((size_t)(last - first + 1), sizeof *need);
    if (!need) {
        genet__graph_no_memory(g);
        return;
    }
    need[last - first] = true;
    for (int i = last; i >= first; i--) {
        tensor *y = g->node[i];
        if (!need[i - first]) continue;
        for (int k = 0; k < y->n_in; k++) {
            tensor *x = y->in[k];
            if (x && recomputable(x, region)) need[x->main->id - first] = true;
        }
    }
    for (int i = first; i <= last; i++)
        if (need[i - first] && !clone_op(g->node[i])) break;
    genet__free(need);
}

static bool widens(const tensor *t)
{
    return genet__op_is(t, OP_cast) && genet__is_float(t->dtype) && genet__is_stored(t->in[0]->dtype);
}

/* t once more, from what it widens. */
static tensor *widened_again(tensor *t)
{
    if (t->again) return t->again;
    tensor *c = genet_cast(genet__saved(t->in[0]), t->dtype);
    if (c->poisoned) return c;
    c->original = t->original ? t->original : t;
    c->name = t->name;
    return t->again = c;
}

tensor *genet__saved(tensor *t)
{
    graph *g = t->graph;
    if (t->poisoned) return t;
    if (widens(t)) return widened_again(t);
    bool ended = t->region <= g->n_regions;
    if (!ended || t->region != g->reading) return t;
    if (!t->clone && recomputable(t, t->region)) clone_into_backward(t);
    return t->clone ? t->clone : t;
}

/* --- the backward loop --------------------------------------------------------- */

typedef struct backward {
    graph   *g;
    tensor **grad;      /* by id of the tensor */
    bool    *depends;   /* by id: on one of wrt */
    int      cap;
    bool     failed;
} backward;

static bool reserve(backward *b)
{
    int old = b->cap;
    if (b->g->n <= old) return true;
    int cap = b->g->n * 2;
    tensor **grad = genet__realloc(b->grad, (size_t)cap * sizeof *grad);
    if (grad) b->grad = grad;
    bool *depends = genet__realloc(b->depends, (size_t)cap * sizeof *depends);
    if (depends) b->depends = depends;
    if (!grad || !depends) {
        genet__graph_no_memory(b->g);
        b->failed = true;
        return false;
    }
    memset(b->grad + old, 0, (size_t)(cap - old) * sizeof *b->grad);
    memset(b->depends + old, 0, (size_t)(cap - old) * sizeof *b->depends);
    b->cap = cap;
    return true;
}

/* What stands for x in the backward pass: a recomputation is its original. */
static tensor *true_of(tensor *x) { return x->original ? x->original : x; }

/* g in the shape of x, and of a type that is computed with: that of what it is added to. */
static tensor *fit(tensor *g, const tensor *x, const tensor *have)
{
    dtype type = have ? have->dtype : genet__is_float(g->dtype) ? g->dtype : GENET_F32;
    return genet__sum_to(genet_cast(g, type), &x->shape);
}

/* Two gradients of one tensor.  What a rule has just made is made on top of what is there, if it can be. */
static tensor *join(tensor *have, tensor *g, bool fresh)
{
    tensor *joined = genet__join_pads(have, g);
    if (!joined && fresh) joined = genet__matmul_onto(have, g);
    if (!joined && fresh) joined = genet__scatter_onto(have, g);
    return joined ? joined : genet_add(have, g);
}

static void add_gradient(backward *b, tensor *x, tensor *g, bool fresh)
{
    if (!reserve(b) || !x || !g || x->poisoned || g->poisoned) return;
    x = true_of(x);
    if (!b->depends[x->id] || (x->side && x->op->flat_sides >> x->side & 1)) return;
    tensor *have = b->grad[x->id];
    g = fit(g, x, have);
    if (have) g = join(have, g, fresh);
    if (reserve(b)) b->grad[x->id] = g;
}

static void mark_dependents(backward *b, int first, int last)
{
    for (int i = first; i < last; i++) {
        tensor *y = b->g->node[i];
        if (y->side) b->depends[i] = b->depends[y->main->id];
        for (int k = 0; k < y->n_in && !b->depends[i]; k++)
            b->depends[i] = y->in[k] && b->depends[true_of(y->in[k])->id] && !genet__op_is(y, OP_stop);
    }
}

static void carry_back(backward *b, int first, int last);

/* Through the definition: build it and carry back over it. */
static void through_definition(backward *b, tensor *y)
{
    graph *g = y->graph;
    tensor *same = genet__saved(y)->main, *out[MAX_SIDE + 1];
    int first = g->n;
    genet__expand(same, out);
    if (g->failed || !reserve(b)) return;
    int last = g->n;
    mark_dependents(b, first, last);
    for (int k = 0; k <= y->op->n_side; k++) {
        tensor *gy = b->grad[y->id + k];
        if (!gy) continue;
        if (!out[k]) {
            genet__fail(y, "has no gradient through side %d", k);
            return;
        }
        /* an expansion may return an input as it is */
        add_gradient(b, out[k], gy, false);
    }
    carry_back(b, first, last);
}

static bool reached(const backward *b, const tensor *y, bool *side)
{
    bool any = b->grad[y->id] != NULL;
    *side = false;
    for (int k = 1; k <= y->op->n_side; k++) *side |= b->grad[y->id + k] != NULL;
    return any || *side;
}

static void carry_back_one(backward *b, tensor *y)
{
    const op *o = y->op;
    bool side;
    if (y->side || !reached(b, y, &side) || o->flags & (OPF_LEAF | OPF_ZERO_GRAD)) return;
    if (!b->depends[y->id]) return;
    if (o->flags & OPF_NO_GRAD) {
        genet__fail(&b->g->poison, "%s%s%s has no gradient, and one is wanted through it; cut it with stop()",
                    o->name, *y->name ? " in " : "", y->name);
        return;
    }
    b->g->reading = y->region;
    if (o->grad && !side) {
        tensor *small[MAX_IN] = {0}, **d = small;
        if (y->n_in > MAX_IN) d = genet__arena_alloc(&b->g->arena, sizeof *d * (size_t)y->n_in);
        if (!d) return genet__graph_no_memory(b->g);
        o->grad(y, b->grad[y->id], d);
        for (int k = 0; k < y->n_in && !b->failed; k++) add_gradient(b, y->in[k], d[k], d[k] != b->grad[y->id]);
    } else if (o->expand) {
        through_definition(b, y);
    } else {
        genet__fail(&b->g->poison, "%s has no gradient of this order", o->name);
    }
}

static void carry_back(backward *b, int first, int last)
{
    for (int i = last - 1; i >= first && !b->g->failed && !b->failed; i--) {
        int reading = b->g->reading;
        tensor *y = b->g->node[i];
        carry_back_one(b, y);
        b->g->reading = reading;
        if (b->g->failed) genet__fail_where(b->g, ", for the gradient of %s %s", y->op->name, y->name);
    }
}

void genet_grad(genet_tensor *loss, genet_tensor *const wrt[], int n, genet_tensor *out[])
{
    graph *g = loss->graph;
    for (int i = 0; i < n; i++) out[i] = NULL;
    if (loss->poisoned || g->failed) return;
    if (!genet__is_float(loss->dtype)) {
        genet__fail(loss, "a gradient needs a loss in f32 or f64, not %s", genet_dtype_name(loss->dtype));
        return;
    }
    for (int i = 0; i < n; i++)
        if (!wrt[i] || wrt[i]->poisoned || wrt[i]->graph != g) {
            genet__fail(&g->poison, "gradient: tensor %d to differentiate by is not of the loss's graph", i);
            return;
        }
    backward b = { .g = g };
    int end = g->n;
    tensor *one = genet_full(g, loss->dtype, 1, loss->shape.rank, loss->shape.dim);
    if (reserve(&b)) {
        for (int i = 0; i < n; i++) b.depends[wrt[i]->id] = true;
        mark_dependents(&b, 0, end);
        add_gradient(&b, loss, one, false);
        carry_back(&b, 0, end);
    }
    for (int i = 0; i < n && !g->failed && !b.failed; i++) out[i] = b.grad[wrt[i]->id];
    genet__free(b.grad);
    genet__free(b.depends);
}
