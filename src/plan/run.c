/* run.c - a compiled plan as its users see it: binding, writing, running,
 * reading, describing.  Running resolves addresses when the workspace or a
 * binding changed, and otherwise only walks the launches. */
#include "base/alloc.h"
#include "base/err.h"
#include "base/str.h"
#include "plan/plan.h"
#include "plan/read.h"
#include <assert.h>
#include <string.h>

/* last: the plan whose values lie there now, by its serial number; 0: nobody's. */
struct genet_workspace { genet_device *device; char *base; size_t size_bytes; uint64_t next, last; };

/* --- the workspace ---------------------------------------------------------------- */

genet_workspace *genet_workspace_new(genet_device *d)
{
    genet_workspace *w = genet__alloc(sizeof *w);
    if (w) w->device = d;
    return w;
}

void genet_workspace_free(genet_workspace *w)
{
    if (!w) return;
    w->device->release(w->device, w->base, w->size_bytes);
    genet__free(w);
}

static bool workspace_reserve(genet_workspace *w, size_t size_bytes, genet_err *err)
{
    if (w->base && w->size_bytes >= size_bytes) return true;
    char *base = w->device->alloc(w->device, size_bytes, err);
    if (!base) return false;
    w->device->release(w->device, w->base, w->size_bytes);
    w->base = base;
    w->size_bytes = size_bytes;
    w->last = 0;
    return true;
}

/* --- compiling ----------------------------------------------------------------------- */

static bool collect_states(genet_plan *p, genet_err *err)
{
    p->state = ARENA_ARRAY(&p->arena, state_slot, p->graph->n + 1);
    p->state_of = ARENA_ARRAY(&p->arena, int, p->graph->n + 1);
    if (!p->state || !p->state_of) return genet__err_memory(err);
    for (int i = 0; i < p->graph->n; i++) {
        tensor *t = p->graph->node[i];
        p->state_of[i] = -1;
        if (!genet__op_is(t, OP_state)) continue;
        size_t size = genet_dtype_bytes(t->dtype, genet__numel(&t->shape));
        p->info.state_bytes += size;
        p->state_of[i] = p->n_state;
        p->state[p->n_state++] = (state_slot){ .state = t, .size_bytes = size };
    }
    return true;
}

static double bytes_of(const operand *o)
{
    double n = 1;       /* a broadcast extent is read once */
    for (int i = 0; i < o->rank; i++) n *= o->stride[i] ? (double)o->dim[i] : 1;
    return (double)genet_dtype_bytes(o->dtype, (int64_t)n);
}

double genet__plan_flops(const genet_plan *p, int s)
{
    const step *st = &p->step[s];
    double n = 0;
    if (st->head) n += st->head->op->flops ? st->head->op->flops(st->head) : (double)genet__numel(&st->head->shape);
    for (int k = 0; k < st->n_member; k++) n += (double)genet__numel(&st->member[k]->shape);
    return n;
}

/* Is x, a part of concatenation y, made where it will lie? */
static bool made_there(const genet_plan *p, const tensor *y, const tensor *x)
{
    int part = genet__plan_in_workspace(x) ? p->block_of[x->root->id] : -1;
    return part >= 0 && p->block[part].parent >= 0 && p->block[part].parent == p->block_of[y->root->id];
}

/* What a concatenation reads, and writes as much. */
static double copied(const genet_plan *p, int s)
{
    const launch *l = &p->launch[s];
    double n = 0;
    for (int k = l->n_out; k < l->n_out + l->n_in; k++)
        if (p->arg[s][k] && !made_there(p, p->step[s].head, p->arg[s][k])) n += bytes_of(&l->arg[k]);
    return n;
}

/* What a step touches of operand k: of a table that it gathers from, as much as it takes; of one that it adds or writes into,
 * the place of what is added or written. */
static double touched(const genet_plan *p, int s, int k)
{
    const tensor *y = p->step[s].head;
    const launch *l = &p->launch[s];
    double all = bytes_of(&l->arg[k]);
    int in = k - l->n_out;
    if (!y || in >= l->n_in) return all;
    if (genet__op_is(y, OP_gather) && in == 0) {
        double taken = (double)genet_dtype_bytes(l->arg[k].dtype, genet__numel(&y->shape));
        return taken < all ? taken : all;
    }
    if (genet__op_is(y, OP_write_at) && (k == 0 || in == 0)) return k ? 0 : bytes_of(&l->arg[l->n_out + 1]);
    if (genet__op_is(y, OP_scatter_add) && y->in[2] && (k == 0 || in == 2)) return bytes_of(&l->arg[l->n_out]);
    if (genet__op_is(y, OP_concat)) return k == 0 ? copied(p, s) : made_there(p, y, p->arg[s][k]) ? 0 : all;
    return all;
}

