/* op_reduce.c - sums, maxima, means and log-sum-exp over sets of axes; argmax
 * and cumsum along one; all_finite.
 *
 * attr: i[0] the axes as a mask (argmax, cumsum: the axis), i[1] whether they
 * stay as extents of 1.  The sum of nothing is 0 and its log-sum-exp -inf;
 * maximum and mean of nothing are failures. */
#include "graph/graph.h"
#include <math.h>

/* --- shapes ---------------------------------------------------------------- */

static bool reduced(const tensor *y, int axis) { return y->attr.i[0] >> axis & 1; }

static bool check_float(tensor *y)
{
    const tensor *x = y->in[0];
    if (genet__is_float(x->dtype)) return true;
    return genet__fail(y, "x %s is %s, and only f32 and f64 can be reduced: cast it", SHAPE_TEXT(x),
                       genet_dtype_name(x->dtype));
}

static bool infer_reduce(tensor *y)
{
    const tensor *x = y->in[0];
    if (!check_float(y)) return false;
    if (y->attr.i[0] < 0 || y->attr.i[0] >> x->shape.rank)
        return genet__fail(y, "x %s has %d axes, and the mask 0x%llx names others", SHAPE_TEXT(x), x->shape.rank,
                           (unsigned long long)y->attr.i[0]);
    y->dtype = x->dtype;
    y->shape.rank = 0;
    for (int i = 0; i < x->shape.rank; i++)
        if (!reduced(y, i)) y->shape.dim[y->shape.rank++] = x->shape.dim[i];
        else if (y->attr.i[1]) y->shape.dim[y->shape.rank++] = 1;
    return true;
}

/* Over all axes, whatever was asked. */
static bool infer_sum_squares(tensor *y)
{
    y->attr.i[0] = genet_axes_all(y->in[0]);
    y->attr.i[1] = 0;
    return infer_reduce(y);
}

static bool infer_max_over(tensor *y)
{
    const tensor *x = y->in[0];
    if (!infer_reduce(y)) return false;
    for (int i = 0; i < x->shape.rank; i++)
        if (reduced(y, i) && !x->shape.dim[i])
            return genet__fail(y, "axis %d of x %s is empty: it has no maximum", i, SHAPE_TEXT(x));
    return true;
}

static bool check_axis(tensor *y)
{
    const tensor *x = y->in[0];
    int64_t axis = y->attr.i[0], asked = axis < 0 ? axis - x->shape.rank : axis;
    if (axis >= 0 && axis < x->shape.rank) return true;
    return genet__fail(y, "x %s has %d axes, none of them %lld", SHAPE_TEXT(x), x->shape.rank, (long long)asked);
}

static bool infer_argmax(tensor *y)
{
    const tensor *x = y->in[0];
    int axis = (int)y->attr.i[0];
    if (!check_float(y) || !check_axis(y)) return false;
    if (x->shape.dim[axis] < 1 || x->shape.dim[axis] > INT32_MAX)
        return genet__fail(y, "axis %d of x %s must have between 1 and 2^31-1 elements", axis, SHAPE_TEXT(x));
    y->dtype = GENET_I32;
    y->shape.rank = 0;
    for (int i = 0; i < x->shape.rank; i++)
        if (i != axis) y->shape.dim[y->shape.rank++] = x->shape.dim[i];
        else if (y->attr.i[1]) y->shape.dim[y->shape.rank++] = 1;
    return true;
}

static bool infer_cumsum(tensor *y) { return check_float(y) && check_axis(y) && genet__infer_same(y); }

static bool infer_all_finite(tensor *y)
{
    if (!check_float(y)) return false;
    y->dtype = GENET_U8;
    y->shape.rank = 0;
    return true;
}

static double flops_reduce(const tensor *y) { return (double)genet__numel(&y->in[0]->shape); }
static double flops_sum_squares(const tensor *y) { return 2 * flops_reduce(y); }
static double flops_logsumexp(const tensor *y) { return 4 * flops_reduce(y); }      /* max, sub, exp, add */

/* --- gradients ----------------------------------------------------------------- */

/* t, of y's shape, with the reduced axes as extents of 1. */
static tensor *kept(const tensor *y, tensor *t)
{
    shape s = y->in[0]->shape;
    if (y->attr.i[1]) return t;
    for (int i = 0; i < s.rank; i++)
        if (reduced(y, i)) s.dim[i] = 1;
    return genet_reshape(t, s.rank, s.dim);
}

static void grad_sum(tensor *y, tensor *g, tensor **d)
{
    const shape *s = &y->in[0]->shape;
    d[0] = genet_broadcast(kept(y, g), s->rank, s->dim);
}

