/* op_cross_entropy.c - cross_entropy of logits against classes, and its
 * gradient op.
 *
 * For a row x of V logits with class t and smoothing e, as in PyTorch (the
 * target class takes part in the smoothing):
 *     loss = lse(x) - (1 - e) x[t] - e mean(x)
 *     dloss/dx[v] = exp(x[v] - lse) - (1 - e) [v = t] - e / V
 * Rows whose target is ignore_index give 0 and do not count.  Any other target
 * outside 0..V-1 makes its loss, and its row of the gradient, NaN: a wrong
 * label is never silently taken for something else.
 *
 * attr: i[0] ignore_index, f[0] label_smoothing.  Sides: count, lse (...). */
#include "graph/graph.h"
#include <math.h>

/* --- shared by both ops: in[0] logits (..., V), in[1] target (...) ----------------- */

static bool rows_fit(tensor *y)
{
    const tensor *x = y->in[0], *t = y->in[1];
    double smoothing = y->attr.f[0];
    shape rows = x->shape;
    if (!genet__is_float(x->dtype) || t->dtype != GENET_I32)
        return genet__fail(y, "logits are %s and target %s; they must be f32 or f64, and i32",
                           genet_dtype_name(x->dtype), genet_dtype_name(t->dtype));
    rows.rank--;
    if (rows.rank < 0 || !genet__same_shape(&rows, &t->shape))
        return genet__fail(y, "target %s must be logits %s without the last dimension", SHAPE_TEXT(t), SHAPE_TEXT(x));
    if (x->shape.dim[rows.rank] < 1 || x->shape.dim[rows.rank] > INT32_MAX)
        return genet__fail(y, "logits %s: the number of classes is not in 1..2^31-1", SHAPE_TEXT(x));
    if (y->attr.i[0] < INT32_MIN || y->attr.i[0] > INT32_MAX)
        return genet__fail(y, "ignore_index %lld is not an i32", (long long)y->attr.i[0]);
    if (!(smoothing >= 0 && smoothing <= 1)) return genet__fail(y, "label_smoothing %g is not in 0..1", smoothing);
    return true;
}

static int64_t n_classes(const tensor *y) { return y->in[0]->shape.dim[y->in[0]->shape.rank - 1]; }

/* t (...) as (..., 1). */
static tensor *as_column(tensor *t)
{
    shape s = t->shape;
    s.dim[s.rank++] = 1;
    return genet_reshape(t, s.rank, s.dim);
}

/* value where the target (which broadcasts against it) is a class, 0 where it
 * is ignored, NaN elsewhere. */
static tensor *where_class(const tensor *y, tensor *target, tensor *value)
{
    graph *g = y->graph;
    tensor *ignored = genet_eq(target, genet_full(g, GENET_I32, (double)y->attr.i[0], 0, NULL));
    tensor *low  = genet_lt(target, genet_full(g, GENET_I32, 0, 0, NULL));
    tensor *high = genet_ge(target, genet_full(g, GENET_I32, (double)n_classes(y), 0, NULL));
    tensor *nan = genet_scalar_like(value, NAN), *zero = genet_scalar_like(value, 0);
    return genet_where(ignored, zero, genet_where(low, nan, genet_where(high, nan, value)));
}

/* The same for the naive definitions. */
static double ref_where_class(const tensor *y, double target, double value)
{
    if (target == (double)y->attr.i[0]) return 0;
    return target >= 0 && target < (double)n_classes(y) ? value : NAN;
}

/* --- cross_entropy ------------------------------------------------------------------- */

static bool infer_cross_entropy(tensor *y)
{
    if (!rows_fit(y)) return false;
    tensor *count = genet__side(y, 1), *lse = genet__side(y, 2);
    y->dtype = count->dtype = lse->dtype = y->in[0]->dtype;
    lse->shape = y->in[1]->shape;
    return true;
}

