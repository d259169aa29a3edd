/* beside.c - which launches run at the same time.
 *
 * Small launches end in a barrier at which most threads wait.  Those in a row
 * of which none touches what another one writes share their phases, so that
 * the tasks of one fill the gaps of the others: the gradients of a layer's
 * input, weight and bias, the updates of all parameters.  Order in the plan is
 * kept, and what is large runs alone: its gaps are short beside it, and its
 * scratch memory would live together with that of its neighbours. */
#include "plan/plan.h"

static const double small_flops = 1 << 28, small_bytes = 1 << 24;

/* Bytes [from, to) of a piece of memory that has this name. */
typedef struct extent { const void *name; int64_t from, to; } extent;

static extent extent_of(const genet_plan *p, const tensor *t)
{
    int64_t low = t->start, high = t->start + 1, at = 0;
    for (int i = 0; i < t->shape.rank; i++) {
        int64_t reach = (t->shape.dim[i] - 1) * t->stride[i];
        if (reach < 0) low += reach;
        else high += reach;
    }
    const void *name = t->root;
    if (genet__plan_in_workspace(t)) {
        int b = p->block_of[t->root->id];
        for (; p->block[b].parent >= 0; b = p->block[b].parent) at += p->block[b].parent_offset;
        name = &p->block[b];
    }
    if (genet__numel(&t->shape) == 0) high = low;
    return (extent){ name, at + (int64_t)genet_dtype_bytes(t->dtype, low), at + (int64_t)genet_dtype_bytes(t->dtype, high) };
}

static bool overlap(const genet_plan *p, const tensor *x, const tensor *y)
{
    extent a = extent_of(p, x), b = extent_of(p, y);
    return a.name == b.name && a.from < b.to && b.from < a.to;
}

/* Does one of two steps write what the other reads or writes? */
static bool meet(const genet_plan *p, int s, int other)
{
    const launch *a = &p->launch[s], *b = &p->launch[other];
    for (int i = 0; i < a->n_arg; i++)
        for (int k = 0; k < b->n_arg; k++) {
            const tensor *x = p->arg[s][i], *y = p->arg[other][k];
            if (x && y && (genet__launch_writes(a, i) || genet__launch_writes(b, k)) && overlap(p, x, y)) return true;
        }
    return false;
}

static bool is_small(const genet_plan *p, int s)
{
    return genet__plan_flops(p, s) <= small_flops && genet__plan_bytes(p, s) <= small_bytes;
}

/* How many steps after s run beside it. */
static int beside(const genet_plan *p, int s)
{
    int n = 0;
    for (; is_small(p, s) && n < LAUNCH_MAX_BESIDE && s + n + 1 < p->n_step; n++) {
        if (!is_small(p, s + n + 1)) break;
        for (int k = 0; k <= n; k++)
            if (meet(p, s + k, s + n + 1)) return n;
    }
    return n;
}

void genet__plan_beside(genet_plan *p)
{
    for (int s = 0; s < p->n_step; s += 1 + p->launch[s].beside) p->launch[s].beside = beside(p, s);
}