static void grad_sum_squares(tensor *y, tensor *g, tensor **d)
{
    d[0] = genet_mul(SAVED(y->in[0]), genet_mul(g, genet_scalar_like(g, 2)));
}

/* Equal maxima share: each gets g / their number. */
static void grad_max_over(tensor *y, tensor *g, tensor **d)
{
    tensor *is_max = genet_eq(SAVED(y->in[0]), kept(y, SAVED(y)));
    tensor *count = genet_sum(genet_cast(is_max, g->dtype), (unsigned)y->attr.i[0], true);
    d[0] = genet_where(is_max, genet_div(kept(y, g), count), genet_scalar_like(g, 0));
}

static void grad_logsumexp(tensor *y, tensor *g, tensor **d)
{
    d[0] = genet_mul(kept(y, g), genet_exp(genet_sub(SAVED(y->in[0]), kept(y, SAVED(y)))));
}

static void grad_cumsum(tensor *y, tensor *g, tensor **d)
{
    int axis = (int)y->attr.i[0];
    d[0] = genet_flip(genet_cumsum(genet_flip(g, axis), axis), axis);
}

/* --- references: dense row-major doubles ------------------------------------------ */

/* Where the element i of x goes among the results. */
static int64_t result_of(const tensor *y, int64_t i)
{
    const shape *s = &y->in[0]->shape;
    int64_t at = 0, step = 1;
    for (int a = s->rank - 1; a >= 0; a--) {
        if (!reduced(y, a)) at += i % s->dim[a] * step, step *= s->dim[a];
        i /= s->dim[a];
    }
    return at;
}

static void ref_sum(const tensor *y, double *const in[], double *const out[])
{
    int64_t n = genet__numel(&y->in[0]->shape), k = genet__numel(&y->shape);
    for (int64_t i = 0; i < k; i++) out[0][i] = 0;
    for (int64_t i = 0; i < n; i++) out[0][result_of(y, i)] += in[0][i];
}

static void ref_sum_squares(const tensor *y, double *const in[], double *const out[])
{
    out[0][0] = 0;
    for (int64_t i = 0; i < genet__numel(&y->in[0]->shape); i++) out[0][0] += in[0][i] * in[0][i];
}

static void ref_max_over(const tensor *y, double *const in[], double *const out[])
{
    int64_t n = genet__numel(&y->in[0]->shape), k = genet__numel(&y->shape);
    for (int64_t i = 0; i < k; i++) out[0][i] = -INFINITY;
    for (int64_t i = 0; i < n; i++) {
        double *top = &out[0][result_of(y, i)], x = in[0][i];
        if (x > *top || isnan(x)) *top = x;
    }
}

/* log sum exp(x - s) + s, where s is the maximum when that is finite. */
static void ref_logsumexp(const tensor *y, double *const in[], double *const out[])
{
    int64_t n = genet__numel(&y->in[0]->shape), k = genet__numel(&y->shape);
    for (int64_t j = 0; j < k; j++) {
        double top = -INFINITY, sum = 0;
        for (int64_t i = 0; i < n; i++)
            if (result_of(y, i) == j) top = in[0][i] > top ? in[0][i] : top;
        double shift = isfinite(top) ? top : 0;
        for (int64_t i = 0; i < n; i++)
            if (result_of(y, i) == j) sum += exp(in[0][i] - shift);
        out[0][j] = log(sum) + shift;
    }
}

/* x as (outer, N, inner) around the axis. */
static void around_axis(const tensor *y, int64_t *outer, int64_t *N, int64_t *inner)
{
    const shape *s = &y->in[0]->shape;
    int axis = (int)y->attr.i[0];
    *outer = *inner = 1;
    *N = s->dim[axis];
    for (int i = 0; i < axis; i++) *outer *= s->dim[i];
    for (int i = axis + 1; i < s->rank; i++) *inner *= s->dim[i];
}

static void ref_argmax(const tensor *y, double *const in[], double *const out[])
{
    int64_t outer, N, inner;
    around_axis(y, &outer, &N, &inner);
    for (int64_t k = 0; k < outer * inner; k++) {
        const double *x = in[0] + k / inner * N * inner + k % inner;
        int64_t best = 0;
        for (int64_t i = 1; i < N; i++) {
            double a = x[i * inner], b = x[best * inner];
            if (a > b || (isnan(a) && !isnan(b))) best = i;
        }
        out[0][k] = (double)best;
    }
}