/* gather_last picks 0 where the target is no class; where_class replaces that. */
static void expand_cross_entropy(tensor *y, tensor **out)
{
    tensor *x = y->in[0], *t = y->in[1];
    double e = y->attr.f[0];
    unsigned last = genet_axis(x, -1), rows = genet_axes_all(t);
    tensor *lse = genet_logsumexp(x, last, false);
    tensor *picked = genet_reshape(genet_gather_last(x, as_column(t)), t->shape.rank, t->shape.dim);
    tensor *loss = genet_sub(lse, genet_mul(picked, genet_scalar_like(x, 1 - e)));
    if (e > 0) loss = genet_sub(loss, genet_mul(genet_mean(x, last, false), genet_scalar_like(x, e)));
    tensor *ignored = genet_eq(t, genet_full(y->graph, GENET_I32, (double)y->attr.i[0], 0, NULL));
    tensor *one = genet_full(y->graph, y->dtype, 1, t->shape.rank, t->shape.dim);
    out[0] = genet_sum(where_class(y, t, loss), rows, false);
    out[1] = genet_sum(genet_where(ignored, genet_scalar_like(x, 0), one), rows, false);
    out[2] = lse;
}

/* The probabilities are made again from logits and lse: nothing of size
 * (..., V) is kept for the backward pass but the logits. */
static void grad_cross_entropy(tensor *y, tensor *g, tensor **d)
{
    d[0] = APPLY(OP_cross_entropy_grad, &y->attr, SAVED(y->in[0]), SAVED(y->in[1]), SAVED(genet__side(y, 2)), g);
}

static double ref_lse(const double *x, int64_t n)
{
    double max = -INFINITY, sum = 0;
    for (int64_t v = 0; v < n; v++) max = fmax(max, x[v]);
    for (int64_t v = 0; v < n; v++) sum += exp(x[v] - max);
    return max + log(sum);
}
static void ref_cross_entropy(const tensor *y, double *const in[], double *const out[])
{
    int64_t V = n_classes(y), rows = genet__numel(&y->in[1]->shape);
    double e = y->attr.f[0];
    out[0][0] = out[1][0] = 0;
    for (int64_t r = 0; r < rows; r++) {
        const double *x = in[0] + r * V, t = in[1][r];
        double lse = out[2][r] = ref_lse(x, V), mean = 0;
        for (int64_t v = 0; v < V; v++) mean += x[v] / (double)V;
        double picked = t >= 0 && t < (double)V ? x[(int64_t)t] : 0;
        out[0][0] += ref_where_class(y, t, lse - (1 - e) * picked - e * mean);
        out[1][0] += t != (double)y->attr.i[0];
    }
}

/* Subtract, exponentiate, add, and the maximum. */
static double flops_rows(const tensor *y) { return 4.0 * (double)genet__numel(&y->in[0]->shape); }

#define CE(ignore, smoothing) .attr = { .f = { smoothing }, .i = { ignore } }
/* Ignored and impossible targets, one class, a row longer than any block. */
static const probe probes_cross_entropy[] = {
    { CE(-100, 0), .in = { PF(-3, 3, 3, 5), PI(0, 4, 3) } },
    { CE(1, .1), .in = { PF(-3, 3, 2, 3, 4), PI(0, 3, 2, 3) } },
    { CE(-1, .3), .in = { PF(-2, 2, 4), { 'i', 0, 3, 0, {0} } } },
    { .edge = true, CE(0, 0), .in = { PF(-3, 3, 5, 1), PI(0, 0, 5) } },
    { .edge = true, CE(-1, 0), .in = { PF(-9, 9, 7, 17), PI(-1, 16, 7) } },
    { .edge = true, CE(-1, .1), .in = { PF(-9, 9, 3, 5, 33), PI(-1, 32, 3, 5) } },
    { .edge = true, CE(-1, .1), .in = { PF(-90, 90, 5, 31), PI(-1, 30, 5) } },
    { .edge = true, CE(-100, 0), .in = { PF(-9, 9, 4, 15), PI(16, 20, 4) } },
    { .edge = true, CE(-100, 0), .in = { PF(-9, 9, 0, 15), PI(0, 1, 0) } },
    { .edge = true, CE(-1, .2), .in = { PF(-9, 9, 2, 9001), PI(0, 9000, 2) } },
    { .edge = true, CE(-1, 0), .in = { PF(-9, 9, 769, 67), PI(-1, 66, 769) } },
};
ROW(cross_entropy, OWN, BOTH, 0, .n_in = 2, .n_side = 2, .flat_sides = 1 << 1, .infer = infer_cross_entropy, .flops = flops_rows)

