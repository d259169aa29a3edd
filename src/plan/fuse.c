/* fuse.c - nodes to steps, in one pass over the array.
 *
 * An elementwise node joins the group that makes one of its inputs (an
 * elementwise run, or a kernel whose epilogue it becomes) when both have as
 * many elements, so that a flat index means the same to all members.  A kernel of
 * whole rows (a norm) joins the elementwise run that makes one of its inputs.  A group
 * runs where its last member stands; so it is closed as soon as a node outside
 * reads one of its values, or a write touches state that it reads. */
#include "base/alloc.h"
#include "base/err.h"
#include "plan/plan.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { GROUP_MAX_READ = 12 };

typedef struct group {
    tensor *head;
    tensor *member[PLAN_MAX_MEMBER];
    int     n_member, n_before;
    tensor *read[GROUP_MAX_READ];       /* inputs from outside */
    int     n_read;
    int     last;                       /* id of the last node */
    int64_t numel;
    bool    closed, gone;
    int     into;                       /* gone: the group that took its members */
} group;

/* The groups that read a state, latest first. */
typedef struct reader { int group; struct reader *next; } reader;

typedef struct fuser {
    genet_plan *plan;
    group     **group;
    int         n, cap;
    int        *of;                     /* by node id: its group, or -1 */
    reader    **reader;                 /* by id of a state */
} fuser;

static int group_new(fuser *f, tensor *y)
{
    group *g = GROW(f->group, f->n, f->cap) ? ARENA_NEW(&f->plan->arena, group) : NULL;
    if (!g) return -1;
    *g = (group){ .last = y->id, .numel = genet__numel(&y->shape) };
    f->group[f->n] = g;
    f->of[y->id] = f->n;
    return f->n++;
}

static int group_of(const fuser *f, tensor *x) { return f->of[genet__plan_producer(x)->main->id]; }

/* y is decided: what it reads from other groups is finished before it, and so
 * are the groups that read the state it writes. */
static bool close_behind(fuser *f, tensor *y)
{
    int own = f->of[y->id];
    for (int k = 0; k < y->n_in; k++) {
        tensor *x = y->in[k];
        int g = x ? group_of(f, x) : -1;
        if (g >= 0 && g != own) f->group[g]->closed = true;
        if (!x || !genet__op_is(x->root, OP_state)) continue;
        reader *r = ARENA_NEW(&f->plan->arena, reader);
        if (!r) return false;
        *r = (reader){ own, f->reader[x->root->id] };
        f->reader[x->root->id] = r;
    }
    for (int k = 0; y->op->flags & OPF_EFFECT && k <= y->op->n_side; k++) {
        reader **first = &f->reader[genet__side(y, k)->root->id];
        for (reader *r = *first; r; r = r->next) {
            int g = r->group;
            while (f->group[g]->gone) g = f->group[g]->into;
            if (g != own) f->group[g]->closed = true;
        }
        *first = NULL;
    }
    return true;
}

/* May elementwise y take x's value from a register of x's group? */
static bool from_register(const fuser *f, tensor *x, int g)
{
    tensor *p = genet__plan_producer(x);
    return group_of(f, x) == g && !p->side && !(p->op->flags & OPF_EFFECT) && genet__plan_whole(x);
}

static bool joinable(const fuser *f, tensor *y, tensor *x)
{
    int g = group_of(f, x);
    return g >= 0 && !f->group[g]->closed && f->group[g]->numel == genet__numel(&y->shape) && from_register(f, x, g);
}

/* An assignment must not overwrite what its group still reads elsewhere. */
static bool assign_fits(const group *g, const tensor *y)
{
    if (!(y->op->flags & OPF_EFFECT)) return true;
    for (int i = 0; i < g->n_read; i++) {
        const tensor *x = g->read[i];
        if (x->root == y->root && !(x->start == y->start && genet__is_dense(x) &&
                                    genet__numel(&x->shape) == genet__numel(&y->shape))) return false;
    }
    for (int k = 0; g->head && k < g->head->n_in; k++)
        if (g->head->in[k] && g->head->in[k]->root == y->root) return false;
    return true;
}

