/* op_shape.c - the layout of a tensor: views, which do no work (reshape,
 * permute, slice, broadcast), and what moves elements (concat, pad, flip).
 *
 * A view is another window on its input's storage: start and strides.  The
 * gradient of a view is a view again, or pad, or a sum.
 *
 * attr: extents in i[0..8) and rank in i[8] (reshape, broadcast); axes in i[0..8)
 * and rank in i[8] (permute); slice: axis, start, count, step; pad: before
 * in i[0..8), after in i[8..16), value in f[0]; concat, flip: axis in i[0]. */
#include "graph/graph.h"
#include "base/quant.h"
#include <string.h>

enum { AT_RANK = 8, AT_AFTER = 8 };
enum { SLICE_AXIS, SLICE_START, SLICE_COUNT, SLICE_STEP };

/* --- indices of the naive definitions -----------------------------------------
 * They go through y element by element and ask where each comes from. */

/* Flat element i of a dense row-major tensor, as one index a dimension... */
static void index_at(const shape *s, int64_t i, int64_t at[MAX_DIM])
{
    for (int k = s->rank - 1; k >= 0; k--) {
        at[k] = i % s->dim[k];
        i /= s->dim[k];
    }
}
/* ... and back. */
static int64_t flat_at(const shape *s, const int64_t at[MAX_DIM])
{
    int64_t i = 0;
    for (int k = 0; k < s->rank; k++) i = i * s->dim[k] + at[k];
    return i;
}

/* --- attributes ------------------------------------------------------------------ */

/* A rank out of range is left to infer, which refuses it. */
static attr attr_of_dims(int rank, const int64_t *dim)
{
    attr a = { .i = { [AT_RANK] = rank } };
    for (int i = 0; i < rank && i < MAX_DIM; i++) a.i[i] = dim[i];
    return a;
}

/* Every infer checks its attributes: builders take what callers give. */
static bool rank_from_attr(tensor *y, int *rank)
{
    int64_t r = y->attr.i[AT_RANK];
    if (r < 0 || r > MAX_DIM) return genet__fail(y, "rank %lld is not in 0..%d", (long long)r, MAX_DIM);
    *rank = (int)r;
    return true;
}

static bool axis_fits(tensor *y, int64_t axis)
{
    const tensor *x = y->in[0];
    if (axis >= 0 && axis < x->shape.rank) return true;
    return genet__fail(y, "x %s has no axis %lld", SHAPE_TEXT(x), (long long)axis);
}

/* y begins as x itself: its type, shape, storage and window. */
static void window_of(tensor *y, const tensor *x)
{
    y->dtype = x->dtype;
    y->shape = x->shape;
    y->root = x->root;
    y->start = x->start;
    memcpy(y->stride, x->stride, sizeof y->stride);
}

/* --- reshape ----------------------------------------------------------------------- */

/* The extents asked for, with one -1 filled in; false when x's elements do not
 * fit them. */
static bool reshape_extents(const tensor *x, const attr *a, shape *s)
{
    int64_t n = 1, strides = 1, have = genet__numel(&x->shape);
    int open = -1;
    if (a->i[AT_RANK] < 0 || a->i[AT_RANK] > MAX_DIM) return false;
    s->rank = (int)a->i[AT_RANK];
    for (int i = 0; i < s->rank; i++) {
        s->dim[i] = a->i[i];
        if (s->dim[i] == -1 && open < 0) { open = i; continue; }
        /* beside a 0, too, the others must have a product */
        if (s->dim[i] < 0 || __builtin_mul_overflow(strides, s->dim[i] ? s->dim[i] : 1, &strides)) return false;
        n *= s->dim[i];
    }
    if (open < 0) return n == have;
    s->dim[open] = n ? have / n : -1;
    return n && have % n == 0;
}

/* Strides that show x's elements in shape s without a copy; false when there
 * are none.  As in NumPy: the shortest runs of dimensions with equal products
 * on both sides are matched, and each of x's runs must be free of gaps. */
