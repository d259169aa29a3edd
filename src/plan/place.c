/* place.c - which tensors need memory, from when to when, and where.
 *
 * Lives are counted in steps.  Ways of sharing come before placement: a
 * result takes over an input that dies there; a product accumulates
 * in the place of its epilogue's result; the parts of a concatenation are
 * computed where they will lie.  Then launches are put beside each other, which
 * makes lives longer, and blocks are placed largest first, each at the lowest
 * offset free over its whole life. */
#include "base/alloc.h"
#include "base/err.h"
#include "plan/plan.h"
#include <stdlib.h>
#include <string.h>

enum { BLOCK_ALIGN = 64 };

static int64_t aligned(int64_t n) { return (n + BLOCK_ALIGN - 1) / BLOCK_ALIGN * BLOCK_ALIGN; }
static int64_t size_of(const tensor *t) { return (int64_t)genet_dtype_bytes(t->dtype, genet__numel(&t->shape)); }

static int block_new(genet_plan *p, int64_t size, int birth, int death)
{
    if (!genet__grow(&p->block, &p->cap_block, p->n_block + 1, sizeof *p->block)) return -1;
    p->block[p->n_block] = (block){ .size_bytes = size, .birth = birth, .death = death, .parent = -1 };
    return p->n_block++;
}

/* --- lives -------------------------------------------------------------------------- */

/* Step s reads or writes t: its root's block lives then. */
static bool touch(genet_plan *p, const tensor *t, int s)
{
    const tensor *r = t->root;
    if (!genet__plan_in_workspace(t)) return true;
    int *b = &p->block_of[r->id];
    if (*b < 0) {
        bool leaf = r->op->flags & OPF_LEAF;
        *b = block_new(p, size_of(r), leaf ? -1 : s, s);
        if (*b < 0) return false;
        p->block[*b].fixed = leaf;
    }
    if (s > p->block[*b].death) p->block[*b].death = s;
    return true;
}

static bool lives(genet_plan *p)
{
    for (int s = 0; s < p->n_step; s++) {
        for (int k = 0; k < p->launch[s].n_arg; k++)
            if (p->arg[s][k] && !touch(p, p->arg[s][k], s)) return false;
        launch *l = &p->launch[s];
        l->shared_bytes = l->kernel->shared ? l->kernel->shared(l) : 0;
        p->scratch[s] = l->shared_bytes ? block_new(p, (int64_t)l->shared_bytes, s, s) : -1;
        if (l->shared_bytes && p->scratch[s] < 0) return false;
    }
    /* outputs that no step makes (an input, a constant's view) have a place too */
    for (int i = 0; i < p->n_output; i++)
        if (!touch(p, p->output[i], p->n_step)) return false;
    for (int i = 0; i < p->graph->n; i++) {
        const tensor *t = p->graph->node[i];
        if (genet__op_is(t, OP_input) && !touch(p, t, -1)) return false;
    }
    return true;
}

/* --- sharing -------------------------------------------------------------------------- */

/* When, counted in instructions of both programs of a launch, operand arg is first written and last read; -1: never. */
static int first_write(const launch *l, int arg)
{
    const ew_program *both[] = { l->before, l->program };
    for (int n = 0, at = 0; n < 2; n++)
        for (int i = 0; both[n] && i < both[n]->n_instr; i++, at++) {
            const ew_reg *y = &both[n]->reg[both[n]->instr[i].y];
            if (y->kind == EW_ARG && y->arg == arg) return at;
        }
    return -1;
}

bool genet__launch_writes(const launch *l, int arg) { return arg < l->n_out || first_write(l, arg) >= 0; }

static int last_read(const launch *l, int arg)
{
    const ew_program *both[] = { l->before, l->program };
    int last = -1;
    for (int n = 0, at = 0; n < 2; n++)
        for (int i = 0; both[n] && i < both[n]->n_instr; i++, at++) {
            const ew_instr *t = &both[n]->instr[i];
            for (int k = 0; k < 3; k++) {
                int r = k == 0 ? t->a : k == 1 ? t->b : t->c;
                if (r >= 0 && both[n]->reg[r].kind != EW_CONST && both[n]->reg[r].arg == arg) last = at;
            }
        }
    return last;
}

static bool alone_in_block(const genet_plan *p, const tensor *t)
{
    return genet__plan_in_workspace(t) && p->block_of[t->root->id] >= 0 && p->block[p->block_of[t->root->id]].parent < 0;
}