double genet__plan_bytes(const genet_plan *p, int s)
{
    double n = 0;
    for (int k = 0; k < p->launch[s].n_arg; k++)
        if (p->arg[s][k]) n += touched(p, s, k);
    return n;
}

genet_arithmetic genet__plan_arithmetic(const genet_plan *p, int s)
{
    const tensor *y = p->step[s].head;
    if (!y || !(y->op->flags & OPF_PRODUCT) || y->dtype == GENET_F64) return GENET_ARITHMETIC_OTHER;
    dtype a = y->in[0]->dtype, b = y->in[1]->dtype;
    if (genet__is_blocks(b)) return GENET_ARITHMETIC_INT8;
    if (a == GENET_F32 && b == GENET_F32) return GENET_ARITHMETIC_F32;
    return a == GENET_F32 || b == GENET_F32 ? GENET_ARITHMETIC_MIXED : GENET_ARITHMETIC_BF16;
}

static void keep_larger(const tensor *y, int64_t product[3])
{
    const shape *a = &y->in[0]->shape;
    int64_t N = y->shape.dim[y->shape.rank - 1], K = a->dim[a->rank - 1], M = N ? genet__numel(&y->shape) / N : 0;
    if ((double)M * (double)N * (double)K <= (double)product[0] * (double)product[1] * (double)product[2]) return;
    product[0] = M, product[1] = N, product[2] = K;
}

static void add_work(const genet_plan *p, int s, double times, plan_work *sum)
{
    const step *st = &p->step[s];
    genet_arithmetic kind = genet__plan_arithmetic(p, s);
    double bytes = genet__plan_bytes(p, s), flops = genet__plan_flops(p, s) * times, members = 0;
    int size = 0;
    while (size < WORK_SIZES - 1 && bytes >= (double)((uint64_t)2 << size)) size++;
    sum->bytes[size] += bytes * times;
    if (kind == GENET_ARITHMETIC_OTHER) return;
    for (int k = 0; k < st->n_member; k++) members += (double)genet__numel(&st->member[k]->shape) * times;
    sum->members += members;
    if (genet__op_is(st->head, OP_matmul)) {
        sum->flops[kind] += flops - members;
        keep_larger(st->head, sum->product[kind]);
    } else {
        const shape *q = &st->head->in[0]->shape;       /* attention and its gradient: (B, T, H, D) */
        sum->attention_flops += flops - members;
        memcpy(sum->attention, q->dim, sizeof sum->attention);
    }
}

void genet__plan_work(const genet_plan *p, double times, plan_work *sum)
{
    for (int s = 0; s < p->n_step; s++) add_work(p, s, times, sum);
}

static void describe(genet_plan *p)
{
    p->info.n_kernels = p->n_step;
    p->info.n_tensors = p->graph->n;
    for (int s = 0; s < p->n_step; s++) {
        p->info.flops += genet__plan_flops(p, s);
        p->info.bytes += genet__plan_bytes(p, s);
    }
}

static bool build(genet_plan *p, genet_tensor *const outputs[], int n, genet_err *err)
{
    TRY(genet__plan_lower(p, outputs, n, err));
    p->written = ARENA_ARRAY(&p->arena, bool, p->n_source + 1);
    if (!p->written) return genet__err_memory(err);
    p->too_large = true;
    /* a group that outgrows its program's tables: all groups a size smaller */
    for (p->max_member = PLAN_MAX_MEMBER; p->too_large; p->max_member /= 2) {
        TRY(genet__plan_fuse(p, err));
        TRY(genet__plan_launches(p, err));
    }
    TRY(genet__plan_place(p, err));
    TRY(collect_states(p, err));
    describe(p);
    return true;
}

genet_plan *genet_compile(genet_graph *g, genet_tensor *const outputs[], int n_outputs, genet_device *d,
                          const genet_compile_options *options, genet_err *err)
{
    genet_plan *p = genet__alloc(sizeof *p);
    if (!p) return genet__err_memory(err), NULL;
    p->source = g;
    p->device = d;
    if (options) p->options = *options;
    int64_t began = genet__profile_now(d);
    bool ok = build(p, outputs, n_outputs, err);
    genet__profile_host(d, "compile", began, 0);
    if (ok) return p;
    genet_plan_free(p);
    return NULL;
}

void genet_plan_free(genet_plan *p)
{
    if (!p) return;
    genet_graph_free(p->graph);
    genet__free(p->block);
    genet__arena_release(&p->arena);
    genet__free(p);
}

/* --- addresses ------------------------------------------------------------------------- */