static bool reshape_strides(const tensor *x, const shape *s, int64_t stride[MAX_DIM])
{
    shape from = {0};                   /* x's extents, and their strides */
    int64_t step[MAX_DIM] = {0};
    genet__dense_strides(s, stride);
    if (genet__is_dense(x) || genet__numel(s) == 0) return true;
    for (int i = 0; i < x->shape.rank; i++) {           /* extents of 1 have no say */
        if (x->shape.dim[i] == 1) continue;
        from.dim[from.rank] = x->shape.dim[i];
        step[from.rank++] = x->stride[i];
    }
    for (int i = 0, j = 0; i < from.rank; ) {
        int i0 = i, j0 = j;
        int64_t m = from.dim[i++], n = s->dim[j++];
        while (m != n)
            if (m < n) m *= from.dim[i++]; else n *= s->dim[j++];
        for (int k = i0; k + 1 < i; k++)
            if (step[k] != step[k + 1] * from.dim[k + 1]) return false;
        for (int64_t k = j - 1, inner = step[i - 1]; k >= j0; k--) {
            stride[k] = inner;
            inner *= s->dim[k];
        }
    }
    return true;
}

/* The builder has copied what has no view here; what comes another way is
 * told so. */
static bool infer_reshape(tensor *y)
{
    const tensor *x = y->in[0];
    int rank = 0;
    shape s = {0};
    if (!rank_from_attr(y, &rank)) return false;
    if (!reshape_extents(x, &y->attr, &s)) {
        tensor want = { .shape = { .rank = rank } };
        memcpy(want.shape.dim, y->attr.i, sizeof want.shape.dim);
        return genet__fail(y, "the %lld elements of x %s do not fit %s", (long long)genet__numel(&x->shape),
                           SHAPE_TEXT(x), SHAPE_TEXT(&want));
    }
    window_of(y, x);
    y->shape = s;
    if (reshape_strides(x, &s, y->stride)) return true;
    return genet__fail(y, "x %s cannot be seen as %s in place; use copy first", SHAPE_TEXT(x), SHAPE_TEXT(y));
}
/* Row-major order is the same on both sides, so the gradient is reshaped back. */
static void grad_reshape(tensor *y, tensor *g, tensor **d)
{
    const shape *s = &y->in[0]->shape;
    d[0] = genet_reshape(g, s->rank, s->dim);
}
static void ref_reshape(const tensor *y, double *const in[], double *const out[])
{
    for (int64_t i = 0; i < genet__numel(&y->shape); i++) out[0][i] = in[0][i];
}
/* In the edge probes of this file: scalars, zero extents, extents around the
 * vectors' sizes, each width of element, more than one task. */
static const probe probes_reshape[] = {
    { .attr = { .i = { 4, 3, [AT_RANK] = 2 } }, .in = { PF(-2, 2, 2, 6) } },
    { .attr = { .i = { 2, -1, [AT_RANK] = 2 } }, .in = { PF(-2, 2, 2, 3, 2) } },
    { .edge = true, .attr = { .i = { [AT_RANK] = 0 } }, .in = { PF(-2, 2, 1, 1) } },
    { .edge = true, .attr = { .i = { 1, 5, 1, 17, [AT_RANK] = 4 } }, .in = { PF(-2, 2, 17, 5) } },
    { .edge = true, .attr = { .i = { 7, 0, [AT_RANK] = 2 } }, .in = { PF(-2, 2, 0, 3) } },
    { .edge = true, .attr = { .i = { 21, [AT_RANK] = 1 } }, .in = { PI(-9, 9, 3, 7) } },
};
ROW(reshape, OWN, REF, OPF_VIEW | OPF_BLOCKS, .n_in = 1, .infer = infer_reshape)

/* Elements that no strides can show in the new shape are copied together
 * first: a permuted tensor, mostly. */
tensor *genet_reshape(tensor *x, int rank, const int64_t *dim)
{
    attr a = attr_of_dims(rank, dim);
    shape s = {0};
    int64_t stride[MAX_DIM];
    bool copied = !x->poisoned && reshape_extents(x, &a, &s) && !reshape_strides(x, &s, stride);
    return APPLY(OP_reshape, &a, copied ? genet_copy(x) : x);
}

/* --- permute -------------------------------------------------------------------------- */