/* All members of b become a's, in order of id. */
static bool merge(fuser *f, int a, int b)
{
    group *to = f->group[a], *from = f->group[b];
    if ((to->head && from->head) || to->n_before || from->n_before) return false;
    if (to->n_member + from->n_member > f->plan->max_member || to->n_read + from->n_read > GROUP_MAX_READ) return false;
    if (from->head) to->head = from->head;
    memcpy(to->member + to->n_member, from->member, (size_t)from->n_member * sizeof *to->member);
    to->n_member += from->n_member;
    for (int i = 1; i < to->n_member; i++)      /* insertion sort by id */
        for (int j = i; j > 0 && to->member[j - 1]->id > to->member[j]->id; j--) {
            tensor *t = to->member[j];
            to->member[j] = to->member[j - 1];
            to->member[j - 1] = t;
        }
    memcpy(to->read + to->n_read, from->read, (size_t)from->n_read * sizeof *to->read);
    to->n_read += from->n_read;
    if (from->last > to->last) to->last = from->last;
    for (int i = 0; i < from->n_member; i++) f->of[from->member[i]->id] = a;
    if (from->head) f->of[from->head->id] = a;
    from->gone = from->closed = true;
    from->into = a;
    return true;
}

static bool join(fuser *f, int gi, tensor *y)
{
    group *g = f->group[gi];
    int n_read = g->n_read;
    if (g->n_member == f->plan->max_member || !assign_fits(g, y)) return false;
    for (int k = 0; k < y->n_in; k++) {
        tensor *x = y->in[k];
        bool written_only = genet__rewrites(y->op, k);
        bool whole = genet__given_whole(y, k);
        if (written_only || (!whole && (from_register(f, x, gi) || genet__plan_is_const(x)))) continue;
        /* a value of this group through a window that is not the whole */
        if (group_of(f, x) == gi || n_read == GROUP_MAX_READ) return false;
        g->read[n_read++] = x;
    }
    g->n_read = n_read;
    g->member[g->n_member++] = y;
    g->last = y->id;
    f->of[y->id] = gi;
    return true;
}

static bool place_elementwise(fuser *f, tensor *y, genet_err *err)
{
    int best = -1;
    for (int k = 0; k < y->n_in && !f->plan->options.no_fuse; k++)
        if (!genet__rewrites(y->op, k) && !genet__given_whole(y, k) && joinable(f, y, y->in[k])) {
            int g = group_of(f, y->in[k]);
            if (best < 0) best = g;
            else if (g != best && !merge(f, best, g)) best = best > g ? best : g;
        }
    if (best >= 0 && join(f, best, y)) return true;
    int g = group_new(f, y);
    if (g < 0) return genet__err_memory(err);
    f->of[y->id] = -1;          /* joins what is still empty */
    bool joined = join(f, g, y);
    assert(joined);
    return joined;
}

/* May y, a kernel of whole rows, run after the members of elementwise group g, which make its input k? */
static bool rows_follow(const fuser *f, const tensor *y, int k, int g)
{
    tensor *x = y->in[k];
    if (g < 0 || f->group[g]->closed || f->group[g]->head || !genet__same_shape(&x->shape, &y->shape)) return false;
    if (genet__numel(&y->shape) != f->group[g]->numel || !from_register(f, x, g)) return false;
    for (int i = 0; i < f->group[g]->n_member; i++)
        if (f->group[g]->member[i]->op->flags & OPF_EFFECT) return false;
    for (int i = 0; i < y->n_in; i++)
        if (i != k && y->in[i] && group_of(f, y->in[i]) == g) return false;
    return true;
}