static char *address_of(const genet_plan *p, const tensor *t)
{
    const tensor *r = t->root;
    char *base = genet__op_is(r, OP_state) ? p->state[p->state_of[r->id]].address
                                           : p->workspace->base + p->block[p->block_of[r->id]].offset;
    return base + genet_dtype_bytes(t->dtype, t->start);
}

static bool resolve(genet_plan *p, genet_err *err)
{
    if (p->resolved && p->base == p->workspace->base) return true;
    for (int i = 0; i < p->n_state; i++)
        if (!p->state[i].address)
            return genet__err_set(err, GENET_ERR_USAGE, "state %s has no memory: genet_plan_bind it", p->state[i].state->name);
    for (int s = 0; s < p->n_step; s++) {
        launch *l = &p->launch[s];
        for (int k = 0; k < l->n_arg; k++)
            l->arg[k].data = p->arg[s][k] ? address_of(p, p->arg[s][k]) + p->device->delta : NULL;
        l->shared = p->scratch[s] < 0 ? NULL
                                      : p->workspace->base + p->block[p->scratch[s]].offset + p->device->delta;
    }
    p->base = p->workspace->base;
    p->resolved = true;
    return true;
}

bool genet_plan_attach(genet_plan *p, genet_workspace *w, genet_err *err)
{
    if (w->device != p->device) return genet__err_set(err, GENET_ERR_USAGE, "workspace and plan are of different devices");
    TRY(workspace_reserve(w, p->info.workspace_bytes, err));
    p->workspace = w;
    p->serial = ++w->next;
    p->resolved = false;
    return true;
}

/* From now on the workspace holds p's values: what p wrote before another
 * plan did so is gone. */
static void take_workspace(genet_plan *p)
{
    if (p->workspace->last == p->serial) return;
    p->workspace->last = p->serial;
    p->ran = false;
    memset(p->written, 0, (size_t)p->n_source * sizeof *p->written);
}

/* A tensor's name, or what it is. */
static const char *name_of(const tensor *t) { return *t->name ? t->name : t->op->name; }

/* The lowered tensor for one of the user's; *gone when nothing needs it. */
static tensor *lowered_of(const genet_plan *p, const genet_tensor *t, bool *gone, genet_err *err)
{
    *gone = false;
    if (!t || t->poisoned || t->graph != p->source || t->id >= p->n_source) {
        genet__err_set(err, GENET_ERR_USAGE, "the tensor is not of the graph that this plan was compiled from");
        return NULL;
    }
    *gone = !p->lowered[t->id];
    return p->lowered[t->id];
}

bool genet_plan_bind(genet_plan *p, genet_tensor *state, void *address, genet_err *err)
{
    bool gone;
    tensor *t = lowered_of(p, state, &gone, err);
    if (!t) return gone;
    if (!genet__op_is(t, OP_state)) return genet__err_set(err, GENET_ERR_USAGE, "%s is no state", t->name);
    p->state[p->state_of[t->id]].address = address;
    p->resolved = false;
    return true;
}

static bool moved_size(const genet_plan *p, const tensor *t, size_t size_bytes, genet_err *err)
{
    size_t want = genet_dtype_bytes(t->dtype, genet__numel(&t->shape));
    if (!p->workspace) return genet__err_set(err, GENET_ERR_USAGE, "the plan has no workspace: genet_plan_attach one");
    if (size_bytes != want)
        return genet__err_set(err, GENET_ERR_USAGE, "%s %s holds %zu bytes, not %zu", name_of(t), SHAPE_TEXT(t), want, size_bytes);
    return true;
}

bool genet_plan_write(genet_plan *p, genet_tensor *input, const void *from, size_t size_bytes, genet_err *err)
{
    bool gone;
    tensor *t = lowered_of(p, input, &gone, err);
    if (!t) return gone;
    if (!genet__op_is(t, OP_input)) return genet__err_set(err, GENET_ERR_USAGE, "%s is no input", t->name);
    TRY(moved_size(p, t, size_bytes, err));
    take_workspace(p);
    int64_t began = genet__profile_now(p->device);
    p->device->write(p->device, address_of(p, t), from, size_bytes);
    genet__profile_host(p->device, "write", began, (double)size_bytes);
    p->written[input->id] = true;
    return true;
}

/* The lowered tensor of an output whose value lies in the workspace now, or NULL. */
static tensor *readable(genet_plan *p, const genet_tensor *output, genet_err *err)
{
    bool gone, found = false;
    tensor *t = lowered_of(p, output, &gone, err);
    for (int i = 0; t && i < p->n_output; i++) found |= p->output[i] == t;
    if (gone || (t && !found)) genet__err_set(err, GENET_ERR_USAGE, "%s is no output of this plan", name_of(output));
    if (gone || !t || !found) return NULL;
    if (p->ran && p->workspace->last == p->serial) return t;
    genet__err_set(err, GENET_ERR_USAGE, "%s is read before the plan ran, or after another plan used its memory",
                   name_of(output));
    return NULL;
}

