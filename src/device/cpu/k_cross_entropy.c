/* k_cross_entropy.c - cross_entropy (sum, count, log-sum-exp of each row) and
 * its backward kernel.  Formulas: graph/op_cross_entropy.c.
 *
 * A task is a run of rows.  Forward, each leaves its sum and count, in double,
 * in shared memory, and the second phase adds these in order. */
#include "device/cpu/k_fold.h"
#include "device/cpu/vec.h"

enum { CE_GRAIN = 16384 };

/* logits (rows, V), target (rows). */
typedef struct ce {
    int64_t V, rows, per_task, n_task, ignore;
    double  smoothing;
    const real    *logits;
    const int32_t *target;
} ce;

static ce ce_of(const launch *l)
{
    const operand *x = launch_in(l, 0);
    ce c = { .V = x->dim[x->rank - 1], .rows = operand_numel(launch_in(l, 1)), .ignore = l->attr.i[0],
             .smoothing = l->attr.f[0], .logits = (const real *)x->data,
             .target = (const int32_t *)launch_in(l, 1)->data };
    c.per_task = max_i64(1, CE_GRAIN / c.V);
    c.n_task = ceil_div(c.rows, c.per_task);
    return c;
}

/* --- forward ------------------------------------------------------------------------ */

static int ce_phases(const launch *l) { (void)l; return 2; }
static int64_t ce_tasks(const launch *l, int phase) { return phase == 0 ? ce_of(l).n_task : 1; }

typedef struct partial { double sum, count; } partial;
static size_t ce_shared(const launch *l) { return (size_t)ce_of(l).n_task * sizeof(partial); }

/* log of the sum of exp(x).  A maximum of -inf is not subtracted: inf - inf is no
 * number; one of inf is the result. */
static real log_sum_exp(const real *restrict x, int64_t V, real *restrict block)
{
    const real max = fold_row(FOLD_MAX, x, x, 0, V), shift = max - max == 0 ? max : 0;
    cascade s;
    s.n = 0, s.count = 0;
    if (max == INFINITY) return max;
    for (int64_t i = 0; i < V; i += FOLD_BLOCK) {
        int64_t n = min_i64(FOLD_BLOCK, V - i);
        for (int64_t j = 0; j < n; j++) block[j] = vec_exp_neg(x[i + j] - shift);
        cascade_push(FOLD_SUM, &s, fold_block(FOLD_SUM, block, block, 0, n));
    }
    return shift + vec_log(cascade_end(FOLD_SUM, &s));
}

/* In double: the difference of lse and logit may be small beside both. */
static double row_loss(const ce *c, const real *x, int64_t t, double lse)
{
    if (t < 0 || t >= c->V) return NAN;
    double loss = lse - (1 - c->smoothing) * (double)x[t];
    if (c->smoothing > 0) loss -= c->smoothing * (double)fold_row(FOLD_SUM, x, x, 0, c->V) / (double)c->V;
    return loss;
}

/* Phase 1, one task. */
static void add_up(const launch *l, const partial *p, int64_t n)
{
    partial all = { 0, 0 };
    for (int64_t i = 0; i < n; i++) {
        all.sum += p[i].sum;
        all.count += p[i].count;
    }
    real *sum = (real *)launch_out(l, 0)->data, *count = (real *)launch_out(l, 1)->data;
    if (sum) *sum = (real)all.sum;
    if (count) *count = (real)all.count;
}

static void run_cross_entropy(const launch *l, int phase, int64_t task, char *local)
{
    ce c = ce_of(l);
    partial *p = (partial *)l->shared, mine = { 0, 0 };
    if (phase == 1) {
        add_up(l, p, c.n_task);
        return;
    }
    real *out_lse = (real *)launch_out(l, 2)->data;
    for (int64_t r = task * c.per_task; r < min_i64((task + 1) * c.per_task, c.rows); r++) {
        const real *x = c.logits + r * c.V;
        bool counts = c.target[r] != c.ignore;
        if (!counts && !out_lse) continue;          /* nobody will know */
        real lse = log_sum_exp(x, c.V, (real *)local);
        if (out_lse) out_lse[r] = lse;
        if (counts) {
            mine.sum += row_loss(&c, x, c.target[r], (double)lse);
            mine.count++;
        }
    }
    p[task] = mine;
}
const kernel K(k_cross_entropy) = {
    .phases = ce_phases, .tasks = ce_tasks, .run = run_cross_entropy, .shared = ce_shared
};

/* --- backward ------------------------------------------------------------------------- */

static int64_t ce_grad_tasks(const launch *l, int phase) { (void)phase; return ce_of(l).n_task; }

/* dx[v] = (exp(x[v] - lse) - share - (1 - e) [v = t]) g, share = e / V.  dx may be x. */
static void grad_row(const ce *c, const real *x, int64_t t, real lse, real g, real *dx)
{
    const real share = (real)(c->smoothing / (double)c->V);
    if (t < 0 || t >= c->V) {
        for (int64_t v = 0; v < c->V; v++) dx[v] = (real)NAN;
        return;
    }
    /* late in training this small difference is what counts: taken in double */
    const double at_target = (double)vec_exp_neg(x[t] - lse) - c->smoothing / (double)c->V - (1 - c->smoothing);
    IN_PLACE
    for (int64_t v = 0; v < c->V; v++) dx[v] = (vec_exp_neg(x[v] - lse) - share) * g;
    dx[t] = (real)(at_target * (double)g);
}

static void run_cross_entropy_grad(const launch *l, int phase, int64_t task, char *local)
{
    (void)phase, (void)local;
    ce c = ce_of(l);
    const real *lse = (const real *)launch_in(l, 2)->data, g = *(const real *)launch_in(l, 3)->data;
    for (int64_t r = task * c.per_task; r < min_i64((task + 1) * c.per_task, c.rows); r++) {
        real *dx = (real *)launch_out(l, 0)->data + r * c.V;
        if (c.target[r] == c.ignore) memset(dx, 0, (size_t)c.V * sizeof(real));
        else grad_row(&c, c.logits + r * c.V, c.target[r], lse[r], g, dx);
    }
}
const kernel K(k_cross_entropy_grad) = { .tasks = ce_grad_tasks, .run = run_cross_entropy_grad };
