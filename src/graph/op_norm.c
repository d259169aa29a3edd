/* op_norm.c - softmax and log_softmax; layer and RMS norm with their backward
 * kernels.
 *
 * All work on rows of the last axis, x (..., C); the builders of the softmaxes
 * swap another axis there and back.  attr: f[0] = eps of the norms.  Rows with
 * nothing but -inf give NaN, as in PyTorch. */
#include "graph/graph.h"
#include <math.h>

static int64_t channels(const tensor *x) { return x->shape.dim[x->shape.rank - 1]; }
static unsigned last_axis(const tensor *x) { return genet_axis(x, -1); }

/* The shape of one number a row: (...). */
static shape shape_of_rows(const tensor *x)
{
    shape s = x->shape;
    s.rank--;
    return s;
}

/* (...) as (..., 1), to broadcast over the row. */
static tensor *column(tensor *t)
{
    shape s = t->shape;
    s.dim[s.rank] = 1;
    return genet_reshape(t, s.rank + 1, s.dim);
}

static tensor *per_row(tensor *kept, const tensor *x)
{
    shape s = shape_of_rows(x);
    return genet_reshape(kept, s.rank, s.dim);
}

static bool check_rows(tensor *y)
{
    const tensor *x = y->in[0];
    if (!genet__is_float(x->dtype))
        return genet__fail(y, "x %s is %s, not f32 or f64: cast it", SHAPE_TEXT(x), genet_dtype_name(x->dtype));
    if (!x->shape.rank) return genet__fail(y, "x is a scalar, and needs an axis to work along");
    return true;
}

static bool check_input(tensor *y, int k, const char *name, const shape *s)
{
    const tensor *t = y->in[k], want = { .shape = *s };
    if (!t) return true;
    if (t->dtype != y->in[0]->dtype)
        return genet__fail(y, "%s is %s and x %s: cast one", name, genet_dtype_name(t->dtype),
                           genet_dtype_name(y->in[0]->dtype));
    if (!genet__same_shape(&t->shape, s))
        return genet__fail(y, "%s is %s, and for x %s must be %s", name, SHAPE_TEXT(t), SHAPE_TEXT(y->in[0]),
                           SHAPE_TEXT(&want));
    return true;
}

static double flops_softmax(const tensor *y)   { return 5 * (double)genet__numel(&y->shape); }
static double flops_norm(const tensor *y)      { return 8 * (double)genet__numel(&y->shape); }
static double flops_norm_grad(const tensor *y) { return 14 * (double)genet__numel(&y->shape); }

/* --- softmax, log_softmax --------------------------------------------------------- */

static bool infer_softmax(tensor *y) { return check_rows(y) && genet__infer_same(y); }

static void grad_softmax(tensor *y, tensor *g, tensor **d)
{
    tensor *p = SAVED(y), *gp = genet_mul(g, p);
    d[0] = genet_mul(p, genet_sub(g, genet_sum(gp, last_axis(gp), true)));
}

static void grad_log_softmax(tensor *y, tensor *g, tensor **d)
{
    d[0] = genet_sub(g, genet_mul(genet_exp(SAVED(y)), genet_sum(g, last_axis(g), true)));
}

/* x less its rows' maxima, which cancel out of the result. */
static tensor *shifted(tensor *x) { return genet_sub(x, genet_stop(genet_max_over(x, last_axis(x), true))); }

static void expand_softmax(tensor *y, tensor **out)
{
    tensor *x = y->in[0];
    if (!channels(x)) {                             /* nothing has no maximum */
        out[0] = genet_copy(x);
        return;
    }
    tensor *e = genet_exp(shifted(x));
    out[0] = genet_div(e, genet_sum(e, last_axis(x), true));
}

static void expand_log_softmax(tensor *y, tensor **out)
{
    tensor *x = y->in[0];
    if (!channels(x)) {
        out[0] = genet_copy(x);
        return;
    }
    tensor *s = shifted(x);
    out[0] = genet_sub(s, genet_log(genet_sum(genet_exp(s), last_axis(x), true)));
}

#define EDGE(...) { .edge = true, .in = { __VA_ARGS__ } }
#define EDGES_SOFTMAX                                                                     \
    { .in = { PF(-2, 2, 3, 4) } }, { .in = { PF(-2, 2, 5) } },                            \
    EDGE(PF(-2, 2, 1)),      EDGE(PF(-9, 9, 2, 15)),  EDGE(PF(-9, 9, 3, 16)),             \
    EDGE(PF(-9, 9, 2, 17)),  EDGE(PF(-9, 9, 5, 33)),  EDGE(PF(990, 1010, 2, 3, 7)),       \
    EDGE(PF(-90, 90, 3, 67)), EDGE(PF(-5, 5, 1, 4099)), EDGE(PF(-2, 2, 0, 3)),            \
    EDGE(PF(-2, 2, 3, 0)),   EDGE(PF(-2, 2, 131, 3))