static void ref_cumsum(const tensor *y, double *const in[], double *const out[])
{
    int64_t outer, N, inner;
    around_axis(y, &outer, &N, &inner);
    for (int64_t k = 0; k < outer * inner; k++) {
        int64_t first = k / inner * N * inner + k % inner;
        double sum = 0;
        for (int64_t i = 0; i < N; i++) out[0][first + i * inner] = sum += in[0][first + i * inner];
    }
}

static void ref_all_finite(const tensor *y, double *const in[], double *const out[])
{
    out[0][0] = 1;
    for (int64_t i = 0; i < genet__numel(&y->in[0]->shape); i++)
        if (!isfinite(in[0][i])) out[0][0] = 0;
}

/* --- rows ------------------------------------------------------------------------ */

#define EDGE(axes, keep, ...) { .edge = true, .attr = { .i = { axes, keep } }, .in = { __VA_ARGS__ } }
#define TINY(axes, keep, ...) { .attr = { .i = { axes, keep } }, .in = { __VA_ARGS__ } }

/* axes inside, outside, between and around; columns and rows about a vector */
#define EDGES_REDUCE                                                                         \
    EDGE(1, 0, PF(-2, 2, 1)),            EDGE(0, 0, PF(-2, 2, 3, 5)),                        \
    EDGE(1, 0, PF(-2, 2, 15)),           EDGE(1, 1, PF(-2, 2, 17)),                          \
    EDGE(2, 0, PF(-2, 2, 3, 33)),        EDGE(2, 0, PF(-2, 2, 5, 129)),                      \
    EDGE(1, 0, PF(-2, 2, 33, 16)),       EDGE(1, 1, PF(-2, 2, 37, 65)),                      \
    EDGE(1, 0, PF(-2, 2, 67, 131)),      EDGE(1, 0, PF(-2, 2, 71, 3)),                       \
    EDGE(2, 0, PF(-2, 2, 3, 34, 31)),    EDGE(5, 0, PF(-2, 2, 7, 3, 19)),                    \
    EDGE(5, 1, PF(-2, 2, 7, 2, 1)),      EDGE(10, 0, PF(-2, 2, 2, 3, 4, 5)),                 \
    EDGE(21, 1, PF(-2, 2, 3, 2, 3, 2, 3)), EDGE(2, 0, PF(-2, 2, 0, 3))

static const probe probes_sum[] = {
    TINY(1, 0, PF(-2, 2, 3, 4)), TINY(6, 1, PF(-2, 2, 2, 3, 2)), TINY(3, 0, PF(-2, 2, 3, 4)),
    EDGES_REDUCE, EDGE(2, 0, PF(-2, 2, 3, 0)), EDGE(1, 0, PF(0, 1, 5003)),
    EDGE(1, 0, PF(-1, 1, 150001)), EDGE(1, 0, PF(-1, 1, 1201, 130)),
};
static const probe probes_sum_squares[] = {
    TINY(0, 0, PF(-2, 2, 3, 4)), TINY(0, 0, PF0(-2, 2)), EDGE(0, 0, PF(-2, 2, 1)), EDGE(0, 0, PF(-2, 2, 0, 3)),
    EDGE(0, 0, PF(-2, 2, 33)), EDGE(0, 0, PF(-2, 2, 7, 3, 19)), EDGE(0, 0, PF(-1, 1, 5003)), EDGE(0, 0, PF(-1, 1, 150001)),
};
static const probe probes_max_over[] = {
    TINY(1, 0, PF(-2, 2, 3, 4)), TINY(6, 1, PF(-2, 2, 2, 3, 2)), TINY(3, 0, PF(-2, 2, 3, 4)),
    EDGES_REDUCE, EDGE(1, 0, PF(-1, 1, 150001)),
};
static const probe probes_logsumexp[] = {
    TINY(1, 0, PF(-2, 2, 3, 4)), TINY(6, 1, PF(-2, 2, 2, 3, 2)), TINY(3, 0, PF(-2, 2, 3, 4)),
    EDGE(1, 0, PF(-2, 2, 1)), EDGE(0, 0, PF(-2, 2, 3, 5)), EDGE(2, 0, PF(-90, 90, 3, 33)),
    EDGE(1, 0, PF(-2, 2, 17, 15)), EDGE(5, 1, PF(-9, 9, 7, 3, 5)), EDGE(2, 0, PF(-2, 2, 0, 3)),
    EDGE(2, 0, PF(900, 1000, 2, 16)),
};
static const probe probes_argmax[] = {
    EDGE(0, 0, PF(-2, 2, 1)), EDGE(0, 0, PF(-2, 2, 129)), EDGE(1, 1, PF(-2, 2, 5, 63)),
    EDGE(1, 0, PF(-2, 2, 3, 17, 2)), EDGE(0, 0, PF(-2, 2, 15, 257)), EDGE(1, 0, PF(-2, 2, 0, 3)),
};
static const probe probes_cumsum[] = {
    TINY(0, 0, PF(-2, 2, 5)), TINY(1, 0, PF(-2, 2, 2, 3, 4)), EDGE(0, 0, PF(-2, 2, 1)),
    EDGE(1, 0, PF(-2, 2, 3, 33)), EDGE(0, 0, PF(-2, 2, 17, 257)), EDGE(1, 0, PF(-2, 2, 2, 7, 15)),
    EDGE(1, 0, PF(-2, 2, 3, 0)),
};
static const probe probes_all_finite[] = {
    EDGE(0, 0, PF(-2, 2, 1)), EDGE(0, 0, PF(-2, 2, 5, 67)), EDGE(0, 0, PF(-2, 2, 0)), EDGE(0, 0, PF(-2, 2, 70001)),
};

