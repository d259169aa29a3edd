/* op_loss.c - losses between two tensors of one shape: mse, l1, huber,
 * bce_with_logits, kl_div.  (cross_entropy: op_cross_entropy.c.)
 *
 * A loss is a SUM over elements and, as side 1, their COUNT: sums of parts of
 * a batch add up, and are divided once by the global count.  Each one here is
 * its definition in simpler ops and has no kernel.  Both arguments get
 * gradients; a target is usually an input, which asks for none.  Shapes must
 * be equal: broadcasting a target is nearly always a mistake. */
#include "graph/graph.h"
#include <math.h>

static bool infer_pair(tensor *y)
{
    const tensor *x = y->in[0], *t = y->in[1];
    if (!genet__is_float(x->dtype) || t->dtype != x->dtype)
        return genet__fail(y, "x is %s and target %s; both must be f32, or both f64", genet_dtype_name(x->dtype),
                           genet_dtype_name(t->dtype));
    if (!genet__same_shape(&x->shape, &t->shape))
        return genet__fail(y, "x %s and target %s differ; use reshape or broadcast", SHAPE_TEXT(x), SHAPE_TEXT(t));
    y->dtype = genet__side(y, 1)->dtype = x->dtype;
    return true;
}

/* term: the loss of each element. */
static void sum_and_count(const tensor *y, tensor *term, tensor **out)
{
    out[0] = genet_sum(term, genet_axes_all(term), false);
    out[1] = genet_full(y->graph, y->dtype, (double)genet__numel(&y->in[0]->shape), 0, NULL);
}