/* Result argument o of step s may be written over argument x. */
static bool can_take_over(const genet_plan *p, int s, int o, int x)
{
    const launch *l = &p->launch[s];
    const tensor *to = p->arg[s][o], *from = p->arg[s][x];
    if (!alone_in_block(p, to) || !alone_in_block(p, from) || to->root == from->root) return false;
    const block *bt = &p->block[p->block_of[to->root->id]], *bf = &p->block[p->block_of[from->root->id]];
    if (bt == bf || bf->fixed || bf->death != s || bt->birth != s || bt->size_bytes != bf->size_bytes) return false;
    if (to->dtype != from->dtype || !genet__plan_whole(from)) return false;
    /* every operand that shows this storage must be read before it is written, at the same places */
    for (int k = 0; k < l->n_arg; k++) {
        const tensor *t = p->arg[s][k];
        if (!t || !genet__plan_in_workspace(t) || p->block_of[t->root->id] != p->block_of[from->root->id]) continue;
        if (k < l->n_out + l->n_in) return false;       /* the op with a kernel reads it throughout */
        if (!genet__plan_whole(t) || last_read(l, k) > first_write(l, o)) return false;
        for (int i = 0; i < l->arg[k].rank; i++)
            if (l->arg[k].stride[i] == 0 && l->arg[k].dim[i] > 1) return false;
    }
    return true;
}

static void take_over(genet_plan *p, const tensor *to, const tensor *from)
{
    int b = p->block_of[from->root->id], gone = p->block_of[to->root->id];
    if (p->block[gone].death > p->block[b].death) p->block[b].death = p->block[gone].death;
    if (p->block[gone].birth < p->block[b].birth) p->block[b].birth = p->block[gone].birth;
    p->block[gone].size_bytes = 0;
    p->block_of[to->root->id] = b;
}

/* A product nobody else reads accumulates in the place of an epilogue result. */
static int share_product(genet_plan *p, int s)
{
    const launch *l = &p->launch[s];
    tensor *c = p->step[s].head;
    if (p->stored[c->id]) return -1;
    for (int o = l->n_out + l->n_in; o < l->n_arg; o++) {
        const tensor *t = p->arg[s][o];
        int write = first_write(l, o);
        if (write < 0 || t->dtype != c->dtype || !alone_in_block(p, t) || t->op->flags & OPF_EFFECT) continue;
        if (last_read(l, 0) < 0 || last_read(l, 0) > write) continue;
        block *bt = &p->block[p->block_of[t->root->id]];
        if (bt->birth != s || bt->size_bytes != size_of(c)) continue;
        take_over(p, t, c);
        return o;
    }
    return -1;
}

static void share_in_place(genet_plan *p, int s)
{
    const launch *l = &p->launch[s];
    int with_product = p->step[s].head && l->program ? share_product(p, s) : -1;
    for (int o = l->n_out + l->n_in; o < l->n_arg; o++) {
        if (o == with_product || first_write(l, o) < 0) continue;
        for (int x = l->n_out + l->n_in; x < l->n_arg; x++)
            if (x != o && first_write(l, x) < 0 && can_take_over(p, s, o, x)) {
                take_over(p, p->arg[s][o], p->arg[s][x]);
                break;
            }
    }
}

/* A kernel's result lies over an input that it may replace (struct op, over) and that nothing else shows. */
static void share_over(genet_plan *p, int s)
{
    const launch *l = &p->launch[s];
    const tensor *y = p->step[s].head;
    for (int k = 0; k < l->n_in && k < MAX_IN; k++) {
        const tensor *x = p->arg[s][l->n_out + k];
        if (!genet__replaces(y->op, k) || !x || !alone_in_block(p, y) || !alone_in_block(p, x)) continue;
        const block *to = &p->block[p->block_of[y->id]], *from = &p->block[p->block_of[x->root->id]];
        bool fits = !from->fixed && from->death == s && to->birth == s && to->size_bytes == from->size_bytes &&
                    to->size_bytes > 0 && x->dtype == y->dtype && genet__plan_whole(x);
        for (int j = 0; j < l->n_arg && fits; j++) {
            const tensor *t = p->arg[s][j];
            fits = j == l->n_out + k || !t || !genet__plan_in_workspace(t) || p->block_of[t->root->id] != p->block_of[x->root->id];
        }
        if (!fits) continue;
        take_over(p, y, x);
        return;
    }
}

/* Parts of a concatenation along the outermost extent are computed in place. */
static void share_concat(genet_plan *p, int s)
{
    tensor *y = p->step[s].head;
    if (!genet__op_is(y, OP_concat)) return;
    for (int i = 0; i < y->attr.i[0]; i++)
        if (y->shape.dim[i] != 1) return;
    int whole = p->block_of[y->id];
    int64_t offset = 0;
    for (int k = 0; k < y->n_in; k++) {
        tensor *x = y->in[k];
        int64_t at = offset;
        offset += size_of(x);
        if (!alone_in_block(p, x) || !genet__plan_whole(x)) continue;
        int part = p->block_of[x->root->id];
        block *b = &p->block[part], *w = &p->block[whole];
        if (part == whole || b->fixed || b->size_bytes != size_of(x) || b->size_bytes == 0) continue;
        w->fixed = true;            /* its parts may be read beside it */
        b->parent = whole;
        b->parent_offset = at;
        if (b->birth < w->birth) w->birth = b->birth;
        if (b->death > w->death) w->death = b->death;
    }
}