ROW(sum,        OWN,  REF, OPF_STRIDED, .n_in = 1, .infer = infer_reduce,     .flops = flops_reduce)
ROW(sum_squares, OWN, REF, 0,           .n_in = 1, .infer = infer_sum_squares, .flops = flops_sum_squares)
ROW(max_over,   OWN,  REF, OPF_STRIDED, .n_in = 1, .infer = infer_max_over,   .flops = flops_reduce)
ROW(logsumexp,  OWN,  REF, OPF_STRIDED, .n_in = 1, .infer = infer_reduce,     .flops = flops_logsumexp)
ROW(argmax,     ZERO, REF, 0,           .n_in = 1, .infer = infer_argmax,     .flops = flops_reduce)
ROW(cumsum,     OWN,  REF, 0,           .n_in = 1, .infer = infer_cumsum,     .flops = flops_reduce)
ROW(all_finite, ZERO, REF, 0,           .n_in = 1, .infer = infer_all_finite, .flops = flops_reduce)

/* --- builders ---------------------------------------------------------------------- */

static tensor *reduce(op_id id, tensor *x, int64_t axes, bool keep)
{
    return APPLY(id, (&(attr){ .i = { axes, keep } }), x);
}

tensor *genet_sum(tensor *x, unsigned axes, bool keep)       { return reduce(OP_sum, x, axes, keep); }
tensor *genet_sum_squares(tensor *x)                         { return reduce(OP_sum_squares, x, 0, false); }
tensor *genet_max_over(tensor *x, unsigned axes, bool keep)  { return reduce(OP_max_over, x, axes, keep); }
tensor *genet_logsumexp(tensor *x, unsigned axes, bool keep) { return reduce(OP_logsumexp, x, axes, keep); }
tensor *genet_argmax(tensor *x, int axis, bool keep) { return reduce(OP_argmax, x, genet__axis_of(x, axis), keep); }
tensor *genet_cumsum(tensor *x, int axis) { return reduce(OP_cumsum, x, genet__axis_of(x, axis), false); }
tensor *genet_all_finite(tensor *x)       { return reduce(OP_all_finite, x, 0, false); }

tensor *genet_mean(tensor *x, unsigned axes, bool keep)
{
    tensor *y = genet_sum(x, axes, keep);
    int64_t n = 1;
    for (int i = 0; i < x->shape.rank; i++)
        if (axes >> i & 1) n *= x->shape.dim[i];
    if (y->poisoned) return y;
    if (!n) genet__fail(y, "the mean of no elements: x %s is empty along the axes", SHAPE_TEXT(x));
    return n ? genet_mul(y, genet_scalar_like(y, 1.0 / (double)n)) : y;
}

unsigned genet_axes_all(const tensor *x) { return (1u << x->shape.rank) - 1; }

/* An axis that x lacks becomes a bit that no tensor has, for infer to refuse. */
unsigned genet_axis(const tensor *x, int i)
{
    int axis = genet__axis_of(x, i);
    return axis >= 0 && axis < x->shape.rank ? 1u << axis : 1u << 31;
}

/* The transpose of broadcasting: extra and repeated dimensions are summed. */
tensor *genet__sum_to(tensor *x, const shape *s)
{
    if (genet__same_shape(&x->shape, s)) return x;
    unsigned axes = 0;
    int lead = x->shape.rank - s->rank;
    for (int i = 0; i < x->shape.rank; i++)
        if (i < lead || (s->dim[i - lead] == 1 && x->shape.dim[i] != 1)) axes |= 1u << i;
    return genet_reshape(genet_sum(x, axes, true), s->rank, s->dim);
}
