/* op_sort.c - topk along the last axis; sort is topk with k = N.
 *
 * attr: i[0] = k, i[1] = whether the smallest come first.  Equal values stay in
 * the order of their indices; NaN is above everything.  Side 1: the indices,
 * through which the gradient goes back. */
#include "graph/graph.h"
#include <math.h>

static int64_t row_length(const tensor *y) { return y->in[0]->shape.dim[y->in[0]->shape.rank - 1]; }

static bool infer_topk(tensor *y)
{
    const tensor *x = y->in[0];
    tensor *index = genet__side(y, 1);
    int64_t k = y->attr.i[0];
    if (!genet__is_float(x->dtype))
        return genet__fail(y, "x %s is %s, and only f32 and f64 can be sorted: cast it", SHAPE_TEXT(x),
                           genet_dtype_name(x->dtype));
    if (!x->shape.rank) return genet__fail(y, "a scalar has no axis to sort along");
    if (k < 0 || k > row_length(y) || row_length(y) > INT32_MAX)
        return genet__fail(y, "k = %lld of the last axis of x %s: k must be in 0..%lld, and the axis below 2^31",
                           (long long)k, SHAPE_TEXT(x), (long long)row_length(y));
    genet__infer_same(y);
    y->shape.dim[y->shape.rank - 1] = k;
    index->shape = y->shape;
    index->dtype = GENET_I32;
    return true;
}

static void grad_topk(tensor *y, tensor *g, tensor **d)
{
    d[0] = genet_scatter_last(g, SAVED(genet__side(y, 1)), row_length(y));
}

/* Whether a stands before b in a row. */
static bool before(double a, double b, bool rising)
{
    if (isnan(a) || isnan(b)) return rising ? !isnan(a) : !isnan(b);
    return rising ? a < b : a > b;
}

/* The place of each element is the number of those before it. */
static void ref_topk(const tensor *y, double *const in[], double *const out[])
{
    int64_t N = row_length(y), k = y->attr.i[0], rows = N ? genet__numel(&y->in[0]->shape) / N : 0;
    for (int64_t r = 0; r < rows; r++)
        for (int64_t i = 0; i < N; i++) {
            const double *x = in[0] + r * N;
            int64_t place = 0;
            for (int64_t j = 0; j < N; j++)
                if (before(x[j], x[i], y->attr.i[1]) || (j < i && !before(x[i], x[j], y->attr.i[1]))) place++;
            if (place >= k) continue;
            out[0][r * k + place] = x[i];
            out[1][r * k + place] = (double)i;
        }
}

static double flops_topk(const tensor *y)
{
    return (double)genet__numel(&y->in[0]->shape) + (double)genet__numel(&y->shape) * log2((double)y->attr.i[0] + 2);
}

#define EDGE(k, rising, ...) { .edge = true, .attr = { .i = { k, rising } }, .in = { __VA_ARGS__ } }

static const probe probes_topk[] = {
    { .attr = { .i = { 2, 0 } }, .in = { PF(-2, 2, 3, 5) } },
    { .attr = { .i = { 4, 1 } }, .in = { PF(-2, 2, 2, 4) } },
    EDGE(1, 0, PF(-2, 2, 1)),        EDGE(1, 0, PF(-2, 2, 3, 17)),  EDGE(17, 0, PF(-2, 2, 2, 17)),
    EDGE(129, 1, PF(-2, 2, 129)),    EDGE(3, 0, PF(-2, 2, 2, 3001)), EDGE(0, 0, PF(-2, 2, 3, 4)),
    EDGE(0, 0, PF(-2, 2, 3, 0)),     EDGE(2, 1, PF(-2, 2, 0, 5)),   EDGE(601, 0, PF(-2, 2, 2, 601)),
};
ROW(topk, OWN, REF, 0, .n_in = 1, .n_side = 1, .flat_sides = 1 << 1, .infer = infer_topk, .flops = flops_topk)

static tensor *first_of(tensor *x, int64_t k, bool rising)
{
    return APPLY(OP_topk, (&(attr){ .i = { k, rising } }), x);
}
tensor *genet_topk(tensor *x, int64_t k)        { return first_of(x, k, false); }
tensor *genet_sort(tensor *x, bool descending)  { return first_of(x, genet_tensor_dim(x, -1), !descending); }
