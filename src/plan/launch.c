/* launch.c - steps to launches: operands in order, and the straight-line
 * program of a step's elementwise members.
 *
 * A member's value lives in a register; it is stored when something outside
 * the step reads it. */
#include "base/err.h"
#include "plan/plan.h"
#include <assert.h>
#include <string.h>

typedef struct builder {
    genet_plan *plan;
    step       *st;
    int         index;
    tensor     *arg[LAUNCH_MAX_ARG];
    operand     operand[LAUNCH_MAX_ARG];
    int         n_arg;
    ew_reg      reg[EW_MAX_REG];
    tensor     *reg_value[EW_MAX_REG];      /* member, or outside input */
    const shape*reg_shape[EW_MAX_REG];      /* that the input is broadcast to */
    int         n_reg;
    ew_instr    instr[EW_MAX_REG];          /* all these of one program */
    int         n_instr;
    bool        full;                       /* some table is */
} builder;

static operand operand_of(const tensor *t, const shape *as)
{
    /* until addresses are known, data says only that the operand is there */
    operand o = { .data = (char *)(uintptr_t)t, .dtype = t->dtype, .rank = as->rank };
    int lead = as->rank - t->shape.rank;
    for (int i = 0; i < as->rank; i++) {
        o.dim[i] = as->dim[i];
        if (i >= lead && t->shape.dim[i - lead] != 1) o.stride[i] = t->stride[i - lead];
    }
    return o;
}

static int add_arg(builder *b, tensor *t, const shape *as)
{
    if (b->n_arg == LAUNCH_MAX_ARG) {
        b->full = true;
        return 0;
    }
    b->arg[b->n_arg] = t;
    if (t) b->operand[b->n_arg] = operand_of(t, as);
    return b->n_arg++;
}

static int add_reg(builder *b, ew_reg r, tensor *value, const shape *as)
{
    if (b->n_reg == EW_MAX_REG) {
        b->full = true;
        return 0;
    }
    b->reg[b->n_reg] = r;
    b->reg_value[b->n_reg] = value;
    b->reg_shape[b->n_reg] = as;
    return b->n_reg++;
}

/* Does input k of a step's elementwise member come from memory, not from a
 * register or a constant? */
static bool reads_memory(const genet_plan *p, int s, tensor *member, int k)
{
    tensor *x = member->in[k], *head = p->step[s].head;
    if (!x || genet__rewrites(member->op, k)) return false;
    if (genet__given_whole(member, k)) return true;
    if (genet__plan_is_const(x)) return false;
    tensor *from = genet__plan_producer(x);
    bool across = p->step[s].n_before && from->id < head->id && member->id > head->id;     /* from the program before */
    return p->step_of[from->main->id] != s || from->op->flags & OPF_EFFECT || across;
}

/* --- registers ------------------------------------------------------------------ */

static int const_reg(builder *b, tensor *x)
{
    double value = genet__plan_producer(x)->attr.f[0];
    for (int i = 0; i < b->n_reg; i++)
        if (b->reg[i].kind == EW_CONST && b->reg[i].dtype == x->dtype &&
            !memcmp(&b->reg[i].value, &value, sizeof value)) return i;
    return add_reg(b, (ew_reg){ .kind = EW_CONST, .dtype = x->dtype, .arg = -1, .slot = -1, .value = value }, NULL, NULL);
}

static int member_reg(const builder *b, const tensor *value)
{
    for (int i = 0; i < b->n_reg; i++)
        if (b->reg_value[i] == value && !b->reg_shape[i]) return i;
    assert(!"a member's value is in a register");
    return -1;
}

static int input_reg(builder *b, tensor *m, int k)
{
    tensor *x = m->in[k];
    if (genet__given_whole(m, k))
        return add_reg(b, (ew_reg){ .kind = EW_WHOLE, .dtype = x->dtype, .arg = add_arg(b, x, &x->shape), .slot = -1 }, x, &x->shape);
    if (genet__plan_is_const(x)) return const_reg(b, x);
    if (!reads_memory(b->plan, b->index, m, k)) return member_reg(b, genet__plan_producer(x));
    for (int i = 0; i < b->n_reg; i++)
        if (b->reg[i].kind == EW_ARG && b->reg_value[i] == x && b->reg_shape[i] &&
            genet__same_shape(b->reg_shape[i], &m->shape)) return i;
    int arg = add_arg(b, x, &m->shape);
    return add_reg(b, (ew_reg){ .kind = EW_ARG, .dtype = x->dtype, .arg = arg, .slot = -1 }, x, &m->shape);
}