tensor *genet_cross_entropy(tensor *logits, tensor *target, int64_t ignore_index, double label_smoothing)
{
    attr a = { .f = { label_smoothing }, .i = { ignore_index } };
    return APPLY(OP_cross_entropy, &a, logits, target);
}

/* --- cross_entropy_grad: logits, target, lse (...), g () -> (..., V) -------------------- */

static bool infer_cross_entropy_grad(tensor *y)
{
    const tensor *x = y->in[0], *lse = y->in[2], *g = y->in[3];
    if (!rows_fit(y)) return false;
    if (lse->dtype != x->dtype || g->dtype != x->dtype || g->shape.rank ||
        !genet__same_shape(&lse->shape, &y->in[1]->shape))
        return genet__fail(y, "lse %s %s and g %s %s do not fit logits %s", genet_dtype_name(lse->dtype), SHAPE_TEXT(lse),
                           genet_dtype_name(g->dtype), SHAPE_TEXT(g), SHAPE_TEXT(x));
    return genet__infer_same(y);
}

/* share: what is taken off each probability, more at the target. */
static void expand_cross_entropy_grad(tensor *y, tensor **out)
{
    tensor *x = y->in[0], *t = as_column(y->in[1]), *lse = as_column(y->in[2]), *g = y->in[3];
    double e = y->attr.f[0], V = (double)n_classes(y);
    tensor *is_target = genet_eq(genet_iota(y->graph, GENET_I32, n_classes(y), 0, 1), t);
    tensor *share = genet_where(is_target, genet_scalar_like(x, 1 - e + e / V), genet_scalar_like(x, e / V));
    tensor *row = genet_sub(genet_exp(genet_sub(x, lse)), share);
    out[0] = genet_mul(where_class(y, t, row), g);
}

static void ref_cross_entropy_grad(const tensor *y, double *const in[], double *const out[])
{
    int64_t V = n_classes(y);
    double e = y->attr.f[0];
    for (int64_t i = 0; i < genet__numel(&y->shape); i++) {
        double t = in[1][i / V], d = exp(in[0][i] - in[2][i / V]) - (1 - e) * (t == (double)(i % V)) - e / (double)V;
        out[0][i] = ref_where_class(y, t, d) * in[3][0];
    }
}

static const probe probes_cross_entropy_grad[] = {
    { CE(-100, 0), .in = { PF(-3, 3, 3, 5), PI(0, 4, 3), PF(2, 3, 3), PF0(.5, 2) } },
    { CE(1, .1), .in = { PF(-3, 3, 2, 2, 4), PI(0, 3, 2, 2), PF(2, 3, 2, 2), PF0(.5, 2) } },
    { .edge = true, CE(0, 0), .in = { PF(-3, 3, 5, 1), PI(0, 0, 5), PF(2, 3, 5), PF0(.5, 2) } },
    { .edge = true, CE(-1, .1), .in = { PF(-9, 9, 3, 5, 33), PI(-1, 32, 3, 5), PF(9, 12, 3, 5), PF0(-2, 2) } },
    { .edge = true, CE(-100, 0), .in = { PF(-9, 9, 4, 15), PI(-1, 15, 4), PF(9, 12, 4), PF0(.5, 2) } },
    { .edge = true, CE(-100, 0), .in = { PF(-9, 9, 0, 15), PI(0, 1, 0), PF(2, 3, 0), PF0(.5, 2) } },
    { .edge = true, CE(-1, .2), .in = { PF(-9, 9, 2, 9001), PI(0, 9000, 2), PF(9, 12, 2), PF0(.5, 2) } },
    { .edge = true, CE(-1, 0), .in = { PF(-9, 9, 769, 67), PI(-1, 66, 769), PF(9, 12, 769), PF0(.5, 2) } },
};
ROW(cross_entropy_grad, EXPAND, BOTH, 0, .n_in = 4, .over = 1u << 0, .infer = infer_cross_entropy_grad, .flops = flops_rows)