static const probe probes_softmax[]     = { EDGES_SOFTMAX };
static const probe probes_log_softmax[] = { EDGES_SOFTMAX };
ROW(softmax,     OWN, EXPAND, OPF_ROWS, .n_in = 1, .over = 1u << 0, .infer = infer_softmax, .flops = flops_softmax)
ROW(log_softmax, OWN, EXPAND, OPF_ROWS, .n_in = 1, .infer = infer_softmax, .flops = flops_softmax)

static tensor *along(op_id id, tensor *x, int axis)
{
    int rank = x->shape.rank, a = genet__axis_of(x, axis);
    if (x->poisoned) return x;
    if (a < 0 || a >= rank) {
        tensor *none = &x->graph->poison;
        genet__fail(none, "%s: x %s has %d axes, none of them %d", genet__op_table[id]->name, SHAPE_TEXT(x), rank,
                    axis);
        return none;
    }
    if (a == rank - 1) return APPLY(id, NULL, x);
    return genet_transpose(APPLY(id, NULL, genet_transpose(x, a, -1)), a, -1);
}
tensor *genet_softmax(tensor *x, int axis)     { return along(OP_softmax, x, axis); }
tensor *genet_log_softmax(tensor *x, int axis) { return along(OP_log_softmax, x, axis); }

/* --- layer_norm: x, weight?, bias? -> y; mean, rstd ---------------------------------- */

static bool check_norm(tensor *y)
{
    if (!check_rows(y)) return false;
    if (!channels(y->in[0])) return genet__fail(y, "the last axis of x %s is empty: no mean", SHAPE_TEXT(y->in[0]));
    if (!(y->attr.f[0] >= 0) || isinf(y->attr.f[0]))
        return genet__fail(y, "eps is %g, and must be 0 or more", y->attr.f[0]);
    return true;
}

/* Sides first..last: type of x, this shape. */
static void set_sides(tensor *y, int first, int last, const shape *s)
{
    for (int k = first; k <= last; k++) {
        genet__side(y, k)->shape = *s;
        genet__side(y, k)->dtype = y->in[0]->dtype;
    }
}

static bool infer_layer_norm(tensor *y)
{
    if (!check_norm(y)) return false;
    shape C = { 1, { channels(y->in[0]) } }, rows = shape_of_rows(y->in[0]);
    set_sides(y, 1, 2, &rows);
    return check_input(y, 1, "weight", &C) && check_input(y, 2, "bias", &C) && genet__infer_same(y);
}

static void grad_layer_norm(tensor *y, tensor *g, tensor **d)
{
    tensor *weight = y->in[1] ? SAVED(y->in[1]) : NULL;
    tensor *dx = APPLY(OP_layer_norm_grad, NULL, SAVED(y->in[0]), weight, SAVED(genet__side(y, 1)),
                       SAVED(genet__side(y, 2)), g);
    d[0] = dx;
    if (y->in[1]) d[1] = genet_side(dx, 1);
    if (y->in[2]) d[2] = genet_side(dx, 2);
}

static void expand_layer_norm(tensor *y, tensor **out)
{
    tensor *x = y->in[0], *mean = genet_mean(x, last_axis(x), true), *centred = genet_sub(x, mean);
    tensor *variance = genet_mean(genet_square(centred), last_axis(x), true);
    tensor *rstd = genet_rsqrt(genet_add(variance, genet_scalar_like(x, y->attr.f[0])));
    out[0] = genet_mul(centred, rstd);
    if (y->in[1]) out[0] = genet_mul(out[0], y->in[1]);
    if (y->in[2]) out[0] = genet_add(out[0], y->in[2]);
    out[1] = per_row(mean, x);
    out[2] = per_row(rstd, x);
}