static int result_reg(builder *b, tensor *m, bool stored)
{
    ew_reg r = { .kind = stored ? EW_ARG : EW_TEMP, .dtype = m->dtype, .arg = -1, .slot = -1 };
    if (stored) r.arg = add_arg(b, m, &m->shape);
    return add_reg(b, r, m, NULL);
}

static ew_fn *function_of(const genet_device *d, const tensor *m)
{
    const tensor *x = m->in[m->n_in ? (m->op->flags & OPF_EFFECT ? 1 : 0) : 0];
    if (genet__op_is(m, OP_cast) || genet__op_is(m, OP_copy) || genet__op_is(m, OP_assign))
        return d->cast(d, x->dtype, m->dtype);
    dtype t = m->dtype != GENET_U8 ? m->dtype : x->dtype;
    return d->ew(d, m->op->id, t);
}

static void add_instr(builder *b, tensor *m, bool stored)
{
    int in[3] = { -1, -1, -1 }, n = 0;
    for (int k = 0; k < m->n_in; k++)
        if (!genet__rewrites(m->op, k)) in[n++] = input_reg(b, m, k);
    int y = result_reg(b, m, stored);
    if (b->full || b->n_instr == EW_MAX_REG) {
        b->full = true;
        return;
    }
    ew_instr *i = &b->instr[b->n_instr++];
    *i = (ew_instr){ .fn = function_of(b->plan->device, m), .y = y, .a = in[0], .b = in[1], .c = in[2],
                     .indexed = m->op->flags & OPF_INDEXED };
    memcpy(i->p, m->attr.f, sizeof i->p);
}

/* --- slots ------------------------------------------------------------------------ */

static int last_use(const builder *b, int reg)
{
    int last = -1;
    for (int i = 0; i < b->n_instr; i++) {
        const ew_instr *n = &b->instr[i];
        if (n->a == reg || n->b == reg || n->c == reg || n->y == reg) last = i;
    }
    return last;
}

static bool is_dense(const operand *o)
{
    int64_t dense = 1;
    for (int i = o->rank - 1; i >= 0; i--) {
        if (o->dim[i] != 1 && o->stride[i] != dense) return false;
        dense *= o->dim[i];
    }
    return true;
}

/* Blocks of local memory: constants and gathered inputs have their own,
 * temporaries take turns. Returns how many, or -1 when there are too few. */
static int assign_slots(builder *b)
{
    int n = 0, busy_until[EW_MAX_REG];
    for (int i = 0; i < b->n_reg; i++) {
        ew_reg *r = &b->reg[i];
        if (r->kind == EW_CONST || (r->kind == EW_ARG && !is_dense(&b->operand[r->arg]))) {
            busy_until[n] = b->n_instr;
            r->slot = n++;
        }
    }
    for (int i = 0; i < b->n_instr; i++) {
        ew_reg *r = &b->reg[b->instr[i].y];
        if (r->kind != EW_TEMP) continue;
        int s = 0;
        while (s < n && busy_until[s] >= i) s++;
        if (s == n) n++;
        busy_until[s] = last_use(b, b->instr[i].y);
        r->slot = s;
    }
    return n <= EW_MAX_TEMP ? n : -1;
}

/* --- one step ----------------------------------------------------------------------- */

static void add_head(builder *b)
{
    tensor *h = b->st->head;
    for (int k = 0; k <= h->op->n_side; k++) {
        tensor *t = genet__side(h, k);
        bool wanted = k == 0 || b->plan->stored[t->id] || t->op->flags & OPF_EFFECT;
        add_arg(b, wanted ? t : NULL, &t->shape);
    }
    for (int k = 0; k < h->n_in; k++) add_arg(b, h->in[k], h->in[k] ? &h->in[k]->shape : NULL);
}

static ew_program *keep_program(builder *b, const tensor *first, int n_slot)
{
    arena *a = &b->plan->arena;
    ew_program *p = ARENA_NEW(a, ew_program);
    if (!p || !(p->reg = ARENA_ARRAY(a, ew_reg, b->n_reg)) || !(p->instr = ARENA_ARRAY(a, ew_instr, b->n_instr))) return NULL;
    p->space = first->shape;
    p->numel = b->st->numel;
    p->n_reg = b->n_reg;
    p->n_instr = b->n_instr;
    p->n_slot = n_slot;
    memcpy(p->reg, b->reg, (size_t)b->n_reg * sizeof *p->reg);
    memcpy(p->instr, b->instr, (size_t)b->n_instr * sizeof *p->instr);
    return p;
}

/* Members [from, to) of the step, which follow the head, or not, as a program; *out stays NULL where there are
 * none, and where a table is full. */
