/* compile.c - the graph the device will see.
 *
 * Lowering copies what outputs and effects need into a new graph, in order:
 * an op without a kernel here is replaced by its definition on the spot, an
 * input that a kernel cannot take strided gets one dense copy.  The copying is
 * repeated until nothing is replaced, so the last pass also prunes. */
#include "base/alloc.h"
#include "base/err.h"
#include "plan/plan.h"
#include <string.h>

/* The type that decides which table an op's kernel comes from. */
static dtype computing_type(const tensor *y)
{
    if (genet__is_float(y->dtype)) return y->dtype;
    for (int k = 0; k < y->n_in; k++)
        if (y->in[k] && genet__is_float(y->in[k]->dtype)) return y->in[k]->dtype;
    return GENET_I32;
}

const kernel *genet__plan_kernel(const genet_plan *p, const tensor *y)
{
    return p->device->kernel(p->device, y->op->id, computing_type(y));
}

static bool runs_as_it_is(const genet_plan *p, const tensor *y)
{
    return y->op->flags & (OPF_LEAF | OPF_VIEW | OPF_ELEMENTWISE) || genet__plan_kernel(p, y);
}

typedef struct pass {
    genet_plan *plan;
    graph      *from, *to;
    tensor    **map;            /* by id in from */
    bool       *need;
    bool        replaced;
} pass;

static void mark_needed(pass *s, tensor *const outputs[], int n)
{
    for (int i = 0; i < n; i++) s->need[outputs[i]->main->id] = true;
    for (int i = s->from->n - 1; i >= 0; i--) {
        tensor *y = s->from->node[i];
        if (y->side) continue;
        if (y->op->flags & OPF_EFFECT) s->need[i] = true;
        for (int k = 0; s->need[i] && k < y->n_in; k++)
            if (y->in[k]) s->need[y->in[k]->main->id] = true;
    }
}

static void take(pass *s, tensor *old, tensor *new)
{
    s->map[old->id] = new;
    if (new && !*new->name) new->name = old->name;
}

/* A kernel that cannot take x's strides, or one that would overwrite x's
 * storage while reading it, gets a dense copy. */
static bool needs_copy(const tensor *y, int k, const tensor *x, tensor *const lowered_in[])
{
    if (genet__rewrites(y->op, k) || y->op->flags & OPF_VIEW) return false;
    bool dense = !(y->op->flags & OPF_STRIDED) || genet__replaces(y->op, k) || genet__given_whole(y, k);
    if (dense && !genet__is_dense(x)) return true;
    for (int s = 0; s < k; s++)
        if (genet__rewrites(y->op, s) && lowered_in[s] && lowered_in[s]->root == x->root) return true;
    return false;
}

static bool copy_node(pass *s, tensor *y, genet_err *err)
{
    tensor *small[MAX_IN], **in = small, *out[MAX_SIDE + 1] = {0};
    if (y->n_in > MAX_IN && !(in = genet__arena_alloc(&s->to->arena, sizeof *in * (size_t)y->n_in)))
        return genet__err_memory(err);
    bool as_is = runs_as_it_is(s->plan, y);
    for (int k = 0; k < y->n_in; k++) {
        tensor *x = in[k] = y->in[k] ? s->map[y->in[k]->id] : NULL;
        if (x && as_is && needs_copy(y, k, x, in)) in[k] = genet_copy(x);
    }
    tensor *c = genet__apply(s->to, y->op->id, in, y->n_in, &y->attr);
    if (c->poisoned) return genet__err_set(err, s->to->code, "%s", s->to->error);
    if (as_is) {
        for (int k = 0; k <= y->op->n_side; k++) take(s, genet__side(y, k), genet__side(c, k));
        return true;
    }
    if (!y->op->expand)
        return genet__err_set(err, GENET_ERR_GRAPH, "%s has neither a kernel for %s on %s nor a definition",
                              y->op->name, genet_dtype_name(computing_type(y)), s->plan->device->name);
    s->replaced = true;
    genet__expand(c, out);
    if (s->to->failed) return genet__err_set(err, s->to->code, "%s", s->to->error);
    for (int k = 0; k <= y->op->n_side; k++) {
        /* the op's own result would be dense: views of it were made so */
        if (out[k] && !genet__is_dense(out[k])) out[k] = genet_copy(out[k]);
        take(s, genet__side(y, k), out[k]);
    }
    return !s->to->failed || genet__err_set(err, s->to->code, "%s", s->to->error);
}

static bool one_pass(pass *s, tensor *const outputs[], int n, genet_err *err)
{
    mark_needed(s, outputs, n);
    for (int i = 0; i < s->from->n; i++)
        if (s->need[i] && !s->from->node[i]->side) TRY(copy_node(s, s->from->node[i], err));
    return true;
}

/* One copying of graph `from`; advances lowered and output to the new graph. */
static bool lower_once(genet_plan *p, graph *from, bool *replaced, genet_err *err)
{
    pass s = { .plan = p, .from = from, .to = genet_graph_new() };
    s.map = genet__alloc_array((size_t)from->n + 1, sizeof *s.map);
    s.need = genet__alloc_array((size_t)from->n + 1, sizeof *s.need);
    bool ok = s.to && s.map && s.need ? one_pass(&s, p->output, p->n_output, err) : genet__err_memory(err);
    for (int i = 0; ok && i < p->n_output; i++)
        if (!(p->output[i] = s.map[p->output[i]->id]))
            ok = genet__err_set(err, GENET_ERR_GRAPH, "output %d is a side that %s does not define", i, "its op");
    for (int i = 0; ok && i < p->n_source; i++)
        if (p->lowered[i]) p->lowered[i] = s.map[p->lowered[i]->id];
    *replaced = s.replaced;
    genet__free(s.map);
    genet__free(s.need);
    p->graph = s.to;
    return ok;
}