/* Extents and strides change places; the axes must be a permutation. */
static bool infer_permute(tensor *y)
{
    const tensor *x = y->in[0];
    int rank = 0;
    unsigned seen = 0;
    if (!rank_from_attr(y, &rank)) return false;
    if (rank != x->shape.rank)
        return genet__fail(y, "%d axes given for x %s", rank, SHAPE_TEXT(x));
    window_of(y, x);
    for (int i = 0; i < rank; i++) {
        int64_t axis = y->attr.i[i];
        if (!axis_fits(y, axis)) return false;
        if (seen >> axis & 1) return genet__fail(y, "axis %lld of x %s is named twice", (long long)axis, SHAPE_TEXT(x));
        seen |= 1u << axis;
        y->shape.dim[i] = x->shape.dim[axis];
        y->stride[i] = x->stride[axis];
    }
    return true;
}
static void grad_permute(tensor *y, tensor *g, tensor **d)
{
    int64_t inverse[MAX_DIM] = {0};             /* y's axis i is x's axes[i] */
    for (int i = 0; i < y->shape.rank; i++) inverse[y->attr.i[i]] = i;
    d[0] = genet_permute(g, y->shape.rank, inverse);
}
static void ref_permute(const tensor *y, double *const in[], double *const out[])
{
    int64_t at[MAX_DIM], from[MAX_DIM] = {0};
    for (int64_t i = 0; i < genet__numel(&y->shape); i++) {
        index_at(&y->shape, i, at);
        for (int k = 0; k < y->shape.rank; k++) from[y->attr.i[k]] = at[k];
        out[0][i] = in[0][flat_at(&y->in[0]->shape, from)];
    }
}
static const probe probes_permute[] = {
    { .attr = { .i = { 1, 0, [AT_RANK] = 2 } }, .in = { PF(-2, 2, 3, 5) } },
    { .attr = { .i = { 2, 0, 1, [AT_RANK] = 3 } }, .in = { PF(-2, 2, 2, 3, 4) } },
    { .edge = true, .attr = { .i = { 0, 2, 1, 3, [AT_RANK] = 4 } }, .in = { PF(-2, 2, 2, 5, 3, 17) } },
    { .edge = true, .attr = { .i = { 1, 0, [AT_RANK] = 2 } }, .in = { PF(-2, 2, 0, 3) } },
    { .edge = true, .attr = { .i = { [AT_RANK] = 0 } }, .in = { PF0(-2, 2) } },
};
ROW(permute, OWN, REF, OPF_VIEW | OPF_STRIDED | OPF_BLOCKS, .n_in = 1, .infer = infer_permute)

tensor *genet_permute(tensor *x, int rank, const int64_t *axes)
{
    attr a = attr_of_dims(rank, axes);
    for (int i = 0; i < rank && i < MAX_DIM; i++)
        if (a.i[i] < 0) a.i[i] += rank;
    return APPLY(OP_permute, &a, x);
}

tensor *genet_transpose(tensor *x, int axis0, int axis1)
{
    int rank = x->shape.rank, p = genet__axis_of(x, axis0), q = genet__axis_of(x, axis1);
    bool fit = p >= 0 && p < rank && q >= 0 && q < rank;
    attr a = { .i = { 0, 1, 2, 3, 4, 5, 6, 7, [AT_RANK] = rank } };
    if (fit) {
        a.i[p] = q;
        a.i[q] = p;
    } else {                    /* an axis that permute's infer will name */
        a.i[0] = p < 0 || p >= rank ? axis0 : axis1;
        a.i[AT_RANK] += rank == 0;
    }
    return APPLY(OP_permute, &a, x);
}

/* --- slice ------------------------------------------------------------------------------- */

/* start, count and step must stay inside the axis; nothing is clipped. */
static bool infer_slice(tensor *y)
{
    const tensor *x = y->in[0];
    const int64_t *a = y->attr.i;
    int64_t axis = a[SLICE_AXIS], start = a[SLICE_START], count = a[SLICE_COUNT], step = a[SLICE_STEP];
    if (!axis_fits(y, axis)) return false;
    int64_t n = x->shape.dim[axis];
    /* the last element, start + (count - 1) step, must exist; said without overflow */
    if (step < 1) return genet__fail(y, "step %lld is not positive; use flip to go backwards", (long long)step);
    if (start < 0 || start > n || count < 0 || (count > 0 && (start == n || count - 1 > (n - 1 - start) / step)))
        return genet__fail(y, "start %lld, count %lld, step %lld leave axis %lld of x %s", (long long)start,
                           (long long)count, (long long)step, (long long)axis, SHAPE_TEXT(x));
    if (genet__is_blocks(x->dtype) && x->stride[axis] == 1 && (start % QUANT_BLOCK || count % QUANT_BLOCK || step > 1))
        return genet__fail(y, "start %lld, count %lld, step %lld cut blocks of %d of x %s", (long long)start, (long long)count,
                           (long long)step, QUANT_BLOCK, SHAPE_TEXT(x));
    window_of(y, x);
    y->shape.dim[axis] = count;
    if (count > 0) y->start += start * x->stride[axis];
    y->stride[axis] *= count > 1 ? step : 1;
    return true;
}