static bool add_program(builder *b, int from, int to, bool after_head, const ew_program **out, genet_err *err)
{
    tensor *h = b->st->head;
    b->n_reg = b->n_instr = 0;
    if (from == to) return true;
    if (after_head) add_reg(b, (ew_reg){ .kind = EW_ARG, .dtype = h->dtype, .arg = 0, .slot = -1 }, h, NULL);
    for (int m = from; m < to && !b->full; m++) {
        tensor *t = b->st->member[m];
        add_instr(b, t, b->plan->stored[t->id] || t->op->flags & OPF_EFFECT);
    }
    int n_slot = b->full ? -1 : assign_slots(b);
    if (n_slot < 0) return b->full = true;
    *out = keep_program(b, b->st->member[from], n_slot);
    return *out || genet__err_memory(err);
}

/* Concat of any number of inputs has more operands than the fixed tables. */
static bool launch_many(genet_plan *p, int s, genet_err *err)
{
    tensor *h = p->step[s].head;
    launch *l = &p->launch[s];
    int n = 1 + h->op->n_side + h->n_in;
    l->arg = ARENA_ARRAY(&p->arena, operand, n);
    p->arg[s] = ARENA_ARRAY(&p->arena, tensor *, n);
    if (!l->arg || !p->arg[s]) return genet__err_memory(err);
    *l = (launch){ .op = h->op, .attr = h->attr, .n_out = 1 + h->op->n_side, .n_in = h->n_in, .n_arg = n, .arg = l->arg };
    for (int k = 0; k < n; k++) {
        tensor *t = k < l->n_out ? genet__side(h, k) : h->in[k - l->n_out];
        p->arg[s][k] = t;
        l->arg[k] = operand_of(t, &t->shape);
    }
    return true;
}

static bool finish(builder *b, const ew_program *before, const ew_program *program, genet_err *err)
{
    genet_plan *p = b->plan;
    tensor *h = b->st->head;
    launch *l = &p->launch[b->index];
    *l = (launch){ .n_arg = b->n_arg, .before = before, .program = program, .arg = ARENA_ARRAY(&p->arena, operand, b->n_arg + 1) };
    p->arg[b->index] = ARENA_ARRAY(&p->arena, tensor *, b->n_arg + 1);
    if (!l->arg || !p->arg[b->index]) return genet__err_memory(err);
    memcpy(l->arg, b->operand, (size_t)b->n_arg * sizeof *l->arg);
    memcpy(p->arg[b->index], b->arg, (size_t)b->n_arg * sizeof *b->arg);
    if (h) {
        l->op = h->op;
        l->attr = h->attr;
        l->n_out = 1 + h->op->n_side;
        l->n_in = h->n_in;
    }
    return true;
}

/* What some other step, or the user, reads from memory. */
static bool mark_stored(genet_plan *p)
{
    bool *stored = p->stored = ARENA_ARRAY(&p->arena, bool, p->graph->n + 1);
    if (!stored) return false;
    for (int i = 0; i < p->n_output; i++) stored[genet__plan_producer(p->output[i])->id] = true;
    for (int s = 0; s < p->n_step; s++) {
        step *st = &p->step[s];
        for (int k = 0; st->head && k < st->head->n_in; k++)
            if (st->head->in[k]) stored[genet__plan_producer(st->head->in[k])->id] = true;
        for (int m = 0; m < st->n_member; m++)
            for (int k = 0; k < st->member[m]->n_in; k++)
                if (reads_memory(p, s, st->member[m], k))
                    stored[genet__plan_producer(st->member[m]->in[k])->id] = true;
    }
    return true;
}

static bool one_launch(genet_plan *p, int s, genet_err *err)
{
    builder b = { .plan = p, .st = &p->step[s], .index = s };
    tensor *h = b.st->head;
    if (h && 1 + h->op->n_side + h->n_in > LAUNCH_MAX_ARG) return launch_many(p, s, err);
    if (h) add_head(&b);
    const ew_program *before = NULL, *program = NULL;
    TRY(add_program(&b, 0, b.st->n_before, false, &before, err));
    TRY(add_program(&b, b.st->n_before, b.st->n_member, h, &program, err));
    if (b.full) return p->too_large = true;
    return finish(&b, before, program, err);
}

bool genet__plan_launches(genet_plan *p, genet_err *err)
{
    p->too_large = false;
    p->launch = ARENA_ARRAY(&p->arena, launch, p->n_step + 1);
    p->arg = ARENA_ARRAY(&p->arena, tensor **, p->n_step + 1);
    if (!p->launch || !p->arg || !mark_stored(p)) return genet__err_memory(err);
    for (int s = 0; s < p->n_step && !p->too_large; s++) {
        TRY(one_launch(p, s, err));
        tensor *h = p->step[s].head;
        p->launch[s].kernel = h ? genet__plan_kernel(p, h) : p->device->elementwise;
    }
    return true;
}