/* The naive form of all of them; p: the attribute. */
typedef double loss_term(double x, double t, double p);
static void ref_pair(loss_term *term, const tensor *y, double *const in[], double *const out[])
{
    int64_t n = genet__numel(&y->in[0]->shape);
    out[0][0] = 0;
    for (int64_t i = 0; i < n; i++) out[0][0] += term(in[0][i], in[1][i], y->attr.f[0]);
    out[1][0] = (double)n;
}
#define REF_PAIR(name)                                                                      \
    static void ref_##name(const tensor *y, double *const in[], double *const out[])      \
    {                                                                                       \
        ref_pair(term_##name, y, in, out);                                                  \
    }

/* --- squared and absolute differences ------------------------------------------ */

static void expand_mse(tensor *y, tensor **out)
{
    sum_and_count(y, genet_square(genet_sub(y->in[0], y->in[1])), out);
}
static double term_mse(double x, double t, double p) { (void)p; return (x - t) * (x - t); }
REF_PAIR(mse)
static const probe probes_mse[] = {
    { .in = { PF(-2, 2, 3, 4), PF(-2, 2, 3, 4) } },
    { .in = { PF0(-2, 2), PF0(-2, 2) } },
    { .edge = true, .in = { PF(-2, 2, 7, 33), PF(-2, 2, 7, 33) } },
    { .edge = true, .in = { PF(-2, 2, 0, 3), PF(-2, 2, 0, 3) } },
};
ROW(mse, EXPAND, BOTH, 0, .n_in = 2, .n_side = 1, .flat_sides = 1 << 1, .infer = infer_pair)

static void expand_l1(tensor *y, tensor **out) { sum_and_count(y, genet_abs(genet_sub(y->in[0], y->in[1])), out); }
static double term_l1(double x, double t, double p) { (void)p; return x > t ? x - t : t - x; }
REF_PAIR(l1)
static const probe probes_l1[] = {
    { .in = { PF(-2, 0, 3, 4), PF(.1, 2, 3, 4) } },
    { .in = { PF(.1, 2, 2, 5), PF(-2, 0, 2, 5) } },
    { .edge = true, .in = { PF(-2, 2, 7, 33), PF(-2, 2, 7, 33) } },
};
ROW(l1, EXPAND, BOTH, 0, .n_in = 2, .n_side = 1, .flat_sides = 1 << 1, .infer = infer_pair)

/* e^2 / 2 while e = |x - t| is below delta, then delta (e - delta / 2) (Huber
 * 1964).  With m = min(e, delta) both are m (e - m / 2). */
static bool infer_huber(tensor *y)
{
    double delta = y->attr.f[0];
    if (!(delta > 0)) return genet__fail(y, "delta %g must be positive", delta);
    return infer_pair(y);
}
static void expand_huber(tensor *y, tensor **out)
{
    tensor *e = genet_abs(genet_sub(y->in[0], y->in[1]));
    tensor *m = genet_min(e, genet_scalar_like(e, y->attr.f[0]));
    sum_and_count(y, genet_mul(m, genet_sub(e, genet_mul(m, genet_scalar_like(m, 0.5)))), out);
}
static double term_huber(double x, double t, double delta)
{
    double e = term_l1(x, t, 0);
    return e < delta ? e * e / 2 : delta * (e - delta / 2);
}
REF_PAIR(huber)
static const probe probes_huber[] = {
    { .attr = { .f = { 5 } }, .in = { PF(-2, 0, 3, 4), PF(.1, 2, 3, 4) } },
    { .attr = { .f = { .5 } }, .in = { PF(1, 2, 2, 5), PF(-2, 0, 2, 5) } },
    { .edge = true, .attr = { .f = { 1 } }, .in = { PF(-2, 2, 7, 33), PF(-2, 2, 7, 33) } },
};
ROW(huber, EXPAND, BOTH, 0, .n_in = 2, .n_side = 1, .flat_sides = 1 << 1, .infer = infer_huber)

/* --- probabilities ------------------------------------------------------------------- */

/* -t log s(x) - (1 - t) log s(-x), s the sigmoid, with -log s(x) = softplus(-x):
 * no cancellation for targets 0 and 1, however far x is on the right side. */
static void expand_bce_with_logits(tensor *y, tensor **out)
{
    tensor *x = y->in[0], *t = y->in[1];
    tensor *yes = genet_mul(t, genet_softplus(genet_neg(x)));
    tensor *no = genet_mul(genet_sub(genet_scalar_like(t, 1), t), genet_softplus(x));
    sum_and_count(y, genet_add(yes, no), out);
}
static double term_bce_with_logits(double x, double t, double p)
{
    (void)p;
    return (x > 0 ? x : 0) - x * t + log1p(exp(x > 0 ? -x : x));
}
REF_PAIR(bce_with_logits)
static const probe probes_bce_with_logits[] = {
    { .in = { PF(-3, 3, 3, 4), PF(0, 1, 3, 4) } },
    { .in = { PF0(-1, 1), PF0(0, 1) } },
    { .edge = true, .in = { PF(-90, 90, 7, 33), PF(0, 1, 7, 33) } },
};
ROW(bce_with_logits, EXPAND, BOTH, 0, .n_in = 2, .n_side = 1, .flat_sides = 1 << 1, .infer = infer_pair)

/* t (log t - x), and 0 where t is 0.  The logarithm is taken of 1 there, so
 * that neither the value nor the gradient meets 0 * infinity. */
static void expand_kl_div(tensor *y, tensor **out)
{
    tensor *x = y->in[0], *t = y->in[1], *zero = genet_scalar_like(t, 0), *positive = genet_gt(t, zero);
    tensor *safe = genet_where(positive, t, genet_scalar_like(t, 1));
    sum_and_count(y, genet_where(positive, genet_mul(t, genet_sub(genet_log(safe), x)), zero), out);
}
static double term_kl_div(double x, double t, double p) { (void)p; return t > 0 ? t * (log(t) - x) : 0; }
REF_PAIR(kl_div)
static const probe probes_kl_div[] = {
    { .in = { PF(-3, -.1, 3, 4), PF(.1, 1, 3, 4) } },
    { .edge = true, .in = { PF(-3, -.1, 7, 33), PF(-1, 1, 7, 33) } },
    { .edge = true, .in = { PF(-3, -.1, 5), PF(0, 0, 5) } },
};
ROW(kl_div, EXPAND, BOTH, 0, .n_in = 2, .n_side = 1, .flat_sides = 1 << 1, .infer = infer_pair)

/* --- builders -------------------------------------------------------------------------- */

tensor *genet_mse(tensor *x, tensor *target) { return APPLY(OP_mse, NULL, x, target); }
tensor *genet_l1(tensor *x, tensor *target) { return APPLY(OP_l1, NULL, x, target); }
tensor *genet_huber(tensor *x, tensor *target, double delta)
{
    return APPLY(OP_huber, &(attr){ .f = { delta } }, x, target);
}
tensor *genet_bce_with_logits(tensor *x, tensor *target) { return APPLY(OP_bce_with_logits, NULL, x, target); }
tensor *genet_kl_div(tensor *x, tensor *target) { return APPLY(OP_kl_div, NULL, x, target); }