/* Zeros everywhere but in the slice.  With a step, each element first gets
 * step - 1 zeros after it: (outer, count, 1, inner) -> (outer, count * step, inner). */
static tensor *unslice(tensor *g, const shape *s, const attr *a)
{
    int axis = (int)a->i[SLICE_AXIS];
    int64_t count = a->i[SLICE_COUNT], step = a->i[SLICE_STEP], before[MAX_DIM] = {0}, after[MAX_DIM] = {0};
    shape wide = *s;
    if (step > 1 && count > 1) {
        int64_t outer = 1, inner = 1;
        for (int i = 0; i < axis; i++) outer *= s->dim[i];
        for (int i = axis + 1; i < s->rank; i++) inner *= s->dim[i];
        g = genet_reshape(g, GENET_DIMS(outer, count, 1, inner));
        g = genet_pad(g, (int64_t[4]){0}, (int64_t[4]){ [2] = step - 1 }, 0);
        wide.dim[axis] = count * step;
        g = genet_reshape(g, wide.rank, wide.dim);
        count = (count - 1) * step + 1;
        g = genet_slice(g, axis, 0, count, 1);
    }
    before[axis] = a->i[SLICE_START];
    after[axis] = s->dim[axis] - count - before[axis];
    return before[axis] || after[axis] ? genet_pad(g, before, after, 0) : g;
}
static void grad_slice(tensor *y, tensor *g, tensor **d) { d[0] = unslice(g, &y->in[0]->shape, &y->attr); }
/* y[.., i, ..] = x[.., start + i step, ..] */
static void ref_slice(const tensor *y, double *const in[], double *const out[])
{
    const int64_t *a = y->attr.i;
    int64_t at[MAX_DIM];
    for (int64_t i = 0; i < genet__numel(&y->shape); i++) {
        index_at(&y->shape, i, at);
        at[a[SLICE_AXIS]] = a[SLICE_START] + at[a[SLICE_AXIS]] * a[SLICE_STEP];
        out[0][i] = in[0][flat_at(&y->in[0]->shape, at)];
    }
}
static const probe probes_slice[] = {
    { .attr = { .i = { 1, 1, 3, 1 } }, .in = { PF(-2, 2, 3, 5) } },
    { .attr = { .i = { 1, 1, 3, 2 } }, .in = { PF(-2, 2, 2, 6, 2) } },
    { .attr = { .i = { 0, 2, 1, 4 } }, .in = { PF(-2, 2, 3, 4) } },
    { .edge = true, .attr = { .i = { 0, 0, 17, 3 } }, .in = { PF(-2, 2, 51, 3) } },
    { .edge = true, .attr = { .i = { 0, 3, 0, 1 } }, .in = { PF(-2, 2, 3, 4) } },
    { .edge = true, .attr = { .i = { 2, 16, 17, 1 } }, .in = { PF(-2, 2, 2, 3, 33) } },
};
ROW(slice, OWN, REF, OPF_VIEW | OPF_STRIDED | OPF_BLOCKS, .n_in = 1, .infer = infer_slice)

tensor *genet_slice(tensor *x, int axis, int64_t start, int64_t count, int64_t step)
{
    attr a = { .i = { genet__axis_of(x, axis), start, count, step } };
    return APPLY(OP_slice, &a, x);
}

/* --- broadcast ----------------------------------------------------------------------------- */

/* Axes of extent 1, and new ones in front, get stride 0: every index along
 * them is the same element. */