#define EPS .attr = { .f = { 1e-5 } }
#define EDGE_EPS(...) { .edge = true, EPS, .in = { __VA_ARGS__ } }
static const probe probes_layer_norm[] = {
    { EPS, .in = { PF(-2, 2, 3, 4), PF(-2, 2, 4), PF(-2, 2, 4) } },
    { EPS, .in = { PF(-2, 2, 2, 2, 3), PNONE, PF(-2, 2, 3) } },
    { EPS, .in = { PF(-2, 2, 5), PNONE, PNONE } },
    EDGE_EPS(PF(-2, 2, 2, 1), PF(-2, 2, 1), PF(-2, 2, 1)),   EDGE_EPS(PF(-2, 2, 3, 15), PF(-2, 2, 15), PNONE),
    EDGE_EPS(PF(-2, 2, 3, 16), PF(-2, 2, 16), PF(-2, 2, 16)), EDGE_EPS(PF(-2, 2, 5, 67), PF(-2, 2, 67), PF(-2, 2, 67)),
    EDGE_EPS(PF(9, 11, 2, 129), PNONE, PNONE),               EDGE_EPS(PF(-2, 2, 0, 3), PF(-2, 2, 3), PF(-2, 2, 3)),
    EDGE_EPS(PF(-2, 2, 131, 17), PF(-2, 2, 17), PF(-2, 2, 17)),
};
ROW(layer_norm, OWN, EXPAND, OPF_ROWS, .n_in = 3, .n_side = 2, .infer = infer_layer_norm, .flops = flops_norm)

tensor *genet_layer_norm(tensor *x, tensor *weight, tensor *bias, double eps)
{
    return APPLY(OP_layer_norm, (&(attr){ .f = { eps } }), x, weight, bias);
}

/* --- layer_norm_grad: x, weight?, mean, rstd, g -> dx; dweight, dbias ------------------ */

static bool infer_layer_norm_grad(tensor *y)
{
    if (!check_norm(y)) return false;
    shape C = { 1, { channels(y->in[0]) } }, rows = shape_of_rows(y->in[0]);
    set_sides(y, 1, 2, &C);
    return check_input(y, 1, "weight", &C) && check_input(y, 2, "mean", &rows) && check_input(y, 3, "rstd", &rows)
        && check_input(y, 4, "gradient", &y->in[0]->shape) && genet__infer_same(y);
}

/* rstd (h - n mean(h n)), and less rstd mean(h) when centred: the gradient of a
 * norm whose result is n weight, given h = g weight. */
static tensor *norm_gradient(tensor *h, tensor *n, tensor *rstd, bool centred)
{
    unsigned last = last_axis(h);
    tensor *along_n = genet_mul(n, genet_mean(genet_mul(h, n), last, true));
    if (centred) h = genet_sub(h, genet_mean(h, last, true));
    return genet_mul(rstd, genet_sub(h, along_n));
}

static void expand_layer_norm_grad(tensor *y, tensor **out)
{
    tensor *x = y->in[0], *weight = y->in[1], *rstd = column(y->in[3]), *g = y->in[4];
    tensor *n = genet_mul(genet_sub(x, column(y->in[2])), rstd);
    out[0] = norm_gradient(weight ? genet_mul(g, weight) : g, n, rstd, true);
    out[1] = genet__sum_to(genet_mul(g, n), &genet__side(y, 1)->shape);
    out[2] = genet__sum_to(g, &genet__side(y, 2)->shape);
}

static const probe probes_layer_norm_grad[] = {
    { .in = { PF(-2, 2, 2, 3), PF(-2, 2, 3), PF(-1, 1, 2), PF(.5, 2, 2), PF(-2, 2, 2, 3) } },
    { .in = { PF(-2, 2, 4), PNONE, PF0(-1, 1), PF0(.5, 2), PF(-2, 2, 4) } },
    EDGE(PF(-2, 2, 2, 1), PF(-2, 2, 1), PF(-1, 1, 2), PF(.5, 2, 2), PF(-2, 2, 2, 1)),
    EDGE(PF(-2, 2, 3, 5, 15), PNONE, PF(-1, 1, 3, 5), PF(.5, 2, 3, 5), PF(-2, 2, 3, 5, 15)),
    EDGE(PF(-2, 2, 67, 33), PF(-2, 2, 33), PF(-1, 1, 67), PF(.5, 2, 67), PF(-2, 2, 67, 33)),
    EDGE(PF(-2, 2, 521, 16), PF(-2, 2, 16), PF(-1, 1, 521), PF(.5, 2, 521), PF(-2, 2, 521, 16)),
    EDGE(PF(-2, 2, 3, 129), PF(-2, 2, 129), PF(-1, 1, 3), PF(.5, 2, 3), PF(-2, 2, 3, 129)),
    EDGE(PF(-2, 2, 0, 3), PF(-2, 2, 3), PF(-1, 1, 0), PF(.5, 2, 0), PF(-2, 2, 0, 3)),
};
ROW(layer_norm_grad, EXPAND, EXPAND, OPF_ROWS, .n_in = 5, .n_side = 2, .infer = infer_layer_norm_grad,
    .flops = flops_norm_grad)

/* --- rms_norm: x, weight? -> y; rrms -------------------------------------------------- */