/* Every reader sees the newest value of a state: reading an older one after
 * the write is an error with both names. */
static bool check_state(const genet_plan *p, genet_err *err)
{
    bool ok = true;
    tensor **writer = genet__alloc_array((size_t)p->graph->n + 1, sizeof *writer);    /* by id of the state */
    if (!writer) return genet__err_memory(err);
    for (int i = 0; ok && i < p->graph->n; i++) {
        tensor *y = p->graph->node[i];
        for (int k = 0; ok && k < y->n_in; k++) {
            tensor *x = y->in[k];
            if (!x || !genet__op_is(x->root, OP_state) || y->op->flags & OPF_VIEW) continue;
            tensor *w = writer[x->root->id];
            if (w && x->version < w->version)
                ok = genet__err_set(err, GENET_ERR_GRAPH, "state %s is read by %s%s%s after %s wrote its new value: read "
                                    "the value that the write returned, or read before it", x->root->name, y->op->name,
                                    *y->name ? " in " : "", y->name, w->op->name);
        }
        for (int k = 0; k <= y->op->n_side && !y->side; k++) {
            tensor *t = genet__side(y, k);
            if (y->op->flags & OPF_EFFECT && genet__op_is(t->root, OP_state)) writer[t->root->id] = t;
        }
    }
    for (int i = 0; ok && i < p->n_output; i++) {
        tensor *x = p->output[i], *w = genet__op_is(x->root, OP_state) ? writer[x->root->id] : NULL;
        if (w && x->version < w->version)
            ok = genet__err_set(err, GENET_ERR_GRAPH, "output %d is state %s before %s wrote its new value: take the value that "
                                "the write returned, or genet_copy before it", i, x->root->name, w->op->name);
    }
    genet__free(writer);
    return ok;
}

/* --- parts of a concatenation -------------------------------------------------------- */

/* How often each tensor is read, by id. */
static int *count_readers(const genet_plan *p)
{
    int *n = genet__alloc_array((size_t)p->graph->n + 1, sizeof *n);
    for (int i = 0; n && i < p->graph->n; i++)
        for (int k = 0; k < p->graph->node[i]->n_in; k++)
            if (p->graph->node[i]->in[k]) n[p->graph->node[i]->in[k]->id]++;
    for (int i = 0; n && i < p->n_output; i++) n[p->output[i]->id]++;
    return n;
}

/* A part of a concatenation that nobody else reads becomes a window on it, where the kernel that makes it can write
 * its rows apart: those of the outermost extent, which are dense there, are left to place.c. */
static bool parts_in_place(genet_plan *p, genet_err *err)
{
    int *readers = count_readers(p);
    for (int i = 0; readers && i < p->graph->n; i++) {
        tensor *y = p->graph->node[i];
        if (!genet__op_is(y, OP_concat)) continue;
        int axis = (int)y->attr.i[0], outer = 0;
        while (outer < axis && y->shape.dim[outer] == 1) outer++;
        int64_t start = 0;
        for (int k = 0; k < y->n_in && outer < axis; k++) {
            tensor *x = y->in[k];
            bool fits = x->root == x && readers[x->id] == 1 && x->main->op->apart >> (x->id - x->main->id) & 1;
            if (fits) {
                x->root = y;
                x->start = start;
                memcpy(x->stride, y->stride, sizeof x->stride);
            }
            start += x->shape.dim[axis] * y->stride[axis];
        }
    }
    genet__free(readers);
    return readers || genet__err_memory(err);
}

/* What is read out is dense. */
static bool dense_outputs(genet_plan *p, genet_tensor *const outputs[], genet_err *err)
{
    for (int i = 0; i < p->n_output; i++) {
        if (genet__is_dense(p->output[i])) continue;
        p->output[i] = p->lowered[outputs[i]->id] = genet_copy(p->output[i]);
        if (p->graph->failed) return genet__err_set(err, p->graph->code, "%s", p->graph->error);
    }
    return true;
}

bool genet__plan_lower(genet_plan *p, genet_tensor *const outputs[], int n, genet_err *err)
{
    if (p->source->failed) return genet__err_set(err, p->source->code, "%s", p->source->error);
    p->n_source = p->source->n;
    p->lowered = ARENA_ARRAY(&p->arena, tensor *, p->n_source + 1);
    p->output = ARENA_ARRAY(&p->arena, tensor *, n + 1);
    if (!p->lowered || !p->output) return genet__err_memory(err);
    for (int i = 0; i < n; i++) {
        if (!outputs[i] || outputs[i]->graph != p->source)
            return genet__err_set(err, GENET_ERR_USAGE, "output %d is no tensor of this graph", i);
        p->output[i] = outputs[i];
    }
    p->n_output = n;
    memcpy(p->lowered, p->source->node, (size_t)p->n_source * sizeof *p->lowered);
    bool replaced = true;
    for (int round = 0; replaced; round++) {
        if (round == 64) return genet__err_set(err, GENET_ERR_GRAPH, "definitions of ops go round in a circle");
        graph *from = p->graph ? p->graph : p->source;
        if (!p->graph) TRY(lower_once(p, from, &replaced, err));
        else {
            graph *old = p->graph;
            p->graph = NULL;            /* lower_once must not free what it reads */
            bool ok = lower_once(p, old, &replaced, err);
            genet_graph_free(old);
            TRY(ok);
        }
    }
    TRY(check_state(p, err) && dense_outputs(p, outputs, err));
    return parts_in_place(p, err);
}