static bool infer_broadcast(tensor *y)
{
    const tensor *x = y->in[0];
    int rank = 0;
    if (!rank_from_attr(y, &rank)) return false;
    window_of(y, x);
    y->shape.rank = rank;
    memcpy(y->shape.dim, y->attr.i, sizeof y->shape.dim);
    int lead = rank - x->shape.rank;
    if (lead < 0) return genet__fail(y, "x %s has more dimensions than %s", SHAPE_TEXT(x), SHAPE_TEXT(y));
    for (int i = rank - 1; i >= 0; i--) {
        int64_t n = i < lead ? 1 : x->shape.dim[i - lead];
        if (y->shape.dim[i] < 0 || (n != 1 && n != y->shape.dim[i]))
            return genet__fail(y, "x %s does not broadcast to %s", SHAPE_TEXT(x), SHAPE_TEXT(y));
        y->stride[i] = n != 1 ? x->stride[i - lead] : 0;
    }
    return true;
}
/* Each element of x was used many times: its gradients are summed. */
static void grad_broadcast(tensor *y, tensor *g, tensor **d) { d[0] = genet__sum_to(g, &y->in[0]->shape); }
static void ref_broadcast(const tensor *y, double *const in[], double *const out[])
{
    const shape *s = &y->in[0]->shape;
    int64_t at[MAX_DIM], from[MAX_DIM] = {0};
    for (int64_t i = 0; i < genet__numel(&y->shape); i++) {
        index_at(&y->shape, i, at);
        for (int k = 0; k < s->rank; k++) from[k] = s->dim[k] == 1 ? 0 : at[y->shape.rank - s->rank + k];
        out[0][i] = in[0][flat_at(s, from)];
    }
}
static const probe probes_broadcast[] = {
    { .attr = { .i = { 3, 4, [AT_RANK] = 2 } }, .in = { PF(-2, 2, 3, 1) } },
    { .attr = { .i = { 2, 3, 4, [AT_RANK] = 3 } }, .in = { PF(-2, 2, 4) } },
    { .attr = { .i = { 2, 3, [AT_RANK] = 2 } }, .in = { PF0(-2, 2) } },
    { .edge = true, .attr = { .i = { 5, 17, 3, [AT_RANK] = 3 } }, .in = { PF(-2, 2, 1, 17, 1) } },
    { .edge = true, .attr = { .i = { 0, 4, [AT_RANK] = 2 } }, .in = { PF(-2, 2, 1, 4) } },
};
ROW(broadcast, OWN, REF, OPF_VIEW | OPF_STRIDED | OPF_BLOCKS, .n_in = 1, .infer = infer_broadcast)

tensor *genet_broadcast(tensor *x, int rank, const int64_t *dim)
{
    attr a = attr_of_dims(rank, dim);
    return APPLY(OP_broadcast, &a, x);
}

/* --- concat ----------------------------------------------------------------------------------- */

/* Any number of inputs of one type, equal in every extent but the axis'. */
static bool infer_concat(tensor *y)
{
    int64_t axis = y->attr.i[0];
    if (y->n_in < 1) return genet__fail(y, "no tensors given");
    if (!axis_fits(y, axis)) return false;
    const tensor *x = y->in[0];
    genet__infer_same(y);
    for (int k = 1; k < y->n_in; k++) {
        const tensor *t = y->in[k];
        shape s = t->shape;             /* what t would be if it were as long as x */
        if (axis < s.rank) s.dim[axis] = x->shape.dim[axis];
        if (!genet__same_shape(&s, &x->shape) || t->dtype != x->dtype)
            return genet__fail(y, "%s %s does not continue %s %s along axis %lld", genet_dtype_name(t->dtype),
                               SHAPE_TEXT(t), genet_dtype_name(x->dtype), SHAPE_TEXT(x), (long long)axis);
        y->shape.dim[axis] += t->shape.dim[axis];
    }
    return true;
}
/* Every input sees its own window of g: nothing is copied. */
static void grad_concat(tensor *y, tensor *g, tensor **d)
{
    int axis = (int)y->attr.i[0];
    int64_t start = 0;
    for (int k = 0; k < y->n_in; k++) {
        int64_t n = y->in[k]->shape.dim[axis];
        d[k] = genet_slice(g, axis, start, n, 1);
        start += n;
    }
}
static void ref_concat(const tensor *y, double *const in[], double *const out[])
{
    int64_t at[MAX_DIM], axis = y->attr.i[0];
    for (int64_t i = 0; i < genet__numel(&y->shape); i++) {
        int k = 0;
        index_at(&y->shape, i, at);
        /* walk past the inputs that end before this place */
        for (; at[axis] >= y->in[k]->shape.dim[axis]; k++) at[axis] -= y->in[k]->shape.dim[axis];
        out[0][i] = in[k][flat_at(&y->in[k]->shape, at)];
    }
}
static const probe probes_concat[] = {
    { .attr = { .i = { 0 } }, .in = { PF(-2, 2, 2, 3), PF(-2, 2, 1, 3), PF(-2, 2, 3, 3) } },
    { .attr = { .i = { 1 } }, .in = { PF(-2, 2, 2, 3, 2), PF(-2, 2, 2, 1, 2) } },
    { .attr = { .i = { 0 } }, .in = { PF(-2, 2, 3) } },
    { .edge = true, .attr = { .i = { 1 } }, .in = { PF(-2, 2, 5, 17), PF(-2, 2, 5, 0), PF(-2, 2, 5, 1) } },
    { .edge = true, .attr = { .i = { 2 } }, .in = { PI(-9, 9, 2, 3, 5), PI(-9, 9, 2, 3, 33) } },
    { .edge = true, .attr = { .i = { 0 } }, .in = { PU(7, 3), PU(2, 3) } },
    { .edge = true, .attr = { .i = { 1 } }, .in = { PF(-2, 2, 0, 3), PF(-2, 2, 0, 4) } },
    { .edge = true, .attr = { .i = { 0 } }, .in = { PF(-2, 2, 71, 241), PF(-2, 2, 3, 241) } },
};
ROW(concat, OWN, REF, OPF_STRIDED, .n_in = -1, .infer = infer_concat, .flops = genet__flops_none)