static bool place_rows(fuser *f, tensor *y)
{
    for (int k = 0; k < y->n_in && y->op->flags & OPF_ROWS && !f->plan->options.no_fuse; k++) {
        int g = y->in[k] ? group_of(f, y->in[k]) : -1;
        if (!rows_follow(f, y, k, g)) continue;
        f->group[g]->head = y;
        f->group[g]->n_before = f->group[g]->n_member;
        f->group[g]->last = y->id;
        f->of[y->id] = g;
        return true;
    }
    return false;
}

static bool visit(fuser *f, tensor *y, genet_err *err)
{
    if (y->side || y->op->flags & (OPF_LEAF | OPF_VIEW)) return true;
    if (genet__plan_is_ew(y)) {
        TRY(place_elementwise(f, y, err));
    } else if (!place_rows(f, y)) {
        int g = group_new(f, y);
        if (g < 0) return genet__err_memory(err);
        f->group[g]->head = y;
        f->group[g]->closed = !genet__op_is(y, OP_matmul) && !(y->op->flags & OPF_ROWS);
    }
    return close_behind(f, y) || genet__err_memory(err);
}

static int by_position(const void *a, const void *b)
{
    const step *x = a, *y = b;
    return (x->position > y->position) - (x->position < y->position);
}

/* Constants that only elementwise programs read need no launch: this marks
 * the roots that others read. */
static bool *read_from_memory(const genet_plan *p)
{
    bool *read = genet__alloc_array((size_t)p->graph->n + 1, sizeof *read);
    for (int i = 0; read && i < p->n_output; i++) read[p->output[i]->root->id] = true;
    for (int i = 0; read && i < p->graph->n; i++) {
        const tensor *y = p->graph->node[i];
        if (y->side || y->op->flags & OPF_VIEW) continue;
        for (int k = 0; k < y->n_in; k++)
            if (y->in[k] && (!genet__plan_is_ew(y) || genet__given_whole(y, k))) read[y->in[k]->root->id] = true;
    }
    return read;
}

static bool to_steps(fuser *f, genet_err *err)
{
    genet_plan *p = f->plan;
    p->n_step = 0;
    p->step = ARENA_ARRAY(&p->arena, step, f->n + 1);
    p->step_of = ARENA_ARRAY(&p->arena, int, p->graph->n + 1);
    bool *read = read_from_memory(p);
    if (!p->step || !p->step_of || !read) return genet__free(read), genet__err_memory(err);
    for (int i = 0; i < f->n; i++) {
        group *g = f->group[i];
        bool constant = g->head && genet__op_is(g->head, OP_full) && !read[g->head->id];
        if (!g->gone && !constant)
            p->step[p->n_step++] = (step){ g->head, g->member, g->n_member, g->n_before, g->last, g->numel };
    }
    genet__free(read);
    qsort(p->step, (size_t)p->n_step, sizeof *p->step, by_position);
    for (int i = 0; i < p->graph->n; i++) p->step_of[i] = -1;
    for (int s = 0; s < p->n_step; s++) {
        step *st = &p->step[s];
        for (int k = 0; st->head && k <= st->head->op->n_side; k++) p->step_of[st->head->id + k] = s;
        for (int k = 0; k < st->n_member; k++) p->step_of[st->member[k]->id] = s;
    }
    return true;
}

bool genet__plan_fuse(genet_plan *p, genet_err *err)
{
    fuser f = { .plan = p, .of = genet__alloc_array((size_t)p->graph->n + 1, sizeof *f.of),
                .reader = genet__alloc_array((size_t)p->graph->n + 1, sizeof *f.reader) };
    bool ok = (f.of && f.reader) || genet__err_memory(err);
    for (int i = 0; ok && i < p->graph->n; i++) f.of[i] = -1;
    for (int i = 0; ok && i < p->graph->n; i++) ok = visit(&f, p->graph->node[i], err);
    ok = ok && to_steps(&f, err);
    genet__free(f.group);
    genet__free(f.reader);
    genet__free(f.of);
    return ok;
}