static void read_from(genet_plan *p, const char *address, void *to, size_t size_bytes)
{
    int64_t began = genet__profile_now(p->device);
    p->device->read(p->device, address, to, size_bytes);
    genet__profile_host(p->device, "read", began, (double)size_bytes);
}

bool genet_plan_read(genet_plan *p, genet_tensor *output, void *to, size_t size_bytes, genet_err *err)
{
    tensor *t = readable(p, output, err);
    TRY(t && moved_size(p, t, size_bytes, err));
    read_from(p, address_of(p, t), to, size_bytes);
    return true;
}

bool genet__plan_read_part(genet_plan *p, genet_tensor *output, int64_t first, int64_t n, void *to, genet_err *err)
{
    tensor *t = readable(p, output, err);
    if (!t) return false;
    assert(first >= 0 && n >= 0 && first + n <= genet__numel(&t->shape));
    read_from(p, address_of(p, t) + genet_dtype_bytes(t->dtype, first), to, genet_dtype_bytes(t->dtype, n));
    return true;
}

/* --- running --------------------------------------------------------------------------------- */

static bool inputs_written(genet_plan *p, genet_err *err)
{
    for (int i = 0; i < p->n_source; i++) {
        tensor *t = p->source->node[i];
        if (genet__op_is(t, OP_input) && p->lowered[i] && !p->written[i])
            return genet__err_set(err, GENET_ERR_USAGE, "input %s was not written since the last run", t->name);
    }
    memset(p->written, 0, (size_t)p->n_source * sizeof *p->written);
    return true;
}

/* Fill what is not alive with NaN (0xFF bytes are NaN in every float type). */
static bool poison_before(genet_plan *p, int s, genet_err *err)
{
    for (int i = 0; i < p->n_block; i++) {
        const block *b = &p->block[i];
        if (b->birth != s || b->parent >= 0 || b->size_bytes == 0) continue;
        char *junk = genet__alloc((size_t)b->size_bytes);
        if (!junk) return genet__err_memory(err);
        memset(junk, 0xff, (size_t)b->size_bytes);
        p->device->write(p->device, p->workspace->base + b->offset, junk, (size_t)b->size_bytes);
        genet__free(junk);
    }
    return true;
}

static bool run_poisoned(genet_plan *p, genet_err *err)
{
    for (int s = 0, n; s < p->n_step; s += n) {
        n = 1 + p->launch[s].beside;
        TRY(poison_before(p, s, err));
        TRY(p->device->run(p->device, &p->launch[s], n, NULL, err));
    }
    return true;
}

bool genet_plan_run(genet_plan *p, genet_err *err)
{
    if (!p->workspace) return genet__err_set(err, GENET_ERR_USAGE, "the plan has no workspace: genet_plan_attach one");
    TRY(resolve(p, err));
    take_workspace(p);
    TRY(inputs_written(p, err));
    p->ran = p->options.poison ? run_poisoned(p, err) : genet__profile_run(p, err);
    return p->ran;
}

/* --- describing -------------------------------------------------------------------------------- */

genet_plan_info genet_plan_describe(const genet_plan *p) { return p->info; }

static void print_operand(const genet_plan *p, const tensor *t, str *s)
{
    if (!t) {
        genet__str_add(s, " -");
        return;
    }
    genet__str_printf(s, " %s", SHAPE_TEXT(t));
    if (genet__op_is(t->root, OP_state)) genet__str_printf(s, "@%s", t->root->name);
    else genet__str_printf(s, "@%lld", (long long)p->block[p->block_of[t->root->id]].offset);
}

void genet__plan_step_words(const step *st, str *s)
{
    for (int k = 0; k < st->n_before; k++) genet__str_printf(s, "%s+", st->member[k]->op->name);
    genet__str_add(s, st->head ? st->head->op->name : "");
    for (int k = st->n_before; k < st->n_member; k++)
        genet__str_printf(s, "%s%s", k || st->head ? "+" : "", st->member[k]->op->name);
}

char *genet_plan_print(const genet_plan *p)
{
    str s = {0};
    for (int i = 0; i < p->n_step; i++) {
        const step *st = &p->step[i];
        genet__str_printf(&s, "%4d ", i);
        genet__plan_step_words(st, &s);
        for (int k = 0; k < p->launch[i].n_arg; k++) print_operand(p, p->arg[i][k], &s);
        const tensor *last = st->n_member ? st->member[st->n_member - 1] : st->head;
        genet__str_printf(&s, "  %.3g flop  %s\n", genet__plan_flops(p, i), last->name);
    }
    return s.at;
}