/* Launches beside each other need all that one of them needs. */
static bool widen(genet_plan *p)
{
    int *first = genet__alloc_array((size_t)p->n_step + 1, sizeof *first);
    for (int s = 0; first && s < p->n_step; s += 1 + p->launch[s].beside)
        for (int k = 0; k <= p->launch[s].beside; k++) first[s + k] = s;
    for (int i = 0; first && i < p->n_block; i++) {
        block *b = &p->block[i];
        if (b->birth >= 0 && b->birth < p->n_step) b->birth = first[b->birth];
        if (b->death >= 0 && b->death < p->n_step) b->death = first[b->death] + p->launch[first[b->death]].beside;
    }
    genet__free(first);
    return first;
}

/* --- offsets ---------------------------------------------------------------------------- */

typedef struct placed { int64_t size, offset; int birth, death, block; } placed;

static int by_size(const void *a, const void *b)
{
    const placed *x = a, *y = b;
    if (x->size != y->size) return x->size < y->size ? 1 : -1;
    return (x->block > y->block) - (x->block < y->block);
}

/* The lowest gap for all[x] between those placed, whose lives meet its own; then it is placed among them.
 * order: numbers of the n placed ones by offset. */
static void place_one(placed *all, int x, int *order, int n)
{
    int64_t at = 0;
    int k = 0;
    for (; k < n; k++) {
        const placed *q = &all[order[k]];
        if (q->offset - at >= all[x].size) break;
        if (q->birth <= all[x].death && all[x].birth <= q->death && q->offset + q->size > at) at = q->offset + q->size;
    }
    all[x].offset = at;
    while (k > 0 && all[order[k - 1]].offset > at) k--;
    memmove(order + k + 1, order + k, (size_t)(n - k) * sizeof *order);
    order[k] = x;
}

static bool offsets(genet_plan *p)
{
    placed *all = genet__alloc_array((size_t)p->n_block + 1, sizeof *all);
    int *order = genet__alloc_array((size_t)p->n_block + 1, sizeof *order);
    int n = 0;
    int64_t top = 0;
    for (int i = 0; all && order && i < p->n_block; i++) {
        block *b = &p->block[i];
        if (b->parent < 0 && b->size_bytes > 0) all[n++] = (placed){ aligned(b->size_bytes), 0, b->birth, b->death, i };
    }
    if (n) qsort(all, (size_t)n, sizeof *all, by_size);
    for (int i = 0; i < n; i++) {
        place_one(all, i, order, i);
        p->block[all[i].block].offset = all[i].offset;
        if (all[i].offset + all[i].size > top) top = all[i].offset + all[i].size;
    }
    for (int i = 0; i < p->n_block; i++) {
        if (p->block[i].parent < 0) continue;
        int64_t at = 0;
        int q = i;
        for (; p->block[q].parent >= 0; q = p->block[q].parent) at += p->block[q].parent_offset;
        p->block[i].offset = p->block[q].offset + at;
    }
    p->info.workspace_bytes = (size_t)top;
    bool ok = all && order;
    genet__free(all);
    genet__free(order);
    return ok;
}

/* The most bytes that live at one step. */
static bool bounds(genet_plan *p)
{
    int64_t *change = genet__alloc_array((size_t)p->n_step + 3, sizeof *change), live = 0;     /* from step -1 on */
    for (int i = 0; change && i < p->n_block; i++) {
        const block *b = &p->block[i];
        if (b->parent >= 0) continue;
        change[b->birth + 1] += aligned(b->size_bytes);
        change[b->death + 2] -= aligned(b->size_bytes);
    }
    for (int s = 0; change && s < p->n_step + 2; s++) {
        live += change[s];
        if (live > (int64_t)p->info.lower_bound_bytes) p->info.lower_bound_bytes = (size_t)live;
    }
    genet__free(change);
    return change;
}

bool genet__plan_place(genet_plan *p, genet_err *err)
{
    p->block_of = ARENA_ARRAY(&p->arena, int, p->graph->n + 1);
    p->scratch = ARENA_ARRAY(&p->arena, int, p->n_step + 1);
    if (!p->block_of || !p->scratch) return genet__err_memory(err);
    for (int i = 0; i < p->graph->n; i++) p->block_of[i] = -1;
    if (!lives(p)) return genet__err_memory(err);
    int64_t all = 0;
    for (int i = 0; i < p->n_block; i++)
        if (__builtin_add_overflow(all, aligned(p->block[i].size_bytes), &all))
            return genet__err_set(err, GENET_ERR_MEMORY, "the values of this graph need more than 8 EiB");
    p->info.naive_bytes = (size_t)all;
    for (int s = 0; s < p->n_step; s++) {
        if (p->step[s].head) share_over(p, s);
        if (p->launch[s].program || p->launch[s].before) share_in_place(p, s);
        if (p->step[s].head) share_concat(p, s);
    }
    genet__plan_beside(p);
    return (widen(p) && offsets(p) && bounds(p)) || genet__err_memory(err);
}