/* n >= 1: without a tensor there is no graph to say anything in. */
tensor *genet_concat(tensor *const *x, int n, int axis)
{
    if (n < 1) return NULL;
    attr a = { .i = { genet__axis_of(x[0], axis) } };
    return genet__apply(x[0]->graph, OP_concat, x, n, &a);
}

/* --- pad and flip -------------------------------------------------------------------------------- */

/* Extents grow by before + after, neither of them negative. */
static bool infer_pad(tensor *y)
{
    const int64_t *before = y->attr.i, *after = y->attr.i + AT_AFTER;
    genet__infer_same(y);
    for (int i = 0; i < y->shape.rank; i++) {
        int64_t *n = &y->shape.dim[i];
        if (before[i] < 0 || after[i] < 0 || __builtin_add_overflow(*n, before[i], n) ||
            __builtin_add_overflow(*n, after[i], n))
            return genet__fail(y, "%lld before and %lld after axis %d of x %s are impossible", (long long)before[i],
                               (long long)after[i], i, SHAPE_TEXT(y->in[0]));
    }
    return true;
}
/* The window on g that x filled; the padding is constant. */
static void grad_pad(tensor *y, tensor *g, tensor **d)
{
    const shape *s = &y->in[0]->shape;
    for (int i = 0; i < s->rank; i++)
        if (y->shape.dim[i] != s->dim[i]) g = genet_slice(g, i, y->attr.i[i], s->dim[i], 1);
    d[0] = g;
}
/* x where the index less `before` lies inside it, else the value. */
static void ref_pad(const tensor *y, double *const in[], double *const out[])
{
    const shape *s = &y->in[0]->shape;
    int64_t at[MAX_DIM];
    for (int64_t i = 0; i < genet__numel(&y->shape); i++) {
        bool inside = true;
        index_at(&y->shape, i, at);
        for (int k = 0; k < s->rank; k++) {
            at[k] -= y->attr.i[k];
            inside &= at[k] >= 0 && at[k] < s->dim[k];
        }
        out[0][i] = inside ? in[0][flat_at(s, at)] : y->attr.f[0];
    }
}
static const probe probes_pad[] = {
    { .attr = { .i = { 1, 0, [AT_AFTER] = 0, 2 } }, .in = { PF(-2, 2, 3, 4) } },
    { .attr = { .f = { 1.5 }, .i = { 0, 2, 0, [AT_AFTER] = 0, 1, 0 } }, .in = { PF(-2, 2, 2, 3, 2) } },
    { .edge = true, .attr = { .f = { -7 }, .i = { 3, [AT_AFTER] = 15 } }, .in = { PI(-9, 9, 17) } },
    { .edge = true, .attr = { .f = { 1 }, .i = { 1, 0, 2, [AT_AFTER] = 1, 0, 3 } }, .in = { PU(3, 2, 5) } },
    { .edge = true, .attr = { .f = { 2 }, .i = { 1, 1, [AT_AFTER] = 0, 1 } }, .in = { PF(-2, 2, 3, 0) } },
    { .edge = true, .attr = { .i = { 0, 1, 0, [AT_AFTER] = 0, 0, 1 } }, .in = { PF(-2, 2, 5, 33, 37) } },
    { .edge = true, .attr = { .i = { 0 } }, .in = { PF0(-2, 2) } },
};
ROW(pad, OWN, REF, OPF_STRIDED, .n_in = 1, .infer = infer_pad, .flops = genet__flops_none)