static bool infer_rms_norm(tensor *y)
{
    if (!check_norm(y)) return false;
    shape C = { 1, { channels(y->in[0]) } }, rows = shape_of_rows(y->in[0]);
    set_sides(y, 1, 1, &rows);
    return check_input(y, 1, "weight", &C) && genet__infer_same(y);
}

static void grad_rms_norm(tensor *y, tensor *g, tensor **d)
{
    tensor *weight = y->in[1] ? SAVED(y->in[1]) : NULL;
    d[0] = APPLY(OP_rms_norm_grad, NULL, SAVED(y->in[0]), weight, SAVED(genet__side(y, 1)), g);
    if (y->in[1]) d[1] = genet_side(d[0], 1);
}

static void expand_rms_norm(tensor *y, tensor **out)
{
    tensor *x = y->in[0], *mean_square = genet_mean(genet_square(x), last_axis(x), true);
    tensor *rrms = genet_rsqrt(genet_add(mean_square, genet_scalar_like(x, y->attr.f[0])));
    out[0] = genet_mul(x, rrms);
    if (y->in[1]) out[0] = genet_mul(out[0], y->in[1]);
    out[1] = per_row(rrms, x);
}

static const probe probes_rms_norm[] = {
    { EPS, .in = { PF(-2, 2, 3, 4), PF(-2, 2, 4) } },
    { EPS, .in = { PF(-2, 2, 2, 2, 3), PNONE } },
    EDGE_EPS(PF(-2, 2, 1), PF(-2, 2, 1)),         EDGE_EPS(PF(-2, 2, 3, 15), PF(-2, 2, 15)),
    EDGE_EPS(PF(-2, 2, 3, 16), PNONE),            EDGE_EPS(PF(-2, 2, 5, 67), PF(-2, 2, 67)),
    EDGE_EPS(PF(-2, 2, 131, 17), PF(-2, 2, 17)),  EDGE_EPS(PF(-2, 2, 0, 3), PF(-2, 2, 3)),
};
ROW(rms_norm, OWN, EXPAND, OPF_ROWS, .n_in = 2, .n_side = 1, .infer = infer_rms_norm, .flops = flops_norm)

tensor *genet_rms_norm(tensor *x, tensor *weight, double eps)
{
    return APPLY(OP_rms_norm, (&(attr){ .f = { eps } }), x, weight);
}

/* --- rms_norm_grad: x, weight?, rrms, g -> dx; dweight ---------------------------------- */

static bool infer_rms_norm_grad(tensor *y)
{
    if (!check_norm(y)) return false;
    shape C = { 1, { channels(y->in[0]) } }, rows = shape_of_rows(y->in[0]);
    set_sides(y, 1, 1, &C);
    return check_input(y, 1, "weight", &C) && check_input(y, 2, "rrms", &rows)
        && check_input(y, 3, "gradient", &y->in[0]->shape) && genet__infer_same(y);
}

static void expand_rms_norm_grad(tensor *y, tensor **out)
{
    tensor *x = y->in[0], *weight = y->in[1], *rrms = column(y->in[2]), *g = y->in[3], *n = genet_mul(x, rrms);
    out[0] = norm_gradient(weight ? genet_mul(g, weight) : g, n, rrms, false);
    out[1] = genet__sum_to(genet_mul(g, n), &genet__side(y, 1)->shape);
}

static const probe probes_rms_norm_grad[] = {
    { .in = { PF(-2, 2, 2, 3), PF(-2, 2, 3), PF(.5, 2, 2), PF(-2, 2, 2, 3) } },
    { .in = { PF(-2, 2, 4), PNONE, PF0(.5, 2), PF(-2, 2, 4) } },
    EDGE(PF(-2, 2, 2, 1), PF(-2, 2, 1), PF(.5, 2, 2), PF(-2, 2, 2, 1)),
    EDGE(PF(-2, 2, 3, 5, 15), PNONE, PF(.5, 2, 3, 5), PF(-2, 2, 3, 5, 15)),
    EDGE(PF(-2, 2, 521, 17), PF(-2, 2, 17), PF(.5, 2, 521), PF(-2, 2, 521, 17)),
    EDGE(PF(-2, 2, 3, 129), PF(-2, 2, 129), PF(.5, 2, 3), PF(-2, 2, 3, 129)),
    EDGE(PF(-2, 2, 0, 3), PF(-2, 2, 3), PF(.5, 2, 0), PF(-2, 2, 0, 3)),
};
ROW(rms_norm_grad, EXPAND, EXPAND, OPF_ROWS, .n_in = 4, .n_side = 1, .infer = infer_rms_norm_grad,
    .flops = flops_norm_grad)