tensor *genet_pad(tensor *x, const int64_t *before, const int64_t *after, double value)
{
    attr a = { .f = { value } };
    for (int i = 0; i < x->shape.rank; i++) {
        a.i[i] = before[i];
        a.i[AT_AFTER + i] = after[i];
    }
    return APPLY(OP_pad, &a, x);
}

/* The one axis along which y, a pad with zeros, is padded; -1: there is none
 * such. */
static int padded_axis(const tensor *y)
{
    int axis = -1;
    if (!genet__op_is(y, OP_pad) || y->attr.f[0] != 0) return -1;
    for (int i = 0; i < y->shape.rank; i++) {
        if (y->shape.dim[i] == y->in[0]->shape.dim[i]) continue;
        if (axis >= 0) return -1;
        axis = i;
    }
    return axis;
}

tensor *genet__join_pads(tensor *a, tensor *b)
{
    int axis = padded_axis(a);
    if (axis < 0 || axis != padded_axis(b) || !genet__same_shape(&a->shape, &b->shape) || a->dtype != b->dtype) return NULL;
    if (a->attr.i[axis] > b->attr.i[axis]) {
        tensor *swap = a;
        a = b;
        b = swap;
    }
    int64_t before[MAX_DIM] = {0}, after[MAX_DIM] = {0};
    if (a->attr.i[axis] + a->in[0]->shape.dim[axis] != b->attr.i[axis]) return NULL;
    tensor *part[MAX_IN];
    int n = 0;
    for (int k = 0; k < 2; k++) {               /* what is joined already is taken apart again */
        tensor *x = k == 0 ? a->in[0] : b->in[0];
        bool flat = genet__op_is(x, OP_concat) && x->attr.i[0] == axis && n + x->n_in < MAX_IN;
        for (int i = 0; i < (flat ? x->n_in : 1); i++) part[n++] = flat ? x->in[i] : x;
    }
    before[axis] = a->attr.i[axis];
    after[axis] = b->attr.i[AT_AFTER + axis];
    tensor *joined = genet_concat(part, n, axis);
    return before[axis] || after[axis] ? genet_pad(joined, before, after, 0) : joined;
}

/* Flipping is its own inverse and its own transpose. */
static bool infer_flip(tensor *y) { return axis_fits(y, y->attr.i[0]) && genet__infer_same(y); }
static void grad_flip(tensor *y, tensor *g, tensor **d) { d[0] = genet_flip(g, (int)y->attr.i[0]); }
static void ref_flip(const tensor *y, double *const in[], double *const out[])
{
    int64_t at[MAX_DIM], axis = y->attr.i[0];
    for (int64_t i = 0; i < genet__numel(&y->shape); i++) {
        index_at(&y->shape, i, at);
        at[axis] = y->shape.dim[axis] - 1 - at[axis];
        out[0][i] = in[0][flat_at(&y->shape, at)];
    }
}
static const probe probes_flip[] = {
    { .attr = { .i = { 1 } }, .in = { PF(-2, 2, 3, 4) } },
    { .attr = { .i = { 0 } }, .in = { PF(-2, 2, 3, 2, 2) } },
    { .edge = true, .attr = { .i = { 0 } }, .in = { PF(-2, 2, 33) } },
    { .edge = true, .attr = { .i = { 1 } }, .in = { PI(-9, 9, 2, 17, 3) } },
    { .edge = true, .attr = { .i = { 1 } }, .in = { PU(3, 5) } },
    { .edge = true, .attr = { .i = { 0 } }, .in = { PF(-2, 2, 0, 3) } },
};
ROW(flip, OWN, REF, OPF_STRIDED, .n_in = 1, .infer = infer_flip, .flops = genet__flops_none)

tensor *genet_flip(tensor *x, int axis) { return APPLY(OP_flip, &(attr){ .i = { genet__axis_of(x, axis) } }, x); }
